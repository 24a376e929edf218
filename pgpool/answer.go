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
		case e.kind == kindSync:
			if s.tentative && !s.repeat {
				s.commit()
			}
			pass, replaced := s.ready(e, pgwire.Idle)
			if pass {
				replaced = readyIdle
			}
			s.deliver(replaced)
			if s.unitEnds(); s.conn.Closing() {
				return
			}
			continue
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
		s.replied += len(b)
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
		if s.tentative && decisive(typ, b[pos:end]) && !s.holdsBack(typ) && !s.ours() && !s.repeatable(typ, b[pos:end]) {
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
		if s.ended {
			s.deliver(b[start:pos])
			start = pos
			if s.unitEnds(); c.Closing() {
				break
			}
		}
		if s.owed.n > 0 && (s.owed.first().action == synthesise || s.owed.first().kind == kindCopyEnd) {
			s.deliver(b[start:pos])
			start = pos
			if s.answerHere(); c.Closing() {
				break
			}
		}
	}
	s.deliver(b[start:pos])
	if c.Closing() {
		return len(b)
	}
	if len(s.ran) > 0 && s.owed.n == 0 {
		s.noted(s.pool.w.loop.Now())
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

// unitEnds is called when all answers to a unit are passed on.
func (s *server) unitEnds() {
	s.ended = false
	s.note()
	if s.joined {
		s.alight()
	}
}

// ours tells whether the answer at hand is to a query of our own.
func (s *server) ours() bool {
	return s.owed.n > 0 && s.owed.first().kind == kindQuery && s.owed.first().action == swallow
}

// holdsBack tells whether the rows of a unit in a batch wait for its end: while its client has seen none of them it can be
// run again, when what is behind it in the batch does not end, or it fails itself.
func (s *server) holdsBack(typ byte) bool {
	return s.joined && typ == pgwire.DataRow && len(s.early) < maxEarly
}

// maxEarly bounds what is held back, in bytes.
const maxEarly = 64 << 10

// decisive tells whether a message ends the time in which a unit can be repeated: after it there is something that the
// client must see, or an error to look at.
func decisive(typ byte, frame []byte) bool {
	switch typ {
	case pgwire.CommandComplete:
		return !bytes.HasPrefix(frame[pgwire.HeaderLen:], tagBegin) && !bytes.HasPrefix(frame[pgwire.HeaderLen:], tagStart)
	case pgwire.ParseComplete, pgwire.BindComplete, pgwire.CloseComplete, pgwire.ParameterDescription,
		pgwire.RowDescription, pgwire.NoData, pgwire.ParameterStatus, pgwire.NoticeResponse:
		return false
	}
	return true
}

// What a server says when a transaction has begun, and nothing else in it.
var (
	tagBegin = []byte("BEGIN\x00")
	tagStart = []byte("START TRANSACTION\x00")
)

var readyIdle = pgwire.AppendReadyForQuery(nil, pgwire.Idle)
