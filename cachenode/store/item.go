// HOT PATH

package store

import "unsafe"

// Kind is what a key holds.
type Kind uint8

const (
	kindFree Kind = iota
	KindString
	KindHash
	KindSet
	kindTombstone
	KindList
	KindZSet
	KindStream
	kinds
	kindStale
)

func (k Kind) String() string {
	switch k {
	case KindString:
		return "string"
	case KindHash:
		return "hash"
	case KindSet:
		return "set"
	case KindList:
		return "list"
	case KindZSet:
		return "zset"
	case KindStream:
		return "stream"
	}
	return "none"
}

// Item is one key with its value, or a tombstone. A pointer to it is valid while its shard is held.
type Item struct {
	// ptr is the first byte of key and value, or the *object of a collection: the one pointer the collector follows.
	ptr      unsafe.Pointer
	version  uint64
	expireAt int64 // unix milliseconds, 0 = never
	hash     uint32
	keyLen   uint32
	valLen   uint32 // of a string
	self     uint32 // own index in the slab
	next     uint32 // in the chain of its bucket, or in the free list

	queuePrev, queueNext uint32
	wheelPrev, wheelNext uint32

	kind  Kind
	queue queueID
	// bits are, from the lowest: the partition in the shard (9 bits), the level in the wheel (3), the hits since it was
	// queued (2), raw, tagged.
	bits uint16
}

const (
	partMask   = 1<<9 - 1
	levelShift = 9
	levelMask  = 7 << levelShift
	freqShift  = 12
	freqOne    = 1 << freqShift
	freqMask   = 3 << freqShift
	rawBit     = 1 << 14
	taggedBit  = 1 << 15
)

// A partition of a shard must fit into an item's bits.
const _ = uint(partMask + 1 - partitionsPerShard)

// part is the index of the item's partition in the shard.
func (it *Item) part() int { return int(it.bits & partMask) }

func (it *Item) wheelLevel() int { return int(it.bits & levelMask >> levelShift) }

func (it *Item) setWheelLevel(l int) { it.bits = it.bits&^levelMask | uint16(l)<<levelShift }

// hit notes that the item was used.
func (it *Item) hit() {
	if it.bits&freqMask != freqMask {
		it.bits += freqOne
	}
}

func (it *Item) setRaw(raw bool) {
	it.bits &^= rawBit
	if raw {
		it.bits |= rawBit
	}
}

// itemOverhead is charged for each item on top of its bytes: the Item itself and its share of the ghost's memory.
const itemOverhead = int(unsafe.Sizeof(Item{})) + 8

// Kind is what the item holds.
func (it *Item) Kind() Kind { return it.kind }

// Version is the entry's version.
func (it *Item) Version() uint64 { return it.version }

// ExpireAt is the unix time in milliseconds from which the item is gone, 0 for never.
func (it *Item) ExpireAt() int64 { return it.expireAt }

// Deleted tells a tombstone, which only scans of whole partitions meet.
func (it *Item) Deleted() bool { return it.kind == kindTombstone }

// Freq is the number of hits since the item was last queued, at most 3.
func (it *Item) Freq() int { return int(it.bits & freqMask >> freqShift) }

// Raw tells whether a string was edited in place: Redis never calls it int or embstr again.
func (it *Item) Raw() bool { return it.bits&rawBit != 0 }

// Key is the stored key.
func (it *Item) Key() []byte {
	if it.isObject() {
		return it.object().key
	}
	return unsafe.Slice((*byte)(it.ptr), it.keyLen)
}

// Value is the value of a string.
func (it *Item) Value() []byte {
	return unsafe.Slice((*byte)(it.ptr), it.keyLen+it.valLen)[it.keyLen:]
}

// Dict is the content of a hash or set.
func (it *Item) Dict() *Dict { return it.object().Collection.(*Dict) }

// ZSet is the content of a sorted set.
func (it *Item) ZSet() *ZSet { return it.object().Collection.(*ZSet) }

// List is the content of a list.
func (it *Item) List() *List { return it.object().Collection.(*List) }

// Stream is the content of a stream.
func (it *Item) Stream() *Stream { return it.object().Collection.(*Stream) }

// Collection is the content of whatever is no string.
func (it *Item) Collection() Collection { return it.object().Collection }

func (it *Item) object() *object { return (*object)(it.ptr) }

func (it *Item) isObject() bool {
	return it.kind > KindString && it.kind < kinds && it.kind != kindTombstone
}

func (it *Item) expired(now int64) bool { return it.expireAt != 0 && it.expireAt <= now }

// gone tells whether nothing is left that has not expired: the item as a whole, or each field of it.
func (it *Item) gone(now int64) bool {
	return it.expired(now) || it.kind == kindStale || it.kind == KindHash && it.Dict().allExpired(now)
}

// due is when something of the item expires, 0 for never.
func (it *Item) due() int64 {
	if it.kind == KindHash {
		if at := it.Dict().due(); at != 0 && (it.expireAt == 0 || at < it.expireAt) {
			return at
		}
	}
	return it.expireAt
}

// capacity is what key and value may grow to in place: allocations are always rounded up to their class.
func (it *Item) capacity() int { return class(int(it.keyLen) + int(it.valLen)) }

// cost is what the item is charged with.
func (it *Item) cost() int {
	if it.isObject() {
		return itemOverhead + it.object().charged
	}
	return itemOverhead + it.capacity()
}

// Bytes is what the item is charged with: key, value and overhead.
func (it *Item) Bytes() int { return it.cost() }
