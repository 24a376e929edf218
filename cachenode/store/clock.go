// HOT PATH

package store

import "time"

// maxAhead is how many milliseconds the version of another node's entry may be ahead of our time and still move our clock.
// Beyond, the other node's time is wrong, or ours: were we to follow, every node would go on from there, and versions would
// tell nothing of when anything was written. The entry is taken over with the version that it has, and what is written to
// its key is newer than it; no other key is touched by it.
const maxAhead = int64(10 * time.Second / time.Millisecond)

// VersionAt is the version of what was written first at a time in Unix milliseconds.
func VersionAt(milli int64) uint64 { return uint64(milli) << 16 }

// TimeOf is when a version was given, in Unix milliseconds by the clock of who gave it.
func TimeOf(version uint64) (milli int64) { return int64(version >> 16) }

// nextVersion is newer than after and than every version that the shard has given, and seen within bounds.
func (sh *shard) nextVersion(now int64, after uint64) uint64 {
	sh.clock = max(sh.clock+1, VersionAt(now))
	if after >= sh.clock {
		return after + 1
	}
	return sh.clock
}

// saw moves the clock past a version of another node.
func (sh *shard) saw(version uint64, now int64) {
	if ahead := TimeOf(version) - now; ahead > maxAhead {
		sh.stats.Ahead++
		sh.stats.AheadBy = max(sh.stats.AheadBy, ahead)
		return
	}
	sh.clock = max(sh.clock, version)
}

// future lists the items of one database in a partition, of all for -1, whose versions are newer than one: their keys, and
// a version newer than each.
func (sh *shard) future(part *partition, db int, than uint64) (keys []Key, versions []uint64) {
	if sh.stats.Ahead == 0 {
		return nil, nil
	}
	for b := range part.buckets() {
		for i := *part.heads.at(b); i != 0; {
			it := sh.slab.at(i)
			i = it.next
			if of, _ := SplitKey(it.Key()); it.version > than && (db < 0 || db == of) {
				keys = append(keys, it.copyKey())
				versions = append(versions, it.version+1)
			}
		}
	}
	return keys, versions
}
