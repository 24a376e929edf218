// HOT PATH

package store

import "math/bits"

// Key is a stored key with where it lives. Bytes is not copied: it must stay as it is while the Key is used.
type Key struct {
	Bytes []byte
	hash  uint32
	part  uint16
}

// Partition is the key's partition, as the ring numbers them.
func (k Key) Partition() int { return int(k.part) }

func (k Key) shard() int { return int(k.part) % shardCount }
func (k Key) local() int { return int(k.part) / shardCount }

// Tx is a command at work: the shards of its keys are held from Begin to End, so what it does is atomic. The zero Tx is
// ready; one Tx serves many commands, one after the other. Items, and slices of their bytes, are valid until End.
type Tx struct {
	// Track makes the Tx note the keys it changes in Changed.
	Track   bool
	Changed []Key // reset by Begin; a key may appear twice
	// Ready are keys that were written while somebody waits for them, and streams that were deleted; reset by Begin. A key
	// may appear twice.
	Ready []Key

	// Created, unless nil, is called for each key that comes into being. It must not use the store.
	Created func(*Key)

	store  *Store
	held   uint64 // bit per shard
	now    int64
	growth int64 // reserved
	wrote  bool
}

// allShards is the set of all shards.
const allShards = 1<<shardCount - 1

// BeginAll is Begin for what may touch any key: it locks all shards.
func (tx *Tx) BeginAll(s *Store, now, growth int64) bool { return tx.begin(s, allShards, now, growth) }

// Holds tells whether the shard of k is locked.
func (tx *Tx) Holds(k *Key) bool { return tx.held>>k.shard()&1 != 0 }

// Begin locks the shards of keys. now is the time in unix milliseconds that decides what is expired. growth is an upper
// bound of what the command will add to the charge (see ItemGrowth); where there is no room for it, nothing is locked
// and Begin reports false.
func (tx *Tx) Begin(s *Store, keys []Key, now, growth int64) bool {
	held := uint64(0)
	for i := range keys {
		held |= 1 << keys[i].shard()
	}
	return tx.begin(s, held, now, growth)
}

func (tx *Tx) begin(s *Store, shards uint64, now, growth int64) bool {
	if growth > 0 && !s.reserve(growth) {
		return false
	}
	tx.store, tx.now, tx.growth, tx.wrote = s, now, growth, false
	tx.Changed, tx.Ready = tx.Changed[:0], tx.Ready[:0]
	tx.held = s.lock(shards)
	return true
}

// lock locks shards, and those that the waiters there need.
func (s *Store) lock(shards uint64) uint64 {
	for {
		all := shards
		for m := shards; m != 0; m &= m - 1 {
			sh := &s.shards[bits.TrailingZeros64(m)]
			sh.mu.Lock()
			all |= sh.needs
		}
		if all == shards {
			return shards
		}
		s.unlock(shards)
		shards = all
	}
}

func (s *Store) unlock(shards uint64) {
	for m := shards; m != 0; m &= m - 1 {
		s.shards[bits.TrailingZeros64(m)].mu.Unlock()
	}
}

// End unlocks and gives the reservation back. When the command has outgrown it, room is made now.
func (tx *Tx) End() {
	tx.store.unlock(tx.held)
	tx.held = 0
	if tx.growth > 0 {
		tx.store.release(tx.growth)
	}
	if tx.wrote {
		tx.store.reserve(0)
	}
}

// Now is the time given to Begin.
func (tx *Tx) Now() int64 { return tx.now }

func (tx *Tx) shard(k *Key) *shard { return &tx.store.shards[k.shard()] }

// Get finds a key for reading: it counts as a hit or a miss, and a hit protects the item from eviction.
func (tx *Tx) Get(k *Key) *Item {
	sh := tx.shard(k)
	it := sh.live(k, tx.now)
	sh.seen(it)
	return it
}

// Peek finds a key without counting.
func (tx *Tx) Peek(k *Key) *Item { return tx.shard(k).live(k, tx.now) }

// Version tells the state of k: as long as nothing happens to the key it is the same, and it is another one after every
// change, also when the key was deleted, has expired or was evicted, and when it came and went. Now and then it changes
// for nothing.
func (tx *Tx) Version(k *Key) uint64 {
	if it := tx.Peek(k); it != nil {
		return it.version
	}
	return 1<<63 | uint64(tx.shard(k).removals[uint8(k.hash)])
}

// SetString stores a copy of value under k, whatever was there, to expire at expireAt (0 = never). Tags of the key go.
func (tx *Tx) SetString(k *Key, value []byte, expireAt int64) *Item {
	it := tx.stringItem(k, len(value))
	tx.shard(k).unbind(it)
	return tx.fill(k, it, value, expireAt)
}

// Rewrite is SetString for a new value of the same: the key stays bound to its tags.
func (tx *Tx) Rewrite(k *Key, value []byte, expireAt int64) *Item {
	return tx.fill(k, tx.stringItem(k, len(value)), value, expireAt)
}

func (tx *Tx) fill(k *Key, it *Item, value []byte, expireAt int64) *Item {
	it.setRaw(false)
	copy(it.Value(), value)
	tx.shard(k).setExpiry(it, expireAt, tx.now)
	tx.written(k, it)
	return it
}

// Resize makes k a string of n bytes and returns the item, whose value the caller may write to until End. Bytes that
// were there stay, new ones are zero. The expiry stays. It counts as an edit in place.
func (tx *Tx) Resize(k *Key, n int) *Item {
	was := 0
	if it := tx.Peek(k); it != nil && it.kind == KindString {
		was = int(it.valLen)
	}
	it := tx.stringItem(k, n)
	if n > was {
		clear(it.Value()[was:])
	}
	it.setRaw(true)
	tx.written(k, it)
	return it
}

// stringItem finds or makes a string item whose value has n bytes.
func (tx *Tx) stringItem(k *Key, n int) *Item {
	sh := tx.shard(k)
	it := sh.find(k)
	if it != nil && it.kind == KindString && !it.expired(tx.now) {
		it.hit()
		sh.resize(it, n)
		return it
	}
	was := tx.replace(sh, k, it)
	it = sh.newString(k, KindString, n)
	it.version = was
	return it
}

// Create makes k an empty collection, whatever was there. The caller fills it and calls Update.
func (tx *Tx) Create(k *Key, kind Kind) *Item {
	sh := tx.shard(k)
	was := tx.replace(sh, k, sh.find(k))
	it := sh.newObject(k, kind)
	it.version = was
	return it
}

// replace removes what is there of k, before it is made anew, and returns its version.
func (tx *Tx) replace(sh *shard, k *Key, it *Item) (version uint64) {
	if tx.Created != nil && (it == nil || it.hidden() || it.expired(tx.now)) {
		tx.Created(k)
	}
	if it != nil {
		if !it.hidden() && it.expired(tx.now) {
			sh.lapsed(it)
		}
		version = it.version
		sh.drop(it)
	}
	return version
}

// Update books that the collection of it has changed. One that has become empty is deleted, as in Redis, but for streams.
func (tx *Tx) Update(k *Key, it *Item) {
	o := it.object()
	if o.Len() == 0 && it.kind != KindStream {
		tx.Delete(k)
		return
	}
	size := o.size()
	delta := size - o.charged
	o.charged = size
	sh := tx.shard(k)
	sh.recharge(it, delta)
	if it.kind == KindHash {
		sh.follow(it, tx.now)
	}
	tx.written(k, it)
}

// Expire changes when the item of k expires, 0 for never. A time that has passed deletes it.
func (tx *Tx) Expire(k *Key, it *Item, at int64) {
	if at != 0 && at <= tx.now {
		tx.Delete(k)
		return
	}
	tx.shard(k).setExpiry(it, at, tx.now)
	tx.written(k, it)
}

// Delete removes k and tells whether it was there; what is stale goes too, and the lease. Where other nodes may still send
// older values, it leaves a tombstone.
func (tx *Tx) Delete(k *Key) bool {
	sh := tx.shard(k)
	it := sh.live(k, tx.now)
	if it == nil {
		tx.disown(sh, k)
		return false
	}
	sh.void(k)
	if it.kind == KindStream {
		tx.ready(sh, k) // groups of consumers go with it
	}
	sh.bury(it, sh.nextVersion(tx.now, it.version), tx.now)
	tx.changed(k)
	return true
}

// Rename moves the item of from, which must be there, to the key to, replacing what is there.
func (tx *Tx) Rename(from, to *Key) {
	it := tx.Peek(from)
	expireAt, tags := it.expireAt, tx.shard(from).tagsOf(it)
	if it.isObject() {
		// The collection changes its owner, so that a large one is not copied.
		o, moved := it.object(), tx.Create(to, it.kind)
		fresh := moved.object()
		o.key, fresh.key = fresh.key, o.key
		o.charged, fresh.charged = fresh.charged, o.charged
		it.ptr, moved.ptr = moved.ptr, it.ptr
		tx.shard(to).setExpiry(moved, expireAt, tx.now)
		tx.shard(to).bind(moved, tags)
		tx.Update(to, moved)
	} else {
		raw := it.Raw()
		it = tx.SetString(to, it.Value(), expireAt)
		it.setRaw(raw)
		tx.shard(to).bind(it, tags)
	}
	tx.Delete(from)
}

func (tx *Tx) written(k *Key, it *Item) {
	sh := tx.shard(k)
	sh.void(k)
	if sh.marks != nil {
		sh.changing(k.hash, k.Bytes)
	}
	it.version = sh.nextVersion(tx.now, it.version)
	if it.version <= sh.tagged {
		it.version = max(it.version, sh.newerThanTags(it)+1)
	}
	tx.wrote = true
	tx.changed(k)
	tx.ready(sh, k)
}

// ready notes a key for those who wait for it, if there are any.
func (tx *Tx) ready(sh *shard, k *Key) {
	if len(sh.queued) > 0 && sh.queued[string(k.Bytes)] != nil {
		tx.Ready = append(tx.Ready, *k)
	}
}

func (tx *Tx) changed(k *Key) {
	if tx.Track {
		tx.Changed = append(tx.Changed, *k)
	}
}
