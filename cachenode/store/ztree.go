// HOT PATH

package store

import "unsafe"

// zfan is the most a node holds; with it a leaf fills its class of 512 bytes.
const zfan = 40

// znode is a node of a B-tree. A slot of a leaf is a member; a slot of another is a child, named by the first member
// below it.
type znode struct {
	n          int
	kids       *zkids // nil in a leaf
	prev, next *znode // of a leaf
	scores     [zfan]float64
	ids        [zfan]uint32
}

// zkids are the children of a node and the members below each.
type zkids struct {
	node  [zfan]*znode
	count [zfan]uint32
}

const (
	znodeSize = int(unsafe.Sizeof(znode{}))
	zkidsSize = int(unsafe.Sizeof(zkids{}))
)

// ztree keeps the members of a large sorted set in order and counts them by subtree, so that ranks are found on the way
// down.
type ztree struct {
	root  *znode
	index *zindex // knows the names
	bytes int     // of nodes
}

// zlarge is a large sorted set.
type zlarge struct {
	tree  ztree
	index zindex
}

func newZLarge() *zlarge {
	l := &zlarge{index: newZIndex()}
	l.tree.index = &l.index
	l.tree.root = l.tree.newNode(false)
	return l
}

func (l *zlarge) size() int { return class(int(unsafe.Sizeof(*l))) + l.index.size() + l.tree.bytes }

func (l *zlarge) set(hash uint32, member []byte, score float64) (added, changed bool) {
	id := l.index.find(hash, member)
	if id == noMember {
		id = l.index.add(hash, member, score)
		l.tree.insert(id)
		return true, false
	}
	m := l.index.at(id)
	if m.score == score {
		return false, false
	}
	l.tree.remove(id)
	m.score = score
	l.tree.insert(id)
	return false, true
}

func (l *zlarge) remove(hash uint32, member []byte) bool {
	id := l.index.find(hash, member)
	if id == noMember {
		return false
	}
	l.removeID(id)
	return true
}

func (l *zlarge) removeID(id uint32) {
	l.tree.remove(id)
	if moved := l.index.drop(id); moved != id {
		l.tree.rename(moved, id)
	}
}

func (t *ztree) newNode(inner bool) *znode {
	nd := new(znode)
	t.bytes += class(znodeSize)
	if inner {
		nd.kids = new(zkids)
		t.bytes += class(zkidsSize)
	}
	return nd
}

func (t *ztree) freed(nd *znode) {
	t.bytes -= class(znodeSize)
	if nd.kids != nil {
		t.bytes -= class(zkidsSize)
	}
}

// upTo counts the slots of a node that are at or before a member.
func (t *ztree) upTo(nd *znode, score float64, name string) int {
	lo, hi := 0, nd.n
	for lo < hi {
		mid := (lo + hi) / 2
		if s := nd.scores[mid]; s < score || s == score && t.index.at(nd.ids[mid]).name <= name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func (nd *znode) total() uint32 {
	if nd.kids == nil {
		return uint32(nd.n)
	}
	sum := uint32(0)
	for _, c := range nd.kids.count[:nd.n] {
		sum += c
	}
	return sum
}

// name makes slot i of a node say what is true of its child.
func (nd *znode) name(i int) {
	kid := nd.kids.node[i]
	nd.scores[i], nd.ids[i], nd.kids.count[i] = kid.scores[0], kid.ids[0], kid.total()
}

// insert puts member id, which is in the index, into its place.
func (t *ztree) insert(id uint32) {
	m := t.index.at(id)
	right := t.insertBelow(t.root, m.score, m.name, id)
	if right == nil {
		return
	}
	root := t.newNode(true)
	root.n = 2
	root.kids.node[0], root.kids.node[1] = t.root, right
	root.name(0)
	root.name(1)
	t.root = root
}

// insertBelow returns the node that nd had to give a part of itself to, to be put behind it.
func (t *ztree) insertBelow(nd *znode, score float64, name string, id uint32) (right *znode) {
	i := t.upTo(nd, score, name)
	if nd.kids == nil {
		to, i, right := t.room(nd, i)
		copy(to.scores[i+1:], to.scores[i:to.n])
		copy(to.ids[i+1:], to.ids[i:to.n])
		to.scores[i], to.ids[i] = score, id
		to.n++
		return right
	}
	i = max(i-1, 0)
	grown := t.insertBelow(nd.kids.node[i], score, name, id)
	if grown == nil {
		nd.kids.count[i]++
		nd.scores[i], nd.ids[i] = nd.kids.node[i].scores[0], nd.kids.node[i].ids[0]
		return nil
	}
	nd.name(i)
	to, i, right := t.room(nd, i+1)
	copy(to.scores[i+1:], to.scores[i:to.n])
	copy(to.ids[i+1:], to.ids[i:to.n])
	copy(to.kids.node[i+1:], to.kids.node[i:to.n])
	copy(to.kids.count[i+1:], to.kids.count[i:to.n])
	to.kids.node[i] = grown
	to.n++
	to.name(i)
	return right
}

// room finds the node and the place in it for what is to be slot i of nd, splitting nd when it is full: in halves, or at
// its end when that is where it grows, so that members that come in order leave full nodes behind.
func (t *ztree) room(nd *znode, i int) (to *znode, at int, right *znode) {
	if nd.n < zfan {
		return nd, i, nil
	}
	right = t.newNode(nd.kids != nil)
	keep := zfan / 2
	if i == zfan && nd.next == nil {
		keep = zfan
	}
	right.n = copy(right.scores[:], nd.scores[keep:])
	copy(right.ids[:], nd.ids[keep:])
	if nd.kids != nil {
		copy(right.kids.node[:], nd.kids.node[keep:])
		copy(right.kids.count[:], nd.kids.count[keep:])
		clear(nd.kids.node[keep:])
	} else {
		right.prev, right.next = nd, nd.next
		if nd.next != nil {
			nd.next.prev = right
		}
		nd.next = right
	}
	nd.n = keep
	if i > keep || keep == zfan {
		return right, i - keep, right
	}
	return nd, i, right
}

// remove takes out a member, which must be in the tree and still in the index.
func (t *ztree) remove(id uint32) {
	m := t.index.at(id)
	t.removeBelow(t.root, m.score, m.name)
	for t.root.kids != nil && t.root.n == 1 {
		t.freed(t.root)
		t.root = t.root.kids.node[0]
	}
}

func (t *ztree) removeBelow(nd *znode, score float64, name string) {
	i := t.upTo(nd, score, name) - 1
	if nd.kids == nil {
		nd.cut(i)
		return
	}
	kid := nd.kids.node[i]
	t.removeBelow(kid, score, name)
	switch {
	case kid.n == 0:
		t.unlink(kid)
		nd.cut(i)
		return
	case i+1 < nd.n && nd.kids.node[i+1].n+kid.n <= zfan*3/4:
		t.join(nd, i)
	case i > 0 && nd.kids.node[i-1].n+kid.n <= zfan*3/4:
		i--
		t.join(nd, i)
	}
	nd.name(i)
}

// cut takes slot i out of a node.
func (nd *znode) cut(i int) {
	copy(nd.scores[i:], nd.scores[i+1:nd.n])
	copy(nd.ids[i:], nd.ids[i+1:nd.n])
	if nd.kids != nil {
		copy(nd.kids.node[i:], nd.kids.node[i+1:nd.n])
		copy(nd.kids.count[i:], nd.kids.count[i+1:nd.n])
		nd.kids.node[nd.n-1] = nil
	}
	nd.n--
}

// join moves what child i+1 has into child i.
func (t *ztree) join(nd *znode, i int) {
	a, b := nd.kids.node[i], nd.kids.node[i+1]
	copy(a.scores[a.n:], b.scores[:b.n])
	copy(a.ids[a.n:], b.ids[:b.n])
	if a.kids != nil {
		copy(a.kids.node[a.n:], b.kids.node[:b.n])
		copy(a.kids.count[a.n:], b.kids.count[:b.n])
	}
	a.n += b.n
	t.unlink(b)
	nd.cut(i + 1)
}

// unlink takes a node out of the list of leaves.
func (t *ztree) unlink(nd *znode) {
	t.freed(nd)
	if nd.prev != nil {
		nd.prev.next = nd.next
	}
	if nd.next != nil {
		nd.next.prev = nd.prev
	}
}

// rename tells the tree that a member has another number; the index knows it by the new one.
func (t *ztree) rename(from, to uint32) {
	m := t.index.at(to)
	for nd := t.root; ; {
		// The slots on the way still say from, which has no name any more: what equals the score is told by number.
		i := t.findFrom(nd, m.score, m.name, from)
		if nd.ids[i] == from {
			nd.ids[i] = to
		}
		if nd.kids == nil {
			return
		}
		nd = nd.kids.node[i]
	}
}

// findFrom is upTo, less one, where one of the slots may have the number from in place of its name.
func (t *ztree) findFrom(nd *znode, score float64, name string, from uint32) int {
	lo, hi := 0, nd.n
	for lo < hi {
		mid := (lo + hi) / 2
		if s := nd.scores[mid]; s < score || s == score && (nd.ids[mid] == from || t.index.at(nd.ids[mid]).name <= name) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// rank counts the members before one that is in the tree.
func (t *ztree) rank(score float64, name string) (rank int) {
	nd := t.root
	for {
		i := t.upTo(nd, score, name) - 1
		if nd.kids == nil {
			return rank + i
		}
		for _, c := range nd.kids.count[:i] {
			rank += int(c)
		}
		nd = nd.kids.node[i]
	}
}

// at finds the member of a rank.
func (t *ztree) at(rank int) (leaf *znode, slot int) {
	nd := t.root
	for nd.kids != nil {
		i := 0
		for rank >= int(nd.kids.count[i]) {
			rank -= int(nd.kids.count[i])
			i++
		}
		nd = nd.kids.node[i]
	}
	return nd, rank
}

// before counts the members before a bound.
func (t *ztree) before(b *Bound) (rank int) {
	nd := t.root
	for {
		i, hi := 0, nd.n
		for i < hi {
			mid := (i + hi) / 2
			if b.before(nd.scores[mid], unsafeBytes(t.index.at(nd.ids[mid]).name)) {
				i = mid + 1
			} else {
				hi = mid
			}
		}
		if nd.kids == nil {
			return rank + i
		}
		if i--; i < 0 {
			return rank
		}
		for _, c := range nd.kids.count[:i] {
			rank += int(c)
		}
		nd = nd.kids.node[i]
	}
}
