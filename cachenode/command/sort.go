package command

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
)

// sortKeys finds the keys of SORT: the first argument, and what STORE names last.
func sortKeys(args [][]byte, at []int) []int {
	at = append(at, 1)
	target := 0
	for i := 2; i < len(args); i++ {
		switch {
		case EqualFold(args[i], "limit"):
			i += 2
		case EqualFold(args[i], "get"), EqualFold(args[i], "by"):
			i++
		case EqualFold(args[i], "store") && i+1 < len(args):
			i++
			target = i
		}
	}
	if target > 0 {
		at = append(at, target)
	}
	return at
}

// sortsByOthers tells whether SORT reads keys that it does not name: by patterns.
func sortsByOthers(c *Context) bool {
	for i := 2; i+1 < len(c.Args); i++ {
		if c.is(i, "get") && string(c.Args[i+1]) != "#" || c.is(i, "by") && bytes.IndexByte(c.Args[i+1], '*') >= 0 {
			return true
		}
	}
	return false
}

type sortOptions struct {
	desc, alpha, unsorted, store bool

	start, count int64
	by           []byte
	get          [][]byte
}

func (c *Context) parseSort(readOnly bool) (o sortOptions, ok bool) {
	o.count = -1
	for i := 2; i < len(c.Args); i++ {
		more := len(c.Args) - 1 - i
		switch {
		case c.is(i, "asc"):
			o.desc = false
		case c.is(i, "desc"):
			o.desc = true
		case c.is(i, "alpha"):
			o.alpha = true
		case more > 1 && c.is(i, "limit"):
			if o.start, ok = c.intArg(i + 1); !ok {
				return o, false
			}
			if o.count, ok = c.intArg(i + 2); !ok {
				return o, false
			}
			i += 2
		case more > 0 && !readOnly && c.is(i, "store"):
			o.store = true
			i++
		case more > 0 && c.is(i, "by"):
			i++
			o.by = c.Args[i]
			if bytes.IndexByte(o.by, '*') < 0 {
				o.unsorted = true
			} else if c.Peers {
				c.fail("ERR BY option of SORT denied in Cluster mode.")
				return o, false
			}
		case more > 0 && c.is(i, "get"):
			i++
			if c.Peers && string(c.Args[i]) != "#" {
				c.fail("ERR GET option of SORT denied in Cluster mode.")
				return o, false
			}
			o.get = append(o.get, c.Args[i])
		default:
			c.fail(errSyntax)
			return o, false
		}
	}
	return o, true
}

// sortElement is one of what SORT puts in order.
type sortElement struct {
	value []byte
	score float64
	by    []byte // with ALPHA
}

func sortCommand(c *Context) { c.sort(false) }
func sortRO(c *Context)      { c.sort(true) }

func (c *Context) sort(readOnly bool) {
	o, ok := c.parseSort(readOnly)
	if !ok {
		return
	}
	it := c.tx.Get(&c.keys[0])
	var elements []sortElement
	if it != nil {
		switch it.Kind() {
		case store.KindSet, store.KindList, store.KindZSet:
			elements = sortable(it)
		default:
			c.fail(errWrongType)
			return
		}
	}
	if o.unsorted && it != nil && it.Kind() == store.KindSet && (o.store || c.Scripted) {
		o.unsorted, o.alpha, o.by = false, true, nil // what is stored, or a script gets, does not depend on the order of a hash table
	}
	if !o.unsorted {
		if !c.weigh(&o, elements) {
			c.fail("ERR One or more scores can't be converted into double")
			return
		}
		slices.SortStableFunc(elements, o.compare)
	} else if o.desc && it != nil && it.Kind() != store.KindSet {
		slices.Reverse(elements)
	}
	n := int64(len(elements))
	start := min(max(o.start, 0), n)
	end := n
	if o.count >= 0 {
		end = start + min(o.count, n-start)
	}
	elements = elements[start:end]
	if o.store {
		c.storeSorted(&o, elements)
		return
	}
	c.array(len(elements) * max(1, len(o.get)))
	for i := range elements {
		if len(o.get) == 0 {
			c.bulk(elements[i].value)
		}
		for _, pattern := range o.get {
			if v, ok := c.byPattern(pattern, elements[i].value); ok {
				c.bulk(v)
			} else {
				c.null()
			}
		}
	}
}

// sortable lists the elements of a list, a set, or a sorted set.
func sortable(it *store.Item) []sortElement {
	elements := make([]sortElement, 0, it.Collection().Len())
	switch it.Kind() {
	case store.KindSet:
		for i := range it.Dict().Len() {
			member, _ := it.Dict().At(i)
			elements = append(elements, sortElement{value: member})
		}
	case store.KindList:
		for at := it.List().Seek(0); at.Valid(); at.Next() {
			elements = append(elements, sortElement{value: at.Value()})
		}
	case store.KindZSet:
		at := it.ZSet().At(0)
		for range it.ZSet().Len() {
			elements = append(elements, sortElement{value: at.Member()})
			at.Next()
		}
	}
	return elements
}

// weigh finds what each element is compared by. It reports false when that should be a number and is none.
func (c *Context) weigh(o *sortOptions, elements []sortElement) bool {
	for i := range elements {
		e := &elements[i]
		v, there := e.value, true
		if o.by != nil {
			v, there = c.byPattern(o.by, e.value)
		}
		switch {
		case !there:
		case o.alpha:
			e.by = v
			if v == nil {
				e.by = []byte{}
			}
		default:
			var ok bool
			if e.score, ok = parseWeight(v); !ok {
				return false
			}
		}
	}
	return true
}

// parseWeight reads what strtod reads, to the end of the string, but no NaN and nothing out of range.
func parseWeight(b []byte) (float64, bool) {
	s := cString(b)
	if s == "" {
		return 0, true
	}
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	if s == "" {
		return 0, false
	}
	v, inRange, ok := strtod([]byte(s))
	return v, ok && inRange && !math.IsNaN(v)
}

func (o *sortOptions) compare(a, b sortElement) int {
	order := 0
	switch {
	case !o.alpha:
		if order = cmp.Compare(a.score, b.score); order == 0 {
			order = bytes.Compare(a.value, b.value)
		}
	case a.by == nil || b.by == nil: // one that has nothing to compare by comes first
		order = presence(a.by) - presence(b.by)
	default:
		order = bytes.Compare(a.by, b.by)
	}
	if o.desc {
		return -order
	}
	return order
}

func presence(b []byte) int {
	if b == nil {
		return 0
	}
	return 1
}

// byPattern looks up what a pattern of BY or GET means for an element: # the element itself, otherwise the string whose
// key the pattern is with the element in place of the *, or the field behind -> of the hash there.
func (c *Context) byPattern(pattern, element []byte) (v []byte, ok bool) {
	if string(pattern) == "#" {
		return element, true
	}
	star := bytes.IndexByte(pattern, '*')
	if star < 0 {
		return nil, false
	}
	rest, field := pattern[star+1:], []byte(nil)
	if i := bytes.Index(rest, []byte("->")); i >= 0 && i+2 < len(rest) {
		rest, field = rest[:i], rest[i+2:]
	}
	name := slices.Concat(pattern[:star], element, rest)
	k := c.Store.Key(store.StoredKey(make([]byte, 0, len(name)+1), c.DB, name))
	it := c.tx.Peek(&k)
	switch {
	case it == nil:
		return nil, false
	case field != nil && it.Kind() == store.KindHash:
		return it.Dict().Get(field)
	case field == nil && it.Kind() == store.KindString:
		return it.Value(), true
	}
	return nil, false
}

// storeSorted makes a list of the result.
func (c *Context) storeSorted(o *sortOptions, elements []sortElement) {
	values := make([][]byte, 0, len(elements)*max(1, len(o.get)))
	growth := store.ItemGrowth(0)
	for i := range elements {
		if len(o.get) == 0 {
			values = append(values, elements[i].value)
		}
		for _, pattern := range o.get {
			v, _ := c.byPattern(pattern, elements[i].value)
			values = append(values, v)
		}
	}
	for _, v := range values {
		growth += int64(len(v)) + 16
	}
	target := &c.keys[1]
	switch {
	case len(values) == 0:
		if c.tx.Delete(target) {
			c.event(EventGeneric, "del", 1)
		}
	case !c.Store.Fits(growth):
		c.fail(errOOM)
		return
	default:
		// What is sorted may be what is replaced, and its memory be used again.
		for i, v := range values {
			values[i] = bytes.Clone(v)
		}
		it := c.tx.Create(target, store.KindList)
		for _, v := range values {
			it.List().PushBack(v)
		}
		c.tx.Update(target, it)
		c.event(EventList, "sortstore", 1)
	}
	c.int(int64(len(values)))
}
