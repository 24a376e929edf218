// HOT PATH

package pgpool

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// pool is one worker's connections to one server for one database and user. Its size is bounded together with those of the other
// workers (slots).
type pool struct {
	w     *worker
	group *group
	index int // of the server in the upstream
	slots *slots

	standing *standing // of the server
	// For choose: where a read may go, how busy that is, and whose turn it is.
	rank    uint8
	reads   int64
	credit  int64
	failing bool // nobody is to come back: see failWaiting

	all       map[*server]struct{}
	free      []*server // the one used last is at the end, and is lent first
	waiting   waitList
	dialing   int
	preparing int           // servers that are connected and not ready yet
	retryAt   time.Time     // no dial before; set after a failure
	retry     time.Duration // the pause after the last failure
	dirty     bool          // is in w.dirty
	replica   bool          // what isReplica said at the last dispatch

	unreachable error     // why the server could not be reached at the last attempt; nil: it could
	triedAt     time.Time // that attempt
	awaySince   time.Time // see away

	lanes     lanes
	gathering bool // is in w.gathering

	stats poolStats
}

func newPool(g *group, index int) *pool {
	p := &pool{w: g.w, group: g, index: index, slots: g.shared.slots[index], standing: g.shared.up.standings[index], all: make(map[*server]struct{})}
	p.waiting.load = &p.standing.busy
	p.replica = p.isReplica()
	p.credit = rand.Int64N(p.server().weight() * int64(len(g.shared.slots))) // not all sidecars begin with the same server
	return p
}

func (p *pool) server() *Server { return p.group.shared.up.server(p.index) }

// slots bounds the connections to one server for one database and user over all workers, and remembers which of them starve.
type slots struct {
	used     atomic.Int32
	leaving  atomic.Int32  // those of used that are being closed because fewer are needed
	excess   atomic.Int32  // how many are to leave as they become free, because a reload has lowered a limit
	asking   atomic.Bool   // other pools are being asked to give up a connection, or one does
	starving atomic.Uint64 // a bit for each worker
	dials    atomic.Uint64
}

// take reserves a connection, unless there are size already.
func (s *slots) take(size int) bool {
	for {
		n := s.used.Load()
		if int(n) >= size {
			return false
		}
		if s.used.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// shed tells whether a connection that is free has to leave for a limit that was lowered.
func (s *slots) shed() bool {
	for {
		n := s.excess.Load()
		if n <= 0 {
			return false
		}
		if s.excess.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// poolStats counts since the start; times in microseconds.
type poolStats struct {
	assigned, xacts, queries, received, sent, repeated, parses uint64
	xactTime, queryTime, waitTime                              uint64
	clientParses, binds                                        uint64 // of named statements
}

func (s *poolStats) add(o *poolStats) {
	s.assigned += o.assigned
	s.xacts += o.xacts
	s.queries += o.queries
	s.received += o.received
	s.sent += o.sent
	s.repeated += o.repeated
	s.parses += o.parses
	s.xactTime += o.xactTime
	s.queryTime += o.queryTime
	s.waitTime += o.waitTime
	s.clientParses += o.clientParses
	s.binds += o.binds
}

// isReplica tells whether the server is not the primary as far as is known.
func (p *pool) isReplica() bool { return p.group.shared.up.primary() != p.index }

// take returns a free server, or nil.
func (p *pool) take() *server {
	if primary, ok := p.group.shared.up.roles.Primary(); p.group.paused || primary == p.index && !ok {
		return nil
	}
	for n := len(p.free) - 1; n >= 0; n-- {
		s := p.free[n]
		if p.w.tuning().RoundRobin {
			s = p.free[0]
			copy(p.free, p.free[1:])
		}
		p.free[n] = nil
		p.free = p.free[:n]
		if s.fit() {
			return s
		}
	}
	return nil
}

// takeFor returns a free server, if possible the one that the client had last: it has its settings, and what the server
// has compiled and cached for it.
func (p *pool) takeFor(c *client) *server {
	n := len(p.free)
	if n > 1 && c.last != nil && p.free[n-1] != c.last && !p.w.tuning().RoundRobin {
		for i := n - 2; i >= max(0, n-lookBack); i-- {
			if p.free[i] == c.last {
				copy(p.free[i:], p.free[i+1:])
				p.free[n-1] = c.last
				break
			}
		}
	}
	return p.take()
}

// lookBack bounds the search for a client's last server among those used last.
const lookBack = 32

// peekAfter is for how long a server must have been free for its socket to be looked at before it is used.
const peekAfter = 10 * time.Millisecond

// fit tells whether a free server can be used at once. It may have closed, or have said why it is about to. One that was
// free for long is sent the check query, if there is one, and comes back when it has answered.
func (s *server) fit() bool {
	if s.conn.Closing() {
		return false
	}
	if s.misplaced() { // what is known of the server in its place is not about this one
		s.retire()
		return false
	}
	idle := s.pool.w.loop.Now().Sub(s.lastUsed)
	if idle < peekAfter {
		return true
	}
	if !s.conn.Silent() {
		s.inReset, s.since = true, s.pool.w.loop.Now()
		s.pool.w.loop.Post(s.readSince) // back when it turns out to be nothing; gone when it is the end
		return false
	}
	if t := s.pool.w.tuning(); t.CheckQuery != "" && idle >= t.CheckDelay {
		s.inReset = true
		s.run(t.CheckQuery)
		return false
	}
	return true
}

// readSince is called when the loop has read what was there to be read.
func (s *server) readSince() {
	if s.inReset && s.client == nil && s.owed.n == 0 && s.body == 0 {
		s.settle()
	}
}

// put takes a server back.
func (p *pool) put(s *server) {
	now := p.w.loop.Now()
	if p.w.draining && p.waiting.n == 0 || p.outlived(s, now) || p.group.paused {
		s.retire()
		return
	}
	if p.tooMany() || p.slots.shed() {
		s.leave()
		return
	}
	s.lastUsed = now
	if p.lendAway(s) {
		return
	}
	p.free = append(p.free, s)
	if p.waiting.n > 0 {
		p.w.markDirty(p)
	}
}

// outlived tells whether a server is not to be used again: it is too old, RECONNECT has been asked for since, or its
// database or its server is elsewhere now.
func (p *pool) outlived(s *server, now time.Time) bool {
	return now.After(s.expires) || s.epoch != p.group.shared.epoch.Load() || p.group.moved != nil || p.group.removed || s.misplaced()
}

// tooMany tells whether the pool has more connections than it may, as after a reload.
func (p *pool) tooMany() bool {
	limits := p.group.shared.policy.Load()
	used, size := int(p.slots.used.Load()-p.slots.leaving.Load()), p.size(limits)
	return used > size && (p.waiting.n == 0 || used > size+limits.ReservePoolSize)
}

// leave closes a server that is one too many, or that nobody needs.
func (s *server) leave() {
	s.leaving = true
	s.pool.slots.leaving.Add(1)
	s.retire()
}

// wait queues the client.
func (p *pool) wait(c *client) {
	c.pool = p
	c.since = p.w.loop.Now()
	p.waiting.push(c)
	p.w.markDirty(p)
}

// dispatch hands free servers to waiting clients, and asks for more servers if there are clients left.
func (p *pool) dispatch() {
	p.turn()
	for p.waiting.n > 0 {
		if p.gathers(p.waiting.first(), p.waiting.n) {
			return
		}
		s := p.take()
		if s == nil {
			break
		}
		n := p.depth()
		c := p.waiting.pop()
		c.pool = nil
		if c.reads && !c.mayReadAt(p) { // the replica was started again meanwhile
			p.put(s)
			if c.acquire(decision{true, forRead}) {
				c.pump()
			}
			continue
		}
		p.stats.waitTime += uint64(p.w.loop.Now().Sub(c.since).Microseconds())
		c.link(s)
		s.share(n)
	}
	if p.waiting.n > p.dialing+p.preparing {
		p.grow()
	} else if p.waiting.n == 0 && p.slots.starving.Load() != 0 {
		p.fed()
	}
}

// follow sends clients that came to write to the new primary.
func (p *pool) follow() {
	for range p.waiting.n {
		c := p.waiting.pop()
		if c.reads {
			p.waiting.push(c)
			continue
		}
		c.pool = nil
		if c.acquire(decision{why: forLoss}) {
			c.pump()
		}
	}
}

// grow dials for waiting clients within the limit; when that is reached it asks the other workers to lend.
func (p *pool) grow() {
	if p.group.paused {
		return
	}
	if p.w.loop.Now().Before(p.retryAt) {
		p.starve()
		return
	}
	if p.standing.avoids() && p.isReplica() {
		p.dirty = true // who comes back has nowhere else to go, and is looked after below
		p.reroute()
		p.dirty = false
	}
	for p.dialing+p.preparing < p.waiting.n {
		if !p.reserve() {
			p.starve()
			return
		}
		p.dialing++
		p.w.pooler.dialFor(p)
	}
}

// arrived gives the pool a connection that is reserved already. epoch is the group's when it was dialled.
func (p *pool) arrived(c *netloop.Conn, login auth.Session, epoch int32) *server {
	now := p.w.loop.Now()
	s := &server{conn: c, pool: p, status: pgwire.Idle, process: process{p.group.shared.up.server(p.index).id, login.PID}, key: login.Key, born: now, lastUsed: now,
		id: p.slots.dials.Add(1), epoch: epoch, expires: now.Add(jitter(p.group.shared.policy.Load().ServerLifetime))}
	p.all[s] = struct{}{}
	p.w.pooler.addBackend(s)
	p.group.shared.compare(login)
	policy := p.group.shared.policy.Load()
	if policy.ConnectQuery != "" {
		s.run(policy.ConnectQuery)
	}
	if p.group.shared.catalog.Load() == nil && policy.Mode != SessionMode {
		s.learn() // before any client runs what nobody knows
	} else if p.group.shared.lookWanted.Load() {
		s.learns() // it may have been dialled for that
	}
	if s.owed.n > 0 {
		s.inReset, s.since = true, now
		s.preparing = true
		p.preparing++
		return s
	}
	p.put(s)
	return s
}

// prepared is called when the server is ready for its first client, or gone.
func (s *server) prepared() {
	if s.preparing {
		s.preparing = false
		s.pool.preparing--
	}
}

// fill dials until the pool has its min_pool_size.
func (p *pool) fill() {
	least := p.least(p.group.shared.policy.Load())
	if p.group.moved != nil || p.group.removed || p.group.paused || p.w.draining || p.w.loop.Now().Before(p.retryAt) || p.useless() {
		return
	}
	for int(p.slots.used.Load()) < least && p.reserve() {
		p.dialing++
		p.w.pooler.dialFor(p)
	}
}

// jitter returns d within ten percent, so that servers that came together do not go together. No limit is a century.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 100 * 365 * 24 * time.Hour
	}
	return d*9/10 + time.Duration(rand.Int64N(int64(d)/5+1))
}

// dialed is told how a dial went.
func (p *pool) dialed(err error) {
	p.dialing--
	p.dialOutcome(err)
	if err == nil {
		p.retryAt, p.unreachable = time.Time{}, nil
		return
	}
	p.slots.used.Add(-1)
	p.failed(err)
}

// failed notes that a connection was of no use: the next attempt waits, and clients need not if there is no other server,
// not even with another worker. Attempts that were made together count as one.
func (p *pool) failed(err error) {
	if now := p.w.loop.Now(); !now.Before(p.retryAt) {
		p.retry = min(max(2*p.retry, p.w.tuning().LoginRetry), maxLoginRetry)
		p.retryAt = now.Add(p.retry)
	}
	if p.unreachable = nil; isAway(err) {
		p.unreachable, p.triedAt = err, p.w.loop.Now()
		p.doubt()
	}
	switch {
	case p.slots.used.Load() > 0:
	case p.away(p.w.loop.Now()):
		p.enforceAway(p.w.loop.Now())
	default:
		p.failWaiting(err)
	}
}

// maxLoginRetry bounds the growing pause between failed logins.
const maxLoginRetry = 15 * time.Second

// failWaiting ends the wait of clients that no server will come for: reads go elsewhere, others are told.
func (p *pool) failWaiting(err error) {
	if p.isReplica() {
		p.failing = true
		p.reroute()
		p.failing = false
		return
	}
	for p.waiting.n > 0 {
		c := p.waiting.pop()
		c.pool = nil
		c.refuse(connectError(err))
	}
}

// reroute has the reads that wait choose again. They may come back, but not while the pool is failing.
func (p *pool) reroute() {
	for range p.waiting.n {
		c := p.waiting.pop()
		c.pool = nil
		since := c.since
		if c.acquire(decision{c.reads, forRead}) {
			c.pump()
		} else if c.pool != nil {
			c.since = since // it is still the same wait
		}
	}
}

// connectError is what a client is told when its server cannot be reached.
func connectError(err error) *pgwire.Error {
	if e, ok := errors.AsType[*pgwire.Error](err); ok {
		own := *e
		own.Severity = "FATAL"
		return &own
	}
	return serverUnreachable.with(err)
}

// gone is told that a server's connection is closed.
func (p *pool) gone(s *server, err error) {
	s.leavesLane()
	delete(p.all, s)
	p.w.pooler.removeBackend(s)
	for i, f := range p.free {
		if f == s {
			p.free = append(p.free[:i], p.free[i+1:]...)
			break
		}
	}
	p.slots.used.Add(-1)
	if s.leaving {
		p.slots.leaving.Add(-1)
	}
	s.prepared()
	s.uncount()
	if s.successor != nil {
		p.w.pooler.freed(s.successor, p.index)
	}
	if p.waiting.n > 0 {
		p.w.markDirty(p)
	}
	if s.retired || errors.Is(err, netloop.ErrStopped) {
		return
	}
	p.doubt()
	if err == nil {
		err = errEnded
	}
	if !s.blameless {
		p.serverFailed(err)
	}
	if s.inReset && s.lentAt.IsZero() { // connect_query has failed
		p.failed(err)
	}
	p.w.pooler.log.LogAttrs(context.Background(), levelOf(err), "server connection ended", serverAttrs(p, s, err)...)
}

// account books the time that a client had a server.
func (p *pool) account(s *server) {
	p.stats.xactTime += uint64(p.w.loop.Now().Sub(s.lentAt).Microseconds())
}

// errEnded is the orderly end of a connection that a server closed.
var errEnded = errors.New("closed by the server")
