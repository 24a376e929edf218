package pgpool

import "errors"

// rolesChanged tells the workers that a server of u came or went, changed its role or was fenced.
func (p *Pooler) rolesChanged(u *upstream) {
	for _, w := range p.workers {
		w.loop.Post(func() { w.rolesChanged(u) })
	}
}

// rolesChanged closes what leads to fenced servers, and looks at what waits.
func (w *worker) rolesChanged(u *upstream) {
	for shared, g := range w.groups {
		if shared.up != u {
			continue
		}
		for _, p := range g.pools {
			if u.roles.Fenced(p.index) {
				p.cut()
			}
			p.turned()
			if p.waiting.n > 0 {
				w.markDirty(p)
			}
		}
	}
}

// doubt has the pool's server asked who it is: it has done what does not fit to what is known of it.
func (p *pool) doubt() { p.group.shared.up.roles.Doubt(p.index) }

// useless tells whether connections of the pool would be good for nothing.
func (p *pool) useless() bool {
	up := p.group.shared.up
	return up.server(p.index).vacant() || up.roles.Fenced(p.index)
}

// cut closes all connections of the pool, those in the middle of a transaction too: nothing that is written there would be
// kept, and nothing that is read there holds.
func (p *pool) cut() {
	for s := range p.all {
		s.lost(errFenced)
	}
}

// errFenced is why connections to a fenced server end.
var errFenced = errors.New("its server is fenced: SHOW HEALTH tells why")
