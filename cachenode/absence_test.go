package cachenode

import (
	"fmt"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// group has each of the nodes see the others, and nobody else.
func group(nodes ...*testNode) {
	for _, n := range nodes {
		members := []cluster.Member{n.me()}
		for _, other := range nodes {
			if other != n {
				members = append(members, other.me())
			}
		}
		n.follow(nil, viewOf(members...))
	}
}

// grouped starts nodes that know each other by what the test tells them; the first is the oldest.
func grouped(t testing.TB, count int) []*testNode {
	t.Helper()
	var nodes []*testNode
	for i := range count {
		nodes = append(nodes, startTuned(t, string(rune('a'+i)), 1, func(cfg *Config, _ *cluster.Config) {
			cfg.BackFillTimeout = 4 * time.Second // where both copies were on the side that gives way, nobody hands over
		}))
	}
	for _, n := range nodes {
		waitFor(t, "nodes to be alone", func() bool { return n.Ready() == nil })
	}
	group(nodes...)
	waitSettled(t, nodes...)
	return nodes
}

// versionOf tells what a node knows of a key, 0 for nothing.
func (n *testNode) versionOf(key string) (version uint64, deleted bool) {
	var e store.Entry
	if !n.store.Entry([]byte(key), time.Now().UnixMilli(), &e) {
		return 0, false
	}
	return e.Version, e.Deleted
}

// waitAgreed waits until owner and backup of each key have the same of it, and every node answers the same, which it returns.
func waitAgreed(t *testing.T, nodes []*testNode, keys []string) map[string]string {
	t.Helper()
	waitSettled(t, nodes...)
	replies := map[string]string{}
	waitFor(t, "all nodes to agree", func() bool {
		for _, key := range keys {
			var seen []uint64
			p := ring.PartitionOf([]byte(key))
			for _, n := range nodes {
				if v, deleted := n.versionOf(key); n.placement.Load().holds(self, p) && !deleted {
					seen = append(seen, v)
				}
			}
			if len(seen) > 0 && (len(seen) != 2 || seen[0] != seen[1]) && !(len(seen) == 1 && seen[0] == 0) {
				return false
			}
			replies[key] = nodes[0].do("GET", key)
			for _, n := range nodes[1:] {
				if n.do("GET", key) != replies[key] {
					return false
				}
			}
		}
		return true
	})
	return replies
}

// A member was away and has noticed nothing, whichever it was: what the others have done meanwhile stays.
func TestWhoWasAwayBringsNothingBack(t *testing.T) {
	t.Parallel()
	for _, count := range []int{2, 3} {
		for away := range count {
			t.Run(fmt.Sprintf("nodes=%d/away=%d", count, away), func(t *testing.T) {
				t.Parallel()
				nodes := grouped(t, count)
				gone := nodes[away]
				var rest []*testNode
				for _, n := range nodes {
					if n != gone {
						rest = append(rest, n)
					}
				}
				var keys []string
				for i := range 60 {
					for _, kind := range []string{"kept", "set", "deleted", "counted"} {
						key := fmt.Sprintf("%s%d", kind, i)
						keys = append(keys, key)
						if got := nodes[i%count].do("SET", key, "1"); got != "+OK\r\n" {
							t.Fatal(got)
						}
					}
				}
				group(rest...)
				for i := range 60 {
					n := rest[i%len(rest)]
					n.do("SET", fmt.Sprint("set", i), "2")
					n.do("DEL", fmt.Sprint("deleted", i))
					n.do("INCR", fmt.Sprint("counted", i))
				}
				// They see it again, which it does not know.
				for _, n := range rest {
					members := []cluster.Member{n.me(), gone.me()}
					for _, other := range rest {
						if other != n {
							members = append(members, other.me())
						}
					}
					n.follow(nil, viewOf(members...))
				}
				waitFor(t, "the node to hear that it was away", func() bool { return gone.forgone.Load() > 0 })
				for i := range 60 {
					if got := gone.do("INCR", fmt.Sprint("counted", i)); got != ":3\r\n" {
						t.Errorf("INCR counted%d: %q", i, got)
					}
				}
				replies := waitAgreed(t, nodes, keys)
				for i := range 60 {
					for kind, want := range map[string]string{"kept": bulk("1"), "set": bulk("2"), "deleted": "$-1\r\n", "counted": bulk("3")} {
						if got := replies[fmt.Sprint(kind, i)]; got != want {
							t.Errorf("%s%d is %q, want %q", kind, i, got, want)
						}
					}
				}
			})
		}
	}
}

// Who was away for longer than deletions are remembered drops what it had, also when nobody knows any more of what was
// deleted.
func TestWhoWasAwayForLongDropsWhatItHad(t *testing.T) {
	t.Parallel()
	nodes := grouped(t, 3)
	a, gone, c := nodes[0], nodes[1], nodes[2]
	now := time.Now()
	var keys []string
	for i := range 100 {
		key := fmt.Sprint("old", i)
		keys = append(keys, key)
		e := store.Entry{Key: []byte(key), Kind: store.KindString, Version: store.VersionAt(now.Add(-time.Hour).UnixMilli()), Value: []byte("v")}
		for _, n := range nodes {
			if n.placement.Load().holds(self, n.partition(key)) {
				if _, err := n.store.Apply(&e, now.UnixMilli()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	group(a, c)
	waitSettled(t, a, c)
	for _, key := range keys[:50] {
		if got := a.do("DEL", key); got != ":1\r\n" {
			t.Fatalf("DEL %s: %q", key, got)
		}
	}
	for _, n := range []*testNode{a, c} {
		n.Node.mu.Lock()
		b := n.absent["b"]
		b.since = now.Add(-keepFor - time.Minute)
		n.absent["b"] = b
		n.keepDeletions()
		n.Node.mu.Unlock()
		n.store.Expire(now.Add(2*tombstoneTTL).UnixMilli(), 1<<20)
		if left := n.store.Stats().Tombstones; left > 0 {
			t.Fatalf("%d deletions are still known", left)
		}
	}
	gone.Node.mu.Lock()
	for _, r := range gone.placement.Load().peers {
		r.met = now.Add(-time.Hour)
	}
	gone.Node.mu.Unlock()
	for _, n := range []*testNode{a, c} {
		other := c
		if n == c {
			other = a
		}
		n.follow(nil, viewOf(n.me(), gone.me(), other.me()))
	}
	waitFor(t, "the node to drop what it had", func() bool { return gone.Stats().Outdated > 0 })
	replies := waitAgreed(t, nodes, keys)
	for i, key := range keys {
		want := bulk("v")
		if i < 50 {
			want = "$-1\r\n"
		}
		if replies[key] != want {
			t.Errorf("%s is %q, want %q", key, replies[key], want)
		}
	}
}

// Five nodes fall apart into three and two, both sides write, and when they meet everybody agrees: what one side has written
// is there, and of what both have, the newer.
func TestFiveNodesMergeAfterASplit(t *testing.T) {
	t.Parallel()
	for _, small := range [][2]int{{0, 1}, {3, 4}} { // with the oldest member, and without
		t.Run(fmt.Sprint("apart=", small), func(t *testing.T) {
			t.Parallel()
			nodes := grouped(t, 5)
			var left, right []*testNode
			for i, n := range nodes {
				if i == small[0] || i == small[1] {
					right = append(right, n)
				} else {
					left = append(left, n)
				}
			}
			const each = 40
			var keys []string
			for i := range each {
				for _, kind := range []string{"before", "left", "right", "both", "deleted", "count"} {
					keys = append(keys, fmt.Sprint(kind, i))
				}
				for _, kind := range []string{"before", "both", "deleted", "count"} {
					nodes[i%5].do("SET", fmt.Sprint(kind, i), "0")
				}
				nodes[i%5].do("RPUSH", fmt.Sprint("list", i), "0")
			}
			group(left...)
			group(right...)
			for i := range each {
				l, r := left[i%3], right[i%2]
				first, second := l, r
				if i%2 == 1 {
					first, second = r, l
				}
				l.do("SET", fmt.Sprint("left", i), "l")
				r.do("SET", fmt.Sprint("right", i), "r")
				first.do("SET", fmt.Sprint("both", i), "first")
				first.do("INCR", fmt.Sprint("count", i))
				first.do("SET", fmt.Sprint("deleted", i), "first")
				first.do("RPUSH", fmt.Sprint("list", i), "first")
				time.Sleep(2 * time.Millisecond) // versions count milliseconds
				second.do("SET", fmt.Sprint("both", i), "second")
				second.do("INCRBY", fmt.Sprint("count", i), "10")
				second.do("DEL", fmt.Sprint("deleted", i))
				second.do("RPUSH", fmt.Sprint("list", i), "second")
			}
			group(nodes...)
			replies := waitAgreed(t, nodes, keys)
			for i := range each {
				for kind, want := range map[string]string{
					"before": bulk("0"), "left": bulk("l"), "right": bulk("r"), "both": bulk("second"), "deleted": "$-1\r\n", "count": bulk("10"),
				} {
					if got := replies[fmt.Sprint(kind, i)]; got != want {
						t.Errorf("%s%d is %q, want %q", kind, i, got, want)
					}
				}
				for _, n := range nodes {
					// A side that had neither copy of it has begun anew.
					got := n.do("LRANGE", fmt.Sprint("list", i), "0", "-1")
					if got != "*2\r\n"+bulk("0")+bulk("second") && got != "*1\r\n"+bulk("second") {
						t.Errorf("list%d at %s is %q", i, n.name, got)
					}
				}
			}
		})
	}
}

// What a snapshot has brought back is dropped where the cluster has lived on for longer than deletions are remembered, and
// what was written since is not.
func TestSnapshotDoesNotBringBackThePast(t *testing.T) {
	t.Parallel()
	for _, age := range []time.Duration{time.Minute, time.Hour} {
		n := startNode(t, "n", 1)
		waitFor(t, "the node to run", func() bool { return n.Ready() == nil })
		now := time.Now()
		e := store.Entry{Key: []byte("loaded"), Kind: store.KindString, Version: store.VersionAt(now.Add(-2 * time.Hour).UnixMilli()), Value: []byte("v")}
		if _, err := n.store.Apply(&e, now.UnixMilli()); err != nil {
			t.Fatal(err)
		}
		n.put("written", "v")
		n.Node.mu.Lock()
		n.restored = true
		n.Node.mu.Unlock()
		other := newScripted(t, n, "o", uint64(age))
		n.follow(nil, viewOf(n.me(), other.Member))
		if got, want := n.value("loaded") == "", age > tombstoneTTL; got != want {
			t.Errorf("the other is %v older: dropped is %v, want %v", age, got, want)
		}
		if n.value("written") == "" {
			t.Error("what was written since the start is dropped")
		}
	}
}
