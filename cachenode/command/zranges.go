// HOT PATH

package command

import (
	"bytes"
	"math"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const (
	errScoreRange = "ERR min or max is not a float"
	errLexRange   = "ERR min or max not valid string range item"
)

// rangeBy says what the ends of a range are.
type rangeBy uint8

const (
	byRank rangeBy = iota
	byScore
	byLex
)

// edge is an end of a range by score or by member.
type edge struct {
	store.Bound
	outside int // -1: before all members, 1: behind all
}

// rank is the number of members before the edge.
func (e *edge) rank(z *store.ZSet) int {
	switch e.outside {
	case -1:
		return 0
	case 1:
		return z.Len()
	}
	return z.Before(&e.Bound)
}

// parseScore reads one end of a range of scores. Like Redis it takes what strtod takes: spaces in front, nothing at all for
// 0, and what follows a zero byte is not seen.
func (e *edge) parseScore(b []byte, upper bool) bool {
	exclusive := len(b) > 0 && b[0] == '('
	if exclusive {
		b = b[1:]
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	v, ok := 0.0, true
	if len(b) > 0 {
		for len(b) > 0 && isSpace(b[0]) {
			b = b[1:]
		}
		if len(b) == 0 {
			return false
		}
		v, _, ok = strtod(b)
	}
	*e = edge{Bound: store.Bound{Score: v, After: exclusive != upper}}
	return ok && !math.IsNaN(v)
}

// parseLex reads one end of a range of members.
func (e *edge) parseLex(b []byte, upper bool) bool {
	*e = edge{}
	switch {
	case len(b) == 0:
		return false
	case b[0] == '[':
		e.Bound = store.Bound{Member: b[1:], Lex: true, After: upper}
	case b[0] == '(':
		e.Bound = store.Bound{Member: b[1:], Lex: true, After: !upper}
	case len(b) > 1 && b[1] != 0:
		return false
	case b[0] == '-':
		e.outside = -1
	case b[0] == '+':
		e.outside = 1
	default:
		return false
	}
	return true
}

// zrangeArgs is a range as a command asks for it.
type zrangeArgs struct {
	by            rangeBy
	reverse       bool
	withScores    bool
	min, max      edge
	start, end    int64 // by rank
	offset, limit int64
}

// rangeEnds reads the two ends from arguments i and i+1.
func (c *Context) rangeEnds(r *zrangeArgs, i int) bool {
	low, high := i, i+1
	if r.reverse && r.by != byRank {
		low, high = high, low
	}
	ok := false
	switch r.by {
	case byRank:
		if r.start, ok = c.intArg(i); ok {
			r.end, ok = c.intArg(i + 1)
		}
	case byScore:
		if ok = r.min.parseScore(c.Args[low], false) && r.max.parseScore(c.Args[high], true); !ok {
			c.fail(errScoreRange)
		}
	case byLex:
		if ok = r.min.parseLex(c.Args[low], false) && r.max.parseLex(c.Args[high], true); !ok {
			c.fail(errLexRange)
		}
	}
	return ok
}

// span gives the ranks from lo to before hi that the range has in z, which may be nil.
func (r *zrangeArgs) span(z *store.ZSet) (lo, hi int) {
	if z == nil {
		return 0, 0
	}
	n := z.Len()
	if r.by == byRank {
		start, end := r.start, r.end
		if start < 0 {
			start = max(start+int64(n), 0)
		}
		if end < 0 {
			end += int64(n)
		}
		end = min(end, int64(n-1))
		if start > end {
			return 0, 0
		}
		if lo, hi = int(start), int(end)+1; r.reverse {
			lo, hi = n-hi, n-lo
		}
		return lo, hi
	}
	lo, hi = r.min.rank(z), r.max.rank(z)
	if lo >= hi || r.offset < 0 || r.offset >= int64(hi-lo) {
		return 0, 0
	}
	if r.reverse {
		hi -= int(r.offset)
		if r.limit >= 0 && r.limit < int64(hi-lo) {
			lo = hi - int(r.limit)
		}
		return lo, hi
	}
	lo += int(r.offset)
	if r.limit >= 0 && r.limit < int64(hi-lo) {
		hi = lo + int(r.limit)
	}
	return lo, hi
}

func zrange(c *Context)           { c.zrange(zrangeArgs{}, true) }
func zrevrange(c *Context)        { c.zrange(zrangeArgs{reverse: true}, false) }
func zrangebyscore(c *Context)    { c.zrange(zrangeArgs{by: byScore}, false) }
func zrevrangebyscore(c *Context) { c.zrange(zrangeArgs{by: byScore, reverse: true}, false) }
func zrangebylex(c *Context)      { c.zrange(zrangeArgs{by: byLex}, false) }
func zrevrangebylex(c *Context)   { c.zrange(zrangeArgs{by: byLex, reverse: true}, false) }

func (c *Context) zrange(r zrangeArgs, open bool) {
	if !c.parseRange(&r, 2, open, false) {
		return
	}
	z, ok := c.lookupZSet(0)
	if !ok {
		return
	}
	lo, hi := r.span(z)
	n := hi - lo
	if r.withScores && c.Proto < 3 {
		c.array(2 * n)
	} else {
		c.array(n)
	}
	if n == 0 {
		return
	}
	at := r.first(z, lo, hi)
	for range n {
		c.member(at.Member(), at.Score(), r.withScores)
		r.step(&at)
	}
}

// first places a cursor at the member with which the reply begins.
func (r *zrangeArgs) first(z *store.ZSet, lo, hi int) store.ZCursor {
	if r.reverse {
		return z.At(hi - 1)
	}
	return z.At(lo)
}

func (r *zrangeArgs) step(at *store.ZCursor) {
	if r.reverse {
		at.Prev()
	} else {
		at.Next()
	}
}

// member appends a member, with its score as a pair of RESP3 or as two elements of RESP2.
func (c *Context) member(member []byte, score float64, withScore bool) {
	if withScore && c.Proto >= 3 {
		c.array(2)
	}
	c.bulk(member)
	if withScore {
		c.double(score)
	}
}

// parseRange reads a range whose ends are arguments i and i+1. open says that options may choose kind and direction.
func (c *Context) parseRange(r *zrangeArgs, i int, open, stores bool) bool {
	r.limit = -1
	chosen, turned := !open, !open
	for j := i + 2; j < len(c.Args); j++ {
		switch {
		case !stores && c.is(j, "withscores"):
			r.withScores = true
		case c.is(j, "limit") && len(c.Args)-j > 2:
			var ok bool
			if r.offset, ok = c.intArg(j + 1); !ok {
				return false
			}
			if r.limit, ok = c.intArg(j + 2); !ok {
				return false
			}
			j += 2
		case !turned && c.is(j, "rev"):
			r.reverse, turned = true, true
		case !chosen && c.is(j, "bylex"):
			r.by, chosen = byLex, true
		case !chosen && c.is(j, "byscore"):
			r.by, chosen = byScore, true
		default:
			c.fail(errSyntax)
			return false
		}
	}
	if r.limit != -1 && r.by == byRank {
		c.fail("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
		return false
	}
	if r.withScores && r.by == byLex {
		c.fail("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
		return false
	}
	return c.rangeEnds(r, i)
}

func zrangestore(c *Context) {
	var r zrangeArgs
	if !c.parseRange(&r, 3, true, true) {
		return
	}
	z, ok := c.lookupZSet(1)
	if !ok {
		return
	}
	lo, hi := r.span(z)
	pairs := make([]scored, 0, hi-lo)
	if lo < hi {
		at := r.first(z, lo, hi)
		for range hi - lo {
			pairs = append(pairs, scored{at.Member(), at.Score()})
			r.step(&at)
		}
	}
	c.storeZSet(0, pairs, "zrangestore")
}

// scored is a member with its score.
type scored struct {
	member []byte
	score  float64
}

// storeZSet puts a result into key i, whatever was there, and replies with its size. The members may be those of the
// sorted set that is replaced: its memory lives on as long as they do.
func (c *Context) storeZSet(i int, pairs []scored, event string) {
	if len(pairs) == 0 {
		if c.tx.Delete(&c.keys[i]) {
			c.event(EventGeneric, "del", i)
		}
		c.int(0)
		return
	}
	it := c.tx.Create(&c.keys[i], store.KindZSet)
	z := it.ZSet()
	if event != "zrangestore" { // which in Redis begins with a packed set, where zero has no sign
		longest := 0
		for k := range pairs {
			longest = max(longest, len(pairs[k].member))
		}
		z.Expect(len(pairs), longest)
	}
	for k := range pairs {
		z.Set(pairs[k].member, pairs[k].score)
	}
	c.tx.Update(&c.keys[i], it)
	c.event(EventZSet, event, i)
	c.int(int64(z.Len()))
}

func zcount(c *Context)    { c.zcount(byScore) }
func zlexcount(c *Context) { c.zcount(byLex) }

func (c *Context) zcount(by rangeBy) {
	r := zrangeArgs{by: by, limit: -1}
	if !c.rangeEnds(&r, 2) {
		return
	}
	z, ok := c.lookupZSet(0)
	if !ok {
		return
	}
	lo, hi := r.span(z)
	c.int(int64(hi - lo))
}

func zremrangebyrank(c *Context)  { c.zremrange(byRank, "zremrangebyrank") }
func zremrangebyscore(c *Context) { c.zremrange(byScore, "zremrangebyscore") }
func zremrangebylex(c *Context)   { c.zremrange(byLex, "zremrangebylex") }

func (c *Context) zremrange(by rangeBy, event string) {
	r := zrangeArgs{by: by, limit: -1}
	if !c.rangeEnds(&r, 2) {
		return
	}
	it, ok := c.forWrite(0, store.KindZSet)
	if !ok {
		return
	}
	n := 0
	if it != nil {
		lo, hi := r.span(it.ZSet())
		if n = hi - lo; n > 0 && n == it.ZSet().Len() { // at once, however many they are
			c.tx.Delete(&c.keys[0])
			c.event(EventZSet, event, 0)
			c.event(EventGeneric, "del", 0)
		} else {
			it.ZSet().DeleteRange(lo, n)
			c.shrunk(0, it, n, event)
		}
	}
	c.int(int64(n))
}

// nullArray replies that there is nothing where an array would be.
func (c *Context) nullArray() { c.Out = resp.AppendNullArray(c.Out, c.Proto) }
