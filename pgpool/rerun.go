// HOT PATH

package pgpool

import (
	"bytes"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A unit that has come to nothing through no fault of its own is run again, as long as the client has seen nothing of it:
//
//   - what a replica refuses as a write, on the primary;
//   - a read on a replica whose connection was lost, or that a conflict with recovery has ended, on another server;
//   - a plain read that was alone on the primary when the connection was lost, wherever reads go then;
//   - a plain read that has failed in a batch, with all that was behind it there (batch.go).
//
// Nothing else is: what may have written may have happened.

// maxReruns bounds how often a read is run again. One that brings servers down must not get around to all of them.
const maxReruns = 2

// runsAgain tells whether the unit under way when the connection ended is run again.
func (s *server) runsAgain(c *client) bool {
	return s.tentative && len(s.unit) > 0 && (s.repeat || (s.readOnly || s.alone) && c.reruns < maxReruns)
}

// repeatable handles the message that decides: it reports true, and sets the unit up to be repeated, if the server has
// not run it.
func (s *server) repeatable(typ byte, frame []byte) bool {
	if s.repeat {
		return true
	}
	if typ != pgwire.ErrorResponse {
		return false
	}
	switch c := s.client; {
	case s.joined: // alone it gets the answer that is its own
		if s.timedOut || s.hit && bytes.Contains(frame, queryCancelled) {
			return false
		}
		s.outdatedPlan(frame)
	case s.outdatedPlan(frame):
	case s.readOnly && bytes.Contains(frame, readOnlyViolation):
		c.refusedAsWrite()
	case s.readOnly && s.refusesHere(frame):
	case c.reruns >= maxReruns:
		return false
	case s.readOnly && (bytes.Contains(frame, serialization) || bytes.Contains(frame, deadlock)):
		s.conflict = true // a replica knows neither but from recovery (ProcessInterrupts in postgres.c)
	case s.readOnly && bytes.Contains(frame, fatalSeverity):
	case s.alone && bytes.Contains(frame, fatalSeverity) && !bytes.Contains(frame, processInterrupts): // the server has crashed
	case s.alone && bytes.Contains(frame, fatalSeverity) && s.pool.group.readsElsewhere(c):
		// Elsewhere. On the same server it would be what an administrator has ended.
	default:
		return false
	}
	s.repeat = true
	s.early = s.early[:0]
	s.pool.stats.repeated++
	return true
}

// Fields of an ErrorResponse: what a replica answers to a write and to a read that recovery cannot wait for, and the
// untranslated severity.
var (
	readOnlyViolation = []byte("\x00C25006\x00")
	serialization     = []byte("\x00C40001\x00")
	deadlock          = []byte("\x00C40P01\x00")
	fatalSeverity     = []byte("\x00VFATAL\x00")
	panicSeverity     = []byte("\x00VPANIC\x00")
	queryCancelled    = []byte("\x00C57014\x00")
	processInterrupts = []byte("\x00RProcessInterrupts\x00") // of pg_terminate_backend and shutdown
)

// repeat runs unit, which has come to nothing, again.
func (c *client) repeat(unit []byte, d decision) {
	c.free()
	c.reruns++
	c.plain = c.plain && d.read // what a replica has refused as a write is not run twice on primaries
	c.replay = append([]byte(nil), unit...)
	c.midUnit, c.granted, c.inFlight = false, false, 0
	c.binds, c.executes, c.bound, c.wrote = 0, 0, nil, false
	c.status = pgwire.Idle
	if t := c.tx; t != nil { // it is as if it had not been opened yet
		c.status = pgwire.InBlock
		t.sent, t.alone = false, t.alone && d.read
	}
	if c.acquire(d) {
		c.pump()
	}
}

// refusedAsWrite remembers that the unit at hand is no read.
func (c *client) refusedAsWrite() {
	if c.unit != nil {
		c.unit.primaryOnly = true
		c.w.texts.keep(c.unit)
	}
}

// elsewhere says where a unit goes that a replica has answered with an error.
func (s *server) elsewhere() decision {
	if _, ok := s.pool.group.shared.up.roles.Primary(); !ok && s.conflict {
		return decision{true, forRead}
	}
	return decision{why: forRefusal}
}

// readsElsewhere tells whether what the client reads would go to a replica now.
func (g *group) readsElsewhere(c *client) bool {
	if len(g.pools) == 1 {
		return false
	}
	own := c.ownReplica()
	p, f := g.choose(c, own, g.shared.up.primary())
	return f == fitnessUsable && (own < 0 || p.index == own)
}
