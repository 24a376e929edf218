package store

import "math"

// MaxBytes is the budget, 0 for none.
func (s *Store) MaxBytes() int64 { return s.maxBytes.Load() }

// SetMaxBytes changes the budget; a smaller one is reached by evicting at once.
func (s *Store) SetMaxBytes(n int64) {
	s.maxBytes.Store(n)
	s.reserve(0)
}

// SetCeiling bounds the budget by n bytes for the time being, because memory is short; 0 lifts the bound.
func (s *Store) SetCeiling(n int64) {
	s.ceiling.Store(n)
	s.reserve(0)
}

// limit is the bound of now: the budget, or a ceiling below it; 0 for none.
func (s *Store) limit() int64 {
	limit, ceiling := s.maxBytes.Load(), s.ceiling.Load()
	if limit <= 0 || ceiling > 0 && ceiling < limit {
		return ceiling
	}
	return limit
}

// Used is the number of bytes charged to the budget.
func (s *Store) Used() int64 { return s.used.Load() }

// Charge books bytes that are taken besides what is stored, or given back when n is negative. It may be called with shards held,
// so it makes no room: whoever writes next does.
func (s *Store) Charge(n int64) {
	s.outside.Add(n)
	s.used.Add(n)
}

// ItemGrowth is an upper bound of what storing a new item of so many bytes of key and value adds to the charge: what
// Begin should be asked for.
func ItemGrowth(bytes int) int64 {
	// A table that gets a new piece for this item grows by 1 KiB, which Tx.End makes up for where it matters.
	return int64(itemOverhead + class(bytes) + tableMin)
}

// reserve makes room for n bytes and keeps it until release. It must be called with no shard held. It reports whether
// there is room: false means that the command has to be refused.
func (s *Store) reserve(n int64) bool {
	limit := s.limit()
	if limit <= 0 {
		s.used.Add(n)
		return true
	}
	if n > limit {
		return false
	}
	if s.used.Add(n) <= limit || s.evict(limit, n) {
		return true
	}
	s.used.Add(-n)
	return false
}

// Fits tells whether n more bytes are within the budget. It makes no room, so it may be asked with shards held; where room
// can be made when they are released, a command may go over the budget for that long by as much as it has.
func (s *Store) Fits(n int64) bool {
	limit := s.limit()
	if limit > 0 && s.Policy() != NoEviction {
		limit += limit / 8
	}
	return limit <= 0 || s.used.Load()+n <= limit
}

// HasRoom tells whether there is room left, more than what comes and goes when the store is full.
func (s *Store) HasRoom() bool {
	limit := s.limit()
	return limit <= 0 || s.used.Load() < limit-limit/16
}

// release gives a reservation back.
func (s *Store) release(n int64) { s.used.Add(-n) }

// evict frees until the charge, of which n bytes are the caller's reservation, is within limit. It goes round the shards and
// takes from those that hold more than their share of what is stored, so that the budget is one for all; by VolatileTTL it
// takes from whichever has what expires next.
func (s *Store) evict(limit, n int64) bool {
	if s.Policy() == NoEviction {
		return false
	}
	barren := 0 // shards in a row that had nothing to give
	for s.used.Load() > limit {
		sh, most, share := &s.shards[s.hand.Add(1)%shardCount], 16, barren < shardCount
		if soonest := s.soonest(); soonest != nil {
			sh, most, share = soonest, 1, false
		}
		freed := false
		sh.mu.Lock()
		for ; most > 0 && s.used.Load() > limit; most-- {
			// In the first round only shards above the average give; later, any.
			if share && int64(sh.bytes)*shardCount < s.used.Load()-s.outside.Load()-n {
				break
			}
			it := sh.victim()
			if it == nil {
				break
			}
			freed = true
			switch it.kind {
			case kindTombstone:
			case kindStale:
				sh.removing(it, StaleGone)
			default:
				sh.stats.Evicted++
				sh.removing(it, Evicted)
			}
			sh.drop(it)
		}
		sh.mu.Unlock()
		if freed {
			barren = 0
		} else if barren++; barren > 2*shardCount {
			return false
		}
	}
	return true
}

// soonest is the shard with the item that VolatileTTL evicts next, nil if there is none, or by another policy.
func (s *Store) soonest() (found *shard) {
	if s.Policy() != VolatileTTL {
		return nil
	}
	first := int64(math.MaxInt64)
	for i := range s.shards {
		if at := s.shards[i].soonest.Load(); at != 0 && at < first {
			found, first = &s.shards[i], at
		}
	}
	return found
}
