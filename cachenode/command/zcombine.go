package command

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// setOperation is what becomes of several sets.
type setOperation uint8

const (
	union setOperation = iota
	intersect
	difference
)

// aggregate says how the scores that a member has in several sets become one.
type aggregate uint8

const (
	sumOfScores aggregate = iota
	minOfScores
	maxOfScores
)

func (a aggregate) of(x, y float64) float64 {
	switch {
	case a == minOfScores && y < x, a == maxOfScores && y > x:
		return y
	case a == sumOfScores:
		return number(x + y)
	}
	return x
}

// number makes NaN, the sum of opposite infinities or the product of one and zero, a zero.
func number(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

// zsource is one of the sets, sorted or not, that are combined; both fields are nil for a key that is not there.
type zsource struct {
	sorted *store.ZSet
	plain  *store.Dict
	weight float64
}

func (s *zsource) len() int {
	switch {
	case s.sorted != nil:
		return s.sorted.Len()
	case s.plain != nil:
		return s.plain.Len()
	}
	return 0
}

// score is that of a member; those of a plain set have 1.
func (s *zsource) score(member []byte) (float64, bool) {
	switch {
	case s.sorted != nil:
		return s.sorted.Score(member)
	case s.plain != nil:
		_, ok := s.plain.Get(member)
		return 1, ok
	}
	return 0, false
}

// each visits the members until visit reports false.
func (s *zsource) each(visit func(member []byte, score float64) bool) {
	switch n := s.len(); {
	case n == 0:
	case s.sorted != nil:
		for at := s.sorted.At(0); n > 0 && visit(at.Member(), at.Score()); n-- {
			at.Next()
		}
	default:
		for i := range n {
			if member, _ := s.plain.At(i); !visit(member, 1) {
				return
			}
		}
	}
}

// combination is a command of this kind as it was asked for.
type combination struct {
	sources    []zsource
	aggregate  aggregate
	withScores bool
	limit      int64 // of ZINTERCARD, 0 for none
}

func zunion(c *Context)      { c.combine(union, 1, "") }
func zinter(c *Context)      { c.combine(intersect, 1, "") }
func zdiff(c *Context)       { c.combine(difference, 1, "") }
func zunionstore(c *Context) { c.combine(union, 2, "zunionstore") }
func zinterstore(c *Context) { c.combine(intersect, 2, "zinterstore") }
func zdiffstore(c *Context)  { c.combine(difference, 2, "zdiffstore") }

// combine runs a command whose number of keys is argument i. event names what happens to the key that the result is put
// into; without one the result is the reply.
func (c *Context) combine(op setOperation, i int, event string) {
	q, ok := c.parseCombination(op, i, event != "", false)
	if !ok {
		return
	}
	pairs := q.run(op)
	if event != "" {
		c.storeZSet(0, pairs, event)
		return
	}
	slices.SortFunc(pairs, func(a, b scored) int {
		if by := cmp.Compare(a.score, b.score); by != 0 {
			return by
		}
		return bytes.Compare(a.member, b.member)
	})
	if q.withScores && c.Proto < 3 {
		c.array(2 * len(pairs))
	} else {
		c.array(len(pairs))
	}
	for _, p := range pairs {
		c.member(p.member, p.score, q.withScores)
	}
}

func (c *Context) parseCombination(op setOperation, i int, stores, counts bool) (q combination, ok bool) {
	n, ok := c.intArg(i)
	if !ok {
		return q, false
	}
	if n < 1 {
		c.fail("ERR at least 1 input key is needed for '" + c.spec.Name + "' command")
		return q, false
	}
	if n > int64(len(c.Args)-i-1) {
		c.fail(errSyntax)
		return q, false
	}
	// With a key to store to, that is the first.
	for k := len(c.keys) - int(n); k < len(c.keys); k++ {
		source := zsource{weight: 1}
		if it := c.tx.Get(&c.keys[k]); it != nil {
			switch it.Kind() {
			case store.KindZSet:
				source.sorted = it.ZSet()
			case store.KindSet:
				source.plain = it.Dict()
			default:
				c.fail(errWrongType)
				return q, false
			}
		}
		q.sources = append(q.sources, source)
	}
	merges := op != difference && !counts
	for j := i + 1 + int(n); j < len(c.Args); j++ {
		left := len(c.Args) - j - 1
		switch {
		case merges && left >= int(n) && c.is(j, "weights"):
			for k := range q.sources {
				j++
				if q.sources[k].weight, ok = parseDouble(c.Args[j]); !ok {
					c.fail("ERR weight value is not a float")
					return q, false
				}
			}
		case merges && left >= 1 && c.is(j, "aggregate"):
			j++
			switch {
			case c.is(j, "sum"):
				q.aggregate = sumOfScores
			case c.is(j, "min"):
				q.aggregate = minOfScores
			case c.is(j, "max"):
				q.aggregate = maxOfScores
			default:
				c.fail(errSyntax)
				return q, false
			}
		case !stores && !counts && c.is(j, "withscores"):
			q.withScores = true
		case counts && left >= 1 && c.is(j, "limit"):
			j++
			if q.limit, ok = c.limitArg(j); !ok {
				return q, false
			}
		default:
			c.fail(errSyntax)
			return q, false
		}
	}
	if op != difference {
		q.smallestFirst() // which decides the order in which scores are added up
	}
	return q, true
}

// limitArg reads the LIMIT of ZINTERCARD and SINTERCARD.
func (c *Context) limitArg(i int) (int64, bool) {
	n, ok := resp.ParseInt(c.Args[i])
	if !ok || n < 0 {
		c.fail("ERR LIMIT can't be negative")
		return 0, false
	}
	return n, true
}

// run gives the members of the result, in no particular order.
func (q *combination) run(op setOperation) []scored {
	switch op {
	case union:
		return q.union()
	case intersect:
		return q.intersect()
	}
	return q.difference()
}

func (q *combination) union() (pairs []scored) {
	place := map[string]int{}
	for i := range q.sources {
		s := &q.sources[i]
		s.each(func(member []byte, score float64) bool {
			score = number(score * s.weight)
			if at, there := place[string(member)]; there {
				pairs[at].score = q.aggregate.of(pairs[at].score, score)
			} else {
				place[string(member)] = len(pairs)
				pairs = append(pairs, scored{member, score})
			}
			return true
		})
	}
	return pairs
}

func (q *combination) intersect() (pairs []scored) {
	first, others := &q.sources[0], q.sources[1:]
	first.each(func(member []byte, score float64) bool {
		score = number(score * first.weight)
		for i := range others {
			other, there := others[i].score(member)
			if !there {
				return true
			}
			score = q.aggregate.of(score, other*others[i].weight)
		}
		pairs = append(pairs, scored{member, score})
		return q.limit == 0 || int64(len(pairs)) < q.limit
	})
	return pairs
}

func (q *combination) difference() (pairs []scored) {
	first, others := &q.sources[0], q.sources[1:]
	first.each(func(member []byte, score float64) bool {
		for i := range others {
			if _, there := others[i].score(member); there {
				return true
			}
		}
		pairs = append(pairs, scored{member, score})
		return true
	})
	return pairs
}

func zintercard(c *Context) {
	if q, ok := c.parseCombination(intersect, 1, false, true); ok {
		c.int(int64(len(q.intersect())))
	}
}
