package store

import (
	"fmt"
	"testing"
	"time"
)

// Deletions are remembered for as long as they have to be, and never more of them than there may be.
func TestTombstonesAreKept(t *testing.T) {
	const most = 10 * shardCount
	s := New(Config{TombstoneTTL: time.Minute, MaxTombstones: most})
	s.KeepTombstones(true)
	for i := range 20 * most {
		key := fmt.Sprint("k", i)
		set(t, s, key, "v", 0, t0)
		del(s, key, t0)
	}
	count := s.Stats().Tombstones
	if count > most || count < most/2 {
		t.Errorf("%d tombstones of %d", count, most)
	}
	for now := int64(t0); now < t0+600_000; now += 10_000 {
		s.Expire(now, 1000)
	}
	if got := s.Stats().Tombstones; got != count {
		t.Errorf("%d of %d tombstones are kept", got, count)
	}
	s.KeepTombstones(false)
	s.Expire(t0+700_000, 1<<20)
	if got := s.Stats().Tombstones; got != 0 || s.Used() != 0 {
		t.Errorf("%d tombstones are left, %d bytes", got, s.Used())
	}
}

// A key that was evicted here, and that a backup may still have, is deleted there.
func TestDeletionOfWhatWasEvicted(t *testing.T) {
	s := New(Config{TombstoneTTL: time.Minute, MaxBytes: 1 << 20})
	deleted := func(key string) bool {
		k := s.Key([]byte(key))
		tx := Tx{Track: true}
		tx.Begin(s, []Key{k}, t0, 0)
		defer tx.End()
		if tx.Delete(&k) {
			t.Fatalf("%s was there", key)
		}
		return len(tx.Changed) > 0
	}
	if deleted("never") {
		t.Error("a deletion of nothing is told, and nothing was ever evicted")
	}
	for i := range 20_000 {
		set(t, s, fmt.Sprint("k", i), "v", 0, t0)
	}
	if !deleted("k0") {
		t.Error("the deletion of an evicted key is not told")
	}
	if deleted("k0") {
		t.Error("it is told twice")
	}
}
