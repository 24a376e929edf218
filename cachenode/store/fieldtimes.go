package store

import (
	"encoding/binary"
	"unsafe"
)

// fieldTimes says when fields of a hash expire: a heap of those that do, the soonest first. Only hashes that have such
// fields have one.
type fieldTimes struct {
	slots []timeSlot // of each field, in the order of Dict.fields
	heap  []uint32   // indices of the fields that expire
}

type timeSlot struct {
	at  int64  // unix milliseconds
	pos uint32 // place in the heap + 1, 0 for a field that does not expire
}

const (
	fieldTimesBase = int(unsafe.Sizeof(fieldTimes{}))
	timeSlotSize   = int(unsafe.Sizeof(timeSlot{}))
)

func (t *fieldTimes) size() int {
	return class(fieldTimesBase) + class(cap(t.slots)*timeSlotSize) + class(4*cap(t.heap))
}

// soonest is the time of the field that expires first.
func (t *fieldTimes) soonest() int64 { return t.slots[t.heap[0]].at }

// set makes field i expire at at.
func (t *fieldTimes) set(i int, at int64) {
	s := &t.slots[i]
	s.at = at
	if s.pos == 0 {
		t.heap = append(t.heap, uint32(i))
		s.pos = uint32(len(t.heap))
	}
	t.fix(int(s.pos - 1))
}

// unset makes field i last.
func (t *fieldTimes) unset(i int) {
	pos := t.slots[i].pos
	if pos == 0 {
		return
	}
	t.slots[i] = timeSlot{}
	last := len(t.heap) - 1
	moved := t.heap[last]
	if t.heap = t.heap[:last]; int(pos-1) < last {
		t.put(int(pos-1), moved)
		t.fix(int(pos - 1))
	}
	if last < cap(t.heap)/4 && cap(t.heap) > 2*dictLinear {
		t.heap = append(make([]uint32, 0, cap(t.heap)/2), t.heap...)
	}
}

// remove follows Dict.DeleteAt: the last field takes the place of field i.
func (t *fieldTimes) remove(i int) {
	t.unset(i)
	last := len(t.slots) - 1
	if i != last {
		t.slots[i] = t.slots[last]
		if pos := t.slots[i].pos; pos != 0 {
			t.heap[pos-1] = uint32(i)
		}
	}
	t.slots = t.slots[:last]
	if last < cap(t.slots)/4 && cap(t.slots) > 2*dictLinear {
		t.slots = append(make([]timeSlot, 0, cap(t.slots)/2), t.slots...)
	}
}

func (t *fieldTimes) put(pos int, i uint32) {
	t.heap[pos] = i
	t.slots[i].pos = uint32(pos + 1)
}

func (t *fieldTimes) less(a, b int) bool { return t.slots[t.heap[a]].at < t.slots[t.heap[b]].at }

func (t *fieldTimes) swap(a, b int) {
	i, j := t.heap[a], t.heap[b]
	t.put(a, j)
	t.put(b, i)
}

// fix restores the order of the heap after the time at pos has changed.
func (t *fieldTimes) fix(pos int) {
	for pos > 0 && t.less(pos, (pos-1)/2) {
		t.swap(pos, (pos-1)/2)
		pos = (pos - 1) / 2
	}
	for {
		child := 2*pos + 1
		if child >= len(t.heap) {
			return
		}
		if child+1 < len(t.heap) && t.less(child+1, child) {
			child++
		}
		if !t.less(child, pos) {
			return
		}
		t.swap(pos, child)
		pos = child
	}
}

// Find returns the index of a field, -1 when there is none. Any change may reorder fields.
func (d *Dict) Find(name []byte) int { return d.find(d.hashOf(name), name) }

// FieldExpireAt is when field i expires, 0 for never.
func (d *Dict) FieldExpireAt(i int) int64 {
	if d.times == nil {
		return 0
	}
	return d.times.slots[i].at
}

// ExpireField changes when field i expires, 0 for never. The caller calls Tx.Update.
func (d *Dict) ExpireField(i int, at int64) {
	if at == 0 {
		d.persist(i)
		return
	}
	if d.times == nil {
		d.times = &fieldTimes{slots: make([]timeSlot, len(d.fields), cap(d.fields))}
	}
	d.times.set(i, at)
}

func (d *Dict) persist(i int) {
	if d.times == nil {
		return
	}
	if d.times.unset(i); len(d.times.heap) == 0 {
		d.times = nil
	}
}

// due is when the next field expires, 0 for never.
func (d *Dict) due() int64 {
	if d.times == nil {
		return 0
	}
	return d.times.soonest()
}

// expire removes fields that have expired, at most limit of them, and tells how many.
func (d *Dict) expire(now int64, limit int) (n int) {
	for d.times != nil && n < limit && d.times.soonest() <= now {
		d.DeleteAt(int(d.times.heap[0]))
		n++
	}
	return n
}

// allExpired tells whether no field is left that has not expired.
func (d *Dict) allExpired(now int64) bool {
	if d.times == nil || len(d.times.heap) < len(d.fields) {
		return false
	}
	for _, i := range d.times.heap {
		if d.times.slots[i].at > now {
			return false
		}
	}
	return true
}

// flattenTimes gives the times of all fields as one item, so that their number is odd where there are any.
func (d *Dict) flattenTimes(e *Entry) {
	if d.times == nil {
		return
	}
	b := make([]byte, 0, 8*len(d.fields))
	for i := range d.times.slots {
		b = binary.LittleEndian.AppendUint64(b, uint64(d.times.slots[i].at))
	}
	e.item(b)
}

// restoreTimes undoes flattenTimes. The fields are those of items, in their order.
func (d *Dict) restoreTimes(items [][]byte, times []byte) bool {
	if len(times) != 8*len(items)/2 {
		return false
	}
	for i := 0; i < len(items); i += 2 {
		at := int64(binary.LittleEndian.Uint64(times[4*i:]))
		if at < 0 {
			return false
		}
		if at != 0 {
			d.ExpireField(d.Find(items[i]), at)
		}
	}
	return true
}
