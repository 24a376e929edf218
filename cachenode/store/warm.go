// HOT PATH

package store

import "unsafe"

// Warm has the processor load what finding keys will touch: the bucket of each, then the item of each, then its bytes. One
// key after the other it would wait for each of those in turn, which was half of the time that a pipeline of reads took.
// Nothing changes, and a shard that somebody holds is passed over.
func (s *Store) Warm(keys []Key) {
	for _, step := range [...]func(*shard, *Key){(*shard).warmBucket, (*shard).warmItem, (*shard).warmBytes} {
		for i := range keys {
			if sh := &s.shards[keys[i].shard()]; sh.mu.TryLock() {
				step(sh, &keys[i])
				sh.mu.Unlock()
			}
		}
	}
}

func (sh *shard) warmBucket(k *Key) {
	if b := sh.parts[k.local()].bucket(k.hash); b != nil {
		prefetch(unsafe.Pointer(b))
	}
}

func (sh *shard) warmItem(k *Key) {
	if b := sh.parts[k.local()].bucket(k.hash); b != nil && *b != 0 {
		prefetch(unsafe.Pointer(sh.slab.at(*b)))
	}
}

func (sh *shard) warmBytes(k *Key) {
	b := sh.parts[k.local()].bucket(k.hash)
	if b == nil {
		return
	}
	for i := *b; i != 0; {
		it := sh.slab.at(i)
		if it.hash == k.hash {
			prefetch(it.ptr)
			if it.kind == KindString && it.capacity() > cacheLine {
				prefetch(unsafe.Add(it.ptr, cacheLine)) // and what follows, the processor loads unasked
			}
			return
		}
		i = it.next
	}
}

const cacheLine = 64
