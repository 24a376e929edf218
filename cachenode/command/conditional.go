package command

import (
	"strconv"

	"github.com/zeebo/xxh3"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// condition is IFEQ, IFNE, IFDEQ or IFDNE of SET and DELEX: what the value, or its digest, has to be like.
type condition struct {
	at     int // index of its word among the arguments, 0 for none
	not    bool
	digest bool
}

// condition reads the word at i. It reports false for any other word.
func (c *Context) condition(i int) (o condition, ok bool) {
	switch {
	case c.is(i, "ifeq"):
		return condition{at: i}, true
	case c.is(i, "ifne"):
		return condition{at: i, not: true}, true
	case c.is(i, "ifdeq"):
		return condition{at: i, digest: true}, true
	case c.is(i, "ifdne"):
		return condition{at: i, not: true, digest: true}, true
	}
	return o, false
}

const digestLen = 16

// checkDigest replies with an error for a digest that is none.
func (c *Context) checkDigest(o condition) bool {
	if !o.digest {
		return true
	}
	d := c.Args[o.at+1]
	ok := len(d) == digestLen
	for _, ch := range d {
		ok = ok && (ch >= '0' && ch <= '9' || ch|0x20 >= 'a' && ch|0x20 <= 'f')
	}
	if !ok {
		c.fail("ERR digest must be exactly 16 hexadecimal characters")
	}
	return ok
}

// holds tells whether the value of it meets the condition. A key that is not there differs from everything.
func (c *Context) holds(o condition, it *store.Item) bool {
	if it == nil {
		return o.not
	}
	want := c.Args[o.at+1]
	same := false
	if o.digest {
		var have [digestLen]byte
		same = EqualFold(want, string(appendDigest(have[:0], it.Value())))
	} else {
		same = string(want) == string(it.Value())
	}
	return same != o.not
}

// appendDigest appends the XXH3 of v as Redis 8.4 writes it.
func appendDigest(b, v []byte) []byte {
	h := xxh3.Hash(v)
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[h>>shift&15])
	}
	return b
}

func digest(c *Context) {
	it, ok := c.lookup(0, store.KindString)
	switch {
	case !ok:
	case it == nil:
		c.null()
	default:
		var have [digestLen]byte
		c.bulk(appendDigest(have[:0], it.Value()))
	}
}

func delex(c *Context) {
	var o condition
	switch len(c.Args) {
	case 2:
		c.deleteIf(c.tx.Peek(&c.keys[0]), true)
		return
	case 4:
		var ok bool
		if o, ok = c.condition(2); !ok {
			c.fail(errSyntax)
			return
		}
	default:
		c.wrongArgs()
		return
	}
	if !c.checkDigest(o) {
		return
	}
	if it, ok := c.forWrite(0, store.KindString); ok {
		c.deleteIf(it, c.holds(o, it))
	}
}

func delifeq(c *Context) {
	if it, ok := c.forWrite(0, store.KindString); ok {
		c.deleteIf(it, c.holds(condition{at: 1}, it))
	}
}

func (c *Context) deleteIf(it *store.Item, condition bool) {
	if it == nil || !condition {
		c.int(0)
		return
	}
	c.tx.Delete(&c.keys[0])
	c.event(EventGeneric, "del", 0)
	c.int(1)
}

// msetexKeys finds the keys of MSETEX numkeys key value …
func msetexKeys(args [][]byte, at []int) []int {
	n, ok := resp.ParseInt(args[1])
	if !ok || n < 1 || n > int64(len(args)-2)/2 {
		return at
	}
	for i := range int(n) {
		at = append(at, 2+2*i)
	}
	return at
}

func msetex(c *Context) {
	n, ok := resp.ParseInt(c.Args[1])
	if !ok || n < 1 {
		c.fail("ERR invalid numkeys value")
		return
	}
	if n > int64(len(c.Args)-2)/2 {
		c.fail("ERR wrong number of key-value pairs")
		return
	}
	o, ok := c.parseSetOptions(2+2*int(n), false)
	if !ok {
		return
	}
	if o.get || o.cond.at != 0 {
		c.fail(errSyntax)
		return
	}
	at := int64(0)
	if o.unit != 0 {
		if at, ok = c.expiry(o.unit+1, o.seconds, o.relative); !ok {
			return
		}
	}
	for i := range c.keys {
		if there := c.tx.Peek(&c.keys[i]) != nil; o.nx && there || o.xx && !there {
			c.int(0)
			return
		}
	}
	for i := range c.keys {
		it := c.tx.Peek(&c.keys[i])
		if it != nil && o.keepTTL {
			it = c.tx.Rewrite(&c.keys[i], c.Args[3+2*i], it.ExpireAt())
		} else {
			it = c.tx.SetString(&c.keys[i], c.Args[3+2*i], at)
		}
		c.event(EventString, "set", i)
		if o.unit != 0 {
			c.event(EventGeneric, "expire", i)
			c.dropPast(i, it)
		}
	}
	c.int(1)
}

// dropPast deletes key i if it was given a time that has passed, as EXAT can.
func (c *Context) dropPast(i int, it *store.Item) {
	if at := it.ExpireAt(); at != 0 && at <= c.NowMilli {
		c.tx.Delete(&c.keys[i])
	}
}

// pair is a reply of two integers.
func (c *Context) pair(a, b int64) {
	c.array(2)
	c.int(a)
	c.int(b)
}

// itoa is an integer as bytes on the stack of the caller.
func itoa(digits *[20]byte, v int64) []byte { return strconv.AppendInt(digits[:0], v, 10) }
