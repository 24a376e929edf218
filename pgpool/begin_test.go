package pgpool

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// hears reads up to the next ReadyForQuery, or the end of the connection, and returns the code of the error that came and
// the state of the transaction, 0 at the end.
func (w *wire) hears() (code string, status byte) {
	for {
		m, err := w.read()
		if err != nil {
			return code, 0
		}
		switch m.typ {
		case pgwire.ErrorResponse:
			code = pgwire.ParseError(m.body).Code
		case pgwire.ReadyForQuery:
			return code, m.body[0]
		}
	}
}

// A write that stands behind a BEGIN which fails on the server is not run: it would be by itself.
func TestNoWriteRunsBesideABeginThatFails(t *testing.T) {
	var inserts atomic.Int32
	o := startOdd(t, nil, func(_ int, nc net.Conn, sql string) bool {
		if strings.HasPrefix(sql, "insert") {
			inserts.Add(1)
		}
		b := pgwire.AppendErrorResponse(nil, &pgwire.Error{Severity: "ERROR", Code: "57014", Message: "odd cancel"})
		nc.Write(pgwire.AppendReadyForQuery(b, pgwire.Idle))
		return true
	})
	w := o.startBefore(t).wire(t)
	w.send(t, "begin")
	if code, status := w.hears(); code != "" || status != pgwire.InBlock {
		t.Fatalf("begin: %q, state %q", code, status)
	}
	w.send(t, "insert into t values (1)")
	if code, _ := w.hears(); code != "57014" {
		t.Errorf("the write: %q", code)
	}
	if n := inserts.Load(); n != 0 {
		t.Errorf("%d writes outside of the transaction", n)
	}
}

// A client that cancels while its BEGIN is on the way is in a failed transaction, as on a server.
func TestCancelBehindABegin(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	var inserts atomic.Int32
	o := startOdd(t, nil, func(_ int, nc net.Conn, sql string) bool {
		if strings.HasPrefix(sql, "insert") {
			inserts.Add(1)
			return false
		}
		close(begun)
		<-release
		nc.Write(pgwire.AppendReadyForQuery(message{pgwire.CommandComplete, cstrings("BEGIN")}.encode(), pgwire.InBlock))
		return true
	})
	w := o.startBefore(t).wire(t)
	defer close(release) // whatever fails here, the server ends
	w.send(t, "begin")
	w.hears()
	w.send(t, "insert into t values (1)")
	<-begun
	w.cancel()
	if code, status := w.hears(); code != "57014" || status != pgwire.InFailed {
		t.Fatalf("cancelled: %q, state %q", code, status)
	}
	w.send(t, "insert into t values (1)")
	if code, status := w.hears(); code != "25P02" || status != pgwire.InFailed {
		t.Fatalf("behind that: %q, state %q", code, status)
	}
	w.send(t, "rollback")
	if code, status := w.hears(); code != "" || status != pgwire.Idle {
		t.Fatalf("rollback: %q, state %q", code, status)
	}
	if n := inserts.Load(); n != 0 {
		t.Errorf("%d writes came to the server", n)
	}
}

// Nor is one that takes a transaction which has read on a replica to the primary, where its BEGIN fails.
func TestNoWriteRunsBesideABeginThatMovesAndFails(t *testing.T) {
	var inserts atomic.Int32
	primary := startStub(t, func(_ int, sql string) []byte {
		switch {
		case strings.HasPrefix(sql, "insert"):
			inserts.Add(1)
		case strings.HasPrefix(sql, "begin read only"):
			return failing("57014", pgwire.Idle)
		}
		return answer(sql)
	})
	replica := startStub(t, func(_ int, sql string) []byte {
		switch {
		case strings.HasPrefix(sql, "begin read only"):
			return tagged("BEGIN", pgwire.InBlock)
		case strings.HasPrefix(sql, "select 1"):
			return answerIn(sql)
		}
		return answer(sql)
	})
	p := startBeforeBoth(t, primary, replica)
	w := p.committed(t)
	for _, sql := range []string{"begin read only", "select 1"} {
		w.send(t, sql)
		if code, status := w.hears(); code != "" || status != pgwire.InBlock {
			t.Fatalf("%s: %q, state %q", sql, code, status)
		}
	}
	w.send(t, "insert into t values (1)")
	if code, _ := w.hears(); code != "57014" {
		t.Errorf("the write: %q", code)
	}
	p.settled(t, 0) // and the server has answered what came behind
	if n := inserts.Load(); n != 0 {
		t.Errorf("%d writes outside of the transaction", n)
	}
}
