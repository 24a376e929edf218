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
	// Mark returns a floor for Position: of what was committed before now, also where there are no replicas.
	Mark() uint64
	// Position returns the position of a floor, once it is known. It may take a lock.
	Position(floor uint64) (at Position, known bool)
	// Life changes when server i may have been started again, and what it has shown before may not be there yet.
	Life(i int) uint32
	// Confirm waits until what is known of server i is no older than the call.
	Confirm(ctx context.Context, i int) error
	// System is the primary's system identifier, 0 if it is not known yet.
	System() uint64
}

// route chooses the pool for a client's next unit, and counts why. It returns nil if the client waits for a replica first,
// or is told that there is none.
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
	if p == nil {
		c.refuseRead()
	}
	return p
}

// place chooses the pool; nil if no server may run the unit.
func (g *group) place(c *client, d decision) (*pool, routeReason) {
	index, there := g.shared.up.roles.Primary()
	primary := g.pools[index]
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
	p, f := g.choose(c, own, index)
	last := p != nil && (c.policy.RefuseReads || !there || primary.standing.avoids()) // that could answer
	switch {
	case f != fitnessUsable && !last:
		break
	case own < 0:
		c.readsAt(p)
		return p, d.why
	case p.index == own:
		return p, d.why
	default: // what it has seen on its own replica the other may not have yet
		c.raiseFloor()
		return primary, forFloor
	}
	switch {
	case f == fitnessBehind:
		return primary, forFloor
	case c.policy.RefuseReads:
		return nil, forLoss
	}
	return primary, forLoss
}
