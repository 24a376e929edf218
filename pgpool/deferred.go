// HOT PATH

package pgpool

import (
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A BEGIN by itself takes no server. It is answered here, and sent ahead of the first statement behind it, whose kind then
// decides where the transaction runs (readonly.go). So an application that begins early, or for nothing, holds nothing, and
// now() is the time of that statement. A transaction that fails before a server knows of it, because its client cancels, is
// kept failed here (aborted.go).

// transaction is what is known of the transaction that a client is in, if it began here or runs on a replica.
type transaction struct {
	begin   *statement // what opens it; nil: its client has sent that with more
	modes   classify.Modes
	primary bool      // it is to run there: a hint or a rule says so
	began   time.Time // when the client was told

	sent   bool // a server runs it
	moves  bool // nothing so far ties it to the replica where it runs
	ending bool // what is sent may end it
	alone  bool // the unit at hand is a read that runs outside of it: reads_until_write
}

// beginHere gives the client a transaction that no server knows of.
func (c *client) beginHere(begin *statement, m classify.Modes) {
	w := c.w
	if n := len(w.spare); n > 0 {
		c.tx, w.spare = w.spare[n-1], w.spare[:n-1]
	} else {
		c.tx = &transaction{}
	}
	*c.tx = transaction{begin: begin, modes: m, began: w.loop.Now()}
	w.open++
}

// endHere forgets the client's transaction.
func (c *client) endHere() {
	if len(c.w.spare) < maxSpare {
		c.w.spare = append(c.w.spare, c.tx)
	}
	c.tx = nil
	c.w.open--
}

// maxSpare bounds the transactions that a worker keeps for use again.
const maxSpare = 1 << 10

// answersHere answers the unit at b if it needs no server: a BEGIN, the end of a transaction that no server knows of, or a
// SHOW whose answer is known. It returns the unit's size; 0 if it is something else.
func (c *client) answersHere(b []byte) int {
	st := c.unit
	if st == nil || st.class.Statements != 1 {
		return 0
	}
	switch flags := st.class.Flags; {
	case c.tx == nil && flags == classify.OpensTx && c.policy.Mode == TransactionMode:
		return c.defersBegin(b)
	case c.tx != nil && flags&^classify.OpensTx == classify.EndsTx:
		return c.endsHere(b)
	case flags == 0 && len(st.body) > 5 && st.body[0]|0x20 == 's' && st.body[1]|0x20 == 'h':
		return c.showsHere(b)
	}
	return 0
}

// begun is what a statement asks for that is one BEGIN.
type begun struct {
	modes classify.Modes
	ok    bool // it is one, and all of it is understood
}

// opens returns the modes that a statement asks for which is one BEGIN and is understood.
func (s *statement) opens() (m classify.Modes, ok bool) {
	if s.begun == nil {
		m, rest, ok := classify.Begins(textOf([]byte(s.body)))
		s.begun = &begun{m, ok && len(rest) == 0}
	}
	return s.begun.modes, s.begun.ok
}

// defersBegin answers the BEGIN at b.
func (c *client) defersBegin(b []byte) int {
	u, ok := c.single(b)
	if !ok {
		return 0
	}
	m, ok := u.st.opens()
	if !ok {
		return 0
	}
	c.beginHere(u.st, m)
	why := c.decide(u.st).why
	c.tx.primary = why == forHint || why == forRoute
	tag := "BEGIN"
	if m.Start {
		tag = "START TRANSACTION"
	}
	c.answer(b, &u, nil, tag, pgwire.InBlock)
	return u.size
}

// endsHere answers the COMMIT or ROLLBACK at b.
func (c *client) endsHere(b []byte) int {
	u, ok := c.single(b)
	if !ok {
		return 0
	}
	e, ok := classify.Ends(textOf([]byte(u.st.body)))
	if !ok {
		return 0
	}
	tag, status := "ROLLBACK", byte(pgwire.Idle)
	if e.Commit {
		tag = "COMMIT"
	}
	if e.Chain {
		c.tx.began = c.w.loop.Now()
		status = pgwire.InBlock
	} else {
		c.endHere()
	}
	c.group.here.xacts++
	c.answer(b, &u, nil, tag, status)
	if e := c.mustLeave(); e != nil {
		c.refuse(e)
	}
	return u.size
}

// open sends the BEGIN of the client's transaction to its server, ahead of the unit at hand.
func (s *server) open(t *transaction) {
	text, _, _ := strings.Cut(t.begin.body, "\x00")
	s.run(text)
	s.owed.at(s.owed.n - 1).opens = true
	t.sent, t.ending = true, false
	s.opening, s.hosts = true, s.readOnly
}

// failHere fails the client's transaction, which no server knows of, at the unit at b. It returns how much of b that takes.
func (c *client) failHere(b []byte, e *pgwire.Error) int {
	c.failed()
	typ, size, _ := pgwire.Header(b)
	out := pgwire.AppendErrorResponse(c.conn.Buffer(256), e)
	if typ == pgwire.Query || typ == pgwire.FunctionCall {
		out = pgwire.AppendReadyForQuery(out, c.status)
	} else {
		c.midUnit = true // up to its Sync, it is skipped
	}
	c.conn.SetBuffer(out)
	n := min(size, len(b))
	c.body, c.bodyTo = size-n, false
	return n
}

// failed notes that the client's transaction has failed and no server knows.
func (c *client) failed() {
	if c.tx != nil {
		c.endHere()
	}
	c.status, c.since = pgwire.InFailed, c.w.loop.Now()
	c.w.aborted[c] = &aborted{here: true}
}
