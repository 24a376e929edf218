package cachenode

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
)

// keeping has nodes keep copies of each other's keys.
func keeping(cfg *Config, _ *cluster.Config) { cfg.NearBytes = 8 << 20 }

// heat reads a key on each loop of n until it is answered from a copy.
func (n *testNode) heat(t testing.TB, key string) {
	t.Helper()
	for loop := range n.workers {
		waitFor(t, fmt.Sprintf("a copy of %s at %s", key, n.name), func() bool {
			before := n.Stats().NearHits
			n.doOn(loop, "GET", key)
			return n.Stats().NearHits > before
		})
	}
}

func TestHotKeysAreReadFromCopies(t *testing.T) {
	nodes := startTunedCluster(t, 2, 2, keeping)
	a, b := nodes[0], nodes[1]
	key := a.keyOwned(false)
	b.do("SET", key, "v")
	for range 5 { // not yet hot
		a.do("GET", key)
	}
	if s := a.Stats(); s.NearCopies != 0 {
		t.Errorf("%d copies of keys that are read five times", s.NearCopies)
	}
	a.heat(t, key)
	before, forwarded := a.Stats().NearHits, a.Stats().Forwarded
	for range 100 {
		for loop := range a.workers {
			if got := a.doOn(loop, "GET", key); got != "$1\r\nv\r\n" {
				t.Fatalf("GET: %q", got)
			}
		}
	}
	hits, asked := a.Stats().NearHits-before, a.Stats().Forwarded-forwarded
	if hits+asked != 200 || asked > 100 { // some are sent to the owner, or all for a while on a busy machine
		t.Errorf("%d of 200 reads are answered from copies, %d by the owner", hits, asked)
	}
	s := a.Stats()
	if s.NearCopies != 1 || s.NearBytes < 100 || s.NearBytes > 1000 {
		t.Errorf("%d copies take %d bytes", s.NearCopies, s.NearBytes)
	}
	if info := string(a.Info(nil)); !strings.Contains(info, "outrigger_near_copies:1\r\n") {
		t.Errorf("INFO: %q", info)
	}
	if s := b.Stats(); s.NearCopies != 0 || s.NearHits != 0 {
		t.Errorf("the owner has copies: %+v", s)
	}
}

// Whatever changes a key at its owner, or through any node, ends its copies elsewhere; here, at once for the node that
// the change was asked for through.
func TestChangesEndCopies(t *testing.T) {
	nodes := startTunedCluster(t, 3, 1, keeping)
	a, b, c := nodes[0], nodes[1], nodes[2]
	tag := "{" + a.place(t, b, c) + "}"
	key, other := tag+"k", tag+"other"
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"set", []string{"SET", key, "new"}, "$3\r\nnew\r\n"},
		{"append", []string{"APPEND", key, "+"}, "$4\r\nold+\r\n"},
		{"del", []string{"DEL", key}, "$-1\r\n"},
		{"unlink of several owners", []string{"UNLINK", key, a.keyOwned(true), a.place(t, c, a)}, "$-1\r\n"},
		{"mset of several owners", []string{"MSET", key, "new", a.keyOwned(true), "x"}, "$3\r\nnew\r\n"},
		{"getdel", []string{"GETDEL", key}, "$-1\r\n"},
		{"rename", []string{"RENAME", key, other}, "$-1\r\n"},
		{"rename to", []string{"RENAME", other, key}, "$5\r\nother\r\n"},
		{"expired", []string{"PEXPIRE", key, "-1"}, "$-1\r\n"},
		{"eval", []string{"EVAL", "return redis.call('set', KEYS[1], 'new')", "1", key}, "$3\r\nnew\r\n"},
		{"flushall", []string{"FLUSHALL"}, "$-1\r\n"},
		{"flushdb", []string{"FLUSHDB"}, "$-1\r\n"},
	} {
		for _, through := range nodes {
			b.do("MSET", key, "old", other, "other")
			waitFor(t, "the old value", func() bool { return a.do("GET", key) == "$3\r\nold\r\n" })
			a.heat(t, key)
			if got := through.do(tt.args...); got[0] == '-' {
				t.Fatalf("%s: %q", tt.name, got)
			}
			if through == a {
				if got := a.do("GET", key); got != tt.want {
					t.Errorf("%s through the node of the copy: %q is read behind it, want %q", tt.name, got, tt.want)
				}
				continue
			}
			changed := time.Now()
			for got := ""; got != tt.want; {
				began := time.Now()
				got = a.do("GET", key)
				if late := began.Sub(changed); got != tt.want && late > a.cfg.NearStaleness {
					t.Fatalf("%s through %s: %q is read %v later, want %q", tt.name, through.name, got, late, tt.want)
				}
			}
		}
	}
}

// A time to live holds for copies too, and a copy of what has none is of no consequence for it.
func TestCopiesExpire(t *testing.T) {
	nodes := startTunedCluster(t, 2, 1, keeping)
	a, b := nodes[0], nodes[1]
	key := a.keyOwned(false)
	for range 2 {
		b.do("SET", key, "v", "PX", "700")
		end := time.Now().Add(700 * time.Millisecond)
		for {
			began := time.Now()
			got := a.do("GET", key)
			if got == "$-1\r\n" && time.Now().After(end) {
				break
			}
			// The owner's clock has whole milliseconds, and stands still for a tick.
			if late := began.Sub(end); late > a.cfg.NearStaleness/2 {
				t.Fatalf("%q is read %v behind its end", got, late)
			}
		}
	}
}

// What rules by prefix say of a key is between its owner and its readers.
func TestRulesForbidCopies(t *testing.T) {
	nodes := startTunedCluster(t, 2, 1, keeping)
	a, b := nodes[0], nodes[1]
	key := a.keyOwned(false)
	b.store.SetRules([]store.Rule{{Prefix: key, RefreshAhead: time.Second}})
	b.do("SET", key, "v")
	for range 200 {
		a.do("GET", key)
	}
	if s := a.Stats(); s.NearHits != 0 || s.NearCopies != 0 {
		t.Errorf("copies of a key with a rule: %+v", s)
	}
	b.store.SetRules(nil)
	a.heat(t, key)
	a.store.SetRules([]store.Rule{{Prefix: key, Strong: true}}) // it has heard of it before the owner
	before := a.Stats().NearHits
	for range 20 {
		a.do("GET", key)
	}
	if hits := a.Stats().NearHits - before; hits != 0 {
		t.Errorf("%d reads of a strong key are answered from copies", hits)
	}
	a.store.SetRules(nil)
	a.heat(t, key)
	b.store.SetRules([]store.Rule{{Prefix: key, RefreshAhead: time.Second}})
	waitFor(t, "the copy to go with a new rule", func() bool {
		before := a.Stats().NearHits
		a.do("GET", key)
		return a.Stats().NearHits == before
	})
}

// Sessions that watch keys, or keep what they read, are given what the owner has.
func TestFreshReads(t *testing.T) {
	nodes := startTunedCluster(t, 2, 1, keeping)
	a, b := nodes[0], nodes[1]
	key := a.keyOwned(false)
	b.do("SET", key, "v")
	for _, begin := range []string{"WATCH k", "CLIENT TRACKING ON"} {
		c := a.line(t)
		c.send("HELLO 3")
		c.until("*0")
		c.send("%s", begin)
		c.until("+OK")
		a.heat(t, key)
		before := a.Stats().NearHits
		for range 20 {
			c.send("GET %s", key)
			c.until("v")
		}
		if hits := a.Stats().NearHits - before; hits != 0 {
			t.Errorf("after %s, %d reads are answered from copies", begin, hits)
		}
	}
}

// The memory of copies is bounded, and part of the budget.
func TestMemoryOfCopies(t *testing.T) {
	const budget = 1 << 20
	nodes := startTunedCluster(t, 2, 1, func(cfg *Config, _ *cluster.Config) { cfg.NearBytes = budget })
	a, b := nodes[0], nodes[1]
	before := a.store.Used()
	largest := strings.Repeat("v", budget/64-1000)
	most := int64(0)
	for i, kept := 0, 0; kept < 80; i++ {
		key := fmt.Sprint("key", i)
		if a.placement.Load().owner[a.partition(key)] == self {
			continue
		}
		b.do("SET", key, largest)
		for range 10 {
			a.do("GET", key)
		}
		most = max(most, a.Stats().NearBytes)
		kept++
	}
	if most < budget/2 || most > budget {
		t.Errorf("copies take up to %d bytes, the bound is %d", most, budget)
	}
	if s := a.Stats(); a.store.Used() < before+s.NearBytes {
		t.Errorf("%d bytes are booked, %d of them were before, and %d are copies", a.store.Used(), before, s.NearBytes)
	}
	b.do("FLUSHALL")
	waitFor(t, "all copies to go", func() bool { return a.Stats().NearCopies == 0 })
	if used := a.store.Used(); a.Stats().NearBytes != 0 || used > before+1<<20 {
		t.Errorf("%d bytes are booked when all copies are gone, %d were before", used, before)
	}
	key := a.keyOwned(false)
	b.do("SET", key, largest+largest)
	for range 50 {
		a.do("GET", key)
	}
	if s := a.Stats(); s.NearCopies != 0 {
		t.Errorf("a value of %d bytes is kept", 2*len(largest))
	}
}

// A read from a copy takes no memory.
func TestReadsFromCopiesDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const depth = 100
	a := startTunedCluster(t, 2, 1, keeping)[0]
	key := a.keyOwned(false)
	a.do("SET", key, "value")
	a.heat(t, key)
	p := newPipeline(t, a, depth, len("$5\r\nvalue\r\n"), "GET", key)
	n := math.Inf(1)
	for try := 0; try < 20 && n > 0.1; try++ { // gossip and timers take some meanwhile
		n = min(n, testing.AllocsPerRun(10, func() { p.run(t) })/depth)
	}
	if n > 0.1 {
		t.Errorf("%.2f allocations for a read", n)
	}
	if s := a.Stats(); s.NearHits < 10*depth {
		t.Errorf("%d reads are from copies", s.NearHits)
	}
}
