// HOT PATH

package near

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cespare/xxhash/v2"
	"github.com/maypok86/otter/v2"
)

const (
	// longest is how long a copy is given, whatever the owner says. renewEvery is how often one of its readers is sent to the
	// owner all the same, which would else take a key that nobody asks it for to be of no use, and evict it.
	longest    = 300 * time.Second
	renewEvery = 2 * time.Second

	// largest is the part of the memory that one copy may take: one in so many bytes.
	largest = 64

	// overhead is charged for a copy besides its bytes: itself, and its node in the container.
	overhead = int(unsafe.Sizeof(entry{})) + 112

	slotCount = 1024
)

// Config of a Cache.
type Config struct {
	MaxBytes  int64         // of all copies, overhead included
	Staleness time.Duration // how old what is given may be
	// Charge is told of bytes that are taken, or given back when negative. It is called with locks held, and must not come
	// back to the Cache.
	Charge func(bytes int64)
}

// Cache holds the copies of one node. It is safe for use by many goroutines.
type Cache struct {
	// Constant after New.
	staleness time.Duration
	maxCopy   int
	charge    func(int64)
	base      time.Time
	entries   *otter.Cache[uint64, *entry]

	slots   [slotCount]slot
	dropped atomic.Uint64
}

// slot is what keys whose hashes have the same lower bits share. Copies come and go under its lock, but for evictions.
type slot struct {
	mu      sync.Mutex
	changes uint32 // that were heard of, or begun
	writes  uint32 // under way
}

// entry is one copy. It is constant, but for renew.
type entry struct {
	data    []byte // the key in stored form, then the reply
	key     int    // bytes of data
	from    *Source
	cleared uint32       // of from, when it was asked
	until   int64        // by Cache.Now
	renew   atomic.Int64 // likewise
}

func (e *entry) weight() int { return overhead + len(e.data) }

// New makes an empty Cache. It starts no goroutine.
func New(cfg Config) (*Cache, error) {
	c := &Cache{staleness: cfg.Staleness, maxCopy: int(cfg.MaxBytes / largest), charge: cfg.Charge, base: time.Now()}
	var err error
	c.entries, err = otter.New(&otter.Options[uint64, *entry]{
		MaximumWeight:    uint64(cfg.MaxBytes),
		Weigher:          func(_ uint64, e *entry) uint32 { return uint32(e.weight()) },
		OnAtomicDeletion: func(d otter.DeletionEvent[uint64, *entry]) { cfg.Charge(-int64(d.Value.weight())) },
		Executor:         func(task func()) { task() },
	})
	if err != nil {
		return nil, fmt.Errorf("make near-cache: %w", err)
	}
	return c, nil
}

// Hash is the name of a stored key among nodes.
func Hash(stored []byte) uint64 { return xxhash.Sum64(stored) }

// Now is the time that copies are measured by: monotonic nanoseconds, above 0.
func (c *Cache) Now() int64 { return int64(time.Since(c.base)) + 1 }

// Staleness is the bound.
func (c *Cache) Staleness() time.Duration { return c.staleness }

// Found says what Append has found.
type Found uint8

const (
	Missing Found = iota // ask the owner
	Due                  // ask the owner, and keep what it says: others are given the copy meanwhile
	Given                // it is appended
)

// Append appends the reply that a GET of a key of a partition has, if there is a copy of it from the partition's owner that is
// proven not to be too old.
func (c *Cache) Append(out []byte, from *Source, hash uint64, partition int, key []byte) (reply []byte, found Found) {
	// First what is proven, then the copy: one that was read before might have been dropped for what is proven now.
	proven := from.proven.Load()
	if proven == 0 || !from.vouches(partition) {
		return out, Missing
	}
	e, ok := c.entries.GetIfPresent(hash)
	if !ok || e.from != from || e.cleared != from.cleared.Load() || string(e.data[:e.key]) != string(key) {
		return out, Missing
	}
	// The clock is read behind the request, which may have waited for as long as this process was stopped.
	now := c.Now()
	switch due := e.renew.Load(); {
	case time.Duration(now-proven) >= c.staleness, now >= e.until:
		return out, Missing
	case now >= due && e.renew.CompareAndSwap(due, now+int64(renewEvery)):
		return out, Due
	}
	return append(out, e.data[e.key:]...), Given
}

// Asked is a reply under way that may be kept.
type Asked struct {
	from    *Source
	hash    uint64
	key     []byte
	at      int64
	changes uint32 // of the slot
	cleared uint32
}

// Hash is that of the key.
func (a *Asked) Hash() uint64 { return a.hash }

// Size is the memory in bytes that a keeps for the next key.
func (a *Asked) Size() int { return cap(a.key) }

// Ask begins to ask an owner for what is to be kept, and fills in a. It reports false where it must not be. key is copied.
func (c *Cache) Ask(a *Asked, from *Source, hash uint64, partition int, key []byte) bool {
	now := c.Now()
	from.wanted.Store(now)
	if from.proven.Load() == 0 || !from.vouches(partition) || from.clearing.Load() > 0 {
		return false
	}
	s := &c.slots[hash%slotCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writes > 0 {
		return false
	}
	a.from, a.hash, a.key, a.at = from, hash, append(a.key[:0], key...), now
	a.changes, a.cleared = s.changes, from.cleared.Load()
	return true
}

// Keep keeps a copy of the reply that was asked for, unless it may be of before a change that was heard of since. ttl is how long
// the owner allows it to be given, 0 for ever.
func (c *Cache) Keep(a *Asked, reply []byte, ttl time.Duration) {
	if ttl == 0 || ttl > longest {
		ttl = longest
	}
	e := &entry{key: len(a.key), from: a.from, cleared: a.cleared, until: a.at + int64(ttl)}
	if overhead+len(a.key)+len(reply) > c.maxCopy {
		c.Drop(a.hash)
		return
	}
	e.data = append(append(make([]byte, 0, len(a.key)+len(reply)), a.key...), reply...)
	e.renew.Store(a.at + int64(renewEvery))
	s := &c.slots[a.hash%slotCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes != a.changes || a.from.clearing.Load() > 0 {
		return
	}
	c.charge(int64(e.weight()))
	c.entries.Set(a.hash, e)
}

// Drop forgets the copy of a key, and lets no reply be kept that is under way: it may be of before now.
func (c *Cache) Drop(hash uint64) {
	s := &c.slots[hash%slotCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	c.drop(s, hash)
}

func (c *Cache) drop(s *slot, hash uint64) {
	s.changes++
	if _, there := c.entries.GetEntryQuietly(hash); there {
		c.entries.Invalidate(hash)
		c.dropped.Add(1)
	}
}

// BeginWrite is Drop for a key that this node is about to have its owner change: until EndWrite nothing is kept of it.
func (c *Cache) BeginWrite(hash uint64) {
	s := &c.slots[hash%slotCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	c.drop(s, hash)
}

// EndWrite tells that the owner has answered.
func (c *Cache) EndWrite(hash uint64) {
	s := &c.slots[hash%slotCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes--
}

// Stats are the numbers of a Cache.
type Stats struct {
	Copies  int
	Bytes   int64
	Dropped uint64 // copies, since New, because their keys have changed
}

// Stats returns the current numbers.
func (c *Cache) Stats() Stats {
	return Stats{Copies: c.entries.EstimatedSize(), Bytes: int64(c.entries.WeightedSize()), Dropped: c.dropped.Load()}
}
