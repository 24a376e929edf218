// HOT PATH

package store

import "math/bits"

// linear is the buckets of a linear hash (Litwin, "Linear hashing: a new tool for file and table addressing", VLDB 1980). It
// grows and shrinks by one bucket at a time, so that no command waits until all entries have moved, and there are never more
// buckets than entries deserve. A bucket is a chain of entries, which are known by numbers; 0 is none.
type linear struct {
	heads vector[uint32]
}

// chains is how the entries of a linear hash hang together.
type chains interface {
	hash(entry uint32) uint32
	next(entry uint32) *uint32
}

// buckets is the number of buckets.
func (x *linear) buckets() int { return x.heads.len() }

// mask gives the bits of a hash that choose among the buckets, once the one it chooses has been split.
func (x *linear) mask() uint32 { return 1<<bits.Len32(uint32(x.buckets()-1)) - 1 }

// choose gives the bucket of a hash, and the mask by which it was chosen: one that is still to be split serves twice as many
// hashes.
func (x *linear) choose(hash uint32) (b int, mask uint32) {
	mask = x.mask()
	b = int(hash & (mask >> 1))
	if b|int(mask+1)>>1 < x.buckets() {
		return int(hash & mask), mask
	}
	return b, mask >> 1
}

// head is the first entry of the bucket of a hash. There must be a bucket.
func (x *linear) head(hash uint32) *uint32 {
	b, _ := x.choose(hash)
	return x.heads.at(b)
}

// split adds a bucket, which takes its share from the one that served it so far.
func split[C chains](x *linear, c C) {
	fresh := uint32(x.buckets())
	x.heads.push(0)
	if fresh == 0 {
		return
	}
	mask := x.mask()
	to := x.heads.at(int(fresh))
	for from := x.heads.at(int(fresh & (mask >> 1))); *from != 0; {
		entry := *from
		next := c.next(entry)
		if c.hash(entry)&mask == fresh {
			*from = *next
			*next, *to = *to, entry
		} else {
			from = next
		}
	}
}

// merge gives the last bucket back to the one that it was split from. There must be two.
func merge[C chains](x *linear, c C) {
	last := x.buckets() - 1
	into := x.heads.at(last & int(x.mask()>>1))
	for entry := *x.heads.at(last); entry != 0; {
		next := c.next(entry)
		after := *next
		*next, *into = *into, entry
		entry = after
	}
	x.heads.pop()
}

// after is the cursor behind the bucket at cursor, 0 at the end. It counts through the hashes with their bits reversed, as
// Redis's dictScan does: what it has passed stays passed whether buckets are split or merged meanwhile, so that a scan misses
// nothing that is there from its begin to its end, and may repeat.
func (x *linear) after(cursor uint64) uint64 {
	_, mask := x.choose(uint32(cursor))
	return uint64(bits.Reverse32(bits.Reverse32(uint32(cursor)|^mask) + 1))
}
