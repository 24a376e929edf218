package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Whatever changes a marked key is numbered, once; what changes others is not.
func TestEveryChangeOfAMarkedKeyIsNumbered(t *testing.T) {
	const now = 1_000_000
	for name, change := range map[string]func(s *Store, tx *Tx, k *Key){
		"set":      func(s *Store, tx *Tx, k *Key) { tx.SetString(k, []byte("w"), 0) },
		"resize":   func(s *Store, tx *Tx, k *Key) { tx.Resize(k, 9) },
		"delete":   func(s *Store, tx *Tx, k *Key) { tx.Delete(k) },
		"create":   func(s *Store, tx *Tx, k *Key) { tx.Create(k, KindHash) },
		"expire":   func(s *Store, tx *Tx, k *Key) { tx.Expire(k, tx.Peek(k), now+9) },
		"persist":  func(s *Store, tx *Tx, k *Key) { tx.Expire(k, tx.Peek(k), 0) },
		"expired":  func(s *Store, tx *Tx, k *Key) { tx.Expire(k, tx.Peek(k), now-1) },
		"rename":   func(s *Store, tx *Tx, k *Key) { other := s.Key([]byte("{k}2")); tx.Rename(k, &other) },
		"renameto": func(s *Store, tx *Tx, k *Key) { o := s.Key([]byte("{k}2")); tx.SetString(&o, nil, 0); tx.Rename(&o, k) },
	} {
		s := New(Config{TombstoneTTL: time.Minute})
		k := s.Key([]byte("k"))
		var tx Tx
		tx.Begin(s, []Key{k}, now, 100)
		tx.SetString(&k, []byte("v"), now+1000)
		tx.End()
		if _, last, known := s.MarkedChanges(nil, 1); last != 1 || !known {
			t.Fatalf("%s: %d changes without a mark, known %v", name, last, known)
		}
		if until, ok := s.Mark(&k, now); !ok || until != now+1000 {
			t.Fatalf("%s: Mark returns %d, %v", name, until, ok)
		}
		for range 2 { // the second change finds no mark
			tx.Begin(s, []Key{k}, now, 100)
			if tx.Peek(&k) != nil {
				change(s, &tx, &k)
			}
			tx.End()
		}
		got, last, known := s.MarkedChanges(nil, 1)
		if want := []uint64{xxhash.Sum64String("k")}; !slices.Equal(got, want) || last != 2 || !known {
			t.Errorf("%s: %x, %d, %v, want %x", name, got, last, known, want)
		}
	}
}

// Keys that go by themselves, with their partition or a flush, or are replaced by another node's, are numbered too.
func TestChangesWithoutACommandAreNumbered(t *testing.T) {
	const now = 1_000_000
	for name, change := range map[string]func(s *Store, k *Key){
		"wheel":     func(s *Store, k *Key) { s.Expire(now+5000, 1000) },
		"read late": func(s *Store, k *Key) { var tx Tx; tx.Begin(s, []Key{*k}, now+5000, 0); tx.Get(k); tx.End() },
		"evicted":   func(s *Store, k *Key) { s.SetMaxBytes(1) },
		"dropped":   func(s *Store, k *Key) { s.DropPartition(k.Partition()) },
		"flushed":   func(s *Store, k *Key) { s.FlushPartition(k.Partition(), 0, now) },
		"applied":   func(s *Store, k *Key) { apply(s, &Entry{Key: k.Bytes, Kind: KindString, Version: 1 << 62}, now) },
		"deleted":   func(s *Store, k *Key) { apply(s, &Entry{Key: k.Bytes, Deleted: true, Version: 1 << 62}, now) },
		"forgotten": func(s *Store, k *Key) { s.ForgetCopies() },
		"new rules": func(s *Store, k *Key) { s.SetRules(nil) },
	} {
		s := New(Config{TombstoneTTL: time.Minute})
		k := s.Key([]byte("k"))
		told := 0
		s.OnMarkedChange(func() { told++ })
		var tx Tx
		tx.Begin(s, []Key{k}, now, 100)
		tx.SetString(&k, []byte("v"), now+1000)
		tx.End()
		if _, ok := s.Mark(&k, now); !ok {
			t.Fatal("not marked")
		}
		change(s, &k)
		got, last, known := s.MarkedChanges(nil, 1)
		if one := len(got) == 1 && got[0] == xxhash.Sum64String("k") && known; !one && known || last != 2 || told != 1 {
			t.Errorf("%s: %x, %d, %v; told %d times", name, got, last, known, told)
		}
	}
}

func apply(s *Store, e *Entry, now int64) { s.Apply(e, now) }

// Mark says how long a copy may be given, and to what there are none.
func TestWhatIsMarked(t *testing.T) {
	const now = 1_000_000
	s := New(Config{})
	s.SetRules([]Rule{{Prefix: "stale:", Stale: time.Second}, {Prefix: "ahead:", RefreshAhead: time.Second}, {Prefix: "lease:", Lease: time.Second},
		{Prefix: "strong:", Strong: true}})
	for key, want := range map[string]bool{"string": true, "lease:k": true, "missing": false, "over": false, "hash": false, "stale:k": false, "ahead:k": false, "strong:k": false} {
		k := s.Key([]byte(key))
		var tx Tx
		tx.Begin(s, []Key{k}, now-10, 100)
		switch key {
		case "missing":
		case "hash":
			tx.Create(&k, KindHash)
		case "over":
			tx.SetString(&k, []byte("v"), now)
		default:
			tx.SetString(&k, []byte("v"), 0)
		}
		tx.End()
		if _, ok := s.Mark(&k, now); ok != want {
			t.Errorf("Mark of %s: %v", key, ok)
		}
	}
}

// A change of another key that has the same place among the marks leaves the mark where it is; a mark of another key there ends
// the copies of the first.
func TestMarksOfKeysWithTheSamePlace(t *testing.T) {
	s := New(Config{})
	var tx Tx
	set := func(k *Key) {
		tx.Begin(s, []Key{*k}, 1, 100)
		tx.SetString(k, nil, 0)
		tx.End()
	}
	k, other := s.Key([]byte("{k}")), Key{}
	for i := 0; other.Bytes == nil || other.hash%shardMarks != k.hash%shardMarks; i++ {
		other = s.Key(fmt.Append(nil, "{k}", i))
	}
	expect := func(after string, since uint64, want ...*Key) {
		t.Helper()
		var hashes []uint64
		for _, k := range want {
			hashes = append(hashes, xxhash.Sum64(k.Bytes))
		}
		if got, _, _ := s.MarkedChanges(nil, since); !slices.Equal(got, hashes) {
			t.Errorf("after %s: %x, want %x", after, got, hashes)
		}
	}
	set(&k)
	s.Mark(&k, 1)
	_, since, _ := s.MarkedChanges(nil, 1)
	set(&other)
	expect("a change of the other", since)
	set(&k)
	expect("a change", since, &k)
	s.Mark(&k, 1)
	s.Mark(&k, 1)
	s.Mark(&other, 1)
	expect("a mark of the other", since, &k, &k)
	set(&k)
	set(&other)
	expect("changes of both", since, &k, &k, &other)
}

// Whoever asks for changes again and again gets each in order, or is told that some are lost; as in a model that keeps all.
func TestJournalAgainstAModel(t *testing.T) {
	s := New(Config{})
	rng := rand.New(rand.NewPCG(1, 2))
	var model []uint64 // change n at n-2
	since := uint64(1)
	key := func(i int) Key { return s.Key(fmt.Append(nil, "k", i)) }
	var tx Tx
	lost := uint64(1)
	for step := range 200 {
		burst := rng.IntN(40)
		if step%50 == 49 {
			burst = journalSize + rng.IntN(2)
		}
		for range burst {
			k := key(rng.IntN(1000))
			tx.Begin(s, []Key{k}, 1, 100)
			tx.SetString(&k, nil, 0) // is there now
			tx.End()
			if got, _, _ := s.MarkedChanges(nil, uint64(len(model))+1); len(got) > 0 {
				model = append(model, got...) // its own mark was left
			}
			if _, ok := s.Mark(&k, 1); !ok {
				t.Fatal("not marked")
			}
			if got, _, _ := s.MarkedChanges(nil, uint64(len(model))+1); len(got) > 0 {
				model = append(model, got...) // the mark has taken another key's place
			}
			tx.Begin(s, []Key{k}, 1, 100)
			tx.SetString(&k, nil, 0)
			tx.End()
			model = append(model, xxhash.Sum64(k.Bytes))
		}
		if rng.IntN(20) == 0 {
			s.ForgetCopies()
			model = append(model, 0)
			lost = uint64(len(model)) + 1
		}
		if rng.IntN(3) == 0 {
			continue
		}
		got, last, known := s.MarkedChanges(nil, since)
		if last != uint64(len(model))+1 {
			t.Fatalf("step %d: last is %d, want %d", step, last, len(model)+1)
		}
		if want := since >= lost && last-since <= journalSize; known != want {
			t.Fatalf("step %d: known is %v of changes after %d of %d, lost up to %d", step, known, since, last, lost)
		}
		if known && !slices.Equal(got, model[since-1:]) {
			t.Fatalf("step %d: %x, want %x", step, got, model[since-1:])
		}
		since = last
	}
	if _, _, known := s.MarkedChanges(nil, since+1); known {
		t.Error("the changes of another store are known")
	}
}
