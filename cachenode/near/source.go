package near

import (
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// Source is what this node knows of the copies that it has from one owner. It is safe for use by many goroutines, but for
// Proven, whose calls come one after the other. The zero value knows nothing.
type Source struct {
	proven   atomic.Int64  // all that had changed by then was dropped; 0: never heard of it
	cleared  atomic.Uint32 // grows when all copies are void
	clearing atomic.Int32  // flushes under way
	wanted   atomic.Int64  // when a reply was last to be kept
	vouched  [Words]atomic.Uint64
}

// Words is the length of a set of partitions, a bit each, from the lowest bit of the first word on.
const Words = (ring.Partitions + 63) / 64

func (s *Source) vouches(partition int) bool {
	return s.vouched[partition/64].Load()>>(partition%64)&1 != 0
}

// Vouch notes the partitions for which the owner has the last word, and for whose copies alone Proven holds. It is called before
// Proven.
func (s *Source) Vouch(partitions *[Words]uint64) {
	for i := range partitions {
		s.vouched[i].Store(partitions[i])
	}
}

// Proven notes that everything was dropped that had changed by now, by Cache.Now, when the owner was asked.
func (s *Source) Proven(now int64) { s.proven.Store(now) }

// Wanted is when a reply was last to be kept, by Cache.Now.
func (s *Source) Wanted() int64 { return s.wanted.Load() }

// Clear makes all copies void, and the replies that are under way.
func (s *Source) Clear() { s.cleared.Add(1) }

// BeginFlush is Clear before the owner is told to flush: until EndFlush nothing is kept.
func (s *Source) BeginFlush() {
	s.clearing.Add(1)
	s.Clear()
}

// EndFlush tells that the owner has answered.
func (s *Source) EndFlush() { s.clearing.Add(-1) }
