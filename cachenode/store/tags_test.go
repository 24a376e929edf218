package store

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func words(tags ...string) (list [][]byte) {
	for _, t := range tags {
		list = append(list, []byte(t))
	}
	return list
}

// tagKey binds a key, and tells whether it was there.
func tagKey(s *Store, key string, now int64, tags ...string) bool {
	k := s.Key([]byte(key))
	var tx Tx
	tx.Begin(s, []Key{k}, now, 0)
	defer tx.End()
	it := tx.Peek(&k)
	return it != nil && tx.Tag(&k, it, words(tags...))
}

func has(s *Store, key string, now int64) bool {
	k := s.Key([]byte(key))
	var tx Tx
	tx.Begin(s, []Key{k}, now, 0)
	defer tx.End()
	return tx.Get(&k) != nil
}

// with runs fn on keys.
func with(s *Store, now int64, fn func(tx *Tx, keys []Key), names ...string) {
	var keys []Key
	for _, name := range names {
		keys = append(keys, s.Key([]byte(name)))
	}
	var tx Tx
	tx.Begin(s, keys, now, 0)
	fn(&tx, keys)
	tx.End()
}

// A model of keys and tags is followed by a store, through writes, moves, copies and invalidations.
func TestTagsFollowTheModel(t *testing.T) {
	pattern, err := ParseTagPattern("u{1}")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{})
	s.SetRules([]Rule{{Prefix: "r:", Tags: []TagPattern{pattern}}})
	rnd := rand.New(rand.NewPCG(1, 2))
	model := map[string]map[string]bool{} // live keys and their tags
	name := func() string {
		if i := rnd.IntN(20); i < 10 {
			return fmt.Sprintf("k%d", i)
		} else {
			return fmt.Sprintf("r:%d:%d", i%3, i)
		}
	}
	own := func(key string) map[string]bool { // the tags of a key that was just set
		tags := map[string]bool{}
		if key[0] == 'r' {
			tags["u"+key[2:3]] = true
		}
		return tags
	}
	for step := range 20_000 {
		now := t0 + int64(step/50)
		key := name()
		switch rnd.IntN(9) {
		case 0, 1:
			set(t, s, key, "v", 0, now)
			model[key] = own(key)
		case 2:
			with(s, now, func(tx *Tx, keys []Key) {
				if it := tx.Peek(&keys[0]); it != nil {
					tx.Rewrite(&keys[0], []byte("other"), 0)
				}
			}, key)
		case 3, 4:
			tag := fmt.Sprintf("t%d", rnd.IntN(4))
			if tagKey(s, key, now, tag) != (model[key] != nil) {
				t.Fatalf("step %d: %s is bound, or is not, wrongly", step, key)
			}
			if model[key] != nil {
				model[key][tag] = true
			}
		case 5:
			tag := fmt.Sprintf("t%d", rnd.IntN(4))
			if rnd.IntN(3) == 0 {
				tag = fmt.Sprintf("u%d", rnd.IntN(3))
			}
			s.Invalidate(words(tag), 0, now)
			for k, tags := range model {
				if tags[tag] {
					delete(model, k)
				}
			}
		case 6:
			to := name()
			with(s, now, func(tx *Tx, keys []Key) {
				if tx.Peek(&keys[0]) != nil && key != to {
					tx.Rename(&keys[0], &keys[1])
				}
			}, key, to)
			if model[key] != nil && key != to {
				tags := own(to)
				for tag := range model[key] {
					if tag[0] == 't' {
						tags[tag] = true
					}
				}
				model[to] = tags
				delete(model, key)
			}
		case 7:
			s.Sweep(now, 10)
		default:
			with(s, now, func(tx *Tx, keys []Key) {
				it := tx.Peek(&keys[0])
				if (it != nil) != (model[key] != nil) {
					t.Fatalf("step %d: %s is there: %v, by the model: %v", step, key, it != nil, model[key])
				}
			}, key)
		}
	}
	for !s.Sweep(t0+1000, 1000) {
	}
	if got := s.CountDB(0, nil); got != len(model) {
		t.Errorf("%d keys are left, %d by the model", got, len(model))
	}
	s.FlushPartition(0, -1, t0)
	for p := range Partitions {
		s.FlushPartition(p, -1, t0+1001)
	}
	if left := s.Stats().Bytes; left != 0 {
		t.Errorf("%d bytes are charged for nothing", left)
	}
	for i := range s.shards {
		if len(s.shards[i].bound) > 0 {
			t.Errorf("shard %d keeps tags of keys that are gone", i)
		}
	}
}

// The table does not grow beyond its bound; what it forgets counts as invalidated, not as valid.
func TestTableOfTagsIsBounded(t *testing.T) {
	s := New(Config{})
	const keys = 2000
	for i := range keys {
		key := fmt.Sprintf("k%d", i)
		set(t, s, key, "v", 0, t0)
		tagKey(s, key, t0, key)
	}
	for i := range keys {
		s.Invalidate(words(fmt.Sprintf("k%d", i)), 0, t0+1)
	}
	tag := make([][]byte, 1)
	for i := range TagBuckets * maxTagsInBucket * 2 {
		tag[0] = fmt.Appendf(tag[0][:0], "other%d", i)
		s.tags.raise(tag[0], VersionAt(t0+2)+uint64(i))
	}
	if got := s.Tags(); got > TagBuckets*maxTagsInBucket || got < TagBuckets*maxTagsInBucket/2 {
		t.Errorf("%d tags are kept", got)
	}
	for i := range keys {
		if has(s, fmt.Sprintf("k%d", i), t0+3) {
			t.Fatalf("k%d is back", i)
		}
	}
	// Tags that nobody has ever named: a key that is newer than what was forgotten is there.
	later := int64(t0 + 1_000_000)
	set(t, s, "new", "v", 0, later)
	tagKey(s, "new", later, "unheard")
	if !has(s, "new", later) {
		t.Error("a new key is gone with tags that it does not have")
	}
}

// Two stores that give each other what differs have the same table, and so has a store that learns it from either.
func TestTablesMerge(t *testing.T) {
	a, b, c := New(Config{}), New(Config{}), New(Config{})
	for i := range 3000 {
		a.Invalidate(words(fmt.Sprintf("t%d", i)), 0, t0+int64(i))
		b.Invalidate(words(fmt.Sprintf("t%d", 2*i)), 0, t0+int64(2000-i))
	}
	a.tags[7].raiseFloor(VersionAt(t0 + 500))
	merge := func(to, from *Store) {
		digests := from.TagDigests()
		for i, d := range to.TagDigests() {
			if d == digests[i] {
				continue
			}
			if err := to.MergeTags(i, from.AppendTags(nil, i), t0); err != nil {
				t.Fatal(err)
			}
		}
	}
	merge(a, b)
	merge(b, a)
	merge(c, b)
	if a.TagDigests() != b.TagDigests() || a.TagDigests() != c.TagDigests() {
		t.Error("the tables differ")
	}
	if a.TagDigests() == New(Config{}).TagDigests() {
		t.Error("a full table has the digest of an empty one")
	}
	for _, bad := range []string{"", "1234567", "12345678\x00", "12345678\x05t", "12345678\x01t1234567"} {
		if c.MergeTags(0, []byte(bad), t0) == nil {
			t.Errorf("%q is taken for a bucket", bad)
		}
	}
}

func TestTagPatterns(t *testing.T) {
	for _, tt := range []struct{ pattern, name, want string }{
		{"user:{1}", "7:cart", "user:7"},
		{"user:{1}", "7", "user:7"},
		{"user:{1}", "", ""},
		{"{2}-{1}", "a:b:c", "b-a"},
		{"{2}", "a", ""},
		{"{2}", "a::c", ""},
		{"all", "whatever", "all"},
		{"{1}{1}", "x", "xx"},
	} {
		p, err := ParseTagPattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.append(nil, []byte(tt.name)); string(got) != tt.want || ok != (tt.want != "") {
			t.Errorf("%s of %q: %q, want %q", tt.pattern, tt.name, got, tt.want)
		}
	}
	for _, bad := range []string{"", "{", "}", "{0}", "{10}", "{a}", "x{1", string(make([]byte, 256))} {
		if _, err := ParseTagPattern(bad); err == nil {
			t.Errorf("%q is a pattern", bad)
		}
	}
}

// What travels between nodes keeps its tags; what was invalidated meanwhile is not taken over.
func TestEntriesKeepTheirTags(t *testing.T) {
	a, b := New(Config{TombstoneTTL: time.Minute}), New(Config{TombstoneTTL: time.Minute})
	set(t, a, "k", "v", 0, t0)
	tagKey(a, "k", t0, "t")
	var e Entry
	if !a.Entry([]byte("k"), t0, &e) {
		t.Fatal("there is no entry")
	}
	b.Apply(&e, t0)
	if !has(b, "k", t0) {
		t.Fatal("the entry is not taken over")
	}
	version := a.Invalidate(words("t"), 0, t0)
	b.Invalidate(words("t"), version, t0)
	if has(b, "k", t0) || a.Entry([]byte("k"), t0, &e) {
		t.Error("the key is found where it was handed over, or is handed over after it was invalidated")
	}
	if b.Apply(&e, t0); has(b, "k", t0) {
		t.Error("an invalid entry is taken over")
	}
	if _, err := b.Apply(&Entry{Key: []byte("x"), Kind: KindString, Version: version + 1, Tags: []byte{5, 'a'}}, t0); err == nil {
		t.Error("malformed tags are taken over")
	}
}

// An invalidation whose version is ahead of the clock does not take what is written after it.
func TestKeysWrittenAfterAnInvalidationAreFound(t *testing.T) {
	s := New(Config{})
	pattern, _ := ParseTagPattern("u{1}")
	s.SetRules([]Rule{{Prefix: "r:", Tags: []TagPattern{pattern}}})
	for _, ahead := range []int64{0, maxAhead / 2, 10 * maxAhead} {
		s.Invalidate(words("t", "u1"), VersionAt(t0+ahead), t0)
		set(t, s, "k", "v", 0, t0)
		if !tagKey(s, "k", t0, "t") || !has(s, "k", t0) {
			t.Errorf("ahead %d ms: a key that was bound after it is gone", ahead)
		}
		set(t, s, "r:1", "v", 0, t0)
		if !has(s, "r:1", t0) {
			t.Errorf("ahead %d ms: a key that was set after it is gone", ahead)
		}
	}
}

// Neither a lease that was given before an invalidation nor a stale value of before it is worth anything.
func TestTagsEndLeasesAndStaleValues(t *testing.T) {
	pattern, _ := ParseTagPattern("u{1}")
	s := New(Config{})
	s.SetRules([]Rule{{Prefix: "r:", Stale: time.Hour, Tags: []TagPattern{pattern}}})
	var token []byte
	with(s, t0, func(tx *Tx, keys []Key) { token = tx.Claim(&keys[0], t0+60_000).Token }, "r:1")
	set(t, s, "r:2", "old", t0+10, t0)
	with(s, t0+20, func(tx *Tx, keys []Key) {
		if c := tx.Claim(&keys[0], t0+60_000); c.Item == nil {
			t.Error("there is no stale value")
		}
	}, "r:2")
	if token == nil {
		t.Fatal("there is no lease")
	}
	s.Invalidate(words("u1", "u2"), 0, t0+30)
	with(s, t0+40, func(tx *Tx, keys []Key) {
		if tx.HoldsLease(&keys[0], token) {
			t.Error("the lease holds")
		}
		if c := tx.Claim(&keys[1], t0+60_000); c.Item != nil || c.Token == nil {
			t.Errorf("a stale value is given, or no lease: %+v", c)
		}
	}, "r:1", "r:2")
}
