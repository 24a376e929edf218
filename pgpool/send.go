// HOT PATH

package pgpool

import (
	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// send passes on the message at b. The client has a server.
func (c *client) send(typ byte, size int, b []byte) int {
	s := c.server
	switch typ {
	case pgwire.Terminate:
		c.close(nil)
		return 0
	case pgwire.Query, pgwire.Parse, pgwire.Bind, pgwire.Describe, pgwire.Close, pgwire.Execute, pgwire.Flush,
		pgwire.FunctionCall, pgwire.CopyData, pgwire.CopyDone, pgwire.CopyFail, pgwire.Sync:
	default:
		c.violation("unknown message type")
		return 0
	}
	if s.skipping && typ != pgwire.Sync || typ == pgwire.Flush && !c.midUnit {
		n := min(size, len(b)) // the server would not look at it either
		if s.repeat {
			s.unit = append(s.unit, b[:n]...) // the next one does
		}
		c.body, c.bodyTo = size-n, false
		return n
	}
	if missing := c.needs(typ, size, len(b)); missing {
		return 0
	}
	n := min(size, len(b))
	frame := b[:n]
	if c.mustWait(s, typ, frame) {
		return 0
	}
	if s.tentative {
		s.unit = append(s.unit, frame...) // a unit that may be repeated is whole
	}
	s.pool.stats.received += uint64(n)
	ends := false
	switch typ {
	case pgwire.Query:
		ends = true
		c.sendQuery(s, frame, n == size)
	case pgwire.FunctionCall:
		ends = true
		s.conn.Write(frame)
		c.keepUnbooked()
		c.callsFunction(frame)
		s.expect(expectation{kind: kindFunction, wrote: true, leaves: s.leaves})
		s.sequencesOf = c
		c.inFlight++
	case pgwire.Parse:
		c.parsedAny = true
		c.sendParse(s, frame, n == size)
	case pgwire.Bind:
		c.sendBind(s, frame, size)
	case pgwire.Describe:
		c.sendDescribe(s, frame)
	case pgwire.Close:
		c.parsedAny = true
		c.sendClose(s, frame)
	case pgwire.Execute:
		c.executes++
		s.conn.Write(frame)
		s.expect(expectation{kind: kindExecute, shows: c.shows})
	case pgwire.Sync:
		ends = c.sendSync(s, frame)
	case pgwire.CopyDone, pgwire.CopyFail:
		s.conn.Write(frame)
		if c.copyIn {
			c.copyIn = false
		} else if s.owed.n > 0 {
			s.expect(expectation{kind: kindCopyEnd})
		}
	default: // Flush, CopyData
		s.conn.Write(frame)
	}
	if c.closing {
		return n
	}
	c.brake(s)
	switch {
	case n < size:
		c.body, c.bodyTo, c.bodyEnd = size-n, true, ends
		c.midUnit = c.midUnit || ends || typ == pgwire.Parse || typ == pgwire.Bind
	case ends:
		c.sent(true)
	default:
		switch typ {
		case pgwire.Parse, pgwire.Bind, pgwire.Describe, pgwire.Close, pgwire.Execute:
			c.midUnit = true
		}
		c.sent(false)
	}
	return n
}

// needs tells whether bytes are missing without which the message cannot be passed on, and has them gathered.
func (c *client) needs(typ byte, size, have int) bool {
	if have >= size && typ != pgwire.FunctionCall {
		return false
	}
	switch typ {
	case pgwire.Query, pgwire.Parse:
		if size > maxText {
			c.keep(pinLongStatement) // it may do anything
			size = maxNames
		}
	case pgwire.Bind:
		size = min(size, maxNames)
	case pgwire.FunctionCall:
		if size < pgwire.HeaderLen+4 {
			c.violation("no function")
			return true
		}
		size = pgwire.HeaderLen + 4
	case pgwire.Describe, pgwire.Close:
		if size > maxNames {
			c.violation("name too long")
			return true
		}
	case pgwire.Sync, pgwire.Flush, pgwire.Execute, pgwire.CopyDone:
		if size > maxNames {
			c.violation("message too long")
			return true
		}
	default:
		return false
	}
	if have >= size {
		return false
	}
	c.conn.Expect(size)
	return true
}

// mustWait tells whether the message can only go out when everything before it is answered. That is so behind a message
// that may change what our books say of statements and settings, for names whose fate an earlier unit decides: one that
// fails skips also what we prepare in it, and for the end of a transaction in a session that is not proven to be restored.
func (c *client) mustWait(s *server, typ byte, frame []byte) bool {
	// What is no plain read must not run outside of a transaction whose BEGIN has failed.
	wait := c.changing || s.unproven && c.endsTransaction(typ, frame) || s.opening && !(c.plain && c.granted)
	switch typ {
	case pgwire.Query:
		wait = wait || c.undecided() && classify.Classify(textOf(frame[pgwire.HeaderLen:])).Flags.Has(classify.StateDeallocate)
	case pgwire.FunctionCall:
	case pgwire.Parse:
		wait = wait || c.reuses(frame) || c.parsesDoubted(s, frame)
	case pgwire.Bind:
		name := boundName(frame)
		wait = wait || c.parsedBefore(name) || s.stmts.doubted(c.stmts[string(name)], c.unitNo)
	case pgwire.Close, pgwire.Describe:
		name, ok := statementName(frame)
		wait = ok && (wait || c.parsedBefore(name) || s.stmts.doubted(c.stmts[string(name)], c.unitNo))
	default:
		return false
	}
	if !wait {
		return false
	}
	if s.owed.n == 0 {
		c.changing = false
		return false
	}
	if c.midUnit && !c.waits {
		s.conn.Write(flushMessage) // or there would be no answers
	}
	c.waits = true
	return true
}

// endsTransaction tells whether a Query or Bind may end a transaction: also the failed one in which the server refuses what
// comes behind settings that it could not take.
func (c *client) endsTransaction(typ byte, frame []byte) bool {
	var st *statement
	switch _, size, _ := pgwire.Header(frame); {
	case typ == pgwire.Query && len(frame) == size:
		st = c.w.texts.query(frame[pgwire.HeaderLen:])
	case typ == pgwire.Query: // too long to be looked into
	case typ != pgwire.Bind:
		return false
	default:
		if name := boundName(frame); len(name) == 0 {
			st = c.unnamed
		} else {
			st = c.stmts[string(name)]
		}
	}
	return st == nil || st.class.Class == classify.Unknown || st.class.Flags.Has(classify.EndsTx)
}

// undecided tells whether units that are not answered yet have parsed something.
func (c *client) undecided() bool { return c.parsedIn > c.unitNo-uint64(c.inFlight) }

// parsedBefore tells whether name may be among the statements of units that are not answered yet.
func (c *client) parsedBefore(name []byte) bool {
	if !c.undecided() {
		return false
	}
	if len(name) == 0 {
		return !c.parsedUnnamed
	}
	return string(name) != c.parsedName
}

// sendSync passes a Sync on and reports whether it ends the unit.
func (c *client) sendSync(s *server, frame []byte) bool {
	if !s.joined {
		s.conn.Write(frame)
	}
	if c.copyIn {
		return false // in copy-in mode the server ignores it
	}
	s.skipping = false
	set := c.bound
	if set != nil && (c.binds != 1 || c.executes != 1) {
		if c.executes > 0 {
			c.doubt(set) // its fate depends on what is around it
		}
		set = nil
	}
	e := expectation{kind: kindSync, set: set, wrote: c.wrote, tx: s.tx, leaves: s.leaves}
	if s.joined {
		e.action = synthesise
	}
	s.expect(e)
	c.bound, c.binds, c.executes, c.wrote, s.tx, s.leaves = nil, 0, 0, false, 0, false
	c.inFlight++
	return true
}

// keepUnbooked is for a change of settings that is under way and not followed by its Sync.
func (c *client) keepUnbooked() {
	if c.bound != nil {
		c.doubt(c.bound)
		c.bound = nil
	}
}

// sent notes that a message is sent whole, and perhaps with it the unit.
func (c *client) sent(unit bool) {
	if s := c.server; s != nil && s.skipping {
		unit = false // it failed before all of this was sent, and ends with a Sync
	}
	if unit {
		c.midUnit = false
		c.granted = false
		if c.seat == seatTaken {
			c.seat = seatAboard
		}
		c.unitNo++
		if c.parsedAny {
			c.parsedIn = c.unitNo
		}
		c.parsedAny, c.parsedUnnamed, c.parsedName = false, false, ""
	}
	if s := c.server; s != nil && !c.midUnit && s.owed.n == 0 {
		c.w.settleLater(s) // all was answered before all was sent, as when a COPY fails early
	}
}

// brake stops reading the client while its server takes no more, or owes too much.
func (c *client) brake(s *server) {
	if s.conn.Congested() || s.owed.n >= maxOwed {
		c.stall()
	}
}

// stall stops reading the client.
func (c *client) stall() {
	c.stalled = true
	c.conn.PauseReading()
}

// resume goes on after stall and mustWait.
func (c *client) resume() {
	s := c.server
	if c.stalled {
		if c.conn.Congested() || s != nil && (s.conn.Congested() || s.owed.n >= maxOwed/2) {
			return
		}
		c.readOn()
	} else if !c.waits {
		return
	}
	if c.waits && s != nil && s.owed.n > 0 {
		return
	}
	c.waits = false
	c.pump()
}
