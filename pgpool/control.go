package pgpool

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// switches are what the console has changed about a database.
type switches struct{ paused, disabled bool }

// watchEvery is how often a command that waits looks whether it may go on.
const watchEvery = 20 * time.Millisecond

// until waits until done returns true, or ctx ends.
func until(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// consoleControl is what the console does to the pooler.
type consoleControl struct{ p *Pooler }

var _ admin.Control = consoleControl{}

// known returns the names of the databases that are meant: those in the configuration and those in use.
func (p *Pooler) known(database string) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := make(map[string]bool)
	for name := range p.tuning.Load().Databases {
		names[name] = true
	}
	delete(names, "*")
	for key := range p.groups {
		names[key.database] = true
	}
	if database == "" {
		return slices.Sorted(maps.Keys(names)), nil
	}
	if !names[database] {
		return nil, admin.NoDatabase(database)
	}
	return []string{database}, nil
}

// turn changes the switches of a database, or what holds for all if it is empty. It reports what they were. p.mu must not
// be held.
func (p *Pooler) turn(database string, change func(s *switches)) (before switches) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.switches[database]
	before = s
	change(&s)
	if s == (switches{}) {
		delete(p.switches, database)
	} else {
		p.switches[database] = s
	}
	for key, g := range p.groups {
		g.paused.Store(p.switches[""].paused || p.switches[key.database].paused)
	}
	return before
}

// disabled tells whether new clients of a database are refused.
func (p *Pooler) disabled(database string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.switches[database].disabled
}

// onGroups runs fn on each worker's part of a database, or of all, and waits for it.
func (p *Pooler) onGroups(database string, fn func(g *group)) {
	p.each(func(w *worker) {
		for shared, g := range w.groups {
			if database == "" || shared.key.database == database {
				fn(g)
			}
		}
	})
}

// obey takes over whether the group is paused. Paused, it gives up its free servers: whoever paused it wants to work on
// the database.
func (g *group) obey() {
	g.paused = g.shared.paused.Load()
	for _, p := range g.pools {
		if g.paused {
			p.retireFree()
		}
		g.w.markDirty(p)
	}
}

func (p *pool) retireFree() {
	for _, s := range p.free {
		s.retire()
	}
	clear(p.free)
	p.free = p.free[:0]
}

func (c consoleControl) Pause(ctx context.Context, database string) error {
	if _, err := c.p.known(database); err != nil {
		return err
	}
	if c.p.turn(database, func(s *switches) { s.paused = true }).paused {
		return admin.AlreadyPaused()
	}
	c.p.onGroups(database, (*group).obey)
	return until(ctx, func() bool {
		n := 0
		c.p.onGroups(database, func(g *group) {
			for _, p := range g.pools {
				n += len(p.all) + p.dialing
			}
		})
		return n == 0
	})
}

func (c consoleControl) Resume(database string) error {
	if _, err := c.p.known(database); err != nil {
		return err
	}
	before := c.p.turn(database, func(s *switches) { s.paused = false })
	suspended := database == "" && c.p.suspended.Swap(false)
	if suspended {
		c.p.each((*worker).resumeReading)
	}
	if !before.paused && !suspended {
		return admin.NotPaused(database)
	}
	c.p.onGroups(database, (*group).obey)
	return nil
}

func (c consoleControl) Disable(database string) error { return c.disable(database, true) }

func (c consoleControl) Enable(database string) error { return c.disable(database, false) }

func (c consoleControl) disable(database string, disabled bool) error {
	if _, err := c.p.known(database); err != nil {
		return err
	}
	c.p.turn(database, func(s *switches) { s.disabled = disabled })
	return nil
}

func (c consoleControl) Reconnect(database string) error {
	if _, err := c.p.known(database); err != nil {
		return err
	}
	c.p.mu.Lock()
	for key, g := range c.p.groups {
		if database == "" || key.database == database {
			g.epoch.Add(1)
		}
	}
	only, _ := c.p.tuning.Load().database(database)
	for key, u := range c.p.upstreams {
		if w, ok := u.roles.(*Watcher); ok && (database == "" || key == upstreamKey(only.Servers)) {
			w.Accept()
		}
	}
	c.p.mu.Unlock()
	c.p.onGroups(database, func(g *group) {
		for _, p := range g.pools {
			p.retireFree()
			g.w.markDirty(p)
		}
	})
	return nil
}

func (c consoleControl) WaitClose(ctx context.Context, database string) error {
	if _, err := c.p.known(database); err != nil {
		return err
	}
	return until(ctx, func() bool {
		left := 0
		c.p.onGroups(database, func(g *group) {
			for _, p := range g.pools {
				for s := range p.all {
					if s.epoch != g.shared.epoch.Load() || g.moved != nil {
						left++
					}
				}
			}
		})
		return left == 0
	})
}

func (c consoleControl) Kill(database string) error {
	names, err := c.p.known(database)
	if err != nil {
		return err
	}
	if c.p.turn(database, func(s *switches) { s.paused = true }).paused {
		return admin.AlreadyPaused()
	}
	c.p.onGroups(database, (*group).obey)
	c.p.each(func(w *worker) {
		for cl := range w.clients {
			if slices.Contains(names, cl.group.shared.key.database) {
				cl.refuse(killed.with())
			}
		}
	})
	return nil
}

func (c consoleControl) KillClient(id uint64) error {
	found := false
	c.p.each(func(w *worker) {
		for cl := range w.clients {
			if uint64(cl.pid) == id {
				found = true
				cl.refuse(killed.with())
			}
		}
	})
	if !found {
		return admin.NoClient(id)
	}
	return nil
}

// Suspend stops reading and waits until what was read is sent.
func (c consoleControl) Suspend(ctx context.Context) error {
	if c.p.suspended.Swap(true) {
		return admin.AlreadyPaused()
	}
	c.p.each((*worker).pauseReading)
	return until(ctx, func() bool {
		queued := 0
		c.p.each(func(w *worker) {
			w.eachConn(func(c *netloop.Conn, _ bool) { queued += c.Queued() })
		})
		return queued == 0
	})
}

// eachConn calls fn for each connection, and tells whether back-pressure has stopped it.
func (w *worker) eachConn(fn func(c *netloop.Conn, stopped bool)) {
	for c := range w.clients {
		fn(c.conn, c.stalled)
	}
	for _, g := range w.groups {
		for _, p := range g.pools {
			for s := range p.all {
				fn(s.conn, s.paused)
			}
		}
	}
}

func (w *worker) pauseReading() {
	w.eachConn(func(c *netloop.Conn, _ bool) { c.PauseReading() })
}

func (w *worker) resumeReading() {
	w.eachConn(func(c *netloop.Conn, stopped bool) {
		if !stopped {
			c.ResumeReading()
		}
	})
}

func (c consoleControl) Shutdown(mode admin.ShutdownMode) error {
	if c.p.cfg.Shutdown == nil {
		return errors.New("this program cannot be ended from here")
	}
	return c.p.cfg.Shutdown(mode)
}

func (c consoleControl) Reload() error {
	if c.p.cfg.Reload == nil {
		return errors.New("there is nothing to read again")
	}
	return c.p.cfg.Reload()
}

func (c consoleControl) Set(name, value string) error {
	if c.p.cfg.Set == nil {
		return notSettable.with()
	}
	return c.p.cfg.Set(name, value)
}
