package command

import (
	"math"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// overflow says what becomes of a value that a field cannot hold.
type overflow uint8

const (
	overflowWrap overflow = iota
	overflowSaturate
	overflowFail
)

// fieldOp is one operation of BITFIELD.
type fieldOp struct {
	verb     byte // g, s, i
	signed   bool
	bits     int
	at       int64
	value    int64
	overflow overflow
}

func bitfield(c *Context)         { c.bitfield(false) }
func bitfieldReadOnly(c *Context) { c.bitfield(true) }

func (c *Context) bitfield(readOnly bool) {
	ops, end, ok := c.parseFieldOps()
	if !ok {
		return
	}
	if end == 0 {
		v, ok := c.stringAt(0)
		if !ok {
			return
		}
		c.array(len(ops))
		for i := range ops {
			c.int(ops[i].read(v))
		}
		return
	}
	if readOnly {
		c.fail("ERR BITFIELD_RO only supports the GET subcommand")
		return
	}
	it, ok := c.forWrite(0, store.KindString)
	if !ok {
		return
	}
	var v []byte
	if it != nil {
		v = it.Value()
	}
	changed := false
	if need := int((end + 7) / 8); need > len(v) {
		v, changed = c.tx.Resize(&c.keys[0], need).Value(), true
	}
	c.array(len(ops))
	for i := range ops {
		op := &ops[i]
		old := op.read(v)
		if op.verb == 'g' {
			c.int(old)
			continue
		}
		fresh, over := op.next(old)
		if over && op.overflow == overflowFail {
			c.null()
			continue
		}
		if op.verb == 'i' {
			c.int(fresh)
		} else {
			c.int(old)
		}
		if fresh != old {
			changed = true
			op.write(v, fresh)
		}
	}
	if changed {
		c.tx.Resize(&c.keys[0], len(v)) // books what was written in place
		c.event(EventString, "setbit", 0)
	}
}

// parseFieldOps reads the operations. end is how many bits the string must have to be written to, 0 if it is only read.
func (c *Context) parseFieldOps() (ops []fieldOp, end int64, ok bool) {
	mode := overflowWrap
	for i := 2; i < len(c.Args); {
		left := len(c.Args) - i - 1
		op := fieldOp{overflow: mode}
		switch {
		case c.is(i, "get") && left >= 2:
			op.verb = 'g'
		case c.is(i, "set") && left >= 3:
			op.verb = 's'
		case c.is(i, "incrby") && left >= 3:
			op.verb = 'i'
		case c.is(i, "overflow") && left >= 1:
			switch {
			case c.is(i+1, "wrap"):
				mode = overflowWrap
			case c.is(i+1, "sat"):
				mode = overflowSaturate
			case c.is(i+1, "fail"):
				mode = overflowFail
			default:
				c.fail("ERR Invalid OVERFLOW type specified")
				return nil, 0, false
			}
			i += 2
			continue
		default:
			c.fail(errSyntax)
			return nil, 0, false
		}
		if !op.parseType(c.Args[i+1]) {
			c.fail("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.")
			return nil, 0, false
		}
		if op.at, ok = parseBitOffset(c.Args[i+2], int64(op.bits)); !ok {
			c.fail(errBitOffset)
			return nil, 0, false
		}
		i += 3
		if op.verb != 'g' {
			if op.value, ok = c.intArg(i); !ok {
				return nil, 0, false
			}
			i++
			end = max(end, op.at+int64(op.bits))
		}
		ops = append(ops, op)
	}
	return ops, end, true
}

// parseType reads i1 to i64 and u1 to u63.
func (op *fieldOp) parseType(b []byte) bool {
	if len(b) < 2 || b[0] != 'i' && b[0] != 'u' {
		return false
	}
	op.signed = b[0] == 'i'
	n, ok := resp.ParseInt(b[1:])
	if !ok || n < 1 || n > 64 || n == 64 && !op.signed {
		return false
	}
	op.bits = int(n)
	return true
}

// read gives the field; zeros follow the string.
func (op *fieldOp) read(v []byte) int64 {
	u := uint64(0)
	for i := range int64(op.bits) {
		at := op.at + i
		u <<= 1
		if at>>3 < int64(len(v)) && v[at>>3]&(0x80>>(at&7)) != 0 {
			u |= 1
		}
	}
	return op.fit(u)
}

func (op *fieldOp) write(v []byte, value int64) {
	for i := range int64(op.bits) {
		at := op.at + i
		mask := byte(0x80) >> (at & 7)
		v[at>>3] &^= mask
		if uint64(value)>>(int64(op.bits)-1-i)&1 != 0 {
			v[at>>3] |= mask
		}
	}
}

// fit cuts a number to the field's bits, and extends its sign.
func (op *fieldOp) fit(u uint64) int64 {
	shift := 64 - op.bits
	if op.signed {
		return int64(u<<shift) >> shift
	}
	return int64(u << shift >> shift)
}

// next is what the operation makes of the field, and whether that had to be bent to fit.
func (op *fieldOp) next(old int64) (value int64, over bool) {
	base, by := old, op.value
	if op.verb == 's' {
		base, by = op.value, 0
	}
	low, high := int64(0), int64(math.MaxInt64)>>(63-min(op.bits, 63))
	if op.signed {
		high = math.MaxInt64 >> (64 - op.bits)
		low = -high - 1
	}
	// A value to be set that is negative is a very large one for an unsigned field. The room above a signed one wraps around
	// for values that are very small, as in Redis: they count as too high.
	tooHigh := base > high || !op.signed && base < 0 || by > 0 && base > high-by || op.signed && op.bits < 64 && by > high-base
	tooLow := !tooHigh && (base < low || by < 0 && (base >= 0 && base+by < low || base < 0 && base < low-by))
	if !tooHigh && !tooLow {
		return base + by, false
	}
	switch {
	case op.overflow == overflowWrap:
		return op.fit(uint64(base) + uint64(by)), true
	case tooHigh:
		return high, true
	}
	return low, true
}

func bitfieldGrowth(c *Context) int64 {
	most := int64(0)
	for _, a := range c.Args[2:] {
		if at, ok := parseBitOffset(a, 64); ok {
			most = max(most, at)
		}
	}
	return store.ItemGrowth(int(most>>3) + 9)
}
