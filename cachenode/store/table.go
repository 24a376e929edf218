// HOT PATH

package store

import (
	"bytes"
	"math/bits"
)

const minBuckets = 4

// table is the hash table of one partition: chains through Item.next. It grows and shrinks as a whole, which for a
// 1024th of the keys is a matter of microseconds, and it is never larger than its partition deserves.
type table struct {
	heads []uint32
	items int
}

// bucket is where the chain of hash begins, nil in an empty table.
func (t *table) bucket(hash uint32) *uint32 {
	if t.items == 0 {
		return nil
	}
	return &t.heads[hash&uint32(len(t.heads)-1)]
}

func (t *table) find(s *slab, hash uint32, key []byte) *Item {
	b := t.bucket(hash)
	if b == nil {
		return nil
	}
	for i := *b; i != 0; {
		it := s.at(i)
		if it.hash == hash && bytes.Equal(it.Key(), key) {
			return it
		}
		i = it.next
	}
	return nil
}

// insert adds an item that is not there; it returns by how many bytes the table grew.
func (t *table) insert(s *slab, it *Item) (grown int) {
	if t.items == len(t.heads) {
		grown = t.resize(s, max(minBuckets, 2*len(t.heads)))
	}
	t.items++
	b := &t.heads[it.hash&uint32(len(t.heads)-1)]
	it.next = *b
	*b = it.self
	return grown
}

func (t *table) remove(s *slab, it *Item) (grown int) {
	p := &t.heads[it.hash&uint32(len(t.heads)-1)]
	for *p != it.self {
		p = &s.at(*p).next
	}
	*p = it.next
	t.items--
	switch {
	case t.items == 0:
		return t.resize(s, 0)
	case len(t.heads) > minBuckets && t.items < len(t.heads)/8:
		return t.resize(s, len(t.heads)/2)
	}
	return 0
}

func (t *table) resize(s *slab, buckets int) (grown int) {
	old := t.heads
	t.heads = nil
	if buckets > 0 {
		t.heads = make([]uint32, buckets)
	}
	for _, i := range old {
		for i != 0 {
			it := s.at(i)
			i = it.next
			b := &t.heads[it.hash&uint32(buckets-1)]
			it.next = *b
			*b = it.self
		}
	}
	return 4 * (len(t.heads) - len(old))
}

// nextCursor counts with the bits reversed, as Redis's dictScan does: what is visited in a table of one size is visited
// in every other size too, so a scan misses nothing that was there from its begin to its end, and may repeat.
func nextCursor(cursor uint64, buckets int) uint64 {
	cursor |= ^uint64(buckets - 1)
	return bits.Reverse64(bits.Reverse64(cursor) + 1)
}
