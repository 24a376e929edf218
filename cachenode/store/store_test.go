package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
	"unsafe"
)

const t0 = 1_700_000_000_000 // where tests' clocks start

func set(t testing.TB, s *Store, key, value string, expireAt, now int64) bool {
	t.Helper()
	k := s.Key([]byte(key))
	var tx Tx
	if !tx.Begin(s, []Key{k}, now, ItemGrowth(len(key)+len(value))) {
		return false
	}
	defer tx.End()
	tx.SetString(&k, []byte(value), expireAt)
	return true
}

func get(s *Store, key string, now int64) (string, bool) {
	k := s.Key([]byte(key))
	var tx Tx
	tx.Begin(s, []Key{k}, now, 0)
	defer tx.End()
	if it := tx.Get(&k); it != nil && it.Kind() == KindString {
		return string(it.Value()), true
	}
	return "", false
}

// check recounts everything a shard keeps count of.
func check(t testing.TB, s *Store) {
	t.Helper()
	var used int64
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		sum, items, timed, stales := 4*cap(sh.timed.heap), 0, 0, 0
		queued := [queueCount]int{}
		for p := range sh.parts {
			part := &sh.parts[p]
			sum += part.heads.size()
			n, perDB, expires := 0, [Databases]int32{}, [Databases]int32{}
			for b := range part.buckets() {
				for j := *part.heads.at(b); j != 0; j = sh.slab.at(j).next {
					it := sh.slab.at(j)
					n++
					sum += it.cost()
					queued[it.queue] += it.cost()
					if k := s.Key(it.Key()); k.hash != it.hash || k.local() != p || k.shard() != i {
						t.Fatalf("%q in the wrong place", it.Key())
					}
					if it.queue == queueTimed && sh.timed.heap[it.queuePrev] != it.self {
						t.Fatalf("%q is not where it thinks it is", it.Key())
					}
					if it.isObject() && it.object().charged != it.object().size() {
						t.Fatalf("%q is charged %d, has %d", it.Key(), it.object().charged, it.object().size())
					}
					db, _ := SplitKey(it.Key())
					if it.kind == kindStale {
						stales++
					}
					if !it.hidden() {
						perDB[db]++
						if it.expireAt != 0 {
							expires[db]++
						}
					}
					if it.due() != 0 {
						timed++
					}
					if it.linked() != (it.due() != 0) {
						t.Fatalf("%q: expiry %d, in the wheel: %v", it.Key(), it.expireAt, it.linked())
					}
				}
			}
			if n != part.items || perDB != part.perDB || expires != part.expires {
				t.Fatalf("partition counts %d %v %v, is %d %v %v", part.items, part.perDB, part.expires, n, perDB, expires)
			}
			items += n
		}
		leased := 0
		for _, l := range sh.leases.byKey {
			leased += l.cost()
		}
		if leased != sh.leases.bytes || len(sh.leases.byKey) != len(sh.leases.byEnd) || stales != sh.stales {
			t.Fatalf("shard %d: leases %d is %d, stale %d is %d", i, sh.leases.bytes, leased, sh.stales, stales)
		}
		sum += leased
		if sum != sh.bytes || items != sh.slab.live || timed != sh.wheel.items {
			t.Fatalf("shard %d: bytes %d is %d, items %d is %d, timed %d is %d", i, sh.bytes, sum, sh.slab.live, items, sh.wheel.items, timed)
		}
		for q := queueSmall; q < queueTimed; q++ {
			n, last := 0, uint32(0)
			for j := sh.queues[q].head; j != 0; j = sh.slab.at(j).queueNext {
				if it := sh.slab.at(j); it.queue != q || it.queuePrev != last {
					t.Fatalf("shard %d queue %d: %q is linked wrongly", i, q, it.Key())
				}
				n, last = n+1, j
			}
			if n != sh.queues[q].items || last != sh.queues[q].tail {
				t.Fatalf("shard %d queue %d: %d items are %d, the last %d is %d", i, q, sh.queues[q].items, n, sh.queues[q].tail, last)
			}
		}
		for q := queueSmall; q < queueCount; q++ {
			if queued[q] != sh.queues[q].bytes {
				t.Fatalf("shard %d queue %d: bytes %d is %d", i, q, sh.queues[q].bytes, queued[q])
			}
		}
		used += int64(sum)
		sh.mu.Unlock()
	}
	if used += s.outside.Load(); used != s.Used() {
		t.Fatalf("used %d, is %d", s.Used(), used)
	}
}

// TestModel runs random commands on the store and on plain maps, under a clock that jumps.
func TestModel(t *testing.T) {
	type value struct {
		str      string
		dict     map[string]string
		kind     Kind
		expireAt int64
	}
	for _, ttl := range []time.Duration{0, time.Minute} {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 1))
		s := New(Config{TombstoneTTL: ttl, MaxTombstones: 2000})
		model := map[string]value{}
		now := int64(t0)
		var tx Tx
		for step := range 40_000 {
			name := "k" + strconv.Itoa(rnd.IntN(300))
			want, ok := model[name]
			if ok && want.expireAt != 0 && want.expireAt <= now {
				delete(model, name)
				want, ok = value{}, false
			}
			k := s.Key([]byte(name))
			tx.Begin(s, []Key{k}, now, 0)
			it := tx.Peek(&k)
			if (it != nil) != ok {
				t.Fatalf("step %d: %q there %v, want %v", step, name, it != nil, ok)
			}
			if ok {
				if it.Kind() != want.kind || it.ExpireAt() != want.expireAt {
					t.Fatalf("step %d: %q is %v until %d, want %v until %d", step, name, it.Kind(), it.ExpireAt(), want.kind, want.expireAt)
				}
				if want.kind == KindString && string(it.Value()) != want.str {
					t.Fatalf("step %d: %q = %q, want %q", step, name, it.Value(), want.str)
				}
				if want.kind != KindString && it.Dict().Len() != len(want.dict) {
					t.Fatalf("step %d: %q has %d fields, want %d", step, name, it.Dict().Len(), len(want.dict))
				}
			}
			switch op := rnd.IntN(12); {
			case op < 3:
				v := string(bytes.Repeat([]byte{byte('a' + rnd.IntN(26))}, rnd.IntN(200)))
				at := int64(0)
				if rnd.IntN(3) == 0 {
					at = now + 1 + rnd.Int64N(200_000)
				}
				tx.SetString(&k, []byte(v), at)
				model[name] = value{str: v, kind: KindString, expireAt: at}
			case op == 3:
				if tx.Delete(&k) != ok {
					t.Fatalf("step %d: Delete disagrees", step)
				}
				delete(model, name)
			case op == 4 && ok && want.kind == KindString:
				n := rnd.IntN(400)
				v := append([]byte(want.str), make([]byte, 400)...)[:n]
				tx.Resize(&k, n)
				want.str = string(v)
				model[name] = want
			case op == 5 && ok:
				want.expireAt = now + rnd.Int64N(5000) - 500
				tx.Expire(&k, it, want.expireAt)
				model[name] = want
				if want.expireAt <= now {
					delete(model, name)
				}
			case op == 6 && ok:
				want.expireAt = 0
				tx.Expire(&k, it, 0)
				model[name] = want
			case op < 11 && (!ok || want.kind == KindHash):
				if !ok {
					it = tx.Create(&k, KindHash)
					want = value{kind: KindHash, dict: map[string]string{}}
				}
				for range 1 + rnd.IntN(20) {
					f, v := strconv.Itoa(rnd.IntN(60)), strconv.Itoa(rnd.IntN(1e9))
					if rnd.IntN(3) == 0 {
						_, had := want.dict[f]
						if it.Dict().Delete([]byte(f)) != had {
							t.Fatalf("step %d: field deletion disagrees", step)
						}
						delete(want.dict, f)
						continue
					}
					_, had := want.dict[f]
					if it.Dict().Set([]byte(f), []byte(v)) == had {
						t.Fatalf("step %d: field addition disagrees", step)
					}
					want.dict[f] = v
				}
				for f, v := range want.dict {
					if got, ok := it.Dict().Get([]byte(f)); !ok || string(got) != v {
						t.Fatalf("step %d: field %q = %q, want %q", step, f, got, v)
					}
				}
				tx.Update(&k, it)
				if model[name] = want; len(want.dict) == 0 {
					delete(model, name)
				}
			}
			tx.End()
			if rnd.IntN(50) == 0 {
				now += rnd.Int64N(20_000)
				s.Expire(now, 1000)
			}
			if step%5000 == 0 {
				check(t, s)
			}
		}
		check(t, s)
		for p := range Partitions {
			s.DropPartition(p)
		}
		check(t, s)
		if s.Used() != 0 {
			t.Errorf("%d bytes charged for nothing", s.Used())
		}
	}
}

func TestExpiryIsReclaimed(t *testing.T) {
	s := New(Config{})
	rnd := rand.New(rand.NewPCG(1, 2))
	var ats []int64
	for i := range 5000 {
		at := t0 + 1 + rnd.Int64N(1<<uint(5+rnd.IntN(32)))
		set(t, s, strconv.Itoa(i), "v", at, t0)
		ats = append(ats, at)
	}
	slices.Sort(ats)
	for now := int64(t0); len(ats) > 0; {
		now = ats[len(ats)/3] + 40 // a tick later it must be gone
		for s.Expire(now, 100) > 0 {
		}
		n, _ := slices.BinarySearch(ats, now-32)
		gone, _ := slices.BinarySearch(ats, now+1)
		if keys := s.CountDB(0, nil); keys > len(ats)-n || keys < len(ats)-gone {
			t.Fatalf("%d keys left, want %d to %d", keys, len(ats)-gone, len(ats)-n)
		}
		ats = ats[n:]
		if len(ats) < 3 {
			break
		}
	}
	check(t, s)
}

func TestBudgetIsHonoured(t *testing.T) {
	const budget = 4 << 20
	s := New(Config{MaxBytes: budget})
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range 60_000 {
		key := "key:" + strconv.Itoa(rnd.IntN(200_000))
		value := string(make([]byte, rnd.IntN(1500)))
		if i%1000 == 0 {
			value = string(make([]byte, 300_000)) // far more than a shard's share
		}
		if !set(t, s, key, value, 0, t0+int64(i)) {
			t.Fatalf("SET %d was refused", i)
		}
		if used := s.Used(); used > budget {
			t.Fatalf("%d bytes used of %d", used, budget)
		}
		if got, ok := get(s, key, t0+int64(i)); !ok || got != value {
			t.Fatalf("SET %d is not readable", i)
		}
	}
	if s.Used() < budget*8/10 {
		t.Errorf("only %d bytes of %d used", s.Used(), budget)
	}
	check(t, s)
	if set(t, s, "huge", string(make([]byte, budget+1)), 0, t0) {
		t.Error("a value larger than the budget was taken")
	}
	s.SetMaxBytes(budget / 2)
	if s.Used() > budget/2 {
		t.Errorf("%d bytes used after the budget shrank to %d", s.Used(), budget/2)
	}
}

func TestNoEviction(t *testing.T) {
	s := New(Config{MaxBytes: 100_000, Policy: NoEviction})
	n := 0
	for set(t, s, "key"+strconv.Itoa(n), "value", 0, t0) {
		n++
	}
	if n < 500 || s.Used() > 100_000 {
		t.Fatalf("%d keys, %d bytes", n, s.Used())
	}
	if _, ok := get(s, "key0", t0); !ok {
		t.Error("a key was evicted")
	}
}

func TestVolatileEvictsOnlyTimed(t *testing.T) {
	s := New(Config{MaxBytes: 200_000, Policy: VolatileS3FIFO})
	for i := range 500 {
		set(t, s, "forever"+strconv.Itoa(i), "v", 0, t0)
	}
	for i := range 10_000 {
		if !set(t, s, "timed"+strconv.Itoa(i), "v", t0+1e6, t0) {
			t.Fatal("refused although timed keys can go")
		}
	}
	for i := range 500 {
		if _, ok := get(s, "forever"+strconv.Itoa(i), t0); !ok {
			t.Fatal("a key without a time to live was evicted")
		}
	}
	check(t, s)
}

// TestS3FIFOBeatsFIFO compares hit ratios on a Zipf stream with one-hit wonders.
func TestS3FIFOBeatsFIFO(t *testing.T) {
	const budget = 1 << 20
	s := New(Config{MaxBytes: budget})
	rnd := rand.New(rand.NewPCG(5, 6))
	zipf := rand.NewZipf(rnd, 1.1, 8, 200_000)
	value := string(make([]byte, 100))
	fifo, order, capacity := map[uint64]bool{}, []uint64(nil), 0
	hits, fifoHits := 0, 0
	for i := range 300_000 {
		n := zipf.Uint64()
		key := fmt.Sprintf("key:%08d", n)
		if _, ok := get(s, key, t0); ok {
			hits++
		} else {
			set(t, s, key, value, 0, t0)
		}
		if i == 50_000 {
			capacity = s.CountDB(0, nil)
		}
		if fifo[n] {
			fifoHits++
			continue
		}
		fifo[n], order = true, append(order, n)
		if capacity > 0 {
			for len(fifo) > capacity {
				delete(fifo, order[0])
				order = order[1:]
			}
		}
	}
	t.Logf("%d keys: S3-FIFO %.1f %%, FIFO %.1f %%", capacity, float64(hits)/3000, float64(fifoHits)/3000)
	if hits < fifoHits+300_000/50 {
		t.Errorf("S3-FIFO hit %d times, FIFO %d", hits, fifoHits)
	}
}

func TestScanMissesNothing(t *testing.T) {
	s := New(Config{})
	p := s.Key([]byte("{x}")).Partition()
	want := map[string]bool{}
	for i := range 1000 {
		key := fmt.Sprintf("{x}%d", i)
		set(t, s, key, "v", 0, t0)
		want[key] = true
	}
	cursor, step := uint64(0), 0
	for {
		cursor = s.ScanPartition(p, cursor, 10, t0, func(it *Item) { delete(want, string(it.Key())) })
		if cursor == 0 {
			break
		}
		// The table grows during the first half and shrinks in the second.
		for j := range 200 {
			key := fmt.Sprintf("{x}other%d", (step%40)*200+j)
			if step < 40 {
				set(t, s, key, "v", 0, t0)
			} else {
				k := s.Key([]byte(key))
				var tx Tx
				tx.Begin(s, []Key{k}, t0, 0)
				tx.Delete(&k)
				tx.End()
			}
		}
		step++
	}
	if len(want) > 0 {
		t.Errorf("%d keys were never visited", len(want))
	}
	if step < 50 {
		t.Errorf("the scan took %d steps only: it did not see the table change", step)
	}
}

func TestApplyTakesOnlyNewer(t *testing.T) {
	s := New(Config{TombstoneTTL: time.Minute})
	entry := func(version uint64, value string) *Entry {
		return &Entry{Key: []byte("k"), Kind: KindString, Version: version, Value: []byte(value)}
	}
	apply := func(e *Entry, want bool) {
		t.Helper()
		if got, err := s.Apply(e, t0); got != want || err != nil {
			t.Fatalf("Apply(%+v) = %v, %v", e, got, err)
		}
	}
	const v = uint64(t0 << 16)
	apply(entry(v+5, "five"), true)
	apply(entry(v+4, "four"), false)
	apply(entry(v+5, "again"), false)
	if got, _ := get(s, "k", t0); got != "five" {
		t.Fatalf("got %q", got)
	}
	apply(&Entry{Key: []byte("k"), Deleted: true, Version: v + 9}, true)
	apply(entry(v+8, "eight"), false)
	if _, ok := get(s, "k", t0); ok {
		t.Fatal("deleted key is back")
	}
	// A write here is newer than all it has seen, even when the other node's clock runs ahead.
	apply(entry(v+1<<40, "ahead"), true)
	set(t, s, "k", "mine", 0, t0)
	var e Entry
	if !s.Entry([]byte("k"), t0, &e) || string(e.Value) != "mine" || e.Version <= v+1<<40 {
		t.Fatalf("entry %+v", e)
	}
	s.FlushPartition(s.Key([]byte("k")).Partition(), -1, t0)
	apply(&e, false)
	// The tombstone goes with its time.
	apply(&Entry{Key: []byte("gone"), Deleted: true, Version: v}, true)
	if n := s.Stats().Tombstones; n != 2 { // one for what the flush could not refuse by its time
		t.Fatalf("%d tombstones", n)
	}
	s.Expire(t0+61_000, 100)
	if n := s.Stats().Tombstones; n != 0 || s.Used() != 0 {
		t.Fatalf("%d tombstones, %d bytes", n, s.Used())
	}
}

func TestEntryRoundTrip(t *testing.T) {
	a, b := New(Config{}), New(Config{})
	var tx Tx
	k := a.Key([]byte("h"))
	tx.Begin(a, []Key{k}, t0, 0)
	it := tx.Create(&k, KindHash)
	for i := range 1000 {
		it.Dict().Set([]byte(strconv.Itoa(i)), bytes.Repeat([]byte("x"), i%80))
	}
	tx.Update(&k, it)
	tx.Expire(&k, it, t0+5000)
	tx.End()
	var e Entry
	if !a.Entry([]byte("h"), t0, &e) {
		t.Fatal("no entry")
	}
	if ok, err := b.Apply(&e, t0); !ok || err != nil {
		t.Fatal(ok, err)
	}
	check(t, b)
	tx.Begin(b, []Key{k}, t0, 0) // seeds differ, so locate it anew
	tx.End()
	k = b.Key([]byte("h"))
	tx.Begin(b, []Key{k}, t0, 0)
	defer tx.End()
	it = tx.Get(&k)
	if it == nil || it.Dict().Len() != 1000 || it.ExpireAt() != t0+5000 || it.Version() != e.Version {
		t.Fatalf("%+v", it)
	}
	for i := range 1000 {
		if v, ok := it.Dict().Get([]byte(strconv.Itoa(i))); !ok || len(v) != i%80 {
			t.Fatalf("field %d: %q %v", i, v, ok)
		}
	}
}

func TestTombstonesAreBounded(t *testing.T) {
	s := New(Config{TombstoneTTL: time.Hour, MaxTombstones: 640})
	for i := range 5000 {
		key := strconv.Itoa(i)
		set(t, s, key, "v", 0, t0)
		k := s.Key([]byte(key))
		var tx Tx
		tx.Begin(s, []Key{k}, t0, 0)
		tx.Delete(&k)
		tx.End()
	}
	if n := s.Stats().Tombstones; n > 640 || n < 600 {
		t.Errorf("%d tombstones", n)
	}
	check(t, s)
}

func TestDatabases(t *testing.T) {
	for _, c := range []struct {
		db     int
		key    string
		stored string
	}{{0, "k", "k"}, {0, "", ""}, {0, "\x00", "\x00\x00"}, {0, "\x0fx", "\x00\x0fx"}, {0, "\x10", "\x10"}, {3, "k", "\x03k"}, {15, "", "\x0f"}} {
		stored := StoredKey(nil, c.db, []byte(c.key))
		db, key := SplitKey(stored)
		if string(stored) != c.stored || db != c.db || string(key) != c.key {
			t.Errorf("%d %q is stored as %q, read as %d %q", c.db, c.key, stored, db, key)
		}
	}
	s := New(Config{})
	for i := range 200 {
		set(t, s, fmt.Sprintf("k%d", i), "v", 0, t0)
		set(t, s, fmt.Sprintf("\x02k%d", i), "v", t0+1000, t0)
	}
	for p := range Partitions {
		s.FlushPartition(p, 2, t0)
	}
	if a, b := s.CountDB(0, nil), s.CountDB(2, nil); a != 200 || b != 0 {
		t.Errorf("%d and %d keys", a, b)
	}
	check(t, s)
	if key, ok := s.RandomKey(nil, 0, nil, t0); !ok || key[0] != 'k' {
		t.Errorf("random key %q, %v", key, ok)
	}
	if _, ok := s.RandomKey(nil, 2, nil, t0); ok {
		t.Error("a random key of an empty database")
	}
}

func TestConcurrentUse(t *testing.T) {
	s := New(Config{MaxBytes: 1 << 20, TombstoneTTL: time.Second})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 9))
			var tx Tx
			for i := range 5000 {
				now := t0 + int64(i)
				keys := make([]Key, 1+rnd.IntN(4))
				for j := range keys {
					keys[j] = s.Key(fmt.Appendf(nil, "key%d", rnd.IntN(3000)))
				}
				tx.Begin(s, keys, now, int64(len(keys))*ItemGrowth(300))
				for j := range keys {
					switch rnd.IntN(4) {
					case 0:
						tx.SetString(&keys[j], make([]byte, rnd.IntN(256)), now+rnd.Int64N(3000))
					case 1:
						tx.Delete(&keys[j])
					default:
						tx.Get(&keys[j])
					}
				}
				tx.End()
				switch rnd.IntN(100) {
				case 0:
					s.Expire(now, 50)
				case 1:
					s.ScanPartition(rnd.IntN(Partitions), 0, 10, now, func(*Item) {})
				case 2:
					s.DropPartition(rnd.IntN(Partitions))
				case 3:
					s.Stats()
				}
			}
		})
	}
	wg.Wait()
	check(t, s)
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := New(Config{MaxBytes: 64 << 20})
	key, value := []byte("some:key:0001"), bytes.Repeat([]byte("v"), 100)
	keys := []Key{s.Key(key)}
	var tx Tx
	setOnce := func() {
		tx.Begin(s, keys, t0, ItemGrowth(len(key)+len(value)))
		tx.SetString(&keys[0], value, 0)
		tx.End()
	}
	setOnce()
	if n := testing.AllocsPerRun(100, setOnce); n != 0 {
		t.Errorf("%v allocations to overwrite", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		keys[0] = s.Key(key)
		tx.Begin(s, keys, t0, 0)
		if tx.Get(&keys[0]) == nil {
			t.Fatal("not there")
		}
		tx.End()
	}); n != 0 {
		t.Errorf("%v allocations to get", n)
	}
	long := bytes.Repeat([]byte("v"), 1000)
	turn := false
	if n := testing.AllocsPerRun(100, func() {
		v := value
		if turn = !turn; turn {
			v = long
		}
		tx.Begin(s, keys, t0, ItemGrowth(len(key)+len(v)))
		tx.SetString(&keys[0], v, 0)
		tx.End()
	}); n != 1 {
		t.Errorf("%v allocations to set a value of another size", n)
	}
}

func TestItemSize(t *testing.T) {
	if n := unsafe.Sizeof(Item{}); n > 64 {
		t.Errorf("an Item takes %d bytes", n)
	}
}

func TestClass(t *testing.T) {
	for n := range 200_000 {
		c := class(n)
		if c < n || class(c) != c || n > 64<<10 && c-n > n/4 {
			t.Fatalf("class(%d) = %d", n, c)
		}
		// What append rounds to is what the allocator gives.
		if n > 0 && n <= 32<<10 && n%97 == 0 {
			if got := cap(append([]byte(nil), make([]byte, n)...)); got != c {
				t.Fatalf("class(%d) = %d, the allocator gives %d", n, c, got)
			}
		}
	}
}

func BenchmarkStore(b *testing.B) {
	s := New(Config{MaxBytes: 1 << 30})
	keys := make([][]byte, 100_000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key:%012d", i)
		set(b, s, string(keys[i]), "value", 0, t0)
	}
	for _, op := range []string{"get", "set"} {
		b.Run("op="+op, func(b *testing.B) {
			var tx Tx
			ks := make([]Key, 1)
			i := 0
			value := []byte("value")
			for b.Loop() {
				i = (i + 7919) % len(keys)
				ks[0] = s.Key(keys[i])
				if op == "get" {
					tx.Begin(s, ks, t0, 0)
					tx.Get(&ks[0])
				} else {
					tx.Begin(s, ks, t0, ItemGrowth(len(keys[i])+5))
					tx.SetString(&ks[0], value, 0)
				}
				tx.End()
			}
		})
	}
}

func TestCeiling(t *testing.T) {
	for _, budget := range []int64{0, 4 << 20} {
		s := New(Config{MaxBytes: budget})
		for i := range 5000 {
			set(t, s, "key"+strconv.Itoa(i), string(make([]byte, 500)), 0, t0)
		}
		used := s.Used()
		s.SetCeiling(used / 2)
		if s.Used() > used/2 || s.Used() < used/3 {
			t.Errorf("%d bytes used of %d after a ceiling at half of it", s.Used(), used)
		}
		set(t, s, "more", string(make([]byte, 100_000)), 0, t0)
		if s.Used() > used/2 {
			t.Errorf("a write went beyond the ceiling: %d", s.Used())
		}
		if s.MaxBytes() != budget {
			t.Errorf("the budget is said to be %d", s.MaxBytes())
		}
		s.SetCeiling(0)
		for i := range 5000 {
			set(t, s, "key"+strconv.Itoa(i), string(make([]byte, 500)), 0, t0)
		}
		if s.Used() < used {
			t.Errorf("%d bytes used after the ceiling was lifted, %d before", s.Used(), used)
		}
		check(t, s)
	}
}
