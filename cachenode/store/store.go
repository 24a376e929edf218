package store

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// Partitions is the number of partitions, the ring's.
const Partitions = ring.Partitions

// Policy says what gives way when the budget is used up.
type Policy uint8

const (
	// AllKeysS3FIFO evicts any key, the least useful first.
	AllKeysS3FIFO Policy = iota
	// VolatileS3FIFO evicts only keys with a time to live.
	VolatileS3FIFO
	// NoEviction refuses writes instead.
	NoEviction
)

// ParsePolicy understands Redis's names: all allkeys and all volatile policies mean the same here.
func ParsePolicy(name string) (Policy, error) {
	switch name = strings.ToLower(name); {
	case name == "noeviction":
		return NoEviction, nil
	case name == "allkeys-s3fifo", name == "allkeys-lru", name == "allkeys-lfu", name == "allkeys-random":
		return AllKeysS3FIFO, nil
	case name == "volatile-s3fifo", name == "volatile-lru", name == "volatile-lfu", name == "volatile-random",
		name == "volatile-ttl":
		return VolatileS3FIFO, nil
	}
	return 0, fmt.Errorf("unknown eviction policy %q: use noeviction, allkeys-s3fifo, volatile-s3fifo or one of Redis's names", name)
}

func (p Policy) String() string {
	switch p {
	case NoEviction:
		return "noeviction"
	case VolatileS3FIFO:
		return "volatile-s3fifo"
	}
	return "allkeys-s3fifo"
}

// evicts tells whether an item may be evicted and so has to queue.
func (p Policy) evicts(it *Item) bool {
	return p == AllKeysS3FIFO || p == VolatileS3FIFO && it.expireAt != 0
}

// ErrNoRoom says that the budget is used up and the policy does not allow to make room.
var ErrNoRoom = errors.New("out of memory: the cache's budget is used up")

// Config of a Store. The zero value is a store without a bound that keeps no tombstones.
type Config struct {
	MaxBytes int64  // budget, overhead included; 0 = none
	Policy   Policy // default AllKeysS3FIFO

	// TombstoneTTL is how long a deletion is remembered; it must outlast a hand-off. 0 keeps none: for a single node.
	TombstoneTTL time.Duration
	// MaxTombstones bounds them (default 65,536).
	MaxTombstones int
}

// Store is the cache of one node. It is safe for use by many goroutines.
type Store struct {
	// Constant after New.
	seed          maphash.Seed
	policy        Policy
	tombstoneTTL  int64 // ms
	maxTombstones int   // per shard
	shards        []shard

	// Atomic.
	onRemoval atomic.Pointer[func(stored []byte, why Removal)]
	maxBytes  atomic.Int64
	ceiling   atomic.Int64
	used      atomic.Int64 // charged, and reserved by commands at work
	waiting   atomic.Int64 // bytes of waiters
	hand      atomic.Uint32
	sweep     atomic.Uint32
}

// New makes an empty store.
func New(cfg Config) *Store {
	if cfg.MaxTombstones <= 0 {
		cfg.MaxTombstones = 64 << 10
	}
	s := &Store{
		seed:          maphash.MakeSeed(),
		policy:        cfg.Policy,
		tombstoneTTL:  cfg.TombstoneTTL.Milliseconds(),
		maxTombstones: max(1, cfg.MaxTombstones/shardCount),
		shards:        make([]shard, shardCount),
	}
	s.maxBytes.Store(cfg.MaxBytes)
	for i := range s.shards {
		s.shards[i].store = s
	}
	return s
}

// Key locates a stored key.
func (s *Store) Key(stored []byte) Key {
	return Key{Bytes: stored, hash: uint32(maphash.Bytes(s.seed, stored)), part: uint16(ring.PartitionOf(stored))}
}

// Policy is the policy given to New.
func (s *Store) Policy() Policy { return s.policy }

// MaxBytes is the budget, 0 for none.
func (s *Store) MaxBytes() int64 { return s.maxBytes.Load() }

// SetMaxBytes changes the budget; a smaller one is reached by evicting at once.
func (s *Store) SetMaxBytes(n int64) {
	s.maxBytes.Store(n)
	s.reserve(0)
}

// SetCeiling bounds the budget by n bytes for the time being, because memory is short; 0 lifts the bound.
func (s *Store) SetCeiling(n int64) {
	s.ceiling.Store(n)
	s.reserve(0)
}

// limit is the bound of now: the budget, or a ceiling below it; 0 for none.
func (s *Store) limit() int64 {
	limit, ceiling := s.maxBytes.Load(), s.ceiling.Load()
	if limit <= 0 || ceiling > 0 && ceiling < limit {
		return ceiling
	}
	return limit
}

// Removal says why a key, or a part of it, is gone.
type Removal uint8

const (
	Expired Removal = iota
	Evicted
	FieldsExpired    // of a hash that has others
	LastFieldExpired // and the hash with it
)

// OnRemoval has tell called for each key that expires or is evicted, wholly or in part, in stored form, from now on; nil ends it. tell runs with
// a shard held: it must be short, must not use the store, and must not keep the key.
func (s *Store) OnRemoval(tell func(stored []byte, why Removal)) {
	if tell == nil {
		s.onRemoval.Store(nil)
		return
	}
	s.onRemoval.Store(&tell)
}

// Used is the number of bytes charged to the budget.
func (s *Store) Used() int64 { return s.used.Load() }

// ItemGrowth is an upper bound of what storing a new item of so many bytes of key and value adds to the charge: what
// Begin should be asked for.
func ItemGrowth(bytes int) int64 {
	// A table that doubles for this item grows by as much as it had: 4 bytes for each item of the partition, which
	// Tx.End makes up for where it matters.
	return int64(itemOverhead + class(bytes) + 4*minBuckets)
}

// reserve makes room for n bytes and keeps it until release. It must be called with no shard held. It reports whether
// there is room: false means that the command has to be refused.
func (s *Store) reserve(n int64) bool {
	limit := s.limit()
	if limit <= 0 {
		s.used.Add(n)
		return true
	}
	if n > limit {
		return false
	}
	if s.used.Add(n) <= limit || s.evict(limit) {
		return true
	}
	s.used.Add(-n)
	return false
}

// Fits tells whether n more bytes are within the budget. It makes no room, so it may be asked with shards held; where room
// can be made when they are released, a command may go over the budget for that long by as much as it has.
func (s *Store) Fits(n int64) bool {
	limit := s.limit()
	if limit > 0 && s.policy != NoEviction {
		limit += limit / 8
	}
	return limit <= 0 || s.used.Load()+n <= limit
}

// release gives a reservation back.
func (s *Store) release(n int64) { s.used.Add(-n) }

// evict frees until the charge is within limit. It goes round the shards and takes from those that hold more than
// their share, so that the budget is one for all.
func (s *Store) evict(limit int64) bool {
	if s.policy == NoEviction {
		return false
	}
	barren := 0 // shards in a row that had nothing to give
	for s.used.Load() > limit {
		sh := &s.shards[s.hand.Add(1)%shardCount]
		freed := false
		sh.mu.Lock()
		for n := 0; n < 16 && s.used.Load() > limit; n++ {
			// In the first round only shards above the average give; later, any.
			if barren < shardCount && int64(sh.bytes)*shardCount < s.used.Load() {
				break
			}
			it := sh.victim()
			if it == nil {
				break
			}
			freed = true
			if it.kind != kindTombstone {
				sh.stats.Evicted++
				sh.removing(it, Evicted)
			}
			sh.drop(it)
		}
		sh.mu.Unlock()
		if freed {
			barren = 0
		} else if barren++; barren > 2*shardCount {
			return false
		}
	}
	return true
}

// Expire reclaims expired items, at most limit of them, and tells how many. Whoever runs the store calls it a few times
// a second; reads do not depend on it.
func (s *Store) Expire(now int64, limit int) (reclaimed int) {
	work := 4 * limit
	for range shardCount {
		sh := &s.shards[s.sweep.Add(1)%shardCount]
		sh.mu.Lock()
		for reclaimed < limit {
			it := sh.wheel.next(&sh.slab, now, &work)
			if it == nil {
				break
			}
			if !it.expired(now) {
				was := it.Dict().Len()
				if sh.expireFields(it, now, limit-reclaimed) {
					was -= it.Dict().Len()
				}
				reclaimed += was
				continue
			}
			if it.kind == kindTombstone {
				sh.drop(it)
				continue
			}
			reclaimed++
			sh.expired(it)
		}
		sh.mu.Unlock()
		if reclaimed >= limit || work <= 0 {
			// Go on with the same shard next time.
			s.sweep.Add(^uint32(0))
			break
		}
	}
	return reclaimed
}

// Stats are totals since New, and counts of now.
type Stats struct {
	Hits, Misses, Evicted, Expired uint64
	Tombstones                     int
	Keys, Expires                  [Databases]int // Expires counts keys with a time to live
	Bytes                          int64          // charged
}

// Stats adds the shards up.
func (s *Store) Stats() Stats {
	var sum Stats
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		sum.Hits += sh.stats.Hits
		sum.Misses += sh.stats.Misses
		sum.Evicted += sh.stats.Evicted
		sum.Expired += sh.stats.Expired
		sum.Tombstones += sh.queues[queueTombs].items
		sum.Bytes += int64(sh.bytes)
		for p := range sh.parts {
			for db, n := range sh.parts[p].perDB {
				sum.Keys[db] += int(n)
			}
			for db, n := range sh.parts[p].expires {
				sum.Expires[db] += int(n)
			}
		}
		sh.mu.Unlock()
	}
	return sum
}

// randomPartition starts a search for any key.
func randomPartition() int { return rand.IntN(Partitions) }
