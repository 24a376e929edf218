package store

import (
	"bytes"
	"errors"
)

// Entry is one key with all it holds, as it travels between nodes.
type Entry struct {
	Key      []byte // stored form
	Kind     Kind   // of a live entry
	Version  uint64
	ExpireAt int64 // unix milliseconds, 0 = never
	Deleted  bool  // the key was deleted at Version
	Raw      bool  // a string that was edited in place
	Value    []byte
	Items    [][]byte // of a collection, as it flattens them
	Tags     []byte   // that the key is bound to one by one, see AppendTag

	arena []byte
}

// Entry copies what the store knows of key into e, tombstones included, reusing e's memory. It reports false when there
// is nothing, or only something expired.
func (s *Store) Entry(stored []byte, now int64, e *Entry) bool {
	k := s.Key(stored)
	sh := &s.shards[k.shard()]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	it := sh.find(&k)
	if it == nil || it.kind != kindTombstone && (it.gone(now) || it.version <= sh.tagged && sh.invalid(it, now)) {
		return false
	}
	e.Fill(s, it)
	return true
}

// Fill copies an item of s into e, reusing e's memory. It is for visit functions of ScanPartition.
func (e *Entry) Fill(s *Store, it *Item) {
	*e = Entry{arena: e.arena[:0], Items: e.Items[:0], Version: it.version}
	e.Key = e.keep(it.Key())
	if it.kind == kindTombstone {
		e.Deleted = true
		return
	}
	e.Kind, e.ExpireAt, e.Raw = it.kind, it.expireAt, it.Raw()
	if it.bits&taggedBit != 0 {
		e.Tags = e.keep(s.shards[s.PartitionOf(e.Key)%shardCount].tagsOf(it))
	}
	if !it.isObject() {
		e.Value = e.keep(it.Value())
		return
	}
	it.Collection().flatten(e)
}

// item takes in a part of a collection.
func (e *Entry) item(b []byte) { e.Items = append(e.Items, e.keep(b)) }

// keep copies b into the arena. A full arena is left to the slices cut from it and a new one is started.
func (e *Entry) keep(b []byte) []byte {
	if len(e.arena)+len(b) > cap(e.arena) {
		e.arena = make([]byte, 0, max(2*cap(e.arena), len(b), 256))
	}
	start := len(e.arena)
	e.arena = append(e.arena, b...)
	return e.arena[start:len(e.arena):len(e.arena)]
}

// ErrEntry means that an entry's items are none of its kind.
var ErrEntry = errors.New("malformed collection")

// Apply takes over an entry of another node if it is newer than what is known here: than the item, the tombstone, and
// the last flush. It copies what it keeps. ErrNoRoom means that there was no room for it, ErrEntry that it is malformed.
func (s *Store) Apply(e *Entry, now int64) (applied bool, err error) {
	if !ValidTags(e.Tags) {
		return false, ErrTags
	}
	growth := e.Growth()
	if !s.reserve(growth) {
		return false, ErrNoRoom
	}
	defer s.release(growth)

	k := s.Key(e.Key)
	sh := &s.shards[k.shard()]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.saw(e.Version, now)
	db, _ := SplitKey(e.Key)
	if e.Version <= sh.parts[k.local()].floor[db] {
		return false, nil
	}
	it := sh.find(&k)
	if it != nil && it.version >= e.Version {
		return false, nil
	}
	sh.void(&k)
	if sh.marks != nil {
		sh.changing(k.hash, k.Bytes)
	}
	if it != nil {
		sh.drop(it)
	}
	switch {
	case e.Deleted:
		sh.entomb(&k, e.Version, now)
		return true, nil
	case e.ExpireAt != 0 && e.ExpireAt <= now-sh.rules.of(e.Key).stale:
		return true, nil
	case e.Version <= sh.tagged && sh.invalidAt(e.Key, e.Tags, e.Version, now):
		return true, nil
	case e.Kind == KindString:
		it = sh.newString(&k, KindString, len(e.Value))
		copy(it.Value(), e.Value)
		it.setRaw(e.Raw)
	case e.Kind < kinds && e.Kind != kindTombstone && e.Kind != kindFree:
		it = sh.newObject(&k, e.Kind)
		o := it.object()
		if !o.restore(e.Items) {
			sh.drop(it)
			return false, ErrEntry
		}
		was := o.charged
		o.charged = o.size()
		sh.recharge(it, o.charged-was)
	default:
		return false, nil
	}
	it.version = e.Version
	sh.bind(it, bytes.Clone(e.Tags))
	sh.setExpiry(it, e.ExpireAt, now)
	if it.kind == KindHash {
		sh.follow(it, now)
	}
	return true, nil
}

// Growth is an upper bound of what storing the entry adds to the charge.
func (e *Entry) Growth() int64 {
	growth := ItemGrowth(len(e.Key)+len(e.Value)) + int64(class(len(e.Tags)))
	for _, item := range e.Items {
		growth += FieldGrowth(len(item))
	}
	return growth
}

// FieldGrowth is an upper bound of what one more field of so many bytes adds to the charge of a collection, tables
// that double not counted.
func FieldGrowth(bytes int) int64 { return int64(class(bytes) + 2*fieldSize + 8) }
