// HOT PATH

package store

import "bytes"

// table is the hash table of one partition: chains through Item.next.
type table struct {
	linear
	items int
}

// tableMin is the most that a table grows by for one of its first items.
const tableMin = 4 * minPiece

// bucket is where the chain of hash begins, nil in an empty table.
func (t *table) bucket(hash uint32) *uint32 {
	if t.items == 0 {
		return nil
	}
	return t.head(hash)
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
	if t.items == t.buckets() {
		was := t.heads.size()
		split(&t.linear, itemChains{s})
		grown = t.heads.size() - was
	}
	t.items++
	b := t.head(it.hash)
	it.next = *b
	*b = it.self
	return grown
}

func (t *table) remove(s *slab, it *Item) (grown int) {
	p := t.head(it.hash)
	for *p != it.self {
		p = &s.at(*p).next
	}
	*p = it.next
	t.items--
	return t.shrink(s, 2)
}

// shrink takes at most so many buckets away, where there are twice as many as items.
func (t *table) shrink(s *slab, most int) (grown int) {
	was := t.heads.size()
	if t.items == 0 {
		t.heads = vector[uint32]{}
		return -was
	}
	if t.items >= t.buckets()/2 {
		return 0
	}
	for ; most > 0 && t.items < t.buckets()/2; most-- {
		merge(&t.linear, itemChains{s})
	}
	return t.heads.size() - was
}

// itemChains are the chains of a shard's items.
type itemChains struct{ s *slab }

func (c itemChains) hash(i uint32) uint32  { return c.s.at(i).hash }
func (c itemChains) next(i uint32) *uint32 { return &c.s.at(i).next }
