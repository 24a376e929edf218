// HOT PATH

package store

// A string whose rule says so does not go when its time is over: it becomes stale. A stale item is no key any more, and
// nobody but Fetch and Claim finds it. It holds its place in the queue, and its expireAt is when it goes.

// Stale tells an item that only Fetch and Claim give: its time is over.
func (it *Item) Stale() bool { return it.kind == kindStale }

// hidden tells what is no key: a tombstone, or stale.
func (it *Item) hidden() bool { return it.kind == kindTombstone || it.kind == kindStale }

// Fetch is Get for a reader who goes by the rules: of a string that has come to its end, or near to it, one reader gets nil
// and with it the lease, and the others what is there. What it returns may be Stale.
func (tx *Tx) Fetch(k *Key) *Item {
	sh := tx.shard(k)
	it := sh.live(k, tx.now)
	if sh.rules != nil {
		it = tx.ruled(sh, k, it)
	}
	sh.seen(it)
	return it
}

// ruled decides what a reader gets who would get it without rules.
func (tx *Tx) ruled(sh *shard, k *Key, it *Item) *Item {
	lease := int64(0)
	if it == nil {
		if it = sh.stale(k, tx.now); it == nil {
			return nil
		}
		lease = sh.rules.of(k.Bytes).lease
	} else {
		var aging bool
		if lease, aging = sh.rules.aging(it, tx.now); !aging {
			return it
		}
	}
	if sh.lease(k, tx.now) == nil {
		tx.wrote = true // so that room is made for it
		sh.lend(k, tx.now+lease, tx.now)
		return nil
	}
	if it.kind == kindStale {
		sh.stats.Stale++
	}
	return it
}

// seen counts a hit, which protects the item from eviction, or a miss.
func (sh *shard) seen(it *Item) {
	if it == nil {
		sh.stats.Misses++
		return
	}
	sh.stats.Hits++
	it.hit()
}

// stale returns the stale item of a key that is not live, nil if there is none, or none that may be given to anybody.
func (sh *shard) stale(k *Key, now int64) *Item {
	if sh.stales == 0 || sh.rules.of(k.Bytes).stale == 0 {
		return nil
	}
	it := sh.find(k)
	if it == nil || it.kind != kindStale || it.expired(now) {
		return nil
	}
	if it.version <= sh.tagged && sh.invalid(it, now) {
		sh.discard(it)
		return nil
	}
	return it
}

// keepStale makes an expired item stale, if its rule says so and that time is not over as well.
func (sh *shard) keepStale(it *Item, now int64) bool {
	if sh.rules == nil || it.kind != KindString {
		return false
	}
	until := it.expireAt + sh.rules.of(it.Key()).stale
	if until <= now || it.version <= sh.tagged && sh.invalid(it, now) {
		return false
	}
	if sh.marks != nil {
		sh.changing(it.hash, it.Key())
	}
	sh.removals[uint8(it.hash)]++
	sh.count(it, -1)
	sh.unschedule(it)
	it.kind, it.expireAt = kindStale, until
	sh.count(it, 1)
	sh.wheel.add(&sh.slab, it, now)
	sh.requeue(it)
	return true
}

// disown takes back what readers of a key that is not live may still be given, or have promised to make: it was deleted.
func (tx *Tx) disown(sh *shard, k *Key) {
	sh.void(k)
	// What is not here others may have: the backup, what this node has evicted; and who is away, what it alone had.
	elsewhere := sh.store.tombstoneTTL > 0 && (sh.stats.Evicted > 0 || sh.store.keepTombs.Load())
	if sh.stales == 0 && !elsewhere {
		return
	}
	switch it := sh.find(k); {
	case it != nil && it.kind == kindStale:
		sh.bury(it, sh.nextVersion(tx.now, it.version), tx.now)
		tx.changed(k)
	case it == nil && elsewhere:
		sh.entomb(k, sh.nextVersion(tx.now, 0), tx.now)
		tx.wrote = true // so that room is made for it
		tx.changed(k)
	}
}
