package store

import "hash/maphash"

// Collection is a value that is no string. Its methods are called with its shard held.
type Collection interface {
	// Len is the number of elements. A collection without any is deleted, but for a stream.
	Len() int
	// Size is what it occupies now, in bytes, all allocations by their class.
	Size() int
	// flatten gives what it holds to e by e.item, in an order that restore understands.
	flatten(e *Entry)
	// restore fills it, when it is empty, with what flatten gave. It copies. It reports false for what flatten never gives.
	restore(items [][]byte) bool
}

// object is a collection with its key: what the one pointer of an Item leads to.
type object struct {
	Collection
	key     []byte
	charged int // bytes charged to the budget
}

// size is what the object occupies now.
func (o *object) size() int { return class(objectBase) + class(cap(o.key)) + o.Collection.Size() }

func (s *Store) newObject(key []byte, kind Kind) *object {
	o := &object{Collection: newCollection(kind, s.seed), key: append(make([]byte, 0, class(len(key))), key...)}
	o.charged = o.size()
	return o
}

// newCollection makes an empty collection.
func newCollection(kind Kind, seed maphash.Seed) Collection {
	switch kind {
	case KindHash:
		return &Dict{seed: seed, valued: true, encoding: encodingListpack}
	case KindSet:
		return &Dict{seed: seed}
	case KindZSet:
		return &ZSet{seed: seed}
	case KindList:
		return &List{}
	case KindStream:
		return &Stream{}
	}
	panic("store: no collection")
}
