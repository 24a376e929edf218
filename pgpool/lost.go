package pgpool

import (
	"bytes"
	"errors"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A server connection that ends takes with it what ran there, and not the client: each unit that is not answered gets an
// error and ReadyForQuery, and the client goes on with another server. A transaction stays failed until the client ends
// it (aborted.go): none of its statements may run outside of it. Only who has left something on the server that no other
// has, or stands in the middle of a message, loses its connection.

// What a unit does to the transaction it runs in, of expectation.tx.
const (
	txOpens     = byte(classify.OpensTx)
	txEnds      = byte(classify.EndsTx)
	txRollsBack = 1 << 7 // it is a ROLLBACK and nothing else
)

// txOf tells what a statement does to the transaction.
func txOf(st *statement) byte {
	tx := byte(st.class.Flags) & (txOpens | txEnds)
	if st.class.Class == classify.Rollback && st.class.Statements == 1 && tx == txEnds {
		tx |= txRollsBack
	}
	return tx
}

// statusAfter is a client's transaction state behind a unit whose server was lost. What may have begun a transaction
// leaves a failed one: what the client sends next may count on it.
func statusAfter(status, tx byte) byte {
	switch tx & (txOpens | txEnds) {
	case txOpens:
		return pgwire.InFailed
	case txEnds:
		return pgwire.Idle
	}
	if status != pgwire.Idle { // of both, a unit ends what it has begun, or begins anew what it has ended
		return pgwire.InFailed
	}
	return pgwire.Idle
}

// Codes with which a server that goes down parts: 57P01 admin_shutdown, 57P02 crash_shutdown and their like.
var goingDown = []byte("\x00C57P0")

// spares takes what a server says before it closes the connection. It reports whether the client survives that: then it
// is told in the shape of an error, for each unit that is lost with the connection.
func (s *server) spares(frame []byte) bool {
	if s.client == nil || s.takesAlong(s.client) != "" {
		return false
	}
	s.words = asError(frame)
	return true
}

// lastWord takes an error with which the server closes the connection. It reports whether the client gets it as it is.
func (s *server) lastWord(frame []byte) bool {
	s.told = !s.spares(frame)
	return s.told
}

// asError makes an ERROR of a message of any other severity.
func asError(frame []byte) []byte {
	out := append(make([]byte, 0, len(frame)+8), pgwire.ErrorResponse, 0, 0, 0, 0)
	for body := frame[pgwire.HeaderLen:]; len(body) > 1 && body[0] != 0; {
		end := bytes.IndexByte(body, 0)
		if end < 0 {
			break
		}
		switch field := body[:end+1]; field[0] {
		case 'S', 'V':
			out = append(append(out, field[0]), "ERROR\x00"...)
		default:
			out = append(out, field...)
		}
		body = body[end+1:]
	}
	out = append(out, 0)
	pgwire.AppendHeader(out[:0], pgwire.ErrorResponse, len(out)-pgwire.HeaderLen)
	return out
}

// takesAlong names what the client cannot do without and what goes with the server, or returns "".
func (s *server) takesAlong(c *client) string {
	const untransacted = traceLock | tracePrepared | traceUnknown // a failed transaction leaves these as they are
	switch {
	case c.policy.Mode == SessionMode:
		return "the session: pool_mode is session"
	case c.body > 0 && c.bodyTo && c.bodyEnd:
		return "a message that was sent in part"
	case s.readOnly:
		return ""
	case c.pin != notPinned && c.pin != pinSequence:
		return "what the session had there: " + c.pin.String()
	case s.left || len(s.inspections) > 0 || s.leftInTx && s.due.kinds&untransacted != 0:
		return "what statements have left in the session: it was not known yet"
	}
	return ""
}

// forsake tells the client of a connection that has ended.
func (s *server) forsake(c *client, err error) {
	if err == nil {
		err = errEnded
	}
	if !s.readOnly {
		c.raiseFloor() // what it sent may have been committed
		c.tellOthers()
	}
	switch taken := s.takesAlong(c); {
	case c.closing || errors.Is(err, netloop.ErrStopped):
		s.part(c)
	case s.runsAgain(c):
		unit := s.unit
		if !s.repeat { // counted already
			s.pool.stats.repeated++
		}
		for i := s.owed.n - 1; i >= 0; i-- { // it finds the books as it did the first time
			s.undo(s.owed.at(i), true)
		}
		s.part(c)
		c.repeat(unit, decision{true, forRead})
	case s.told || s.body > 0 && !s.bodyDrop: // it has been told, or is in the middle of a message, where no error can be
		s.part(c)
		c.goodbye()
	case taken != "":
		s.part(c)
		c.refuse(sessionLost.with(err, taken))
	default:
		c.survive(s, err)
	}
}

// part separates a client from a connection that has ended.
func (s *server) part(c *client) {
	s.client, c.server, c.seat = nil, nil, seatNone
	if s.cancelNext != nil {
		s.cancelDue()
	}
	c.runsOn.Store(nil)
	c.fence = nil
	s.notifier.Store(0)
	s.pool.account(s)
}

// survive answers what the lost server has not, and lets the client go on.
func (c *client) survive(s *server, err error) {
	if t := c.tx; t != nil && !t.sent && s.owed.n == 0 && !c.midUnit { // what ran there is answered, and was no part of it
		s.part(c)
		c.released()
		return
	}
	words := s.words
	if words == nil {
		words = pgwire.AppendErrorResponse(nil, serverLost.with(err))
	}
	held := s.restoring || c.fence != nil // of a unit that is answered but for its ReadyForQuery
	untold := c.status == pgwire.InBlock && s.owed.n == 0 && !c.midUnit && !held
	c.status = c.answerLost(s, words)
	if c.tx != nil {
		c.endHere()
	}
	if held {
		c.conn.Write(pgwire.AppendReadyForQuery(nil, c.status))
	}
	if untold {
		c.status = pgwire.InFailed
		c.w.aborted[c] = &aborted{words: words}
	}
	c.inFlight, c.binds, c.executes = 0, 0, 0
	c.bound, c.parsedAny, c.parsedUnnamed, c.parsedName = nil, false, false, ""
	c.wrote, c.copyIn, c.notifies, c.granted, c.changing = false, false, false, false, false
	if c.pin == pinSequence {
		c.setPin(notPinned, nil) // the next currval says that there is no value
	}
	s.part(c)
	if c.between() && !c.midUnit {
		c.released()
		return
	}
	c.free()
	c.since = c.w.loop.Now()
	c.pump()
}

// answerLost answers the units that the server owes answers to, and takes back what they have changed in the books. It
// returns the state of the client's transaction behind them. The client's last unit may not be sent whole: then what
// follows of it is skipped (client.skip).
func (c *client) answerLost(s *server, words []byte) (status byte) {
	status = c.status
	told, tagged := s.failed, s.tagged // of the first unit
	fail := func() {
		if !told {
			c.conn.Write(words)
		}
		told = true
	}
	for s.owed.n > 0 {
		e := s.owed.first()
		if e.kind == kindCopyEnd || e.kind == kindQuery && e.action != forward {
			told = told && e.kind == kindCopyEnd // an error was about our own query
			s.owed.pop()
			continue
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
			fail()
			if s.owed.n == 0 {
				break // its Sync is still to come
			}
			e = s.owed.first()
		}
		if e.kind == kindQuery && e.stmt != nil {
			c.stmts[e.name] = e.stmt // it was not deallocated
		}
		if e.kind == kindQuery && e.tx&txRollsBack != 0 && status != pgwire.Idle && !told {
			if !tagged { // it was, one way or another
				c.conn.Write(rolledBack)
			}
		} else {
			fail()
		}
		status = statusAfter(status, e.tx)
		s.owed.pop()
		c.conn.Write(pgwire.AppendReadyForQuery(nil, status))
		told, tagged = false, false
	}
	if c.midUnit {
		told = told || s.skipping
		fail()
		status = statusAfter(status, s.tx)
	} else if status != pgwire.Idle {
		status = pgwire.InFailed
	}
	return status
}

var rolledBack = append(pgwire.AppendHeader(nil, pgwire.CommandComplete, 9), "ROLLBACK\x00"...)

// skip drops what is left of a unit whose server was lost before all of it was sent, as a server does behind an error, up
// to the Sync.
func (c *client) skip(typ byte, size int, b []byte) int {
	switch {
	case typ == pgwire.Terminate:
		c.close(nil)
		return 0
	case typ != pgwire.Sync:
		n := min(size, len(b))
		c.body, c.bodyTo = size-n, false
		return n
	case size > maxNames:
		c.violation("message too long")
		return 0
	case len(b) < size:
		c.conn.Expect(size)
		return 0
	}
	c.midUnit = false
	if c.status == pgwire.Idle {
		c.conn.Write(c.readyIdle())
		if e := c.mustLeave(); e != nil {
			c.refuse(e)
		}
		return size
	}
	c.conn.Write(pgwire.AppendReadyForQuery(nil, c.status))
	return size
}
