package store

import (
	"bytes"
	"encoding/binary"
)

// streamBlock is some consecutive entries of a stream, one behind the other in one piece of memory:
//
//	names     of the first entry's fields, each with its length as a varint before it
//	entries   each of them
//	    flags     1 byte
//	    ms        minus that of the block's base, as a varint
//	    seq       minus that of the base where ms is the same, as a varint
//	    fields    their number, as a varint, unless the names are those of the block
//	    length    of what follows, as a varint
//	    values    each with its length as a varint before it, and its name in front of it unless that is the block's
type streamBlock struct {
	base, last StreamID // of the first and the last entry, deleted or not
	live, dead uint32   // entries
	shared     int      // number of names
	start      int      // where entries begin
	data       []byte
}

const (
	entryDead   = 1 << iota // flags of an entry
	entryShared             // its names are those of the block
)

func newStreamBlock(id StreamID, fields [][]byte) *streamBlock {
	b := &streamBlock{base: id, shared: len(fields) / 2}
	size := 0
	for i := 0; i < len(fields); i += 2 {
		size += len(fields[i]) + binary.MaxVarintLen32
	}
	b.data = make([]byte, 0, class(size))
	for i := 0; i < len(fields); i += 2 {
		b.data = appendBytes(b.data, fields[i])
	}
	b.start = len(b.data)
	return b
}

func (b *streamBlock) size() int { return class(streamBlockBase) + class(cap(b.data)) }

// fit gives the data room for n bytes, and no more.
func (b *streamBlock) fit(n int) {
	if c := class(n); c != cap(b.data) {
		b.data = append(make([]byte, 0, c), b.data...)
	}
}

func appendBytes(b, v []byte) []byte { return append(binary.AppendUvarint(b, uint64(len(v))), v...) }

// cutBytes reads what appendBytes has written; ok is false where b is too short for it.
func cutBytes(b []byte) (v, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	return b[size : size+int(n) : size+int(n)], b[size+int(n):], true
}

func (b *streamBlock) add(id StreamID, fields [][]byte) {
	shared := len(fields) == 2*b.shared
	names := b.data[:b.start]
	for i := 0; shared && i < len(fields); i += 2 {
		var name []byte
		name, names, _ = cutBytes(names)
		shared = bytes.Equal(name, fields[i])
	}
	flags, step, body := byte(0), 1, 0
	if shared {
		flags, step = entryShared, 2
	}
	for i := step - 1; i < len(fields); i += step {
		body += uvarintLen(uint64(len(fields[i]))) + len(fields[i])
	}
	if need := len(b.data) + 4*binary.MaxVarintLen64 + 1 + body; need > cap(b.data) {
		b.fit(max(need, min(2*cap(b.data), streamBlockBytes)))
	}
	d := append(b.data, flags)
	d = binary.AppendUvarint(d, id.Ms-b.base.Ms)
	if id.Ms == b.base.Ms {
		d = binary.AppendUvarint(d, id.Seq-b.base.Seq)
	} else {
		d = binary.AppendUvarint(d, id.Seq)
	}
	if !shared {
		d = binary.AppendUvarint(d, uint64(len(fields)/2))
	}
	d = binary.AppendUvarint(d, uint64(body))
	for i := step - 1; i < len(fields); i += step {
		d = appendBytes(d, fields[i])
	}
	b.data = d
	b.live++
	b.last = id
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// entry reads the entry at off into e. ok is false for data that add has not written.
func (b *streamBlock) entry(off int, e *StreamEntry) (next int, dead, ok bool) {
	d := b.data[off:]
	flags := d[0]
	d = d[1:]
	var v [4]uint64
	for i := range v {
		if i == 2 && flags&entryShared != 0 {
			v[2] = uint64(b.shared)
			continue
		}
		n, size := binary.Uvarint(d)
		if size <= 0 {
			return 0, false, false
		}
		v[i], d = n, d[size:]
	}
	if v[3] > uint64(len(d)) {
		return 0, false, false
	}
	e.ID = StreamID{b.base.Ms + v[0], v[1]}
	if v[0] == 0 {
		e.ID.Seq += b.base.Seq
	}
	e.Len, e.names = int(v[2]), nil
	if e.shared = flags&entryShared != 0; e.shared {
		e.names = b.data[:b.start]
	}
	e.body = d[:v[3]]
	return len(b.data) - len(d) + int(v[3]), flags&entryDead != 0, true
}

// StreamEntry is one entry.
type StreamEntry struct {
	ID  StreamID
	Len int // number of fields

	shared      bool
	names, body []byte
}

// Fields visits the fields. The slices are valid while the shard is held and the stream does not change.
func (e *StreamEntry) Fields(visit func(name, value []byte)) {
	names, body := e.names, e.body
	for range e.Len {
		var name, value []byte
		if e.shared {
			name, names, _ = cutBytes(names)
		} else {
			name, body, _ = cutBytes(body)
		}
		value, body, _ = cutBytes(body)
		visit(name, value)
	}
}

// valid checks an entry that came from elsewhere.
func (e *StreamEntry) valid() bool {
	if e.Len <= 0 || e.Len > len(e.body) {
		return false
	}
	n := 2 * e.Len
	if e.shared {
		n = e.Len
	}
	rest, ok := e.body, true
	for i := 0; i < n && ok; i++ {
		_, rest, ok = cutBytes(rest)
	}
	return ok && len(rest) == 0
}
