package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// A tag stands for any number of keys, which are made to miss at once: what is noted is the version at which the tag was
// invalidated, and whoever finds an item that is bound to it and is not newer drops the item. Keys are bound to tags one by
// one, which is kept with their items, or by the rule for their prefix, which is kept nowhere.
//
// The table of tags is bounded. A bucket that is full forgets the tags that were invalidated longest ago, and keeps the
// newest of their versions: all tags of the bucket that it does not have count as invalidated then. So an item may miss
// without need, but none is found that should not be.

const (
	// TagBuckets is the number of parts of the table.
	TagBuckets = 256
	// maxTagsInBucket bounds each, so that the table has 262,144 tags at most.
	maxTagsInBucket = 1024
	// forgetTags is how many a full bucket forgets at once.
	forgetTags = maxTagsInBucket / 8
	// MaxTag is the length of a tag in bytes.
	MaxTag = 255
	// MaxTagsOfKey is how many tags a key may be bound to one by one.
	MaxTagsOfKey = 16

	tagOverhead = 64 // charged for each, besides its bytes: its share of a map
)

// ErrTags is about tags from another node that are malformed.
var ErrTags = errors.New("malformed tags")

type tagTable [TagBuckets]tagBucket

type tagBucket struct {
	mu       sync.RWMutex
	versions map[string]uint64
	floor    uint64        // of all tags that versions lacks
	digest   atomic.Uint64 // of all that is here; 0 of nothing
}

func tagHash(tag []byte) uint64 { return xxhash.Sum64(tag) }

// invalidated is the version up to which items bound to tag are gone.
func (t *tagTable) invalidated(tag []byte) uint64 {
	b := &t[tagHash(tag)%TagBuckets]
	b.mu.RLock()
	defer b.mu.RUnlock()
	if v, ok := b.versions[string(tag)]; ok {
		return v
	}
	return b.floor
}

// raise notes that tag was invalidated at version, if it was not later; it returns by how many bytes the table grew.
func (t *tagTable) raise(tag []byte, version uint64) (grown int) {
	b := &t[tagHash(tag)%TagBuckets]
	b.mu.Lock()
	defer b.mu.Unlock()
	was, known := b.versions[string(tag)]
	if version <= was || version <= b.floor {
		return 0
	}
	if b.versions == nil {
		b.versions = map[string]uint64{}
	}
	if !known && len(b.versions) >= maxTagsInBucket {
		grown = b.forget()
		if version <= b.floor {
			return grown
		}
	}
	if known {
		b.digest.Add(-tagDigest(string(tag), was))
	} else {
		grown += class(len(tag)) + tagOverhead
	}
	b.versions[string(tag)] = version
	b.digest.Add(tagDigest(string(tag), version))
	return grown
}

// forget takes the tags away that were invalidated longest ago.
func (b *tagBucket) forget() (grown int) {
	all := make([]uint64, 0, len(b.versions))
	for _, v := range b.versions {
		all = append(all, v)
	}
	slices.Sort(all)
	return b.raiseFloor(all[forgetTags-1])
}

func (b *tagBucket) raiseFloor(floor uint64) (grown int) {
	if floor <= b.floor {
		return 0
	}
	b.digest.Add(floorDigest(floor) - floorDigest(b.floor))
	b.floor = floor
	for tag, v := range b.versions {
		if v <= floor {
			b.digest.Add(-tagDigest(tag, v))
			delete(b.versions, tag)
			grown -= class(len(tag)) + tagOverhead
		}
	}
	return grown
}

// tagDigest is what a tag adds to the digest of its bucket.
func tagDigest(tag string, version uint64) uint64 {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], version)
	return xxhash.Sum64String(tag)*31 ^ xxhash.Sum64(b[:])
}

func floorDigest(floor uint64) uint64 {
	if floor == 0 {
		return 0
	}
	return tagDigest("", floor)
}

// Invalidate makes all keys miss that are bound to tags by now, and returns the version that it noted: at least atLeast, and
// not older than any version that the store has given. It takes the same time however many keys there are.
func (s *Store) Invalidate(tags [][]byte, atLeast uint64, now int64) (version uint64) {
	version = max(atLeast, VersionAt(now))
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		version = max(version, sh.clock)
		sh.mu.Unlock()
	}
	for _, tag := range tags {
		s.Charge(int64(s.tags.raise(tag, version)))
	}
	s.tagged(version, now)
	return version
}

// tagged has all shards look at tags from now on when an item is not newer than version, and write newer ones.
func (s *Store) tagged(version uint64, now int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		sh.tagged = max(sh.tagged, version)
		sh.saw(version, now)
		sh.mu.Unlock()
	}
	for {
		was := s.newestTag.Load()
		if version <= was || s.newestTag.CompareAndSwap(was, version) {
			return
		}
	}
}

// TagDigests are those of the buckets: stores with the same have the same table.
func (s *Store) TagDigests() (digests [TagBuckets]uint64) {
	for i := range digests {
		digests[i] = s.tags[i].digest.Load()
	}
	return digests
}

// AppendTags appends a bucket of the table as MergeTags reads it: the floor, then each tag with its length and its version.
func (s *Store) AppendTags(b []byte, bucket int) []byte {
	t := &s.tags[bucket]
	t.mu.RLock()
	defer t.mu.RUnlock()
	b = binary.BigEndian.AppendUint64(b, t.floor)
	for tag, v := range t.versions {
		b = append(append(b, byte(len(tag))), tag...)
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

// MergeTags takes over what another node's bucket has that is newer.
func (s *Store) MergeTags(bucket int, b []byte, now int64) error {
	if bucket < 0 || bucket >= TagBuckets || len(b) < 8 {
		return ErrTags
	}
	newest := binary.BigEndian.Uint64(b)
	t := &s.tags[bucket]
	t.mu.Lock()
	grown := t.raiseFloor(newest)
	t.mu.Unlock()
	s.Charge(int64(grown))
	for b = b[8:]; len(b) > 0; {
		n := int(b[0])
		if n == 0 || len(b) < 1+n+8 || int(tagHash(b[1:1+n])%TagBuckets) != bucket {
			return ErrTags
		}
		tag, v := b[1:1+n], binary.BigEndian.Uint64(b[1+n:])
		s.Charge(int64(s.tags.raise(tag, v)))
		newest = max(newest, v)
		b = b[1+n+8:]
	}
	s.tagged(newest, now)
	return nil
}

// Tags counts those that the table has.
func (s *Store) Tags() (count int) {
	for i := range s.tags {
		t := &s.tags[i]
		t.mu.RLock()
		count += len(t.versions)
		t.mu.RUnlock()
	}
	return count
}

// Bound tags are kept, and travel, as one text: each behind its length in one byte.

// AppendTag appends a tag of 1 to MaxTag bytes to others.
func AppendTag(tags, tag []byte) []byte { return append(append(tags, byte(len(tag))), tag...) }

// eachTag calls yield for each tag until it reports false; it reports whether tags is well-formed up to there.
func eachTag(tags []byte, yield func(tag []byte) bool) bool {
	for len(tags) > 0 {
		n := int(tags[0])
		if n == 0 || n >= len(tags) {
			return false
		}
		if !yield(tags[1 : 1+n]) {
			return true
		}
		tags = tags[1+n:]
	}
	return true
}

// ValidTags tells whether a text is one of the tags of a key.
func ValidTags(tags []byte) bool {
	count := 0
	return eachTag(tags, func([]byte) bool { count++; return true }) && count <= MaxTagsOfKey
}

// Tag binds the item of k to tags besides those that it has. It reports false, and binds none, where these would be too many.
// It is a change of the key.
func (tx *Tx) Tag(k *Key, it *Item, tags [][]byte) bool {
	sh := tx.shard(k)
	all := slices.Clone(sh.tagsOf(it))
	for _, tag := range tags {
		known := false
		eachTag(all, func(other []byte) bool { known = bytes.Equal(tag, other); return !known })
		if !known {
			all = AppendTag(all, tag)
		}
	}
	if !ValidTags(all) {
		return false
	}
	sh.bind(it, all)
	tx.written(k, it)
	return true
}

// tagsOf are the tags that an item is bound to one by one.
func (sh *shard) tagsOf(it *Item) []byte {
	if it.bits&taggedBit == 0 {
		return nil
	}
	return sh.bound[it.self]
}

// bind replaces the tags of an item. It keeps the slice.
func (sh *shard) bind(it *Item, tags []byte) {
	sh.unbind(it)
	if len(tags) == 0 {
		return
	}
	if sh.bound == nil {
		sh.bound = map[uint32][]byte{}
	}
	sh.bound[it.self] = tags
	it.bits |= taggedBit
	sh.charge(class(cap(tags)) + tagOverhead)
}

func (sh *shard) unbind(it *Item) {
	if it.bits&taggedBit == 0 {
		return
	}
	sh.charge(-class(cap(sh.bound[it.self])) - tagOverhead)
	it.bits &^= taggedBit
	if delete(sh.bound, it.self); len(sh.bound) == 0 {
		sh.bound = nil // a map never shrinks
	}
}

// invalid tells whether an item is older than a tag of its. It is asked only of those that are not newer than sh.tagged.
func (sh *shard) invalid(it *Item, now int64) bool {
	return sh.invalidAt(it.Key(), sh.tagsOf(it), it.version, now)
}

func (sh *shard) invalidAt(stored, tags []byte, version uint64, now int64) (invalid bool) {
	// By a clock that is far ahead of ours it was written nobody knows when.
	lost := TimeOf(version)-now > maxAhead
	sh.eachTagOf(stored, tags, func(tag []byte) bool {
		v := sh.store.tags.invalidated(tag)
		invalid = version <= v || v != 0 && lost
		return !invalid
	})
	return invalid
}

// eachTagOf calls yield for each tag that a key is bound to, one by one or by its rule.
func (sh *shard) eachTagOf(stored, tags []byte, yield func(tag []byte) bool) {
	more := true
	eachTag(tags, func(tag []byte) bool { more = yield(tag); return more })
	if !more || sh.rules == nil || !sh.rules.tagged {
		return
	}
	_, name := SplitKey(stored)
	one := sh.rules.of(stored)
	for _, p := range one.tags {
		if tag, ok := p.append(sh.tagSpace[:0], name[len(one.prefix):]); ok && !yield(tag) {
			return
		}
	}
}

// newerThanTags is a version not older than that of any tag of an item: what is written now is not gone with them.
func (sh *shard) newerThanTags(it *Item) (version uint64) {
	sh.eachTagOf(it.Key(), sh.tagsOf(it), func(tag []byte) bool {
		version = max(version, sh.store.tags.invalidated(tag))
		return true
	})
	return version
}

// discard drops an item that is gone with a tag, and the lease on its key: who holds it may make the value from what was there
// before.
func (sh *shard) discard(it *Item) {
	if len(sh.leases.byEnd) > 0 {
		k := it.copyKey()
		sh.void(&k)
	}
	sh.stats.Invalidated++
	sh.drop(it)
}

// lease is the lease on k that still holds: none that was given before a tag of the key was invalidated.
func (sh *shard) lease(k *Key, now int64) *lease {
	l := sh.leases.held(k, now)
	if l != nil && l.given <= sh.tagged && sh.invalidAt(k.Bytes, nil, l.given, now) {
		sh.endLease(l)
		return nil
	}
	return l
}

// Sweep drops items that are gone with a tag, looking at about count items. It goes on where it has stopped, and reports
// whether there is nothing to do: it has been round since the last invalidation. One goroutine at a time may sweep.
func (s *Store) Sweep(now int64, count int) (done bool) {
	w := &s.sweeping
	if newest := s.newestTag.Load(); w.part == 0 && w.cursor == 0 {
		if newest == w.round {
			return true
		}
		w.round = newest
	}
	for count > 0 {
		sh, part := s.partition(w.part)
		sh.mu.Lock()
		w.cursor = sh.sweep(part, w.cursor, now, &count)
		sh.mu.Unlock()
		if w.cursor != 0 {
			continue
		}
		if w.part++; w.part == Partitions {
			w.part = 0
			break
		}
	}
	return false
}

// sweeper is where Sweep is.
type sweeper struct {
	part   int
	cursor uint64
	round  uint64 // the newest invalidation when it began
}

// Bound tells whether an item is bound to any tag. It is for visit functions of ScanPartition.
func (s *Store) Bound(it *Item) bool {
	r := s.rules.Load()
	return it.bits&taggedBit != 0 || r != nil && r.tagged && len(r.of(it.Key()).tags) > 0
}

// sweepItems is how many items are looked at while a shard is held.
const sweepItems = 64

func (sh *shard) sweep(part *partition, cursor uint64, now int64, count *int) (next uint64) {
	if part.items == 0 {
		return 0
	}
	var found []Key
	for looked := 0; ; {
		for i := *part.head(uint32(cursor)); i != 0; looked++ {
			it := sh.slab.at(i)
			i = it.next
			if it.version <= sh.tagged && it.kind != kindTombstone && sh.invalid(it, now) {
				found = append(found, it.copyKey())
			}
		}
		if cursor = part.after(cursor); cursor == 0 || looked >= sweepItems {
			*count -= looked
			break
		}
	}
	for i := range found {
		sh.discard(sh.find(&found[i]))
	}
	return cursor
}
