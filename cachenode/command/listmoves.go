package command

import (
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// listEnd reads argument i as an end of a list; when it is none, the error is replied.
func (c *Context) listEnd(i int) (front, ok bool) {
	front = c.is(i, "left")
	if !front && !c.is(i, "right") {
		c.fail(errSyntax)
		return false, false
	}
	return front, true
}

func lmove(c *Context) {
	if from, to, ok := c.ends(); ok {
		c.moveElement(from, to)
	}
}

// ends reads arguments 3 and 4.
func (c *Context) ends() (from, to, ok bool) {
	if from, ok = c.listEnd(3); !ok {
		return
	}
	to, ok = c.listEnd(4)
	return
}

func rpoplpush(c *Context) { c.moveElement(false, true) }

// moveElement moves an element from the list of key 0 to that of key 1, and replies it: null when there is none.
func (c *Context) moveElement(from, to bool) {
	if it, ok := c.forWrite(0, store.KindList); ok && it == nil {
		c.null()
	} else if ok {
		c.moveFrom(it, from, to)
	}
}

func (c *Context) moveFrom(it *store.Item, from, to bool) {
	target, ok := c.forWrite(1, store.KindList)
	if !ok {
		return
	}
	l := it.List()
	start := len(c.Out)
	c.pop(l, from)
	// The reply is the only copy by now.
	h, _ := resp.ReadHeader(c.Out[start:])
	value := c.Out[start+h.Size:][:h.N]
	if target == nil {
		target = c.tx.Create(&c.keys[1], store.KindList)
	}
	if to {
		target.List().PushFront(value)
	} else {
		target.List().PushBack(value)
	}
	c.tx.Update(&c.keys[1], target)
	c.event(EventList, pushEvent(to), 1)
	if target == it {
		c.event(EventList, popEvent(from), 0)
		return
	}
	c.popped(0, it, popEvent(from))
}

// popArgs reads "numkeys key … LEFT|RIGHT [COUNT count]" from argument i on.
func (c *Context) popArgs(i int) (front bool, count int64, ok bool) {
	n, isInt := resp.ParseInt(c.Args[i])
	if !isInt || n < 1 {
		c.fail("ERR numkeys should be greater than 0")
		return
	}
	if n > int64(len(c.Args)-i-2) {
		c.fail(errSyntax)
		return
	}
	i += int(n) + 1
	if front, ok = c.listEnd(i); !ok {
		return
	}
	count = 1
	if i++; i == len(c.Args) {
		return front, count, true
	}
	if i+1 == len(c.Args) || !c.is(i, "count") {
		c.fail(errSyntax)
		return front, 0, false
	}
	if count, isInt = resp.ParseInt(c.Args[i+1]); !isInt || count < 1 {
		c.fail("ERR count should be greater than 0")
		return front, 0, false
	}
	if i+2 < len(c.Args) {
		c.fail(errSyntax)
		return front, 0, false
	}
	return front, count, true
}

func lmpop(c *Context) {
	front, count, ok := c.popArgs(1)
	if ok && !c.popFirst(front, count) {
		c.Out = resp.AppendNullArray(c.Out, c.Proto)
	}
}

// popFirst pops from the first list there is, as LMPOP (count > 0) or BLPOP, or replies what is wrong. It reports false,
// without a reply, when there is none.
func (c *Context) popFirst(front bool, count int64) (done bool) {
	for i := range c.keys {
		if !c.waits(i) {
			continue
		}
		it, ok := c.forWrite(i, store.KindList)
		switch {
		case !ok:
			return true
		case it == nil:
			continue
		}
		c.array(2)
		c.bulk(c.Args[c.at[i]])
		if count > 0 {
			c.popMany(i, it, front, count)
		} else {
			c.pop(it.List(), front)
			c.popped(i, it, popEvent(front))
		}
		return true
	}
	return false
}

func blpop(c *Context) { c.blockingPop(true) }
func brpop(c *Context) { c.blockingPop(false) }

func (c *Context) blockingPop(front bool) {
	until, ok := c.timeoutSeconds(len(c.Args) - 1)
	if ok && !c.popFirst(front, 0) {
		c.block(store.KindList, until, 0, len(c.keys))
	}
}

func blmpop(c *Context) {
	front, count, ok := c.popArgs(2)
	if !ok {
		return
	}
	until, ok := c.timeoutSeconds(1)
	if ok && !c.popFirst(front, count) {
		c.block(store.KindList, until, 0, len(c.keys))
	}
}

func blmove(c *Context) {
	from, to, ok := c.ends()
	if !ok {
		return
	}
	if until, ok := c.timeoutSeconds(5); ok {
		c.blockingMove(from, to, until)
	}
}

func brpoplpush(c *Context) {
	if until, ok := c.timeoutSeconds(3); ok {
		c.blockingMove(false, true, until)
	}
}

func (c *Context) blockingMove(from, to bool, until int64) {
	it, ok := c.forWrite(0, store.KindList)
	switch {
	case !ok:
	case it != nil:
		c.moveFrom(it, from, to)
	case c.together:
		c.null()
	default:
		c.block(store.KindList, until, 0, 1)
	}
}
