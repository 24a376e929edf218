package pgpool

import (
	"strings"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A transaction whose server was lost is failed until the client ends it, as one is on a server after an error. It has no
// server: what the client sends is refused here, and the end of the transaction is answered here (PostgreSQL:
// IsAbortedTransactionBlockState in xact.c).
//
// One thing is different. A client that did nothing when the server was lost does not know of it yet, and drivers take a
// COMMIT that is answered by the tag ROLLBACK for a success: what it sends first gets the reason as an error, COMMIT as
// well.

// aborted is what is known of such a transaction besides the client's status. Few clients have one: worker.aborted.
type aborted struct {
	here   bool       // it failed before it got a server
	words  []byte     // the error that the client has not been told yet
	portal string     // that was bound last,
	bound  *statement // and to what; nil: to nothing
}

// transEnd says how a statement ends a transaction that has failed.
type transEnd byte

const (
	goesOn    transEnd = iota
	rollsBack          // ROLLBACK
	commits            // COMMIT, PREPARE TRANSACTION: they roll back
	rollsBackTo
	doesNothing // an empty text
)

// endOf reads a text of one statement.
func endOf(text string) transEnd {
	r := classify.Classify([]byte(text))
	switch w := (words{text: text}); {
	case r.Statements == 0 && r.Class == classify.Read:
		return doesNothing
	case r.Statements != 1 || r.Flags.Has(classify.OpensTx): // AND CHAIN: of what it would begin, nothing is known any more
		return goesOn
	case r.Class == classify.Rollback:
		return rollsBack
	case r.Flags.Has(classify.EndsTx):
		return commits
	case r.Class == classify.Savepoint:
		if w.nextCode(); w.word == "rollback" || w.word == "abort" {
			return rollsBackTo
		}
	}
	return goesOn
}

// leadingEnd splits a text that ends the transaction first and then does more. It returns what follows the first
// semicolon.
func leadingEnd(text string) (end transEnd, rest string) {
	for w := (words{text: text}); ; {
		before := w.pos
		between := w.nextCode()
		if i := strings.IndexByte(between, ';'); i >= 0 && end != goesOn && strings.TrimSpace(between[:i]) == "" {
			return end, text[before:]
		}
		switch {
		case strings.TrimSpace(between) != "":
			return goesOn, ""
		case w.word == "rollback" || w.word == "abort":
			end = rollsBack
		case w.word == "commit" || w.word == "end":
			end = commits
		case end != goesOn && (w.word == "work" || w.word == "transaction"):
		default:
			return goesOn, ""
		}
	}
}

// inAborted handles the message at b of a client in such a transaction.
func (c *client) inAborted(typ byte, size int, b []byte) int {
	whole := len(b) >= size
	if !whole && size <= maxNames {
		c.conn.Expect(size)
		return 0
	}
	n := min(size, len(b))
	c.body, c.bodyTo = size-n, false // too long to be the end of a transaction
	body := b[pgwire.HeaderLen:n]
	switch typ {
	case pgwire.Terminate:
		c.close(nil)
		return 0
	case pgwire.Query:
		if whole {
			c.queryInAborted(string(textOf(body)))
			break
		}
		fallthrough
	case pgwire.FunctionCall:
		c.refuseAborted()
		fallthrough
	case pgwire.Sync:
		c.conn.Write(failedReady)
	case pgwire.Flush, pgwire.CopyData, pgwire.CopyDone, pgwire.CopyFail:
	case pgwire.Parse, pgwire.Bind, pgwire.Describe, pgwire.Execute, pgwire.Close:
		if !whole || !c.extendedInAborted(typ, body) {
			c.refuseAborted()
			c.midUnit = true
		}
	default:
		c.violation("unknown message type")
		return 0
	}
	return n
}

var emptyQuery = []byte{pgwire.EmptyQuery, 0, 0, 0, 4}

var (
	failedReady = pgwire.AppendReadyForQuery(nil, pgwire.InFailed)
	blockReady  = pgwire.AppendReadyForQuery(nil, pgwire.InBlock)
)

// queryInAborted handles a simple Query.
func (c *client) queryInAborted(text string) {
	end := endOf(text)
	if end == goesOn {
		first, rest := leadingEnd(text)
		if first == rollsBack || first == commits && !c.untold() {
			c.leaveAborted()
			// Outside of a transaction a ROLLBACK does nothing and has its tag, and the rest runs as it would have.
			c.replay = pgwire.AppendQuery(nil, "ROLLBACK"+rest)
			c.pump()
			return
		}
		end = first
	}
	c.runEnd(end, text)
	if c.status != pgwire.Idle {
		c.conn.Write(failedReady)
		return
	}
	c.conn.Write(c.readyIdle())
	if e := c.mustLeave(); e != nil {
		c.refuse(e)
	}
}

// extendedInAborted handles a message of the extended protocol. It reports false if the message is to be refused.
func (c *client) extendedInAborted(typ byte, body []byte) bool {
	a := c.w.aborted[c]
	if a == nil {
		a = &aborted{}
		c.w.aborted[c] = a
	}
	switch typ {
	case pgwire.Parse:
		name, text, ok := pgwire.CString(body)
		if !ok || endOf(string(textOf(text))) == goesOn || c.stmts[string(name)] != nil {
			return false
		}
		if len(name) == 0 {
			c.unnamed = c.w.texts.find(text, "")
		} else {
			if c.stmts == nil {
				c.stmts = make(map[string]*statement)
			}
			c.stmts[string(name)] = c.w.texts.find(text, c.set.searchPath())
		}
		c.conn.Write(parseComplete)
	case pgwire.Bind:
		portal, rest, _ := pgwire.CString(body)
		name, values, ok := pgwire.CString(rest)
		st := c.named(name)
		if !ok || st == nil || st.end() == goesOn || st.end() == doesNothing || !withoutParameters(values) {
			return false
		}
		a.portal, a.bound = string(portal), st
		c.conn.Write(bindComplete)
	case pgwire.Describe:
		name, ok := describedName(body)
		switch {
		case !ok:
			return false
		case body[0] == 'P' && a.bound != nil && a.portal == name:
		case body[0] == 'S' && c.named([]byte(name)) != nil && c.named([]byte(name)).end() != goesOn:
			c.conn.Write(noParameters)
		default:
			return false
		}
		c.conn.Write(noData)
	case pgwire.Close:
		name, ok := describedName(body)
		if !ok {
			return false
		}
		switch {
		case body[0] == 'P':
			a.bound = nil
		case name == "":
			c.unnamed = nil
		default:
			delete(c.stmts, name)
		}
		c.conn.Write(closeComplete)
	case pgwire.Execute:
		portal, _, ok := pgwire.CString(body)
		if !ok || a.bound == nil || a.portal != string(portal) {
			return false
		}
		if c.runEnd(a.bound.end(), string(textOf([]byte(a.bound.body)))) {
			c.midUnit = true
		}
	}
	return true
}

// named is the statement that the client calls name.
func (c *client) named(name []byte) *statement {
	if len(name) == 0 {
		return c.unnamed
	}
	return c.stmts[string(name)]
}

// end tells how the statement ends a transaction that has failed.
func (s *statement) end() transEnd { return endOf(string(textOf([]byte(s.body)))) }

// describedName is the name in the body of a Describe or Close.
func describedName(body []byte) (string, bool) {
	if len(body) == 0 {
		return "", false
	}
	name, _, ok := pgwire.CString(body[1:])
	return string(name), ok
}

// runEnd answers a statement that ends the transaction, or refuses it. It reports whether it was an error.
func (c *client) runEnd(end transEnd, text string) (failed bool) {
	switch {
	case end == rollsBack, end == commits && !c.untold():
		c.leaveAborted()
		c.conn.Write(rolledBack)
		return false
	case end == doesNothing && !c.untold():
		c.conn.Write(emptyQuery)
		return false
	case end == commits:
		c.refuseAborted()
		c.leaveAborted()
	case end == rollsBackTo && !c.untold():
		c.conn.SetBuffer(pgwire.AppendErrorResponse(c.conn.Buffer(256), savepointLost.with(savepointName(text))))
	default:
		c.refuseAborted()
	}
	return true
}

// refuseAborted tells why nothing is run.
func (c *client) refuseAborted() {
	if c.untold() {
		a := c.w.aborted[c]
		c.conn.Write(a.words)
		a.words = nil
		return
	}
	why := transactionLost
	if a := c.w.aborted[c]; a != nil && a.here {
		why = transactionAborted
	}
	c.conn.SetBuffer(pgwire.AppendErrorResponse(c.conn.Buffer(256), why.with()))
}

// untold tells whether the client does not know yet that its transaction has failed.
func (c *client) untold() bool {
	a := c.w.aborted[c]
	return a != nil && a.words != nil
}

func (c *client) leaveAborted() {
	c.status = pgwire.Idle
	c.since = c.w.loop.Now()
	delete(c.w.aborted, c)
}

// savepointName returns the name that ends a ROLLBACK TO.
func savepointName(text string) string {
	fields := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n;\"", r) })
	if len(fields) == 0 {
		return ""
	}
	return fields[len(fields)-1]
}
