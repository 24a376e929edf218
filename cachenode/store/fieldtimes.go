package store

import (
	"encoding/binary"
	"unsafe"
)

// fieldTimes says when fields of a hash expire: a heap of those that do, the soonest first. Only hashes that have such
// fields have one.
type fieldTimes struct {
	slots vector[timeSlot] // of each field, in the order of Dict.fields
	heap  vector[uint32]   // indices of the fields that expire
}

type timeSlot struct {
	at  int64  // unix milliseconds
	pos uint32 // place in the heap + 1, 0 for a field that does not expire
}

const fieldTimesBase = int(unsafe.Sizeof(fieldTimes{}))

func (t *fieldTimes) size() int {
	return class(fieldTimesBase) + t.slots.size() + t.heap.size()
}

// soonest is the time of the field that expires first.
func (t *fieldTimes) soonest() int64 { return t.due(0) }

// set makes field i expire at at.
func (t *fieldTimes) set(i int, at int64) {
	s := t.slots.at(i)
	s.at = at
	if s.pos == 0 {
		t.heap.push(uint32(i))
		s.pos = uint32(t.heap.len())
	}
	t.fix(int(s.pos - 1))
}

// unset makes field i last.
func (t *fieldTimes) unset(i int) {
	pos := t.slots.at(i).pos
	if pos == 0 {
		return
	}
	*t.slots.at(i) = timeSlot{}
	last := t.heap.len() - 1
	moved := *t.heap.at(last)
	if t.heap.pop(); int(pos-1) < last {
		t.put(int(pos-1), moved)
		t.fix(int(pos - 1))
	}
}

// remove follows Dict.DeleteAt: the last field takes the place of field i.
func (t *fieldTimes) remove(i int) {
	t.unset(i)
	last := t.slots.len() - 1
	if i != last {
		*t.slots.at(i) = *t.slots.at(last)
		if pos := t.slots.at(i).pos; pos != 0 {
			*t.heap.at(int(pos - 1)) = uint32(i)
		}
	}
	t.slots.pop()
}

func (t *fieldTimes) put(pos int, i uint32) {
	*t.heap.at(pos) = i
	t.slots.at(int(i)).pos = uint32(pos + 1)
}

func (t *fieldTimes) due(pos int) int64 { return t.slots.at(int(*t.heap.at(pos))).at }

func (t *fieldTimes) less(a, b int) bool { return t.due(a) < t.due(b) }

func (t *fieldTimes) swap(a, b int) {
	i, j := *t.heap.at(a), *t.heap.at(b)
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
		if child >= t.heap.len() {
			return
		}
		if child+1 < t.heap.len() && t.less(child+1, child) {
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
	return d.times.slots.at(i).at
}

// ExpireField changes when field i expires, 0 for never. The caller calls Tx.Update.
func (d *Dict) ExpireField(i int, at int64) {
	if at == 0 {
		d.persist(i)
		return
	}
	if d.times == nil {
		d.times = &fieldTimes{}
		for range d.Len() {
			d.times.slots.push(timeSlot{})
		}
	}
	d.times.set(i, at)
}

func (d *Dict) persist(i int) {
	if d.times == nil {
		return
	}
	if d.times.unset(i); d.times.heap.len() == 0 {
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

// expire removes fields that have expired, at most limit of them, and tells how many. All at once are not taken one by one.
func (d *Dict) expire(now int64, limit int) (n int) {
	if n = d.Len(); n <= limit && d.allExpired(now) {
		*d = Dict{seed: d.seed, valued: d.valued, encoding: d.encoding}
		return n
	}
	n = 0
	for d.times != nil && n < limit && d.times.soonest() <= now {
		d.DeleteAt(int(*d.times.heap.at(0)))
		n++
	}
	return n
}

// allExpired tells whether no field is left that has not expired.
func (d *Dict) allExpired(now int64) bool {
	if d.times == nil || d.times.heap.len() < d.Len() {
		return false
	}
	for i := range d.Len() {
		if d.FieldExpireAt(i) > now {
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
	b := make([]byte, 0, 8*d.Len())
	for i := range d.Len() {
		b = binary.LittleEndian.AppendUint64(b, uint64(d.FieldExpireAt(i)))
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
