package cachenode

import (
	"fmt"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
)

// oldEntry is one that was written an hour ago, and some milliseconds.
func oldEntry(key, value string, later int64) *store.Entry {
	at := time.Now().Add(-time.Hour).UnixMilli() + later
	return &store.Entry{Key: []byte(key), Kind: store.KindString, Version: store.VersionAt(at), Value: []byte(value)}
}

func (n *testNode) hold(t testing.TB, e *store.Entry) {
	t.Helper()
	if _, err := n.store.Apply(e, time.Now().UnixMilli()); err != nil {
		t.Fatal(err)
	}
}

// compareAll compares everything that n owns with its copies and returns how much was repaired.
func (n *testNode) compareAll(t testing.TB) (repaired int) {
	t.Helper()
	c := &comparer{n: n.Node, next: map[*remote]int{}}
	pl := n.placement.Load()
	for place := range pl.peers {
		for before, first := -1, true; first || c.next[pl.peers[place]] > before; first = false {
			before = c.next[pl.peers[place]]
			count, err := c.compare(t.Context(), pl, int16(place))
			if err != nil {
				t.Fatal(err)
			}
			repaired += count
		}
	}
	return repaired
}

// A copy that was damaged behind the nodes' backs is found and repaired, whatever is wrong with it.
func TestDamagedCopyIsRepaired(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3, 1)
	a, b := nodes[0], nodes[1]
	tag := "{" + a.place(t, a, b) + "}"
	elsewhere := a.place(t, b, a)
	kinds := []string{"same", "lost", "aged", "newer", "extra", "expiring"}
	key := func(kind string, i int) string { return fmt.Sprint(kind, i, tag) }
	for i := range 50 {
		for _, kind := range kinds {
			e := oldEntry(key(kind, i), "v", 1000)
			switch kind {
			case "newer": // at the backup: how, nobody knows
				b.hold(t, oldEntry(key(kind, i), "w", 2000))
			case "extra":
				b.hold(t, e)
				continue
			case "expiring":
				e.ExpireAt = time.Now().Add(5 * time.Second).UnixMilli()
			}
			a.hold(t, e)
			if kind == "aged" {
				e = oldEntry(key(kind, i), "u", 0)
			}
			if kind != "lost" && kind != "newer" && kind != "expiring" {
				b.hold(t, e)
			}
		}
	}
	b.hold(t, oldEntry(elsewhere, "v", 0))

	if got := a.compareAll(t); got != 150 {
		t.Errorf("%d entries are repaired", got)
	}
	waitFor(t, "the copies to be the same", func() bool {
		for i := range 50 {
			for _, kind := range kinds {
				want := map[string]string{"newer": "w", "extra": ""}[kind]
				if kind != "newer" && kind != "extra" {
					want = "v"
				}
				if kind == "expiring" {
					continue
				}
				if a.value(key(kind, i)) != want || b.value(key(kind, i)) != want {
					return false
				}
			}
		}
		return true
	})
	if s := b.Stats(); s.Outdated != 50 {
		t.Errorf("%d keys are dropped that the owner does not have", s.Outdated)
	}
	if got := a.compareAll(t); got != 0 {
		t.Errorf("%d entries are repaired once more", got)
	}
	if b.compareAll(t) != 1 || a.value(elsewhere) != "v" {
		t.Error("what another owner has is not repaired")
	}
}

// A backup without room lacks what it has evicted, and does not ask for it; but what it has is made newer.
func TestFullCopyIsNotFilled(t *testing.T) {
	t.Parallel()
	nodes := startTunedCluster(t, 2, 1, func(cfg *Config, c *cluster.Config) {
		if c.Name == "b" {
			cfg.MaxBytes = 8 << 20
		}
	})
	a, b := nodes[0], nodes[1]
	tag := "{" + a.place(t, a, b) + "}"
	const keys = 5000
	for i := range keys {
		e := oldEntry(fmt.Sprint(i, tag), string(make([]byte, 4<<10)), 1000)
		a.hold(t, e)
		b.hold(t, e)
	}
	if evicted := b.Stats().Evicted; evicted == 0 || b.store.HasRoom() {
		t.Fatalf("the backup has room, %d are evicted", evicted)
	}
	if got := a.compareAll(t); got != 0 {
		t.Errorf("%d entries are sent to a node without room", got)
	}
	last := fmt.Sprint(keys-1, tag)
	if b.value(last) == "" {
		t.Fatal("the backup does not have the last key")
	}
	a.hold(t, oldEntry(last, "newer", 2000))
	if got := a.compareAll(t); got != 1 {
		t.Errorf("%d entries are repaired, one is older at the backup", got)
	}
	waitFor(t, "the older entry to be replaced", func() bool { return b.value(last) == "newer" })
}

// Who has lost what it had confirmed is given it again, though the ring is the same.
func TestIncompleteCopyIsOfferedAgain(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3, 1)
	a, b := nodes[0], nodes[1]
	key := a.place(t, a, b)
	a.do("SET", key, "v")
	p := b.partition(key)
	b.Node.mu.Lock()
	b.complete[p].Store(false)
	b.store.DropPartition(p)
	b.Node.mu.Unlock()
	a.compareAll(t)
	waitFor(t, "the backup to have it again", func() bool { return b.complete[p].Load() && b.value(key) == "v" })
}

// Every size of a partition is compared, in as many frames as it takes.
func TestLargePartitionIsCompared(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, 1)
	a, b := nodes[0], nodes[1]
	tag := "{" + a.place(t, a, b) + "}"
	const keys = 2*compareChunk + 100
	for i := range keys {
		e := oldEntry(fmt.Sprint(i, tag), "v", 0)
		if a.hold(t, e); i%1000 != 0 {
			b.hold(t, e)
		}
	}
	if got, want := a.compareAll(t), (keys+999)/1000; got != want {
		t.Errorf("%d entries are repaired, want %d", got, want)
	}
	waitFor(t, "the copy to be whole", func() bool { return b.store.CountPartition(b.partition(tag)) == keys })
}
