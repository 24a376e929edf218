package store

const (
	tickBits   = 5 // a tick is 32 ms
	slotBits   = 6
	wheelSlots = 1 << slotBits
	levels     = 5 // 2 s, 131 s, 2.3 h, 6 days, 397 days; beyond that an item goes round again
)

// slotMark in Item.wheelPrev says that the rest is the number of the slot whose first item it is.
const slotMark = 1 << 31

// wheel is a hierarchical timing wheel (Varghese and Lauck, 1987) over a shard's items. It only reclaims memory: that an
// item is expired is decided at each read from its time.
type wheel struct {
	tick  int64 // all slots up to this one are done, its own perhaps not wholly
	items int
	level [levels]int // items on each level, so that empty stretches are skipped
	slots [levels * wheelSlots]uint32
}

func (w *wheel) add(s *slab, it *Item, now int64) {
	if w.items == 0 {
		w.tick = now >> tickBits
	}
	w.items++
	w.place(s, it)
}

func (w *wheel) place(s *slab, it *Item) {
	due := max(it.due()>>tickBits+1, w.tick+1)
	const horizon = 1<<(levels*slotBits) - 1
	due = min(due, w.tick+horizon)
	level := 0
	for d := (due - w.tick) >> slotBits; d > 0; d >>= slotBits {
		level++
	}
	slot := uint32(level*wheelSlots) + uint32(due>>(level*slotBits))%wheelSlots
	head := w.slots[slot]
	if head != 0 {
		s.at(head).wheelPrev = it.self
	}
	it.wheelNext = head
	it.wheelPrev = slotMark | slot
	it.setWheelLevel(level)
	w.level[level]++
	w.slots[slot] = it.self
}

func (w *wheel) remove(s *slab, it *Item) {
	w.items--
	w.unlink(s, it)
}

func (w *wheel) unlink(s *slab, it *Item) {
	w.level[it.wheelLevel()]--
	if it.wheelPrev&slotMark != 0 {
		w.slots[it.wheelPrev&^slotMark] = it.wheelNext
	} else {
		s.at(it.wheelPrev).wheelNext = it.wheelNext
	}
	if it.wheelNext != 0 {
		s.at(it.wheelNext).wheelPrev = it.wheelPrev
	}
	it.wheelPrev, it.wheelNext = 0, 0
}

// linked tells whether the item is in the wheel.
func (it *Item) linked() bool { return it.wheelPrev != 0 }

// next returns an item that has expired, or that has fields which have, turning the wheel up to now, or nil when none is left.
// Each call does at most *work steps, one for each item it looks at, and returns nil early when they are used up.
func (w *wheel) next(s *slab, now int64, work *int) *Item {
	for target := now >> tickBits; w.items > 0; {
		// What was far from the tick that the wheel has come to and is near now, goes to lower levels first: all of it, before
		// the wheel turns on, so the same place of the next round is not mixed in.
		for level := levels - 1; level > 0; level-- {
			if w.tick&(1<<(level*slotBits)-1) != 0 {
				continue
			}
			for slot := level*wheelSlots + int(w.tick>>(level*slotBits))%wheelSlots; w.slots[slot] != 0; *work-- {
				if *work <= 0 {
					return nil
				}
				it := s.at(w.slots[slot])
				w.unlink(s, it)
				w.place(s, it)
			}
		}
		for slot := w.tick % wheelSlots; w.slots[slot] != 0; {
			if *work <= 0 {
				return nil
			}
			*work--
			it := s.at(w.slots[slot])
			if it.due() <= now {
				return it
			}
			w.unlink(s, it)
			w.place(s, it)
		}
		if w.tick >= target {
			return nil
		}
		// Nothing happens before the first level that holds items turns.
		empty := 0
		for w.level[empty] == 0 {
			empty++
		}
		turn := int64(1) << (empty * slotBits)
		w.tick = min(target, w.tick&^(turn-1)+turn)
	}
	return nil
}
