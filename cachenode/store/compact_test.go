package store

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestCompact deletes most of the items, in no order, and finds the rest: whatever queue and wheel they are in, after some sweeps
// that give the chunks back.
func TestCompact(t *testing.T) {
	for _, policy := range []Policy{AllKeysS3FIFO, VolatileTTL, NoEviction} {
		t.Run(policy.String(), func(t *testing.T) {
			s := New(Config{Policy: policy, MaxBytes: 1 << 30, TombstoneTTL: 1 << 40})
			const count, now = 150_000, 1000
			var tx Tx
			put := func(i int) {
				k := []Key{s.Key(fmt.Appendf(nil, "key%d", i))}
				tx.Begin(s, k, now, 0)
				defer tx.End()
				expireAt := int64(0)
				if i%3 == 0 {
					expireAt = now + 1000 + int64(i)
				}
				if i%10 != 0 {
					tx.SetString(&k[0], fmt.Append(nil, i), expireAt)
					return
				}
				it := tx.Create(&k[0], KindHash)
				it.Dict().Set([]byte("i"), fmt.Append(nil, i))
				tx.Update(&k[0], it)
				tx.Expire(&k[0], it, expireAt)
			}
			for i := range count {
				put(i)
			}
			full := chunks(s)
			order := rand.New(rand.NewPCG(1, 2)).Perm(count)
			gone := order[:count*9/10]
			for _, i := range gone {
				k := []Key{s.Key(fmt.Appendf(nil, "key%d", i))}
				tx.Begin(s, k, now, 0)
				if it := tx.Peek(&k[0]); it != nil {
					tx.shard(&k[0]).drop(it)
				}
				tx.End()
			}
			check(t, s)
			for range full {
				s.Expire(now, 1000)
			}
			check(t, s)
			if left := chunks(s); left > full/4 {
				t.Errorf("%d chunks are left of %d", left, full)
			}
			for _, i := range order[count*9/10:] {
				k := []Key{s.Key(fmt.Appendf(nil, "key%d", i))}
				tx.Begin(s, k, now, 0)
				it := tx.Get(&k[0])
				if it == nil {
					t.Fatalf("key%d is lost", i)
				}
				value := it.Value
				if it.Kind() == KindHash {
					value = func() []byte { v, _ := it.Dict().Get([]byte("i")); return v }
				}
				if string(value()) != fmt.Sprint(i) {
					t.Fatalf("key%d is %q", i, value())
				}
				tx.End()
			}
			for _, i := range gone {
				put(i)
			}
			check(t, s)
			if n := s.Expire(now+1<<30, count); n != count/3 {
				t.Errorf("%d keys have expired, want %d", n, count/3)
			}
			check(t, s)
			for _, i := range order {
				k := []Key{s.Key(fmt.Appendf(nil, "key%d", i))}
				tx.Begin(s, k, now, 0)
				if it := tx.Peek(&k[0]); it != nil {
					tx.shard(&k[0]).drop(it)
				}
				tx.End()
			}
			check(t, s)
			s.Expire(now, 1000)
			if left := chunks(s); left > shardCount {
				t.Errorf("%d chunks are left of nothing", left)
			}
		})
	}
}

func chunks(s *Store) (n int) {
	for i := range s.shards {
		n += s.shards[i].slab.held
	}
	return n
}
