// HOT PATH

package store

import (
	"sync"

	"github.com/cespare/xxhash/v2"
)

// Other nodes may copy strings of this one. Who does marks the key first; the next change of a marked key, by whomever or by
// itself, is numbered and takes the mark away, and the last of them are kept for those with copies to ask for. Nothing else has to be known
// of copies: one that was made before a change ends by that, and one made later has marked the key again. Keys that nobody
// copies cost a look at a number, and nothing before the first is copied.

const (
	// journalSize is how many changes are kept: more than are made between two questions, but for floods.
	journalSize = 8192
	// shardMarks is how many keys of a shard are marked at most. Keys with the same lower bits of their hash share a place, and the
	// key that was marked last has it.
	shardMarks = 2048
)

// journal is the changes of marked keys. Its lock comes after those of the shards.
type journal struct {
	tell func() // constant

	mu     sync.Mutex
	last   uint64   // number of the last change
	lost   uint64   // changes up to this are not known one by one
	hashes []uint64 // of the keys: change n is at n modulo the length; nil before the first mark
}

// marks are the xxhash64 of marked keys, each at the place that its hash in the store has. 0: nobody's.
type marks [shardMarks]uint64

// Mark is called before a key is read for another node to keep a copy. It reports false when it must not: there is no such
// string, or a Rule has more to say to its readers. expireAt is when the copy ends, 0 for never.
func (s *Store) Mark(k *Key, now int64) (expireAt int64, ok bool) {
	sh := &s.shards[k.shard()]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	it := sh.find(k)
	if it == nil || it.kind != KindString || it.expired(now) || !sh.rules.of(k.Bytes).copied() {
		return 0, false
	}
	if sh.marks == nil {
		s.journal.open(s)
		sh.marks = new(marks)
		sh.charge(8 * shardMarks)
	}
	place, name := &sh.marks[k.hash%shardMarks], xxhash.Sum64(k.Bytes)
	if *place != 0 && *place != name {
		s.journal.add(*place) // nobody would notice its changes any more: its copies end
	}
	*place = name
	return it.expireAt, true
}

// copied tells whether other nodes may give copies to readers: they know nothing of what else rules have to say.
func (r rule) copied() bool { return r.stale == 0 && r.ahead == 0 && !r.strong }

// OnMarkedChange has tell called for each change of a marked key. It is called with a shard held, must be short and must not use
// the store. It is set before anything is marked.
func (s *Store) OnMarkedChange(tell func()) { s.journal.tell = tell }

// MarkedChanges appends to dst the hashes, xxhash64 of the stored key, of the marked keys that have changed after the change
// numbered since, and returns the number of the last. known is false, and nothing is appended, where they are not known any
// more: then any key may have changed.
func (s *Store) MarkedChanges(dst []uint64, since uint64) (hashes []uint64, last uint64, known bool) {
	j := &s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if since < j.lost || since > j.last {
		return dst, j.last, false
	}
	for n := since + 1; n <= j.last; n++ {
		dst = append(dst, j.hashes[n%journalSize])
	}
	return dst, j.last, true
}

// ForgetCopies ends all copies: something has changed what keys hold without a change of their items.
func (s *Store) ForgetCopies() {
	j := &s.journal
	j.mu.Lock()
	j.last++
	j.lost = j.last
	j.mu.Unlock()
	if j.tell != nil {
		j.tell()
	}
}

func (j *journal) open(s *Store) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.hashes == nil {
		j.hashes = make([]uint64, journalSize)
		s.Charge(8 * journalSize)
	}
}

// changing numbers the change of a key if it is marked. It is called with the shard held, for every change.
func (sh *shard) changing(hash uint32, key []byte) {
	place := &sh.marks[hash%shardMarks]
	if name := *place; name != 0 && name == xxhash.Sum64(key) {
		*place = 0
		sh.store.journal.add(name)
	}
}

func (j *journal) add(hash uint64) {
	j.mu.Lock()
	j.last++
	j.hashes[j.last%journalSize] = hash
	if j.last > journalSize {
		j.lost = max(j.lost, j.last-journalSize)
	}
	j.mu.Unlock()
	if j.tell != nil {
		j.tell()
	}
}
