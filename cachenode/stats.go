package cachenode

import (
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// counters are the node's totals since New.
type counters struct {
	forwarded, executedForPeers         atomic.Uint64
	replicated, degraded, timeouts      atomic.Uint64
	pulls, moved, received, dropped     atomic.Uint64
	outdated, compared, repaired        atomic.Uint64
	abandoned, refused, published, busy atomic.Uint64
	missed, nearLost                    atomic.Uint64
}

// Stats are the numbers of a node: totals since New, and what it holds now.
type Stats struct {
	Forwarded  uint64 // commands sent to their owner
	ForPeers   uint64 // commands executed that a peer has sent
	Replicated uint64 // entries sent to a backup
	Degraded   uint64 // entries that a backup has missed; it gets them with the next hand-over
	Timeouts   uint64 // requests that a peer did not answer in time
	Busy       uint64 // commands refused because too much was outstanding with a peer
	Missed     uint64 // reads answered as misses because the owner could not be reached
	Pulled     uint64 // keys asked for because their partition had not arrived
	Moved      uint64 // partitions handed over
	Received   uint64 // partitions that have arrived
	Abandoned  uint64 // partitions that nobody has handed over in time
	Dropped    uint64 // keys forgotten after their partition had moved
	Outdated   uint64 // keys forgotten because this node was away while others had them, or their owner does not have them
	Compared   uint64 // partitions compared with their copy
	Repaired   uint64 // entries of them that were not the same
	Refused    uint64 // entries of peers for which there was no room
	Published  uint64 // messages sent to peers

	Hits, Misses, Evicted, Expired uint64
	Stale, Leases                  uint64 // values given after their end, and leases given
	ClockAhead                     uint64 // entries of peers from the future: their clocks, or ours, are wrong
	ClockAheadBy                   int64  // the farthest of them, in milliseconds
	Tags                           int    // that were invalidated, and are remembered
	Invalidated                    uint64 // keys that are gone because of it
	Keys                           int    // backup copies included
	Bytes                          int64  // of memory charged to the budget

	NearHits    uint64 // reads answered from a copy of another node's key
	NearDropped uint64 // copies dropped because the key had changed
	NearLost    uint64 // times that all copies of a node were, because not every change was known
	NearCopies  int
	NearBytes   int64 // charged to the budget besides Bytes

	Peers     int // other nodes that are alive
	Misplaced int // those of them that place keys by other rules
	Owned     int // partitions
	Missing   int // partitions that have not arrived
}

// Stats returns the current numbers. Any goroutine may ask.
func (n *Node) Stats() Stats {
	held := n.store.Stats()
	pl := n.placement.Load()
	s := Stats{
		Forwarded:   n.stats.forwarded.Load(),
		ForPeers:    n.stats.executedForPeers.Load(),
		Replicated:  n.stats.replicated.Load(),
		Degraded:    n.stats.degraded.Load(),
		Timeouts:    n.stats.timeouts.Load(),
		Busy:        n.stats.busy.Load(),
		Missed:      n.stats.missed.Load(),
		Pulled:      n.stats.pulls.Load(),
		Moved:       n.stats.moved.Load(),
		Received:    n.stats.received.Load(),
		Abandoned:   n.stats.abandoned.Load(),
		Dropped:     n.stats.dropped.Load(),
		Outdated:    n.stats.outdated.Load(),
		Compared:    n.stats.compared.Load(),
		Repaired:    n.stats.repaired.Load(),
		Refused:     n.stats.refused.Load(),
		Published:   n.stats.published.Load(),
		Hits:        held.Hits,
		Misses:      held.Misses,
		Evicted:     held.Evicted,
		Expired:     held.Expired,
		Stale:       held.Stale,
		Leases:      held.Leases,
		Tags:        n.store.Tags(),
		Invalidated: held.Invalidated,

		ClockAhead:   held.Ahead,
		ClockAheadBy: held.AheadBy,

		Bytes:     held.Bytes,
		Peers:     len(pl.peers),
		Misplaced: len(pl.misplaced),
		Missing:   n.missing(pl),
	}
	for _, w := range n.workers {
		s.NearHits += w.nearHits.Load()
	}
	if n.near != nil {
		copies := n.near.Stats()
		s.NearDropped, s.NearLost, s.NearCopies, s.NearBytes = copies.Dropped, n.stats.nearLost.Load(), copies.Copies, copies.Bytes
	}
	for _, keys := range held.Keys {
		s.Keys += keys
	}
	for p := range ring.Partitions {
		if pl.owner[p] == self {
			s.Owned++
		}
	}
	return s
}
