package store

import (
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// claim takes the lease on key for an hour and returns its token, nil if somebody has it.
func claim(s *Store, key string, now int64) []byte {
	k := s.Key([]byte(key))
	var tx Tx
	tx.Begin(s, []Key{k}, now, ItemGrowth(len(key)))
	defer tx.End()
	return tx.Claim(&k, now+3_600_000).Token
}

func holds(s *Store, key string, token []byte, now int64) bool {
	k := s.Key([]byte(key))
	var tx Tx
	tx.Begin(s, []Key{k}, now, 0)
	defer tx.End()
	return tx.HoldsLease(&k, token)
}

func fetch(s *Store, key string, now int64) (string, bool) {
	k := s.Key([]byte(key))
	var tx Tx
	tx.Begin(s, []Key{k}, now, 0)
	defer tx.End()
	if it := tx.Fetch(&k); it != nil {
		return string(it.Value()), true
	}
	return "", false
}

// The leases of a shard are bounded in number and bytes: those with the least time left go first. What is over is
// forgotten.
func TestLeasesAreBounded(t *testing.T) {
	for _, tt := range []struct {
		budget int64
		keys   int
	}{{0, maxLeases * shardCount * 9 / 8}, {4 << 20, 10_000}} {
		s := New(Config{MaxBytes: tt.budget})
		byShard := [shardCount][]int{}
		tokens := make([][]byte, tt.keys)
		for i := range tokens {
			k := s.Key([]byte("k" + strconv.Itoa(i)))
			byShard[k.shard()] = append(byShard[k.shard()], i)
			if tokens[i] = claim(s, string(k.Bytes), t0+int64(i)); tokens[i] == nil {
				t.Fatalf("key %d is refused a lease", i)
			}
		}
		check(t, s)
		now := int64(t0 + tt.keys)
		for i := range s.shards {
			ls := &s.shards[i].leases
			held := len(ls.byEnd)
			if held == 0 || held > maxLeases || tt.budget > 0 && ls.bytes > int(tt.budget/shardCount/leaseShare) {
				t.Errorf("shard %d has %d leases of %d bytes", i, held, ls.bytes)
			}
			for n, of := range byShard[i] {
				if has := holds(s, "k"+strconv.Itoa(of), tokens[of], now); has != (n >= len(byShard[i])-held) {
					t.Errorf("shard %d, lease %d of %d, of which %d are held: %v", i, n, len(byShard[i]), held, has)
				}
			}
		}
		s.Expire(now+3_600_000, 1)
		check(t, s)
		if used := s.Used(); used != 0 {
			t.Errorf("%d bytes are left of leases that are over", used)
		}
	}
}

// A single lease is given whatever its key takes, and takes its room from keys.
func TestLeaseOnALongKey(t *testing.T) {
	s := New(Config{MaxBytes: 1 << 20})
	for i := range 1000 {
		set(t, s, "k"+strconv.Itoa(i), strings.Repeat("v", 1000), 0, t0)
	}
	long := strings.Repeat("x", 500_000)
	if claim(s, long, t0) == nil {
		t.Error("no lease")
	}
	check(t, s)
	if used := s.Used(); used > 1<<20 {
		t.Errorf("%d bytes used", used)
	}
}

// What leases are charged is what they take.
func TestLeaseChargeIsTheTruth(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes allocations")
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	s := New(Config{})
	before := heap()
	for i := range maxLeases * shardCount {
		claim(s, "page:"+strconv.Itoa(i), t0)
	}
	grown, used := heap()-before, s.Used()
	t.Logf("%d charged, heap grew by %d", used, grown)
	if float64(grown) > 1.1*float64(used) || float64(grown) < 0.6*float64(used) {
		t.Errorf("the heap has grown by %d for %d charged", grown, used)
	}
	runtime.KeepAlive(s)
}

// Leases of another store, or another time, are none.
func TestTokensAreOfOneStore(t *testing.T) {
	a, b := New(Config{}), New(Config{})
	token, other := claim(a, "k", t0), claim(b, "k", t0)
	if !holds(a, "k", token, t0) || holds(a, "k", other, t0) || holds(b, "k", token, t0) {
		t.Errorf("tokens %s and %s", token, other)
	}
	for _, wrong := range []string{"", "x", string(token) + " ", strings.ToUpper(string(token)) + "0"} {
		if holds(a, "k", []byte(wrong), t0) {
			t.Errorf("%q is taken for %s", wrong, token)
		}
	}
}

// A stale item is no key: it is not counted, visited, drawn, saved or sent, and goes when its time is over, when it is
// evicted, and with its partition.
func TestStaleItemsAreNoKeys(t *testing.T) {
	s := New(Config{TombstoneTTL: time.Minute})
	s.SetRules([]Rule{{Stale: 10 * time.Second}})
	var gone []Removal
	s.OnRemoval(func(_ []byte, why Removal) { gone = append(gone, why) })
	set(t, s, "k", "v", t0+1000, t0)
	set(t, s, "other", "v", t0+1000, t0)
	const now = t0 + 1000
	if _, ok := get(s, "k", now); ok {
		t.Error("Get finds it")
	}
	s.Expire(now+100, 100)
	check(t, s)
	k := s.Key([]byte("k"))
	stats := s.Stats()
	if stats.Keys[0] != 0 || stats.Expires[0] != 0 || stats.Expired != 2 || stats.Bytes == 0 {
		t.Errorf("%+v", stats)
	}
	var e Entry
	if s.Entry([]byte("k"), now, &e) || s.CountPartition(k.Partition()) != 0 {
		t.Error("it is a key to others")
	}
	s.ScanPartition(k.Partition(), 0, 100, now, func(it *Item) { t.Errorf("a scan finds %q", it.Key()) })
	if _, ok := s.RandomKey(nil, 0, nil, now); ok {
		t.Error("it is drawn")
	}
	if _, ok := fetch(s, "k", now); ok {
		t.Error("the first reader gets it")
	}
	if v, ok := fetch(s, "k", now); !ok || v != "v" {
		t.Errorf("the second reader gets %q, %v", v, ok)
	}
	s.SetRules(nil)
	if _, ok := fetch(s, "k", now); ok {
		t.Error("it is given without a rule")
	}
	s.DropPartition(k.Partition())
	s.Expire(now+11_000, 100)
	check(t, s)
	if len(gone) != 3 || gone[2] != StaleGone {
		t.Errorf("removals %v", gone)
	}
	if used := s.Used(); used != 0 {
		t.Errorf("%d bytes are left", used)
	}

	// Evicted.
	s.SetRules([]Rule{{Stale: time.Hour}})
	set(t, s, "k", "v", t0+1000, t0)
	get(s, "k", now)
	gone = nil
	s.SetMaxBytes(1)
	check(t, s)
	if len(gone) != 1 || gone[0] != StaleGone || s.Stats().Evicted != 0 {
		t.Errorf("evicted: %v, %d", gone, s.Stats().Evicted)
	}
	s.SetMaxBytes(0)

	// Deleted: an older copy does not come back.
	set(t, s, "k", "v", t0+1000, t0)
	s.Entry([]byte("k"), t0, &e)
	get(s, "k", now)
	var tx Tx
	tx.Track = true
	tx.Begin(s, []Key{k}, now, 0)
	if tx.Delete(&k) || len(tx.Changed) != 1 {
		t.Errorf("deleted what is no key, or told nobody: %v", tx.Changed)
	}
	tx.End()
	if applied, err := s.Apply(&e, now); applied || err != nil {
		t.Errorf("an older copy is taken: %v", err)
	}
	check(t, s)
}

// An entry that comes from another node when its time is over is stale here, too.
func TestApplyKeepsStale(t *testing.T) {
	s := New(Config{})
	s.SetRules([]Rule{{Prefix: "page:", Stale: 10 * time.Second}})
	for key, want := range map[string]bool{"page:1": true, "other": false} {
		e := Entry{Key: []byte(key), Kind: KindString, Version: t0 << 16, ExpireAt: t0 + 1000, Value: []byte("v")}
		if _, err := s.Apply(&e, t0+2000); err != nil {
			t.Fatal(err)
		}
		if _, ok := get(s, key, t0+2000); ok {
			t.Errorf("%s is live", key)
		}
		fetch(s, key, t0+10_999) // by now that lease is over
		if _, ok := fetch(s, key, t0+10_999); ok != want {
			t.Errorf("%s is stale: %v", key, ok)
		}
		if _, ok := fetch(s, key, t0+11_000); ok {
			t.Errorf("%s is stale for too long", key)
		}
	}
	check(t, s)
}

// The end of time is not over, whatever a rule adds to it.
func TestApplyAtTheEndOfTime(t *testing.T) {
	s := New(Config{})
	s.SetRules([]Rule{{Stale: 10 * time.Second}})
	e := Entry{Key: []byte("k"), Kind: KindString, Version: t0 << 16, ExpireAt: math.MaxInt64, Value: []byte("v")}
	if _, err := s.Apply(&e, t0); err != nil {
		t.Fatal(err)
	}
	if v, ok := get(s, "k", t0); !ok || v != "v" {
		t.Errorf("%q, %v", v, ok)
	}
	check(t, s)
}

// A rule holds in every database; of several prefixes the longest counts, in whatever order they are given.
func TestRulesByPrefix(t *testing.T) {
	s := New(Config{})
	list := []Rule{{Stale: time.Second}, {Prefix: "page:", Stale: 2 * time.Second}, {Prefix: "page:x", RefreshAhead: time.Second, Lease: time.Millisecond}}
	for range 2 {
		s.SetRules(list)
		for key, want := range map[string]int64{"": 1000, "p": 1000, "page:": 2000, "page:1": 2000, "page:x": 0, "page:x1": 0, "\x03page:": 1000} {
			for db := range Databases {
				if got := s.shards[0].rules.of(StoredKey(nil, db, []byte(key))); got.stale != want {
					t.Errorf("database %d: the rule for %q is %+v, want %d ms", db, key, got, want)
				}
			}
		}
		if got := s.shards[5].rules.of([]byte("page:x")); got.lease != 1 || got.ahead != 1000 {
			t.Errorf("%+v", got)
		}
		slices.Reverse(list)
	}
}
