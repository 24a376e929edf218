package command

import (
	"math"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

func listSpecs() []Spec {
	const one, move = Write | DenyOOM | Fast, Write | DenyOOM
	return []Spec{
		{Name: "lpush", Arity: -3, Flags: one, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "1.0.0",
			Help: "Prepends one or more elements to a list", run: lpush},
		{Name: "rpush", Arity: -3, Flags: one, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "1.0.0",
			Help: "Appends one or more elements to a list", run: rpush},
		{Name: "lpushx", Arity: -3, Flags: one, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "2.2.0",
			Help: "Prepends one or more elements to a list only when the list exists", run: lpushx},
		{Name: "rpushx", Arity: -3, Flags: one, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "2.2.0",
			Help: "Appends one or more elements to a list only when the list exists", run: rpushx},
		{Name: "lpop", Arity: -2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "1.0.0",
			Help: "Returns the first elements of a list after removing them", run: lpop},
		{Name: "rpop", Arity: -2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "1.0.0",
			Help: "Returns the last elements of a list after removing them", run: rpop},
		{Name: "llen", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "1.0.0",
			Help: "Returns the length of a list", run: llen},
		{Name: "lrange", Arity: 4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "1.0.0",
			Help: "Returns a range of elements from a list", run: lrange},
		{Name: "lindex", Arity: 3, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "1.0.0",
			Help: "Returns an element from a list by its index", run: lindex},
		{Name: "lset", Arity: 4, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "1.0.0",
			Help: "Sets the value of an element in a list by its index", run: lset},
		{Name: "linsert", Arity: 5, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "2.2.0",
			Help: "Inserts an element before or after another element in a list", run: linsert},
		{Name: "lrem", Arity: 4, Flags: Write, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "1.0.0",
			Help: "Removes elements from a list", run: lrem},
		{Name: "ltrim", Arity: 4, Flags: Write, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "1.0.0",
			Help: "Removes elements from both ends of a list", run: ltrim},
		{Name: "lpos", Arity: -3, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "list", Since: "6.0.6",
			Help: "Returns the index of matching elements in a list", run: lpos},
		{Name: "lmove", Arity: 5, Flags: move, FirstKey: 1, LastKey: 2, KeyStep: 1, Group: "list", Since: "6.2.0",
			Help: "Returns an element after moving it from one list to another", run: lmove},
		{Name: "rpoplpush", Arity: 3, Flags: move, FirstKey: 1, LastKey: 2, KeyStep: 1, Group: "list", Since: "1.2.0",
			Help: "Returns the last element of a list after moving it to the head of another", run: rpoplpush},
		{Name: "lmpop", Arity: -4, Flags: Write, Group: "list", Since: "7.0.0",
			Help: "Returns elements from the first list that has any after removing them", run: lmpop, keys: keysCountedAt(1)},
		{Name: "blpop", Arity: -3, Flags: Write | Blocking | NoScript, FirstKey: 1, LastKey: -2, KeyStep: 1, Group: "list", Since: "2.0.0",
			Help: "Removes and returns the first element of a list, waiting for one", run: blpop},
		{Name: "brpop", Arity: -3, Flags: Write | Blocking | NoScript, FirstKey: 1, LastKey: -2, KeyStep: 1, Group: "list", Since: "2.0.0",
			Help: "Removes and returns the last element of a list, waiting for one", run: brpop},
		{Name: "blmove", Arity: 6, Flags: move | Blocking | NoScript, FirstKey: 1, LastKey: 2, KeyStep: 1, Group: "list", Since: "6.2.0",
			Help: "Moves an element from one list to another, waiting for one", run: blmove},
		{Name: "brpoplpush", Arity: 4, Flags: move | Blocking | NoScript, FirstKey: 1, LastKey: 2, KeyStep: 1, Group: "list", Since: "2.2.0",
			Help: "Moves the last element of a list to the head of another, waiting for one", run: brpoplpush},
		{Name: "blmpop", Arity: -5, Flags: Write | Blocking, Group: "list", Since: "7.0.0",
			Help: "Removes and returns elements of the first list that has any, waiting for one", run: blmpop, keys: keysCountedAt(2)},
	}
}

func lpush(c *Context)  { c.push(true, false) }
func rpush(c *Context)  { c.push(false, false) }
func lpushx(c *Context) { c.push(true, true) }
func rpushx(c *Context) { c.push(false, true) }

func (c *Context) push(front, mustExist bool) {
	it, ok := c.forWrite(0, store.KindList)
	if !ok {
		return
	}
	if it == nil {
		if mustExist {
			c.int(0)
			return
		}
		it = c.tx.Create(&c.keys[0], store.KindList)
	}
	l := it.List()
	for _, value := range c.Args[2:] {
		if front {
			l.PushFront(value)
		} else {
			l.PushBack(value)
		}
	}
	c.tx.Update(&c.keys[0], it)
	c.event(EventList, pushEvent(front), 0)
	c.int(int64(l.Len()))
}

func pushEvent(front bool) string {
	if front {
		return "lpush"
	}
	return "rpush"
}

func popEvent(front bool) string {
	if front {
		return "lpop"
	}
	return "rpop"
}

func lpop(c *Context) { c.popCommand(true) }
func rpop(c *Context) { c.popCommand(false) }

func (c *Context) popCommand(front bool) {
	count := int64(-1)
	switch len(c.Args) {
	case 2:
	case 3:
		var ok bool
		if count, ok = resp.ParseInt(c.Args[2]); !ok || count < 0 {
			c.fail(errNotPositive)
			return
		}
	default:
		c.wrongArgs()
		return
	}
	it, ok := c.forWrite(0, store.KindList)
	switch {
	case !ok:
	case it == nil && count < 0:
		c.null()
	case it == nil:
		c.Out = resp.AppendNullArray(c.Out, c.Proto)
	case count < 0:
		c.pop(it.List(), front)
		c.popped(0, it, popEvent(front))
	default:
		c.popMany(0, it, front, count)
	}
}

// pop replies an element at an end of l and removes it.
func (c *Context) pop(l *store.List, front bool) {
	if front {
		c.bulk(l.Front())
		l.PopFront()
	} else {
		c.bulk(l.Back())
		l.PopBack()
	}
}

// popMany replies an array of up to count elements and removes them from the list of key i.
func (c *Context) popMany(i int, it *store.Item, front bool, count int64) {
	l := it.List()
	n := int(min(count, int64(l.Len())))
	c.array(n)
	if n == 0 {
		return
	}
	for range n {
		c.pop(l, front)
	}
	c.popped(i, it, popEvent(front))
}

// popped books that the list of key i has lost elements.
func (c *Context) popped(i int, it *store.Item, event string) {
	gone := it.List().Len() == 0
	c.tx.Update(&c.keys[i], it)
	c.event(EventList, event, i)
	if gone {
		c.event(EventGeneric, "del", i)
	}
}

func llen(c *Context) {
	it, ok := c.lookup(0, store.KindList)
	switch {
	case !ok:
	case it == nil:
		c.int(0)
	default:
		c.int(int64(it.List().Len()))
	}
}

// rangeArgs reads arguments 2 and 3, from and to an index.
func (c *Context) rangeArgs() (from, to int64, ok bool) {
	if from, ok = c.intArg(2); !ok {
		return
	}
	to, ok = c.intArg(3)
	return
}

// clip makes a range of indices, negative ones from the end, one of n elements: from first, count of them.
func clip(from, to int64, n int) (first, count int) {
	size := int64(n)
	if from < 0 {
		from = max(from+size, 0)
	}
	if to < 0 {
		to += size
	}
	to = min(to, size-1)
	if from > to {
		return 0, 0
	}
	return int(from), int(to-from) + 1
}

func lrange(c *Context) {
	from, to, ok := c.rangeArgs()
	if !ok {
		return
	}
	it, ok := c.lookup(0, store.KindList)
	switch {
	case !ok:
		return
	case it == nil:
		c.array(0)
		return
	}
	first, count := clip(from, to, it.List().Len())
	c.array(count)
	for p := it.List().Seek(first); count > 0; count-- {
		c.bulk(p.Value())
		p.Next()
	}
}

// seek finds the element that argument 2 names, negative from the end. When that is no number, the error is replied.
func (c *Context) seek(l *store.List) (p store.ListCursor, ok bool) {
	i, ok := c.intArg(2)
	if !ok {
		return p, false
	}
	if i < 0 {
		i += int64(l.Len())
	}
	if i >= int64(l.Len()) {
		i = -1
	}
	return l.Seek(int(i)), true
}

func lindex(c *Context) {
	it, ok := c.lookup(0, store.KindList)
	switch {
	case !ok:
		return
	case it == nil:
		c.null()
		return
	}
	p, ok := c.seek(it.List())
	switch {
	case !ok:
	case !p.Valid():
		c.null()
	default:
		c.bulk(p.Value())
	}
}

func lset(c *Context) {
	it, ok := c.forWrite(0, store.KindList)
	switch {
	case !ok:
		return
	case it == nil:
		c.fail(errNoSuchKey)
		return
	}
	p, ok := c.seek(it.List())
	switch {
	case !ok:
	case !p.Valid():
		c.fail("ERR index out of range")
	default:
		p.Set(c.Args[3])
		c.tx.Update(&c.keys[0], it)
		c.event(EventList, "lset", 0)
		c.ok()
	}
}

func linsert(c *Context) {
	behind := c.is(2, "after")
	if !behind && !c.is(2, "before") {
		c.fail(errSyntax)
		return
	}
	it, ok := c.forWrite(0, store.KindList)
	switch {
	case !ok:
		return
	case it == nil:
		c.int(0)
		return
	}
	l := it.List()
	for p := l.Seek(0); p.Valid(); p.Next() {
		if string(p.Value()) == string(c.Args[3]) {
			p.Insert(c.Args[4], behind)
			c.tx.Update(&c.keys[0], it)
			c.event(EventList, "linsert", 0)
			c.int(int64(l.Len()))
			return
		}
	}
	c.int(-1)
}

func lrem(c *Context) {
	count, ok := c.intArg(2)
	if !ok {
		return
	}
	it, ok := c.forWrite(0, store.KindList)
	switch {
	case !ok:
		return
	case it == nil:
		c.int(0)
		return
	}
	limit := count
	switch {
	case count == 0 || count == math.MinInt64:
		limit = math.MaxInt64
	case count < 0:
		limit = -count
	}
	removed := it.List().Remove(c.Args[3], int(limit), count < 0)
	if removed > 0 {
		c.popped(0, it, "lrem")
	}
	c.int(int64(removed))
}

func ltrim(c *Context) {
	from, to, ok := c.rangeArgs()
	if !ok {
		return
	}
	it, ok := c.forWrite(0, store.KindList)
	switch {
	case !ok:
		return
	case it == nil:
		c.ok()
		return
	}
	l := it.List()
	first, count := clip(from, to, l.Len())
	l.Trim(first, l.Len()-first-count)
	c.popped(0, it, "ltrim")
	c.ok()
}

func lpos(c *Context) {
	rank, count, maxLen := int64(1), int64(-1), int64(0)
	for i := 3; i < len(c.Args); i += 2 {
		if i+1 == len(c.Args) {
			c.fail(errSyntax)
			return
		}
		v, isInt := resp.ParseInt(c.Args[i+1])
		switch {
		case c.is(i, "rank"):
			switch {
			case !isInt:
				c.fail(errNotInteger)
				return
			case v == math.MinInt64:
				v = -1 // it has no opposite; Redis takes any match then
			case v == 0:
				c.fail("ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... " +
					"or use negative to start from the end of the list")
				return
			}
			rank = v
		case c.is(i, "count"):
			if !isInt || v < 0 {
				c.fail("ERR COUNT can't be negative")
				return
			}
			count = v
		case c.is(i, "maxlen"):
			if !isInt || v < 0 {
				c.fail("ERR MAXLEN can't be negative")
				return
			}
			maxLen = v
		default:
			c.fail(errSyntax)
			return
		}
	}
	it, ok := c.lookup(0, store.KindList)
	switch {
	case !ok:
		return
	case it == nil && count < 0:
		c.null()
		return
	case it == nil:
		c.array(0)
		return
	}
	found := positions(it.List(), c.Args[2], rank, max(count, 0), maxLen, count < 0)
	switch {
	case count >= 0:
		c.array(len(found))
		for _, i := range found {
			c.int(int64(i))
		}
	case len(found) == 0:
		c.null()
	default:
		c.int(int64(found[0]))
	}
}

// positions finds value in l, from the end when rank is negative: from the rank-th match on, at most count matches (0: all)
// or one, looking at no more than maxLen elements (0: all).
func positions(l *store.List, value []byte, rank, count, maxLen int64, one bool) (found []int) {
	backward := rank < 0
	i, step := 0, 1
	if backward {
		rank, i, step = -rank, l.Len()-1, -1
	}
	if one {
		count = 1
	}
	seen := int64(0)
	for p := l.Seek(i); p.Valid() && (maxLen == 0 || seen < maxLen); seen++ {
		if string(p.Value()) == string(value) {
			if rank > 1 {
				rank--
			} else if found = append(found, i); int64(len(found)) == count {
				break
			}
		}
		i += step
		if backward {
			p.Prev()
		} else {
			p.Next()
		}
	}
	return found
}
