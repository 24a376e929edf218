// HOT PATH

package command

import (
	"math"
	"math/rand/v2"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

func zpopmin(c *Context) { c.zpop(false) }
func zpopmax(c *Context) { c.zpop(true) }

func (c *Context) zpop(highest bool) {
	if len(c.Args) > 3 {
		c.fail(errSyntax)
		return
	}
	count := int64(1)
	if len(c.Args) == 3 {
		var ok bool
		if count, ok = resp.ParseInt(c.Args[2]); !ok || count < 0 {
			c.fail(errNotPositive)
			return
		}
	}
	it, ok := c.forWrite(0, store.KindZSet)
	if !ok {
		return
	}
	if it == nil || count == 0 {
		c.array(0)
		return
	}
	n := int(min(count, int64(it.ZSet().Len())))
	nested := len(c.Args) == 3 && c.Proto >= 3
	if nested {
		c.array(n)
	} else {
		c.array(2 * n)
	}
	c.popScored(0, it, highest, n, nested)
}

// popScored takes n members from the sorted set at key i and appends them, as pairs when nested.
func (c *Context) popScored(i int, it *store.Item, highest bool, n int, nested bool) {
	z, event := it.ZSet(), "zpopmin"
	if highest {
		event = "zpopmax"
	}
	for range n {
		rank := 0
		if highest {
			rank = z.Len() - 1
		}
		at := z.At(rank)
		if nested {
			c.array(2)
		}
		c.bulk(at.Member())
		c.double(at.Score())
		z.DeleteRange(rank, 1)
	}
	c.shrunk(i, it, n, event)
}

func zmpop(c *Context) {
	if highest, count, ok := c.parseMPop(1); ok && !c.mpop(highest, count) {
		c.nullArray()
	}
}

// parseMPop reads the arguments of ZMPOP from the number of keys at i on.
func (c *Context) parseMPop(i int) (highest bool, count int64, ok bool) {
	keys, ok := resp.ParseInt(c.Args[i])
	if !ok || keys < 1 {
		c.fail("ERR numkeys should be greater than 0")
		return false, 0, false
	}
	where := int64(i) + 1 + keys
	if keys > int64(len(c.Args)) || where >= int64(len(c.Args)) {
		c.fail(errSyntax)
		return false, 0, false
	}
	at := int(where)
	if highest = c.is(at, "max"); !highest && !c.is(at, "min") {
		c.fail(errSyntax)
		return false, 0, false
	}
	count = -1
	for at++; at < len(c.Args); at += 2 {
		if count != -1 || !c.is(at, "count") || at+1 == len(c.Args) {
			c.fail(errSyntax)
			return false, 0, false
		}
		if count, ok = resp.ParseInt(c.Args[at+1]); !ok || count < 1 {
			c.fail("ERR count should be greater than 0")
			return false, 0, false
		}
	}
	return highest, max(count, 1), true
}

// mpop takes from the first of the sorted sets that is there. It reports false, without a reply, when none is.
func (c *Context) mpop(highest bool, count int64) bool {
	for i := range c.keys {
		it, ok := c.candidate(i)
		if !ok {
			return true
		}
		if it == nil {
			continue
		}
		n := int(min(count, int64(it.ZSet().Len())))
		c.array(2)
		c.bulk(c.Args[c.at[i]])
		c.array(n)
		c.popScored(i, it, highest, n, true)
		return true
	}
	return false
}

// candidate looks at key i of those that a command may pop from.
func (c *Context) candidate(i int) (*store.Item, bool) {
	if !c.waits(i) {
		return nil, true
	}
	return c.forWrite(i, store.KindZSet)
}

func bzpopmin(c *Context) { c.bzpop(false) }
func bzpopmax(c *Context) { c.bzpop(true) }

func (c *Context) bzpop(highest bool) {
	until, ok := c.timeoutSeconds(len(c.Args) - 1)
	if !ok {
		return
	}
	for i := range c.keys {
		it, ok := c.candidate(i)
		if !ok {
			return
		}
		if it != nil {
			c.array(3)
			c.bulk(c.Args[c.at[i]])
			c.popScored(i, it, highest, 1, false)
			return
		}
	}
	c.block(store.KindZSet, until, 0, len(c.keys))
}

func bzmpop(c *Context) {
	highest, count, ok := c.parseMPop(2)
	if !ok {
		return
	}
	until, ok := c.timeoutSeconds(1)
	if ok && !c.mpop(highest, count) {
		c.block(store.KindZSet, until, 0, len(c.keys))
	}
}

func zrandmember(c *Context) {
	if len(c.Args) == 2 {
		z, ok := c.lookupZSet(0)
		switch {
		case !ok:
		case z == nil:
			c.null()
		default:
			member, _ := z.Any(rand.IntN(z.Len()))
			c.bulk(member)
		}
		return
	}
	count, ok := c.countArg(2)
	if !ok {
		return
	}
	scores := len(c.Args) == 4
	if len(c.Args) > 4 || scores && !c.is(3, "withscores") {
		c.fail(errSyntax)
		return
	}
	if scores && (count < -math.MaxInt64/2 || count > math.MaxInt64/2) {
		c.fail("ERR value is out of range")
		return
	}
	z, ok := c.lookupZSet(0)
	if !ok {
		return
	}
	if z == nil {
		c.array(0)
		return
	}
	picks := drawn(z.Len(), count)
	if scores && c.Proto < 3 {
		c.array(2 * len(picks))
	} else {
		c.array(len(picks))
	}
	for _, i := range picks {
		member, score := z.Any(i)
		c.member(member, score, scores)
	}
}

func zscan(c *Context) {
	cursor, ok := ParseCursor(c.Args[2])
	if !ok {
		c.fail(errCursor)
		return
	}
	z, ok := c.lookupZSet(0)
	if !ok {
		return
	}
	if z == nil {
		c.insertScanHeader(len(c.Out), 0, 0)
		return
	}
	o, ok := c.parseScanOptions(3, false)
	if !ok {
		return
	}
	start, found := len(c.Out), 0
	next := z.Scan(cursor, o.count, func(member []byte, score float64) {
		if o.pattern != nil && !Match(o.pattern, member) {
			return
		}
		found += 2
		c.bulk(member)
		if z.Small() && score == math.Trunc(score) && math.Abs(score) <= 1<<62 {
			c.Out = resp.AppendBulkInt(c.Out, int64(score)) // Redis's small sets store integers as such
		} else {
			c.Out = resp.AppendDouble(c.Out, score, 2)
		}
	})
	c.insertScanHeader(start, next, found)
}
