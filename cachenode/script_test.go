package cachenode

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// Scripts run at the owner of their keys, whichever node the client is connected to, and what they change has its copies.
func TestScriptsInACluster(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	keys := nodes[0].keyOfEach()
	for i, key := range keys {
		n := nodes[(i+1)%3]
		if got := n.do("EVAL", "redis.call('set', KEYS[1], ARGV[1]) return redis.call('get', KEYS[1])", "1", key, "by script"); got != "$9\r\nby script\r\n" {
			t.Errorf("EVAL on %s through %s: %q", key, n.name, got)
		}
		if got := copies(nodes, key, "by script"); got != 2 {
			t.Errorf("%s has %d copies", key, got)
		}
		if got := nodes[i].do("GET", key); got != "$9\r\nby script\r\n" {
			t.Errorf("GET %s: %q", key, got)
		}
	}
	if got := nodes[0].do("EVAL", "return 1", "2", keys[0], keys[1]); !strings.HasPrefix(got, "-CROSSSLOT") {
		t.Errorf("keys of two owners: %q", got)
	}

	// What is loaded on one node is known to all.
	sha := strings.Split(nodes[1].do("SCRIPT", "LOAD", "return KEYS[1]"), "\r\n")[1]
	for i, key := range keys {
		if got := nodes[(i+2)%3].do("EVALSHA", sha, "1", key); !strings.Contains(got, key) {
			t.Errorf("EVALSHA on %s: %q", key, got)
		}
	}
	for _, n := range nodes {
		if got := n.do("SCRIPT", "EXISTS", sha); got != "*1\r\n:1\r\n" {
			t.Errorf("SCRIPT EXISTS at %s: %q", n.name, got)
		}
	}
	nodes[2].do("SCRIPT", "FLUSH")
	for _, n := range nodes {
		if got := n.do("SCRIPT", "EXISTS", sha); got != "*1\r\n:0\r\n" {
			t.Errorf("SCRIPT EXISTS at %s after FLUSH: %q", n.name, got)
		}
	}
	if got := nodes[0].do("SCRIPT", "KILL"); !strings.HasPrefix(got, "-NOTBUSY") {
		t.Errorf("SCRIPT KILL: %q", got)
	}

	// Undeclared keys: those of the node that runs the script are allowed, and get their copies; others are refused.
	pl := nodes[0].placement.Load()
	beside := ""
	for i := 0; beside == ""; i++ {
		key := fmt.Sprintf("beside%d", i)
		if p := ring.PartitionOf([]byte(key)); pl.owner[p] == self && p != ring.PartitionOf([]byte(keys[0])) {
			beside = key
		}
	}
	undeclared := "return redis.call('set', ARGV[1], 'undeclared')"
	if got := nodes[1].do("EVAL", undeclared, "1", keys[0], beside); got != "+OK\r\n" {
		t.Errorf("an undeclared key of the same node: %q", got)
	}
	if got := copies(nodes, beside, "undeclared"); got != 2 {
		t.Errorf("%s has %d copies", beside, got)
	}
	if got := nodes[1].do("EVAL", undeclared, "1", keys[0], keys[1]); !strings.HasPrefix(got, "-ERR Script attempted to access a key that another node holds") {
		t.Errorf("an undeclared key of another node: %q", got)
	}
	if got := nodes[1].do("EVAL", "return redis.call('dbsize')", "1", keys[0]); !strings.HasPrefix(got, "-ERR This Redis command asks every node") {
		t.Errorf("a command on all keys: %q", got)
	}

	// A key that is written over and over is copied once.
	if got := nodes[1].do("EVAL", "for i = 1, 5000 do redis.call('append', KEYS[1], string.rep('x', 1000)) end return redis.call('strlen', KEYS[1])", "1", keys[2]); got != ":5000009\r\n" {
		t.Errorf("APPEND in a loop: %q", got)
	}
}

// The well-known scripts go the same way.
func TestNativeScriptsInACluster(t *testing.T) {
	nodes := startCluster(t, 3, 1)
	release := "if redis.call(\"get\", KEYS[1]) == ARGV[1] then return redis.call(\"del\", KEYS[1]) else return 0 end"
	for i, key := range nodes[0].keyOfEach() {
		n := nodes[(i+1)%3]
		n.do("SET", key, "token", "PX", "60000")
		for _, c := range []struct{ token, want string }{{"other", ":0\r\n"}, {"token", ":1\r\n"}, {"token", ":0\r\n"}} {
			if got := n.do("EVAL", release, "1", key, c.token); got != c.want {
				t.Errorf("release %s by %q: %q, want %q", key, c.token, got, c.want)
			}
		}
		if got := copies(nodes, key, "token"); got != 0 {
			t.Errorf("%s has %d copies after its release", key, got)
		}
	}
}

// A client's own way to run scripts: by SHA1, by text when that is not known.
func TestScriptsByClients(t *testing.T) {
	n := startTuned(t, "a", 2, func(cfg *Config, c *cluster.Config) {
		quick(cfg, c)
		cfg.ScriptTimeLimit = 200 * time.Millisecond
	})
	ctx := t.Context()
	for _, proto := range []int{2, 3} {
		c := n.client(t, proto)
		incr := redis.NewScript("return {redis.call('incrby', KEYS[1], ARGV[1]), {'x', false, 3.9}}")
		for range 2 {
			if _, err := incr.Run(ctx, c, []string{"n"}, 5).Slice(); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.EvalSha(ctx, strings.Repeat("0", 40), nil).Err(); !redis.HasErrorPrefix(err, "NOSCRIPT") {
			t.Errorf("an unknown script: %v", err)
		}
		if err := c.Eval(ctx, "while true do end", nil).Err(); err == nil || !strings.Contains(err.Error(), "time limit") {
			t.Errorf("a script without end: %v", err)
		}
		var got []any
		_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "t", 1, 0)
			p.Eval(ctx, "return redis.call('incr', 't')", []string{})
			p.Eval(ctx, "return redis.call('incr', KEYS[1])", []string{"t"})
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			t.Errorf("scripts in a transaction: %v %v", err, got)
		}
		if v := c.Get(ctx, "t").Val(); v != "3" {
			t.Errorf("after the transaction t is %q", v)
		}
	}
	if v := n.client(t, 3).Get(ctx, "n").Val(); v != "20" {
		t.Errorf("n is %q", v)
	}
}

// What comes after something slow in the same tick goes by the time that it then is, not by that of the tick's start.
func TestTimePassesWithinATick(t *testing.T) {
	n := startTuned(t, "alone", 1, func(cfg *Config, _ *cluster.Config) { cfg.Peers = nil })
	const slow = `
		local function now() local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000) end
		local start = now()
		repeat local passed = now() - start until passed > 50
		return now()`
	const life = 100 * time.Second
	pipe := n.client(t, 3).Pipeline()
	ended := pipe.Eval(t.Context(), slow, nil)
	pipe.Set(t.Context(), "k", "v", life)
	expires := pipe.PExpireTime(t.Context(), "k")
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	end, err := ended.Int64()
	if err != nil {
		t.Fatal(err)
	}
	if early := time.Duration(end)*time.Millisecond + life - expires.Val(); early > 0 {
		t.Errorf("a key that was set after a slow script expires %v too early", early)
	}
}
