package store

import (
	"bytes"
	"sort"
	"unsafe"
)

// Group is a consumer group: what it was given, and what of that is not acknowledged.
type Group struct {
	Name []byte
	// LastID is the last entry it was given, Read the number of entries up to that one, -1 where that is unknown.
	LastID StreamID
	Read   int64

	consumers []*Consumer // by name
	byID      []*Consumer // what Pending.consumer counts; nil where one was deleted
	pending   pendingList
	bytes     int // of consumers, by class
}

// Consumer is one reader of a group.
type Consumer struct {
	Name    []byte
	SeenAt  int64 // unix milliseconds
	Pending int   // entries that it has not acknowledged
	id      uint32
}

// Pending is an entry that was given to a consumer and is not acknowledged.
type Pending struct {
	ID       StreamID
	At       int64 // when it was given to the consumer last, unix milliseconds
	Count    int64 // how often
	consumer uint32
}

const (
	groupBase    = int(unsafe.Sizeof(Group{}))
	consumerBase = int(unsafe.Sizeof(Consumer{}))
	pendingSize  = int(unsafe.Sizeof(Pending{}))
)

func (g *Group) size() int {
	return class(groupBase) + class(cap(g.Name)) + class(8*cap(g.consumers)) + class(8*cap(g.byID)) + g.bytes + g.pending.size()
}

// Groups are the groups by name. The slice must not be changed.
func (s *Stream) Groups() []*Group { return s.groups }

// Group finds a group, nil when there is none.
func (s *Stream) Group(name []byte) *Group {
	if i, ok := s.groupAt(name); ok {
		return s.groups[i]
	}
	return nil
}

func (s *Stream) groupAt(name []byte) (i int, ok bool) {
	return sort.Find(len(s.groups), func(i int) int { return bytes.Compare(name, s.groups[i].Name) })
}

// NewGroup makes a group; nil when there is one of that name.
func (s *Stream) NewGroup(name []byte, last StreamID, read int64) *Group {
	i, ok := s.groupAt(name)
	if ok {
		return nil
	}
	g := &Group{Name: keepName(name), LastID: last, Read: read}
	s.groups = append(s.groups, nil)
	copy(s.groups[i+1:], s.groups[i:])
	s.groups[i] = g
	return g
}

// DeleteGroup removes a group and tells whether it was there.
func (s *Stream) DeleteGroup(name []byte) bool {
	i, ok := s.groupAt(name)
	if ok {
		copy(s.groups[i:], s.groups[i+1:])
		s.groups[len(s.groups)-1] = nil
		if s.groups = s.groups[:len(s.groups)-1]; len(s.groups) == 0 {
			s.groups = nil
		}
	}
	return ok
}

func keepName(name []byte) []byte { return append(make([]byte, 0, class(len(name))), name...) }

// Consumers are the consumers by name. The slice must not be changed.
func (g *Group) Consumers() []*Consumer { return g.consumers }

// Consumer finds a consumer, nil when there is none.
func (g *Group) Consumer(name []byte) *Consumer {
	if i, ok := g.consumerAt(name); ok {
		return g.consumers[i]
	}
	return nil
}

func (g *Group) consumerAt(name []byte) (i int, ok bool) {
	return sort.Find(len(g.consumers), func(i int) int { return bytes.Compare(name, g.consumers[i].Name) })
}

// NewConsumer makes a consumer; nil when there is one of that name.
func (g *Group) NewConsumer(name []byte, now int64) *Consumer {
	i, ok := g.consumerAt(name)
	if ok {
		return nil
	}
	id := 0
	for id < len(g.byID) && g.byID[id] != nil {
		id++
	}
	c := &Consumer{Name: keepName(name), SeenAt: now, id: uint32(id)}
	if id == len(g.byID) {
		g.byID = append(g.byID, nil)
	}
	g.byID[id] = c
	g.consumers = append(g.consumers, nil)
	copy(g.consumers[i+1:], g.consumers[i:])
	g.consumers[i] = c
	g.bytes += class(consumerBase) + class(cap(c.Name))
	return c
}

// DeleteConsumer removes a consumer and what it has not acknowledged.
func (g *Group) DeleteConsumer(c *Consumer) {
	if c.Pending > 0 {
		g.pending.filter(func(p *Pending) bool { return p.consumer != c.id })
	}
	i, _ := g.consumerAt(c.Name)
	copy(g.consumers[i:], g.consumers[i+1:])
	g.consumers[len(g.consumers)-1] = nil
	g.consumers = g.consumers[:len(g.consumers)-1]
	g.byID[c.id] = nil
	g.bytes -= class(consumerBase) + class(cap(c.Name))
}

// Pending is the number of entries that are not acknowledged.
func (g *Group) Pending() int { return g.pending.n }

// Owner is the consumer that p was given to.
func (g *Group) Owner(p *Pending) *Consumer { return g.byID[p.consumer] }

// Find finds a pending entry, nil when there is none. What it returns is valid until the pending entries change.
func (g *Group) Find(id StreamID) *Pending {
	if p := g.NextPending(id); p != nil && p.ID == id {
		return p
	}
	return nil
}

// NextPending is the first pending entry from id on, nil when there is none.
func (g *Group) NextPending(id StreamID) *Pending {
	c, i := g.pending.seek(id)
	if c == len(g.pending.chunks) {
		return nil
	}
	return &g.pending.chunks[c][i]
}

// LastPending is the last pending entry, nil when there is none.
func (g *Group) LastPending() *Pending {
	if g.pending.n == 0 {
		return nil
	}
	c := g.pending.chunks[len(g.pending.chunks)-1]
	return &c[len(c)-1]
}

// EachPending visits the pending entries from id on, those of one consumer only where c is not nil, until visit returns
// false. visit may change what is visited, but neither ack nor add.
func (g *Group) EachPending(id StreamID, c *Consumer, visit func(p *Pending) bool) {
	if c != nil && c.Pending == 0 {
		return
	}
	ci, i := g.pending.seek(id)
	for ; ci < len(g.pending.chunks); ci, i = ci+1, 0 {
		chunk := g.pending.chunks[ci]
		for ; i < len(chunk); i++ {
			if (c == nil || chunk[i].consumer == c.id) && !visit(&chunk[i]) {
				return
			}
		}
	}
}

// Give makes id pending for c, whoever had it before, and returns it. The caller sets when, and how often.
func (g *Group) Give(id StreamID, c *Consumer) *Pending {
	p := g.Find(id)
	if p != nil {
		g.Owner(p).Pending--
	} else {
		p = g.pending.insert(id)
	}
	p.consumer = c.id
	c.Pending++
	return p
}

// Ack forgets a pending entry and tells whether there was one.
func (g *Group) Ack(id StreamID) bool {
	c, i := g.pending.seek(id)
	if c == len(g.pending.chunks) || g.pending.chunks[c][i].ID != id {
		return false
	}
	g.byID[g.pending.chunks[c][i].consumer].Pending--
	g.pending.remove(c, i)
	return true
}

// pendingList is pending entries by ID, in chunks.
type pendingList struct {
	chunks [][]Pending // none is empty
	n      int
	bytes  int // of chunks, by class
}

const (
	pendingChunk  = 51 // fills a class
	sliceOverhead = int(unsafe.Sizeof([]byte(nil)))
)

func (l *pendingList) size() int { return class(sliceOverhead*cap(l.chunks)) + l.bytes }

// seek finds the first entry from id on; chunk is len(chunks) when there is none.
func (l *pendingList) seek(id StreamID) (chunk, i int) {
	chunk = sort.Search(len(l.chunks), func(c int) bool { return l.chunks[c][len(l.chunks[c])-1].ID.Compare(id) >= 0 })
	if chunk == len(l.chunks) {
		return chunk, 0
	}
	entries := l.chunks[chunk]
	return chunk, sort.Search(len(entries), func(i int) bool { return entries[i].ID.Compare(id) >= 0 })
}

// set replaces chunk c.
func (l *pendingList) set(c int, entries []Pending) {
	l.bytes += class(cap(entries)*pendingSize) - class(cap(l.chunks[c])*pendingSize)
	l.chunks[c] = entries
}

// open makes a new chunk at c.
func (l *pendingList) open(c int) {
	l.chunks = append(l.chunks, nil)
	copy(l.chunks[c+1:], l.chunks[c:])
	l.chunks[c] = nil
}

func (l *pendingList) insert(id StreamID) *Pending {
	c, i := l.seek(id)
	switch {
	case c < len(l.chunks) && len(l.chunks[c]) == pendingChunk:
		// Half of a full chunk goes into a new one behind it.
		l.open(c + 1)
		half := pendingChunk / 2
		l.set(c+1, append([]Pending(nil), l.chunks[c][half:]...))
		l.chunks[c] = l.chunks[c][:half]
		if i > half {
			c, i = c+1, i-half
		}
	case c == len(l.chunks) && c > 0 && len(l.chunks[c-1]) < pendingChunk:
		c--
		i = len(l.chunks[c])
	case c == len(l.chunks):
		l.open(c)
	}
	entries := l.chunks[c]
	if len(entries) == cap(entries) {
		entries = append(make([]Pending, 0, min(pendingChunk, max(4, 2*cap(entries)))), entries...)
	}
	entries = append(entries, Pending{})
	copy(entries[i+1:], entries[i:])
	entries[i] = Pending{ID: id}
	l.set(c, entries)
	l.n++
	return &l.chunks[c][i]
}

func (l *pendingList) remove(c, i int) {
	l.n--
	entries := l.chunks[c]
	copy(entries[i:], entries[i+1:])
	l.chunks[c] = entries[:len(entries)-1]
	if len(l.chunks[c]) == 0 {
		l.close(c)
	}
}

func (l *pendingList) close(c int) {
	l.set(c, nil)
	copy(l.chunks[c:], l.chunks[c+1:])
	l.chunks[len(l.chunks)-1] = nil
	if l.chunks = l.chunks[:len(l.chunks)-1]; len(l.chunks) == 0 {
		l.chunks = nil
	} else if len(l.chunks) < cap(l.chunks)/4 {
		l.chunks = append(make([][]Pending, 0, cap(l.chunks)/2), l.chunks...)
	}
}

// filter drops all entries that keep refuses.
func (l *pendingList) filter(keep func(*Pending) bool) {
	old := *l
	*l = pendingList{}
	for _, chunk := range old.chunks {
		for i := range chunk {
			if keep(&chunk[i]) {
				*l.insert(chunk[i].ID) = chunk[i]
			}
		}
	}
}

// deletedFrom tells whether XDEL may have removed entries at or behind id, so that entries cannot be counted.
func (s *Stream) deletedFrom(id StreamID) bool {
	return s.length > 0 && s.MaxDeleted != StreamID{} && s.First().Compare(s.MaxDeleted) <= 0 && id.Compare(s.MaxDeleted) <= 0
}

// countTo is the number of entries that were ever added up to id, -1 where nobody knows.
func (s *Stream) countTo(id StreamID) int64 {
	switch c := id.Compare(s.LastID); {
	case s.Added == 0:
		return 0
	case s.length == 0 && c <= 0, c == 0:
		return s.Added
	case c > 0:
		return -1
	}
	first := s.First()
	if s.MaxDeleted == (StreamID{}) || s.MaxDeleted.Compare(first) < 0 {
		switch c := id.Compare(first); {
		case c < 0:
			return s.Added - int64(s.length)
		case c == 0:
			return s.Added - int64(s.length) + 1
		}
	}
	return -1
}

// Advance notes that g was given the entry id.
func (s *Stream) Advance(g *Group, id StreamID) {
	if id.Compare(g.LastID) <= 0 {
		return
	}
	if g.Read != -1 && !s.deletedFrom(id) {
		g.Read++
	} else if s.Added != 0 {
		g.Read = s.countTo(id)
	}
	g.LastID = id
}

// Lag is the number of entries that g was not yet given. It reports false where nobody knows.
func (s *Stream) Lag(g *Group) (int64, bool) {
	if s.Added == 0 {
		return 0, true
	}
	if g.Read != -1 && !s.deletedFrom(g.LastID) {
		return s.Added - g.Read, true
	}
	n := s.countTo(g.LastID)
	return s.Added - n, n != -1
}
