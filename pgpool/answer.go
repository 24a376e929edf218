// HOT PATH

package pgpool

import (
	"bytes"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// synthesise answers a client's message here, in its turn.
func (s *server) synthesise(e expectation) {
	e.action = synthesise
	s.expect(e)
	s.answerHere()
}

// answerHere makes the answers whose turn has come and that no server gives.
func (s *server) answerHere() {
	for s.owed.n > 0 {
		switch e := s.owed.first(); {
		case e.kind == kindCopyEnd: // there was no COPY
		case e.action != synthesise:
			return
		case e.kind == kindParse:
			s.deliver(parseComplete)
		default:
			s.deliver(closeComplete)
		}
		s.owed.pop()
	}
}

var (
	parseComplete = []byte{pgwire.ParseComplete, 0, 0, 0, 4}
	closeComplete = []byte{pgwire.CloseComplete, 0, 0, 0, 4}
	deallocated   = append(pgwire.AppendHeader(nil, pgwire.CommandComplete, len(deallocatedTag)), deallocatedTag...)
)

const deallocatedTag = "DEALLOCATE\x00"

// deliver passes answers on to the client.
func (s *server) deliver(b []byte) {
	switch {
	case len(b) == 0 || s.repeat:
	case s.client == nil:
		if s.orphan {
			s.drainOrphan(len(b))
		}
	case s.tentative:
		s.early = append(s.early, b...)
	default:
		s.client.conn.Write(b)
		s.pool.stats.sent += uint64(len(b))
	}
}

// commit ends the time in which the unit could be repeated.
func (s *server) commit() {
	s.tentative = false
	early := s.early
	s.early = s.early[:0]
	s.deliver(early)
}

const (
	// passThrough is the size from which a message that has not arrived whole is passed on in pieces.
	passThrough = 16 << 10
	// maxControl bounds messages that must be whole: all but data, bytes.
	maxControl = 16 << 20
)

// inPieces tells which messages may be passed on before they are whole: those that nothing here depends on.
func inPieces(typ byte) bool {
	return typ == pgwire.DataRow || typ == pgwire.CopyData || typ == pgwire.FunctionCallResponse || typ == pgwire.NotificationResponse
}

// Data passes answers on to the client that owns them, in spans as long as possible.
func (s *server) Data(c *netloop.Conn, b []byte) int {
	start, pos := 0, 0 // b[start:pos] is for the client and not yet delivered
	for pos < len(b) {
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
			break
		}
		end := pos + size
		if end > len(b) {
			if size < passThrough || !inPieces(typ) || s.inspecting() {
				if size > maxControl {
					s.lost(errGarbage)
					break
				}
				c.Expect(size)
				break
			}
			s.body = end - len(b)
			end = len(b)
		}
		if s.tentative && decisive(typ) && !s.ours() && !s.repeatable(typ, b[pos:end]) {
			s.deliver(b[start:pos])
			start = pos
			s.commit()
		}
		pass, replaced := s.receive(typ, b[pos:end])
		if c.Closing() {
			break
		}
		s.bodyDrop = !pass
		if !pass {
			s.deliver(b[start:pos])
			s.deliver(replaced)
			start = end
		}
		pos = end
		if s.owed.n > 0 && (s.owed.first().action == synthesise || s.owed.first().kind == kindCopyEnd) {
			s.deliver(b[start:pos])
			start = pos
			s.answerHere()
		}
	}
	s.deliver(b[start:pos])
	if c.Closing() {
		return len(b)
	}
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

// ours tells whether the answer at hand is to a query of our own.
func (s *server) ours() bool {
	return s.owed.n > 0 && s.owed.first().kind == kindQuery && s.owed.first().action == swallow
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
	queryCancelled    = []byte("\x00C57014\x00")
)

// repeatable handles the message that decides: it reports true, and sets the unit up to be repeated, if a replica
// refused the unit as a write or is shutting down, or if a plan is out of date.
func (s *server) repeatable(typ byte, frame []byte) bool {
	if s.repeat {
		return true
	}
	if typ != pgwire.ErrorResponse {
		return false
	}
	switch {
	case s.outdatedPlan(frame):
	case !s.readOnly:
		return false
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
	if typ == pgwire.NotificationResponse {
		s.notifies(frame)
	}
	if s.owed.n == 0 {
		return s.unasked(typ, frame), nil
	}
	e := s.owed.first()
	pass = e.action == forward
	switch typ {
	case pgwire.DataRow:
		if e.action == inspect {
			s.found(frame)
		}
	case pgwire.CopyData, pgwire.CopyDone, pgwire.ParameterDescription, pgwire.FunctionCallResponse,
		pgwire.CopyOutResponse:
	case pgwire.ParseComplete:
		s.done(e.kind == kindParse)
	case pgwire.BindComplete:
		s.done(e.kind == kindBind)
	case pgwire.CloseComplete:
		s.done(e.kind == kindClose)
	case pgwire.NoData:
		s.done(e.kind == kindDescribe)
	case pgwire.RowDescription:
		if e.kind == kindDescribe {
			s.owed.pop()
		}
	case pgwire.CommandComplete, pgwire.EmptyQuery, pgwire.PortalSuspended:
		if typ == pgwire.CommandComplete {
			s.command(frame)
		}
		if e.kind == kindExecute {
			s.owed.pop()
		} else if e.kind == kindQuery && e.stmt != nil {
			return false, deallocated
		}
	case pgwire.ReadyForQuery:
		if len(frame) != 6 || !e.endsUnit() {
			s.lost(errOutOfStep)
			break
		}
		return s.ready(e, frame[5])
	case pgwire.ErrorResponse:
		return s.error(e, frame)
	case pgwire.CopyInResponse:
		s.copyIn(e)
	case pgwire.NoticeResponse:
		pass = pass || e.kind != kindQuery // those of our own queries, which the client's settings may ask for, are not its
	case pgwire.NotificationResponse:
		pass = !s.client.hears(frame)
	case pgwire.ParameterStatus:
		pass = pass || s.restoring // what our own SET changes, the client knows, unless a RESET has told it otherwise
	default:
		s.lost(errGarbage)
	}
	return pass, nil
}

// done takes the first expectation off the queue, which must be what the server answered.
func (s *server) done(matches bool) {
	if !matches {
		s.lost(errOutOfStep)
		return
	}
	s.owed.pop()
}

// unasked handles what a server says while it owes nothing.
func (s *server) unasked(typ byte, frame []byte) (pass bool) {
	switch typ {
	case pgwire.ParameterStatus, pgwire.NoticeResponse:
	case pgwire.NotificationResponse:
		if s.client.hears(frame) {
			return false
		}
	case pgwire.ErrorResponse: // it is about to close: shutdown, pg_terminate_backend, idle_in_transaction_session_timeout
		s.fatal = true
		if s.client == nil {
			s.lost(pgwire.ParseError(frame[pgwire.HeaderLen:]))
		}
	default:
		s.lost(errOutOfStep)
	}
	return s.client != nil
}

// ready handles ReadyForQuery, the end of a unit's answers. It reports whether the client gets it, or instead of it
// replaced.
func (s *server) ready(e *expectation, status byte) (pass bool, replaced []byte) {
	ours, inspected, set, wrote := e.action == swallow, e.action == inspect, e.set, e.wrote
	s.owed.pop()
	if s.owed.n == 0 {
		clear(s.stmts.unsure)
	}
	s.unproven = s.unproven && s.ours()
	s.status = status
	failed := s.failed
	s.failed, s.timedOut = false, false
	now := s.pool.w.loop.Now()
	s.pool.stats.queryTime += uint64(now.Sub(s.since).Microseconds())
	s.since = now
	if status == pgwire.Idle {
		s.began = now // of a transaction that is sent already
	}
	if s.cancelNext != nil && !s.ours() && !s.inspecting() {
		s.cancelDue()
	}
	c := s.client
	switch {
	case inspected:
		s.inspected(failed)
		if s.restoring && len(s.inspections) == 0 && !s.restores() {
			s.restoring = false
			return false, c.readyIdle()
		}
		return false, nil
	case c == nil || ours && !s.restoring:
		return false, nil
	case ours:
		s.restoring = false
		return false, c.readyIdle()
	}
	s.pool.stats.queries++
	s.queries++
	c.inFlight--
	c.copyIn = false
	c.status = status
	s.wrote = s.wrote || wrote
	if status != pgwire.Idle {
		if c.policy.Mode == StatementMode {
			c.refuse(statementModeOnly.with())
		}
		if set != nil {
			c.doubt(set) // what becomes of it is up to the rest of the transaction
		}
		return true, nil
	}
	s.pool.stats.xacts++
	s.xacts++
	if s.wrote {
		s.wrote = false
		c.floor = s.pool.group.shared.up.roles.Floor()
	}
	if set != nil && !failed {
		c.set = set.onClient(c.set, c.startSet)
		s.set = set.onServer(s.set)
	}
	if s.owed.n == 0 && s.due.resets && c.startSet != nil && c.policy.Mode != SessionMode && s.check() {
		s.restoring = true // what the session began with comes back before the client hears of it
		return false, nil
	}
	if s.owed.n > 0 || s.set.equal(c.set) {
		if c.notifies && s.owed.n == 0 && s.fenceOff(c) {
			return false, nil
		}
		if c.inbox != nil && !s.repeat {
			return false, c.readyIdle()
		}
		return true, nil
	}
	// A RESET or DISCARD took the server to its own defaults: the session's come back before the client hears of it.
	s.restore(c.set)
	s.restoring = true
	return false, nil
}

// restores tells whether the last thing that the server was sent is a change of settings. The client may have sent a Sync
// before it, which waits for nothing.
func (s *server) restores() bool {
	if s.owed.n == 0 {
		return false
	}
	last := s.owed.at(s.owed.n - 1)
	return last.kind == kindQuery && last.action == swallow
}

var readyIdle = pgwire.AppendReadyForQuery(nil, pgwire.Idle)

// command looks at a command tag for what wipes a session's state. Nothing that the client sent behind such a command
// has gone out yet (client.mustWait).
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
// answers never come, and what their messages changed in our books is undone, the last one first.
func (s *server) error(e *expectation, frame []byte) (pass bool, replaced []byte) {
	s.failed = true
	if bytes.Contains(frame, fatalSeverity) || bytes.Contains(frame, panicSeverity) {
		s.fatal = true
	}
	switch {
	case e.kind == kindQuery && e.action == swallow:
		s.rejected(frame)
		return false, nil
	case e.action == inspect:
		return s.fatal, nil
	}
	c := s.client
	if c != nil {
		s.spoils(e, frame)
		replaced = renameStatement(frame, c, e)
		if s.timedOut && bytes.Contains(frame, queryCancelled) {
			replaced = pgwire.AppendErrorResponse(nil, queryTooLong.with("query_timeout", c.policy.QueryTimeout))
		}
		c.copyIn = false
		if e.kind == kindQuery && e.stmt != nil {
			c.stmts[e.name] = e.stmt // it was not deallocated
		}
	}
	if !e.endsUnit() {
		n := 1
		for n < s.owed.n && s.owed.at(n).kind != kindSync {
			n++
		}
		s.undoUnit(n)
		for range n {
			s.owed.pop()
		}
		if s.owed.n == 0 {
			s.skipping = true
			if c != nil {
				c.midUnit = true
			}
		}
	}
	return replaced == nil, replaced
}

// rejected handles the failure of a query of our own, which restores or resets a session. The client ends: nothing says
// what its session is now. The server has refused what the client sent with that, and is used again when it has been
// cleaned, so that a client that tries again and again costs no connections.
func (s *server) rejected(frame []byte) {
	err := pgwire.ParseError(frame[pgwire.HeaderLen:])
	c := s.client
	if c == nil || s.fatal || s.skipping || c.body > 0 || c.copyIn {
		s.lost(err)
		if c == nil {
			return
		}
		s.client, c.server = nil, nil
	} else {
		if c.midUnit {
			s.conn.Write(syncMessage)
			s.expect(expectation{kind: kindSync, action: swallow})
		}
		s.unlink()
		s.since = s.pool.w.loop.Now()
		s.run("ROLLBACK")
		s.discard()
	}
	told := serverRestore.with(err.Message, err.Detail)
	told.Code, told.Hint = err.Code, err.Hint
	c.refuse(told)
}

// undoUnit takes back what the first n of the owed changed in our books. What a later unit, sent already, has made of the
// unnamed statement stands; what was there before it is the outcome of this.
func (s *server) undoUnit(n int) {
	var laterClient, laterServer *expectation
	for i := n; i < s.owed.n && laterClient == nil; i++ {
		e := s.owed.at(i)
		if !e.unnamed && (e.kind != kindQuery || e.action != forward) {
			continue
		}
		if laterServer == nil {
			laterServer = e
		}
		if e.action == forward {
			laterClient = e
		}
	}
	c := s.client
	ofServer, ofClient := s.unnamed, (*statement)(nil)
	if laterServer != nil {
		s.unnamed = laterServer.prevOf
	}
	if c != nil && laterClient != nil {
		ofClient, c.unnamed = c.unnamed, laterClient.prev
	}
	for i := n - 1; i >= 0; i-- {
		s.undo(s.owed.at(i), i > 0)
	}
	if laterServer != nil {
		laterServer.prevOf, s.unnamed = s.unnamed, ofServer
	}
	if c != nil && laterClient != nil {
		laterClient.prev, c.unnamed = c.unnamed, ofClient
	}
}

// undo takes back what e changed in our books: it failed, or was skipped because something before it did.
func (s *server) undo(e *expectation, skipped bool) {
	c := s.client
	switch e.kind {
	case kindParse:
		switch {
		case e.again:
		case e.unnamed:
			// One that fails has dropped the old one first (exec_parse_message in postgres.c).
			s.unnamed = nil
			if skipped {
				s.unnamed = e.prevOf
			}
			if c != nil && e.action == forward {
				c.unnamed = nil
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
	case kindQuery, kindFunction: // these fail by themselves; here they were skipped
		if c != nil {
			c.inFlight--
			if e.kind == kindQuery {
				c.unnamed, s.unnamed = e.prev, e.prevOf
				if e.stmt != nil {
					c.stmts[e.name] = e.stmt
				}
			}
		}
	case kindClose:
		switch {
		case !skipped:
		case e.action == swallow:
			s.stmts.add(e.stmt) // it is still there
		case c != nil && e.unnamed:
			c.unnamed, s.unnamed = e.prev, e.prevOf
		case c != nil && e.stmt != nil:
			c.stmts[e.name] = e.stmt
		}
	}
}

// copyIn: the server now reads CopyData, and ignores the Syncs that were sent ahead of CopyDone (PostgreSQL documentation,
// "COPY Operations": in copy-in mode Flush and Sync are ignored).
func (s *server) copyIn(e *expectation) {
	c := s.client
	if c == nil {
		return
	}
	c.copyIn = true
	for i := 1; i < s.owed.n; {
		switch s.owed.at(i).kind {
		case kindCopyEnd:
			s.owed.remove(i)
			c.copyIn = false // its end is on the way
			return
		case kindSync:
			c.wrote = c.wrote || s.owed.at(i).wrote
			s.owed.remove(i)
			c.midUnit = e.kind == kindExecute
			c.inFlight--
		default:
			i++
		}
	}
}

// renameStatement replaces our name of a statement in an error by the client's. It returns nil if it is not there.
func renameStatement(frame []byte, c *client, e *expectation) []byte {
	if bytes.Contains(frame, []byte(`"`+outdated+`"`)) {
		return append(pgwire.AppendHeader(nil, pgwire.ErrorResponse, len(outdatedError)), outdatedError...)
	}
	ours, theirs := absent, e.name
	if e.stmt != nil {
		ours = e.stmt.name
	}
	if theirs == "" && e.stmt != nil {
		theirs = c.nameOf(e.stmt)
	}
	if !bytes.Contains(frame, []byte(ours)) {
		return nil
	}
	body := frame[pgwire.HeaderLen:]
	if theirs == "" {
		body = bytes.ReplaceAll(body, []byte(`prepared statement "`+ours+`"`), []byte("unnamed prepared statement"))
	}
	body = bytes.ReplaceAll(body, []byte(ours), []byte(theirs))
	return append(pgwire.AppendHeader(nil, pgwire.ErrorResponse, len(body)), body...)
}
