package store

import (
	"fmt"
	"slices"
	"strings"
)

// Policy says what gives way when the budget is used up. Redis's policies that go by use are all S3-FIFO here; they keep their
// names, for tools that ask for what they have set.
type Policy uint8

const (
	// AllKeysS3FIFO evicts any key, the least useful first.
	AllKeysS3FIFO Policy = iota
	AllKeysLRU
	AllKeysLFU
	AllKeysRandom
	// VolatileS3FIFO evicts only keys with a time to live, the least useful first.
	VolatileS3FIFO
	VolatileLRU
	VolatileLFU
	VolatileRandom
	// VolatileTTL evicts only keys with a time to live, the one that expires next first.
	VolatileTTL
	// NoEviction refuses writes instead.
	NoEviction
)

var policyNames = []string{"allkeys-s3fifo", "allkeys-lru", "allkeys-lfu", "allkeys-random",
	"volatile-s3fifo", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "noeviction"}

// ParsePolicy finds a policy by its name, in any case.
func ParsePolicy(name string) (Policy, error) {
	if i := slices.Index(policyNames, strings.ToLower(name)); i >= 0 {
		return Policy(i), nil
	}
	return 0, fmt.Errorf("unknown eviction policy %q: use one of %s", name, strings.Join(policyNames, ", "))
}

func (p Policy) String() string { return policyNames[p] }

// queueOf is the kind of queue that an item waits in to be evicted: none, the timed one, or the small one for those that
// S3-FIFO looks after.
func (p Policy) queueOf(it *Item) queueID {
	switch {
	case it.kind == kindTombstone:
		return queueTombs
	case p <= AllKeysRandom, p <= VolatileRandom && it.expireAt != 0:
		return queueSmall
	case p == VolatileTTL && it.expireAt != 0:
		return queueTimed
	}
	return queueNone
}

// Policy is the policy of now.
func (s *Store) Policy() Policy { return Policy(s.policy.Load()) }

// SetPolicy changes the policy. Each shard is held for as long as it takes to queue its items anew.
func (s *Store) SetPolicy(p Policy) {
	if Policy(s.policy.Swap(uint32(p))) == p {
		return
	}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		sh.policy = s.Policy() // p, or what somebody else has set since
		for it := range sh.slab.all() {
			sh.requeue(it)
		}
		sh.mu.Unlock()
	}
	s.reserve(0)
}
