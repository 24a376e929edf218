// HOT PATH

package pgpool

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// server is a connection to Postgres, owned by the loop of its pool's worker. It is either idle in its pool, lent to one
// client, or being reset.
//
// It may change hands only when it owes no answer, is outside a transaction, holds no unread byte and no half-sent
// message (settle). In any other state it is closed, never reused: a row that reaches the wrong client is the one
// unforgivable bug.
type server struct {
	process // constant
	conn    *netloop.Conn
	pool    *pool
	place   *place  // that it was last known to be in; see misplaced
	client  *client // who it is lent to

	owed        expectations
	status      byte // transaction state of the last ReadyForQuery
	set         *settings
	stmts       prepared
	due         traces      // what the client may have left here since it was last looked at
	later       traces      // what the last look failed to see
	inspections []*findings // answers to our own questions that are under way
	curious     bool        // it is to look at the catalog before it is used again
	learning    bool        // what it has seen there is being worked out
	sequencesOf *client     // whose nextval the session may remember
	unnamed     *statement  // what its unnamed statement is; nil: none, or not known
	body        int         // bytes still to come of a message that is passed on in pieces
	bodyDrop    bool
	skipping    bool // it has failed in a batch whose Sync is not sent yet, and ignores everything until then

	// A read can be repeated as long as the client has seen nothing of it (rerun.go); so can a unit that meets a plan that is
	// out of date, on the same server (replan.go).
	readOnly  bool          // it was a replica when it was lent
	hosts     bool          // and runs a transaction of its client, not single reads
	tentative bool          // nothing has been passed on yet
	unit      []byte        // the client's bytes, to repeat them
	riders    []rider       // units of others behind it (batch.go)
	seated    int           // how many of these have become the client's
	joined    bool          // it runs a batch: no unit ends with a Sync of its own
	hit       bool          // the client has had its unit cancelled
	patience  time.Duration // of the batch: see lookAtBatches
	hurried   bool          // it was cancelled because nobody has heard anything of it for longer
	erred     bool          // the unit that has ended has had an error
	alone     bool          // it is the primary, and the unit a plain read with nothing behind it
	early     []byte        // answers held back while tentative
	repeat    bool          // it failed there: drop its answers, then repeat
	outdated  *statement    // whose plan was the reason
	conflict  bool          // recovery was

	tx         byte          // what the unit that is being sent does to its transaction (lost.go)
	words      []byte        // the error that stands for what the server has said before it closes
	told       bool          // the client has been told itself
	leaves     bool          // what is being sent of a unit may leave something
	leftInTx   bool          // what is answered of the transaction may have
	left       bool          // what is answered may have, and the server has not told
	wrote      bool          // the transaction may have written
	opening    bool          // our BEGIN is on the way, and may fail
	unproven   bool          // the client's settings are on the way, and may be refused
	restoring  bool          // the client's ReadyForQuery is held back until its settings are back
	failed     bool          // the unit has had an error
	tagged     bool          // the unit has had a command tag
	fatal      bool          // the server has said that it will close
	retired    bool          // closed by us, with nothing wrong
	blameless  bool          // what it has said before it closes does not speak against it
	counted    bool          // in standing.busy
	short      bool          // runs short reads: in pool.lanes
	sent       time.Time     // when it began to owe what it owes
	watched    bool          // is in the worker's batches
	ended      bool          // the message at hand was the last answer to a unit
	replied    int           // bytes passed on of the unit's answers
	ran        []measured    // units that have ended since it was read last
	unsettled  bool          // is in the worker's toSettle
	borrowed   bool          // from another worker, for clients that wait here, and not used yet
	inReset    bool          // it runs a query of ours between clients: to clean it, check it, or prepare it for use
	preparing  bool          // it has not been ready for a client yet: connect_query or learn runs
	leaving    bool          // counted in slots.leaving
	orphan     bool          // its client has left; what it still says is for nobody
	timedOut   bool          // query_timeout has cancelled its query
	leftover   int           // bytes read for nobody
	paused     bool          // not read because the client reads too slowly
	cancels    int           // cancel requests under way: their target must not change
	cancelNext []func()      // cancel requests for what is behind a query of ours
	served     atomic.Uint32 // process id of the last client, as clients know it (pids.go)
	notifier   atomic.Uint32 // the same, while what it notifies is that client's (notify.go)
	key        []byte
	id         uint64
	epoch      int32        // the group's when it was dialled
	successor  *sharedGroup // it was given up for a pool of this group
	born       time.Time
	expires    time.Time // server_lifetime, with jitter
	lastUsed   time.Time
	lentAt     time.Time
	since      time.Time // when it began to owe something, answered the last unit, or had answered all
	began      time.Time // when the transaction began
	xacts      uint64
	queries    uint64
}

// expect notes an answer that the server owes for a message written to it just now.
func (s *server) expect(e expectation) {
	if s.owed.n == 0 {
		s.since = s.pool.w.loop.Now()
		s.sent = s.since
		if s.status == pgwire.Idle {
			s.began = s.since
		}
	}
	s.owed.push(e)
}

// prepare makes sure that the server has st under its own name, by a Parse of ours if need be.
func (s *server) prepare(st *statement) {
	if s.stmts.use(st) {
		return
	}
	if old := s.stmts.oldest(s.pool.group.shared.policy.Load().MaxPrepared); old != nil {
		s.forget(old)
	}
	s.conn.SetBuffer(pgwire.AppendParse(s.conn.Buffer(len(st.body)+64), st.name, st.body))
	s.stmts.add(st)
	if s.client != nil {
		s.stmts.doubts(st, s.client.unitNo)
	}
	s.pool.stats.parses++
	s.expect(expectation{kind: kindParse, action: swallow, stmt: st})
}

// forget has the server drop st.
func (s *server) forget(st *statement) {
	s.stmts.remove(st)
	if s.client != nil {
		s.stmts.doubts(st, s.client.unitNo)
	}
	s.conn.SetBuffer(pgwire.AppendCloseStatement(s.conn.Buffer(64), st.name))
	s.expect(expectation{kind: kindClose, action: swallow, stmt: st})
}

// run sends a simple Query of ours whose answers nobody sees.
func (s *server) run(sql string) {
	s.conn.SetBuffer(pgwire.AppendQuery(s.conn.Buffer(len(sql)+16), sql))
	s.unnamed = nil // a simple Query drops it (exec_simple_query in postgres.c)
	s.expect(expectation{kind: kindQuery, action: swallow})
}

// restore gives the session the settings that its client expects.
func (s *server) restore(to *settings) {
	s.run(change(s.set, to))
	s.set, s.unproven = to, true
}

// discard wipes the session of a client that has gone before the server is used again.
func (s *server) discard() {
	s.inReset = true
	if query := s.pool.group.shared.policy.Load().ResetQuery; query != "" {
		s.run(query)
	}
	s.run("DISCARD ALL")
	s.stmts.clear()
	s.set = nil
	s.due, s.later = traces{}, traces{}
}

// Drained resumes the client that was stopped because this server was too slow.
func (s *server) Drained(*netloop.Conn) {
	if c := s.client; c != nil {
		c.resume()
	}
}

// settle is called when the server owes nothing. If client and server are both between units it goes back to the pool.
func (s *server) settle() {
	s.leavesLane()
	if s.riders, s.seated = s.riders[:0], 0; s.joined {
		if s.joined = false; s.status != pgwire.Idle {
			s.unforeseen()
			return
		}
	}
	if s.fatal || s.conn.Closing() || s.cancels > 0 || s.learning {
		return
	}
	c := s.client
	if c == nil {
		switch {
		case !s.inReset && !s.orphan:
		case s.status != pgwire.Idle || s.skipping: // the end of an orphan's transaction, or the Sync it owes, is up to nobody
			s.retire()
		default:
			s.uncount()
			s.inReset, s.orphan, s.leftover = false, false, 0
			s.prepared()
			s.pool.put(s)
		}
		return
	}
	if s.repeat && !c.midUnit {
		if s.outdated != nil {
			s.replan()
			return
		}
		s.unlink()
		if s.status == pgwire.Idle {
			s.pool.put(s)
		} else {
			s.cleanUp()
		}
		c.repeat(s.unit, s.elsewhere())
		return
	}
	if c.midUnit || s.skipping || c.waits && c.granted || c.body > 0 || s.status != pgwire.Idle {
		c.resume()
		return
	}
	if c.fence != nil {
		c.resume()
		return
	}
	if s.due.kinds&traceCatalog != 0 && c.policy.Mode == SessionMode {
		s.pool.w.pooler.outdate(s.pool.group.shared, &s.due) // for the others
		s.due.kinds &^= traceCatalog
	}
	if s.due.any() && c.policy.Mode != SessionMode {
		if s.readOnly && !s.hosts {
			s.unlink()
			s.discard()
			if s.curious && s.learns() {
				s.curious = false
			}
			c.released()
			return
		}
		if s.check() {
			return
		}
	}
	if s.hosts && c.keeps() { // what is left is on a replica, where the client will not be again
		c.held = 0
		c.setPin(notPinned, nil)
		s.unlink()
		s.discard()
		c.released()
		return
	}
	if !s.readOnly {
		c.keepSequences(s)
	}
	if c.keeps() && !s.readOnly {
		c.deliverHeld()
		if e := c.mustLeave(); e != nil {
			c.refuse(e)
			return
		}
		c.resume()
		return
	}
	s.unlink()
	if s.curious && s.learns() {
		s.curious, s.inReset, s.since = false, true, s.pool.w.loop.Now()
	} else {
		s.pool.put(s)
	}
	c.released()
}

// idle tells whether nothing of a client's is left in the server.
func (s *server) idle() bool {
	return s.owed.n == 0 && s.status == pgwire.Idle && !s.skipping && !s.fatal && s.cancels == 0
}

// unlink parts client and server.
func (s *server) unlink() {
	c := s.client
	s.client, c.server, c.seat = nil, nil, seatNone
	if s.cancelNext != nil {
		s.cancelDue()
	}
	c.runsOn.Store(nil)
	c.fence = nil
	if s.notifier.Load() != 0 {
		s.notifier.Store(0)
	}
	s.repeat, s.tentative, s.outdated, s.wrote, s.restoring, s.unproven = false, false, nil, false, false, false
	s.hosts = false
	s.readOn()
	s.uncount()
	s.pool.account(s)
}

// readOn ends what back-pressure has begun. SUSPEND holds on: its end goes on reading.
func (s *server) readOn() {
	if s.paused {
		s.paused = false
		if !s.pool.w.pooler.suspended.Load() {
			s.conn.ResumeReading()
		}
	}
}

// retire closes a server that nothing is wrong with.
func (s *server) retire() {
	s.retired = true
	if s.owed.n > 0 || s.conn.Queued() > 0 {
		s.conn.Close(nil)
		return
	}
	s.conn.Write(terminate)
	s.conn.CloseAfterFlush()
}

var terminate = []byte{pgwire.Terminate, 0, 0, 0, 4}

// Why a server was given up.
var (
	errGarbage   = errors.New("server sent what is not PostgreSQL protocol")
	errOutOfStep = errors.New("server sent an answer that nobody asked for")
	errSurprise  = errors.New("a statement in a batch has left its session changed")
	errNoAnswer  = errors.New("server did not answer the pooler's own query within server_connect_timeout")
)

// empty gives back what a closed server has in memory: clients remember which one they had last.
func (s *server) empty() {
	for _, f := range s.inspections {
		if f.failed = true; f.defaults != nil {
			s.learned(f)
		}
	}
	s.stmts, s.set, s.unit, s.early, s.sequencesOf = prepared{}, nil, nil, nil, nil
}

// lost gives the server up.
func (s *server) lost(err error) { s.conn.Close(err) }

// Closed tells the client, if there is one, and the pool.
func (s *server) Closed(_ *netloop.Conn, err error) {
	s.pool.gone(s, err)
	defer s.empty()
	if c := s.client; c != nil {
		if c.seat == seatAboard {
			s.lastUnit()
		}
		s.forsake(c, err)
	}
	s.disperse()
}
