package store

import (
	"math"
	"sort"
	"unsafe"
)

// StreamID names an entry of a stream.
type StreamID struct{ Ms, Seq uint64 }

// MaxStreamID is the last there can be.
var MaxStreamID = StreamID{math.MaxUint64, math.MaxUint64}

// Compare is negative, zero or positive as a is before, at or behind b.
func (a StreamID) Compare(b StreamID) int {
	switch {
	case a.Ms < b.Ms, a.Ms == b.Ms && a.Seq < b.Seq:
		return -1
	case a == b:
		return 0
	}
	return 1
}

// Next is the ID behind a; it reports false, and wraps to 0-0, at the end.
func (a StreamID) Next() (StreamID, bool) {
	if a.Seq++; a.Seq == 0 {
		a.Ms++
	}
	return a, a != StreamID{}
}

// Prev is the ID before a; it reports false, and wraps to the last, at the beginning.
func (a StreamID) Prev() (StreamID, bool) {
	if a.Seq--; a.Seq == math.MaxUint64 {
		a.Ms--
	}
	return a, a != MaxStreamID
}

// Stream is a log of entries in the order of their IDs, in blocks of up to a hundred, and the groups that read it.
type Stream struct {
	// LastID is the largest ID that was ever added, MaxDeleted the largest that XDEL has deleted, Added the number of entries
	// ever added.
	LastID, MaxDeleted StreamID
	Added              int64

	blocks []*streamBlock
	front  int // the first block in use
	length int
	bytes  int // of blocks and their data, by class

	groups []*Group // by name
}

const (
	streamBase      = int(unsafe.Sizeof(Stream{}))
	streamBlockBase = int(unsafe.Sizeof(streamBlock{}))

	// streamBlockEntries and streamBlockBytes say when a block is full: Redis's stream-node-max-entries and -bytes.
	streamBlockEntries = 100
	streamBlockBytes   = 4 << 10
)

// Len is the number of entries.
func (s *Stream) Len() int { return s.length }

// Blocks is the number of blocks.
func (s *Stream) Blocks() int { return len(s.blocks) - s.front }

// Size is what the stream occupies now.
func (s *Stream) Size() int {
	n := class(streamBase) + class(8*cap(s.blocks)) + s.bytes + class(8*cap(s.groups))
	for _, g := range s.groups {
		n += g.size()
	}
	return n
}

// NextID is the ID for an entry added now. It reports false when there is none left.
func (s *Stream) NextID(now int64) (StreamID, bool) {
	if ms := uint64(max(now, 0)); ms > s.LastID.Ms {
		return StreamID{Ms: ms}, true
	}
	return s.LastID.Next()
}

// Add appends an entry of names and values, alternating, which it copies. id must be greater than LastID.
func (s *Stream) Add(id StreamID, fields [][]byte) {
	size := 0
	for _, f := range fields {
		size += len(f)
	}
	var b *streamBlock
	if s.Blocks() > 0 {
		b = s.blocks[len(s.blocks)-1]
		if int(b.live+b.dead) >= streamBlockEntries || len(b.data)+size >= streamBlockBytes {
			s.bytes -= b.size()
			b.fit(len(b.data))
			s.bytes += b.size()
			b = nil
		}
	}
	if b == nil {
		b = newStreamBlock(id, fields)
		s.blocks = append(s.blocks, b)
	} else {
		s.bytes -= b.size()
	}
	b.add(id, fields)
	s.bytes += b.size()
	s.length++
	s.Added++
	s.LastID = id
}

// SetLastID makes id the last one that was given; no entry that is there may have a later one. Deleted entries with later
// IDs are forgotten: new ones are to stand in their place.
func (s *Stream) SetLastID(id StreamID) {
	s.LastID = id
	if s.Blocks() == 0 {
		return
	}
	b := s.blocks[len(s.blocks)-1]
	var e StreamEntry
	kept := uint32(0)
	for off := b.start; off < len(b.data); kept++ {
		next, _, _ := b.entry(off, &e)
		if e.ID.Compare(id) > 0 {
			b.data = b.data[:off]
			break
		}
		b.last, off = e.ID, next
	}
	b.dead = kept - b.live
}

// Ascend visits the entries from one ID to another, both included, until visit returns false. The entry is valid until
// visit returns, and visit must not change the entries.
func (s *Stream) Ascend(from, to StreamID, visit func(*StreamEntry) bool) {
	var e StreamEntry
	for i := s.find(from); i < len(s.blocks); i++ {
		b := s.blocks[i]
		if b.base.Compare(to) > 0 {
			return
		}
		for off := b.start; off < len(b.data); {
			next, dead, _ := b.entry(off, &e)
			off = next
			if dead || e.ID.Compare(from) < 0 {
				continue
			}
			if e.ID.Compare(to) > 0 || !visit(&e) {
				return
			}
		}
	}
}

// Descend is Ascend from the last to the first.
func (s *Stream) Descend(from, to StreamID, visit func(*StreamEntry) bool) {
	var e StreamEntry
	var offsets [streamBlockEntries]int
	for i := s.find(to); i >= s.front && i < len(s.blocks); i-- {
		b := s.blocks[i]
		if b.last.Compare(from) < 0 {
			return
		}
		at := offsets[:0]
		for off := b.start; off < len(b.data); {
			at = append(at, off)
			off, _, _ = b.entry(off, &e)
		}
		for j := len(at) - 1; j >= 0; j-- {
			_, dead, _ := b.entry(at[j], &e)
			if dead || e.ID.Compare(to) > 0 {
				continue
			}
			if e.ID.Compare(from) < 0 || !visit(&e) {
				return
			}
		}
	}
}

// Has tells whether there is an entry id.
func (s *Stream) Has(id StreamID) (found bool) {
	s.Ascend(id, id, func(*StreamEntry) bool {
		found = true
		return false
	})
	return found
}

// First is the ID of the first entry, 0-0 when there is none.
func (s *Stream) First() (id StreamID) {
	s.Ascend(StreamID{}, MaxStreamID, func(e *StreamEntry) bool {
		id = e.ID
		return false
	})
	return id
}

// Last is the ID of the last entry that is there, 0-0 when there is none.
func (s *Stream) Last() (id StreamID) {
	s.Descend(StreamID{}, MaxStreamID, func(e *StreamEntry) bool {
		id = e.ID
		return false
	})
	return id
}

// Delete removes the entry id and tells whether it was there.
func (s *Stream) Delete(id StreamID) bool {
	i := s.find(id)
	if i == len(s.blocks) {
		return false
	}
	b := s.blocks[i]
	var e StreamEntry
	for off := b.start; off < len(b.data); {
		next, dead, _ := b.entry(off, &e)
		if c := e.ID.Compare(id); c > 0 {
			return false
		} else if c == 0 {
			if dead {
				return false
			}
			s.bury(b, off)
			if b.live == 0 {
				s.remove(i)
			}
			if id.Compare(s.MaxDeleted) > 0 {
				s.MaxDeleted = id
			}
			return true
		}
		off = next
	}
	return false
}

// bury marks the entry at off as deleted.
func (s *Stream) bury(b *streamBlock, off int) {
	b.data[off] |= entryDead
	b.live--
	b.dead++
	s.length--
}

// StreamTrim says which entries at the front are too many.
type StreamTrim struct {
	ByID   bool
	MaxLen int64    // entries that may stay
	MinID  StreamID // with ByID: the first entry that may stay
	// Approximate removes only whole blocks, as long as these have no more than Limit entries together, 0 for any number.
	Approximate bool
	Limit       int64
}

// Trim removes entries from the front and tells how many.
func (s *Stream) Trim(t StreamTrim) (removed int64) {
	for s.Blocks() > 0 && (t.ByID || int64(s.length) > t.MaxLen) {
		b := s.blocks[s.front]
		n := int64(b.live)
		if t.Limit > 0 && removed+n > t.Limit {
			break
		}
		if t.ByID && b.last.Compare(t.MinID) < 0 || !t.ByID && int64(s.length)-n >= t.MaxLen {
			s.length -= int(n)
			removed += n
			s.remove(s.front)
			continue
		}
		if t.Approximate {
			break
		}
		var e StreamEntry
		for off := b.start; off < len(b.data); {
			next, dead, _ := b.entry(off, &e)
			if t.ByID && e.ID.Compare(t.MinID) >= 0 || !t.ByID && int64(s.length) <= t.MaxLen {
				break
			}
			if !dead {
				s.bury(b, off)
				removed++
			}
			off = next
		}
		if b.live == 0 {
			s.remove(s.front)
		}
		break
	}
	return removed
}

// remove drops block i.
func (s *Stream) remove(i int) {
	s.bytes -= s.blocks[i].size()
	copy(s.blocks[s.front+1:i+1], s.blocks[s.front:i])
	s.blocks[s.front] = nil
	s.front++
	if s.front == len(s.blocks) {
		s.blocks, s.front = nil, 0
	} else if s.front > 16 && s.front > len(s.blocks)/2 {
		s.blocks = append(make([]*streamBlock, 0, len(s.blocks)-s.front), s.blocks[s.front:]...)
		s.front = 0
	}
}

// find is the index of the block that id is in, if it is anywhere; of the one behind, where id is before all blocks.
func (s *Stream) find(id StreamID) int {
	used := s.blocks[s.front:]
	i := sort.Search(len(used), func(i int) bool { return used[i].base.Compare(id) > 0 })
	return s.front + max(0, i-1)
}
