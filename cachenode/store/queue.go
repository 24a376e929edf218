// HOT PATH

package store

// queueID names the queue that an item waits in.
type queueID uint8

const (
	queueNone queueID = iota
	queueSmall
	queueMain
	queueTombs
	queueTimed // no list: its items are in shard.timed
	queueCount
)

// queue is a doubly linked list through the items: in at the head, out at the tail. Its size is kept in bytes.
type queue struct {
	head, tail uint32
	bytes      int
	items      int
}

func (q *queue) push(s *slab, it *Item, cost int) {
	it.queuePrev, it.queueNext = 0, q.head
	if q.head != 0 {
		s.at(q.head).queuePrev = it.self
	} else {
		q.tail = it.self
	}
	q.head = it.self
	q.bytes += cost
	q.items++
}

func (q *queue) remove(s *slab, it *Item, cost int) {
	if it.queuePrev != 0 {
		s.at(it.queuePrev).queueNext = it.queueNext
	} else {
		q.head = it.queueNext
	}
	if it.queueNext != 0 {
		s.at(it.queueNext).queuePrev = it.queuePrev
	} else {
		q.tail = it.queuePrev
	}
	it.queuePrev, it.queueNext = 0, 0
	q.bytes -= cost
	q.items--
}

const (
	// promoteFreq is the number of hits in the small queue that lets an item into the main one (Yang et al., "FIFO
	// queues are all you need for cache eviction", SOSP 2023, section 4).
	promoteFreq = 2

	// smallShare is the small queue's part of the bytes: one in ten.
	smallShare = 10

	// maxReinsert bounds how many items one eviction may give a second chance, so that a write never pays for a long
	// walk over items that were all hit.
	maxReinsert = 128
)

// victim finds the item that the policy gives up next, nil if nothing can be given up. Items that were hit are moved on
// the way. The ghost remembers a victim of the small queue.
func (sh *shard) victim() *Item {
	if len(sh.timed.heap) > 0 {
		return sh.slab.at(sh.timed.heap[0])
	}
	small, main := &sh.queues[queueSmall], &sh.queues[queueMain]
	for moved := 0; ; moved++ {
		if small.tail != 0 && (main.tail == 0 || small.bytes*smallShare >= small.bytes+main.bytes) {
			it := sh.slab.at(small.tail)
			if it.Freq() >= promoteFreq && moved < maxReinsert {
				it.bits &^= freqMask
				sh.move(it, queueMain)
				continue
			}
			sh.ghost.add(it.hash, sh.slab.live)
			return it
		}
		if main.tail == 0 {
			// A full budget of nothing but tombstones: the oldest goes.
			if t := sh.queues[queueTombs].tail; t != 0 {
				return sh.slab.at(t)
			}
			return nil
		}
		it := sh.slab.at(main.tail)
		if it.bits&freqMask == 0 || moved >= maxReinsert {
			return it
		}
		it.bits -= freqOne
		sh.move(it, queueMain)
	}
}

// ghost remembers the fingerprints of keys that left the small queue, about as many as the shard has items: one that
// comes back while it is remembered goes to the main queue at once. It is a set-associative table; an entry is a
// fingerprint with the number of the eviction that made it and dies of age, so nothing is ever swept.
type ghost struct {
	slots  []uint64 // fingerprint<<32 | number
	old    []uint64 // the table of before, while it may have what the new one lacks: nothing is moved
	count  uint32   // evictions so far
	turned uint32   // how many there had been when slots was new
}

const (
	ghostWays     = 4
	ghostMinSlots = 64
)

func (g *ghost) add(hash uint32, items int) {
	g.fit(items)
	g.count++
	set := ghostSet(g.slots, hash)
	oldest := 0
	for i := range set {
		if uint32(set[i]>>32) == hash && set[i] != 0 {
			oldest = i
			break
		}
		if g.age(set[i]) > g.age(set[oldest]) {
			oldest = i
		}
	}
	set[oldest] = uint64(hash)<<32 | uint64(g.count)
}

// take tells whether hash is remembered, and forgets it.
func (g *ghost) take(hash uint32) bool { return g.takeFrom(g.slots, hash) || g.takeFrom(g.old, hash) }

func (g *ghost) takeFrom(slots []uint64, hash uint32) bool {
	if len(slots) == 0 {
		return false
	}
	set := ghostSet(slots, hash)
	for i, e := range set {
		if uint32(e>>32) == hash && e != 0 && g.age(e) <= uint32(len(g.slots)) {
			set[i] = 0
			return true
		}
	}
	return false
}

func ghostSet(slots []uint64, hash uint32) []uint64 {
	sets := uint32(len(slots) / ghostWays)
	// The lower bits choose the bucket in the item table; a multiplication mixes the upper ones in.
	i := (hash * 0x9e3779b1) >> 7 & (sets - 1)
	return slots[i*ghostWays : i*ghostWays+ghostWays]
}

// age is how many evictions ago e was made; an empty slot is older than any.
func (g *ghost) age(e uint64) uint32 {
	if e == 0 {
		return 1<<32 - 1
	}
	return g.count - uint32(e)
}

// fit gives the ghost as many slots as there are items, down to the power of two, which keeps the memory that items are
// charged honest. It is a quarter of its size at least before it shrinks.
func (g *ghost) fit(items int) {
	if g.old != nil && g.count-g.turned >= uint32(len(g.slots)) {
		g.old = nil
	}
	size := ghostMinSlots
	for 2*size <= items {
		size *= 2
	}
	if n := len(g.slots); size > n || size < n/2 {
		g.old, g.slots, g.turned = g.slots, make([]uint64, size), g.count
	}
}
