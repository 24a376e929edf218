// HOT PATH

package command

import (
	"bytes"
	"errors"
	"math"
	"strconv"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const errScoreNaN = "ERR resulting score is not a number (NaN)"

// maxFloats is how many scores may be kept room for from one command to the next.
const maxFloats = 4 << 10

// zaddOptions are those of ZADD.
type zaddOptions struct{ nx, xx, gt, lt, ch, incr bool }

func zadd(c *Context)    { c.zadd(zaddOptions{}) }
func zincrby(c *Context) { c.zadd(zaddOptions{incr: true}) }

func (c *Context) zadd(o zaddOptions) {
	first, ok := c.parseZAddOptions(&o)
	if !ok {
		return
	}
	c.floats = c.floats[:0]
	for i := first; i < len(c.Args); i += 2 {
		score, ok := parseDouble(c.Args[i])
		if !ok {
			c.fail(errNotFloat)
			return
		}
		c.floats = append(c.floats, score)
	}
	c.addMembers(&o, first+1, 2)
}

// parseZAddOptions returns where the pairs begin.
func (c *Context) parseZAddOptions(o *zaddOptions) (first int, ok bool) {
	i := 2
options:
	for ; i < len(c.Args); i++ {
		switch {
		case c.is(i, "nx"):
			o.nx = true
		case c.is(i, "xx"):
			o.xx = true
		case c.is(i, "gt"):
			o.gt = true
		case c.is(i, "lt"):
			o.lt = true
		case c.is(i, "ch"):
			o.ch = true
		case c.is(i, "incr"):
			o.incr = true
		default:
			break options
		}
	}
	pairs := len(c.Args) - i
	switch {
	case pairs == 0 || pairs%2 != 0:
		c.fail(errSyntax)
	case o.nx && o.xx:
		c.fail("ERR XX and NX options at the same time are not compatible")
	case o.gt && o.nx || o.lt && o.nx || o.gt && o.lt:
		c.fail("ERR GT, LT, and/or NX options at the same time are not compatible")
	case o.incr && pairs > 2:
		c.fail("ERR INCR option supports a single increment-element pair")
	default:
		return i, true
	}
	return 0, false
}

// addMembers adds the members at first, first+step … with the scores in c.floats, and replies.
func (c *Context) addMembers(o *zaddOptions, first, step int) {
	it, ok := c.forWrite(0, store.KindZSet)
	if !ok {
		return
	}
	added, changed, done := int64(0), int64(0), false
	var score float64
	if it != nil || !o.xx {
		if it == nil {
			it = c.tx.Create(&c.keys[0], store.KindZSet)
		}
		z := it.ZSet()
		for n, by := range c.floats {
			member := c.Args[first+n*step]
			score = by
			if o.nx || o.xx || o.gt || o.lt || o.incr {
				was, there := z.Score(member)
				if there && o.nx || !there && o.xx {
					continue
				}
				if there && o.incr {
					if score += was; math.IsNaN(score) {
						c.fail(errScoreNaN)
						return
					}
				}
				if there && (o.lt && score >= was || o.gt && score <= was) {
					continue
				}
			}
			done = true
			isNew, isChanged := z.Set(member, score)
			if isNew {
				added++
			} else if isChanged {
				changed++
			}
		}
	}
	if added+changed > 0 {
		c.tx.Update(&c.keys[0], it)
		if o.incr {
			c.event(EventZSet, "zincr", 0)
		} else {
			c.event(EventZSet, "zadd", 0)
		}
	}
	if cap(c.floats) > maxFloats {
		c.floats = nil
	}
	switch {
	case o.incr && done:
		c.double(score)
	case o.incr:
		c.null()
	case o.ch:
		c.int(added + changed)
	default:
		c.int(added)
	}
}

func zscore(c *Context) {
	z, ok := c.lookupZSet(0)
	if ok {
		c.scoreOf(z, c.Args[2])
	}
}

func zmscore(c *Context) {
	z, ok := c.lookupZSet(0)
	if !ok {
		return
	}
	c.array(len(c.Args) - 2)
	for _, member := range c.Args[2:] {
		c.scoreOf(z, member)
	}
}

func (c *Context) scoreOf(z *store.ZSet, member []byte) {
	if z != nil {
		if score, ok := z.Score(member); ok {
			c.double(score)
			return
		}
	}
	c.null()
}

func zcard(c *Context) {
	z, ok := c.lookupZSet(0)
	switch {
	case !ok:
	case z == nil:
		c.int(0)
	default:
		c.int(int64(z.Len()))
	}
}

func zrank(c *Context)    { c.zrank(false) }
func zrevrank(c *Context) { c.zrank(true) }

func (c *Context) zrank(reverse bool) {
	if len(c.Args) > 4 {
		c.wrongArgs()
		return
	}
	withScore := len(c.Args) == 4
	if withScore && !c.is(3, "withscore") {
		c.fail(errSyntax)
		return
	}
	z, ok := c.lookupZSet(0)
	if !ok {
		return
	}
	rank, score, there := 0, 0.0, false
	if z != nil {
		rank, score, there = z.Rank(c.Args[2])
	}
	if !there {
		if withScore {
			c.Out = resp.AppendNullArray(c.Out, c.Proto)
		} else {
			c.null()
		}
		return
	}
	if reverse {
		rank = z.Len() - 1 - rank
	}
	if withScore {
		c.array(2)
	}
	c.int(int64(rank))
	if withScore {
		c.double(score)
	}
}

func zrem(c *Context) {
	it, ok := c.forWrite(0, store.KindZSet)
	if !ok {
		return
	}
	n := 0
	if it != nil {
		for _, member := range c.Args[2:] {
			if it.ZSet().Delete(member) {
				n++
			}
		}
		c.shrunk(0, it, n, "zrem")
	}
	c.int(int64(n))
}

// shrunk books that n members of the sorted set at key i have gone.
func (c *Context) shrunk(i int, it *store.Item, n int, event string) {
	if n == 0 {
		return
	}
	left := it.ZSet().Len()
	c.tx.Update(&c.keys[i], it)
	c.event(EventZSet, event, i)
	if left == 0 {
		c.event(EventGeneric, "del", i)
	}
}

func (c *Context) double(v float64) { c.Out = resp.AppendDouble(c.Out, v, c.Proto) }

// parseDouble reads a whole argument as C's strtod does, but for NaN and what a double cannot hold.
func parseDouble(b []byte) (float64, bool) {
	if len(b) > 0 && len(b) < 16 {
		if v, ok := resp.ParseInt(b); ok {
			return float64(v), true
		}
	}
	if len(b) == 0 || len(b) > 5<<10 || isSpace(b[0]) {
		return 0, false
	}
	v, inRange, ok := strtod(b)
	return v, ok && inRange && !math.IsNaN(v)
}

func isSpace(ch byte) bool { return ch == ' ' || ch >= '\t' && ch <= '\r' }

// strtod reads all of b, which has no space in front. inRange is false for what is too large or too small for a double,
// which is read as an infinity or as zero.
func strtod(b []byte) (v float64, inRange, ok bool) {
	if bytes.IndexByte(b, '_') >= 0 {
		return 0, false, false
	}
	digits := b
	if digits[0] == '+' || digits[0] == '-' {
		digits = digits[1:]
	}
	text := string(b)
	hex := len(digits) > 2 && digits[0] == '0' && digits[1]|0x20 == 'x'
	if hex && bytes.IndexByte(b, 'p') < 0 && bytes.IndexByte(b, 'P') < 0 {
		text += "p0" // which C does not ask for
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false, false
	}
	if err != nil {
		return v, false, true
	}
	return v, v != 0 || isZero(digits, hex), true
}

// isZero tells a zero from what is only too small.
func isZero(digits []byte, hex bool) bool {
	if hex {
		digits = digits[2:]
	}
	for _, ch := range digits {
		switch {
		case ch == 'p' || ch == 'P' || !hex && (ch == 'e' || ch == 'E'):
			return true
		case ch != '0' && ch != '.':
			return false
		}
	}
	return true
}

// parseCount reads a number of things from 1 to most.
func parseCount(b []byte, most int) (int, bool) {
	n, ok := resp.ParseInt(b)
	if !ok || n < 1 || n > int64(most) {
		return 0, false
	}
	return int(n), true
}
