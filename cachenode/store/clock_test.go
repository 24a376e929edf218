package store

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// An entry from far ahead is taken over, and does not drag the clock.
func TestClockIsNotDragged(t *testing.T) {
	s := New(Config{TombstoneTTL: time.Minute})
	version := func(key string) uint64 {
		var e Entry
		if !s.Entry([]byte(key), t0, &e) {
			t.Fatalf("%s is not there", key)
		}
		return e.Version
	}
	near, far := VersionAt(t0+maxAhead), VersionAt(t0+maxAhead+1)
	for i, v := range []uint64{near, far} {
		key := fmt.Sprintf("{t}%d", i)
		if applied, err := s.Apply(&Entry{Key: []byte(key), Kind: KindString, Version: v, Value: []byte("x")}, t0); !applied || err != nil {
			t.Fatal(applied, err)
		}
	}
	if n := s.Stats(); n.Ahead != 1 || n.AheadBy != maxAhead+1 {
		t.Errorf("%d entries are ahead, by %d ms", n.Ahead, n.AheadBy)
	}
	set(t, s, "{t}other", "v", 0, t0)
	if got := version("{t}other"); got != near+1 {
		t.Errorf("a write has version %x, want %x: the clock follows to the bound and no further", got, near+1)
	}
	for _, step := range []func(){
		func() { set(t, s, "{t}1", "v", 0, t0) },
		func() { del(s, "{t}1", t0) },
		func() { set(t, s, "{t}1", "w", 0, t0) },
		func() { createHash(t, s, "{t}1", t0) },
	} {
		was := version("{t}1")
		if step(); version("{t}1") <= was {
			t.Fatalf("version %x after %x", version("{t}1"), was)
		}
	}
	was := version("{t}1")
	s.FlushPartition(s.Key([]byte("{t}1")).Partition(), -1, t0)
	if applied, _ := s.Apply(&Entry{Key: []byte("{t}1"), Kind: KindString, Version: was, Value: []byte("x")}, t0); applied {
		t.Error("what was flushed is back")
	}
	set(t, s, "{t}other", "v", 0, t0)
	if got := version("{t}other"); got >= far {
		t.Error("the flush has dragged the clock")
	}
}

func del(s *Store, key string, now int64) {
	k := s.Key([]byte(key))
	var tx Tx
	tx.Begin(s, []Key{k}, now, 0)
	tx.Delete(&k)
	tx.End()
}

func createHash(t *testing.T, s *Store, key string, now int64) {
	k := s.Key([]byte(key))
	var tx Tx
	if !tx.Begin(s, []Key{k}, now, 0) {
		t.Fatal("no room")
	}
	it := tx.Create(&k, KindHash)
	it.Dict().Set([]byte("f"), []byte("v"))
	tx.Update(&k, it)
	tx.End()
}

// Nodes whose clocks are hours apart own a key in turn, each going on from what the one before has passed on: whatever the
// order in which copies arrive, all end with the last write.
func TestSkewedNodesKeepTheOrder(t *testing.T) {
	skews := []int64{0, 3_600_000, -7_200_000, 5_000, -8_000}
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		nodes := make([]*Store, len(skews))
		for i := range nodes {
			nodes[i] = New(Config{TombstoneTTL: time.Minute})
		}
		now := int64(t0)
		var history []Entry
		for write := range 30 {
			owner := r.IntN(len(nodes))
			at := now + skews[owner]
			if len(history) > 0 { // it has the key before it writes: it was handed over or pulled
				if _, err := nodes[owner].Apply(&history[len(history)-1], at); err != nil {
					t.Fatal(err)
				}
			}
			if r.IntN(4) == 0 {
				del(nodes[owner], "k", at)
			} else {
				set(t, nodes[owner], "k", fmt.Sprint(write), 0, at)
			}
			var e Entry
			if nodes[owner].Entry([]byte("k"), at, &e) {
				history = append(history, e)
			}
			now += int64(r.IntN(3))
		}
		last := history[len(history)-1]
		for i, n := range nodes {
			for _, j := range r.Perm(len(history)) {
				if _, err := n.Apply(&history[j], now+skews[i]); err != nil {
					t.Fatal(err)
				}
			}
			var e Entry
			if !n.Entry([]byte("k"), now+skews[i], &e) || e.Deleted != last.Deleted || string(e.Value) != string(last.Value) {
				t.Fatalf("round %d, node %d ends with %+v, the last write was %+v", round, i, e, last)
			}
		}
	}
}
