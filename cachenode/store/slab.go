// HOT PATH

package store

import "iter"

// chunkItems makes a chunk 32 KiB, which the allocator serves in whole pages. One half as large would not fit its class:
// smaller objects with pointers carry a header of 8 bytes.
const chunkItems = 512

// slab holds a shard's items in chunks, so that an Item is named by a small index, its chunk and its place there. It stays where
// it is but for compact. Index 0 means none.
type slab struct {
	chunks []*[chunkItems]Item // nil where one was given back
	use    []chunkUse          // of each
	open   int32               // first chunk with a free place, and 1; 0: there is none
	held   int                 // chunks that are not nil
	live   int                 // items
}

// chunkUse says which places of a chunk are free.
type chunkUse struct {
	prev, next int32  // neighbours among the open chunks, and 1
	free       uint16 // first place that was given back, and 1; Item.next goes on
	fresh      uint16 // first place never used
	live       uint16
}

func (u *chunkUse) full() bool { return u.free == 0 && u.fresh == chunkItems }

func (s *slab) at(i uint32) *Item { return &s.chunks[i/chunkItems][i%chunkItems] }

// all visits the items. Meanwhile none may come or go.
func (s *slab) all() iter.Seq[*Item] {
	return func(yield func(*Item) bool) {
		for _, chunk := range s.chunks {
			if chunk == nil {
				continue
			}
			for i := range chunk {
				if it := &chunk[i]; it.kind != kindFree && !yield(it) {
					return
				}
			}
		}
	}
}

func (s *slab) alloc() *Item {
	if s.open == 0 {
		s.grow()
	}
	c := s.open - 1
	u := &s.use[c]
	place := u.fresh
	if u.free != 0 {
		place = u.free - 1
		u.free = uint16(s.chunks[c][place].next)
	} else {
		u.fresh++
	}
	u.live++
	s.live++
	if u.full() {
		s.close(c)
	}
	it := &s.chunks[c][place]
	it.self, it.next = uint32(c)*chunkItems+uint32(place), 0
	return it
}

// release gives the place of an item back.
func (s *slab) release(it *Item) {
	c := int32(it.self / chunkItems)
	u := &s.use[c]
	if u.full() {
		s.reopen(c)
	}
	*it = Item{self: it.self, next: uint32(u.free)}
	u.free = uint16(it.self%chunkItems) + 1
	u.live--
	s.live--
	if s.live == 0 && len(s.chunks) > 1 {
		*s = slab{}
	}
}

// grow adds a chunk.
func (s *slab) grow() {
	c := len(s.chunks)
	if s.held < c {
		for c = 0; s.chunks[c] != nil; c++ {
		}
	} else {
		s.chunks, s.use = append(s.chunks, nil), append(s.use, chunkUse{})
	}
	s.chunks[c], s.use[c] = new([chunkItems]Item), chunkUse{}
	if c == 0 {
		s.use[c].fresh = 1
	}
	s.held++
	s.reopen(int32(c))
}

// reopen puts a chunk in front of those that have room.
func (s *slab) reopen(c int32) {
	s.use[c].prev, s.use[c].next = 0, s.open
	if s.open != 0 {
		s.use[s.open-1].prev = c + 1
	}
	s.open = c + 1
}

// close takes a chunk from those that have room.
func (s *slab) close(c int32) {
	u := &s.use[c]
	if u.prev != 0 {
		s.use[u.prev-1].next = u.next
	} else {
		s.open = u.next
	}
	if u.next != 0 {
		s.use[u.next-1].prev = u.prev
	}
	u.prev, u.next = 0, 0
}
