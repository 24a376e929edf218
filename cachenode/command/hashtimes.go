package command

import (
	"math"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// maxFieldTime is the latest time in milliseconds that Redis accepts for a field.
const maxFieldTime = (1<<48 - 2) >> 2

// What the commands on the times of fields answer for each field.
const (
	noField     = -2
	noTime      = -1
	notMet      = 0
	timeChanged = 1
	fieldPast   = 2
)

// fieldsAt checks FIELDS numfields field …, whose first word is argument i, and returns the fields.
func (c *Context) fieldsAt(i int, badNumber string) (fields [][]byte, ok bool) {
	if i+1 >= len(c.Args) || !c.is(i, "fields") {
		c.fail("ERR Mandatory argument FIELDS is missing or not at the right position")
		return nil, false
	}
	n, ok := resp.ParseInt(c.Args[i+1])
	if !ok || n < 1 {
		c.fail(badNumber)
		return nil, false
	}
	if n != int64(len(c.Args)-i-2) {
		c.fail("ERR The `numfields` parameter must match the number of arguments")
		return nil, false
	}
	return c.Args[i+2:], true
}

const errFieldCount = "ERR Number of fields must be a positive integer"

// each replies with what answer gives for each field: noField where there is no hash, or no such field.
func (c *Context) each(fields [][]byte, it *store.Item, answer func(d *store.Dict, i int) int64) {
	c.array(len(fields))
	for _, name := range fields {
		i := -1
		if it != nil {
			i = it.Dict().Find(name)
		}
		if i < 0 {
			c.int(noField)
		} else {
			c.int(answer(it.Dict(), i))
		}
	}
}

func hexpire(c *Context)    { c.hexpireAt(true, true) }
func hpexpire(c *Context)   { c.hexpireAt(false, true) }
func hexpireat(c *Context)  { c.hexpireAt(true, false) }
func hpexpireat(c *Context) { c.hexpireAt(false, false) }

func (c *Context) hexpireAt(seconds, relative bool) {
	it, ok := c.forWrite(0, store.KindHash)
	if !ok {
		return
	}
	at, ok := c.intArg(2)
	if !ok {
		return
	}
	if at < 0 {
		c.fail("ERR invalid expire time, must be >= 0")
		return
	}
	if at, ok = c.fieldTime(at, seconds, relative); !ok {
		return
	}
	start := 3
	nx, xx, gt, lt := c.is(3, "nx"), c.is(3, "xx"), c.is(3, "gt"), c.is(3, "lt")
	if nx || xx || gt || lt {
		start++
	}
	fields, ok := c.fieldsAt(start, "ERR Parameter `numFields` should be greater than 0")
	if !ok {
		return
	}
	set, deleted := 0, 0
	c.each(fields, it, func(d *store.Dict, i int) int64 {
		had := d.FieldExpireAt(i)
		if nx && had != 0 || xx && had == 0 || gt && (had == 0 || at <= had) || lt && had != 0 && at >= had {
			return notMet
		}
		if at <= c.NowMilli {
			d.DeleteAt(i)
			deleted++
			return fieldPast
		}
		d.ExpireField(i, at)
		set++
		return timeChanged
	})
	c.fieldsChanged(it, set, deleted, "hexpire")
}

// fieldTime turns a time for fields into a point in time.
func (c *Context) fieldTime(v int64, seconds, relative bool) (at int64, ok bool) {
	if seconds {
		if v > maxFieldTime/1000 {
			return 0, c.badExpiry()
		}
		v *= 1000
	}
	if relative {
		if v > maxFieldTime-c.NowMilli {
			return 0, c.badExpiry()
		}
		v += c.NowMilli
	}
	if v > maxFieldTime {
		return 0, c.badExpiry()
	}
	return v, true
}

// fieldsChanged books what was done to the fields of it, and tells of it.
func (c *Context) fieldsChanged(it *store.Item, set, deleted int, event string) {
	if set == 0 && deleted == 0 {
		return
	}
	empty := it.Dict().Len() == 0
	c.tx.Update(&c.keys[0], it)
	if set > 0 {
		c.event(EventHash, event, 0)
	}
	if deleted > 0 {
		c.event(EventHash, "hdel", 0)
	}
	if empty {
		c.event(EventGeneric, "del", 0)
	}
}

func httl(c *Context)         { c.fieldTimes(true, true) }
func hpttl(c *Context)        { c.fieldTimes(false, true) }
func hexpiretime(c *Context)  { c.fieldTimes(true, false) }
func hpexpiretime(c *Context) { c.fieldTimes(false, false) }

func (c *Context) fieldTimes(seconds, relative bool) {
	it, ok := c.lookup(0, store.KindHash)
	if !ok {
		return
	}
	fields, ok := c.fieldsAt(2, errFieldCount)
	if !ok {
		return
	}
	c.each(fields, it, func(d *store.Dict, i int) int64 {
		at := d.FieldExpireAt(i)
		if at == 0 {
			return noTime
		}
		if relative {
			at -= c.NowMilli
		}
		if seconds {
			at = (at + 999) / 1000
		}
		return at
	})
}

func hpersist(c *Context) {
	it, ok := c.forWrite(0, store.KindHash)
	if !ok {
		return
	}
	fields, ok := c.fieldsAt(2, errFieldCount)
	if !ok {
		return
	}
	n := 0
	c.each(fields, it, func(d *store.Dict, i int) int64 {
		if d.FieldExpireAt(i) == 0 {
			return noTime
		}
		d.ExpireField(i, 0)
		n++
		return timeChanged
	})
	c.fieldsChanged(it, n, 0, "hpersist")
}

func hgetdel(c *Context) {
	it, ok := c.forWrite(0, store.KindHash)
	if !ok {
		return
	}
	fields, ok := c.fieldsAt(2, errFieldCount)
	if !ok {
		return
	}
	n := 0
	c.array(len(fields))
	for _, name := range fields {
		if c.value(it, name) {
			it.Dict().Delete(name)
			n++
		}
	}
	c.fieldsChanged(it, 0, n, "")
}

// value replies with the value of a field, and tells whether it is there.
func (c *Context) value(it *store.Item, name []byte) bool {
	if it != nil {
		if v, ok := it.Dict().Get(name); ok {
			c.bulk(v)
			return true
		}
	}
	c.null()
	return false
}

// fieldOptions are those of HGETEX and HSETEX.
type fieldOptions struct {
	fnx, fxx, keepTTL, persist bool

	timed  bool
	at     int64
	fields [][]byte // with their values, for HSETEX
}

func (c *Context) parseFieldOptions(setting bool) (o fieldOptions, ok bool) {
	unit := 0
	times := "ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified"
	if setting {
		times = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"
	}
	for i := 2; i < len(c.Args); i++ {
		switch {
		case c.is(i, "fields"):
			if o.fields != nil {
				c.fail("ERR FIELDS keyword specified multiple times")
				return o, false
			}
			if i+1 == len(c.Args) {
				c.wrongArgs()
				return o, false
			}
			n, ok := resp.ParseInt(c.Args[i+1])
			if !ok || n < 1 || n > math.MaxInt32 {
				c.fail("ERR invalid number of fields")
				return o, false
			}
			if setting {
				n *= 2
			}
			if n > int64(len(c.Args)-i-2) {
				c.fail("ERR wrong number of arguments")
				return o, false
			}
			o.fields = c.Args[i+2 : i+2+int(n)]
			i += 1 + int(n)
		case setting && c.is(i, "fnx"), setting && c.is(i, "fxx"):
			if o.fnx || o.fxx {
				c.fail("ERR Only one of FXX or FNX arguments can be specified")
				return o, false
			}
			o.fnx, o.fxx = c.is(i, "fnx"), c.is(i, "fxx")
		case setting && c.is(i, "keepttl"), !setting && c.is(i, "persist"):
			if unit != 0 || o.keepTTL || o.persist {
				c.fail(times)
				return o, false
			}
			o.keepTTL, o.persist = setting, !setting
		case c.is(i, "ex"), c.is(i, "px"), c.is(i, "exat"), c.is(i, "pxat"):
			if unit != 0 || o.keepTTL || o.persist {
				c.fail(times)
				return o, false
			}
			if i+1 == len(c.Args) {
				c.fail("ERR missing expire time")
				return o, false
			}
			unit = i
			i++
		default:
			c.fail("ERR unknown argument: " + cString(c.Args[i]))
			return o, false
		}
	}
	if o.fields == nil {
		c.fail("ERR missing FIELDS argument")
		return o, false
	}
	if unit == 0 {
		return o, true
	}
	v, ok := c.intArg(unit + 1)
	if !ok {
		return o, false
	}
	if v < 0 || v == 0 && len(c.Args[unit]) == 2 {
		return o, c.badExpiry()
	}
	o.timed = true
	o.at, ok = c.fieldTime(v, c.Args[unit][0]|0x20 == 'e', len(c.Args[unit]) == 2)
	return o, ok
}

func hgetex(c *Context) {
	o, ok := c.parseFieldOptions(false)
	if !ok {
		return
	}
	it, ok := c.forWrite(0, store.KindHash)
	if !ok {
		return
	}
	set, persisted, deleted := 0, 0, 0
	c.array(len(o.fields))
	for _, name := range o.fields {
		if !c.value(it, name) {
			continue
		}
		d := it.Dict()
		i := d.Find(name)
		switch {
		case o.persist && d.FieldExpireAt(i) != 0:
			d.ExpireField(i, 0)
			persisted++
		case o.timed && o.at <= c.NowMilli:
			d.DeleteAt(i)
			deleted++
		case o.timed:
			d.ExpireField(i, o.at)
			set++
		}
	}
	event := "hexpire"
	if persisted > 0 {
		event = "hpersist"
	}
	c.fieldsChanged(it, set+persisted, deleted, event)
}

func hsetex(c *Context) {
	o, ok := c.parseFieldOptions(true)
	if !ok {
		return
	}
	it, ok := c.forWrite(0, store.KindHash)
	if !ok {
		return
	}
	for i := 0; i < len(o.fields); i += 2 {
		there := it != nil && it.Dict().Find(o.fields[i]) >= 0
		if o.fnx && there || o.fxx && !there {
			c.int(0)
			return
		}
	}
	if it == nil {
		it = c.tx.Create(&c.keys[0], store.KindHash)
	}
	d, deleted := it.Dict(), 0
	for i := 0; i < len(o.fields); i += 2 {
		name, at := o.fields[i], o.at
		if o.timed && at <= c.NowMilli {
			d.Delete(name)
			deleted++
			continue
		}
		if o.keepTTL {
			if was := d.Find(name); was >= 0 {
				at = d.FieldExpireAt(was)
			}
		}
		d.Set(name, o.fields[i+1])
		if at != 0 {
			d.ExpireField(d.Find(name), at)
		}
	}
	empty := d.Len() == 0
	c.tx.Update(&c.keys[0], it)
	c.event(EventHash, "hset", 0)
	switch {
	case deleted > 0:
		c.event(EventHash, "hdel", 0)
	case o.timed:
		c.event(EventHash, "hexpire", 0)
	}
	if empty {
		c.event(EventGeneric, "del", 0)
	}
	c.int(1)
}
