// HOT PATH

package pgpool

import (
	"bytes"
	"errors"
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
	conn   *netloop.Conn
	pool   *pool
	client *client // who it is lent to

	owed     expectations
	status   byte // transaction state of the last ReadyForQuery
	set      *settings
	stmts    prepared
	unnamed  *statement // what its unnamed statement is; nil: none, or not known
	body     int        // bytes still to come of a message that is passed on in pieces
	bodyDrop bool

	// A read on a replica can be repeated on the primary as long as the client has seen nothing of it.
	tentative bool   // nothing has been passed on yet
	unit      []byte // the client's bytes, to repeat them
	early     []byte // answers held back while tentative
	repeat    bool   // it failed there: drop its answers, then repeat

	wrote    bool // the transaction may have written
	failed   bool // the unit has had an error
	fatal    bool // the server has said that it will close
	inReset  bool
	retired  bool // closed by us, with nothing wrong
	paused   bool // not read because the client reads too slowly
	cancels  int  // cancel requests under way: their target must not change
	pid      uint32
	key      []byte
	id       uint64
	born     time.Time
	expires  time.Time // server_lifetime, with jitter
	lastUsed time.Time
	lentAt   time.Time
	xacts    uint64
	queries  uint64
}

// expect notes an answer that the server owes for a message written to it just now.
func (s *server) expect(e expectation) { s.owed.push(e) }

// prepare makes sure that the server has st under its own name, by a Parse of ours if need be.
func (s *server) prepare(st *statement) {
	if s.stmts.use(st) {
		return
	}
	if old := s.stmts.oldest(s.pool.w.tuning().maxPrepared); old != nil {
		s.stmts.remove(old)
		s.conn.SetBuffer(pgwire.AppendCloseStatement(s.conn.Buffer(64), old.name))
		s.expect(expectation{kind: kindClose, action: swallow, stmt: old})
	}
	s.conn.SetBuffer(pgwire.AppendParse(s.conn.Buffer(len(st.body)+64), st.name, st.body))
	s.stmts.add(st)
	s.pool.stats.parses++
	s.expect(expectation{kind: kindParse, action: swallow, stmt: st})
}

// run sends a simple Query of ours whose answers nobody sees.
func (s *server) run(sql string) {
	s.conn.SetBuffer(pgwire.AppendQuery(s.conn.Buffer(len(sql)+16), sql))
	s.unnamed = nil // a simple Query drops it (exec_simple_query in postgres.c)
	s.expect(expectation{kind: kindQuery, action: swallow})
}

// synthesise answers a client's message here, in its turn.
func (s *server) synthesise(e expectation) {
	e.action = synthesise
	s.expect(e)
	s.answerSynthetic()
}

// answerSynthetic makes the answers whose turn has come.
func (s *server) answerSynthetic() {
	for s.owed.n > 0 && s.owed.first().action == synthesise {
		if s.client != nil {
			if s.owed.first().kind == kindParse {
				s.deliver(parseComplete)
			} else {
				s.deliver(closeComplete)
			}
		}
		s.owed.pop()
	}
}

var (
	parseComplete = []byte{pgwire.ParseComplete, 0, 0, 0, 4}
	closeComplete = []byte{pgwire.CloseComplete, 0, 0, 0, 4}
)

// deliver passes answers on to the client.
func (s *server) deliver(b []byte) {
	switch {
	case len(b) == 0 || s.client == nil || s.repeat:
	case s.tentative:
		s.early = append(s.early, b...)
	default:
		s.client.conn.Write(b)
		s.pool.stats.sent += uint64(len(b))
	}
}

// commit ends the time in which the unit could be repeated.
func (s *server) commit() {
	if s.tentative {
		s.tentative = false
		early := s.early
		s.early = s.early[:0]
		s.deliver(early)
	}
}

const (
	// passThrough is the size from which a message that has not arrived whole is passed on in pieces.
	passThrough = 16 << 10
	// maxControl bounds messages that must be whole: all but data, bytes.
	maxControl = 4 << 20
)

// inPieces tells which messages may be passed on before they are whole: those that nothing here depends on.
func inPieces(typ byte) bool {
	return typ == pgwire.DataRow || typ == pgwire.CopyData || typ == pgwire.FunctionCallResponse || typ == pgwire.NotificationResponse
}

// Data passes answers on to the client that owns them, in spans as long as possible.
func (s *server) Data(c *netloop.Conn, b []byte) int {
	start, pos := 0, 0 // b[start:pos] is for the client and not yet delivered
	for pos < len(b) && !c.Closing() {
		if s.body > 0 {
			n := min(s.body, len(b)-pos)
			s.body -= n
			pos += n
			if s.bodyDrop {
				start = pos
			}
			continue
		}
		if len(b)-pos < pgwire.HeaderLen {
			break
		}
		typ, size, ok := pgwire.Header(b[pos:])
		if !ok {
			s.lost(errGarbage)
			return len(b)
		}
		end := pos + size
		if end > len(b) {
			if size < passThrough || !inPieces(typ) {
				if size > maxControl && !inPieces(typ) {
					s.lost(errGarbage)
					return len(b)
				}
				c.Expect(size)
				break
			}
			s.body = end - len(b)
			end = len(b)
		}
		if s.tentative && decisive(typ) && !s.repeatable(typ, b[pos:end]) {
			s.deliver(b[start:pos])
			start = pos
			s.commit()
		}
		pass, replaced := s.receive(typ, b[pos:end])
		if c.Closing() {
			return len(b)
		}
		s.bodyDrop = !pass
		if !pass {
			s.deliver(b[start:pos])
			s.deliver(replaced)
			start = end
		}
		pos = end
		if s.owed.n > 0 && s.owed.first().action == synthesise {
			s.deliver(b[start:pos])
			start = pos
			s.answerSynthetic()
		}
	}
	if c.Closing() {
		return len(b)
	}
	s.deliver(b[start:pos])
	if s.client != nil && s.client.conn.Congested() && !s.paused {
		s.paused = true
		c.PauseReading()
	}
	if pos == len(b) && s.owed.n == 0 && s.body == 0 {
		s.settle()
	} else if s.client != nil {
		s.client.resume() // it may have been stopped for what was owed
	}
	return pos
}

// decisive tells whether a message ends the time in which a unit can be repeated: after it there is something that the
// client must see, or an error to look at.
func decisive(typ byte) bool {
	switch typ {
	case pgwire.ParseComplete, pgwire.BindComplete, pgwire.CloseComplete, pgwire.ParameterDescription,
		pgwire.RowDescription, pgwire.NoData, pgwire.ParameterStatus, pgwire.NoticeResponse:
		return false
	}
	return true
}

// Fields of an ErrorResponse: 25006, which a replica answers to a write, and the untranslated severity.
var (
	readOnlyViolation = []byte("\x00C25006\x00")
	fatalSeverity     = []byte("\x00VFATAL\x00")
	panicSeverity     = []byte("\x00VPANIC\x00")
)

// repeatable handles the message that decides: it reports true, and sets the unit up to be repeated, if a replica
// refused the unit as a write or is shutting down.
func (s *server) repeatable(typ byte, frame []byte) bool {
	if s.repeat {
		return true
	}
	if typ != pgwire.ErrorResponse {
		return false
	}
	switch {
	case bytes.Contains(frame, readOnlyViolation):
		s.client.refusedAsWrite()
	case bytes.Contains(frame, fatalSeverity): // the server closes; Closed repeats the unit
	default:
		return false
	}
	s.repeat = true
	s.early = s.early[:0]
	s.pool.stats.repeated++
	return true
}

// receive settles one message with our books. It reports whether the client gets it, or instead of it replaced.
func (s *server) receive(typ byte, frame []byte) (pass bool, replaced []byte) {
	if s.owed.n == 0 {
		return s.unasked(typ, frame)
	}
	e := s.owed.first()
	pass = e.action == forward
	switch typ {
	case pgwire.DataRow, pgwire.CopyData, pgwire.CopyDone, pgwire.ParameterDescription, pgwire.FunctionCallResponse:
		return pass, nil
	case pgwire.ParseComplete:
		return pass, s.done(e.kind == kindParse)
	case pgwire.BindComplete:
		return pass, s.done(e.kind == kindBind)
	case pgwire.CloseComplete:
		return pass, s.done(e.kind == kindClose)
	case pgwire.RowDescription:
		if e.kind == kindDescribe {
			s.owed.pop()
		}
		return pass, nil
	case pgwire.NoData:
		return pass, s.done(e.kind == kindDescribe)
	case pgwire.CommandComplete, pgwire.EmptyQuery, pgwire.PortalSuspended:
		if typ == pgwire.CommandComplete {
			s.command(frame)
		}
		if e.kind == kindExecute {
			s.owed.pop()
		}
		return pass, nil
	case pgwire.ReadyForQuery:
		if len(frame) != 6 || e.kind != kindSync && e.kind != kindQuery && e.kind != kindFunction {
			s.lost(errOutOfStep)
			return false, nil
		}
		s.ready(e, frame[5])
		return pass, nil
	case pgwire.ErrorResponse:
		return s.error(e, frame)
	case pgwire.CopyInResponse:
		s.copyIn(e)
		return pass, nil
	case pgwire.CopyOutResponse:
		return pass, nil
	case pgwire.NoticeResponse, pgwire.NotificationResponse:
		return true, nil
	case pgwire.ParameterStatus:
		return pass, nil // what our own SET changes, the client knows
	}
	s.lost(errGarbage)
	return false, nil
}

// done takes the first expectation off the queue, which must be what the server answered.
func (s *server) done(matches bool) []byte {
	if !matches {
		s.lost(errOutOfStep)
		return nil
	}
	s.owed.pop()
	return nil
}

// unasked handles what a server says while it owes nothing.
func (s *server) unasked(typ byte, frame []byte) (bool, []byte) {
	switch typ {
	case pgwire.ParameterStatus, pgwire.NoticeResponse, pgwire.NotificationResponse:
		return s.client != nil, nil
	case pgwire.ErrorResponse: // it is about to close: shutdown, pg_terminate_backend, idle_in_transaction_session_timeout
		s.fatal = true
		if s.client == nil {
			s.lost(pgwire.ParseError(frame[pgwire.HeaderLen:]))
		}
		return s.client != nil, nil
	}
	s.lost(errOutOfStep)
	return false, nil
}

// ready handles ReadyForQuery, the end of a unit's answers.
func (s *server) ready(e *expectation, status byte) {
	ours, set := e.action == swallow, e.set
	s.owed.pop()
	s.status = status
	failed := s.failed
	s.failed = false
	c := s.client
	if ours || c == nil {
		return
	}
	s.pool.stats.queries++
	s.queries++
	c.inFlight--
	c.copyIn = false
	c.status = status
	if status == pgwire.Idle {
		s.pool.stats.xacts++
		s.xacts++
		if s.wrote {
			s.wrote = false
			c.floor = s.pool.w.pooler.upstream.Floor()
		}
	}
	if set != nil && !failed && status == pgwire.Idle {
		c.set = set.onClient(c.set, c.startSet)
		s.set = set.onServer(s.set)
	}
}

// command looks at a command tag for what wipes a session's state.
func (s *server) command(frame []byte) {
	tag := frame[pgwire.HeaderLen:]
	if len(tag) < 11 || tag[0] != 'D' {
		return
	}
	switch string(tag) {
	case "DEALLOCATE ALL\x00":
		s.stmts.clear()
		if s.client != nil {
			clear(s.client.stmts)
		}
	case "DISCARD ALL\x00":
		s.stmts.clear()
		s.unnamed = nil
		s.set = nil
		if s.client != nil {
			s.client.discarded()
		}
	}
}

// error handles an ErrorResponse. In the extended protocol the server now skips everything up to the next Sync: those
// answers never come, and what their messages changed in our books is undone.
func (s *server) error(e *expectation, frame []byte) (pass bool, replaced []byte) {
	s.failed = true
	if bytes.Contains(frame, fatalSeverity) || bytes.Contains(frame, panicSeverity) {
		s.fatal = true
	}
	if e.kind == kindQuery && e.action == swallow {
		s.rejected(frame)
		return false, nil
	}
	if c := s.client; c != nil && e.stmt != nil {
		replaced = renameStatement(frame, e.stmt.name, c.nameOf(e))
	}
	if e.kind != kindQuery && e.kind != kindFunction && e.kind != kindSync {
		s.undo(e, false)
		s.owed.pop()
		for s.owed.n > 0 && s.owed.first().kind != kindSync {
			s.undo(s.owed.first(), true)
			s.owed.pop()
		}
	}
	return replaced == nil, replaced
}

// rejected handles the failure of a query of our own, which restores a session's settings.
func (s *server) rejected(frame []byte) {
	err := pgwire.ParseError(frame[pgwire.HeaderLen:])
	if c := s.client; c != nil {
		err.Severity = "FATAL"
		err.Detail = "The session's settings could not be restored on a server of the pool. " + err.Detail
		s.client, c.server = nil, nil
		c.refuse(err)
	}
	s.conn.Close(err)
}

// undo takes back what e changed in our books: it failed, or was skipped because something before it did.
func (s *server) undo(e *expectation, skipped bool) {
	c := s.client
	switch e.kind {
	case kindParse:
		switch {
		case e.again:
		case e.unnamed:
			s.unnamed = nil
			if c != nil && e.action == forward {
				c.unnamed = nil // the server drops it before it looks at the new one (exec_parse_message in postgres.c)
				if skipped {
					c.unnamed = e.prev
				}
			}
		default:
			if e.action != synthesise {
				s.stmts.remove(e.stmt)
			}
			if c != nil && e.action != swallow {
				delete(c.stmts, e.name)
			}
		}
	case kindQuery, kindFunction: // skipped too
		if c != nil {
			c.inFlight--
		}
	case kindClose:
		switch {
		case e.stmt == nil:
		case e.action == swallow:
			s.stmts.add(e.stmt) // it is still there
		case c != nil && skipped:
			c.stmts[e.name] = e.stmt
		}
	}
}

// copyIn: the server now reads CopyData, and ignores the Syncs that were sent ahead (PostgreSQL documentation, "COPY
// Operations": in copy-in mode Flush and Sync are ignored).
func (s *server) copyIn(e *expectation) {
	if c := s.client; c != nil {
		c.copyIn = true
	}
	if e.kind != kindExecute {
		return
	}
	for s.owed.n > 1 && s.owed.at(1).kind == kindSync {
		s.owed.remove(1)
		if c := s.client; c != nil {
			c.midUnit = true
			c.inFlight--
		}
	}
}

// Drained resumes the client that was stopped because this server was too slow.
func (s *server) Drained(*netloop.Conn) {
	if c := s.client; c != nil {
		c.resume()
	}
}

// settle is called when the server owes nothing. If client and server are both between units it goes back to the pool.
func (s *server) settle() {
	if s.fatal || s.conn.Closing() || s.cancels > 0 {
		return
	}
	c := s.client
	if c == nil {
		if s.inReset && s.status == pgwire.Idle {
			s.inReset = false
			s.pool.put(s)
		}
		return
	}
	if s.repeat {
		s.unlink()
		s.pool.put(s)
		c.repeat(s.unit)
		return
	}
	if c.midUnit || c.body > 0 || s.status != pgwire.Idle || c.keeps() {
		c.resume()
		return
	}
	s.unlink()
	s.pool.put(s)
	c.released()
}

// unlink parts client and server.
func (s *server) unlink() {
	c := s.client
	s.client, c.server = nil, nil
	s.repeat, s.tentative = false, false
	if s.paused {
		s.paused = false
		s.conn.ResumeReading()
	}
	s.pool.account(s, c)
}

// Why a server was given up.
var (
	errGarbage   = errors.New("server sent what is not PostgreSQL protocol")
	errOutOfStep = errors.New("server sent an answer that nobody asked for")
)

// lost gives the server up.
func (s *server) lost(err error) { s.conn.Close(err) }

// Closed tells the client, if there is one, and the pool.
func (s *server) Closed(_ *netloop.Conn, err error) {
	s.pool.gone(s, err)
	c := s.client
	if c == nil {
		return
	}
	s.client, c.server = nil, nil
	if s.tentative && len(s.unit) > 0 {
		c.repeat(s.unit) // a read that nobody has seen anything of
		return
	}
	if s.fatal || s.body > 0 {
		c.closing = true
		c.conn.CloseAfterFlush() // it has been told, or is in the middle of a message, where no error can be told
		return
	}
	e := &pgwire.Error{Severity: "FATAL", Code: "08006", Message: "server connection was lost",
		Hint: "Connect again. What was in progress may or may not have happened."}
	if err != nil {
		e.Detail = err.Error()
	}
	c.refuse(e)
}

// renameStatement replaces our name of a statement in an error by the client's, or returns nil if it is not there.
func renameStatement(frame []byte, ours, theirs string) []byte {
	if !bytes.Contains(frame, []byte(ours)) {
		return nil
	}
	body := bytes.ReplaceAll(frame[pgwire.HeaderLen:], []byte(ours), []byte(theirs))
	return append(pgwire.AppendHeader(nil, pgwire.ErrorResponse, len(body)), body...)
}
