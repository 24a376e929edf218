package command

import (
	"slices"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

func setStoreSpecs() []Spec {
	return []Spec{
		{Name: "smove", Arity: 4, Flags: Write | Fast, FirstKey: 1, LastKey: 2, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Moves a member from one set to another", run: smove},
		{Name: "sunionstore", Arity: -3, Flags: Write | DenyOOM, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Stores the union of multiple sets in a key", run: sunionstore},
		{Name: "sinterstore", Arity: -3, Flags: Write | DenyOOM, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Stores the intersect of multiple sets in a key", run: sinterstore},
		{Name: "sdiffstore", Arity: -3, Flags: Write | DenyOOM, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Stores the difference of multiple sets in a key", run: sdiffstore},
		{Name: "sintercard", Arity: -3, Flags: ReadOnly, keys: keysCountedAt(1), Group: "set", Since: "7.0.0",
			Help: "Returns the number of members of the intersect of multiple sets", run: sintercard},
	}
}

func smove(c *Context) {
	from := c.tx.Peek(&c.keys[0])
	if from == nil {
		c.int(0)
		return
	}
	from, ok := c.forWrite(0, store.KindSet)
	if !ok {
		return
	}
	to, ok := c.forWrite(1, store.KindSet)
	if !ok {
		return
	}
	member := c.Args[3]
	if from == to {
		c.bool(has(from, member))
		return
	}
	if !from.Dict().Delete(member) {
		c.int(0)
		return
	}
	left := from.Dict().Len()
	c.tx.Update(&c.keys[0], from)
	c.event(EventSet, "srem", 0)
	if left == 0 {
		c.event(EventGeneric, "del", 0)
	}
	if to == nil {
		to = c.tx.Create(&c.keys[1], store.KindSet)
	}
	if to.Dict().Set(member, nil) {
		c.tx.Update(&c.keys[1], to)
		c.event(EventSet, "sadd", 1)
	}
	c.int(1)
}

func sunionstore(c *Context) { c.storeSet(union, "sunionstore") }
func sinterstore(c *Context) { c.storeSet(intersect, "sinterstore") }
func sdiffstore(c *Context)  { c.storeSet(difference, "sdiffstore") }

// storeSet combines the sets from the second key on into the first, whatever was there. It may be one of them: the
// memory of what it held lives on as long as its members are needed.
func (c *Context) storeSet(op setOperation, event string) {
	q := combination{}
	for i := 1; i < len(c.keys); i++ {
		it, ok := c.lookup(i, store.KindSet)
		if !ok {
			return
		}
		q.addSet(it)
	}
	if op == intersect {
		q.smallestFirst()
	}
	members := q.run(op)
	if len(members) == 0 {
		if c.tx.Delete(&c.keys[0]) {
			c.event(EventGeneric, "del", 0)
		}
		c.int(0)
		return
	}
	it := c.tx.Create(&c.keys[0], store.KindSet)
	for i := range members {
		it.Dict().Set(members[i].member, nil)
	}
	c.tx.Update(&c.keys[0], it)
	c.event(EventSet, event, 0)
	c.int(int64(len(members)))
}

func (q *combination) addSet(it *store.Item) {
	source := zsource{weight: 1}
	if it != nil {
		source.plain = it.Dict()
	}
	q.sources = append(q.sources, source)
}

func (q *combination) smallestFirst() {
	slices.SortStableFunc(q.sources, func(a, b zsource) int { return a.len() - b.len() })
}

func sintercard(c *Context) {
	n, ok := resp.ParseInt(c.Args[1])
	if !ok || n < 1 {
		c.fail("ERR numkeys should be greater than 0")
		return
	}
	if n > int64(len(c.Args)-2) {
		c.fail("ERR Number of keys can't be greater than number of args")
		return
	}
	q := combination{}
	for j := 2 + int(n); j < len(c.Args); j += 2 {
		if !c.is(j, "limit") || j+1 == len(c.Args) {
			c.fail(errSyntax)
			return
		}
		if q.limit, ok = c.limitArg(j + 1); !ok {
			return
		}
	}
	for i := range c.keys {
		it, ok := c.lookup(i, store.KindSet)
		if !ok {
			return
		}
		q.addSet(it)
	}
	q.smallestFirst()
	c.int(int64(len(q.intersect())))
}
