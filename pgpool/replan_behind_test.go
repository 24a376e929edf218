package pgpool

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// holdBehind is a network to PostgreSQL that holds back what comes behind the first message with mark until it is told to
// go on.
type holdBehind struct {
	ln         net.Listener
	mark       string
	held, goOn chan struct{}
	passed     bool
}

// carry passes one connection on.
func (h *holdBehind) carry(t *testing.T, client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", pg.Addr(0))
	if err != nil {
		t.Error(err)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		io.Copy(server, client)
	}()
	defer func() { server.Close(); client.Close(); <-done }()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		b := buf[:n]
		if at := bytes.Index(b, []byte(h.mark)); at >= 0 && !h.passed {
			h.passed = true
			end := at + bytes.Index(b[at:], []byte("\x00\x00")) + 2 // of the ErrorResponse
			client.Write(b[:end])
			close(h.held)
			<-h.goOn
			b = b[end:]
		}
		if _, err := client.Write(b); err != nil {
			return
		}
	}
}

// What a client sends while a unit is about to be run again, because its plan was out of date, waits for that: it must
// not be run with the first attempt, whose answers are dropped, and again with the second.
func TestNothingRunsTwiceBehindAnOutdatedPlan(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &holdBehind{ln: ln, mark: "RRevalidateCachedQuery", held: make(chan struct{}), goOn: make(chan struct{})}
	carried := make(chan struct{})
	go func() {
		defer close(carried)
		if nc, err := ln.Accept(); err == nil {
			h.carry(t, nc)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-carried })
	p := start(t, 1, func(c *Config) {
		srv := testServer(t, 0)
		srv.Addr = ln.Addr().String()
		c.Tuning.Databases = fallback(srv)
		c.Tuning.Defaults.PoolSize = 1
	})
	admin := direct(t, 0)
	mustExec(t, admin, "drop table if exists changes, once; create table changes(a int); create table once(v int)")
	w, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer w.nc.Close()
	w.nc.SetDeadline(time.Now().Add(deadline))
	w.play(step{parse("s", "select * from changes"), describe('S', "s"), bind("", "s"), execute("", 0), syncs}, whole)
	mustExec(t, admin, "alter table changes add b int")
	var b []byte
	for _, m := range (step{bind("", "s"), describe('P', ""), execute("", 0), syncs}) {
		b = append(b, m.encode()...)
	}
	w.nc.Write(b)
	select {
	case <-h.held:
	case <-time.After(deadline):
		t.Fatal("the plan was not out of date")
	}
	before := p.passedOn(t)
	w.nc.Write(query("insert into once values (1)").encode())
	waitFor(t, "the next unit to arrive", func() bool {
		clients := p.Console().Clients()
		return len(clients) == 1 && clients[0].Unread > 0 || p.passedOn(t) != before
	})
	close(h.goOn)
	types := ""
	for range len("2TCZCZ") {
		m, err := w.read()
		if err != nil {
			t.Fatalf("%v behind %s", err, types)
		}
		types += string(m.typ)
	}
	if types != "2TCZCZ" {
		t.Errorf("answered %s", types)
	}
	var n int
	if err := admin.QueryRow(t.Context(), "select count(*) from once").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// passedOn is how many bytes of clients have gone to servers.
func (p *testPooler) passedOn(t *testing.T) uint64 {
	t.Helper()
	var n uint64
	p.each(func(w *worker) {
		for _, g := range w.groups {
			for _, pl := range g.pools {
				n += pl.stats.received
			}
		}
	})
	return n
}
