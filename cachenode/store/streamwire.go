package store

import "encoding/binary"

// flatten gives the numbers of the stream, then its blocks, then its groups, one item each.
func (s *Stream) flatten(e *Entry) {
	var b []byte
	for _, v := range []uint64{s.LastID.Ms, s.LastID.Seq, s.MaxDeleted.Ms, s.MaxDeleted.Seq, uint64(s.Added), uint64(s.Blocks())} {
		b = binary.AppendUvarint(b, v)
	}
	e.item(b)
	for _, block := range s.blocks[s.front:] {
		b = b[:0]
		for _, v := range []uint64{block.base.Ms, block.base.Seq, uint64(block.shared)} {
			b = binary.AppendUvarint(b, v)
		}
		e.item(append(b, block.data...))
	}
	for _, g := range s.groups {
		e.item(g.append(b[:0]))
	}
}

func (g *Group) append(b []byte) []byte {
	b = appendBytes(b, g.Name)
	b = binary.AppendVarint(binary.AppendUvarint(binary.AppendUvarint(b, g.LastID.Ms), g.LastID.Seq), g.Read)
	b = binary.AppendUvarint(b, uint64(len(g.consumers)))
	place := make([]uint64, len(g.byID))
	for i, c := range g.consumers {
		place[c.id] = uint64(i)
		b = binary.AppendVarint(appendBytes(b, c.Name), c.SeenAt)
	}
	g.EachPending(StreamID{}, nil, func(p *Pending) bool {
		b = binary.AppendUvarint(binary.AppendUvarint(b, p.ID.Ms), p.ID.Seq)
		b = binary.AppendVarint(binary.AppendVarint(b, p.At), p.Count)
		b = binary.AppendUvarint(b, place[p.consumer])
		return true
	})
	return b
}

// reader cuts numbers and strings off the front of b; once something is missing, all it gives is zero and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	v, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return v
}

func (r *reader) int() int64 {
	v, size := binary.Varint(r.b)
	if size <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return v
}

func (r *reader) id() StreamID { return StreamID{r.uint(), r.uint()} }

func (r *reader) bytes() []byte {
	v, rest, ok := cutBytes(r.b)
	if !ok {
		r.bad, r.b = true, nil
		return nil
	}
	r.b = rest
	return v
}

func (s *Stream) restore(items [][]byte) bool {
	if len(items) == 0 {
		return false
	}
	r := reader{b: items[0]}
	s.LastID, s.MaxDeleted, s.Added = r.id(), r.id(), int64(r.uint())
	blocks := r.uint()
	if r.bad || len(r.b) > 0 || blocks > uint64(len(items)-1) || s.Added < 0 {
		return false
	}
	for _, item := range items[1 : 1+blocks] {
		if !s.restoreBlock(item) {
			return false
		}
	}
	if n := s.Blocks(); n > 0 && s.blocks[n-1].last.Compare(s.LastID) > 0 {
		return false
	}
	for _, item := range items[1+blocks:] {
		if !s.restoreGroup(item) {
			return false
		}
	}
	return true
}

func (s *Stream) restoreBlock(item []byte) bool {
	r := reader{b: item}
	b := &streamBlock{base: r.id()}
	shared := r.uint()
	if r.bad || shared > uint64(len(r.b)) {
		return false
	}
	b.shared = int(shared)
	b.data = append(make([]byte, 0, class(len(r.b))), r.b...)
	names := reader{b: b.data}
	for range b.shared {
		names.bytes()
	}
	b.start = len(b.data) - len(names.b)
	if names.bad {
		return false
	}
	var e StreamEntry
	for off := b.start; off < len(b.data); {
		next, dead, ok := b.entry(off, &e)
		first := b.live+b.dead == 0
		if !ok || !e.valid() || e.ID.Ms < b.base.Ms || first && e.ID != b.base || !first && e.ID.Compare(b.last) <= 0 {
			return false
		}
		if b.last = e.ID; dead {
			b.dead++
		} else {
			b.live++
		}
		off = next
	}
	n := s.Blocks()
	if b.live == 0 || b.live+b.dead > streamBlockEntries || n > 0 && s.blocks[n-1].last.Compare(b.base) >= 0 {
		return false
	}
	s.blocks = append(s.blocks, b)
	s.bytes += b.size()
	s.length += int(b.live)
	return true
}

func (s *Stream) restoreGroup(item []byte) bool {
	r := reader{b: item}
	g := s.NewGroup(r.bytes(), StreamID{}, 0)
	if g == nil {
		return false
	}
	g.LastID, g.Read = r.id(), r.int()
	n := r.uint()
	if r.bad || n > uint64(len(r.b)) || g.Read < -1 {
		return false
	}
	consumers := make([]*Consumer, n)
	for i := range consumers {
		name := r.bytes()
		if consumers[i] = g.NewConsumer(name, r.int()); consumers[i] == nil || r.bad {
			return false
		}
	}
	for len(r.b) > 0 {
		id, at, count, owner := r.id(), r.int(), r.int(), r.uint()
		if r.bad || owner >= n || g.Find(id) != nil {
			return false
		}
		p := g.Give(id, consumers[owner])
		p.At, p.Count = at, count
	}
	return !r.bad
}

// Encoding is the name that OBJECT ENCODING gives.
func (s *Stream) Encoding() string { return "stream" }
