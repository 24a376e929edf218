package store

import (
	"strconv"
	"testing"
)

// untouchable is a collection of which nothing may be looked at but its length and its size.
type untouchable struct{ Collection }

func (untouchable) Len() int                { return 1_000_000 }
func (untouchable) Size() int               { return 100 << 20 }
func (untouchable) flatten(*Entry)          { panic("an element is looked at") }
func (untouchable) restore(s [][]byte) bool { panic("an element is looked at") }

// TestLargeCollectionsGoAtOnce lets collections go in every way there is. No step depends on how much they hold: what they
// held is left to the garbage collector.
func TestLargeCollectionsGoAtOnce(t *testing.T) {
	for name, remove := range map[string]func(*Store, *Tx, *Key){
		"deleted":     func(_ *Store, tx *Tx, k *Key) { tx.Delete(k) },
		"overwritten": func(_ *Store, tx *Tx, k *Key) { tx.SetString(k, []byte("v"), 0) },
		"expired":     func(_ *Store, tx *Tx, k *Key) { tx.Expire(k, tx.Peek(k), t0-1) },
		"renamed over": func(s *Store, tx *Tx, k *Key) {
			from := s.Key([]byte("{key}2"))
			tx.SetString(&from, []byte("v"), 0)
			tx.Rename(&from, k)
		},
		"expired later": func(_ *Store, tx *Tx, k *Key) {
			tx.Expire(k, tx.Peek(k), t0+1)
			tx.End()
			tx.store.Expire(t0+1000, 10)
			tx.Begin(tx.store, []Key{*k}, t0+1000, 0)
		},
		"evicted": func(s *Store, tx *Tx, k *Key) {
			tx.End()
			s.SetMaxBytes(50 << 20)
			tx.Begin(s, []Key{*k}, t0, 0)
		},
		"flushed": func(s *Store, tx *Tx, k *Key) {
			tx.End()
			s.FlushPartition(k.Partition(), 0, t0)
			tx.Begin(s, []Key{*k}, t0, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Config{})
			k := s.Key([]byte("{key}"))
			var tx Tx
			tx.Begin(s, []Key{k}, t0, 0)
			it := tx.Create(&k, KindZSet)
			it.object().Collection = untouchable{}
			tx.Update(&k, it)
			if s.Used() < 100<<20 {
				t.Fatalf("%d bytes charged", s.Used())
			}
			remove(s, &tx, &k)
			if it := tx.Peek(&k); it != nil && it.Kind() != KindString {
				t.Error("it is still there")
			}
			tx.End()
			if s.Used() > 10_000 {
				t.Errorf("%d bytes charged when it is gone", s.Used())
			}
		})
	}
}

// TestExpiryBound lets a million keys expire within a second, spread over the shards, and reclaims them as the node does: each
// look takes no more steps than it is given, and a second after its time a key is gone.
func TestExpiryBound(t *testing.T) {
	n := 1_000_000
	if raceEnabled {
		n = 100_000
	}
	s := New(Config{})
	var tx Tx
	var key []byte
	const far = 200_000 // ms: on a higher level of the wheel
	for i := range n {
		key = strconv.AppendInt(key[:0], int64(i), 10)
		k := s.Key(key)
		tx.Begin(s, []Key{k}, t0, 0)
		tx.SetString(&k, nil, t0+far+int64(i)%1000)
		tx.End()
	}
	left := func() int { return s.CountDB(0, nil) }
	for now := int64(t0); now <= t0+far+1100; now += 100 {
		for reclaimed := 1000; reclaimed == 1000; {
			if reclaimed = s.Expire(now, 1000); reclaimed > 1000 {
				t.Fatalf("a look reclaimed %d keys", reclaimed)
			}
		}
		due := max(0, min(int(now-t0-far-200), 1000)) * (n / 1000)
		if got := left(); got > n-due {
			t.Fatalf("%d ms after the first time %d keys are left of %d, %d had their time 200 ms ago", now-t0-far, got, n, due)
		}
	}
	check(t, s)
}

// TestWheelTurnsInSmallSteps counts the items that a look touches when many fall from one level of the wheel to the next.
func TestWheelTurnsInSmallSteps(t *testing.T) {
	s := New(Config{})
	sh := &s.shards[0]
	const n, work = 50_000, 100
	for i := 0; sh.wheel.items < n; i++ {
		key := []byte(strconv.Itoa(i))
		if k := s.Key(key); k.shard() == 0 {
			it := sh.newString(&k, KindString, 0)
			sh.setExpiry(it, t0+10_000_000+int64(i%1000), t0)
		}
	}
	looks := 0
	for now := int64(t0); sh.wheel.items > 0; now += 1000 {
		for {
			left := work
			it := sh.wheel.next(&sh.slab, now, &left)
			looks++
			if left < 0 {
				t.Fatalf("%d steps more than there were", -left)
			}
			if it != nil {
				if !it.expired(now) {
					t.Fatal("too early")
				}
				sh.drop(it)
			} else if left > 0 {
				break
			}
		}
	}
	check(t, s)
}

func BenchmarkExpire(b *testing.B) {
	s := New(Config{})
	var tx Tx
	var key []byte
	for i := range b.N {
		key = strconv.AppendInt(key[:0], int64(i), 10)
		k := s.Key(key)
		tx.Begin(s, []Key{k}, t0, 0)
		tx.SetString(&k, nil, t0+60_000+int64(i)%1000)
		tx.End()
	}
	b.ResetTimer()
	for s.Expire(t0+70_000, 1000) == 1000 {
	}
	if left := s.CountDB(0, nil); left > 0 {
		b.Fatalf("%d keys left", left)
	}
}
