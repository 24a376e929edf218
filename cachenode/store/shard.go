// HOT PATH

package store

import (
	"math"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	shardCount         = 64                      // a Tx names the shards it holds in the bits of a word
	partitionsPerShard = Partitions / shardCount // the p with the same p%shardCount
)

// shard is a lock and all that it guards: whole partitions, their items, who is evicted and who expires.
type shard struct {
	mu    sync.Mutex
	store *Store // constant

	// soonest is when the first item of timed expires, 0 for none; written under mu, read without.
	soonest atomic.Int64

	// All below is guarded by mu.
	policy Policy
	slab   slab
	parts  [partitionsPerShard]partition
	queues [queueCount]queue
	timed  timed
	ghost  ghost
	wheel  wheel
	clock  uint64 // the last version given, or seen of others (clock.go)
	bytes  int    // charged: items, tables and leases
	stats  Stats
	rules  *rules // nil: none
	leases leases
	stales int    // items
	marks  *marks // of keys that other nodes copy; nil: none ever was

	tagged   uint64            // the newest version at which a tag was invalidated: what is newer need not be looked at
	bound    map[uint32][]byte // the tags of items that are bound one by one, by their indexes
	tagSpace [MaxTag]byte      // a tag in the making

	// Who waits for keys, see wait.go. needs is the set of shards that have to be held with this one.
	queued  map[string]*waitQueue
	needers *[shardCount]int
	needs   uint64

	// removals counts the items that were removed, by the lower bits of their hash: so a key that was missing can be told
	// from one that came and went meanwhile.
	removals [256]uint32

	_ [64]byte // the next shard's mutex lives on another cache line
}

// partition is one of the ring's slices of the key space.
type partition struct {
	table
	perDB   [Databases]int32  // keys, without tombstones
	expires [Databases]int32  // those of them with a time to live
	floor   [Databases]uint64 // entries up to this version were flushed
}

func (sh *shard) part(it *Item) *partition { return &sh.parts[it.part()] }

func (sh *shard) charge(delta int) {
	if delta != 0 {
		sh.bytes += delta
		sh.store.used.Add(int64(delta))
	}
}

// find returns the item of key, tombstones included, live or expired.
func (sh *shard) find(k *Key) *Item {
	return sh.parts[k.local()].find(&sh.slab, k.hash, k.Bytes)
}

// live returns the item of key unless it is missing, deleted or expired; an expired one is reclaimed on the spot.
func (sh *shard) live(k *Key, now int64) *Item {
	it := sh.find(k)
	if it == nil || it.hidden() {
		return nil
	}
	if it.version <= sh.tagged && sh.invalid(it, now) {
		sh.discard(it)
		return nil
	}
	if it.expired(now) {
		sh.expired(it, now)
		return nil
	}
	if it.kind == KindHash {
		if at := it.Dict().due(); at != 0 && at <= now && !sh.expireFields(it, now, math.MaxInt) {
			return nil
		}
	}
	return it
}

// expireFields removes at most limit expired fields of a hash. It reports whether any field is left; without, the hash is
// gone.
func (sh *shard) expireFields(it *Item, now int64, limit int) bool {
	o := it.object()
	before := o.Len()
	it.Dict().expire(now, limit)
	if o.Len() == 0 {
		sh.stats.Expired++
		sh.removing(it, LastFieldExpired)
		sh.drop(it)
		return false
	}
	if o.Len() < before {
		it.version++ // who watches the key sees a change
		if it.version == sh.clock+1 {
			sh.clock++ // which no version given here may pass
		}
		sh.removing(it, FieldsExpired)
	}
	was := o.charged
	o.charged = o.size()
	sh.recharge(it, o.charged-was)
	sh.follow(it, now)
	return true
}

// follow puts a hash where the wheel finds it when the next of its fields expires.
func (sh *shard) follow(it *Item, now int64) {
	if it.Dict().times == nil && it.linked() == (it.expireAt != 0) {
		return // at worst the wheel looks at it too early
	}
	if it.linked() {
		sh.wheel.remove(&sh.slab, it)
	}
	if it.due() != 0 {
		sh.wheel.add(&sh.slab, it, now)
	}
}

// expired takes an item away whose time is over: it is no key from now on.
func (sh *shard) expired(it *Item, now int64) {
	sh.lapsed(it)
	if !sh.keepStale(it, now) {
		sh.drop(it)
	}
}

// lapsed tells that an item's time is over.
func (sh *shard) lapsed(it *Item) {
	sh.stats.Expired++
	sh.removing(it, Expired)
}

// removing tells who wants to know that an item goes by itself.
func (sh *shard) removing(it *Item, why Removal) {
	if tell := sh.store.onRemoval.Load(); tell != nil {
		(*tell)(it.Key(), why)
	}
}

// newString makes a string item with uninitialised content of valLen bytes.
func (sh *shard) newString(k *Key, kind Kind, valLen int) *Item {
	it := sh.slab.alloc()
	it.hash, it.bits, it.kind = k.hash, uint16(k.local()), kind
	it.keyLen, it.valLen = uint32(len(k.Bytes)), uint32(valLen)
	it.ptr = newBytes(it.capacity())
	copy(it.Key(), k.Bytes)
	sh.link(it)
	return it
}

func (sh *shard) newObject(k *Key, kind Kind) *Item {
	it := sh.slab.alloc()
	it.hash, it.bits, it.kind = k.hash, uint16(k.local()), kind
	it.ptr = unsafe.Pointer(sh.store.newObject(k.Bytes, kind))
	sh.link(it)
	return it
}

func (sh *shard) link(it *Item) {
	sh.charge(sh.part(it).insert(&sh.slab, it) + it.cost())
	sh.count(it, 1)
	sh.enqueue(it)
}

// drop removes an item wholly.
func (sh *shard) drop(it *Item) {
	if sh.marks != nil {
		sh.changing(it.hash, it.Key())
	}
	sh.removals[uint8(it.hash)]++
	sh.unbind(it)
	sh.dequeue(it)
	sh.unschedule(it)
	sh.count(it, -1)
	sh.charge(sh.part(it).remove(&sh.slab, it) - it.cost())
	sh.slab.release(it)
	sh.emptied()
}

// emptied gives the ghost's memory back when no item is left that is charged for it.
func (sh *shard) emptied() {
	if sh.slab.live == 0 {
		sh.ghost = ghost{}
	}
}

// resize gives a string item room for valLen bytes of value: in place when its allocation has the room. What was there
// is kept up to the shorter length.
func (sh *shard) resize(it *Item, valLen int) {
	was := it.capacity()
	now := class(int(it.keyLen) + valLen)
	if now != was {
		p := newBytes(now)
		copy(unsafe.Slice((*byte)(p), now), unsafe.Slice((*byte)(it.ptr), int(it.keyLen)+min(valLen, int(it.valLen))))
		it.ptr, it.valLen = p, uint32(valLen)
		sh.recharge(it, now-was)
	}
	it.valLen = uint32(valLen)
}

// recharge books that an item's cost has changed by delta.
func (sh *shard) recharge(it *Item, delta int) {
	sh.charge(delta)
	if it.queue == queueNone {
		return
	}
	sh.queues[it.queue].bytes += delta
	if delta > 0 && it.queue == queueSmall && sh.large(it.cost()) {
		sh.move(it, queueMain)
	}
}

func newBytes(n int) unsafe.Pointer {
	if n == 0 {
		return nil
	}
	return unsafe.Pointer(unsafe.SliceData(make([]byte, n)))
}

func (sh *shard) count(it *Item, by int32) {
	switch it.kind {
	case kindTombstone:
		return
	case kindStale:
		sh.stales += int(by)
		return
	}
	db, _ := SplitKey(it.Key())
	sh.part(it).perDB[db] += by
}

func (sh *shard) countExpiry(it *Item, by int32) {
	if it.hidden() {
		return
	}
	db, _ := SplitKey(it.Key())
	sh.part(it).expires[db] += by
}

// enqueue puts a new item where its past says: seen not long ago, into the main queue. One so large that the small queue
// would be emptied for it goes there as well.
func (sh *shard) enqueue(it *Item) {
	it.bits &^= freqMask
	it.queue = sh.policy.queueOf(it)
	cost := it.cost()
	switch it.queue {
	case queueNone:
		return
	case queueTimed:
		sh.charge(sh.timed.add(&sh.slab, it))
		sh.queues[queueTimed].bytes += cost
		sh.timedChanged()
		return
	case queueSmall:
		if sh.ghost.take(it.hash) || sh.large(cost) {
			it.queue = queueMain
		}
	}
	sh.queues[it.queue].push(&sh.slab, it, cost)
}

func (sh *shard) dequeue(it *Item) {
	switch it.queue {
	case queueNone:
		return
	case queueTimed:
		sh.charge(sh.timed.remove(&sh.slab, it))
		sh.queues[queueTimed].bytes -= it.cost()
		sh.timedChanged()
	default:
		sh.queues[it.queue].remove(&sh.slab, it, it.cost())
	}
	it.queue = queueNone
}

// requeue puts an item where it belongs after its time to live, or the policy, has changed. One that stays evictable in the
// same way keeps its place.
func (sh *shard) requeue(it *Item) {
	was, now := it.queue, sh.policy.queueOf(it)
	if was == now && now != queueTimed || was == queueMain && now == queueSmall {
		return
	}
	sh.dequeue(it)
	sh.enqueue(it)
}

func (sh *shard) timedChanged() {
	at := sh.timed.soonest(&sh.slab)
	if at == math.MaxInt64 {
		at = 0
	}
	sh.soonest.Store(at)
}

// leastLarge is the number of bytes up to which no item is large. In a share that holds but a few items nearly each takes an
// eighth, and were they all to pass the small queue it would sort nothing out: 4000 bytes each in a cache of 1 or 2 MiB, asked
// for by Zipf's law, were hit 4 times less in a hundred.
const leastLarge = 16 << 10

// large tells whether an item of so many bytes takes an eighth of a shard's share, which is more than the small queue's.
func (sh *shard) large(bytes int) bool {
	limit := sh.store.limit()
	return limit > 0 && int64(bytes) > max(limit/shardCount/8, leastLarge)
}

func (sh *shard) move(it *Item, to queueID) {
	cost := it.cost()
	sh.queues[it.queue].remove(&sh.slab, it, cost)
	it.queue = to
	sh.queues[to].push(&sh.slab, it, cost)
}

// setExpiry changes when an item expires, 0 for never.
func (sh *shard) setExpiry(it *Item, at, now int64) {
	if it.expireAt == at {
		return
	}
	sh.unschedule(it)
	it.expireAt = at
	if at != 0 {
		sh.countExpiry(it, 1)
	}
	if it.due() != 0 {
		sh.wheel.add(&sh.slab, it, now)
	}
	if it.kind != kindTombstone {
		sh.requeue(it)
	}
}

func (sh *shard) unschedule(it *Item) {
	if it.linked() {
		sh.wheel.remove(&sh.slab, it)
	}
	if it.expireAt != 0 {
		it.expireAt = 0
		sh.countExpiry(it, -1)
	}
}

// bury turns an item into a tombstone, or drops it where tombstones are not kept.
func (sh *shard) bury(it *Item, version uint64, now int64) {
	if sh.store.tombstoneTTL <= 0 {
		sh.drop(it)
		return
	}
	key := it.copyKey()
	sh.drop(it)
	sh.entomb(&key, version, now)
}

// copyKey is the item's key for when the item is gone, good within its shard only.
func (it *Item) copyKey() Key {
	return Key{Bytes: append([]byte(nil), it.Key()...), hash: it.hash, part: uint16(it.part() * shardCount)}
}

// entomb records that a key without an item was deleted. The oldest tombstone makes room when there are too many.
func (sh *shard) entomb(k *Key, version uint64, now int64) {
	if sh.store.tombstoneTTL <= 0 {
		return
	}
	if q := &sh.queues[queueTombs]; q.items >= sh.store.maxTombstones {
		sh.drop(sh.slab.at(q.tail))
	}
	it := sh.newString(k, kindTombstone, 0)
	it.version = version
	sh.setExpiry(it, now+sh.store.tombstoneTTL, now)
}
