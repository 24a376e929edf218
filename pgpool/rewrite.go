// HOT PATH

package pgpool

import (
	"bytes"
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

const (
	// maxText bounds the Query and Parse messages that are looked into, in bytes. Longer ones are passed on unread and pin.
	maxText = 16 << 20
	// maxNames bounds the names at the start of Bind, Describe and Close, in bytes.
	maxNames = 16 << 10
	// maxGather bounds what is gathered of a unit before it gets a server whatever comes after, in bytes.
	maxGather = 256 << 10
)

// sendQuery passes a simple Query on.
func (c *client) sendQuery(s *server, frame []byte, whole bool) {
	c.keepUnbooked()
	e := expectation{kind: kindQuery, wrote: true, prev: c.unnamed, prevOf: s.unnamed}
	if whole {
		st, body := c.unit, frame[pgwire.HeaderLen:]
		if st == nil || st.body != string(body) { // inside a transaction units are not scanned
			st = c.w.texts.query(body)
		}
		c.refers(st)
		c.wrote = false
		if st.token != nil {
			if st = c.vetToken(st, ""); st.token != nil && st.token.route {
				st = c.ownRoute(st, "")
			}
			e.shows = st.shows()
		}
		if st.reworded {
			frame = pgwire.AppendQuery(nil, string(textOf([]byte(st.body))))
		}
		e.set = c.effect(st)
		e.wrote, e.tx, e.leaves = c.wrote, s.tx, s.leaves
		if name := st.deallocated(); name != "" {
			frame = c.deallocate(&e, name, frame)
		}
		if st.class.Flags.Has(classify.Pids) {
			if sql, changed := c.w.pooler.serverPIDs(textOf([]byte(st.body)), s.addr); changed {
				frame = pgwire.AppendQuery(nil, string(sql))
			}
		}
	}
	c.wrote, s.tx, s.leaves = false, 0, false
	if s.joined {
		s.asPart(frame, e)
	} else {
		s.conn.Write(frame)
		s.expect(e)
	}
	c.inFlight++
	s.unnamed, c.unnamed = nil, nil // exec_simple_query in postgres.c drops it
}

// deallocate returns the Query that stands for DEALLOCATE of name: drivers use SQL to drop the statements that they made
// with Parse. The server keeps such a statement for others, if it has it at all. It only says whether the command is
// allowed now, by one that does nothing, and the answer gets the tag that the client expects (receive). A Parse of ours
// ahead of it, so that there be something to drop, would be the end of the Query if it failed.
func (c *client) deallocate(e *expectation, name string, frame []byte) []byte {
	st := c.stmts[name]
	switch {
	case st != nil:
		e.stmt, e.name = st, name
		delete(c.stmts, name)
		return doNothing
	case strings.HasPrefix(name, statementPrefix):
		e.name = name
		return pgwire.AppendQuery(nil, "DEALLOCATE "+absent) // the pooler's own statements are nobody's
	}
	return frame
}

// doNothing is refused in a failed transaction and has no effect in any other.
var doNothing = pgwire.AppendQuery(nil, "UNLISTEN "+absent)

// sendParse passes a Parse on, or answers it here if the server has the statement.
func (c *client) sendParse(s *server, frame []byte, whole bool) {
	name, body, ok := pgwire.CString(frame[pgwire.HeaderLen:])
	if !ok || !whole {
		e := expectation{kind: kindParse, again: true}
		if ok && len(name) == 0 {
			// Too long to be remembered, but no other statement must be taken for it.
			st := &statement{name: c.w.texts.names.next(), class: classify.Result{Class: classify.Unknown}}
			e = expectation{kind: kindParse, unnamed: true, stmt: st, prev: c.unnamed, prevOf: s.unnamed}
			s.unnamed, c.unnamed = st, st
		}
		s.conn.Write(frame)
		s.expect(e)
		return
	}
	if len(name) == 0 {
		st := c.w.texts.find(body, "")
		c.refers(st)
		if st.token != nil {
			st = c.vetToken(st, "")
		}
		if st.reworded {
			frame = pgwire.AppendParse(nil, "", st.body)
		}
		s.conn.Write(frame)
		s.expect(expectation{kind: kindParse, unnamed: true, stmt: st, prev: c.unnamed, prevOf: s.unnamed})
		s.unnamed, c.unnamed = st, st
		c.parsedUnnamed = true
		return
	}
	s.pool.stats.clientParses++
	st := c.w.texts.find(body, c.set.searchPath())
	c.refers(st)
	if st.token != nil {
		st = c.vetToken(st, c.set.searchPath())
	}
	if old := c.stmts[string(name)]; old != nil && len(c.replay) == 0 {
		// The server refuses it with 42P05, as it must.
		s.prepare(old)
		s.conn.SetBuffer(pgwire.AppendParse(s.conn.Buffer(len(old.body)+64), old.name, old.body))
		s.expect(expectation{kind: kindParse, again: true, stmt: old, name: string(name)})
		return
	}
	e := expectation{kind: kindParse, stmt: st, name: string(name)}
	if c.stmts == nil {
		c.stmts = make(map[string]*statement)
	}
	c.stmts[e.name] = st
	c.parsedName = e.name
	if s.stmts.use(st) {
		if c.inFlight == 0 && c.status != pgwire.InFailed {
			s.synthesise(e)
			return
		}
		s.forget(st) // only the server can tell whether it takes a Parse: the transaction may have failed by then
	}
	s.prepare(st)
	last := s.owed.at(s.owed.n - 1)
	last.action, last.name = forward, e.name
}

// reuses tells whether a Parse is of a name that the client has in use.
func (c *client) reuses(frame []byte) bool {
	name, _, ok := pgwire.CString(frame[pgwire.HeaderLen:])
	return ok && len(name) > 0 && c.stmts[string(name)] != nil
}

// parsesDoubted tells whether an earlier unit decides whether the server has what a Parse is of.
func (c *client) parsesDoubted(s *server, frame []byte) bool {
	if len(s.stmts.unsure) == 0 {
		return false
	}
	name, body, ok := pgwire.CString(frame[pgwire.HeaderLen:])
	return ok && len(name) > 0 && s.stmts.doubted(c.w.texts.find(body, c.set.searchPath()), c.unitNo)
}

// sendBind passes a Bind on under the server's name for the statement, preparing it there first if need be. frame may end
// before the message does.
func (c *client) sendBind(s *server, frame []byte, size int) {
	portal, rest, ok := pgwire.CString(frame[pgwire.HeaderLen:])
	name, values, ok2 := pgwire.CString(rest)
	if !ok || !ok2 {
		if len(frame) < size {
			c.violation("name too long")
			return
		}
		s.conn.Write(frame)
		s.expect(expectation{kind: kindBind})
		return
	}
	st, to := c.target(s, name)
	e := expectation{kind: kindBind}
	rewritten := to != string(name)
	if st != nil && st.token != nil && st.token.route {
		if other := c.ownRoute(st, c.set.searchPath()); other != st {
			s.prepare(other)
			st, to, e.name, rewritten = other, other.name, string(name), true
		}
	}
	if st != nil && st.class.Flags.Has(classify.Pids) && len(frame) == size {
		if other := c.withServerPIDs(st, s.addr); other != st {
			s.prepare(other)
			st, to, e.name, rewritten = other, other.name, string(name), true
		}
		if own, changed := c.w.pooler.boundPIDs(values, s.addr); changed {
			size += len(own) - len(values)
			values, rewritten = own, true
		}
	}
	e.stmt = st
	if to == absent {
		e.name = string(name)
	}
	c.binds++
	c.shows = st != nil && st.shows()
	if len(name) > 0 {
		s.pool.stats.binds++
	}
	if st == nil { // prepared by SQL
		c.wrote = true
		s.sequencesOf = c
		c.runsPrepared(s)
	} else {
		set := c.effect(st)
		if set != nil {
			c.keepUnbooked()
			c.bound = set
		}
		if s.due.inValues {
			s.due.inValues = false
			s.due.values(values)
		}
	}
	if !rewritten {
		s.conn.Write(frame)
	} else {
		out := s.conn.Buffer(size + len(to))
		out = pgwire.AppendHeader(out, pgwire.Bind, size-pgwire.HeaderLen-len(name)+len(to))
		out = append(append(out, portal...), 0)
		out = append(append(out, to...), 0)
		s.conn.SetBuffer(append(out, values...))
	}
	s.expect(e)
}

// boundName returns the name of a Bind's statement.
func boundName(frame []byte) []byte {
	_, rest, _ := pgwire.CString(frame[pgwire.HeaderLen:])
	name, _, _ := pgwire.CString(rest)
	return name
}

// absent is a statement name that no server has: it makes the server refuse a message as it would have directly.
const absent = statementPrefix + "absent"

// target finds the statement that the client calls name, makes sure that the server has it, and returns the server's
// name for it. A statement that the pooler does not know, made by SQL perhaps, keeps its name.
func (c *client) target(s *server, name []byte) (*statement, string) {
	if len(name) == 0 {
		st := c.unnamed
		switch {
		case st == nil:
			return nil, absent
		case s.unnamed != st:
			s.conn.SetBuffer(pgwire.AppendParse(s.conn.Buffer(len(st.body)+16), "", st.body))
			s.expect(expectation{kind: kindParse, action: swallow, unnamed: true, stmt: st, prevOf: s.unnamed})
			s.unnamed = st
		}
		return st, ""
	}
	st := c.stmts[string(name)]
	switch {
	case st != nil && st.outdated && !s.stmts.has(st):
		return st, outdated
	case st != nil:
		s.prepare(st)
		return st, st.name
	case bytes.HasPrefix(name, []byte(statementPrefix)):
		return nil, absent // the pooler's own statements are nobody's
	}
	return nil, string(name)
}

// sendDescribe passes a Describe on.
func (c *client) sendDescribe(s *server, frame []byte) {
	e := expectation{kind: kindDescribe}
	if name, ok := statementName(frame); ok {
		st, to := c.target(s, name)
		e.stmt = st
		if to == absent {
			e.name = string(name)
		}
		c.sendNamed(s, pgwire.Describe, to)
	} else {
		s.conn.Write(frame)
	}
	s.expect(e)
}

// sendClose answers the Close of a statement here: the server keeps it for others.
func (c *client) sendClose(s *server, frame []byte) {
	name, ok := statementName(frame)
	if st := c.stmts[string(name)]; ok && st != nil {
		delete(c.stmts, string(name))
		s.synthesise(expectation{kind: kindClose, stmt: st, name: string(name)})
		return
	}
	e := expectation{kind: kindClose}
	switch {
	case ok && len(name) == 0:
		e.unnamed, e.prev, e.prevOf = true, c.unnamed, s.unnamed
		s.unnamed, c.unnamed = nil, nil
	case ok && bytes.HasPrefix(name, []byte(statementPrefix)):
		s.synthesise(e) // there is no such statement, which is no error
		return
	}
	s.conn.Write(frame)
	s.expect(e)
}

// statementName returns the name in a Describe or Close of a statement, not of a portal.
func statementName(frame []byte) ([]byte, bool) {
	body := frame[pgwire.HeaderLen:]
	if len(body) < 2 || body[0] != 'S' {
		return nil, false
	}
	i := bytes.IndexByte(body, 0)
	if i < 0 {
		return nil, false
	}
	return body[1:i], true
}

// sendNamed sends a Describe of a statement.
func (c *client) sendNamed(s *server, typ byte, name string) {
	out := s.conn.Buffer(len(name) + 16)
	out = pgwire.AppendHeader(out, typ, len(name)+2)
	out = append(out, 'S')
	s.conn.SetBuffer(append(append(out, name...), 0))
}

// form is what a unit is made of.
type form uint8

const (
	formNone form = iota // nothing that is run yet
	formOne              // one statement that is run: a Query, or a Bind behind its Parse or of what was prepared before
	formOther
)

// scan is how far the unit at the front of the client's bytes has been looked at.
type scan struct {
	pos    int32      // bytes
	end    int32      // where the unit ends, once all of it was looked at
	parsed *statement // the last Parse
	name   string     // and its name

	why       routeReason // what in it first is, or may be, no read
	form      form        // whether it can be in a batch, as far as that is up to its messages
	named     bool        // it has a Bind of a statement that servers may have prepared long ago
	renewable bool        // and ends with Sync

	marks marks
}

// scanUnit looks at the unit that starts at b. whole is false while bytes are missing; then the connection gathers them.
func (c *client) scanUnit(b []byte) (d decision, whole bool) {
	unknown := decision{why: forUnknown}
	for sc := &c.scan; ; {
		rest := b[sc.pos:]
		if sc.pos >= maxGather {
			return unknown, true
		}
		if len(rest) < pgwire.HeaderLen {
			return unknown, false
		}
		typ, size, ok := pgwire.Header(rest)
		if !ok || size > c.w.maxPacket {
			return unknown, true // refused when its turn comes
		}
		switch typ {
		case pgwire.Query, pgwire.Parse:
			if size > maxText {
				return unknown, true
			}
			if len(rest) < size {
				c.conn.Expect(int(sc.pos) + size)
				return unknown, false
			}
			body := rest[pgwire.HeaderLen:size]
			if typ == pgwire.Query {
				c.unit = c.w.texts.query(body)
				c.refers(c.unit)
				d := c.decide(c.unit)
				sc.note(d)
				if c.tx != nil || !sc.has(hasBind) && c.unit.class.Flags.Has(classify.OpensTx) {
					c.see(c.unit, d)
				}
				sc.mark(wasWhole, true)
				sc.form, sc.end = formOne, sc.pos+int32(size)
				return sc.decision(), true
			}
			name, text, ok := pgwire.CString(body)
			if !ok {
				return unknown, true
			}
			if sc.parsed != nil || len(name) > 0 {
				sc.form = formOther
			}
			sc.parsed, sc.name = c.w.texts.find(text, ""), string(name)
			c.unit = sc.parsed
			c.refers(c.unit)
			sc.note(c.decide(sc.parsed))
			sc.named = sc.named || sc.name != ""
		case pgwire.Bind:
			if len(rest) < size && len(rest) < maxNames {
				c.conn.Expect(int(sc.pos) + min(size, maxNames))
				return unknown, false
			}
			st := c.bindTarget(rest[pgwire.HeaderLen:min(size, len(rest))])
			c.unit = st
			d := unknown
			if st != nil {
				d = c.decide(st)
			}
			sc.note(d)
			if c.tx != nil || sc.has(opensReadOnly) || st != nil && !sc.has(hasBind) && st.class.Flags.Has(classify.OpensTx) {
				c.see(st, d)
			}
			switch {
			case sc.form != formNone || st == nil || sc.parsed == nil && st == c.unnamed || sc.parsed != nil && st != sc.parsed:
				sc.form = formOther
			default:
				sc.form = formOne
			}
			sc.mark(hasBind, true)
			if len(rest) > pgwire.HeaderLen && rest[pgwire.HeaderLen] != 0 {
				sc.form = formOther
			}
			sc.mark(tiesDown, len(rest) > pgwire.HeaderLen && rest[pgwire.HeaderLen] != 0) // a portal with a name
			sc.named = sc.named || st != nil && c.unnamed != st
		case pgwire.Sync:
			sc.renewable = sc.named
			sc.mark(wasWhole, true)
			sc.end = sc.pos + int32(size)
			return sc.decision(), len(rest) >= size
		case pgwire.Flush, pgwire.FunctionCall:
			return unknown, true // a Flush wants its answers now, and what follows is not known
		case pgwire.Describe: // of another statement, which one before it in the batch may be preparing
			if body := rest[pgwire.HeaderLen:]; len(body) > 1 && (body[1] != 0 || body[0] == 'P' && !sc.has(hasBind)) {
				sc.form = formOther
			}
		case pgwire.Execute:
			if !sc.has(hasBind) || len(rest) > pgwire.HeaderLen && rest[pgwire.HeaderLen] != 0 {
				sc.form = formOther
			}
		case pgwire.Close:
			sc.form = formOther
		default:
			return unknown, true
		}
		if len(rest) < size {
			if int(sc.pos)+size > maxGather {
				return unknown, true
			}
			c.conn.Expect(int(sc.pos) + size)
			return unknown, false
		}
		if typ == pgwire.Execute {
			sc.executes(rest[pgwire.HeaderLen:size])
		}
		sc.pos += int32(size)
	}
}

// note takes in what was decided for a part: a replica must be able to run all of them.
func (sc *scan) note(d decision) {
	if sc.why < forAlone {
		if !d.read || d.why > sc.why {
			sc.why = d.why
		}
	}
}

// decision is what holds for all that was scanned.
func (sc *scan) decision() decision { return decision{sc.why < forAlone, sc.why} }

// bindTarget finds the statement of a Bind that has not been sent yet.
func (c *client) bindTarget(body []byte) *statement {
	_, rest, ok := pgwire.CString(body)
	if !ok {
		return nil
	}
	name, _, ok := pgwire.CString(rest)
	switch {
	case !ok:
		return nil
	case c.scan.parsed != nil && string(name) == c.scan.name:
		return c.scan.parsed
	case len(name) == 0:
		return c.unnamed
	}
	return c.stmts[string(name)]
}
