package pgpool

import (
	"bytes"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A statement that a server has had prepared for long is refused when a change of a table has changed the type of its
// result (0A000 from RevalidateCachedQuery in plancache.c). Drivers that have learned the type before count on that: they
// read rows by it, and parse anew when they get the error. But a client that has parsed the statement just now would not
// meet it directly, nor does it harm one that asks for the type again. So for these the unit is run once more with a new
// statement, if it is not in a transaction, the client has seen nothing of it and has sent nothing behind it.
//
// The others keep the old statement, which a server that does not have it must not prepare again: its rows would be of
// the new type.

var (
	notSupported    = []byte("\x00C0A000\x00")
	revalidateQuery = []byte("\x00RRevalidateCachedQuery\x00")
)

// outdated is a statement name that no server has: what is sent under it is refused, and told as outdatedError.
const outdated = statementPrefix + "outdated"

// outdatedError is the body of what RevalidateCachedQuery says.
const outdatedError = "SERROR\x00VERROR\x00C0A000\x00Mcached plan must not change result type\x00RRevalidateCachedQuery\x00\x00"

func refusesPlan(frame []byte) bool {
	return bytes.Contains(frame, notSupported) && bytes.Contains(frame, revalidateQuery)
}

// spoils notes that an error is about a plan that is out of date. Within a transaction the change may be rolled back.
func (s *server) spoils(e *expectation, frame []byte) {
	if e.stmt == nil || !s.stmts.has(e.stmt) || !refusesPlan(frame) {
		return
	}
	s.client.w.texts.forget(e.stmt)
	if s.status == pgwire.Idle {
		e.stmt.outdated = true
	}
}

// outdatedPlan tells whether an error is that of an outdated plan and the unit can be run again.
func (s *server) outdatedPlan(frame []byte) bool {
	c, e := s.client, s.owed.first()
	if e.stmt == nil || e.kind != kindBind && e.kind != kindDescribe || !s.stmts.has(e.stmt) || !refusesPlan(frame) {
		return false
	}
	if c.inFlight != 1 || c.midUnit || s.status != pgwire.Idle || !c.learns(e.stmt, s.unit) {
		return false
	}
	s.outdated = e.stmt
	return true
}

// learns tells whether a unit parses st, or asks for the type of all results of st in it.
func (c *client) learns(st *statement, unit []byte) bool {
	undescribed := false // the last Bind is of st
	for len(unit) >= pgwire.HeaderLen {
		typ, size, ok := pgwire.Header(unit)
		if !ok || size > len(unit) {
			return false
		}
		frame := unit[:size]
		unit = unit[size:]
		switch typ {
		case pgwire.Parse:
			if name, _, _ := pgwire.CString(frame[pgwire.HeaderLen:]); len(name) > 0 && c.stmts[string(name)] == st {
				return true
			}
		case pgwire.Bind:
			if undescribed {
				return false
			}
			undescribed = c.stmts[string(boundName(frame))] == st
		case pgwire.Describe:
			if name, ok := statementName(frame); ok && c.stmts[string(name)] == st {
				return true
			}
			undescribed = undescribed && (len(frame) == pgwire.HeaderLen || frame[pgwire.HeaderLen] != 'P')
		}
	}
	return !undescribed
}

// renew gives the client a new statement of the same text.
func (c *client) renew(old *statement) {
	fresh := c.w.texts.find([]byte(old.body), c.set.searchPath())
	for name, st := range c.stmts {
		if st == old {
			c.stmts[name] = fresh
		}
	}
}

// replan runs the unit again on the same server, where the old statement stays for those who keep it.
func (s *server) replan() {
	c, old := s.client, s.outdated
	s.repeat, s.tentative, s.outdated = false, false, nil
	c.renew(old)
	c.free()
	c.replay = append([]byte(nil), s.unit...)
	c.midUnit, c.granted, c.inFlight = false, true, 0
	c.binds, c.executes = 0, 0
	if c.tx != nil { // which the unit is outside of
		c.status = pgwire.InBlock
	}
	c.pump()
}
