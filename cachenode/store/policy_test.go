package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
)

func TestPolicyNames(t *testing.T) {
	for _, name := range []string{"noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu",
		"volatile-random", "volatile-ttl", "allkeys-s3fifo", "volatile-s3fifo", "Volatile-TTL"} {
		p, err := ParsePolicy(name)
		if err != nil {
			t.Error(err)
		}
		if again, err := ParsePolicy(p.String()); again != p || err != nil {
			t.Errorf("%s is called %s, which means %v, %v", name, p, again, err)
		}
	}
	if _, err := ParsePolicy("lru"); err == nil {
		t.Error("lru is no policy")
	}
}

// TestPolicies fills a store far beyond its budget under each policy.
func TestPolicies(t *testing.T) {
	const budget, keys = 400_000, 6000
	for p := range NoEviction + 1 {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			s := New(Config{MaxBytes: budget, Policy: p})
			for i := range 500 {
				set(t, s, "forever"+strconv.Itoa(i), "v", 0, t0)
			}
			refused := 0
			for i := range keys {
				if !set(t, s, "timed"+strconv.Itoa(i), "v", t0+1e6+int64(i), t0) {
					refused++
				}
			}
			forever := 0
			for i := range 500 {
				if _, ok := get(s, "forever"+strconv.Itoa(i), t0); ok {
					forever++
				}
			}
			if volatile := p >= VolatileS3FIFO && p <= VolatileTTL; (volatile || p == NoEviction) != (forever == 500) {
				t.Errorf("%d of 500 keys without a time to live are left", forever)
			}
			if (p == NoEviction) != (refused > 0) {
				t.Errorf("%d writes were refused", refused)
			}
			if s.Used() > budget || s.Used() < budget*9/10 {
				t.Errorf("%d bytes used of %d", s.Used(), budget)
			}
			check(t, s)

			// Without a key that may go, writes are refused; reads and deletions go on.
			if p > AllKeysRandom {
				s := New(Config{MaxBytes: budget, Policy: p})
				n := 0
				for set(t, s, "key"+strconv.Itoa(n), "value", 0, t0) {
					n++
				}
				if _, ok := get(s, "key0", t0); !ok || n < 1000 {
					t.Errorf("%d keys, the first one is there: %v", n, ok)
				}
				k := s.Key([]byte("key1"))
				var tx Tx
				tx.Begin(s, []Key{k}, t0, 0)
				tx.Delete(&k)
				tx.End()
				if !set(t, s, "one more", "v", 0, t0) {
					t.Error("refused although there is room again")
				}
				check(t, s)
			}
		})
	}
}

// TestVolatileTTLOrder evicts one key after the other: the one that expires next goes first, in whichever shard it is.
func TestVolatileTTLOrder(t *testing.T) {
	s := New(Config{Policy: VolatileTTL})
	rnd := rand.New(rand.NewPCG(1, 9))
	ats := map[string]int64{}
	var tx Tx
	for i := range 3000 {
		key := "k" + strconv.Itoa(rnd.IntN(1000))
		k := s.Key([]byte(key))
		switch rnd.IntN(6) {
		case 0: // lives for ever
			set(t, s, key, "v", 0, t0)
			delete(ats, key)
		case 1:
			tx.Begin(s, []Key{k}, t0, 0)
			tx.Delete(&k)
			tx.End()
			delete(ats, key)
		default: // most of them have had another time before
			ats[key] = t0 + 1 + rnd.Int64N(1<<uint(10+rnd.IntN(25)))
			set(t, s, key, "v", ats[key], t0)
		}
		if i%500 == 0 {
			check(t, s)
		}
	}
	var want, got []int64
	for _, at := range ats {
		want = append(want, at)
	}
	slices.Sort(want)
	s.OnRemoval(func(stored []byte, _ Removal) { got = append(got, ats[string(stored)]) })
	for s.SetMaxBytes(s.Used() - 1); len(got) < len(want); s.SetMaxBytes(s.Used() - 1) {
	}
	if !slices.Equal(got, want) {
		t.Error("keys were not evicted in the order of their times")
	}
	if s.SetMaxBytes(1); len(got) != len(want) {
		t.Error("a key without a time was evicted")
	}
	check(t, s)
}

func TestSetPolicy(t *testing.T) {
	s := New(Config{MaxBytes: 1 << 20})
	for i := range 1000 {
		set(t, s, "forever"+strconv.Itoa(i), "value", 0, t0)
		set(t, s, "timed"+strconv.Itoa(i), "value", t0+1000+int64(i), t0)
	}
	for _, p := range []Policy{VolatileTTL, NoEviction, VolatileLRU, AllKeysLFU, VolatileTTL} {
		s.SetPolicy(p)
		if s.Policy() != p {
			t.Fatalf("the policy is %v, not %v", s.Policy(), p)
		}
		check(t, s)
	}
	s.SetMaxBytes(s.Used() - 50_000)
	for i := range 1000 {
		if _, ok := get(s, "forever"+strconv.Itoa(i), t0); !ok {
			t.Fatal("a key without a time to live was evicted")
		}
	}
	if _, ok := get(s, "timed0", t0); ok {
		t.Error("the key that expires first is left")
	}
	if _, ok := get(s, "timed999", t0); !ok {
		t.Error("the key that expires last was evicted")
	}
}

// TestTimeToLiveKeepsThePlace renews the time of a key, as sessions do: it stays as useful as it was.
func TestTimeToLiveKeepsThePlace(t *testing.T) {
	s := New(Config{Policy: VolatileLRU})
	set(t, s, "k", "v", t0+1000, t0)
	get(s, "k", t0)
	k := s.Key([]byte("k"))
	var tx Tx
	tx.Begin(s, []Key{k}, t0, 0)
	defer tx.End()
	it := tx.Peek(&k)
	if tx.Expire(&k, it, t0+2000); it.Freq() != 1 {
		t.Errorf("%d hits are remembered of 1", it.Freq())
	}
}

// reference is S3-FIFO as the paper's pseudocode has it, with sizes in bytes, by slices: the next to go in front. No more
// than 128 keys are moved for one that goes.
type reference struct {
	small, main         []string
	smallSize, mainSize int
	size                map[string]int
	freq                map[string]int
	ghost               ghost // the store's own: what it remembers is tested by TestGhost
}

func (r *reference) insert(key string, hash uint32, size int, large bool) {
	r.size[key], r.freq[key] = size, 0
	if r.ghost.take(hash) || large {
		r.main = append(r.main, key)
		r.mainSize += size
	} else {
		r.small = append(r.small, key)
		r.smallSize += size
	}
}

// evict gives up one key.
func (r *reference) evict(hash func(string) uint32) (victim string) {
	for moved := 0; victim == ""; moved++ {
		if len(r.small) > 0 && (len(r.main) == 0 || 10*r.smallSize >= r.smallSize+r.mainSize) {
			key := r.small[0]
			r.small = r.small[1:]
			r.smallSize -= r.size[key]
			if r.freq[key] >= 2 && moved < 128 {
				r.freq[key] = 0
				r.main = append(r.main, key)
				r.mainSize += r.size[key]
				continue
			}
			r.ghost.add(hash(key), len(r.size))
			victim = key
		} else {
			key := r.main[0]
			r.main = r.main[1:]
			if r.freq[key] > 0 && moved < 128 {
				r.freq[key]--
				r.main = append(r.main, key)
				continue
			}
			r.mainSize -= r.size[key]
			victim = key
		}
	}
	delete(r.size, victim)
	delete(r.freq, victim)
	return victim
}

// TestS3FIFOModel runs one shard beside the reference: both have to evict the same keys in the same order.
func TestS3FIFOModel(t *testing.T) {
	s := New(Config{MaxBytes: 64 << 20}) // a share of 1 MiB: what is larger than 128 KiB is large
	sh := &s.shards[3]
	var keys []string
	for i := 0; len(keys) < 4000; i++ {
		key := fmt.Sprintf("key:%06d", i)
		if k := s.Key([]byte(key)); k.shard() == 3 {
			keys = append(keys, key)
		}
	}
	hash := func(key string) uint32 { return s.Key([]byte(key)).hash }
	ref := &reference{size: map[string]int{}, freq: map[string]int{}}
	rnd := rand.New(rand.NewPCG(7, 7))
	zipf := rand.NewZipf(rnd, 1.1, 20, uint64(len(keys)-1))
	evicted := 0
	for step := range 40_000 {
		key := keys[zipf.Uint64()]
		_, hit := get(s, key, t0)
		if _, want := ref.size[key]; hit != want {
			t.Fatalf("step %d: %s hit %v, by the reference %v", step, key, hit, want)
		}
		if hit {
			ref.freq[key] = min(ref.freq[key]+1, 3)
			continue
		}
		n := rnd.IntN(300)
		if rnd.IntN(500) == 0 {
			n = 140_000
		}
		set(t, s, key, string(make([]byte, n)), 0, t0)
		k := s.Key([]byte(key))
		ref.insert(key, k.hash, sh.find(&k).cost(), n == 140_000)
		for ref.smallSize+ref.mainSize > 500_000 {
			want := ref.evict(hash)
			sh.mu.Lock()
			it := sh.victim()
			if string(it.Key()) != want {
				t.Fatalf("step %d: %s is evicted, by the reference %s", step, it.Key(), want)
			}
			sh.drop(it)
			sh.mu.Unlock()
			evicted++
		}
	}
	if evicted < 5000 {
		t.Errorf("only %d evictions", evicted)
	}
	check(t, s)
}

// TestGhost compares what the ghost remembers with a set of the last evictions.
func TestGhost(t *testing.T) {
	const items = 1000
	var g ghost
	rnd := rand.New(rand.NewPCG(2, 3))
	var hashes []uint32
	for range 5000 {
		h := rnd.Uint32()
		g.add(h, items)
		hashes = append(hashes, h)
	}
	known := func(from, to int) (n int) {
		for _, h := range hashes[from:to] {
			if g.take(h) {
				n++
			}
		}
		return n
	}
	if n := known(len(hashes)-items/4, len(hashes)); n < items/4*95/100 {
		t.Errorf("%d of the last %d are remembered", n, items/4)
	}
	if n := known(0, len(hashes)-items); n > 20 {
		t.Errorf("%d are remembered that left long ago", n)
	}
	if g.take(rnd.Uint32()) {
		t.Error("something is remembered that never was there")
	}
}

// TestGhostFollowsTheItems lets the shard grow and shrink: what is remembered outlives it, and the memory follows.
func TestGhostFollowsTheItems(t *testing.T) {
	var g ghost
	rnd := rand.New(rand.NewPCG(5, 3))
	slots := func() int { return len(g.slots) + len(g.old) }
	for _, items := range []int{100, 5000, 80, 200, 100_000, 1000} {
		var last []uint32
		for range 50 {
			h := rnd.Uint32()
			g.add(h, items)
			last = append(last, h)
		}
		g.add(rnd.Uint32(), 3*items) // another table
		known := 0
		for _, h := range last {
			if g.take(h) {
				known++
			}
		}
		if known < 40 {
			t.Errorf("with %d items %d of the last 50 are remembered", items, known)
		}
		for range 2*items + 200 {
			g.add(rnd.Uint32(), items)
		}
		if slots() > max(2*items, ghostMinSlots) || slots() < items/4 {
			t.Errorf("%d slots for %d items", slots(), items)
		}
	}
}

// TestSmallShares stores values of which a shard's share holds but a few: the small queue sorts them all the same.
func TestSmallShares(t *testing.T) {
	for _, c := range []struct {
		bytes int
		want  queueID
	}{{6_000, queueSmall}, {14_000, queueSmall}, {18_000, queueMain}} {
		s := New(Config{MaxBytes: 2 << 20}) // 32 KiB a shard
		for i := range 20 {
			set(t, s, strconv.Itoa(i), string(make([]byte, c.bytes)), 0, t0)
		}
		for i := range s.shards {
			other := queueSmall + queueMain - c.want
			if q := s.shards[i].queues[other]; q.items > 0 {
				t.Errorf("%d values of %d bytes wait in queue %d", q.items, c.bytes, other)
			}
		}
		check(t, s)
	}
}

// TestLargeValues stores values beside a small queue full of others.
func TestLargeValues(t *testing.T) {
	const budget = 16 << 20 // 256 KiB a shard
	s := New(Config{MaxBytes: budget})
	queue := func(key string) queueID {
		k := s.Key([]byte(key))
		it := s.shards[k.shard()].find(&k)
		if it == nil {
			return queueNone
		}
		return it.queue
	}
	set(t, s, "small", string(make([]byte, 20_000)), 0, t0)
	set(t, s, "large", string(make([]byte, 40_000)), 0, t0)
	if queue("small") != queueSmall || queue("large") != queueMain {
		t.Errorf("20,000 bytes wait in queue %d, 40,000 in %d", queue("small"), queue("large"))
	}
	// One that grows to it is moved.
	set(t, s, "small", string(make([]byte, 50_000)), 0, t0)
	k := s.Key([]byte("list"))
	var tx Tx
	tx.Begin(s, []Key{k}, t0, 0)
	it := tx.Create(&k, KindList)
	tx.End()
	for range 50 {
		tx.Begin(s, []Key{k}, t0, 0)
		it.List().PushBack(make([]byte, 1000))
		tx.Update(&k, it)
		tx.End()
	}
	if queue("small") != queueMain || queue("list") != queueMain {
		t.Errorf("what has grown waits in queue %d and %d", queue("small"), queue("list"))
	}
	check(t, s)

	// One larger than its shard's share is taken as well: other shards give way too. It is readable, and its neighbours in
	// the small queues of other shards lose no more than their part.
	for i := range 20_000 {
		set(t, s, "filler"+strconv.Itoa(i), string(make([]byte, 700)), 0, t0)
	}
	before := s.CountDB(0, nil)
	if !set(t, s, "giant", string(make([]byte, budget/4)), 0, t0) {
		t.Fatal("a value of a quarter of the budget is refused")
	}
	if v, ok := get(s, "giant", t0); !ok || len(v) != budget/4 {
		t.Fatal("a value larger than a shard's share is not readable after its SET")
	}
	if after := s.CountDB(0, nil); after < before*65/100 {
		t.Errorf("%d keys are left of %d", after, before)
	}
	if set(t, s, "too much", string(make([]byte, budget)), 0, t0) {
		t.Error("a value as large as the budget is taken")
	}
	if s.Used() > budget {
		t.Errorf("%d bytes used", s.Used())
	}
	check(t, s)
}

// Who changes the policy at the same time as somebody else leaves all shards with the same one.
func TestSetPolicyAtOnce(t *testing.T) {
	s := New(Config{})
	for i := range 2000 {
		set(t, s, strconv.Itoa(i), "", t0+1000, t0)
	}
	for range 50 {
		var wg sync.WaitGroup
		for _, p := range []Policy{AllKeysS3FIFO, VolatileTTL, NoEviction} {
			wg.Go(func() { s.SetPolicy(p) })
		}
		wg.Wait()
		for i := range s.shards {
			if got := s.shards[i].policy; got != s.Policy() {
				t.Fatalf("shard %d goes by %v, the store by %v", i, got, s.Policy())
			}
		}
	}
	check(t, s)
}

// What clients take, and what a command reserves, is no shard's: it must not make all shards look as if they held less than
// their share, so that each eviction first goes round them in vain.
func TestEvictionGoesStraight(t *testing.T) {
	const n = 2000
	for name, outside := range map[string]int64{"alone": 0, "beside clients": 4 << 20} {
		s := New(Config{MaxBytes: 8 << 20})
		s.Charge(outside)
		value := string(make([]byte, 200))
		for i := range 40_000 {
			set(t, s, strconv.Itoa(i), value, 0, t0)
		}
		was := s.hand.Load()
		for i := range n {
			set(t, s, "more"+strconv.Itoa(i), value, 0, t0)
		}
		if visits := s.hand.Load() - was; visits > 4*n {
			t.Errorf("%s: %d shards were looked at for %d keys", name, visits, n)
		}
		check(t, s)
	}
}

// The ghost goes with the last item that is charged for it, also when all go at once.
func TestFlushTakesTheGhost(t *testing.T) {
	s := New(Config{MaxBytes: 4 << 20})
	for i := range 100_000 {
		set(t, s, strconv.Itoa(i), "", 0, t0)
	}
	if len(s.shards[0].ghost.slots) == 0 {
		t.Fatal("nothing was evicted")
	}
	for p := range Partitions {
		s.FlushPartition(p, -1, t0)
	}
	for i := range s.shards {
		if n := len(s.shards[i].ghost.slots); n > 0 {
			t.Fatalf("shard %d remembers %d keys and has none", i, n)
		}
	}
	check(t, s)
}
