// HOT PATH

package pgpool

import (
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A transaction that only reads runs on a replica from its first statement to its end, if that statement is one that a
// replica can run as the primary would. One that is not, behind others, takes the transaction to the primary as long as
// nothing ties it to where it runs: it is READ COMMITTED, and was sent nothing but plain reads. From then on what would leave
// something on the replica is refused here, and all else is left to the replica, which refuses writes with the primary's own
// words. A replica cannot do SERIALIZABLE.

// modes are a new transaction's, with what its session has as defaults; IsolationDefault means that it is not known.
func (c *client) modes(m classify.Modes) (classify.Access, classify.Isolation) {
	if m.Access == classify.AccessDefault {
		m.Access = classify.ReadWrite
		if v, ok := c.sessionDefault("default_transaction_read_only"); ok && isOn(v) {
			m.Access = classify.ReadOnly
		}
	}
	if m.Isolation == classify.IsolationDefault {
		m.Isolation = c.isolation()
	}
	return m.Access, m.Isolation
}

// isolation is that of the session's transactions that name none.
func (c *client) isolation() classify.Isolation {
	switch v, _ := c.sessionDefault("default_transaction_isolation"); {
	case strings.EqualFold(v, "read committed") || strings.EqualFold(v, "read uncommitted"):
		return classify.ReadCommitted
	case strings.EqualFold(v, "repeatable read"):
		return classify.RepeatableRead
	case strings.EqualFold(v, "serializable"):
		return classify.Serializable
	}
	return classify.IsolationDefault
}

// sessionDefault returns what a setting is in the client's session, as far as is known.
func (c *client) sessionDefault(name string) (string, bool) {
	if v, ok := c.set.find(name); ok {
		return strings.Trim(v.value, `'" `), true
	}
	if known := c.group.shared.catalog.Load(); known != nil {
		if v, ok := known.defaults[name]; ok && v.known {
			return v.value, true
		}
	}
	v, ok := (*c.group.shared.welcome.Load())[name]
	return v, ok
}

// isOn reads a boolean setting (parse_bool in bool.c).
func isOn(v string) bool {
	v = strings.ToLower(v)
	return v == "1" || v == "on" || v != "" && (strings.HasPrefix("true", v) || strings.HasPrefix("yes", v))
}

// onReplica tells whether a transaction of these modes may run on a replica.
func onReplica(access classify.Access, isolation classify.Isolation) bool {
	return access == classify.ReadOnly && (isolation == classify.ReadCommitted || isolation == classify.RepeatableRead)
}

// marks are what a unit is for a transaction that only reads.
type marks uint8

const (
	wasWhole      marks = 1 << iota // all of it was looked at
	hasBind                         // there is a Bind
	opensReadOnly                   // it opens such a transaction
	isUnfit                         // something in it is not for one on a replica
	leavesThere                     // and would leave something on the replica
	tiesDown                        // there is more than reads that end with the unit
	mayEnd                          // it may end the transaction
)

func (sc *scan) mark(m marks, yes bool) {
	if yes {
		sc.marks |= m
	}
}

func (sc *scan) has(m marks) bool { return sc.marks&m != 0 }

// maxPieces bounds the statements of one string that are looked at one by one.
const maxPieces = 32

// see takes in what a statement is for a transaction that only reads. d is what was decided for it alone.
func (c *client) see(st *statement, d decision) {
	sc := &c.scan
	switch {
	case st == nil:
		sc.marks |= isUnfit | tiesDown | mayEnd
	case st.class.Statements > 1:
		sc.marks |= tiesDown
		c.seeAll(st)
	case c.tx == nil && !sc.has(opensReadOnly):
		m, ok := st.opens()
		reads := ok && !m.Deferrable && onReplica(c.modes(m)) && d.why != forHint && d.why != forRoute
		sc.mark(opensReadOnly, reads)
		sc.mark(isUnfit, !reads)
	case d.read || d.why == forIsolation:
		sc.mark(tiesDown, st.class.Statements == 0) // there is nothing to read
	case st.passes(d):
		sc.marks |= tiesDown
		sc.mark(mayEnd, st.class.Flags.Has(classify.EndsTx))
	default:
		sc.marks |= isUnfit | tiesDown
		sc.mark(mayEnd, st.class.Flags.Has(classify.EndsTx) || st.class.Class >= classify.Write)
		sc.mark(leavesThere, st.leavesThere())
	}
}

// seeAll takes in the statements of a string.
func (c *client) seeAll(st *statement) {
	rest := textOf([]byte(st.body))
	for range maxPieces {
		var piece []byte
		if piece, rest = classify.Split(rest); len(piece) == 0 {
			return
		}
		part := &statement{body: string(piece) + "\x00", class: classify.Classify(piece), primaryOnly: st.primaryOnly}
		part.class.Hint = st.class.Hint
		c.see(part, c.decide(part))
	}
	c.scan.marks |= isUnfit | mayEnd
}

// leavesThere tells whether a replica would run a statement whose effect is meant for the primary, or for a session that
// stays.
func (s *statement) leavesThere() bool {
	const lasts = classify.StatePrepare | classify.StateListen | classify.StateUnlisten | classify.StateAdvisoryLock | classify.StateCursor |
		classify.StateLoad | classify.StateSeed | classify.StateOther | classify.Notifies
	switch r := &s.class; {
	case r.Flags.Has(lasts) || r.Class == classify.Listen:
		return true
	case r.Class == classify.Lock:
		return classify.LocksTable(textOf([]byte(s.body)))
	default:
		return r.Class == classify.Write && strings.Contains(s.body, "advisory") // until the end of the transaction
	}
}

// passes tells whether a statement that is no read can run within a transaction on a replica and leaves nothing.
func (s *statement) passes(d decision) bool {
	switch d.why {
	case forHint, forRoute, forRefusal, forFunction, forRelation:
		return false
	}
	switch r := &s.class; r.Class {
	case classify.Savepoint:
		return r.Flags == 0
	case classify.Commit, classify.Rollback:
		return r.Flags&^classify.OpensTx == classify.EndsTx
	case classify.CopyOut:
		return r.Flags == classify.Copy
	default:
		return classify.Passing(textOf([]byte(s.body)), r)
	}
}

// executes takes in an Execute: a portal that outlives its unit ties the transaction to its server.
func (sc *scan) executes(body []byte) {
	sc.mark(tiesDown, !sc.has(hasBind) || string(body) != "\x00\x00\x00\x00\x00")
}

// fits tells whether a transaction on a replica may take the unit in.
func (sc *scan) fits() bool { return sc.marks&(wasWhole|isUnfit) == wasWhole }

// plain tells whether the unit is reads and nothing else.
func (sc *scan) plain() bool { return sc.fits() && !sc.has(tiesDown) }

// place decides where the transaction that no server knows of runs from the unit on that was scanned. d is what was decided
// for the unit alone.
func (c *client) place(sc *scan, d decision) decision {
	t := c.tx
	t.alone, t.moves = false, false
	access, isolation := c.modes(t.modes)
	switch {
	case t.primary:
		return decision{why: forHint}
	case onReplica(access, isolation) && !t.modes.Deferrable && sc.fits():
		t.moves = isolation == classify.ReadCommitted && sc.plain()
		return decision{true, forReadOnly}
	case access == classify.ReadWrite && c.policy.ReadsUntilWrite && isolation == classify.ReadCommitted && sc.plain():
		t.alone = true
		return decision{true, d.why}
	case d.read || d.why == forIsolation:
		return decision{why: forTransaction}
	}
	return d
}

// goesOn decides about the next unit, at b, of a client whose server is a replica: only within a transaction is it for the
// same server. ready is false when the client must wait, or when n bytes of b have been dealt with.
func (c *client) goesOn(s *server, b []byte) (n int, ready bool) {
	switch b[0] {
	case pgwire.Flush, pgwire.CopyData, pgwire.CopyDone, pgwire.CopyFail, pgwire.Terminate:
		return 0, true // these are no unit
	}
	t := c.tx
	if t == nil || !t.sent || t.ending || s.tentative {
		switch {
		case s.owed.n > 0:
			c.waits = true // the answer tells whether there is a transaction
			return 0, false
		case t == nil || !t.sent || s.status == pgwire.Idle:
			return 0, false // it is about to be given back
		}
		t.ending = false
	}
	if s.status == pgwire.InFailed && s.owed.n == 0 {
		c.scan = scan{} // it may have been looked at in part
		c.granted, t.ending = true, true
		return 0, true
	}
	d, whole := c.scanUnit(b)
	if !whole {
		return 0, false
	}
	sc := c.scan
	c.scan = scan{}
	if !sc.fits() {
		switch {
		case !t.moves && !sc.has(leavesThere):
			sc.marks |= mayEnd
		case s.owed.n > 0:
			c.waits = true
			return 0, false
		case t.moves:
			t.sent, t.moves = false, false
			c.plain, c.reruns = false, 0
			s.abandon()
			return 0, c.acquire(decision{why: d.why})
		default:
			s.abandon()
			t.sent = false
			return c.failHere(b, onReplicaOnly.with()), false
		}
	}
	t.moves = t.moves && sc.plain()
	t.ending = sc.has(mayEnd)
	c.granted = true
	return 0, true
}

// abandon parts a replica from its client, whose transaction there is given up.
func (s *server) abandon() {
	c := s.client
	s.unlink()
	c.free()
	s.cleanUp()
}

// cleanUp ends the transaction that was given up, before the server is used again.
func (s *server) cleanUp() {
	s.inReset, s.since = true, s.pool.w.loop.Now()
	s.run("ROLLBACK")
	if s.due.any() {
		s.discard()
	}
}

// opened notes that a unit has opened a transaction on a replica.
func (s *server) opened() {
	s.client.beginHere(nil, classify.Modes{Access: classify.ReadOnly})
	s.client.tx.sent, s.hosts = true, true
}
