package store

import "math/bits"

// Waiter is a command that waits until one of its keys is written. It stands in the queue of each of them; who writes a
// key with a queue finds it in Tx.Ready. The queues are guarded by the shards of their keys.
type Waiter struct {
	Kind Kind // what it waits for
	For  any  // whose it is

	store  *Store
	needs  uint64 // shards that serving it takes besides that of the key
	bytes  int64
	places []Place
}

// Place is where a Waiter stands in the queue of one key.
type Place struct {
	w          *Waiter
	key        Key
	at         int
	queue      *waitQueue // nil once it has left
	prev, next *Place
}

type waitQueue struct{ first, last *Place }

const (
	// maxWaiting bounds the bytes of all that waits in a store.
	maxWaiting = 64 << 20
	// placeBytes is what standing in one queue costs besides the key, roughly.
	placeBytes = 256
)

// Wait puts w at the ends of the queues of keys, which the Tx must hold. Whoever holds one of them from then on holds
// those of with too, so that w can be served on the spot. bytes is what w keeps besides. It reports false when too
// much waits already.
func (tx *Tx) Wait(w *Waiter, keys, with []Key, bytes int) bool {
	s := tx.store
	w.store, w.bytes = s, int64(bytes)
	for i := range keys {
		w.bytes += int64(len(keys[i].Bytes)) + placeBytes
	}
	if s.waiting.Add(w.bytes) > maxWaiting {
		s.waiting.Add(-w.bytes)
		return false
	}
	s.Charge(w.bytes)
	for i := range with {
		w.needs |= 1 << with[i].shard()
	}
	w.places = make([]Place, len(keys))
	for i := range keys {
		p := &w.places[i]
		name := string(keys[i].Bytes)
		p.w, p.at = w, i
		p.key = Key{Bytes: []byte(name), hash: keys[i].hash, part: keys[i].part}
		tx.shard(&p.key).join(name, p)
	}
	return true
}

// Waiter is who stands there.
func (p *Place) Waiter() *Waiter { return p.w }

// At is the key's position among those that Wait got.
func (p *Place) At() int { return p.at }

// Next is the place behind, nil at the end.
func (p *Place) Next() *Place { return p.next }

// First is the head of the queue of k, nil when nobody waits for it. It is valid as long as the Tx holds k.
func (tx *Tx) First(k *Key) *Place {
	if q := tx.shard(k).queued[string(k.Bytes)]; q != nil {
		return q.first
	}
	return nil
}

// Leave takes p out of its queue, whose shard the Tx holds.
func (tx *Tx) Leave(p *Place) { tx.shard(&p.key).leave(p) }

// Leave takes w out of all queues. It must be called once, with no shard held, when w waits no more.
func (w *Waiter) Leave() {
	for i := range w.places {
		p := &w.places[i]
		sh := &w.store.shards[p.key.shard()]
		sh.mu.Lock()
		sh.leave(p)
		sh.mu.Unlock()
	}
	w.store.waiting.Add(-w.bytes)
	w.store.Charge(-w.bytes)
}

// Awaited tells whether somebody waits for a key.
func (s *Store) Awaited(stored []byte) bool {
	if s.waiting.Load() == 0 {
		return false
	}
	k := s.Key(stored)
	sh := &s.shards[k.shard()]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.queued[string(stored)] != nil
}

// Waiters calls visit for each waiter of a key in a partition for which lost is true. A waiter of several keys may come
// several times.
func (s *Store) Waiters(lost func(partition int) bool, visit func(*Waiter)) {
	var found []*Waiter
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, q := range sh.queued {
			for p := q.first; p != nil && lost(p.key.Partition()); p = p.next {
				found = append(found, p.w)
			}
		}
		sh.mu.Unlock()
	}
	for _, w := range found {
		visit(w)
	}
}

func (sh *shard) join(name string, p *Place) {
	q := sh.queued[name]
	if q == nil {
		if sh.queued == nil {
			sh.queued = map[string]*waitQueue{}
		}
		q = &waitQueue{}
		sh.queued[name] = q
	}
	p.queue, p.prev = q, q.last
	if q.last == nil {
		q.first = p
	} else {
		q.last.next = p
	}
	q.last = p
	if p.w.needs != 0 {
		sh.need(p, 1)
	}
}

func (sh *shard) leave(p *Place) {
	q := p.queue
	if q == nil {
		return
	}
	if p.prev == nil {
		q.first = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		q.last = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.queue, p.prev, p.next = nil, nil, nil
	if q.first == nil {
		delete(sh.queued, string(p.key.Bytes))
	}
	if p.w.needs != 0 {
		sh.need(p, -1)
	}
}

// need counts the waiters that make whoever locks this shard lock another one.
func (sh *shard) need(p *Place, by int) {
	if sh.needers == nil {
		sh.needers = new([shardCount]int)
	}
	for m := p.w.needs &^ (1 << p.key.shard()); m != 0; m &= m - 1 {
		i := bits.TrailingZeros64(m)
		sh.needers[i] += by
		if sh.needers[i] > 0 {
			sh.needs |= 1 << i
		} else {
			sh.needs &^= 1 << i
		}
	}
}
