package store

import (
	"bytes"
	"container/heap"
	"encoding/hex"
	"math"
	"unsafe"
)

// A lease sends one reader to make a value anew, and the others not (Nishtala et al., "Scaling Memcache at Facebook", NSDI
// 2013, section 3.2.1). Whatever changes its key ends it, so that what was made from older data never replaces newer. Leases
// are this node's alone: they are neither replicated nor handed over. Who loses one has made a value in vain.

// maxLeases bounds the leases of a shard, and leaseShare their part of its budget: one in eight bytes. Where there are
// more, those end that have the least time left.
const (
	maxLeases  = 1024
	leaseShare = 8
)

// lease is a promise to set a key.
type lease struct {
	serial uint64 // never given twice
	until  int64  // Unix milliseconds; from then on it is void
	given  uint64 // the version of whatever had been written last
	key    string // in stored form
	part   int    // partition in the shard
	at     int    // in leases.byEnd
}

// leaseOverhead is charged for each lease besides its key: itself, and its share of a map and a heap.
const leaseOverhead = int(unsafe.Sizeof(lease{})) + 64

func (l *lease) cost() int { return leaseOverhead + class(len(l.key)) }

// leases are those of a shard.
type leases struct {
	byKey map[string]*lease
	byEnd leaseHeap
	bytes int
}

// held returns the lease on k, nil if there is none that still holds.
func (ls *leases) held(k *Key, now int64) *lease {
	if len(ls.byEnd) == 0 {
		return nil
	}
	if l := ls.byKey[string(k.Bytes)]; l != nil && l.until > now {
		return l
	}
	return nil
}

// lend makes a lease on k, which has none that holds.
func (sh *shard) lend(k *Key, until, now int64) *lease {
	sh.reclaimLeases(now) // which has the one on k, if there was one
	ls := &sh.leases
	l := &lease{serial: sh.store.lent.Add(1), until: until, given: sh.nextVersion(now, 0), key: string(k.Bytes), part: k.local()}
	limit := math.MaxInt
	if budget := sh.store.limit(); budget > 0 {
		limit = int(budget / shardCount / leaseShare)
	}
	for len(ls.byEnd) > 0 && (len(ls.byEnd) >= maxLeases || ls.bytes+l.cost() > limit) {
		sh.endLease(ls.byEnd[0])
	}
	if ls.byKey == nil {
		ls.byKey = map[string]*lease{}
	}
	ls.byKey[l.key] = l
	heap.Push(&ls.byEnd, l)
	ls.bytes += l.cost()
	sh.charge(l.cost())
	sh.stats.Leases++
	return l
}

// void ends the lease on k, if there is one.
func (sh *shard) void(k *Key) {
	if len(sh.leases.byEnd) == 0 {
		return
	}
	if l := sh.leases.byKey[string(k.Bytes)]; l != nil {
		sh.endLease(l)
	}
}

// voidAll ends the leases on the keys of one database in a partition, of all for -1.
func (sh *shard) voidAll(part, db int) {
	for _, l := range sh.leases.byKey {
		if of, _ := SplitKey([]byte(l.key)); l.part == part && (db < 0 || db == of) {
			sh.endLease(l)
		}
	}
}

// reclaimLeases forgets those that are over.
func (sh *shard) reclaimLeases(now int64) {
	for ls := &sh.leases; len(ls.byEnd) > 0 && ls.byEnd[0].until <= now; {
		sh.endLease(ls.byEnd[0])
	}
}

func (sh *shard) endLease(l *lease) {
	ls := &sh.leases
	heap.Remove(&ls.byEnd, l.at)
	delete(ls.byKey, l.key)
	ls.bytes -= l.cost()
	sh.charge(-l.cost())
	if len(ls.byEnd) == 0 {
		*ls = leases{} // a map never shrinks
	}
}

// leaseHeap is a heap.Interface: what ends first is first.
type leaseHeap []*lease

func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h leaseHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }

// Push is for package heap.
func (h *leaseHeap) Push(x any) {
	l := x.(*lease)
	l.at = len(*h)
	*h = append(*h, l)
}

// Pop is for package heap.
func (h *leaseHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return l
}

// token is what a lease is told by: whose store, and which.
func (s *Store) token(l *lease) []byte {
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(s.leaseNonce>>(56-8*i)), byte(l.serial>>(56-8*i))
	}
	return hex.AppendEncode(nil, b[:])
}

// Claim is what a reader of a key is to do.
type Claim struct {
	Item  *Item  // the value that may be used, live or stale; nil: there is none
	Token []byte // of the lease, of who has got it and should make the value anew
	Until int64  // Unix milliseconds: when the lease ends that somebody else holds; 0 with a Token, and if the Item is fresh
}

// Claim finds the string k for a reader who can make it anew, and gives out a lease until then unless the value is fresh or
// somebody holds one already. A live item must be a string. It counts as a hit or a miss.
func (tx *Tx) Claim(k *Key, until int64) (c Claim) {
	sh := tx.shard(k)
	c.Item = sh.live(k, tx.now)
	fresh := c.Item != nil
	if !fresh {
		c.Item = sh.stale(k, tx.now)
	} else if _, aging := sh.rules.aging(c.Item, tx.now); aging {
		fresh = false
	}
	sh.seen(c.Item)
	if c.Item != nil && c.Item.kind == kindStale {
		sh.stats.Stale++
	}
	if fresh {
		return c
	}
	if l := sh.lease(k, tx.now); l != nil {
		c.Until = l.until
		return c
	}
	tx.wrote = true // so that room is made for it
	c.Token = tx.store.token(sh.lend(k, until, tx.now))
	return c
}

// HoldsLease tells whether token is that of the lease on k, which still holds.
func (tx *Tx) HoldsLease(k *Key, token []byte) bool {
	l := tx.shard(k).lease(k, tx.now)
	return l != nil && bytes.Equal(token, tx.store.token(l))
}
