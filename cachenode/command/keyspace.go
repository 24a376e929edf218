package command

import (
	"math"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

func del(c *Context) {
	n := int64(0)
	for i := range c.keys {
		if c.tx.Delete(&c.keys[i]) {
			c.event(EventGeneric, "del", i)
			n++
		}
	}
	c.int(n)
}

func exists(c *Context) {
	n := int64(0)
	for i := range c.keys {
		if c.tx.Get(&c.keys[i]) != nil {
			n++
		} else {
			c.event(EventMissed, "keymiss", i)
		}
	}
	c.int(n)
}

func typeOf(c *Context) {
	kind := "none"
	if it := c.tx.Peek(&c.keys[0]); it != nil {
		kind = it.Kind().String()
	} else {
		c.event(EventMissed, "keymiss", 0)
	}
	c.Out = resp.AppendSimple(c.Out, kind)
}

func expire(c *Context)    { c.expireAt(true, true) }
func pexpire(c *Context)   { c.expireAt(false, true) }
func expireat(c *Context)  { c.expireAt(true, false) }
func pexpireat(c *Context) { c.expireAt(false, false) }

func (c *Context) expireAt(seconds, relative bool) {
	var nx, xx, gt, lt bool
	for i := 3; i < len(c.Args); i++ {
		switch {
		case c.is(i, "nx"):
			nx = true
		case c.is(i, "xx"):
			xx = true
		case c.is(i, "gt"):
			gt = true
		case c.is(i, "lt"):
			lt = true
		default:
			c.fail("ERR Unsupported option " + cString(c.Args[i]))
			return
		}
	}
	if nx && (xx || gt || lt) {
		c.fail("ERR NX and XX, GT or LT options at the same time are not compatible")
		return
	}
	if gt && lt {
		c.fail("ERR GT and LT options at the same time are not compatible")
		return
	}
	at, ok := c.intArg(2)
	if !ok {
		return
	}
	if seconds {
		if at > math.MaxInt64/1000 || at < math.MinInt64/1000 {
			c.badExpiry()
			return
		}
		at *= 1000
	}
	if relative {
		if at > math.MaxInt64-c.NowMilli {
			c.badExpiry()
			return
		}
		at += c.NowMilli
	}
	it := c.tx.Peek(&c.keys[0])
	if it == nil {
		c.int(0)
		return
	}
	had := it.ExpireAt()
	if nx && had != 0 || xx && had == 0 || gt && (had == 0 || at <= had) || lt && had != 0 && at >= had {
		c.int(0)
		return
	}
	if at <= c.NowMilli {
		c.tx.Delete(&c.keys[0])
		c.event(EventGeneric, "del", 0)
	} else {
		c.tx.Expire(&c.keys[0], it, at)
		c.event(EventGeneric, "expire", 0)
	}
	c.int(1)
}

func ttl(c *Context)         { c.timeLeft(true, true) }
func pttl(c *Context)        { c.timeLeft(false, true) }
func expiretime(c *Context)  { c.timeLeft(true, false) }
func pexpiretime(c *Context) { c.timeLeft(false, false) }

func (c *Context) timeLeft(seconds, relative bool) {
	it := c.tx.Peek(&c.keys[0])
	switch {
	case it == nil:
		c.event(EventMissed, "keymiss", 0)
		c.int(-2)
		return
	case it.ExpireAt() == 0:
		c.int(-1)
		return
	}
	v := it.ExpireAt()
	if relative {
		v -= c.NowMilli
	}
	if seconds {
		v = int64(uint64(v+500) / 1000) // the end of time is rounded up, and does not wrap around
	}
	c.int(v)
}

func persist(c *Context) {
	it := c.tx.Peek(&c.keys[0])
	if it == nil || it.ExpireAt() == 0 {
		c.int(0)
		return
	}
	c.tx.Expire(&c.keys[0], it, 0)
	c.event(EventGeneric, "persist", 0)
	c.int(1)
}

func rename(c *Context) {
	if c.move() {
		c.ok()
	}
}

func renamenx(c *Context) {
	if c.tx.Peek(&c.keys[0]) != nil && c.tx.Peek(&c.keys[1]) != nil {
		c.int(0)
		return
	}
	if c.move() {
		c.int(1)
	}
}

func (c *Context) move() bool {
	if c.tx.Peek(&c.keys[0]) == nil {
		c.fail(errNoSuchKey)
		return false
	}
	if string(c.Args[1]) != string(c.Args[2]) {
		if c.Notify&EventNew != 0 && c.tx.Peek(&c.keys[1]) != nil {
			c.event(EventNew, "new", 1) // also in the place of another
		}
		c.tx.Rename(&c.keys[0], &c.keys[1])
		c.event(EventGeneric, "rename_from", 0)
		c.event(EventGeneric, "rename_to", 1)
	}
	return true
}

// AppendUnknownSubcommand appends the error for a subcommand that does not exist.
func AppendUnknownSubcommand(b, sub []byte, command string) []byte {
	s := cString(sub)
	if len(s) > 128 {
		s = s[:128]
	}
	return resp.AppendError(b, "ERR unknown subcommand '"+s+"'. Try "+command+" HELP.")
}

// cString is b as C prints it: up to the first zero byte.
func cString(b []byte) string {
	for i, ch := range b {
		if ch == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// embstrLimit is the longest string that Redis allocates together with its object.
const embstrLimit = 44

func encoding(it *store.Item) string {
	if it.Kind() != store.KindString {
		return it.Collection().(interface{ Encoding() string }).Encoding()
	}
	switch v := it.Value(); {
	case it.Raw() || len(v) > embstrLimit:
		return "raw"
	case store.IsInt(v):
		return "int"
	}
	return "embstr"
}

func dbsize(c *Context) { c.int(int64(c.tx.CountDB(c.DB, c.Owns))) }

func flushdb(c *Context)  { c.flush(c.DB) }
func flushall(c *Context) { c.flush(-1) }

func (c *Context) flush(db int) {
	if len(c.Args) > 2 || len(c.Args) == 2 && !c.is(1, "async") && !c.is(1, "sync") {
		c.fail(errSyntax)
		return
	}
	for p := range store.Partitions {
		c.tx.FlushPartition(p, db)
	}
	c.Flushed = true
	if db < 0 {
		c.flushed = math.MaxUint16
	} else {
		c.flushed |= 1 << db
	}
	c.ok()
}

func randomkey(c *Context) {
	key, ok := c.tx.RandomKey(nil, c.DB, c.Owns)
	if !ok {
		c.null()
		return
	}
	c.bulk(key)
}

// timeNow answers with the real clock: Redis's TIME does not follow the clock cached for expiry either.
func timeNow(c *Context) {
	now := time.Now()
	if c.Clock != nil {
		now = c.Clock()
	}
	c.array(2)
	c.Out = resp.AppendBulkInt(c.Out, now.Unix())
	c.Out = resp.AppendBulkInt(c.Out, int64(now.Nanosecond()/1000))
}
