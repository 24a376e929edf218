package command

import (
	"math/rand/v2"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

func sadd(c *Context) {
	it, ok := c.forWrite(0, store.KindSet)
	if !ok {
		return
	}
	if it == nil {
		it = c.tx.Create(&c.keys[0], store.KindSet)
	}
	n := int64(0)
	for _, m := range c.Args[2:] {
		if it.Dict().Set(m, nil) {
			n++
		}
	}
	if n > 0 {
		c.tx.Update(&c.keys[0], it)
		c.event(EventSet, "sadd", 0)
	}
	c.int(n)
}

func srem(c *Context)  { c.remove(store.KindSet) }
func scard(c *Context) { c.length(store.KindSet) }

func sismember(c *Context) {
	if it, ok := c.lookup(0, store.KindSet); ok {
		c.bool(has(it, c.Args[2]))
	}
}

func smismember(c *Context) {
	it, ok := c.lookup(0, store.KindSet)
	if !ok {
		return
	}
	c.array(len(c.Args) - 2)
	for _, m := range c.Args[2:] {
		c.bool(has(it, m))
	}
}

func has(it *store.Item, member []byte) bool {
	if it == nil {
		return false
	}
	_, ok := it.Dict().Get(member)
	return ok
}

func spop(c *Context) {
	count := int64(1)
	if len(c.Args) > 3 {
		c.fail(errSyntax)
		return
	}
	if len(c.Args) == 3 {
		var ok bool
		if count, ok = resp.ParseInt(c.Args[2]); !ok || count < 0 {
			c.fail(errNotPositive)
			return
		}
	}
	it, ok := c.forWrite(0, store.KindSet)
	if !ok {
		return
	}
	if len(c.Args) == 2 {
		if it == nil {
			c.null()
			return
		}
	} else {
		if it == nil {
			count = 0
		} else {
			count = min(count, int64(it.Dict().Len()))
		}
		c.Out = resp.AppendSet(c.Out, int(count), c.Proto)
	}
	if count == 0 {
		return
	}
	d := it.Dict()
	for range count {
		i := rand.IntN(d.Len())
		member, _ := d.At(i)
		c.bulk(member)
		d.DeleteAt(i)
	}
	c.event(EventSet, "spop", 0)
	c.updateLess(it)
}

func srandmember(c *Context) {
	if len(c.Args) == 2 {
		it, ok := c.lookup(0, store.KindSet)
		switch {
		case !ok:
		case it == nil:
			c.null()
		default:
			member, _ := it.Dict().At(rand.IntN(it.Dict().Len()))
			c.bulk(member)
		}
		return
	}
	if len(c.Args) > 3 {
		c.fail(errSyntax)
		return
	}
	count, ok := c.countArg(2)
	if !ok {
		return
	}
	it, ok := c.lookup(0, store.KindSet)
	if !ok {
		return
	}
	picks := draw(it, count)
	c.array(len(picks))
	for _, i := range picks {
		member, _ := it.Dict().At(i)
		c.bulk(member)
	}
}

// sets looks all keys up; a missing one is nil.
func (c *Context) sets() (its []*store.Item, ok bool) {
	its = make([]*store.Item, len(c.keys))
	for i := range c.keys {
		if its[i], ok = c.lookup(i, store.KindSet); !ok {
			return nil, false
		}
	}
	return its, true
}

// members replies with the members of it that keep accepts.
func (c *Context) members(it *store.Item, keep func(m []byte) bool) {
	start, n := len(c.Out), 0
	if it != nil {
		for i := range it.Dict().Len() {
			if m, _ := it.Dict().At(i); keep == nil || keep(m) {
				n++
				c.bulk(m)
			}
		}
	}
	c.insertSetHeader(start, n)
}

func (c *Context) insertSetHeader(start, n int) {
	var space [16]byte
	c.insert(start, resp.AppendSet(space[:0], n, c.Proto))
}

// sinter is SMEMBERS too, as in Redis.
func sinter(c *Context) {
	its, ok := c.sets()
	if !ok {
		return
	}
	smallest := its[0]
	for _, it := range its {
		if it == nil {
			c.members(nil, nil)
			return
		}
		if it.Dict().Len() < smallest.Dict().Len() {
			smallest = it
		}
	}
	c.members(smallest, func(m []byte) bool {
		for _, it := range its {
			if it != smallest && !has(it, m) {
				return false
			}
		}
		return true
	})
}

func sdiff(c *Context) {
	its, ok := c.sets()
	if !ok {
		return
	}
	c.members(its[0], func(m []byte) bool {
		for i := 1; i < len(its); i++ {
			if has(its[i], m) {
				return false
			}
		}
		return true
	})
}

func sunion(c *Context) {
	its, ok := c.sets()
	if !ok {
		return
	}
	start, n := len(c.Out), 0
	for i, it := range its {
		if it == nil {
			continue
		}
	member:
		for j := range it.Dict().Len() {
			m, _ := it.Dict().At(j)
			for _, earlier := range its[:i] {
				if has(earlier, m) {
					continue member
				}
			}
			n++
			c.bulk(m)
		}
	}
	c.insertSetHeader(start, n)
}
