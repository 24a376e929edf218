package store

import (
	"bytes"
	"hash/maphash"
	"unsafe"
)

// Dict holds the fields of a hash or the members of a set (fields with empty values). Fields lie densely in a slice,
// so that any one can be drawn at random; from nine on, chains find them by name.
type Dict struct {
	seed   maphash.Seed
	fields []field
	heads  []uint32 // index+1 of the first field of each chain; nil while there are few
	bytes  int      // of fields' data, by class
	times  *fieldTimes

	valued   bool // a hash
	encoding encoding
}

type field struct {
	hash    uint32
	next    uint32 // index+1
	nameLen uint32
	data    []byte // name and value
}

// encoding tells what Redis would call the representation. It only ever moves up.
type encoding uint8

const (
	encodingInts encoding = iota
	encodingListpack
	encodingTable
)

const (
	dictLinear  = 8 // fields found by looking at each
	dictBase    = int(unsafe.Sizeof(Dict{}))
	objectBase  = int(unsafe.Sizeof(object{}))
	fieldSize   = int(unsafe.Sizeof(field{}))
	maxIntset   = 512 // set-max-intset-entries
	maxListpack = 128 // {hash,set}-max-listpack-entries
	maxPacked   = 64  // {hash,set}-max-listpack-value
)

// Len is the number of fields.
func (d *Dict) Len() int { return len(d.fields) }

// At returns field i, 0 ≤ i < Len; the slices are valid while the shard is held. Any change may reorder fields.
func (d *Dict) At(i int) (name, value []byte) {
	f := &d.fields[i]
	return f.data[:f.nameLen:f.nameLen], f.data[f.nameLen:]
}

// Get returns the value of name, valid while the shard is held.
func (d *Dict) Get(name []byte) (value []byte, ok bool) {
	if i := d.find(d.hashOf(name), name); i >= 0 {
		f := &d.fields[i]
		return f.data[f.nameLen:], true
	}
	return nil, false
}

// Set stores a copy of name and value, not to expire; added tells whether name is new.
func (d *Dict) Set(name, value []byte) (added bool) {
	hash := d.hashOf(name)
	size := len(name) + len(value)
	if i := d.find(hash, name); i >= 0 {
		f := &d.fields[i]
		if was := class(len(f.data)); class(size) != was {
			d.bytes += class(size) - was
			f.data = append(make([]byte, 0, class(size)), name...)
		}
		f.data = append(f.data[:f.nameLen], value...)
		d.persist(i)
		d.packed(name, value)
		return false
	}
	data := make([]byte, 0, class(size))
	data = append(append(data, name...), value...)
	d.fields = append(d.fields, field{hash: hash, nameLen: uint32(len(name)), data: data})
	d.bytes += class(size)
	if d.times != nil {
		d.times.slots = append(d.times.slots, timeSlot{})
	}
	n := len(d.fields)
	switch {
	case d.heads == nil && n <= dictLinear:
	case n > len(d.heads):
		d.rehash(max(2*dictLinear, 2*len(d.heads)))
	default:
		d.link(n - 1)
	}
	d.packed(name, value)
	return true
}

// Delete removes name.
func (d *Dict) Delete(name []byte) bool {
	i := d.find(d.hashOf(name), name)
	if i < 0 {
		return false
	}
	d.DeleteAt(i)
	return true
}

// DeleteAt removes field i; the last field takes its place.
func (d *Dict) DeleteAt(i int) {
	d.bytes -= class(len(d.fields[i].data))
	if d.times != nil {
		if d.times.remove(i); len(d.times.heap) == 0 {
			d.times = nil
		}
	}
	last := len(d.fields) - 1
	if d.heads != nil {
		*d.linkTo(i) = d.fields[i].next
		if i != last {
			*d.linkTo(last) = uint32(i + 1)
		}
	}
	d.fields[i] = d.fields[last]
	d.fields[last] = field{}
	d.fields = d.fields[:last]
	if last < cap(d.fields)/4 && cap(d.fields) > 2*dictLinear {
		d.fields = append(make([]field, 0, cap(d.fields)/2), d.fields...)
	}
	if last < len(d.heads)/8 && len(d.heads) > 2*dictLinear {
		d.rehash(len(d.heads) / 2)
	}
}

// Scan visits the fields of some buckets, about count fields, and returns the cursor to go on with, 0 at the end. It has
// the guarantees of Redis's SCAN. Small collections come whole. visit must not change the Dict.
func (d *Dict) Scan(cursor uint64, count int, visit func(name, value []byte)) (next uint64) {
	if d.heads == nil {
		for i := range d.fields {
			visit(d.At(i))
		}
		return 0
	}
	for buckets := 0; count > 0 && buckets < 10*count; buckets++ {
		for i := d.heads[cursor&uint64(len(d.heads)-1)]; i != 0; i = d.fields[i-1].next {
			visit(d.At(int(i - 1)))
			count--
		}
		if cursor = nextCursor(cursor, len(d.heads)); cursor == 0 {
			break
		}
	}
	return cursor
}

// Small tells whether Redis would keep the collection in one piece (listpack or intset), and so scan it in one call.
func (d *Dict) Small() bool { return d.encoding != encodingTable }

// Encoding is the name that OBJECT ENCODING gives.
func (d *Dict) Encoding() string {
	switch d.encoding {
	case encodingInts:
		return "intset"
	case encodingListpack:
		return "listpack"
	}
	return "hashtable"
}

func (d *Dict) packed(name, value []byte) {
	if d.encoding == encodingInts {
		if _, ok := canonicalInt(name); !ok {
			d.encoding = encodingListpack
		} else if len(d.fields) > maxIntset {
			d.encoding = encodingTable
		}
	}
	if d.encoding == encodingListpack &&
		(len(d.fields) > maxListpack || len(name) > maxPacked || len(value) > maxPacked) {
		d.encoding = encodingTable
	}
}

func (d *Dict) hashOf(name []byte) uint32 { return uint32(maphash.Bytes(d.seed, name)) }

func (d *Dict) find(hash uint32, name []byte) int {
	if d.heads == nil {
		for i := range d.fields {
			if f := &d.fields[i]; f.hash == hash && bytes.Equal(f.data[:f.nameLen], name) {
				return i
			}
		}
		return -1
	}
	for i := d.heads[hash&uint32(len(d.heads)-1)]; i != 0; {
		f := &d.fields[i-1]
		if f.hash == hash && bytes.Equal(f.data[:f.nameLen], name) {
			return int(i - 1)
		}
		i = f.next
	}
	return -1
}

// linkTo finds what points at field i: its bucket or the field before it in the chain.
func (d *Dict) linkTo(i int) *uint32 {
	p := &d.heads[d.fields[i].hash&uint32(len(d.heads)-1)]
	for *p != uint32(i+1) {
		p = &d.fields[*p-1].next
	}
	return p
}

func (d *Dict) link(i int) {
	b := &d.heads[d.fields[i].hash&uint32(len(d.heads)-1)]
	d.fields[i].next = *b
	*b = uint32(i + 1)
}

func (d *Dict) rehash(buckets int) {
	d.heads = make([]uint32, buckets)
	for i := range d.fields {
		d.link(i)
	}
}

// Size is what the Dict occupies now.
func (d *Dict) Size() int {
	n := class(dictBase) + class(cap(d.fields)*fieldSize) + 4*len(d.heads) + d.bytes
	if d.times != nil {
		n += d.times.size()
	}
	return n
}

// flatten gives the members of a set; of a hash, each name with its value behind it, and last when they expire.
func (d *Dict) flatten(e *Entry) {
	for i := range d.Len() {
		name, value := d.At(i)
		e.item(name)
		if d.valued {
			e.item(value)
		}
	}
	d.flattenTimes(e)
}

func (d *Dict) restore(items [][]byte) bool {
	if !d.valued {
		for _, member := range items {
			d.Set(member, nil)
		}
		return true
	}
	pairs := items[:len(items)&^1]
	for i := 0; i < len(pairs); i += 2 {
		d.Set(pairs[i], pairs[i+1])
	}
	return len(pairs) == len(items) || d.restoreTimes(pairs, items[len(items)-1])
}

// IsInt tells whether Redis would keep s as an integer: it reads as one and is written as one would be.
func IsInt(s []byte) bool { _, ok := canonicalInt(s); return ok }

func canonicalInt(s []byte) (int64, bool) {
	if len(s) == 0 || len(s) > 20 {
		return 0, false
	}
	digits, limit := s, uint64(1<<63-1)
	if s[0] == '-' {
		digits, limit = s[1:], 1<<63
	}
	if len(digits) == 0 || digits[0] == '0' && len(s) > 1 {
		return 0, false
	}
	var v uint64
	for _, c := range digits {
		if c -= '0'; c > 9 || v > (limit-uint64(c))/10 {
			return 0, false
		}
		v = v*10 + uint64(c)
	}
	if s[0] == '-' {
		return -int64(v), true
	}
	return int64(v), true
}
