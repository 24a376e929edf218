// HOT PATH

package command

import (
	"math"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

func get(c *Context) {
	switch it := c.read(0); {
	case it == nil:
		c.event(EventMissed, "keymiss", 0)
		c.null()
	case !isString(it):
		c.fail(errWrongType)
	default:
		c.bulk(it.Value())
	}
}

// setOptions are those of SET and GETEX.
type setOptions struct {
	nx, xx, get, keepTTL, persist bool

	cond condition

	unit     int // index of the expiry's word among the arguments, 0 for none
	relative bool
	seconds  bool

	at int64 // the point in time, where it has been worked out
}

// parseSetOptions reads the options from argument i on.
func (c *Context) parseSetOptions(i int, getex bool) (o setOptions, ok bool) {
	for ; i < len(c.Args); i++ {
		expiry := false
		switch {
		case !getex && c.is(i, "nx") && !o.xx && o.cond.at == 0:
			o.nx = true
		case !getex && c.is(i, "xx") && !o.nx && o.cond.at == 0:
			o.xx = true
		case !getex && c.is(i, "get"):
			o.get = true
		case !getex && c.is(i, "keepttl") && !o.persist && o.unit == 0:
			o.keepTTL = true
		case getex && c.is(i, "persist") && o.unit == 0:
			o.persist = true
		case c.is(i, "ex"):
			expiry, o.seconds, o.relative = true, true, true
		case c.is(i, "px"):
			expiry, o.seconds, o.relative = true, false, true
		case c.is(i, "exat"):
			expiry, o.seconds, o.relative = true, true, false
		case c.is(i, "pxat"):
			expiry, o.seconds, o.relative = true, false, false
		default:
			cond, ok := c.condition(i)
			if !ok || getex || o.nx || o.xx || o.cond.at != 0 || i+1 == len(c.Args) {
				c.fail(errSyntax)
				return o, false
			}
			o.cond = cond
			i++
		}
		if expiry {
			if o.unit != 0 || o.keepTTL || o.persist || i+1 == len(c.Args) {
				c.fail(errSyntax)
				return o, false
			}
			o.unit = i
			i++
		}
	}
	return o, true
}

// expiry turns argument i into a point in time.
func (c *Context) expiry(i int, seconds, relative bool) (at int64, ok bool) {
	v, ok := c.intArg(i)
	if !ok {
		return 0, false
	}
	if v <= 0 || seconds && v > math.MaxInt64/1000 {
		return 0, c.badExpiry()
	}
	if seconds {
		v *= 1000
	}
	if relative {
		if v > math.MaxInt64-c.NowMilli {
			return 0, c.badExpiry()
		}
		v += c.NowMilli
	}
	return v, true
}

func (c *Context) badExpiry() bool {
	c.Out = append(c.Out, "-ERR invalid expire time in '"...)
	c.Out = append(c.Out, c.spec.Name...)
	c.Out = append(c.Out, "' command\r\n"...)
	return false
}

func set(c *Context) {
	if len(c.Args) == 3 {
		c.tx.SetString(&c.keys[0], c.Args[2], 0)
		c.event(EventString, "set", 0)
		c.ok()
		return
	}
	o, ok := c.parseSetOptions(3, false)
	if !ok {
		return
	}
	at := int64(0)
	if o.unit != 0 {
		if at, ok = c.expiry(o.unit+1, o.seconds, o.relative); !ok {
			return
		}
	}
	it := c.tx.Peek(&c.keys[0])
	if o.cond.at != 0 {
		if !c.checkDigest(o.cond) {
			return
		}
		if it, ok = c.forWrite(0, store.KindString); !ok {
			return
		}
	}
	if o.get {
		if it, ok = c.lookup(0, store.KindString); !ok {
			return
		}
		if it == nil {
			c.null()
		} else {
			c.bulk(it.Value())
		}
	}
	if o.nx && it != nil || o.xx && it == nil || o.cond.at != 0 && !c.holds(o.cond, it) {
		if !o.get {
			c.null()
		}
		return
	}
	if o.keepTTL && it != nil {
		c.tx.Rewrite(&c.keys[0], c.Args[2], it.ExpireAt())
	} else {
		c.tx.SetString(&c.keys[0], c.Args[2], at)
	}
	c.event(EventString, "set", 0)
	if o.unit != 0 {
		c.event(EventGeneric, "expire", 0)
	}
	if !o.get {
		c.ok()
	}
}

func setnx(c *Context) {
	if c.tx.Peek(&c.keys[0]) != nil {
		c.int(0)
		return
	}
	c.tx.SetString(&c.keys[0], c.Args[2], 0)
	c.event(EventString, "set", 0)
	c.int(1)
}

func setex(c *Context)  { c.setWithExpiry(true) }
func psetex(c *Context) { c.setWithExpiry(false) }

func (c *Context) setWithExpiry(seconds bool) {
	at, ok := c.expiry(2, seconds, true)
	if !ok {
		return
	}
	c.tx.SetString(&c.keys[0], c.Args[3], at)
	c.event(EventString, "set", 0)
	c.event(EventGeneric, "expire", 0)
	c.ok()
}

func getset(c *Context) {
	it, ok := c.lookup(0, store.KindString)
	if !ok {
		return
	}
	if it == nil {
		c.null()
	} else {
		c.bulk(it.Value())
	}
	c.tx.SetString(&c.keys[0], c.Args[2], 0)
	c.event(EventString, "set", 0)
}

func getdel(c *Context) {
	it, ok := c.lookup(0, store.KindString)
	switch {
	case !ok:
	case it == nil:
		c.null()
	default:
		c.bulk(it.Value())
		c.tx.Delete(&c.keys[0])
		c.event(EventGeneric, "del", 0)
	}
}

func getex(c *Context) {
	o, ok := c.parseSetOptions(2, true)
	if !ok {
		return
	}
	it, ok := c.lookup(0, store.KindString)
	if !ok {
		return
	}
	if it == nil {
		c.null()
		return
	}
	at := int64(0)
	if o.unit != 0 {
		if at, ok = c.expiry(o.unit+1, o.seconds, o.relative); !ok {
			return
		}
	}
	c.bulk(it.Value())
	if o.unit != 0 || o.persist && it.ExpireAt() != 0 {
		c.tx.Expire(&c.keys[0], it, at)
		switch {
		case o.persist:
			c.event(EventGeneric, "persist", 0)
		case at <= c.NowMilli:
			c.event(EventGeneric, "del", 0)
		default:
			c.event(EventGeneric, "expire", 0)
		}
	}
}

func mget(c *Context) {
	c.array(len(c.keys))
	for i := range c.keys {
		if it := c.read(i); it != nil && isString(it) {
			c.bulk(it.Value())
		} else {
			if it == nil {
				c.event(EventMissed, "keymiss", i)
			}
			c.null()
		}
	}
}

func mset(c *Context) {
	if len(c.Args)%2 == 0 {
		c.wrongArgs()
		return
	}
	c.setAll()
	c.ok()
}

func msetnx(c *Context) {
	if len(c.Args)%2 == 0 {
		c.wrongArgs()
		return
	}
	for i := range c.keys {
		if c.tx.Peek(&c.keys[i]) != nil {
			c.int(0)
			return
		}
	}
	c.setAll()
	c.int(1)
}

func (c *Context) setAll() {
	for i := range c.keys {
		c.tx.SetString(&c.keys[i], c.Args[2+2*i], 0)
		c.event(EventString, "set", i)
	}
}

func strlen(c *Context) {
	it, ok := c.lookup(0, store.KindString)
	switch {
	case !ok:
	case it == nil:
		c.int(0)
	default:
		c.int(int64(len(it.Value())))
	}
}

func appendTo(c *Context) {
	it, ok := c.forWrite(0, store.KindString)
	if !ok {
		return
	}
	if it == nil {
		c.tx.SetString(&c.keys[0], c.Args[2], 0)
		c.event(EventString, "append", 0)
		c.int(int64(len(c.Args[2])))
		return
	}
	was := len(it.Value())
	total := was + len(c.Args[2])
	if total > maxString {
		c.fail(errTooLong)
		return
	}
	it = c.tx.Resize(&c.keys[0], total)
	copy(it.Value()[was:], c.Args[2])
	c.event(EventString, "append", 0)
	c.int(int64(total))
}

func getrange(c *Context) {
	start, ok := c.intArg(2)
	if !ok {
		return
	}
	end, ok := c.intArg(3)
	if !ok {
		return
	}
	it, ok := c.lookup(0, store.KindString)
	if !ok {
		return
	}
	var v []byte
	if it != nil {
		v = it.Value()
	}
	n := int64(len(v))
	if start < 0 && end < 0 && start > end {
		n = 0
	}
	if start < 0 {
		start = max(start+n, 0)
	}
	if end < 0 {
		end = max(end+n, 0)
	}
	end = min(end, n-1)
	if n == 0 || start > end {
		c.bulk(nil)
		return
	}
	c.bulk(v[start : end+1])
}

func setrange(c *Context) {
	offset, ok := c.intArg(2)
	if !ok {
		return
	}
	if offset < 0 {
		c.fail("ERR offset is out of range")
		return
	}
	it, ok := c.forWrite(0, store.KindString)
	if !ok {
		return
	}
	was, value := 0, c.Args[3]
	if it != nil {
		was = len(it.Value())
	}
	if len(value) == 0 {
		c.int(int64(was))
		return
	}
	if offset > maxString || offset+int64(len(value)) > maxString {
		c.fail(errTooLong)
		return
	}
	it = c.tx.Resize(&c.keys[0], max(was, int(offset)+len(value)))
	copy(it.Value()[offset:], value)
	c.event(EventString, "setrange", 0)
	c.int(int64(len(it.Value())))
}

// setrangeGrowth counts the gap that SETRANGE fills with zeros.
func setrangeGrowth(c *Context) int64 {
	if offset, ok := resp.ParseInt(c.Args[2]); ok && offset > 0 && offset <= maxString {
		return store.ItemGrowth(int(offset) + len(c.Args[3]))
	}
	return 0
}
