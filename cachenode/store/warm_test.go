package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestWarmWaitsForNobody warms keys of every kind, keys that are not there, and keys of shards that somebody holds.
func TestWarmWaitsForNobody(t *testing.T) {
	s := New(Config{})
	var tx Tx
	var keys []Key
	for i := range 200 {
		keys = append(keys, s.Key(fmt.Appendf(nil, "key%d", i)))
	}
	s.Warm(keys)
	tx.Begin(s, keys, 1, 0)
	for i := range keys {
		switch i % 4 {
		case 0:
			tx.SetString(&keys[i], make([]byte, i), 0)
		case 1:
			it := tx.Create(&keys[i], KindHash)
			it.Dict().Set([]byte("field"), []byte("value"))
			tx.Update(&keys[i], it)
		case 2:
			tx.SetString(&keys[i], nil, 2)
		}
	}
	s.Warm(keys) // returns, though all is held
	tx.End()

	before := s.Stats()
	s.Warm(keys)
	if after := s.Stats(); after != before {
		t.Errorf("it has changed something: %+v, before %+v", after, before)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			s.Warm(keys)
		}
	}()
	for i := range 100 {
		tx.Begin(s, keys[i:i+1], 1, 0)
		tx.SetString(&keys[i], make([]byte, 10*i), 0)
		tx.End()
	}
	<-done
	if n := testing.AllocsPerRun(100, func() { s.Warm(keys) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkPipeline reads sixteen keys after the other, as a pipeline does, with and without Warm.
func BenchmarkPipeline(b *testing.B) {
	s := New(Config{})
	const count = 1 << 20
	var tx Tx
	value := make([]byte, 100)
	for i := range count {
		k := []Key{s.Key(binary.BigEndian.AppendUint64([]byte("key of sixteen"), uint64(i)))}
		tx.Begin(s, k, 1, 0)
		tx.SetString(&k[0], value, 0)
		tx.End()
	}
	for _, warm := range []bool{false, true} {
		b.Run(fmt.Sprintf("warm=%v", warm), func(b *testing.B) {
			rnd := rand.New(rand.NewPCG(1, 2))
			var keys [16]Key
			var names [16][]byte
			for i := range names {
				names[i] = []byte("key of sixteen 8 bytes")
			}
			out := make([]byte, 0, 256)
			for b.Loop() {
				for i := range keys {
					binary.BigEndian.PutUint64(names[i][14:], rnd.Uint64N(count))
					keys[i] = s.Key(names[i])
				}
				if warm {
					s.Warm(keys[:])
				}
				for i := range keys {
					tx.Begin(s, keys[i:i+1], 1, 0)
					out = append(out[:0], tx.Get(&keys[i]).Value()...)
					tx.End()
				}
			}
		})
	}
}
