package command

import (
	"bytes"
	"math"
	"math/big"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// increxOptions are those of INCREX; 0 stands for an argument that is not there.
type increxOptions struct {
	by, lower, upper int // indices of the values
	float            bool
	saturate, enx    bool
	set              setOptions
}

func (c *Context) parseIncrex() (o increxOptions, ok bool) {
	for i := 2; i < len(c.Args); i++ {
		more := i+1 < len(c.Args)
		at := 0
		switch {
		case c.is(i, "byint") && more && o.by == 0:
			o.by, at = i+1, i+1
		case c.is(i, "byfloat") && more && o.by == 0:
			o.by, at, o.float = i+1, i+1, true
		case c.is(i, "lbound") && more && o.lower == 0:
			o.lower, at = i+1, i+1
		case c.is(i, "ubound") && more && o.upper == 0:
			o.upper, at = i+1, i+1
		case c.is(i, "saturate"):
			o.saturate = true
		case c.is(i, "enx"):
			o.enx = true
		case c.is(i, "persist") && o.set.unit == 0:
			o.set.persist = true
		case o.set.unit == 0 && !o.set.persist && more &&
			(c.is(i, "ex") || c.is(i, "px") || c.is(i, "exat") || c.is(i, "pxat")):
			o.set.unit, at = i, i+1
			o.set.seconds = c.Args[i][0]|0x20 == 'e'
			o.set.relative = len(c.Args[i]) == 2
		default:
			c.fail(errSyntax)
			return o, false
		}
		if at != 0 {
			i = at
		}
	}
	if o.enx && o.set.unit == 0 {
		c.fail(errSyntax)
		return o, false
	}
	return o, true
}

// increx is INCREX of Redis 8.8: an increment within bounds, and an expiry, in one.
func increx(c *Context) {
	o, ok := c.parseIncrex()
	if !ok {
		return
	}
	if o.set.unit != 0 {
		if o.set.at, ok = c.expiry(o.set.unit+1, o.set.seconds, o.set.relative); !ok {
			return
		}
	}
	it, ok := c.forWrite(0, store.KindString)
	switch {
	case !ok:
	case o.float:
		c.increxFloat(o, it)
	default:
		c.increxInt(o, it)
	}
}

// boundsCrossed replies that no value can be within the bounds.
func (c *Context) boundsCrossed() { c.fail("ERR LBOUND can't be greater than UBOUND") }

func (c *Context) increxInt(o increxOptions, it *store.Item) {
	by, lower, upper := int64(1), int64(math.MinInt64), int64(math.MaxInt64)
	for _, arg := range []struct {
		at int
		to *int64
	}{{o.by, &by}, {o.lower, &lower}, {o.upper, &upper}} {
		if arg.at != 0 {
			v, ok := c.intArg(arg.at)
			if !ok {
				return
			}
			*arg.to = v
		}
	}
	if lower > upper {
		c.boundsCrossed()
		return
	}
	old := int64(0)
	if it != nil {
		var ok bool
		if old, ok = resp.ParseInt(it.Value()); !ok {
			c.fail(errNotInteger)
			return
		}
	}
	sum, fits := addInt(old, by)
	if by == 0 {
		sum, fits = old, true
	}
	if !fits || sum < lower || sum > upper {
		if !o.saturate {
			c.pair(old, 0)
			return
		}
		switch {
		case !fits && by > 0:
			sum = upper
		case !fits:
			sum = lower
		default:
			sum = min(max(sum, lower), upper)
		}
	}
	applied := sum - old
	if (applied > 0) != (sum > old) && sum != old {
		c.fail(errOverflow)
		return
	}
	var digits [20]byte
	c.increxStore(o, it, itoa(&digits, sum), "incrby")
	c.pair(sum, applied)
}

func (c *Context) increxFloat(o increxOptions, it *store.Item) {
	by := new(big.Float)
	var lower, upper *big.Float
	for _, arg := range []struct {
		at int
		to **big.Float
	}{{o.by, &by}, {o.lower, &lower}, {o.upper, &upper}} {
		if arg.at != 0 {
			v, ok := parseFloat(c.Args[arg.at])
			if !ok {
				c.fail(errNotFloat)
				return
			}
			*arg.to = v
		}
	}
	if lower != nil && upper != nil && lower.Cmp(upper) > 0 {
		c.boundsCrossed()
		return
	}
	old := new(big.Float)
	if it != nil {
		var ok bool
		if old, ok = parseFloat(it.Value()); !ok {
			c.fail(errNotFloat)
			return
		}
	}
	if old.IsInf() || by.IsInf() {
		c.fail(errNaN)
		return
	}
	sum := new(big.Float).SetPrec(longDouble).Add(old, by)
	low, high := lower != nil && sum.Cmp(lower) < 0, upper != nil && sum.Cmp(upper) > 0
	if low || high {
		if !o.saturate {
			c.floatPair(formatFloat(old), []byte("0"))
			return
		}
		if sum = upper; low {
			sum = lower
		}
	}
	if sum.IsInf() || sum.MantExp(nil) > maxExponent {
		c.fail(errNaN)
		return
	}
	text := formatFloat(sum)
	applied := new(big.Float).SetPrec(longDouble).Sub(sum, old)
	c.increxStore(o, it, text, "incrbyfloat")
	c.floatPair(text, formatFloat(applied))
}

// increxStore stores the new value and its expiry.
func (c *Context) increxStore(o increxOptions, it *store.Item, value []byte, event string) {
	at := int64(0)
	if it != nil {
		at = it.ExpireAt()
	}
	expires := o.set.unit != 0 && (!o.enx || at == 0)
	switch {
	case expires:
		at = o.set.at
	case o.set.persist:
		at = 0
	}
	it = c.tx.Rewrite(&c.keys[0], value, at)
	c.event(EventString, event, 0)
	if expires {
		c.event(EventGeneric, "expire", 0)
		c.dropPast(0, it)
	}
}

func (c *Context) floatPair(a, b []byte) {
	c.array(2)
	for _, v := range [2][]byte{a, b} {
		if c.Proto < 3 {
			c.bulk(v)
			continue
		}
		c.Out = append(c.Out, ',')
		c.Out = append(append(c.Out, v...), '\r', '\n')
	}
}

// formatFloat writes f as Redis does: 17 decimals, trailing zeros cut.
func formatFloat(f *big.Float) []byte {
	text := f.Append(nil, 'f', 17)
	text = bytes.TrimSuffix(bytes.TrimRight(text, "0"), []byte("."))
	if string(text) == "-0" || len(text) == 0 {
		text = []byte("0")
	}
	return text
}
