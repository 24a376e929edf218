package store

// Items that stay scatter over the chunks of those that have gone: without compact, a budget that was once full of small
// items would hold their chunks for ever, charged to nobody.

// scattered tells whether there are more free places than a chunk and an eighth of the items.
func (s *slab) scattered() bool { return s.held*chunkItems-s.live > chunkItems+s.live/8 }

// compact moves the items of the chunk that has the fewest into free places of others, and gives the chunk back, if there are
// many free places. Nobody may hold an Item of the shard.
func (sh *shard) compact() {
	s := &sh.slab
	if !s.scattered() {
		return
	}
	least := -1
	for c := range s.chunks {
		if s.chunks[c] != nil && (least < 0 || s.use[c].live < s.use[least].live) {
			least = c
		}
	}
	if !s.use[least].full() {
		s.close(int32(least))
	}
	for i := range s.chunks[least] {
		if it := &s.chunks[least][i]; it.kind != kindFree {
			s.live-- // which alloc counts again
			sh.relocate(it, s.alloc())
		}
	}
	s.chunks[least], s.use[least] = nil, chunkUse{}
	s.held--
}

// relocate makes to what from is, for all who know it by its index.
func (sh *shard) relocate(from, to *Item) {
	s, self := &sh.slab, to.self
	*to = *from
	to.self = self
	if from.bits&taggedBit != 0 {
		sh.bound[self] = sh.bound[from.self]
		delete(sh.bound, from.self)
	}

	p := sh.part(from).head(from.hash)
	for *p != from.self {
		p = &s.at(*p).next
	}
	*p = self

	switch q := &sh.queues[from.queue]; from.queue {
	case queueNone:
	case queueTimed:
		sh.timed.heap[from.queuePrev] = self
	default:
		if from.queuePrev != 0 {
			s.at(from.queuePrev).queueNext = self
		} else {
			q.head = self
		}
		if from.queueNext != 0 {
			s.at(from.queueNext).queuePrev = self
		} else {
			q.tail = self
		}
	}
	if from.linked() {
		if from.wheelPrev&slotMark != 0 {
			sh.wheel.slots[from.wheelPrev&^slotMark] = self
		} else {
			s.at(from.wheelPrev).wheelNext = self
		}
		if from.wheelNext != 0 {
			s.at(from.wheelNext).wheelPrev = self
		}
	}
}
