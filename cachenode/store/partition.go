package store

import "math/rand/v2"

func (s *Store) partition(p int) (*shard, *partition) {
	sh := &s.shards[p%shardCount]
	return sh, &sh.parts[p/shardCount]
}

// enter locks the shard of partition p unless the Tx holds it. A Tx that holds some shards, but not this one, must not come
// here: it might wait for one that waits for it.
func (tx *Tx) enter(p int) {
	if tx.held == 0 {
		tx.store.shards[p%shardCount].mu.Lock()
	}
}

func (tx *Tx) leave(p int) {
	if tx.held == 0 {
		tx.store.shards[p%shardCount].mu.Unlock()
	}
}

// HoldsAll tells whether the Tx was begun by BeginAll.
func (tx *Tx) HoldsAll() bool { return tx.held == allShards }

// ScanPartition is Store.ScanPartition for a Tx that holds nothing, or everything.
func (tx *Tx) ScanPartition(p int, cursor uint64, count int, visit func(*Item)) (next uint64) {
	tx.enter(p)
	defer tx.leave(p)
	return tx.store.scanPartition(p, cursor, count, tx.now, visit)
}

// CountDB is Store.CountDB for a Tx that holds nothing, or everything.
func (tx *Tx) CountDB(db int, owns func(p int) bool) (keys int) {
	for p := range Partitions {
		if owns == nil || owns(p) {
			tx.enter(p)
			_, part := tx.store.partition(p)
			keys += int(part.perDB[db])
			tx.leave(p)
		}
	}
	return keys
}

// FlushPartition is Store.FlushPartition for a Tx that holds nothing, or everything.
func (tx *Tx) FlushPartition(p, db int) (keys int) {
	tx.enter(p)
	defer tx.leave(p)
	return tx.store.flushPartition(p, db, tx.now)
}

// RandomKey is Store.RandomKey for a Tx that holds nothing, or everything.
func (tx *Tx) RandomKey(dst []byte, db int, owns func(p int) bool) (key []byte, ok bool) {
	start := randomPartition()
	for i := range Partitions {
		p := (start + i) % Partitions
		if owns != nil && !owns(p) {
			continue
		}
		tx.enter(p)
		key, ok = tx.store.randomIn(p, dst, db, tx.now)
		tx.leave(p)
		if ok {
			return key, true
		}
	}
	return dst, false
}

// ScanPartition visits about count items of partition p, tombstones included, expired items not, and returns the cursor
// to go on with, 0 at the end. What is there from begin to end of a scan is visited, whatever else changes; some of it
// perhaps twice. visit runs with the shard held: it must be short and must not use the store.
func (s *Store) ScanPartition(p int, cursor uint64, count int, now int64, visit func(*Item)) (next uint64) {
	sh, _ := s.partition(p)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return s.scanPartition(p, cursor, count, now, visit)
}

func (s *Store) scanPartition(p int, cursor uint64, count int, now int64, visit func(*Item)) (next uint64) {
	sh, part := s.partition(p)
	if part.items == 0 {
		return 0
	}
	for buckets := 0; buckets < 10*count; buckets++ {
		for i := *part.head(uint32(cursor)); i != 0; {
			it := sh.slab.at(i)
			i = it.next
			if !it.gone(now) && (it.version > sh.tagged || it.kind == kindTombstone || !sh.invalid(it, now)) {
				visit(it)
				count--
			}
		}
		cursor = part.after(cursor)
		if cursor == 0 || count <= 0 {
			break
		}
	}
	return cursor
}

// CountPartition is the number of keys in partition p, tombstones not counted.
func (s *Store) CountPartition(p int) (keys int) {
	sh, part := s.partition(p)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, n := range part.perDB {
		keys += int(n)
	}
	return keys
}

// Size is the number of items in partition p, tombstones included.
func (s *Store) Size(p int) int {
	sh, part := s.partition(p)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return int(part.items)
}

// Sizes puts the number of items of each partition, tombstones included, into sizes.
func (s *Store) Sizes(sizes *[Partitions]int32) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for j := range sh.parts {
			sizes[j*shardCount+i] = int32(sh.parts[j].items)
		}
		sh.mu.Unlock()
	}
}

// CountDB is the number of keys of one database in the partitions that owns accepts; nil accepts all.
func (s *Store) CountDB(db int, owns func(p int) bool) (keys int) {
	for p := range Partitions {
		if owns != nil && !owns(p) {
			continue
		}
		sh, part := s.partition(p)
		sh.mu.Lock()
		keys += int(part.perDB[db])
		sh.mu.Unlock()
	}
	return keys
}

// DropPartition forgets partition p without a trace: it has moved to another node. It returns the number of keys.
func (s *Store) DropPartition(p int) (keys int) {
	sh, part := s.partition(p)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.voidAll(p/shardCount, -1)
	return sh.clear(part, -1)
}

// DropSingles forgets the single keys of partition p, which another node owns: what is here of them may be old.
func (s *Store) DropSingles(p int) (keys int) {
	sh, part := s.partition(p)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.clearIf(part, func(it *Item) bool { return sh.rules.of(it.Key()).single })
}

// DropOlder forgets what was last written at version or before, in partition p, and returns the number of keys.
func (s *Store) DropOlder(p int, version uint64) (keys int) {
	return s.DropIf(p, func(it *Item) bool { return it.version <= version && it.kind != kindTombstone })
}

// DropIf forgets what goes accepts, in partition p, without a trace, and returns the number of keys. goes runs with the shard
// held.
func (s *Store) DropIf(p int, goes func(*Item) bool) (keys int) {
	sh, part := s.partition(p)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.clearIf(part, goes)
}

// FlushPartition deletes the keys of one database in partition p, all databases for -1, and refuses what was written
// before now from then on.
func (s *Store) FlushPartition(p, db int, now int64) (keys int) {
	sh, _ := s.partition(p)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return s.flushPartition(p, db, now)
}

func (s *Store) flushPartition(p, db int, now int64) (keys int) {
	sh, part := s.partition(p)
	version := sh.nextVersion(now, 0)
	for i := range part.floor {
		if db < 0 || db == i {
			part.floor[i] = version
		}
	}
	if part.items == 0 && len(sh.leases.byKey) == 0 {
		return 0
	}
	ahead, versions := sh.future(part, db, version)
	sh.voidAll(p/shardCount, db)
	keys = sh.clear(part, db)
	for i := range ahead {
		sh.entomb(&ahead[i], versions[i], now)
	}
	return keys
}

// clear drops the items of one database, of all for -1.
func (sh *shard) clear(part *partition, db int) (keys int) {
	return sh.clearIf(part, func(it *Item) bool {
		if db < 0 {
			return true
		}
		of, _ := SplitKey(it.Key())
		return of == db
	})
}

// clearIf drops the items that goes accepts.
func (sh *shard) clearIf(part *partition, goes func(*Item) bool) (keys int) {
	for b := range part.buckets() {
		for i := *part.heads.at(b); i != 0; {
			it := sh.slab.at(i)
			i = it.next
			if !goes(it) {
				continue
			}
			if !it.hidden() {
				keys++
			}
			// The table must not shrink under the loop, so it is taken care of below.
			sh.detach(it)
		}
	}
	sh.charge(part.rebuild(&sh.slab))
	sh.emptied()
	return keys
}

// detach removes an item from all but the table, and marks it free.
func (sh *shard) detach(it *Item) {
	if sh.marks != nil {
		sh.changing(it.hash, it.Key())
	}
	sh.removals[uint8(it.hash)]++
	sh.unbind(it)
	sh.dequeue(it)
	sh.unschedule(it)
	sh.count(it, -1)
	sh.charge(-it.cost())
	it.kind = kindFree
}

// rebuild drops the items marked free from the table, releases them, and fits the table to the rest.
func (t *table) rebuild(s *slab) (grown int) {
	for b := range t.buckets() {
		for p := t.heads.at(b); *p != 0; {
			it := s.at(*p)
			if it.kind != kindFree {
				p = &it.next
				continue
			}
			*p = it.next
			t.items--
			s.release(it)
		}
	}
	return t.shrink(s, t.buckets())
}

// RandomKey appends a key of db, drawn from the partitions that owns accepts (nil: all), without its database prefix.
func (s *Store) RandomKey(dst []byte, db int, owns func(p int) bool, now int64) (key []byte, ok bool) {
	start := randomPartition()
	for i := range Partitions {
		p := (start + i) % Partitions
		if owns != nil && !owns(p) {
			continue
		}
		sh, _ := s.partition(p)
		sh.mu.Lock()
		key, ok = s.randomIn(p, dst, db, now)
		sh.mu.Unlock()
		if ok {
			return key, true
		}
	}
	return dst, false
}

// randomIn is RandomKey for one partition.
func (s *Store) randomIn(p int, dst []byte, db int, now int64) (key []byte, ok bool) {
	sh, part := s.partition(p)
	if part.perDB[db] <= 0 {
		return dst, false
	}
	at, n := rand.IntN(part.buckets()), part.buckets()
	for b := range n {
		for j := *part.heads.at((at + b) % n); j != 0; {
			it := sh.slab.at(j)
			j = it.next
			of, name := SplitKey(it.Key())
			if of == db && !it.hidden() && !it.gone(now) && (it.version > sh.tagged || !sh.invalid(it, now)) {
				return append(dst, name...), true
			}
		}
	}
	return dst, false
}
