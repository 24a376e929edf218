package script

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
)

// TestCommandsAgainstRedis compares what is not the work of Lua: arguments, the cache, SCRIPT.
func TestCommandsAgainstRedis(t *testing.T) {
	known := sha("return 1")
	read := "#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])"
	for _, proto := range []string{"2", "3"} {
		real, mine := realRedis(t), newOurs(Config{})
		real.Do(t, "HELLO", proto)
		mine.c.Proto = int(proto[0] - '0')
		for _, args := range [][]string{
			{"evalsha", known, "0"}, {"eval", "return 1", "0"}, {"evalsha", known, "0"}, {"evalsha", strings.ToUpper(known), "0"},
			{"evalsha", "x", "0"}, {"evalsha", "x", "abc"}, {"evalsha", known, "abc"}, {"evalsha", known, "-1"}, {"evalsha", known, "1"},
			{"evalsha", strings.Repeat("0", 40), "-1"}, {"evalsha", strings.Repeat("0", 40), "0"},
			{"eval"}, {"eval", "return 1"}, {"eval", "return 1", "x"}, {"eval", "return 1", "-1"}, {"eval", "return 1", "1"}, {"eval", "return 1", "2", "a"},
			{"eval", "return 1", "99999999999999999999"}, {"eval", "return 1", "1.0"}, {"eval", "return {KEYS[1],ARGV[1]}", "1", "a", "b"},
			{"eval", "return {#KEYS,#ARGV}", "0", "a", "b"}, {"eval", "", "0"}, {"eval", "bad bad", "0"}, {"evalsha", sha("bad bad"), "0"},
			{"eval_ro", "return redis.call('get','a')", "0"}, {"eval_ro", "return redis.call('set','a',1)", "0"}, {"eval_ro", "return redis.pcall('set','a',1)", "0"},
			{"eval_ro", read, "1", "a"}, {"eval_ro", "#!lua\nreturn 1", "0"}, {"eval", read, "1", "a"}, {"evalsha_ro", sha(read), "1", "a"},
			{"evalsha_ro", known, "0"}, {"evalsha_ro", strings.Repeat("f", 40), "0"}, {"evalsha_ro", "x", "y"}, {"eval_ro"}, {"evalsha_ro", known},
			{"eval", "#!lua flags=no-writes\nreturn redis.call('del','a')", "0"}, {"eval", "#!lua flags=nope\nreturn 1", "0"}, {"eval", "#!ruby\nreturn 1", "0"},
			{"script"}, {"script", "load"}, {"script", "load", "return 5"}, {"script", "load", "return 5", "x"}, {"script", "load", "(("}, {"script", "load", "#!lua x=y\nreturn 1"},
			{"evalsha", sha("return 5"), "0"}, {"script", "exists"}, {"script", "exists", known, "x", sha("return 5"), strings.ToUpper(known)},
			{"script", "kill"}, {"script", "kill", "x"}, {"script", "flush", "x"}, {"script", "flush", "sync", "x"}, {"script", "nosuch"}, {"script", "nosuch", "x"},
			{"script", "FLUSH"}, {"script", "exists", known}, {"evalsha", known, "0"}, {"script", "flush", "ASYNC"}, {"script", "flush", "SYNC"},
		} {
			want, got := real.Do(t, args...), mine.do(args...)
			if string(want) != string(got) {
				t.Errorf("proto %s, %q:\n redis %q\n ours  %q", proto, args, want, got)
			}
		}
		// Valkey's.
		mine.do("script", "load", "return 7")
		if got := string(mine.do("script", "show", sha("return 7"))); got != "$8\r\nreturn 7\r\n" {
			t.Errorf("SCRIPT SHOW: %q", got)
		}
		if got := string(mine.do("script", "show", known)); got != "-"+errNoScript+"\r\n" {
			t.Errorf("SCRIPT SHOW of none: %q", got)
		}
		if got := string(mine.do("script", "help")); !strings.HasPrefix(got, "*") {
			t.Errorf("SCRIPT HELP: %q", got)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	o := newOurs(Config{MaxScripts: 10, MaxScriptBytes: 1000})
	e := o.c.Scripts.(*Runner).e
	for i := range 50 {
		o.do("eval", fmt.Sprintf("return %d", i), "0")
		o.do("evalsha", sha("return 0"), "0") // stays by being used
	}
	if n := len(e.scripts.bySHA); n != 10 {
		t.Errorf("%d scripts", n)
	}
	if got := string(o.do("evalsha", sha("return 0"), "0")); got != ":0\r\n" {
		t.Errorf("the one that is used has left: %q", got)
	}
	if got := string(o.do("evalsha", sha("return 20"), "0")); got != "-"+errNoScript+"\r\n" {
		t.Errorf("an old one is there: %q", got)
	}
	o.do("eval", "return '"+strings.Repeat("x", 900)+"'", "0")
	if e.scripts.size > 1000 {
		t.Errorf("%d bytes", e.scripts.size)
	}
	o.do("eval", "return '"+strings.Repeat("x", 2000)+"'", "0")
	if got := string(o.do("eval", "return '"+strings.Repeat("x", maxSource)+"'", "0")); !strings.HasPrefix(got, "-ERR script is larger") {
		t.Errorf("%.100q", got)
	}
}

// TestKill stops a script of another loop.
func TestKill(t *testing.T) {
	o := newOurs(Config{TimeLimit: 10 * time.Minute})
	e := o.c.Scripts.(*Runner).e
	other := command.Context{Store: o.c.Store, Proto: 2, Scripts: e.NewRunner()}
	kill := func() string {
		other.Args, other.Out = redistest.Args([]string{"script", "kill"}), nil
		o.table.Lookup([]byte("script")).Exec(&other)
		return string(other.Out)
	}
	eventually := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); kill() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("SCRIPT KILL does not answer %q but %q", want, kill())
			}
		}
	}
	done := make(chan string)
	go func() { done <- string(o.do("eval", "while true do end", "0")) }()
	eventually("+OK\r\n")
	if got := <-done; !strings.HasPrefix(got, "-"+errKilled+" script: ") {
		t.Errorf("killed: %q", got)
	}
	if got := kill(); got != "-"+errNotBusy+"\r\n" {
		t.Errorf("nothing runs: %q", got)
	}
	answer := ""
	o.c.Publish = func(bool, []byte, []byte) int { // is called while the script runs
		answer = kill()
		return 0
	}
	if got := string(o.do("eval", "redis.call('set', 'x', 1) redis.call('publish', 'c', 'm') return 'whole'", "0")); got != "$5\r\nwhole\r\n" {
		t.Errorf("a script that has written: %q", got)
	}
	if answer != "-"+errUnkillable+"\r\n" {
		t.Errorf("SCRIPT KILL of a script that has written: %q", answer)
	}
}

// TestInsideTransaction runs a script where somebody holds the locks already.
func TestInsideTransaction(t *testing.T) {
	o := newOurs(Config{})
	eval := o.table.Lookup([]byte("eval"))
	o.c.NowMilli, o.c.Out = time.Now().UnixMilli(), nil
	o.c.Together(nil, 0, func() {
		o.c.Call(eval, redistest.Args([]string{"eval", "return redis.call('incr', KEYS[1])", "1", "n"}))
		o.c.Call(eval, redistest.Args([]string{"eval", "return redis.call('incr', 'n')", "0"}))
		o.c.Call(o.table.Lookup([]byte("get")), redistest.Args([]string{"get", "n"}))
	})
	if got := string(o.c.Out); got != ":1\r\n:2\r\n$1\r\n2\r\n" {
		t.Errorf("%q", got)
	}
}

func TestChangedKeys(t *testing.T) {
	o := newOurs(Config{})
	o.c.Track = true
	o.do("eval", "redis.call('set', KEYS[1], 1) redis.call('get', 'other') redis.call('incr', 'un' .. 'declared') redis.call('del', 'none')", "1", "k")
	var got []string
	for _, k := range o.c.Changed() {
		got = append(got, string(k.Bytes))
	}
	if strings.Join(got, " ") != "k undeclared" {
		t.Errorf("changed: %q", got)
	}
}

// TestEmptyArguments passes an empty pattern: it matches only what is empty.
func TestEmptyArguments(t *testing.T) {
	o := newOurs(Config{})
	o.do("set", "k", "v")
	if got := string(o.do("eval", "return redis.call('keys', ARGV[1])", "0", "")); got != "*0\r\n" {
		t.Errorf("%q", got)
	}
}
