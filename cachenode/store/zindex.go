// HOT PATH

package store

import "math/bits"

// zmember is a member of a large sorted set.
type zmember struct {
	name  string
	score float64
	hash  uint32
	next  uint32 // in the chain of its bucket
}

// noMember ends a chain.
const noMember = ^uint32(0)

const (
	// A chunk of members fills its class of 2 KiB, of which the allocator keeps 8 bytes for itself; one of buckets 1 KiB.
	chunkMembers = 63
	chunkBuckets = 256
	firstBuckets = 128

	memberChunk = 2 << 10
	bucketChunk = 4 * chunkBuckets
)

// zindex finds the members of a large sorted set by name. Members have the numbers from 0 to n-1: the last takes the place
// of one that goes. The table is a linear hash: it grows and shrinks by a bucket at a time, so no command waits for
// all members to be moved.
type zindex struct {
	n       int
	members []*[chunkMembers]zmember
	heads   []*[chunkBuckets]uint32
	buckets uint32
	bytes   int // of names, by class
}

func (x *zindex) size() int {
	return len(x.members)*memberChunk + class(cap(x.members)*8) + len(x.heads)*bucketChunk + class(cap(x.heads)*8) + x.bytes
}

func (x *zindex) at(id uint32) *zmember { return &x.members[id/chunkMembers][id%chunkMembers] }

func (x *zindex) head(bucket uint32) *uint32 {
	return &x.heads[bucket/chunkBuckets][bucket%chunkBuckets]
}

// mask gives the bits of the hash that choose among the buckets, once the one it chooses has been split.
func (x *zindex) mask() uint32 { return 1<<bits.Len32(x.buckets-1) - 1 }

// bucket is the bucket of a hash, and the mask by which it was chosen: one that is still to be split serves twice as many
// hashes.
func (x *zindex) bucket(hash uint32) (b, mask uint32) {
	mask = x.mask()
	b = hash & (mask >> 1)
	if b|(mask+1)>>1 < x.buckets {
		return hash & mask, mask
	}
	return b, mask >> 1
}

func (x *zindex) find(hash uint32, name []byte) uint32 {
	b, _ := x.bucket(hash)
	id := *x.head(b)
	for id != noMember {
		m := x.at(id)
		if m.hash == hash && m.name == string(name) {
			break
		}
		id = m.next
	}
	return id
}

// add takes in a member that is not there and returns its number.
func (x *zindex) add(hash uint32, name []byte, score float64) uint32 {
	id := uint32(x.n)
	if x.n == len(x.members)*chunkMembers {
		x.members = append(x.members, new([chunkMembers]zmember))
	}
	x.n++
	*x.at(id) = zmember{name: string(name), score: score, hash: hash}
	x.bytes += class(len(name))
	b, _ := x.bucket(hash)
	x.link(id, b)
	if x.n > int(x.buckets) {
		x.split()
	}
	return id
}

// drop removes member id. When another takes its number, moved is what that was called before.
func (x *zindex) drop(id uint32) (moved uint32) {
	m := x.at(id)
	x.bytes -= class(len(m.name))
	*x.linkTo(id) = m.next
	x.n--
	moved = uint32(x.n)
	if moved != id {
		*x.linkTo(moved) = id
		*m = *x.at(moved)
	}
	*x.at(moved) = zmember{}
	if last := len(x.members) - 1; x.n <= (last-1)*chunkMembers {
		x.members[last] = nil
		x.members = x.members[:last]
		if last < cap(x.members)/4 {
			x.members = append(make([]*[chunkMembers]zmember, 0, cap(x.members)/2), x.members...)
		}
	}
	for range 2 { // to keep up with half as many members
		if x.n < int(x.buckets)/2 && x.buckets > firstBuckets {
			x.merge()
		}
	}
	return moved
}

func (x *zindex) link(id, bucket uint32) {
	head := x.head(bucket)
	x.at(id).next = *head
	*head = id
}

// linkTo finds what points at a member: its bucket or the member before it in the chain.
func (x *zindex) linkTo(id uint32) *uint32 {
	b, _ := x.bucket(x.at(id).hash)
	p := x.head(b)
	for *p != id {
		p = &x.at(*p).next
	}
	return p
}

// split adds a bucket, which takes its share from the one that served it so far.
func (x *zindex) split() {
	fresh := x.buckets
	if int(fresh) == len(x.heads)*chunkBuckets {
		x.heads = append(x.heads, new([chunkBuckets]uint32))
	}
	x.buckets++
	*x.head(fresh) = noMember
	if fresh == 0 {
		return
	}
	mask := x.mask()
	from := x.head(fresh & (mask >> 1))
	for *from != noMember {
		id := *from
		m := x.at(id)
		if m.hash&mask == fresh {
			*from = m.next
			x.link(id, fresh)
		} else {
			from = &m.next
		}
	}
}

// merge gives the last bucket back to the one it was split from.
func (x *zindex) merge() {
	last := x.buckets - 1
	into := last & (x.mask() >> 1)
	for id := *x.head(last); id != noMember; {
		next := x.at(id).next
		x.link(id, into)
		id = next
	}
	x.buckets--
	if end := len(x.heads) - 1; int(x.buckets) <= (end-1)*chunkBuckets {
		x.heads[end] = nil
		x.heads = x.heads[:end]
		if end < cap(x.heads)/4 {
			x.heads = append(make([]*[chunkBuckets]uint32, 0, cap(x.heads)/2), x.heads...)
		}
	}
}

// scan visits whole buckets. The cursor counts through the hashes with their bits reversed, so that what it has passed
// stays passed whether buckets are split or merged meanwhile.
func (x *zindex) scan(cursor uint64, count int, visit func(member []byte, score float64)) uint64 {
	at := uint32(cursor)
	for visited := 0; visited < 10*count && count > 0; visited++ {
		b, mask := x.bucket(at)
		for id := *x.head(b); id != noMember; id = x.at(id).next {
			m := x.at(id)
			visit(unsafeBytes(m.name), m.score)
			count--
		}
		if at = bits.Reverse32(bits.Reverse32(at|^mask) + 1); at == 0 {
			break
		}
	}
	return uint64(at)
}

func newZIndex() zindex {
	var x zindex
	for range firstBuckets {
		x.split()
	}
	return x
}
