package pgpool

import (
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// worker is the pooler's part on one event loop: clients, pools and statements that no other loop touches.
type worker struct {
	pooler *Pooler
	number int
	loop   *netloop.Loop

	texts   statements
	groups  map[*sharedGroup]*group
	clients map[*client]struct{}
	// aborted has those whose transactions have outlived their servers, if there is something to know of them.
	aborted map[*client]*aborted
	past    map[string]poolStats // of groups that are gone, by database
	// pastCounts is likewise.
	pastCounts map[string]*groupCounts
	dirty      []*pool   // have waiting clients
	toSettle   []*server // see settleLater
	shapes     shapes
	batches    []*server // that units ride on
	gathering  []*pool   // where clients wait for one of few servers
	impatience *netloop.Timer
	awaiting   []awaiting // reads that wait for a replica
	awaited    []awaiting // room for them
	glance     *netloop.Timer
	house      *netloop.Timer
	pace       time.Duration // between two looks at the timeouts
	// maxPacket is max_packet_size, for the hot path.
	maxPacket int
	// idleLimits: some client has a client_idle_timeout.
	idleLimits bool

	listeners map[*sharedGroup]*listener // the first worker has all of them
	lives     uint64                     // of listeners: the last one given

	pins     int
	open     int            // transactions that clients were told of here (deferred.go)
	spare    []*transaction // for use again
	draining bool
	drained  chan struct{} // closed when the last client has gone while draining
}

// group is one worker's pools for one database and user: one for each server.
type group struct {
	shared  *sharedGroup
	w       *worker
	pools   []*pool
	clients int
	here    poolStats // what was answered without a server
	groupCounts
	paused  bool   // nobody gets a server
	removed bool   // its database is no longer configured
	moved   *group // where clients go: the database lives elsewhere since a reload

	channels map[string]map[*client]struct{} // who hears what from the listener
}

// groupCounts are what a group counts besides what its pools do.
type groupCounts struct {
	routes  routeCounts
	batched batchCounts
}

func (n *groupCounts) add(o *groupCounts) {
	n.routes.add(&o.routes)
	n.batched.add(&o.batched)
}

func newWorker(p *Pooler, number int, loop *netloop.Loop) *worker {
	w := &worker{pooler: p, number: number, loop: loop, pace: housekeeping, texts: newStatements(&p.names),
		groups: make(map[*sharedGroup]*group), clients: make(map[*client]struct{}), past: make(map[string]poolStats),
		aborted: make(map[*client]*aborted), pastCounts: make(map[string]*groupCounts)}
	w.house = loop.NewTimer(w.keepHouse)
	loop.OnDispatch(w.dispatch)
	return w
}

func (w *worker) tuning() *Tuning { return w.pooler.tuning.Load() }

// group returns the worker's pools of a group.
func (w *worker) group(shared *sharedGroup) *group {
	if g := w.groups[shared]; g != nil {
		return g
	}
	g := w.newGroup(shared)
	w.groups[shared] = g
	g.paused = shared.paused.Load()
	g.removed = shared.removed.Load()
	if to := shared.moved.Load(); to != nil { // it comes too late: from a login that a reload has overtaken
		g.moved = w.group(to)
	}
	return g
}

// newGroup makes pools without connections.
func (w *worker) newGroup(shared *sharedGroup) *group {
	g := &group{shared: shared, w: w}
	for i := range shared.slots {
		g.pools = append(g.pools, newPool(g, i))
	}
	return g
}

// empty tells whether the group has no server connection, and asks for none.
func (g *group) empty() bool {
	for _, p := range g.pools {
		if len(p.all) > 0 || p.dialing > 0 || p.waiting.n > 0 {
			return false
		}
	}
	return true
}

// markDirty has the pool looked at in this tick's dispatch.
func (w *worker) markDirty(p *pool) {
	if !p.dirty {
		p.dirty = true
		w.dirty = append(w.dirty, p)
	}
}

// settleLater has the server looked at in this tick's dispatch, when its client is not in the middle of something.
func (w *worker) settleLater(s *server) {
	if !s.unsettled {
		s.unsettled = true
		w.toSettle = append(w.toSettle, s)
	}
}

// dispatch is the loop's hook at the end of a tick.
func (w *worker) dispatch() {
	for i := 0; i < len(w.toSettle); i++ { // settling may ask for more
		s := w.toSettle[i]
		s.unsettled = false
		if s.owed.n == 0 && s.body == 0 && s.client != nil {
			s.settle()
		}
	}
	clear(w.toSettle)
	w.toSettle = w.toSettle[:0]
	for i := 0; i < len(w.dirty); i++ { // dispatching may mark others
		p := w.dirty[i]
		p.dirty = false
		p.dispatch()
	}
	clear(w.dirty)
	w.dirty = w.dirty[:0]
}

// adopt makes the worker the owner of a client that has logged in.
func (w *worker) adopt(c *client, shared *sharedGroup, conn *netloop.Conn) netloop.Handler {
	if w.draining {
		conn.SetBuffer(pgwire.AppendErrorResponse(conn.Buffer(256), shuttingDown.with()))
		conn.CloseAfterFlush()
	}
	c.w, c.conn, c.group = w, conn, w.group(shared)
	c.home.Store(w)
	c.status = pgwire.Idle
	c.since = w.loop.Now()
	c.patient, c.settled = w.clientsTime(), w.clientsTime()
	c.group.clients++
	if c.group.moved != nil {
		c.move()
	}
	w.clients[c] = struct{}{}
	if w.pooler.suspended.Load() {
		conn.PauseReading()
	}
	c.policy = w.pooler.policyOf(c.group.shared.key.database, c.user.Value()) // a reload may have come since the login began
	c.reroute()
	w.observe(c.policy)
	w.startHouse()
	return c
}

// forget is told that a client is gone.
func (w *worker) forget(c *client) {
	delete(w.clients, c)
	delete(w.aborted, c)
	c.group.clients--
	c.group.shared.users.Add(-1)
	w.pooler.clientGone(c)
	if w.draining && len(w.clients) == 0 {
		w.finishDrain()
	}
}

// borrowed takes a server that another worker lends.
func (w *worker) borrowed(shared *sharedGroup, index int, s *server) {
	p := w.group(shared).pools[index]
	s.pool, s.borrowed = p, true
	p.all[s] = struct{}{}
	if w.pooler.suspended.Load() { // SUSPEND or RESUME may have gone by while it was with no worker
		s.conn.PauseReading()
	} else {
		s.conn.ResumeReading()
	}
	w.startHouse()
	p.put(s)
}

func (w *worker) startHouse() {
	if !w.house.Active() {
		w.house.Reset(w.pace)
	}
}

// keepHouse closes servers that are past their time and ends waits that are too long.
func (w *worker) keepHouse() {
	now := w.loop.Now()
	for shared, g := range w.groups {
		if g.clients == 0 && g.empty() && (g.moved != nil || g.removed || w.pooler.disuse(shared)) {
			w.bury(g)
			continue
		}
		for _, p := range g.pools {
			if shared.up.roles.Fenced(p.index) {
				p.cut() // one may have been on its way
			}
			p.expire(now)
			p.enforce(now)
			p.enforceWaits(now)
			p.fill()
			p.probe()
			if p.waiting.n > 0 && p.isReplica() && !shared.up.roles.Usable(p.index, shared.policy.Load()) {
				p.failWaiting(nil) // reads can go elsewhere
			}
			if p.waiting.n > 0 {
				p.fed()        // repeat the call for help, if there was one
				w.markDirty(p) // a dial may be due again
			}
		}
		g.look(now)
	}
	if w.idleLimits || w.open > 0 {
		w.enforceIdle(now)
	}
	for shared, l := range w.listeners {
		if !l.keepHouse(now) {
			delete(w.listeners, shared)
		}
	}
	w.house.Reset(w.pace)
}

// bury forgets a group, but for what its pools have counted.
func (w *worker) bury(g *group) {
	delete(w.groups, g.shared)
	total := w.past[g.shared.key.database]
	total.add(&g.here)
	for _, p := range g.pools {
		total.add(&p.stats)
	}
	w.past[g.shared.key.database] = total
	if w.pastCounts[g.shared.key.database] == nil {
		w.pastCounts[g.shared.key.database] = &groupCounts{}
	}
	w.pastCounts[g.shared.key.database].add(&g.groupCounts)
}

// expire closes free servers that are too old, were idle for too long, or are too many.
func (p *pool) expire(now time.Time) {
	limits := p.group.shared.policy.Load()
	for i := 0; i < len(p.free); {
		s := p.free[i]
		idle := limits.ServerIdle > 0 && now.Sub(s.lastUsed) > limits.ServerIdle && int(p.slots.used.Load()-p.slots.leaving.Load()) > p.least(limits)
		excess := p.tooMany() || p.slots.shed()
		if p.outlived(s, now) || idle || excess {
			p.free = append(p.free[:i], p.free[i+1:]...)
			if excess || idle {
				s.leave()
			} else {
				s.retire()
			}
			continue
		}
		i++
	}
}

// reload is told that the tuning has changed, and which groups have been replaced.
func (w *worker) reload(moved map[*sharedGroup]*sharedGroup) {
	for from, to := range moved {
		old := w.groups[from]
		if old == nil {
			continue
		}
		old.moved = w.group(to)
		for _, p := range old.pools {
			for p.waiting.n > 0 {
				c := p.waiting.pop()
				c.move()
				c.reads = false
				c.group.route(c, decision{why: forLoss}).wait(c)
			}
		}
	}
	w.pace, w.idleLimits = housekeeping, false
	w.maxPacket = int(w.tuning().MaxPacket)
	for _, g := range w.groups {
		g.removed = g.shared.removed.Load()
	}
	for c := range w.clients {
		if c.group.moved != nil && c.server == nil {
			c.move()
			c.leaveIfLost()
		}
		if c.group.removed && c.server == nil {
			c.refuse(databaseRemoved.with(c.group.shared.key.database))
		}
		kept := c.sessionFloor()
		c.policy = w.pooler.policyOf(c.group.shared.key.database, c.user.Value())
		if !kept {
			c.raiseFloor() // nobody has noted what it has seen
		}
		c.reroute()
		w.observe(c.policy)
	}
	w.house.Reset(w.pace)
	now := w.loop.Now()
	for _, g := range w.groups {
		for _, p := range g.pools {
			p.expire(now)
			if p.waiting.n > 0 {
				w.markDirty(p) // there may be more connections now
			}
		}
	}
}

// drain tells clients to go: idle ones now, others at the end of their transaction.
func (w *worker) drain() {
	w.draining = true
	for c := range w.clients {
		if c.pool == nil && !c.awaits && c.status == pgwire.Idle && !c.midUnit && (c.server == nil || c.server.idle()) {
			c.refuse(shuttingDown.with())
		}
	}
	for _, g := range w.groups {
		for _, p := range g.pools {
			p.retireFree()
		}
	}
	if len(w.clients) == 0 {
		w.finishDrain()
	}
}

// dismiss tells all clients to go, whatever they are doing. The loop sends it before it stops.
func (w *worker) dismiss() {
	for c := range w.clients {
		c.refuse(shuttingDown.with())
	}
}

func (w *worker) finishDrain() {
	if w.drained != nil {
		close(w.drained)
		w.drained = nil
	}
}
