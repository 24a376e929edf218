// HOT PATH

package pgpool

import "context"

// Roles is what is known of an upstream's servers. All methods but Run and Confirm are called by event loops:
// they do not block.
type Roles interface {
	// Run watches the servers until ctx ends.
	Run(ctx context.Context) error
	// Primary is the index of the server that takes writes. While ok is false there is none, and it is that of the last,
	// or of the one that is configured as such.
	Primary() (index int, ok bool)
	// Usable tells whether server i is up, a replica of the primary, and within the policy's limits for its lag.
	Usable(i int, limits *Policy) bool
	// Fenced tells whether server i is not to be used, although it is up: as an old primary that has come back.
	Fenced(i int) bool
	// Doubt has server i asked now who it is: it has said or done what does not fit to what is known of it. It may be
	// called as often as there is a reason.
	Doubt(i int)
	// Floor returns the point that a replica must have reached to show everything committed before now.
	Floor() uint64
	// Want has it found out, soon, whether servers have reached a floor.
	Want(floor uint64)
	// Reached tells whether server i shows everything up to a floor. Floor 0 is always reached.
	Reached(i int, floor uint64) bool
	// ReachedPosition tells the same of a position that may come from elsewhere.
	ReachedPosition(i int, at Position) bool
	// Life changes when server i may have been started again, and what it has shown before may not be there yet.
	Life(i int) uint32
	// Confirm waits until what is known of server i is no older than the call.
	Confirm(ctx context.Context, i int) error
	// System is the primary's system identifier, 0 if it is not known yet.
	System() uint64
}

// route chooses the pool for a client's next unit, and counts why. It returns nil if the client waits for a replica first.
func (g *group) route(c *client, d decision) *pool {
	p, why := g.place(c, d)
	if why == forFloor {
		c.wantFloor()
		if c.mayAwait() {
			g.w.await(c, d)
			return nil
		}
	}
	g.routes[why]++
	return p
}

func (g *group) place(c *client, d decision) (*pool, routeReason) {
	up, limits := g.shared.up.roles, g.shared.policy.Load()
	primary := g.pools[g.shared.up.primary()]
	switch {
	case len(g.pools) == 1:
		return primary, forAlone
	case !d.read:
		return primary, d.why
	case c.keeps():
		return primary, forPin
	}
	own := c.ownReplica()
	c.asked = true
	var best, mine *pool
	least, mineLoad, behind := 0, 0, false
	for k := range g.pools {
		p := g.pools[(g.turn+k)%len(g.pools)]
		if p == primary || !up.Usable(p.index, limits) || g.w.loop.Now().Before(p.retryAt) {
			continue
		}
		if !p.shows(c) {
			behind = true
			continue
		}
		load := len(p.all) - len(p.free) + p.waiting.n
		if p.index == own {
			mine, mineLoad = p, load
		}
		if best == nil || load < least {
			best, least = p, load
		}
	}
	switch {
	case mine != nil && (mine == best || !c.moves(int64(mineLoad), int64(least))):
		return mine, d.why
	case own >= 0 && best != nil: // what it has seen on its own replica the other may not have yet
		c.raiseFloor()
		return primary, forFloor
	case best != nil:
		c.readsAt(best)
		g.turn = (best.index + 1) % len(g.pools)
		return best, d.why
	case behind:
		return primary, forFloor
	}
	return primary, forLoss
}
