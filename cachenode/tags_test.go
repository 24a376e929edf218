package cachenode

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
)

// startTagged runs nodes on which keys "user:7:…" have the tag "u7" by their names.
func startTagged(t *testing.T, count int, tune func(*Config, *cluster.Config)) (nodes []*testNode) {
	t.Helper()
	for i := range count {
		nodes = append(nodes, startTaggedNode(t, string(rune('a'+i)), tune, nodes...))
	}
	waitSettled(t, nodes...)
	return nodes
}

func startTaggedNode(t *testing.T, name string, tune func(*Config, *cluster.Config), join ...*testNode) *testNode {
	t.Helper()
	n := startTuned(t, name, 1, tune, join...)
	pattern, err := store.ParseTagPattern("u{1}")
	if err != nil {
		t.Fatal(err)
	}
	n.SetRules([]store.Rule{{Prefix: "user:", Tags: []store.TagPattern{pattern}}})
	return n
}

func (n *testNode) must(t *testing.T, want string, args ...string) {
	t.Helper()
	if got := n.do(args...); got != want {
		t.Fatalf("%v through %s: %q, want %q", args, n.name, got, want)
	}
}

func TestTagsAcrossTheCluster(t *testing.T) {
	nodes := startTagged(t, 3, quick)
	const keys = 24
	for i := range keys {
		n := nodes[i%3]
		n.must(t, "+OK\r\n", "SET", fmt.Sprintf("page:%d", i), "v")
		n.must(t, ":1\r\n", "X.TAG", fmt.Sprintf("page:%d", i), "pages", fmt.Sprintf("t%d", i%2))
		n.must(t, ":1\r\n", "HSET", fmt.Sprintf("user:%d:h", i), "f", "v")
	}
	nodes[0].must(t, ":0\r\n", "X.TAG", "missing", "t")
	for _, wrong := range []string{"X.TAG page:1 " + strings.Repeat("x", 256), "X.TAG page:1" + manyTags(17), "X.INVALIDATE" + manyTags(1025)} {
		if got := nodes[1].do(strings.Fields(wrong)...); !strings.HasPrefix(got, "-ERR") {
			t.Errorf("%.40s: %q", wrong, got)
		}
	}
	found := func(n *testNode, key string) bool { return n.do("EXISTS", key) == ":1\r\n" }
	check := func(when string, page func(i int) bool, user func(i int) bool, nodes ...*testNode) {
		t.Helper()
		for i := range keys {
			for _, n := range nodes {
				if key := fmt.Sprintf("page:%d", i); found(n, key) != page(i) {
					t.Fatalf("%s, %s through %s is there: %v", when, key, n.name, !page(i))
				}
				if key := fmt.Sprintf("user:%d:h", i); found(n, key) != user(i) {
					t.Fatalf("%s, %s through %s is there: %v", when, key, n.name, !user(i))
				}
			}
		}
	}
	all := func(int) bool { return true }
	check("at first", all, all, nodes...)
	nodes[1].must(t, "+OK\r\n", "X.INVALIDATE", "t1", "u5", "unheard")
	even := func(i int) bool { return i%2 == 0 }
	not5 := func(i int) bool { return i != 5 }
	check("after an invalidation", even, not5, nodes...)

	// Copies at backups are gone too, and a node that joins finds nothing that was invalidated before it came.
	nodes[2].crash()
	waitSettled(t, nodes[:2]...)
	check("after a crash", even, not5, nodes[:2]...)
	d := startTaggedNode(t, "d", quick, nodes[0])
	waitSettled(t, nodes[0], nodes[1], d)
	check("after a join", even, not5, nodes[0], nodes[1], d)
	if nodes[0].store.TagDigests() != d.store.TagDigests() {
		t.Error("the node that has joined has not got the table")
	}

	// What was bound keeps its tags wherever it has gone.
	d.must(t, "+OK\r\n", "X.INVALIDATE", "pages")
	check("after another", func(int) bool { return false }, not5, nodes[0], nodes[1], d)
	nodes[0].must(t, "+OK\r\n", "SET", "page:1", "new")
	check("after a SET", func(i int) bool { return i == 1 }, not5, nodes[0], nodes[1], d)
}

func manyTags(n int) (s string) {
	for i := range n {
		s += fmt.Sprintf(" tag%d", i)
	}
	return s
}

// Tags live as long as the value: they go with a SET, stay with what changes the value, and follow RENAME and COPY.
func TestTagsFollowTheValue(t *testing.T) {
	nodes := startTagged(t, 2, quick)
	client := redis.NewClient(&redis.Options{Addr: nodes[0].addr})
	defer client.Close()
	ctx := t.Context()
	for _, tt := range []struct {
		what  string
		lines []string
		key   string
		stays bool // after its tag was invalidated
	}{
		{"SET", []string{"set {k} a", "x.tag {k} t", "set {k} b"}, "{k}", true},
		{"SET KEEPTTL", []string{"set {k} a", "x.tag {k} t", "set {k} b keepttl"}, "{k}", false},
		{"INCR", []string{"set {k} 1", "x.tag {k} t", "incr {k}"}, "{k}", false},
		{"APPEND", []string{"set {k} 1", "x.tag {k} t", "append {k} x"}, "{k}", false},
		{"HSET", []string{"hset {k} a b", "x.tag {k} t", "hset {k} c d"}, "{k}", false},
		{"DEL and SET", []string{"set {k} 1", "x.tag {k} t", "del {k}", "set {k} 2"}, "{k}", true},
		{"RENAME", []string{"set {k} 1", "x.tag {k} t", "rename {k} {k}2"}, "{k}2", false},
		{"RENAME of a hash", []string{"hset {k} a b", "x.tag {k} t", "rename {k} {k}2"}, "{k}2", false},
		{"RENAME over one with tags", []string{"set {k} 1", "set {k}2 2", "x.tag {k}2 t", "rename {k} {k}2"}, "{k}2", true},
		{"COPY", []string{"set {k} 1", "x.tag {k} t", "copy {k} {k}2"}, "{k}2", false},
		{"COPY of a list", []string{"rpush {k} 1", "x.tag {k} t", "copy {k} {k}2"}, "{k}2", false},
		{"EXPIRE", []string{"set {k} 1", "x.tag {k} t", "expire {k} 1000"}, "{k}", false},
		{"another tag", []string{"set {k} 1", "x.tag {k} t", "x.tag {k} s"}, "{k}", false},
	} {
		client.Del(ctx, "{k}", "{k}2")
		run := func(line string) {
			var args []any
			for _, word := range strings.Fields(line) {
				args = append(args, word)
			}
			if err := client.Do(ctx, args...).Err(); err != nil {
				t.Fatalf("%s: %s: %v", tt.what, line, err)
			}
		}
		for _, line := range tt.lines {
			run(line)
		}
		run("x.invalidate t")
		if got := client.Exists(ctx, tt.key).Val() == 1; got != tt.stays {
			t.Errorf("%s: the key is there: %v", tt.what, got)
		}
		for _, n := range nodes {
			if _, there := n.entry(tt.key); there != tt.stays {
				t.Errorf("%s: %s has a copy: %v", tt.what, n.name, there)
			}
		}
	}
}

func (n *testNode) entry(key string) (e store.Entry, there bool) {
	there = n.store.Entry([]byte(key), time.Now().UnixMilli(), &e) && !e.Deleted
	return e, there
}

// Readers and writers through all nodes: no read that begins after an invalidation was acknowledged gets what was written, and
// bound, before that began; what is written after it stays.
func TestInvalidationIsSeenEverywhere(t *testing.T) {
	nodes := startTagged(t, 3, func(_ *Config, c *cluster.Config) {})
	const users = 6
	var generation, gone [users]atomic.Int64 // written last; everything up to this one is invalid
	var stop atomic.Bool
	var running sync.WaitGroup
	for u := range users {
		key := fmt.Sprintf("user:%d:value", u)
		other := fmt.Sprintf("page:%d", u)
		running.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(u), 1))
			for !stop.Load() {
				n := nodes[rnd.IntN(3)]
				at := generation[u].Add(1)
				if n.do("SET", key, fmt.Sprint(at)) != "+OK\r\n" || n.do("SET", other, fmt.Sprint(at)) != "+OK\r\n" ||
					n.do("X.TAG", other, "x", fmt.Sprintf("u%d", u)) != ":1\r\n" {
					t.Error("a write fails")
				}
				if got := nodes[rnd.IntN(3)].do("GET", key); got != bulk(fmt.Sprint(at)) {
					t.Errorf("what was just written to %s is %q, want %d", key, got, at)
				}
				if rnd.IntN(2) == 0 {
					got := nodes[rnd.IntN(3)].do("X.INVALIDATE", fmt.Sprintf("u%d", u))
					for got != "+OK\r\n" {
						if !strings.HasPrefix(got, "-TRYAGAIN") { // a ring that spreads slowly
							t.Errorf("X.INVALIDATE: %q", got)
							return
						}
						got = nodes[rnd.IntN(3)].do("X.INVALIDATE", fmt.Sprintf("u%d", u))
					}
					gone[u].Store(at)
				}
			}
		})
		for _, n := range nodes {
			running.Go(func() {
				for !stop.Load() {
					for _, k := range []string{key, other} {
						invalid := gone[u].Load()
						var got int64
						if fmt.Sscanf(strings.SplitN(n.do("GET", k), "\r\n", 2)[1], "%d", &got); got != 0 && got <= invalid {
							t.Errorf("%s reads %d of %s, which was invalidated with %d", n.name, got, k, invalid)
							return
						}
					}
				}
			})
		}
	}
	time.Sleep(1500 * time.Millisecond)
	d := startTaggedNode(t, "d", func(*Config, *cluster.Config) {}, nodes[0])
	waitSettled(t, append(nodes, d)...)
	time.Sleep(500 * time.Millisecond)
	stop.Store(true)
	running.Wait()
	waitFor(t, "the tables to be the same", func() bool { return nodes[0].store.TagDigests() == d.store.TagDigests() })
}

// A node that cannot be told is named by an error, and learns of it when it answers again.
func TestInvalidationOfAStalledNode(t *testing.T) {
	nodes := startTagged(t, 3, func(cfg *Config, _ *cluster.Config) { cfg.PeerTimeout = 300 * time.Millisecond })
	a, c := nodes[0], nodes[2]
	resume := c.stall()
	defer resume()
	if got := a.do("X.INVALIDATE", "t"); !strings.HasPrefix(got, "-TRYAGAIN") || !strings.Contains(got, "HINT: ") {
		t.Errorf("with a node that does not answer: %q", got)
	}
	resume()
	waitFor(t, "the stalled node to know", func() bool { return c.store.TagDigests() == a.store.TagDigests() })
	waitFor(t, "all to answer", func() bool { return a.do("X.INVALIDATE", "t") == "+OK\r\n" })
}

// Keys that nobody asks for give their memory back.
func TestInvalidKeysAreSwept(t *testing.T) {
	nodes := startTagged(t, 2, quick)
	for i := range 300 {
		nodes[0].must(t, "+OK\r\n", "SET", fmt.Sprintf("user:1:%d", i), "v")
	}
	nodes[0].must(t, "+OK\r\n", "SET", "user:2:stays", "v")
	nodes[1].must(t, "+OK\r\n", "X.INVALIDATE", "u1")
	waitFor(t, "the keys to be gone from memory", func() bool { return nodes[0].Stats().Keys == 1 && nodes[1].Stats().Keys == 1 })
}
