package store

import (
	"bytes"
	"hash/maphash"
	"unsafe"
)

// Dict holds the fields of a hash or the members of a set (fields with empty values). Fields are numbered without gaps, the last
// one takes the place of one that goes, so that any one can be drawn at random; from nine on, a linear hash finds them by name.
type Dict struct {
	seed   maphash.Seed
	fields vector[field]
	index  linear // of number+1; without buckets while there are few
	bytes  int    // of fields' data, by class
	times  *fieldTimes

	valued   bool // a hash
	encoding encoding
}

type field struct {
	data    unsafe.Pointer // name and value, in an allocation of their class without pointers
	hash    uint32
	next    uint32 // number+1
	nameLen uint32
	valLen  uint32
}

func (f *field) name() []byte { return unsafe.Slice((*byte)(f.data), f.nameLen) }

func (f *field) value() []byte {
	return unsafe.Slice((*byte)(f.data), f.nameLen+f.valLen)[f.nameLen:]
}

func (f *field) class() int { return class(int(f.nameLen + f.valLen)) }

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
func (d *Dict) Len() int { return d.fields.len() }

// At returns field i, 0 ≤ i < Len; the slices are valid while the shard is held. Any change may reorder fields.
func (d *Dict) At(i int) (name, value []byte) {
	f := d.fields.at(i)
	return f.name(), f.value()
}

// Get returns the value of name, valid while the shard is held.
func (d *Dict) Get(name []byte) (value []byte, ok bool) {
	if i := d.find(d.hashOf(name), name); i >= 0 {
		return d.fields.at(i).value(), true
	}
	return nil, false
}

// Set stores a copy of name and value, not to expire; added tells whether name is new.
func (d *Dict) Set(name, value []byte) (added bool) {
	hash := d.hashOf(name)
	size := class(len(name) + len(value))
	if i := d.find(hash, name); i >= 0 {
		f := d.fields.at(i)
		if was := f.class(); size != was {
			d.bytes += size - was
			f.data = newBytes(size)
			copy(f.name(), name)
		}
		f.valLen = uint32(len(value))
		copy(f.value(), value)
		d.persist(i)
		d.packed(name, value)
		return false
	}
	f := field{data: newBytes(size), hash: hash, nameLen: uint32(len(name)), valLen: uint32(len(value))}
	copy(f.name(), name)
	copy(f.value(), value)
	d.fields.push(f)
	d.bytes += size
	if d.times != nil {
		d.times.slots.push(timeSlot{})
	}
	switch n := d.Len(); {
	case d.indexed():
		if n > d.index.buckets() {
			split(&d.index, dictChains{d})
		}
		d.link(n - 1)
	case n > dictLinear:
		for range 2 * dictLinear {
			split(&d.index, dictChains{d})
		}
		for i := range n {
			d.link(i)
		}
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
	d.bytes -= d.fields.at(i).class()
	if d.times != nil {
		if d.times.remove(i); d.times.heap.len() == 0 {
			d.times = nil
		}
	}
	last := d.Len() - 1
	if d.indexed() {
		*d.linkTo(i) = d.fields.at(i).next
		if i != last {
			*d.linkTo(last) = uint32(i + 1)
		}
	}
	*d.fields.at(i) = *d.fields.at(last)
	d.fields.pop()
	if last == 0 {
		d.index = linear{}
	}
	for range 2 { // to keep up with half as many fields
		if n := d.index.buckets(); n > 2*dictLinear && last < n/2 {
			merge(&d.index, dictChains{d})
		}
	}
}

// indexed tells whether fields are found by the index, which stays once it is there.
func (d *Dict) indexed() bool { return d.index.buckets() > 0 }

// Scan visits the fields of some buckets, about count fields, and returns the cursor to go on with, 0 at the end. It has
// the guarantees of Redis's SCAN. Small collections come whole. visit must not change the Dict.
func (d *Dict) Scan(cursor uint64, count int, visit func(name, value []byte)) (next uint64) {
	if !d.indexed() {
		for i := range d.Len() {
			visit(d.At(i))
		}
		return 0
	}
	for buckets := 0; count > 0 && buckets < 10*count; buckets++ {
		for i := *d.index.head(uint32(cursor)); i != 0; i = d.fields.at(int(i - 1)).next {
			visit(d.At(int(i - 1)))
			count--
		}
		if cursor = d.index.after(cursor); cursor == 0 {
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
		} else if d.Len() > maxIntset {
			d.encoding = encodingTable
		}
	}
	if d.encoding == encodingListpack &&
		(d.Len() > maxListpack || len(name) > maxPacked || len(value) > maxPacked) {
		d.encoding = encodingTable
	}
}

func (d *Dict) hashOf(name []byte) uint32 { return uint32(maphash.Bytes(d.seed, name)) }

func (d *Dict) find(hash uint32, name []byte) int {
	if !d.indexed() {
		for i := range d.fields.first {
			if f := &d.fields.first[i]; f.hash == hash && bytes.Equal(f.name(), name) {
				return i
			}
		}
		return -1
	}
	for i := *d.index.head(hash); i != 0; {
		f := d.fields.at(int(i - 1))
		if f.hash == hash && bytes.Equal(f.name(), name) {
			return int(i - 1)
		}
		i = f.next
	}
	return -1
}

// linkTo finds what points at field i: its bucket or the field before it in the chain.
func (d *Dict) linkTo(i int) *uint32 {
	p := d.index.head(d.fields.at(i).hash)
	for *p != uint32(i+1) {
		p = &d.fields.at(int(*p - 1)).next
	}
	return p
}

func (d *Dict) link(i int) {
	f := d.fields.at(i)
	b := d.index.head(f.hash)
	f.next = *b
	*b = uint32(i + 1)
}

// dictChains are the chains of a Dict's index.
type dictChains struct{ d *Dict }

func (c dictChains) hash(i uint32) uint32  { return c.d.fields.at(int(i - 1)).hash }
func (c dictChains) next(i uint32) *uint32 { return &c.d.fields.at(int(i - 1)).next }

// Size is what the Dict occupies now.
func (d *Dict) Size() int {
	n := class(dictBase) + d.fields.size() + d.index.heads.size() + d.bytes
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
