package store

import (
	"bytes"
	"slices"
	"time"
)

// Rule keeps the readers of popular keys from all making a value anew at once. It holds for the strings whose keys begin
// with a prefix; where several do, for those with the longest.
type Rule struct {
	// Prefix is of keys as clients name them, in every database; the empty one is of all keys.
	Prefix string
	// Stale is how long after its end a value is still given to those who do not hold the lease; 0 not at all.
	Stale time.Duration
	// RefreshAhead is how long before its end one reader is sent to make it anew; 0 not at all. It begins in the second
	// half of what is left of a value's life when it is written: a short-lived one would never be read.
	RefreshAhead time.Duration
	// Lease is how long who was sent has to set the key, before another is; 0 is DefaultLease.
	Lease time.Duration

	// Single keys have no copy at a backup.
	Single bool
	// Strong keys are read where they are owned, whatever a nearer node remembers of them.
	Strong bool
	// Tags are what keys are bound to by their names.
	Tags []TagPattern
	// Miss says that a read finds nothing where the owner of the key cannot be reached, in place of an error.
	Miss bool
}

// DefaultLease is the time that makes most values.
const DefaultLease = 5 * time.Second

// rules are what a shard goes by. They do not change; nil are none.
type rules struct {
	list  []rule // the longest prefixes first
	ahead int64  // the longest of the list: who is further from its end need not be looked up

	single, strong, miss, tagged bool // of any of the list
}

// rule is a Rule in milliseconds.
type rule struct {
	prefix              []byte
	stale, ahead, lease int64

	single, strong, miss bool
	tags                 []TagPattern
}

// SetRules replaces the rules. What is stale already stays as long as the rule of before has said, and is given to nobody
// where there is no rule any more.
func (s *Store) SetRules(list []Rule) {
	var all *rules
	if len(list) > 0 {
		all = &rules{}
	}
	for _, r := range list {
		if r.Lease == 0 {
			r.Lease = DefaultLease
		}
		all.list = append(all.list, rule{
			prefix: []byte(r.Prefix),
			stale:  r.Stale.Milliseconds(), ahead: r.RefreshAhead.Milliseconds(), lease: r.Lease.Milliseconds(),
			single: r.Single, strong: r.Strong, miss: r.Miss, tags: r.Tags,
		})
		all.ahead = max(all.ahead, r.RefreshAhead.Milliseconds())
		all.tagged = all.tagged || len(r.Tags) > 0
		all.single, all.strong, all.miss = all.single || r.Single, all.strong || r.Strong, all.miss || r.Miss
	}
	if all != nil {
		slices.SortStableFunc(all.list, func(a, b rule) int { return len(b.prefix) - len(a.prefix) })
	}
	s.rules.Store(all)
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		sh.rules = all
		sh.mu.Unlock()
	}
	s.ForgetCopies()
}

// of is the rule for a stored key, one that says nothing if there is none.
func (r *rules) of(stored []byte) rule {
	if r == nil {
		return rule{}
	}
	_, name := SplitKey(stored)
	for i := range r.list {
		if bytes.HasPrefix(name, r.list[i].prefix) {
			return r.list[i]
		}
	}
	return rule{}
}

// HasSingles tells whether any rule says that keys are single.
func (s *Store) HasSingles() bool {
	r := s.rules.Load()
	return r != nil && r.single
}

// Single tells whether a stored key has no copy at a backup. It may be asked with shards held, as may Strong and Miss.
func (s *Store) Single(stored []byte) bool {
	r := s.rules.Load()
	return r != nil && r.single && r.of(stored).single
}

// Strong tells whether a stored key is to be read where it is owned.
func (s *Store) Strong(stored []byte) bool {
	r := s.rules.Load()
	return r != nil && r.strong && r.of(stored).strong
}

// HasMisses tells whether any rule says that reads of keys whose owner cannot be reached find nothing.
func (s *Store) HasMisses() bool {
	r := s.rules.Load()
	return r != nil && r.miss
}

// Miss tells whether a read of a stored key finds nothing when its owner cannot be reached.
func (s *Store) Miss(stored []byte) bool {
	r := s.rules.Load()
	return r != nil && r.miss && r.of(stored).miss
}

// aging tells whether a live item is so near to its end that it should be made anew, and by when.
func (r *rules) aging(it *Item, now int64) (lease int64, aging bool) {
	if r == nil || it.expireAt == 0 || it.expireAt-now > r.ahead || it.kind != KindString {
		return 0, false
	}
	one := r.of(it.Key())
	life := it.expireAt - int64(it.version>>16) // since it was last written
	return one.lease, it.expireAt-now <= min(one.ahead, life/2)
}
