package store

import (
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// Partitions is the number of partitions: the ring's, and behind them one in each shard for keys that never leave the node.
const Partitions = ring.Partitions + shardCount

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

	// Layout says which keys do not live where their own hash says; nil: none.
	Layout *Layout
}

// Store is the cache of one node. It is safe for use by many goroutines.
type Store struct {
	// Constant after New.
	seed          maphash.Seed
	tombstoneTTL  int64 // ms
	maxTombstones int   // per shard
	shards        []shard
	leaseNonce    uint64 // tells this store's leases from those of others
	layout        *Layout
	journal       journal

	tags     tagTable // has locks of its own, which come after those of shards
	sweeping sweeper  // owned by whoever calls Sweep

	// Atomic.
	rules     atomic.Pointer[rules] // as the shards have them; nil: none
	onRemoval atomic.Pointer[func(stored []byte, why Removal)]
	keepTombs atomic.Bool
	policy    atomic.Uint32 // Policy
	maxBytes  atomic.Int64
	ceiling   atomic.Int64
	used      atomic.Int64  // charged, and reserved by commands at work
	outside   atomic.Int64  // of used: booked by Charge
	waiting   atomic.Int64  // bytes of waiters
	lent      atomic.Uint64 // serial of the last lease
	newestTag atomic.Uint64 // version at which a tag was invalidated last
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
		tombstoneTTL:  cfg.TombstoneTTL.Milliseconds(),
		maxTombstones: max(1, cfg.MaxTombstones/shardCount),
		shards:        make([]shard, shardCount),
		leaseNonce:    rand.Uint64(),
		layout:        cfg.Layout,
	}
	s.journal.last, s.journal.lost = 1, 1
	s.maxBytes.Store(cfg.MaxBytes)
	s.policy.Store(uint32(cfg.Policy))
	for i := range s.shards {
		s.shards[i].store, s.shards[i].policy = s, cfg.Policy
	}
	return s
}

// Key locates a stored key.
func (s *Store) Key(stored []byte) Key {
	return Key{Bytes: stored, hash: uint32(maphash.Bytes(s.seed, stored)), part: uint16(s.layout.Partition(stored))}
}

// Removal says why a key, or a part of it, is gone.
type Removal uint8

const (
	Expired Removal = iota
	Evicted
	FieldsExpired    // of a hash that has others
	LastFieldExpired // and the hash with it
	StaleGone        // it was no key any more, but readers may have it by a Rule
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

// Expire reclaims expired items, at most limit of them, and tells how many: fewer than limit means that none is left.
// Whoever runs the store calls it a few times a second; reads do not depend on it.
func (s *Store) Expire(now int64, limit int) (reclaimed int) {
	for range shardCount {
		sh := &s.shards[s.sweep.Add(1)%shardCount]
		for more := true; more && reclaimed < limit; {
			var n int
			sh.mu.Lock()
			n, more = sh.reclaim(now, limit-reclaimed)
			sh.compact()
			sh.mu.Unlock()
			reclaimed += n
		}
		if reclaimed >= limit {
			// Go on with the same shard next time.
			s.sweep.Add(^uint32(0))
			break
		}
	}
	return reclaimed
}

// KeepTombstones has deletions remembered beyond their time, or not any more. Their number is bounded in any case.
func (s *Store) KeepTombstones(keep bool) { s.keepTombs.Store(keep) }

// reclaimSteps is how many items of the wheel are looked at while a shard is held.
const reclaimSteps = 500

// reclaim removes at most limit expired items. It reports whether there may be more, also when it has found none: it looks at no
// more than some.
func (sh *shard) reclaim(now int64, limit int) (reclaimed int, more bool) {
	defer sh.reclaimLeases(now)
	for steps := reclaimSteps; reclaimed < limit; {
		it := sh.wheel.next(&sh.slab, now, &steps)
		if it == nil {
			return reclaimed, steps == 0
		}
		if !it.expired(now) {
			if it.version <= sh.tagged && sh.invalid(it, now) { // before anything makes it look newer
				sh.discard(it)
				reclaimed++
				continue
			}
			was := it.Dict().Len()
			if sh.expireFields(it, now, limit-reclaimed) {
				was -= it.Dict().Len()
			}
			reclaimed += was
			continue
		}
		if it.kind == kindTombstone {
			if sh.store.keepTombs.Load() {
				sh.setExpiry(it, now+sh.store.tombstoneTTL, now)
			} else {
				sh.drop(it)
			}
			continue
		}
		reclaimed++
		if it.kind == kindStale {
			sh.removing(it, StaleGone)
			sh.drop(it)
			continue
		}
		sh.expired(it, now)
	}
	return reclaimed, true
}

// Stats are totals since New, and counts of now.
type Stats struct {
	Hits, Misses, Evicted, Expired uint64
	Stale, Leases                  uint64 // values given after their end, and leases given
	Invalidated                    uint64 // items dropped because a tag of theirs was invalidated
	Ahead                          uint64 // entries whose version is too far ahead of our time to be right
	AheadBy                        int64  // the farthest of them, in milliseconds
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
		sum.Stale += sh.stats.Stale
		sum.Leases += sh.stats.Leases
		sum.Invalidated += sh.stats.Invalidated
		sum.Ahead += sh.stats.Ahead
		sum.AheadBy = max(sum.AheadBy, sh.stats.AheadBy)
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
