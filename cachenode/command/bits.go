// HOT PATH

package command

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const (
	errBitOffset = "ERR bit offset is not an integer or out of range"
	errBit       = "ERR bit is not an integer or out of range"
)

func bitSpecs() []Spec {
	return []Spec{
		{Name: "setbit", Arity: 4, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "bitmap", Since: "2.2.0",
			Help: "Sets or clears the bit at an offset of the string value", run: setbit, grow: setbitGrowth},
		{Name: "getbit", Arity: 3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "bitmap", Since: "2.2.0",
			Help: "Returns a bit value by offset", run: getbit},
		{Name: "bitcount", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "bitmap", Since: "2.6.0",
			Help: "Counts the number of set bits in a string", run: bitcount},
		{Name: "bitpos", Arity: -3, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "bitmap", Since: "2.8.7",
			Help: "Finds the first set or clear bit in a string", run: bitpos},
		{Name: "bitop", Arity: -4, Flags: Write | DenyOOM, FirstKey: 2, LastKey: -1, KeyStep: 1, Group: "bitmap", Since: "2.6.0",
			Help: "Performs bitwise operations on multiple strings, and stores the result", run: bitop},
		{Name: "bitfield", Arity: -2, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "bitmap", Since: "3.2.0",
			Help: "Performs arbitrary bitfield integer operations on strings", run: bitfield, grow: bitfieldGrowth},
		{Name: "bitfield_ro", Arity: -2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "bitmap", Since: "6.0.0",
			Help: "Performs arbitrary read-only bitfield integer operations on strings", run: bitfieldReadOnly},
	}
}

// parseBitOffset reads an offset; with #, which only fields of so many bits may have, it counts fields.
func parseBitOffset(b []byte, fieldBits int64) (int64, bool) {
	unit := int64(1)
	if fieldBits > 0 && len(b) > 0 && b[0] == '#' {
		b, unit = b[1:], fieldBits
	}
	v, ok := resp.ParseInt(b)
	if !ok || v < 0 || v > maxString*8 || v*unit>>3 >= maxString {
		return 0, false
	}
	return v * unit, true
}

func setbit(c *Context) {
	offset, ok := parseBitOffset(c.Args[2], 0)
	if !ok {
		c.fail(errBitOffset)
		return
	}
	on, ok := resp.ParseInt(c.Args[3])
	if !ok || on != 0 && on != 1 {
		c.fail(errBit)
		return
	}
	it, ok := c.forWrite(0, store.KindString)
	if !ok {
		return
	}
	at, mask := int(offset>>3), byte(0x80)>>(offset&7)
	var was []byte
	if it != nil {
		was = it.Value()
	}
	set := at < len(was) && was[at]&mask != 0
	if at >= len(was) || set != (on == 1) {
		v := c.tx.Resize(&c.keys[0], max(len(was), at+1)).Value()
		v[at] &^= mask
		if on == 1 {
			v[at] |= mask
		}
		c.event(EventString, "setbit", 0)
	}
	c.bool(set)
}

func setbitGrowth(c *Context) int64 {
	if offset, ok := parseBitOffset(c.Args[2], 0); ok {
		return store.ItemGrowth(int(offset>>3) + 1)
	}
	return 0
}

func getbit(c *Context) {
	offset, ok := parseBitOffset(c.Args[2], 0)
	if !ok {
		c.fail(errBitOffset)
		return
	}
	v, ok := c.stringAt(0)
	if ok {
		at := int(offset >> 3)
		c.bool(at < len(v) && v[at]&(0x80>>(offset&7)) != 0)
	}
}

// stringAt is the string at key i, nil for a key that is not there.
func (c *Context) stringAt(i int) (v []byte, ok bool) {
	it, ok := c.lookup(i, store.KindString)
	if it != nil {
		v = it.Value()
	}
	return v, ok
}

// bitRange is a range of the bits of a string: from first to before end.
type bitRange struct {
	first, end int64
	open       bool // it has no end of its own
}

// bitRange reads the range, start, end and unit, that arguments from i on give within a string of n bytes. BITCOUNT looks at
// the unit last, where BITPOS looks at the end last. ok is false when an error was replied.
func (c *Context) bitRange(i, n int, counts bool) (r bitRange, ok bool) {
	total := int64(n) * 8
	r = bitRange{end: total, open: true}
	left := len(c.Args) - i
	if left == 0 {
		return r, true
	}
	if left > 3 || counts && left == 1 {
		c.fail(errSyntax)
		return r, false
	}
	start, ok := c.intArg(i)
	if !ok {
		return r, false
	}
	unit := int64(8)
	if left == 3 && !counts {
		if unit, ok = c.bitUnit(i + 2); !ok {
			return r, false
		}
	}
	end := int64(math.MaxInt64)
	if left > 1 {
		if end, ok = c.intArg(i + 1); !ok {
			return r, false
		}
		r.open = false
	}
	if counts && start < 0 && end < 0 && start > end {
		return bitRange{}, true // cut to the string they might meet
	}
	if left == 3 && counts {
		if unit, ok = c.bitUnit(i + 2); !ok {
			return r, false
		}
	}
	units := total / unit
	if start < 0 {
		start = max(start+units, 0)
	}
	if end < 0 {
		end = max(end+units, 0)
	}
	end = min(end, units-1)
	if start > end {
		r.first, r.end = 0, 0
		return r, true
	}
	r.first, r.end = start*unit, (end+1)*unit
	return r, true
}

// bitUnit reads argument i as what a range counts, in bits.
func (c *Context) bitUnit(i int) (int64, bool) {
	switch {
	case c.is(i, "bit"):
		return 1, true
	case c.is(i, "byte"):
		return 8, true
	}
	c.fail(errSyntax)
	return 0, false
}

func bitcount(c *Context) {
	v, ok := c.stringAt(0)
	if !ok {
		return
	}
	if v == nil && !c.there(0) {
		c.int(0)
		return
	}
	r, ok := c.bitRange(2, len(v), true)
	if ok {
		c.int(countBits(v, r))
	}
}

// there tells whether key i holds anything.
func (c *Context) there(i int) bool { return c.tx.Peek(&c.keys[i]) != nil }

func countBits(v []byte, r bitRange) (n int64) {
	if r.first >= r.end {
		return 0
	}
	from, to := r.first>>3, (r.end-1)>>3
	head, tail := byte(0xff)>>(r.first&7), byte(0xff)<<(7-(r.end-1)&7)
	if from == to {
		return int64(bits.OnesCount8(v[from] & head & tail))
	}
	n = int64(bits.OnesCount8(v[from]&head) + bits.OnesCount8(v[to]&tail))
	v = v[from+1 : to]
	for ; len(v) >= 8; v = v[8:] {
		n += int64(bits.OnesCount64(binary.LittleEndian.Uint64(v)))
	}
	for _, b := range v {
		n += int64(bits.OnesCount8(b))
	}
	return n
}

func bitpos(c *Context) {
	bit, ok := c.intArg(2)
	if !ok {
		return
	}
	if bit != 0 && bit != 1 {
		c.fail("ERR The bit argument must be 1 or 0.")
		return
	}
	v, ok := c.stringAt(0)
	if !ok {
		return
	}
	if v == nil && !c.there(0) {
		c.int(-bit)
		return
	}
	r, ok := c.bitRange(3, len(v), false)
	if !ok {
		return
	}
	at := findBit(v, r, bit == 1)
	if at < 0 && bit == 0 && r.open && r.first < r.end {
		at = int64(len(v)) * 8 // zeros follow
	}
	c.int(at)
}

// findBit is the offset of the first such bit in the range, -1 when there is none.
func findBit(v []byte, r bitRange, one bool) int64 {
	skip := byte(0xff) // bytes in which there is nothing to find
	if one {
		skip = 0
	}
	word := uint64(skip) * 0x0101010101010101
	for at := r.first; at < r.end; {
		if at&7 == 0 {
			if r.end-at >= 64 && binary.LittleEndian.Uint64(v[at>>3:]) == word {
				at += 64
				continue
			}
			if v[at>>3] == skip {
				at += 8
				continue
			}
		}
		b := v[at>>3]
		if (b&(0x80>>(at&7)) != 0) == one {
			return at
		}
		at++
	}
	return -1
}

func bitop(c *Context) {
	var op byte
	switch {
	case c.is(1, "and"):
		op = '&'
	case c.is(1, "or"):
		op = '|'
	case c.is(1, "xor"):
		op = '^'
	case c.is(1, "not"):
		op = '~'
	default:
		c.fail(errSyntax)
		return
	}
	if op == '~' && len(c.Args) != 4 {
		c.fail("ERR BITOP NOT must be called with a single source key.")
		return
	}
	longest := 0
	for i := 1; i < len(c.keys); i++ {
		v, ok := c.stringAt(i)
		if !ok {
			return
		}
		longest = max(longest, len(v))
	}
	if longest == 0 {
		if c.tx.Delete(&c.keys[0]) {
			c.event(EventGeneric, "del", 0)
		}
		c.int(0)
		return
	}
	result := make([]byte, longest)
	for i := 1; i < len(c.keys); i++ {
		v, _ := c.stringAt(i)
		combineBits(result, v, op, i == 1)
	}
	c.tx.SetString(&c.keys[0], result, 0)
	c.tx.Resize(&c.keys[0], longest) // Redis calls it raw
	c.event(EventString, "set", 0)
	c.int(int64(longest))
}

// combineBits works v, which zeros follow, into result.
func combineBits(result, v []byte, op byte, first bool) {
	switch {
	case first && op == '~':
		for i := range v {
			result[i] = ^v[i]
		}
	case first:
		copy(result, v)
	case op == '&':
		for i := range v {
			result[i] &= v[i]
		}
		clear(result[len(v):])
	case op == '|':
		for i := range v {
			result[i] |= v[i]
		}
	default:
		for i := range v {
			result[i] ^= v[i]
		}
	}
}
