package pgpool

import (
	"math/bits"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// starve tells the other workers that clients wait here while the limit is reached: whoever has a free server lends it.
func (p *pool) starve() {
	bit := uint64(1) << p.w.number
	if len(p.w.pooler.workers) == 1 || p.slots.starving.Load()&bit != 0 {
		return
	}
	p.slots.starving.Or(bit)
	for _, other := range p.w.pooler.workers {
		if other != p.w {
			other.loop.Post(func() { other.lendIdle(p.group.shared, p.index) })
		}
	}
}

// fed takes the call for help back.
func (p *pool) fed() { p.slots.starving.And(^(uint64(1) << p.w.number)) }

// lendIdle gives a free server to whoever starves.
func (w *worker) lendIdle(g *sharedGroup, index int) {
	group := w.groups[g]
	if group == nil {
		return
	}
	p := group.pools[index]
	if p.waiting.n > 0 {
		return
	}
	if s := p.take(); s != nil && !p.lendAway(s) {
		p.free = append(p.free, s)
	}
}

// lendAway moves a server that has just become free to a worker that starves, if this one can spare it: because nobody
// waits here, or because it has more than its share.
func (p *pool) lendAway(s *server) bool {
	mask := p.slots.starving.Load() &^ (uint64(1) << p.w.number)
	if mask == 0 || s.unsettled { // this worker will look at it once more
		return false
	}
	workers := p.w.pooler.workers
	share := 0 // when there is not one for each worker, they take turns
	if used := int(p.slots.used.Load()); used >= len(workers) {
		share = (used + len(workers) - 1) / len(workers)
	}
	if p.waiting.n > 0 && (s.borrowed || len(p.all) <= share) {
		return false
	}
	to := workers[bits.TrailingZeros64(mask)]
	p.slots.starving.And(^(uint64(1) << to.number))
	delete(p.all, s)
	p.w.unwatch(s)
	g, index := p.group.shared, p.index
	p.w.loop.Post(func() { // not from within the server's own Data
		switch {
		case s.conn.Closing(): // gone keeps the books
		case len(s.conn.Held()) > 0 || s.conn.Queued() > 0: // nobody has it, so there should be neither
			s.lost(errOutOfStep)
		default:
			s.conn.Move(to.loop, func(*netloop.Conn) { to.borrowed(g, index, s) })
		}
	})
	return true
}
