// HOT PATH

package pgpool

import (
	"bytes"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

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
		pass = pass && !e.simple
		s.done(e.kind == kindDescribe)
	case pgwire.RowDescription:
		if e.kind == kindDescribe {
			s.owed.pop()
		}
	case pgwire.CommandComplete, pgwire.EmptyQuery, pgwire.PortalSuspended:
		if typ == pgwire.CommandComplete {
			s.tagged = true
			s.command(frame)
		}
		shows := e.shows && typ == pgwire.CommandComplete
		if e.kind == kindExecute {
			s.owed.pop()
		} else if e.kind == kindQuery && e.stmt != nil {
			return false, deallocated
		}
		if shows {
			return false, showTag
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
		if bytes.Contains(frame, goingDown) && s.spares(frame) {
			return false, nil
		}
		pass = pass || e.kind != kindQuery // those of our own queries, which the client's settings may ask for, are not its
	case pgwire.NotificationResponse:
		pass = !s.client.hears(frame)
	case pgwire.ParameterStatus:
		s.reports(frame)
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
	case pgwire.ParameterStatus:
		s.reports(frame)
	case pgwire.NoticeResponse:
		if bytes.Contains(frame, goingDown) && s.spares(frame) {
			return false
		}
	case pgwire.NotificationResponse:
		if s.client.hears(frame) {
			return false
		}
	case pgwire.ErrorResponse: // it is about to close: shutdown, pg_terminate_backend, idle_in_transaction_session_timeout
		s.fatal, s.blameless = true, blameless(frame)
		if s.client == nil {
			s.lost(pgwire.ParseError(frame[pgwire.HeaderLen:]))
		}
		return s.client != nil && s.lastWord(frame)
	default:
		s.lost(errOutOfStep)
	}
	return s.client != nil
}

// ready handles ReadyForQuery, the end of a unit's answers. It reports whether the client gets it, or instead of it
// replaced.
func (s *server) ready(e *expectation, status byte) (pass bool, replaced []byte) {
	ours, inspected, opens, set, wrote, leaves := e.action == swallow, e.action == inspect, e.opens, e.set, e.wrote, e.leaves
	s.ended = !ours && !inspected
	s.owed.pop()
	if s.owed.n == 0 {
		clear(s.stmts.unsure)
	}
	s.unproven = s.unproven && s.ours()
	s.status = status
	failed := s.failed
	s.failed, s.timedOut, s.tagged, s.hit, s.erred = false, false, false, false, failed
	now := s.pool.w.loop.Now()
	s.pool.stats.queryTime += uint64(now.Sub(s.since).Microseconds())
	s.works(now)
	s.since = now
	if status == pgwire.Idle {
		s.began = now // of a transaction that is sent already
	}
	if s.cancelNext != nil && !s.ours() && !s.inspecting() {
		s.cancelDue()
	}
	c := s.client
	switch {
	case opens:
		s.opening = false
		if c != nil && c.tx != nil {
			s.began = c.tx.began
		}
		return false, nil
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
	if s.readOnly && !s.repeat {
		switch t := c.tx; {
		case t == nil && status != pgwire.Idle:
			s.opened()
		case t != nil && !t.sent: // a read outside of it
			if c.status = pgwire.InBlock; failed {
				c.failed()
				return false, failedReady
			}
			return false, blockReady
		}
	}
	if t := c.tx; t != nil && t.sent && status == pgwire.Idle {
		c.endHere()
	}
	if status != pgwire.Idle {
		s.leftInTx = s.leftInTx || leaves
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
	s.left, s.leftInTx = s.left || s.leftInTx || leaves, false
	if !s.readOnly {
		c.answeredByPrimary(s.wrote)
	}
	s.wrote = false
	if set != nil && !failed {
		c.has(set.onClient(c.set, c.startSet))
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
		s.fatal, s.blameless = true, blameless(frame)
	}
	switch {
	case e.action == inspect || e.kind == kindQuery && e.action == swallow && s.fatal:
		return s.fatal && s.lastWord(frame), nil
	case e.opens && s.client == nil: // in a session that could not be restored (rejected)
		return false, nil
	case e.kind == kindQuery && e.action == swallow:
		s.rejected(frame)
		return false, nil
	}
	if !s.readOnly && bytes.Contains(frame, readOnlyViolation) {
		s.pool.doubt() // in a transaction that is to write nothing, it means nothing
	}
	c := s.client
	if c != nil {
		s.spoils(e, frame)
		replaced = renameStatement(frame, c, e)
		if bad := badToken(frame); bad != nil {
			replaced = pgwire.AppendErrorResponse(nil, bad)
		}
		if s.fatal && !s.lastWord(frame) {
			replaced = s.words
		}
		if s.timedOut && bytes.Contains(frame, queryCancelled) {
			replaced = pgwire.AppendErrorResponse(nil, queryTooLong.with("query_timeout", c.policy.QueryTimeout))
		}
		c.copyIn = false
		if e.kind == kindQuery && e.stmt != nil {
			c.stmts[e.name] = e.stmt // it was not deallocated
		}
	}
	if s.joined && !e.endsUnit() {
		s.failsBatch()
	} else if !e.endsUnit() {
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
		s.part(c)
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
	if told, ok := wrongRoute(frame); ok {
		return told
	}
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
