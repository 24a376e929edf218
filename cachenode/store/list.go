// HOT PATH

package store

import (
	"bytes"
	"unsafe"
)

// List is a sequence: a chain of chunks, each of which holds elements one behind the other in one allocation without
// pointers. Both ends have room to grow into, so that pushing and popping cost the same however long the list is. Offsets
// into it are found by passing over whole chunks.
type List struct {
	first, last *listChunk
	length      int
	size        int // bytes of the chunks, by class
	used        int // bytes of the elements, as they are packed
	long        bool
}

// listChunk holds count elements in buf[start:end].
type listChunk struct {
	prev, next *listChunk
	buf        []byte
	start, end int
	count      int
}

const (
	// maxChunk is what a chunk holds at most, unless it is one single element: as in Redis, list-max-listpack-size -2.
	maxChunk  = 8 << 10
	listBase  = int(unsafe.Sizeof(List{}))
	chunkBase = int(unsafe.Sizeof(listChunk{}))
)

// Len is the number of elements.
func (l *List) Len() int { return l.length }

// Size is what the List occupies now.
func (l *List) Size() int { return class(listBase) + l.size }

// Encoding is the name that OBJECT ENCODING gives: a list that has once been too long for one listpack is called so again
// when it has shrunk to half of that.
func (l *List) Encoding() string {
	if l.long {
		return "quicklist"
	}
	return "listpack"
}

// An element is its length, its bytes, and the number of bytes of both, by which it is found from behind. Numbers are
// in groups of seven bits, the last one first for the length and last for the number behind.

func groups(n int) int {
	k := 1
	for n >>= 7; n > 0; n >>= 7 {
		k++
	}
	return k
}

// packedSize is what an element of n bytes takes.
func packedSize(n int) int {
	front := groups(n) + n
	return front + groups(front)
}

// put writes an element at b[0:].
func put(b, value []byte) {
	n, at := len(value), 0
	for ; n >= 1<<7; n >>= 7 {
		b[at] = byte(n) | 1<<7
		at++
	}
	b[at] = byte(n)
	at++
	at += copy(b[at:], value)
	back := at
	for i := at + groups(back) - 1; ; i-- {
		if back < 1<<7 {
			b[i] = byte(back)
			return
		}
		b[i] = byte(back) | 1<<7
		back >>= 7
	}
}

// element reads what begins at b[at]: its value, and where the next one begins.
func element(b []byte, at int) (value []byte, next int) {
	n, shift, i := 0, 0, at
	for ; b[i] >= 1<<7; i++ {
		n |= int(b[i]&^(1<<7)) << shift
		shift += 7
	}
	n |= int(b[i]) << shift
	i++
	return b[i : i+n : i+n], i + n + groups(i-at+n)
}

// before finds where the element begins that ends before b[at].
func before(b []byte, at int) int {
	n, shift, i := 0, 0, at-1
	for ; b[i] >= 1<<7; i-- {
		n |= int(b[i]&^(1<<7)) << shift
		shift += 7
	}
	n |= int(b[i]) << shift
	return i - n
}

func (c *listChunk) used() int { return c.end - c.start }

// PushFront puts a copy of value in front.
func (l *List) PushFront(value []byte) {
	n := packedSize(len(value))
	c := l.first
	if c == nil || c.start < n && !l.widen(c, n, true) {
		c = l.newChunk(n, nil, l.first)
		c.start, c.end = len(c.buf), len(c.buf)
	}
	c.start -= n
	put(c.buf[c.start:], value)
	l.added(c, n)
}

// PushBack puts a copy of value at the end.
func (l *List) PushBack(value []byte) {
	n := packedSize(len(value))
	c := l.last
	if c == nil || len(c.buf)-c.end < n && !l.widen(c, n, false) {
		c = l.newChunk(n, l.last, nil)
	}
	put(c.buf[c.end:], value)
	c.end += n
	l.added(c, n)
}

func (l *List) added(c *listChunk, n int) {
	c.count++
	l.length++
	l.used += n
	if l.used > maxChunk {
		l.long = true
	}
}

func (l *List) removed(c *listChunk, n, count int) {
	c.count -= count
	l.length -= count
	l.used -= n
	if l.used <= maxChunk/2 {
		l.long = false
	}
}

// widen makes room for n bytes at the front or the end of a chunk. It reports false where the chunk would become too large.
func (l *List) widen(c *listChunk, n int, front bool) bool {
	used := c.used()
	switch {
	case used+n > maxChunk:
		return false
	case len(c.buf)-used >= n+used/4:
		// There is room on the other side; some of it stays there.
		free := len(c.buf) - used
		at := (free - n) / 2
		if front {
			at += n
		}
		copy(c.buf[at:], c.buf[c.start:c.end])
		c.start, c.end = at, at+used
	default:
		l.resize(c, min(used+max(used, n), maxChunk), front)
	}
	return true
}

// resize gives a chunk a buffer of at least n bytes, with the elements at its end or at its beginning.
func (l *List) resize(c *listChunk, n int, atEnd bool) {
	buf := make([]byte, class(n))
	start := 0
	if atEnd {
		start = len(buf) - c.used()
	}
	end := start + copy(buf[start:], c.buf[c.start:c.end])
	l.size += len(buf) - len(c.buf)
	c.buf, c.start, c.end = buf, start, end
}

// newChunk makes a chunk with room for n bytes between two others, which are full. In a long list it has room for more.
func (l *List) newChunk(n int, prev, next *listChunk) *listChunk {
	l.seal(prev)
	l.seal(next)
	return l.link(max(n, min(maxChunk, l.used/2)), prev, next)
}

// link makes a chunk with room for n bytes between two others.
func (l *List) link(n int, prev, next *listChunk) *listChunk {
	c := &listChunk{buf: make([]byte, class(n)), prev: prev, next: next}
	if prev == nil {
		l.first = c
	} else {
		prev.next = c
	}
	if next == nil {
		l.last = c
	} else {
		next.prev = c
	}
	l.size += len(c.buf) + class(chunkBase)
	return c
}

// seal gives back the room of a chunk that is no end any more.
func (l *List) seal(c *listChunk) {
	if c != nil && len(c.buf)-c.used() > len(c.buf)/8 {
		l.resize(c, c.used(), false)
	}
}

func (l *List) unlink(c *listChunk) {
	if c.prev == nil {
		l.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	l.size -= len(c.buf) + class(chunkBase)
}

// Front is the first element of a list that has one; valid until the next change.
func (l *List) Front() []byte {
	value, _ := element(l.first.buf, l.first.start)
	return value
}

// Back is the last one.
func (l *List) Back() []byte {
	value, _ := element(l.last.buf, before(l.last.buf, l.last.end))
	return value
}

// PopFront removes the first element of a list that has one.
func (l *List) PopFront() {
	c := l.first
	_, next := element(c.buf, c.start)
	n := next - c.start
	c.start = next
	l.removed(c, n, 1)
	l.tidyEnd(c)
}

// PopBack removes the last one.
func (l *List) PopBack() {
	c := l.last
	at := before(c.buf, c.end)
	n := c.end - at
	c.end = at
	l.removed(c, n, 1)
	l.tidyEnd(c)
}

// tidyEnd lets go of a chunk that has become empty, and of most of one that was much longer and is the only one.
func (l *List) tidyEnd(c *listChunk) {
	switch {
	case c.count == 0:
		l.unlink(c)
	case len(c.buf) > 64 && c.used() < len(c.buf)/4 && l.first == l.last:
		l.resize(c, 2*c.used(), false)
	}
}

// tidy is for a chunk that has lost elements: it is unlinked, shortened, or joined with the one before.
func (l *List) tidy(c *listChunk) {
	if c.count == 0 {
		l.unlink(c)
		return
	}
	if p := c.prev; p != nil && p.used()+c.used() <= maxChunk/2 {
		if len(p.buf)-p.end < c.used() {
			l.resize(p, p.used()+c.used(), false)
		}
		p.end += copy(p.buf[p.end:], c.buf[c.start:c.end])
		p.count += c.count
		l.unlink(c)
		return
	}
	if len(c.buf) > 64 && c.used() < len(c.buf)/2 {
		l.resize(c, c.used(), false)
	}
}

// ListCursor is a place in a list: at an element, or beyond both ends. A change made otherwise than through it makes it
// invalid.
type ListCursor struct {
	l  *List
	c  *listChunk // nil beyond the ends
	at int        // where the element begins
}

// Seek gives the cursor at element i, 0 ≤ i < Len, from whichever end is nearer.
func (l *List) Seek(i int) ListCursor {
	if i < 0 || i >= l.length {
		return ListCursor{l: l}
	}
	var c *listChunk
	if i < l.length/2 {
		for c = l.first; i >= c.count; c = c.next {
			i -= c.count
		}
	} else {
		left := l.length - i
		for c = l.last; left > c.count; c = c.prev {
			left -= c.count
		}
		i = c.count - left
	}
	at := c.start
	if i <= c.count/2 {
		for ; i > 0; i-- {
			_, at = element(c.buf, at)
		}
	} else {
		at = c.end
		for i = c.count - i; i > 0; i-- {
			at = before(c.buf, at)
		}
	}
	return ListCursor{l, c, at}
}

// Valid tells whether the cursor is at an element.
func (p *ListCursor) Valid() bool { return p.c != nil }

// Value is the element, valid until the next change of the list.
func (p *ListCursor) Value() []byte {
	value, _ := element(p.c.buf, p.at)
	return value
}

// Next goes to the element behind.
func (p *ListCursor) Next() {
	if _, p.at = element(p.c.buf, p.at); p.at == p.c.end {
		if p.c = p.c.next; p.c != nil {
			p.at = p.c.start
		}
	}
}

// Prev goes to the element before.
func (p *ListCursor) Prev() {
	if p.at == p.c.start {
		if p.c = p.c.prev; p.c == nil {
			return
		}
		p.at = p.c.end
	}
	p.at = before(p.c.buf, p.at)
}

// Insert puts a copy of value before the element, or behind it. The cursor is invalid afterwards.
func (p *ListCursor) Insert(value []byte, behind bool) {
	if behind {
		_, next := element(p.c.buf, p.at)
		p.at = next
	}
	p.insert(value)
}

// insert puts value at p.at, which may be the end of the chunk.
func (p *ListCursor) insert(value []byte) {
	l, c, n := p.l, p.c, packedSize(len(value))
	if len(c.buf)-c.used() < n && c.used()+n > maxChunk {
		switch p.at {
		case c.start:
			c = l.newChunk(n, c.prev, c)
		case c.end:
			c = l.newChunk(n, c, c.next)
		default:
			l.split(c, p.at)
			if c.used()+n > maxChunk {
				c = l.newChunk(n, c, c.next)
			} else if len(c.buf)-c.end < n {
				l.resize(c, c.used()+n, false)
			}
		}
		put(c.buf[c.end:], value)
		c.end += n
		l.added(c, n)
		return
	}
	// The shorter side moves, if it can.
	at := p.at - c.start
	front := at < c.used()/2
	if room := len(c.buf) - c.end; front && c.start < n || !front && room < n {
		if front = c.start >= n; !front && room < n {
			l.resize(c, c.used()+n, false)
		}
	}
	if front {
		copy(c.buf[c.start-n:], c.buf[c.start:c.start+at])
		c.start -= n
	} else {
		copy(c.buf[c.start+at+n:c.end+n], c.buf[c.start+at:c.end])
		c.end += n
	}
	put(c.buf[c.start+at:], value)
	l.added(c, n)
}

// split moves what is in c from at on to a new chunk behind it.
func (l *List) split(c *listChunk, at int) {
	count := 0
	for i := c.start; i < at; count++ {
		_, i = element(c.buf, i)
	}
	next := l.link(c.end-at, c, c.next)
	next.end = copy(next.buf, c.buf[at:c.end])
	next.count = c.count - count
	c.end, c.count = at, count
	l.seal(c)
}

// Set replaces the element. The cursor is invalid afterwards.
func (p *ListCursor) Set(value []byte) {
	old, next := element(p.c.buf, p.at)
	if len(old) == len(value) {
		copy(old, value)
		return
	}
	c := p.c
	n := next - p.at
	copy(c.buf[p.at:], c.buf[next:c.end])
	c.end -= n
	p.l.removed(c, n, 1)
	if c.count == 0 && len(c.buf) < packedSize(len(value)) {
		// The only element of its chunk.
		prev, behind := c.prev, c.next
		p.l.unlink(c)
		c = p.l.newChunk(packedSize(len(value)), prev, behind)
		p.c, p.at = c, c.start
	}
	p.insert(value)
	if c.count > 0 {
		p.l.tidy(c)
	}
}

// Remove removes the first limit elements that equal value, or the last ones, and tells how many there were.
func (l *List) Remove(value []byte, limit int, fromEnd bool) (count int) {
	if fromEnd {
		for c := l.last; c != nil && count < limit; {
			prev := c.prev
			count += l.removeBackward(c, value, limit-count)
			c = prev
		}
		return count
	}
	for c := l.first; c != nil && count < limit; {
		next := c.next
		count += l.removeForward(c, value, limit-count)
		c = next
	}
	return count
}

// removeForward closes the gaps as it goes, so that each element moves once.
func (l *List) removeForward(c *listChunk, value []byte, limit int) (count int) {
	to := c.start
	for from := c.start; from < c.end; {
		v, next := element(c.buf, from)
		if count == limit {
			next = c.end // all the rest moves
		} else if bytes.Equal(v, value) {
			count++
			from = next
			continue
		}
		if to != from {
			copy(c.buf[to:], c.buf[from:next])
		}
		to += next - from
		from = next
	}
	n := c.end - to
	c.end = to
	l.shrunk(c, n, count)
	return count
}

func (l *List) removeBackward(c *listChunk, value []byte, limit int) (count int) {
	to := c.end
	for from := c.end; from > c.start; {
		at := c.start
		if count < limit {
			at = before(c.buf, from)
			if v, _ := element(c.buf, at); bytes.Equal(v, value) {
				count++
				from = at
				continue
			}
		}
		to -= from - at
		if to != at {
			copy(c.buf[to:], c.buf[at:from])
		}
		from = at
	}
	n := to - c.start
	c.start = to
	l.shrunk(c, n, count)
	return count
}

func (l *List) shrunk(c *listChunk, n, count int) {
	if count > 0 {
		l.removed(c, n, count)
		l.tidy(c)
	}
}

// Trim removes front elements at the beginning and back ones at the end, of which there must be so many.
func (l *List) Trim(front, back int) {
	for front > 0 {
		c, at, count := l.first, l.first.end, l.first.count
		if front < count {
			for at, count = c.start, 0; count < front; count++ {
				_, at = element(c.buf, at)
			}
		}
		n := at - c.start
		c.start = at
		front -= count
		l.removed(c, n, count)
		l.tidyEnd(c)
	}
	for back > 0 {
		c, at, count := l.last, l.last.start, l.last.count
		if back < count {
			for at, count = c.end, 0; count < back; count++ {
				at = before(c.buf, at)
			}
		}
		n := c.end - at
		c.end = at
		back -= count
		l.removed(c, n, count)
		l.tidyEnd(c)
	}
}

func (l *List) flatten(e *Entry) {
	for c := l.first; c != nil; c = c.next {
		for at := c.start; at < c.end; {
			var value []byte
			value, at = element(c.buf, at)
			e.item(value)
		}
	}
}

func (l *List) restore(items [][]byte) bool {
	for _, item := range items {
		l.PushBack(item)
	}
	return true
}
