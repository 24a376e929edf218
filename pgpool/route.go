// HOT PATH

package pgpool

import "context"

// floor is a point in the primary's log that a replica must have reached before a client reads there.
type floor = uint64

// Roles is what is known of an upstream's servers. All methods but Run are called by event loops: they do not block.
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
	// Reached tells whether server i shows everything up to a floor. Floor 0 is always reached.
	Reached(i int, floor uint64) bool
}

// route chooses the pool for a client's next unit, and counts why.
func (g *group) route(c *client, d decision) *pool {
	p, why := g.place(c, d)
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
	var best *pool
	least, behind := 0, false
	for k := range g.pools {
		p := g.pools[(g.turn+k)%len(g.pools)]
		if p == primary || !up.Usable(p.index, limits) || g.w.loop.Now().Before(p.retryAt) {
			continue
		}
		if !up.Reached(p.index, c.floor) {
			behind = true
			continue
		}
		if load := len(p.all) - len(p.free) + p.waiting.n; best == nil || load < least {
			best, least = p, load
		}
	}
	switch {
	case best != nil:
		g.turn = (best.index + 1) % len(g.pools)
		return best, d.why
	case behind:
		return primary, forFloor
	}
	return primary, forLoss
}
