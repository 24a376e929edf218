package command

import "github.com/outrigger-proxy/outrigger/cachenode/store"

func zsetSpecs() []Spec {
	return []Spec{
		{Name: "zadd", Arity: -4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "1.2.0",
			Help: "Adds members to a sorted set, or updates their scores", run: zadd, grow: zsetGrowth},
		{Name: "zincrby", Arity: 4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "1.2.0",
			Help: "Increments the score of a member", run: zincrby, grow: zsetGrowth},
		{Name: "zscore", Arity: 3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "1.2.0",
			Help: "Returns the score of a member", run: zscore},
		{Name: "zmscore", Arity: -3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "6.2.0",
			Help: "Returns the scores of members", run: zmscore},
		{Name: "zcard", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "1.2.0",
			Help: "Returns the number of members", run: zcard},
		{Name: "zcount", Arity: 4, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "2.0.0",
			Help: "Returns the number of members within a range of scores", run: zcount},
		{Name: "zlexcount", Arity: 4, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "2.8.9",
			Help: "Returns the number of members within a lexicographical range", run: zlexcount},
		{Name: "zrank", Arity: -3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "2.0.0",
			Help: "Returns the index of a member, by ascending scores", run: zrank},
		{Name: "zrevrank", Arity: -3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "2.0.0",
			Help: "Returns the index of a member, by descending scores", run: zrevrank},
		{Name: "zrange", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "1.2.0",
			Help: "Returns members within a range of indexes, scores or names", run: zrange},
		{Name: "zrangestore", Arity: -5, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 2, KeyStep: 1, Group: "sorted-set", Since: "6.2.0",
			Help: "Stores a range of members in another key", run: zrangestore},
		{Name: "zrangebyscore", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "1.0.5",
			Help: "Returns members within a range of scores", run: zrangebyscore},
		{Name: "zrevrangebyscore", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "2.2.0",
			Help: "Returns members within a range of scores, the highest first", run: zrevrangebyscore},
		{Name: "zrangebylex", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "2.8.9",
			Help: "Returns members within a lexicographical range", run: zrangebylex},
		{Name: "zrevrangebylex", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "2.8.9",
			Help: "Returns members within a lexicographical range, the last first", run: zrevrangebylex},
		{Name: "zrevrange", Arity: -4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "1.2.0",
			Help: "Returns members within a range of indexes, the highest scores first", run: zrevrange},
		{Name: "zrem", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "1.2.0",
			Help: "Removes members", run: zrem},
		{Name: "zremrangebyrank", Arity: 4, Flags: Write, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "2.0.0",
			Help: "Removes members within a range of indexes", run: zremrangebyrank},
		{Name: "zremrangebyscore", Arity: 4, Flags: Write, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "1.2.0",
			Help: "Removes members within a range of scores", run: zremrangebyscore},
		{Name: "zremrangebylex", Arity: 4, Flags: Write, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "2.8.9",
			Help: "Removes members within a lexicographical range", run: zremrangebylex},
		{Name: "zpopmin", Arity: -2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "5.0.0",
			Help: "Returns the members with the lowest scores after removing them", run: zpopmin},
		{Name: "zpopmax", Arity: -2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "5.0.0",
			Help: "Returns the members with the highest scores after removing them", run: zpopmax},
		{Name: "zmpop", Arity: -4, Flags: Write, keys: keysCountedAt(1), Group: "sorted-set", Since: "7.0.0",
			Help: "Returns the lowest or highest members of the first sorted set that is not empty, after removing them", run: zmpop},
		{Name: "bzpopmin", Arity: -3, Flags: Write | Fast | Blocking | NoScript, FirstKey: 1, LastKey: -2, KeyStep: 1, Group: "sorted-set", Since: "5.0.0",
			Help: "Removes and returns the member with the lowest score, waiting until there is one", run: bzpopmin},
		{Name: "bzpopmax", Arity: -3, Flags: Write | Fast | Blocking | NoScript, FirstKey: 1, LastKey: -2, KeyStep: 1, Group: "sorted-set", Since: "5.0.0",
			Help: "Removes and returns the member with the highest score, waiting until there is one", run: bzpopmax},
		{Name: "bzmpop", Arity: -5, Flags: Write | Blocking, keys: keysCountedAt(2), Group: "sorted-set", Since: "7.0.0",
			Help: "Removes and returns the lowest or highest members of one of the sorted sets, waiting until there is one", run: bzmpop},
		{Name: "zrandmember", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "6.2.0",
			Help: "Returns one or more random members", run: zrandmember},
		{Name: "zscan", Arity: -3, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "sorted-set", Since: "2.8.0",
			Help: "Iterates over members and scores", run: zscan},
		{Name: "zunion", Arity: -3, Flags: ReadOnly, keys: keysCountedAt(1), Group: "sorted-set", Since: "6.2.0",
			Help: "Returns the union of multiple sorted sets", run: zunion},
		{Name: "zinter", Arity: -3, Flags: ReadOnly, keys: keysCountedAt(1), Group: "sorted-set", Since: "6.2.0",
			Help: "Returns the intersect of multiple sorted sets", run: zinter},
		{Name: "zdiff", Arity: -3, Flags: ReadOnly, keys: keysCountedAt(1), Group: "sorted-set", Since: "6.2.0",
			Help: "Returns the difference between multiple sorted sets", run: zdiff},
		{Name: "zintercard", Arity: -3, Flags: ReadOnly, keys: keysCountedAt(1), Group: "sorted-set", Since: "7.0.0",
			Help: "Returns the number of members of the intersect of multiple sorted sets", run: zintercard},
		{Name: "zunionstore", Arity: -4, Flags: Write | DenyOOM, keys: keysCountedAfterTarget, Group: "sorted-set", Since: "2.0.0",
			Help: "Stores the union of multiple sorted sets in a key", run: zunionstore},
		{Name: "zinterstore", Arity: -4, Flags: Write | DenyOOM, keys: keysCountedAfterTarget, Group: "sorted-set", Since: "2.0.0",
			Help: "Stores the intersect of multiple sorted sets in a key", run: zinterstore},
		{Name: "zdiffstore", Arity: -4, Flags: Write | DenyOOM, keys: keysCountedAfterTarget, Group: "sorted-set", Since: "6.2.0",
			Help: "Stores the difference between multiple sorted sets in a key", run: zdiffstore},
	}
}

// zsetGrowth counts what a member may cost beyond its bytes and its own slots: nodes that split, a further chunk.
func zsetGrowth(*Context) int64 { return 4 << 10 }

// keysCountedAt makes the keys function of a command whose argument i is the number of the keys behind it.
func keysCountedAt(i int) func(args [][]byte, at []int) []int {
	return func(args [][]byte, at []int) []int { return keysCounted(args, i, at) }
}

// keysCountedAfterTarget: a key, then a number and as many keys.
func keysCountedAfterTarget(args [][]byte, at []int) []int {
	return keysCounted(args, 2, append(at, 1))
}

// keysCounted gives none when the number is none, or more than there are arguments.
func keysCounted(args [][]byte, i int, at []int) []int {
	if i >= len(args) {
		return at
	}
	n, ok := parseCount(args[i], len(args)-i-1)
	if !ok {
		return at
	}
	for k := range n {
		at = append(at, i+1+k)
	}
	return at
}

// lookupZSet is lookup for sorted sets; a missing one is nil.
func (c *Context) lookupZSet(i int) (*store.ZSet, bool) {
	it, ok := c.lookup(i, store.KindZSet)
	if it == nil {
		return nil, ok
	}
	return it.ZSet(), ok
}
