// HOT PATH

package store

import "math"

// timed is the items that expire in the order in which they do, a binary heap, for VolatileTTL. Item.queuePrev is an item's
// place in it.
type timed struct {
	heap []uint32
}

const minTimed = 16

// add puts an item in; it returns by how many bytes the heap grew.
func (t *timed) add(s *slab, it *Item) (grown int) {
	if len(t.heap) == cap(t.heap) {
		grown = t.resize(max(minTimed, 2*cap(t.heap)))
	}
	t.heap = append(t.heap, it.self)
	t.up(s, len(t.heap)-1)
	return grown
}

func (t *timed) remove(s *slab, it *Item) (grown int) {
	at, last := int(it.queuePrev), len(t.heap)-1
	it.queuePrev = 0
	moved := t.heap[last]
	t.heap = t.heap[:last]
	if at != last {
		t.heap[at] = moved
		t.up(s, at)
		t.down(s, int(s.at(moved).queuePrev))
	}
	switch {
	case last == 0:
		grown = t.resize(0)
	case last < cap(t.heap)/4 && cap(t.heap) > minTimed:
		grown = t.resize(cap(t.heap) / 2)
	}
	return grown
}

func (t *timed) resize(n int) (grown int) {
	was := cap(t.heap)
	if n == 0 {
		t.heap = nil
	} else {
		t.heap = append(make([]uint32, 0, n), t.heap...)
	}
	return 4 * (n - was)
}

// soonest is when the first item expires, math.MaxInt64 when there is none.
func (t *timed) soonest(s *slab) int64 {
	if len(t.heap) == 0 {
		return math.MaxInt64
	}
	return s.at(t.heap[0]).expireAt
}

func (t *timed) up(s *slab, at int) {
	it := s.at(t.heap[at])
	for at > 0 {
		above := (at - 1) / 2
		other := s.at(t.heap[above])
		if other.expireAt <= it.expireAt {
			break
		}
		t.heap[at] = other.self
		other.queuePrev = uint32(at)
		at = above
	}
	t.heap[at] = it.self
	it.queuePrev = uint32(at)
}

func (t *timed) down(s *slab, at int) {
	it := s.at(t.heap[at])
	for {
		below := 2*at + 1
		if below >= len(t.heap) {
			break
		}
		other := s.at(t.heap[below])
		if below+1 < len(t.heap) {
			if right := s.at(t.heap[below+1]); right.expireAt < other.expireAt {
				below, other = below+1, right
			}
		}
		if it.expireAt <= other.expireAt {
			break
		}
		t.heap[at] = other.self
		other.queuePrev = uint32(at)
		at = below
	}
	t.heap[at] = it.self
	it.queuePrev = uint32(at)
}
