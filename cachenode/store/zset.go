// HOT PATH

package store

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"unsafe"
)

// ZSet is a sorted set: members with scores, in the order of score, then bytes. A small one is one packed slice; a large
// one is a tree that knows ranks and an index that knows members. Like Redis's encodings it only ever grows from the one
// to the other.
type ZSet struct {
	seed   maphash.Seed
	packed []byte  // while large is nil
	few    int     // members in packed
	large  *zlarge // nil while small
}

const (
	zsetBase   = int(unsafe.Sizeof(ZSet{}))
	maxZPacked = 128 // zset-max-listpack-entries
	maxZMember = 64  // zset-max-listpack-value
)

// Len is the number of members.
func (z *ZSet) Len() int {
	if z.large != nil {
		return z.large.index.n
	}
	return z.few
}

// Size is what the sorted set occupies now.
func (z *ZSet) Size() int {
	if z.large != nil {
		return class(zsetBase) + z.large.size()
	}
	return class(zsetBase) + class(cap(z.packed))
}

// Encoding is the name that OBJECT ENCODING gives.
func (z *ZSet) Encoding() string {
	if z.large != nil {
		return "skiplist"
	}
	return "listpack"
}

// Small tells whether Redis would keep the set in one piece, and so scan it in one call.
func (z *ZSet) Small() bool { return z.large == nil }

// Score finds a member's score.
func (z *ZSet) Score(member []byte) (score float64, ok bool) {
	if z.large != nil {
		if id := z.large.index.find(z.hash(member), member); id != noMember {
			return z.large.index.at(id).score, true
		}
		return 0, false
	}
	if at := z.findPacked(member); at >= 0 {
		return z.scoreAt(at), true
	}
	return 0, false
}

// Set stores a copy of member with its score, which is no NaN. added tells whether it is new, changed whether it had
// another score.
func (z *ZSet) Set(member []byte, score float64) (added, changed bool) {
	if z.large != nil {
		return z.large.set(z.hash(member), member, score)
	}
	if at := z.findPacked(member); at >= 0 {
		if z.scoreAt(at) == score {
			return false, false
		}
		z.cutPacked(at)
		z.putPacked(member, score)
		return false, true
	}
	if z.few == maxZPacked || len(member) > maxZMember {
		z.grow()
		return z.large.set(z.hash(member), member, score)
	}
	z.putPacked(member, score)
	return true, false
}

// Expect gets an empty set ready for n members, the longest of so many bytes.
func (z *ZSet) Expect(n, longest int) {
	if z.large == nil && (n > maxZPacked || longest > maxZMember) {
		z.grow()
	}
}

// Delete removes a member.
func (z *ZSet) Delete(member []byte) bool {
	if z.large != nil {
		return z.large.remove(z.hash(member), member)
	}
	at := z.findPacked(member)
	if at < 0 {
		return false
	}
	z.cutPacked(at)
	return true
}

// DeleteRange removes n members from rank on.
func (z *ZSet) DeleteRange(rank, n int) {
	for range n {
		c := z.At(rank)
		if z.large == nil {
			z.cutPacked(c.at)
		} else {
			id := c.leaf.ids[c.at]
			z.large.removeID(id)
		}
	}
}

// Rank finds how many members stand before member.
func (z *ZSet) Rank(member []byte) (rank int, score float64, ok bool) {
	if z.large != nil {
		id := z.large.index.find(z.hash(member), member)
		if id == noMember {
			return 0, 0, false
		}
		score = z.large.index.at(id).score
		return z.large.tree.rank(score, z.large.index.at(id).name), score, true
	}
	for at := 0; at < len(z.packed); at = z.after(at) {
		if string(z.memberAt(at)) == string(member) {
			return rank, z.scoreAt(at), true
		}
		rank++
	}
	return 0, 0, false
}

// Bound is a place in the order of a sorted set: before or after all that have a score, or, in a set whose scores are all
// the same, before or after a member.
type Bound struct {
	Score  float64
	Member []byte
	Lex    bool // by member
	After  bool // behind what equals it
}

// before tells whether a member stands before the bound.
func (b *Bound) before(score float64, member []byte) bool {
	switch {
	case b.Lex && b.After:
		return string(member) <= string(b.Member)
	case b.Lex:
		return string(member) < string(b.Member)
	case b.After:
		return score <= b.Score
	}
	return score < b.Score
}

// Before counts the members that stand before a bound.
func (z *ZSet) Before(b *Bound) (rank int) {
	if z.large != nil {
		return z.large.tree.before(b)
	}
	for at := 0; at < len(z.packed) && b.before(z.scoreAt(at), z.memberAt(at)); at = z.after(at) {
		rank++
	}
	return rank
}

// ZCursor is a place in a sorted set, valid until the set changes.
type ZCursor struct {
	z    *ZSet
	leaf *znode
	at   int // in the leaf, or in packed
}

// At places a cursor at a rank, 0 ≤ rank < Len.
func (z *ZSet) At(rank int) ZCursor {
	if z.large != nil {
		leaf, at := z.large.tree.at(rank)
		return ZCursor{z, leaf, at}
	}
	at := 0
	for range rank {
		at = z.after(at)
	}
	return ZCursor{z: z, at: at}
}

// Member is the member at the cursor.
func (c *ZCursor) Member() []byte {
	if c.leaf != nil {
		return unsafeBytes(c.z.large.index.at(c.leaf.ids[c.at]).name)
	}
	return c.z.memberAt(c.at)
}

// Score is its score.
func (c *ZCursor) Score() float64 {
	if c.leaf != nil {
		return c.leaf.scores[c.at]
	}
	return c.z.scoreAt(c.at)
}

// Next moves to the next member, which must exist if the cursor is used again.
func (c *ZCursor) Next() {
	if c.leaf == nil {
		c.at = c.z.after(c.at)
		return
	}
	if c.at++; c.at == c.leaf.n {
		c.leaf, c.at = c.leaf.next, 0
		if c.leaf == nil {
			*c = ZCursor{}
		}
	}
}

// Prev moves to the member before, which must exist if the cursor is used again.
func (c *ZCursor) Prev() {
	if c.leaf == nil {
		if c.at > 0 {
			c.at -= packedOverhead + int(c.z.packed[c.at-1])
		}
		return
	}
	if c.at--; c.at < 0 {
		if c.leaf = c.leaf.prev; c.leaf == nil {
			*c = ZCursor{}
			return
		}
		c.at = c.leaf.n - 1
	}
}

// Any gives member i of some order, 0 ≤ i < Len, for drawing at random; cheaper than At.
func (z *ZSet) Any(i int) (member []byte, score float64) {
	if z.large != nil {
		m := z.large.index.at(uint32(i))
		return unsafeBytes(m.name), m.score
	}
	c := z.At(i)
	return c.Member(), c.Score()
}

// Scan visits about count members and returns the cursor to go on with, 0 at the end, with the guarantees of Redis's SCAN.
// A small set comes whole. visit must not change the set.
func (z *ZSet) Scan(cursor uint64, count int, visit func(member []byte, score float64)) (next uint64) {
	if z.large != nil {
		return z.large.index.scan(cursor, count, visit)
	}
	for at := 0; at < len(z.packed); at = z.after(at) {
		visit(z.memberAt(at), z.scoreAt(at))
	}
	return 0
}

// flatten gives each member with its score, eight bytes, behind it.
func (z *ZSet) flatten(e *Entry) {
	if z.Len() == 0 {
		return
	}
	c := z.At(0)
	for range z.Len() {
		var bits [8]byte
		binary.LittleEndian.PutUint64(bits[:], math.Float64bits(c.Score()))
		e.item(c.Member())
		e.item(bits[:])
		c.Next()
	}
}

func (z *ZSet) restore(items [][]byte) bool {
	if len(items)%2 != 0 {
		return false
	}
	for i := 0; i < len(items); i += 2 {
		if len(items[i+1]) != 8 {
			return false
		}
		score := math.Float64frombits(binary.LittleEndian.Uint64(items[i+1]))
		if math.IsNaN(score) {
			return false
		}
		z.Set(items[i], score)
	}
	return true
}

func (z *ZSet) hash(member []byte) uint32 { return uint32(maphash.Bytes(z.seed, member)) }

// grow turns a small set into a large one.
func (z *ZSet) grow() {
	l := newZLarge()
	for at := 0; at < len(z.packed); at = z.after(at) {
		l.set(z.hash(z.memberAt(at)), z.memberAt(at), z.scoreAt(at))
	}
	z.packed, z.few, z.large = nil, 0, l
}

// A packed member is its score, its length, its bytes and its length again, to be walked in both directions.
const (
	packedHead     = 9
	packedOverhead = packedHead + 1
)

func (z *ZSet) scoreAt(at int) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(z.packed[at:]))
}

func (z *ZSet) memberAt(at int) []byte {
	start := at + packedHead
	end := start + int(z.packed[at+8])
	return z.packed[start:end:end]
}

func (z *ZSet) after(at int) int { return at + packedOverhead + int(z.packed[at+8]) }

func (z *ZSet) findPacked(member []byte) int {
	for at := 0; at < len(z.packed); {
		n := int(z.packed[at+8])
		if n == len(member) && string(z.packed[at+packedHead:at+packedHead+n]) == string(member) {
			return at
		}
		at += packedOverhead + n
	}
	return -1
}

func (z *ZSet) putPacked(member []byte, score float64) {
	if score == 0 {
		score = 0 // Redis's small sets know no negative zero
	}
	at := 0
	for at < len(z.packed) {
		s := z.scoreAt(at)
		if s > score || s == score && string(z.memberAt(at)) > string(member) {
			break
		}
		at = z.after(at)
	}
	was, n := len(z.packed), packedOverhead+len(member)
	if was+n > cap(z.packed) {
		z.packed = append(make([]byte, 0, class(was+n)), z.packed...)
	}
	z.packed = z.packed[:was+n]
	copy(z.packed[at+n:], z.packed[at:was])
	binary.LittleEndian.PutUint64(z.packed[at:], math.Float64bits(score))
	z.packed[at+8] = byte(len(member))
	copy(z.packed[at+packedHead:], member)
	z.packed[at+n-1] = byte(len(member))
	z.few++
}

func (z *ZSet) cutPacked(at int) {
	left := append(z.packed[:at], z.packed[z.after(at):]...)
	if class(len(left)) < cap(left)/2 {
		left = append(make([]byte, 0, class(len(left))), left...)
	}
	z.packed = left
	z.few--
}

func unsafeBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
