// HOT PATH

package pgpool

import (
	"sync/atomic"
	"time"
	"unique"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// client is a session of an application, owned by its worker's loop.
//
// It gathers a unit – all messages up to the one that yields ReadyForQuery – before it asks for a server, so that the
// whole of it can be classified. Once it has a server, messages go there as they come.
type client struct {
	// constant once adopted
	w           *worker
	group       *group
	conn        *netloop.Conn
	cancelKey   // what a cancel request must carry
	user        unique.Handle[string]
	policy      *Policy
	startSet    *settings
	connectedAt uint32 // Unix seconds

	pinnedAt uint32                  // Unix seconds
	home     atomic.Pointer[worker]  // w, for cancel requests
	runsOn   atomic.Pointer[process] // of server, for statements that name sessions (pids.go)
	server   *server                 // who it has, or
	last     *server                 // who it had last
	pool     *pool                   // where it waits for one, or neither
	prev     *client                 // neighbours in pool.waiting
	next     *client
	since    time.Time // when it began to wait, or to idle

	set      *settings             // its session's settings
	stmts    map[string]*statement // its named prepared statements
	unnamed  *statement            // its unnamed one
	pinnedBy *statement            // what caused pin
	suspect  *statement            // the last that may have left something
	prepares *traces               // what its SQL PREPAREs may leave when they are run
	reading                        // what its reads must see

	scan       scan
	unitNo     uint64       // units sent so far
	parsedIn   uint64       // the last of them that holds a Parse or Close of a statement
	body       int          // bytes still to come of a message that is passed on in pieces
	bound      *setChange   // what the messages since the last Sync do to the settings
	replay     []byte       // a unit that is to be repeated, ahead of what conn holds
	unit       *statement   // what the unit at hand runs, as far as scanned
	inbox      *inbox       // nil unless it has listened
	fence      *fence       // see notify.go
	tx         *transaction // one that began here, or runs on a replica
	parsedName string       // the last name that the unit at hand has given to a statement

	inFlight int32 // units sent whose ReadyForQuery has not come
	binds    int32 // since the last Sync
	executes int32
	drop     int32 // bytes of a cancelled unit, to be skipped

	held      traceKinds // what is known to be left on its server
	pin       pinReason  // why it keeps its server between transactions
	status    byte       // transaction state as it was last told
	route     Route      // where hints, settings and rules send it: see has
	wrote     bool       // the unit at hand may write
	changing  bool       // what was sent may change what the books say: see mustWait
	waits     bool       // for all answers, before it goes on
	bodyTo    bool       // the body goes to the server; otherwise nowhere
	bodyEnd   bool       // it ends the unit
	midUnit   bool       // part of a unit is sent
	granted   bool       // the server was given for the unit that comes next
	reads     bool       // that unit was sent to a replica
	shows     bool       // what was bound last is SHOW outrigger.token
	plain     bool       // that unit only reads
	reruns    uint8      // how often it was run again
	compact   bool       // it is whole, short, and one that can share a server
	seat      seat       // of it in a batch
	renewable bool       // the unit at hand can be sent again if a plan of the server is out of date
	copyIn    bool       // the server reads CopyData
	stalled   bool       // the server is too slow or owes too much, or the client does not read: nothing more is sent
	notifies  bool       // its transaction may have notified
	notified  bool       // it has been told that it waits
	closing   bool

	parsedAny     bool // the unit at hand has parsed or closed a statement,
	parsedUnnamed bool // and the unnamed one
}

// Data takes what the client sent.
func (c *client) Data(_ *netloop.Conn, b []byte) int {
	if len(c.replay) > 0 {
		return 0
	}
	done := min(int(c.drop), len(b))
	c.drop -= int32(done)
	for done < len(b) && !c.closing && len(c.replay) == 0 {
		n := c.step(b[done:])
		if n == 0 {
			break
		}
		done += n
	}
	return done
}

// step consumes one message, or the next piece of a long one. It returns 0 when it can do nothing now: bytes are missing,
// or a server is.
func (c *client) step(b []byte) int {
	if c.body > 0 {
		return c.piece(b)
	}
	if c.pool != nil || c.seat == seatAboard || c.awaits || c.stalled || c.waits || c.listening() || c.fence != nil || c.heldByCancel() || len(b) < pgwire.HeaderLen {
		return 0
	}
	if c.conn.Congested() { // it does not read: answers that are made here must not pile up
		c.stall()
		return 0
	}
	typ, size, ok := pgwire.Header(b)
	if !ok || size > c.w.maxPacket {
		c.refuse(errPacket(b, int64(c.w.maxPacket)))
		return 0
	}
	if c.server == nil && c.midUnit {
		return c.skip(typ, size, b)
	}
	if !c.midUnit {
		if c.server != nil && c.server.repeat {
			return 0 // or it would be repeated with the unit before it
		}
		if c.server == nil {
			if c.status == pgwire.InFailed {
				return c.inAborted(typ, size, b)
			}
			if n, handled := c.withoutServer(typ, size, b); handled {
				return n
			}
		}
		if n, ready := c.begin(b); !ready {
			return n
		}
	}
	return c.send(typ, size, b)
}

// piece passes on, or drops, bytes of a message that began in an earlier call.
func (c *client) piece(b []byte) int {
	if c.stalled {
		return 0
	}
	n := min(c.body, len(b))
	if s := c.server; s != nil && c.bodyTo {
		s.conn.Write(b[:n])
		s.pool.stats.received += uint64(n)
		c.brake(s)
	}
	c.body -= n
	if c.body == 0 {
		c.sent(c.bodyEnd)
		c.bodyEnd = false
	}
	return n
}

// withoutServer handles messages between units that need no server.
func (c *client) withoutServer(typ byte, size int, b []byte) (n int, handled bool) {
	switch typ {
	case pgwire.Terminate:
		c.close(nil)
		return 0, true
	case pgwire.CopyData, pgwire.CopyDone, pgwire.CopyFail: // left over from a COPY that failed; servers ignore it too
		n = min(size, len(b))
		c.body, c.bodyTo = size-n, false
		return n, true
	case pgwire.Flush:
		return size, len(b) >= size
	case pgwire.Sync:
		if len(b) < size {
			return 0, true
		}
		c.conn.SetBuffer(pgwire.AppendReadyForQuery(c.conn.Buffer(8), c.status))
		if e := c.mustLeave(); e != nil && c.status == pgwire.Idle {
			c.refuse(e)
		}
		return size, true
	}
	return 0, false
}

// begin makes sure that there is a server for the unit that starts at b. ready is false when the client must wait for the
// rest of the unit or for a server, or when n bytes of b have been dealt with.
func (c *client) begin(b []byte) (n int, ready bool) {
	if s := c.server; s != nil {
		s.alone = s.alone && c.granted
		if !s.readOnly || c.granted {
			return 0, true
		}
		return c.goesOn(s, b)
	}
	d, whole := c.scanUnit(b)
	if !whole {
		return 0, false
	}
	sc := c.scan
	c.scan = scan{}
	if n := c.answersHere(b); n > 0 {
		return n, false
	}
	c.compact = sc.form == formOne && int(sc.end) == len(b) && sc.end <= maxShared
	c.renewable, c.plain, c.reruns = sc.renewable && c.tx == nil, d.read && d.why == forRead, 0
	switch {
	case c.tx != nil:
		d = c.place(&sc, d)
	case sc.has(opensReadOnly) && sc.fits():
		d = decision{true, forReadOnly}
	case c.unit != nil && c.unit.class.Class == classify.Listen && c.listens(b):
		return 0, false
	}
	return 0, c.acquire(d)
}

// acquire gets a server for the unit at hand, at once or later. It reports whether there is one now.
func (c *client) acquire(d decision) bool {
	if c.group.moved != nil {
		c.move()
	}
	if c.group.removed {
		c.refuse(databaseRemoved.with(c.group.shared.key.database))
		return false
	}
	p := c.group.route(c, d)
	if p == nil {
		return false
	}
	c.reads = p.isReplica()
	if p.mayTake(c) {
		if s := p.takeFor(c); s != nil {
			c.link(s)
			if p.lanes.width > 0 && c.solo(s) == soloNot {
				s.takesLane()
			}
			return true
		}
	}
	p.wait(c)
	return false
}

// move takes the client to where its database lives since a reload.
func (c *client) move() {
	c.moveAway()
	c.group.clients--
	c.group.shared.users.Add(-1)
	for c.group.moved != nil {
		c.group = c.group.moved
	}
	c.group = c.w.group(c.w.pooler.use(c.group.shared))
	c.group.clients++
	c.floor, c.replica = 0, 0 // of another log, or of the same under another name: then it must not read the past
	c.raiseFloor()
}

// link gives the client a server, in the state that its session expects.
func (c *client) link(s *server) {
	c.server, s.client, c.last = s, c, s
	c.runsOn.Store(&s.process)
	s.served.Store(c.pid)
	c.granted, c.notified = true, false
	s.lentAt, s.borrowed = c.w.loop.Now(), false
	s.pool.retry = 0
	s.pool.stats.assigned++
	if s.readOnly = c.reads && s.pool.isReplica(); s.readOnly {
		s.count()
	}
	s.alone = c.plain && !s.readOnly && c.status == pgwire.Idle && !c.keeps()
	s.tentative = s.readOnly || s.alone || c.renewable
	c.renewable = false
	s.unit, s.early = s.unit[:0], s.early[:0]
	s.tx, s.leaves, s.leftInTx, s.left, s.conflict, s.opening = 0, false, false, false, false, false
	if !s.set.equal(c.set) {
		s.restore(c.set)
	}
	c.claimSequences(s)
	if c.inbox != nil && c.unit != nil && c.unit.class.Flags.Has(classify.StateListen) {
		c.listenHere(s)
	}
	if t := c.tx; t != nil {
		if t.alone = t.alone && s.readOnly; !t.alone {
			s.open(t)
		}
	}
}

var (
	flushMessage = []byte{pgwire.Flush, 0, 0, 0, 4}
	syncMessage  = []byte{pgwire.Sync, 0, 0, 0, 4}
)

// pump works off what is to be repeated, then what the connection holds.
func (c *client) pump() {
	for len(c.replay) > 0 && !c.closing {
		unit := c.replay
		n := c.step(unit)
		if n == 0 {
			return
		}
		if len(c.replay) > 0 && &c.replay[0] == &unit[0] { // or it has been replaced (queryInAborted)
			c.replay = unit[n:]
		}
	}
	c.replay = nil
	if len(c.conn.Held()) > 0 && !c.conn.Closing() {
		c.conn.Redeliver()
	}
}

// free forgets what belongs to the server that the client had.
func (c *client) free() {
	c.waits, c.changing = false, false
	c.scan = scan{} // what is there of the next unit may be skipped
	c.readOn()
}

// readOn ends what brake has begun. SUSPEND holds on: its end goes on reading.
func (c *client) readOn() {
	if c.stalled {
		c.stalled = false
		if !c.w.pooler.suspended.Load() {
			c.conn.ResumeReading()
		}
	}
}

// released is called when the server went back to the pool.
func (c *client) released() {
	c.free()
	c.since = c.w.loop.Now()
	if e := c.mustLeave(); e != nil {
		c.refuse(e)
		return
	}
	c.deliverHeld()
	c.pump()
}

// refuse tells the client why it ends, and ends it.
func (c *client) refuse(e *pgwire.Error) {
	if c.closing {
		return
	}
	c.closing = true
	if c.pool != nil {
		c.pool.waiting.remove(c)
		c.pool = nil
	}
	if s := c.server; s == nil || s.body == 0 || c.rides() { // no error fits into the middle of a message
		c.conn.SetBuffer(pgwire.AppendErrorResponse(c.conn.Buffer(256), e))
	}
	c.goodbye()
}

// goodbye ends the connection when the client has read what it is told.
func (c *client) goodbye() {
	c.closing = true
	c.conn.CloseAfterFlush()
	c.w.loop.NewTimer(func() { c.conn.Close(nil) }).Reset(farewell)
}

// farewell is for how long a client that is told to go may stay, with its server, by not reading why.
const farewell = 5 * time.Second

func (c *client) violation(what string) {
	c.refuse(violation.with(what))
}

func (c *client) close(err error) {
	c.closing = true
	c.conn.Close(err)
}

// Drained resumes the server that was stopped because this client reads too slowly.
func (c *client) Drained(*netloop.Conn) {
	c.deliverHeld()
	if s := c.server; s != nil && s.client == c {
		s.readOn()
	}
	if c.stalled {
		c.resume()
	}
}

// Closed gives up what the client has. Its server is used again only if nothing of the client is left in it.
func (c *client) Closed(*netloop.Conn, error) {
	c.closing = true
	c.unlistenAll()
	c.w.forget(c)
	if c.pin != notPinned {
		c.w.pins--
	}
	if c.tx != nil {
		c.endHere()
	}
	if c.pin == pinSequence {
		c.pin = notPinned // nothing to clean: the next client's session forgets it
	}
	if c.pool != nil {
		c.pool.waiting.remove(c)
		c.pool = nil
	}
	s := c.server
	if s == nil {
		return
	}
	if c.rides() {
		s.unseat(c)
		return
	}
	s.disperse()
	clean := (s.idle() || s.checking()) && !c.midUnit && (c.body == 0 || !c.bodyTo) && !c.copyIn
	// A cancel request must not hit a query of ours: behind a BEGIN that fails, what follows would run by itself.
	ours := s.ours() || s.inspecting()
	keeps, orphan := c.keeps() || s.due.any() || s.checking(), !clean && !ours && s.orphaned(c)
	s.unlink()
	switch {
	case orphan:
		s.orphan, s.since = true, c.w.loop.Now()
		c.w.pooler.cancelServer(s, func() {})
	case !clean:
		if s.owed.n > 0 && !ours {
			c.w.pooler.cancelServer(s, func() {}) // do not let a long query run on for nobody
		}
		s.retire()
	case keeps:
		s.discard()
	default:
		s.pool.put(s)
	}
}

// nameOf returns the client's name for a statement.
func (c *client) nameOf(st *statement) string {
	for name, own := range c.stmts {
		if own == st {
			return name
		}
	}
	return ""
}
