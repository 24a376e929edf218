package pgpool

import (
	"bytes"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A statement that a server has had prepared for long is refused when a change of a table has changed the type of its
// result (0A000 from RevalidateCachedQuery in plancache.c). A client that has parsed it just now would not meet that
// directly: there its Parse makes a new one. So the unit is run once more, after the server has forgotten the statement,
// if it is not in a transaction, the client has seen nothing of it and has sent nothing behind it.

var (
	notSupported    = []byte("\x00C0A000\x00")
	revalidateQuery = []byte("\x00RRevalidateCachedQuery\x00")
)

// outdatedPlan tells whether an error is that of an outdated plan and the unit can be run again.
func (s *server) outdatedPlan(frame []byte) bool {
	c, e := s.client, s.owed.first()
	if e.stmt == nil || e.kind != kindBind && e.kind != kindDescribe || !bytes.Contains(frame, notSupported) || !bytes.Contains(frame, revalidateQuery) {
		return false
	}
	if c.inFlight != 1 || c.midUnit || s.status != pgwire.Idle {
		return false
	}
	s.outdated = e.stmt
	return true
}

// replan runs the unit again on the same server.
func (s *server) replan() {
	c, st := s.client, s.outdated
	s.repeat, s.tentative, s.outdated = false, false, nil
	s.stmts.remove(st)
	s.conn.SetBuffer(pgwire.AppendCloseStatement(s.conn.Buffer(64), st.name))
	s.expect(expectation{kind: kindClose, action: swallow, stmt: st})
	s.conn.Write(flushMessage) // its answer may be waited for (mustWait)
	c.free()
	c.replay = append([]byte(nil), s.unit...)
	c.midUnit, c.granted, c.inFlight = false, true, 0
	c.binds, c.executes = 0, 0
	c.pump()
}
