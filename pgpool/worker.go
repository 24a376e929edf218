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

	texts    statements
	groups   map[string]*group // by database
	clients  map[*client]struct{}
	dirty    []*pool   // have waiting clients
	toSettle []*server // see settleLater
	house    *netloop.Timer
	pins     int
	draining bool
	drained  chan struct{} // closed when the last client has gone while draining
}

// group is one worker's pools for one database: one for each server.
type group struct {
	shared  *sharedGroup
	w       *worker
	pools   []*pool
	clients int
	turn    int // breaks ties between replicas
}

// housekeeping is how often timeouts are looked at.
const housekeeping = time.Second

func newWorker(p *Pooler, number int, loop *netloop.Loop) *worker {
	w := &worker{pooler: p, number: number, loop: loop, texts: newStatements(&p.names),
		groups: make(map[string]*group), clients: make(map[*client]struct{})}
	w.house = loop.NewTimer(w.keepHouse)
	loop.OnDispatch(w.dispatch)
	return w
}

func (w *worker) tuning() *Tuning { return w.pooler.tuning.Load() }

// group returns the pools for a database.
func (w *worker) group(shared *sharedGroup) *group {
	if g := w.groups[shared.database]; g != nil {
		return g
	}
	g := &group{shared: shared, w: w}
	for i := range w.pooler.servers {
		g.pools = append(g.pools, &pool{w: w, group: g, index: i, slots: shared.slots[i], all: make(map[*server]struct{})})
	}
	w.groups[shared.database] = g
	return g
}

// markDirty has the pool looked at in this tick's dispatch.
func (w *worker) markDirty(p *pool) {
	if !p.dirty {
		p.dirty = true
		w.dirty = append(w.dirty, p)
	}
}

// settleLater has the server looked at in this tick's dispatch, when its client is not in the middle of something.
func (w *worker) settleLater(s *server) { w.toSettle = append(w.toSettle, s) }

// dispatch is the loop's hook at the end of a tick.
func (w *worker) dispatch() {
	for i := 0; i < len(w.toSettle); i++ { // settling may ask for more
		s := w.toSettle[i]
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
		conn.SetBuffer(pgwire.AppendErrorResponse(conn.Buffer(256), errShutdown))
		conn.CloseAfterFlush()
	}
	c.w, c.conn, c.group = w, conn, w.group(shared)
	c.home.Store(w)
	c.status = pgwire.Idle
	c.group.clients++
	w.clients[c] = struct{}{}
	w.startHouse()
	return c
}

// forget is told that a client is gone.
func (w *worker) forget(c *client) {
	delete(w.clients, c)
	c.group.clients--
	w.pooler.clientGone(c)
	if w.draining && len(w.clients) == 0 {
		w.finishDrain()
	}
}

// borrowed takes a server that another worker lends.
func (w *worker) borrowed(shared *sharedGroup, index int, s *server) {
	p := w.group(shared).pools[index]
	s.pool = p
	p.all[s] = struct{}{}
	w.startHouse()
	p.put(s)
}

func (w *worker) startHouse() {
	if !w.house.Active() {
		w.house.Reset(housekeeping)
	}
}

// keepHouse closes servers that are past their time and ends waits that are too long.
func (w *worker) keepHouse() {
	now, t := w.loop.Now(), w.tuning()
	for _, g := range w.groups {
		for _, p := range g.pools {
			p.expire(now, t)
			p.expireWaits(now, t)
			if p.waiting.n > 0 {
				p.fed()        // repeat the call for help, if there was one
				w.markDirty(p) // a dial may be due again
			}
		}
	}
	w.house.Reset(housekeeping)
}

// expire closes free servers that are too old or were idle for too long.
func (p *pool) expire(now time.Time, t *Tuning) {
	for i := 0; i < len(p.free); {
		s := p.free[i]
		if now.After(s.expires) || t.ServerIdleTimeout > 0 && now.Sub(s.lastUsed) > t.ServerIdleTimeout {
			p.free = append(p.free[:i], p.free[i+1:]...)
			s.retire()
			continue
		}
		i++
	}
}

// expireWaits refuses clients that have waited for longer than query_wait_timeout.
func (p *pool) expireWaits(now time.Time, t *Tuning) {
	for c := p.waiting.head; c != nil && t.QueryWait > 0 && now.Sub(c.since) > t.QueryWait; c = p.waiting.head {
		p.waiting.remove(c)
		c.pool = nil
		c.refuse(&pgwire.Error{Severity: "FATAL", Code: "57014", Message: "query_wait_timeout: no server connection became free in " + t.QueryWait.String(),
			Hint: "Raise default_pool_size, or find the queries that hold the pool: SHOW POOLS on the console."})
	}
}

// drain tells clients to go: idle ones now, others at the end of their transaction.
func (w *worker) drain() {
	w.draining = true
	for c := range w.clients {
		if c.pool == nil && !c.midUnit && (c.server == nil || c.server.idle()) {
			c.refuse(errShutdown)
		}
	}
	for _, g := range w.groups {
		for _, p := range g.pools {
			for _, s := range p.free {
				s.retire()
			}
			p.free = nil
		}
	}
	if len(w.clients) == 0 {
		w.finishDrain()
	}
}

func (w *worker) finishDrain() {
	if w.drained != nil {
		close(w.drained)
		w.drained = nil
	}
}

// errShutdown is what PostgreSQL says when it is told to stop.
var errShutdown = &pgwire.Error{Severity: "FATAL", Code: "57P01", Message: "terminating connection due to administrator command",
	Detail: "The sidecar is shutting down.", Hint: "Connect again."}
