package command

import (
	"bytes"
	"math"
	"math/big"
	"strconv"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

func incr(c *Context) { c.add(1) }
func decr(c *Context) { c.add(-1) }

func incrby(c *Context) {
	if by, ok := c.intArg(2); ok {
		c.add(by)
	}
}

func decrby(c *Context) {
	by, ok := c.intArg(2)
	if !ok {
		return
	}
	if by == math.MinInt64 {
		c.fail("ERR decrement would overflow")
		return
	}
	c.add(-by)
}

func (c *Context) add(by int64) {
	it, ok := c.forWrite(0, store.KindString)
	if !ok {
		return
	}
	var v, at int64
	if it != nil {
		if v, ok = resp.ParseInt(it.Value()); !ok {
			c.fail(errNotInteger)
			return
		}
		at = it.ExpireAt()
	}
	sum, ok := addInt(v, by)
	if !ok {
		c.fail(errOverflow)
		return
	}
	var digits [20]byte
	c.tx.Rewrite(&c.keys[0], strconv.AppendInt(digits[:0], sum, 10), at)
	c.event(EventString, "incrby", 0)
	c.int(sum)
}

func addInt(a, b int64) (sum int64, ok bool) {
	sum = a + b
	return sum, (sum > a) == (b > 0)
}

func incrbyfloat(c *Context) {
	it, ok := c.forWrite(0, store.KindString)
	if !ok {
		return
	}
	value, at := new(big.Float), int64(0)
	if it != nil {
		value, ok = parseFloat(it.Value())
		at = it.ExpireAt()
	}
	by, okBy := parseFloat(c.Args[2])
	if !ok || !okBy {
		c.fail(errNotFloat)
		return
	}
	text, ok := addFloat(value, by)
	if !ok {
		c.fail(errNaN)
		return
	}
	c.tx.Rewrite(&c.keys[0], text, at)
	c.event(EventString, "incrbyfloat", 0)
	c.bulk(text)
}

// longDouble is the mantissa of the x87 format, in which Redis computes: with it 0.1 + 0.2 is 0.3.
const longDouble = 64

// maxExponent is that of the x87 format.
const maxExponent = 16384

// minExponent is that of its smallest number.
const minExponent = -16445

// parseFloat reads what strtold reads without spaces: decimal and hexadecimal numbers and infinities, but no NaN.
func parseFloat(b []byte) (*big.Float, bool) {
	if len(b) == 0 || len(b) > 5<<10 || bytes.ContainsAny(b, "_ ") {
		return nil, false
	}
	digits := bytes.TrimLeft(b, "+-")
	if len(digits) < len(b)-1 {
		return nil, false
	}
	if EqualFold(digits, "inf") || EqualFold(digits, "infinity") {
		return new(big.Float).SetInf(b[0] == '-'), true
	}
	base := 10
	if len(digits) > 1 && digits[0] == '0' && digits[1]|0x20 == 'x' {
		base = 0
	}
	f, _, err := big.ParseFloat(string(b), base, longDouble, big.ToNearestEven)
	if err != nil || f.MantExp(nil) > maxExponent {
		return nil, false
	}
	if f.MantExp(nil) < minExponent || f.Sign() == 0 && !isZero(digits, base == 0) {
		return nil, false
	}
	return f, true
}

// addFloat adds and formats as Redis does: 17 decimals, trailing zeros cut.
func addFloat(a, b *big.Float) (text []byte, ok bool) {
	if a.IsInf() || b.IsInf() {
		return nil, false
	}
	sum := new(big.Float).SetPrec(longDouble).Add(a, b)
	if sum.MantExp(nil) > maxExponent {
		return nil, false
	}
	return formatFloat(sum), true
}
