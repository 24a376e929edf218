package command

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// hash finds or makes the hash of the first key for writing.
func (c *Context) hash() (it *store.Item, ok bool) {
	it, ok = c.forWrite(0, store.KindHash)
	if ok && it == nil {
		it = c.tx.Create(&c.keys[0], store.KindHash)
	}
	return it, ok
}

func hset(c *Context) {
	if added, ok := c.setFields(); ok {
		c.int(added)
	}
}

func hmset(c *Context) {
	if _, ok := c.setFields(); ok {
		c.ok()
	}
}

func (c *Context) setFields() (added int64, ok bool) {
	if len(c.Args)%2 == 1 {
		c.wrongArgs()
		return 0, false
	}
	it, ok := c.hash()
	if !ok {
		return 0, false
	}
	for i := 2; i < len(c.Args); i += 2 {
		if it.Dict().Set(c.Args[i], c.Args[i+1]) {
			added++
		}
	}
	c.tx.Update(&c.keys[0], it)
	c.event(EventHash, "hset", 0)
	return added, true
}

func hsetnx(c *Context) {
	it, ok := c.forWrite(0, store.KindHash)
	if !ok {
		return
	}
	if it == nil {
		it = c.tx.Create(&c.keys[0], store.KindHash)
	} else if _, there := it.Dict().Get(c.Args[2]); there {
		c.int(0)
		return
	}
	it.Dict().Set(c.Args[2], c.Args[3])
	c.tx.Update(&c.keys[0], it)
	c.event(EventHash, "hset", 0)
	c.int(1)
}

// field looks one field up; v is nil and there false when key or field are missing.
func (c *Context) field() (v []byte, there, ok bool) {
	it, ok := c.lookup(0, store.KindHash)
	if it == nil || !ok {
		return nil, false, ok
	}
	v, there = it.Dict().Get(c.Args[2])
	return v, there, true
}

func hget(c *Context) {
	v, there, ok := c.field()
	switch {
	case !ok:
	case there:
		c.bulk(v)
	default:
		c.null()
	}
}

func hexists(c *Context) {
	if _, there, ok := c.field(); ok {
		c.bool(there)
	}
}

func hstrlen(c *Context) {
	if v, _, ok := c.field(); ok {
		c.int(int64(len(v)))
	}
}

func hmget(c *Context) {
	it, ok := c.lookup(0, store.KindHash)
	if !ok {
		return
	}
	c.array(len(c.Args) - 2)
	for _, name := range c.Args[2:] {
		if it != nil {
			if v, there := it.Dict().Get(name); there {
				c.bulk(v)
				continue
			}
		}
		c.null()
	}
}

func hdel(c *Context) { c.remove(store.KindHash) }

// remove deletes fields or members.
func (c *Context) remove(kind store.Kind) {
	it, ok := c.forWrite(0, kind)
	if !ok {
		return
	}
	n := int64(0)
	if it != nil {
		for _, name := range c.Args[2:] {
			if it.Dict().Delete(name) {
				n++
			}
		}
		if n > 0 {
			if kind == store.KindHash {
				c.event(EventHash, "hdel", 0)
			} else {
				c.event(EventSet, "srem", 0)
			}
			c.updateLess(it)
		}
	}
	c.int(n)
}

// updateLess books that elements of the first key's collection were removed, perhaps the last.
func (c *Context) updateLess(it *store.Item) {
	empty := it.Collection().Len() == 0
	c.tx.Update(&c.keys[0], it)
	if empty {
		c.event(EventGeneric, "del", 0)
	}
}

func hlen(c *Context) { c.length(store.KindHash) }

func (c *Context) length(kind store.Kind) {
	it, ok := c.lookup(0, kind)
	switch {
	case !ok:
	case it == nil:
		c.int(0)
	default:
		c.int(int64(it.Dict().Len()))
	}
}

func hgetall(c *Context) {
	it, ok := c.lookup(0, store.KindHash)
	if !ok {
		return
	}
	n := 0
	if it != nil {
		n = it.Dict().Len()
	}
	c.Out = resp.AppendMap(c.Out, n, c.Proto)
	for i := range n {
		name, value := it.Dict().At(i)
		c.bulk(name)
		c.bulk(value)
	}
}

func hkeys(c *Context) { c.halves(true) }
func hvals(c *Context) { c.halves(false) }

func (c *Context) halves(names bool) {
	it, ok := c.lookup(0, store.KindHash)
	if !ok {
		return
	}
	n := 0
	if it != nil {
		n = it.Dict().Len()
	}
	c.array(n)
	for i := range n {
		name, value := it.Dict().At(i)
		if names {
			c.bulk(name)
		} else {
			c.bulk(value)
		}
	}
}

func hincrby(c *Context) {
	by, ok := c.intArg(3)
	if !ok {
		return
	}
	it, ok := c.forWrite(0, store.KindHash)
	if !ok {
		return
	}
	v := int64(0)
	if it != nil {
		if old, there := it.Dict().Get(c.Args[2]); there {
			if v, ok = resp.ParseInt(old); !ok {
				c.fail("ERR hash value is not an integer")
				return
			}
		}
	}
	sum, ok := addInt(v, by)
	if !ok {
		c.fail(errOverflow)
		return
	}
	var digits [20]byte
	c.setField(it, strconv.AppendInt(digits[:0], sum, 10))
	c.event(EventHash, "hincrby", 0)
	c.int(sum)
}

func hincrbyfloat(c *Context) {
	by, ok := parseFloat(c.Args[3])
	if !ok {
		c.fail(errNotFloat)
		return
	}
	if by.IsInf() {
		c.fail("ERR value is NaN or Infinity")
		return
	}
	it, ok := c.forWrite(0, store.KindHash)
	if !ok {
		return
	}
	value := new(big.Float)
	if it != nil {
		if old, there := it.Dict().Get(c.Args[2]); there {
			if value, ok = parseFloat(old); !ok {
				c.fail("ERR hash value is not a float")
				return
			}
		}
	}
	text, ok := addFloat(value, by)
	if !ok {
		c.fail(errNaN)
		return
	}
	c.setField(it, text)
	c.event(EventHash, "hincrbyfloat", 0)
	c.bulk(text)
}

// setField stores one field in it, or in a new hash when it is nil. When the field expires stays as it is.
func (c *Context) setField(it *store.Item, value []byte) {
	if it == nil {
		it = c.tx.Create(&c.keys[0], store.KindHash)
	}
	d, at := it.Dict(), int64(0)
	if i := d.Find(c.Args[2]); i >= 0 {
		at = d.FieldExpireAt(i)
	}
	if d.Set(c.Args[2], value); at != 0 {
		d.ExpireField(d.Find(c.Args[2]), at)
	}
	c.tx.Update(&c.keys[0], it)
}

func hrandfield(c *Context) {
	if len(c.Args) == 2 {
		it, ok := c.lookup(0, store.KindHash)
		switch {
		case !ok:
		case it == nil:
			c.null()
		default:
			name, _ := it.Dict().At(rand.IntN(it.Dict().Len()))
			c.bulk(name)
		}
		return
	}
	count, ok := c.countArg(2)
	if !ok {
		return
	}
	values := len(c.Args) == 4
	if len(c.Args) > 4 || values && !c.is(3, "withvalues") {
		c.fail(errSyntax)
		return
	}
	if values && (count < -math.MaxInt64/2 || count > math.MaxInt64/2) {
		c.fail("ERR value is out of range")
		return
	}
	it, ok := c.lookup(0, store.KindHash)
	if !ok {
		return
	}
	picks := draw(it, count)
	if values && c.Proto < 3 {
		c.array(2 * len(picks))
	} else {
		c.array(len(picks))
	}
	for _, i := range picks {
		name, value := it.Dict().At(i)
		if values && c.Proto >= 3 {
			c.array(2)
		}
		c.bulk(name)
		if values {
			c.bulk(value)
		}
	}
}

// countArg reads the count of HRANDFIELD and SRANDMEMBER, which may be negative.
func (c *Context) countArg(i int) (int64, bool) {
	n, ok := c.intArg(i)
	if ok && n == math.MinInt64 {
		c.fail("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")
		return 0, false
	}
	return n, ok
}

// draw picks fields at random: count different ones, or -count with repetitions.
func draw(it *store.Item, count int64) []int {
	if it == nil {
		return nil
	}
	return drawn(it.Dict().Len(), count)
}
