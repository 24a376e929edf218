package cachenode

import (
	"fmt"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/respserver"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// sessionRequest is a command of a session, which knows the place of its reply.
type sessionRequest = respserver.Request

var _ respserver.Backend = (*Node)(nil)

// Execute runs a session's command wherever it belongs. It is called on loop.
func (n *Node) Execute(loop *netloop.Loop, r *respserver.Request, out []byte) (reply []byte, done bool) {
	c := call{spec: r.Spec, args: r.Args, raw: r.Raw, proto: r.Proto, db: r.DB, permit: r.Permit, fresh: r.Fresh, request: r}
	return n.byLoop[loop].execute(&c, out)
}

// Warm gets ready for commands on keys.
func (n *Node) Warm(loop *netloop.Loop, db int, keys [][]byte) { n.byLoop[loop].warm(db, keys) }

// Copies tells whether keys have a backup.
func (n *Node) Copies() int { return min(1, len(n.placement.Load().peers)) }

// Info appends the node's section of INFO.
func (n *Node) Info(b []byte) []byte {
	s := n.Stats()
	return fmt.Appendf(b, "# Outrigger\r\noutrigger_peers:%d\r\noutrigger_owned_partitions:%d\r\noutrigger_missing_partitions:%d\r\n"+
		"outrigger_forwarded:%d\r\noutrigger_executed_for_peers:%d\r\noutrigger_replicated:%d\r\noutrigger_degraded:%d\r\n"+
		"outrigger_pulled:%d\r\noutrigger_moved:%d\r\noutrigger_stale_replies:%d\r\noutrigger_leases:%d\r\n"+
		"outrigger_clock_ahead:%d\r\noutrigger_clock_ahead_ms:%d\r\n"+
		"outrigger_compared:%d\r\noutrigger_repaired:%d\r\noutrigger_outdated:%d\r\n"+
		"outrigger_unreachable_misses:%d\r\noutrigger_misplaced_peers:%d\r\n"+
		"outrigger_near_hits:%d\r\noutrigger_near_copies:%d\r\noutrigger_near_bytes:%d\r\noutrigger_near_dropped:%d\r\noutrigger_near_lost:%d\r\n"+
		"outrigger_tags:%d\r\noutrigger_invalidated:%d\r\n",
		s.Peers, s.Owned, s.Missing, s.Forwarded, s.ForPeers, s.Replicated, s.Degraded, s.Pulled, s.Moved, s.Stale, s.Leases, s.ClockAhead, s.ClockAheadBy,
		s.Compared, s.Repaired, s.Outdated,
		s.Missed, s.Misplaced, s.NearHits, s.NearCopies, s.NearBytes, s.NearDropped, s.NearLost,
		s.Tags, s.Invalidated)
}

// Store is the node's own part of the cache, for a respserver.Config.
func (n *Node) Store() *store.Store { return n.store }

// Table lists the commands, for a respserver.Config.
func (n *Node) Table() *command.Table { return n.table }
