package store

import (
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
)

// TestChargeIsTheTruth compares what is charged with what the heap has grown by.
func TestChargeIsTheTruth(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes allocations")
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, c := range []struct {
		name string
		size func(rnd *rand.Rand) int
	}{
		{"small strings", func(*rand.Rand) int { return 8 }},
		{"mixed strings", func(rnd *rand.Rand) int { return rnd.IntN(3000) }},
		{"hashes", func(*rand.Rand) int { return -1 }},
	} {
		const budget = 32 << 20
		before := heap()
		s := New(Config{MaxBytes: budget})
		rnd := rand.New(rand.NewPCG(7, 8))
		var tx Tx
		for i := range 400_000 {
			key := []byte("key:" + strconv.Itoa(i))
			if n := c.size(rnd); n >= 0 {
				set(t, s, string(key), string(make([]byte, n)), 0, t0)
				continue
			}
			if i >= 30_000 {
				break
			}
			k := s.Key(key)
			tx.Begin(s, []Key{k}, t0, ItemGrowth(len(key))+20*FieldGrowth(20))
			it := tx.Create(&k, KindHash)
			for f := range 1 + rnd.IntN(20) {
				it.Dict().Set([]byte("field"+strconv.Itoa(f)), []byte("some value"))
			}
			tx.Update(&k, it)
			tx.End()
		}
		grown := heap() - before
		used, keys := s.Used(), s.CountDB(0, nil)
		t.Logf("%s: %d keys, charged %d, heap grew by %d (%.1f %%), %d bytes a key", c.name, keys, used, grown,
			100*float64(grown)/float64(used), grown/int64(keys))
		if used > budget || float64(grown) > 1.08*float64(used)+1<<20 || float64(grown) < 0.9*float64(used) {
			t.Errorf("%s: the heap has grown by %d for %d charged", c.name, grown, used)
		}
		runtime.KeepAlive(s)
	}
}
