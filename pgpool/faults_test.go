package pgpool

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// fault is what happens to a connection after so many bytes in one direction.
type fault struct {
	fromServer bool // the bytes that count are the server's
	after      int
	then       func(client, server *net.TCPConn) // nil: silence, both ways
}

func cutOff(client, server *net.TCPConn) { client.Close(); server.Close() }

func resetBoth(client, server *net.TCPConn) {
	client.SetLinger(0)
	server.SetLinger(0)
	cutOff(client, server)
}

// faultyWire is a network between the pooler and PostgreSQL.
type faultyWire struct {
	ln     net.Listener
	target string
	ended  chan struct{}

	running sync.WaitGroup
	mu      sync.Mutex
	links   map[*link]struct{} // under mu
}

// link is one connection through a faultyWire.
type link struct {
	client, server *net.TCPConn

	mu    sync.Mutex
	fault *fault // under mu; bytes count from when it is set
}

func startFaulty(t *testing.T) *faultyWire { return startFaultyTo(t, pg.Addr(0)) }

func startFaultyTo(t *testing.T, target string) *faultyWire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &faultyWire{ln: ln, target: target, ended: make(chan struct{}), links: make(map[*link]struct{})}
	f.accept(ln)
	t.Cleanup(func() {
		f.ln.Close()
		close(f.ended)
		f.mu.Lock()
		for l := range f.links {
			cutOff(l.client, l.server)
		}
		f.mu.Unlock()
		f.running.Wait()
	})
	return f
}

func (f *faultyWire) accept(ln net.Listener) {
	f.running.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			f.running.Go(func() { f.carry(nc.(*net.TCPConn)) })
		}
	})
}

func (f *faultyWire) carry(client *net.TCPConn) {
	defer client.Close()
	nc, err := net.Dial("tcp", f.target)
	if err != nil {
		return
	}
	defer nc.Close()
	l := &link{client: client, server: nc.(*net.TCPConn)}
	f.mu.Lock()
	f.links[l] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.links, l)
	}()
	var both sync.WaitGroup
	both.Go(func() { l.pass(f, l.server, l.client, false) })
	both.Go(func() { l.pass(f, l.client, l.server, true) })
	both.Wait()
}

// pass carries what comes from one side to the other.
func (l *link) pass(f *faultyWire, to, from *net.TCPConn, fromServer bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		l.mu.Lock()
		fault, happens := l.fault, false
		if fault != nil {
			switch {
			case fault.after <= 0: // it is silent already
				happens = true
				n = 0
			case fault.fromServer == fromServer:
				fault.after -= n
				if happens = fault.after <= 0; happens {
					n += fault.after
				}
			}
		}
		l.mu.Unlock()
		if _, failed := to.Write(buf[:n]); failed != nil || err != nil {
			to.CloseWrite()
			return
		}
		if happens {
			if fault.then != nil {
				fault.then(l.client, l.server)
				return
			}
			<-f.ended
			return
		}
	}
}

// arm makes a fault happen to each connection that there is.
func (f *faultyWire) arm(is fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.links {
		l.mu.Lock()
		own := is
		l.fault = &own
		l.mu.Unlock()
	}
}

// startBehind runs a pooler of one server connection over f.
func (f *faultyWire) startBehind(t *testing.T, change func(*Config)) *testPooler {
	return start(t, 1, func(c *Config) {
		srv := testServer(t, 0)
		srv.Addr = f.ln.Addr().String()
		c.Tuning.Databases = fallback(srv)
		c.Tuning.Defaults.PoolSize = 1
		if change != nil {
			change(c)
		}
	})
}

// startFaultyReplica runs a pooler of one connection to the primary, and one over the network that it returns to the replica.
func startFaultyReplica(t *testing.T, change func(*Config)) (*faultyWire, *testPooler) {
	f := startFaultyTo(t, pg.Addr(1))
	return f, start(t, 1, func(c *Config) {
		replica := testServer(t, 1)
		replica.Addr = f.ln.Addr().String()
		c.Tuning.Databases = fallback(testServer(t, 0), replica)
		c.Tuning.Defaults.PoolSize = 1
		c.Roles = func([]Server) (Roles, error) { return &leaderless{}, nil }
		if change != nil {
			change(c)
		}
	})
}

// descriptors is the number of files that the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	return len(list)
}

// own is a client of the postgres database.
func (p *testPooler) own(t *testing.T) *wire {
	t.Helper()
	w, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	w.patience = deadline
	t.Cleanup(func() { w.nc.Close() })
	return w
}

// works has a client ask something.
func (w *wire) works(t *testing.T, what string) {
	t.Helper()
	got := normalise(w.play(step{query("select '" + what + "'")}, whole))
	if len(got) != 4 || !strings.Contains(got[1], what) {
		t.Fatalf("%s: answered %s", what, lines(got))
	}
}

// answersOf splits what was answered into units.
func answersOf(got []string) (units [][]string) {
	for len(got) > 0 {
		n := 1 + slices.IndexFunc(got, func(line string) bool { return line[0] == 'Z' })
		if n == 0 {
			n = len(got)
		}
		units = append(units, got[:n])
		got = got[n:]
	}
	return units
}

// lostUnit tells what is wrong with the answer to a unit of a pipeline in which a server may have been lost. The right one
// is want.
func lostUnit(got, want []string) string {
	if slices.Equal(got, want) {
		return ""
	}
	n := 0
	for n < len(got) && n < len(want) && got[n] == want[n] {
		n++
	}
	switch rest := got[n:]; {
	case len(rest) == 1 && rest[0][0] == '!': // in the middle of a message
		return ""
	case len(rest) == 2 && rest[1][0] == 'Z' && strings.HasPrefix(rest[0], "E ERROR 08006"):
		return ""
	case len(got) == 2 && got[1] == `Z "E"` && strings.HasPrefix(got[0], "E ERROR 25P02"):
		return ""
	case len(rest) > 0 && strings.HasPrefix(rest[0], "E FATAL"):
		return "it is sent away"
	}
	return fmt.Sprintf("behind %d of %d right answers", n, len(want))
}

// The connection to the server may break at any byte, either way: the client has the answers up to there, nothing made up
// behind them, and is told, unless it is in the middle of a message. It goes on, as the next client does, what comes
// behind in its transaction does not happen, and nothing leaks.
func TestServerConnectionBreaksAtAnyByte(t *testing.T) {
	unit := join(query("select 'mine 1', repeat('x', 300)"), parse("", "select 'mine 2'"), bind("", ""), describe('P', ""), execute("", 0), syncs,
		query("copy (select 'mine 3' from generate_series(1, 3)) to stdout"), query("begin; create temp table gone(x text)"),
		query("copy gone from stdin"), copyData("mine 4\n"), copyData("mine 5\n"), copyDone, query("select * from gone"), query("rollback"))
	f := startFaulty(t)
	p := f.startBehind(t, nil)
	w := p.own(t)
	answers := w.play(unit, whole)
	want := normalise(answers)
	w.nc.Close()
	p.settled(t, 0)
	sent, received := 0, 0
	for _, m := range unit {
		sent += len(m.encode())
	}
	for _, m := range answers {
		received += len(m.encode())
	}
	other := p.own(t)
	other.works(t, "before")
	p.settled(t, 1)
	files := descriptors(t)
	try := func(is fault) {
		t.Helper()
		w := p.own(t)
		other.works(t, "armed")
		p.settled(t, 2)
		f.arm(is)
		got := normalise(w.play(unit, whole))
		f.arm(fault{after: 1 << 40}) // nothing more happens to what is left
		right, cutOff := answersOf(want), got[len(got)-1][0] == '!'
		for i, answer := range answersOf(got) {
			if wrong := lostUnit(answer, right[i]); wrong != "" {
				t.Errorf("%+v: unit %d: %s: %s", is, i, wrong, lines(answer))
			}
		}
		if !cutOff {
			w.works(t, "itself")
		}
		w.nc.Close()
		other.works(t, "afterwards")
		p.settled(t, 1)
	}
	for n := 1; n < received; n += 9 {
		try(fault{fromServer: true, after: n, then: []func(a, b *net.TCPConn){cutOff, resetBoth}[n%2]})
	}
	for n := 1; n < sent; n += 23 {
		try(fault{after: n, then: []func(a, b *net.TCPConn){cutOff, resetBoth}[n%2]})
	}
	p.settled(t, 1)
	waitFor(t, "descriptors to be closed", func() bool { return descriptors(t) <= files })
}

// A server that falls silent, also to cancel requests, costs its client query_timeout and what a cancel request may take.
func TestSilentServer(t *testing.T) {
	f := startFaulty(t)
	p := f.startBehind(t, func(c *Config) {
		c.Tuning.Defaults.QueryTimeout = 300 * time.Millisecond
		c.Tuning.Defaults.CancelWait = 300 * time.Millisecond
	})
	for _, s := range []step{{query("select 'mine'")}, append(run("select 'mine'"), syncs), {query("copy pg_class to stdout")}} {
		w := p.own(t)
		w.works(t, "before")
		f.arm(fault{fromServer: true, after: 1})
		got := normalise(w.play(s, whole))
		if len(got) != 2 || !strings.HasPrefix(got[0], "E FATAL 57014") || !strings.Contains(got[0], "query_timeout") {
			t.Errorf("%v: answered %s", s, lines(got))
		}
		other := p.own(t)
		other.works(t, "afterwards")
		other.nc.Close()
		p.settled(t, 0)
	}
}

// A server that fell silent while it was free does not keep its place for good: what it is asked between clients – here
// the check query – has an end.
func TestSilentServerIsGivenUpByItsCheck(t *testing.T) {
	f := startFaulty(t)
	p := f.startBehind(t, func(c *Config) {
		c.Tuning.CheckQuery = "select 'check'"
		c.Tuning.CheckDelay = time.Millisecond
		c.Tuning.ServerConnect = time.Second
	})
	w := p.own(t)
	w.works(t, "before")
	p.settled(t, 1)
	f.arm(fault{fromServer: true, after: 1})
	var served sync.WaitGroup
	served.Go(func() {
		time.Sleep(2 * peekAfter)
		w.works(t, "over another server")
	})
	served.Wait()
	p.settled(t, 1)
}

// A session ended by an administrator, whatever it is doing: its client is told so for each unit that was under way, and
// goes on; others notice nothing. One that has left something on the server loses its connection with it.
func TestServerIsTerminated(t *testing.T) {
	endless := "select 'mine', pg_sleep(0.001) from generate_series(1, 1000000)"
	for _, tc := range []struct {
		name   string
		before step
		during step
		lost   int // units
	}{
		{"between units", step{query("select 1")}, nil, 0},
		{"in a transaction", step{query("begin; select 1")}, nil, 0},
		{"pinned", step{query("create temp table mine(x int)")}, nil, 0},
		{"in a query", nil, step{query("select pg_sleep(3600)")}, 1},
		{"in a pipeline", nil, join(run("select pg_sleep(3600)"), syncs, query("select 1"), run("select 1"), syncs), 3},
		{"in half a unit", nil, step{parse("", "select pg_sleep(3600)"), bind("", ""), execute("", 0), flushes}, 1},
		{"in rows", nil, step{query(endless)}, 1},
		{"in copy out", nil, step{query("copy (" + endless + ") to stdout")}, 1},
		{"in copy in", nil, step{query("copy pg_description from stdin"), copyData("1")}, 1},
		{"in extended copy in", nil, join(run("copy pg_description from stdin"), flushes, copyData("1")), 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
			w := p.own(t)
			w.works(t, "before")
			if tc.before != nil {
				w.play(tc.before, whole)
			}
			pid := p.pids(t)[0]
			var b []byte
			for _, m := range tc.during {
				b = append(b, m.encode()...)
			}
			if _, err := w.nc.Write(b); err != nil {
				t.Fatal(err)
			}
			watch := direct(t, 0)
			waitFor(t, "the server to be at it", func() bool {
				var state string
				if err := watch.QueryRow(context.Background(), "select state from pg_stat_activity where pid = $1", pid).Scan(&state); err != nil {
					t.Fatal(err)
				}
				return state == "active" || tc.during == nil
			})
			if _, err := watch.Exec(context.Background(), "select pg_terminate_backend($1)", pid); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the server to be given up", func() bool { return !slices.Contains(p.pids(t), pid) })
			w.nc.SetDeadline(time.Now().Add(deadline))
			switch tc.name {
			case "in a transaction":
				got := normalise(w.play(join(query("select 1"), query("select 1"), query("rollback")), whole))
				if len(got) != 6 || !strings.HasPrefix(got[0], "E ERROR 57P01") || !strings.HasPrefix(got[2], "E ERROR 25P02") || got[3] != `Z "E"` || got[5] != `Z "I"` {
					t.Errorf("answered %s", lines(got))
				}
			case "pinned":
				m, err := w.read()
				if err != nil || m.typ != pgwire.ErrorResponse || !strings.Contains(m.String(), "FATAL") || !strings.Contains(m.String(), "57P01") {
					t.Errorf("told %v, %v", m, err)
				}
				if m, err = w.read(); err != io.EOF {
					t.Errorf("then %v, %v", m, err)
				}
				p.own(t).works(t, "afterwards")
				return
			case "in half a unit", "in extended copy in":
				w.nc.Write(syncs.encode())
			}
			for range tc.lost {
				var last message
				for {
					m, err := w.read()
					if err != nil {
						t.Fatalf("%v, after %v", err, last)
					}
					if m.typ == pgwire.ReadyForQuery {
						break
					}
					last = m
				}
				if e := pgwire.ParseError(last.body); last.typ != pgwire.ErrorResponse || e.Severity != "ERROR" || e.Code != "57P01" {
					t.Errorf("the last words are %v", last)
				}
			}
			w.works(t, "again")
			p.own(t).works(t, "afterwards")
		})
	}
}

// A full disk is the server's error, and its session goes on.
func TestDiskFull(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	w := p.own(t)
	const full = "copy (select repeat('x', 1000) from generate_series(1, 1000)) to '/dev/full'"
	for _, s := range []step{{query(full)}, append(run(full), syncs), join(query("begin"), query(full), query("rollback")),
		join(run("select 'mine'"), syncs, run(full), syncs)} {
		got := normalise(w.play(s, whole))
		if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, "E ERROR 53100") }) || got[len(got)-1] != `Z "I"` {
			t.Errorf("%v: answered %s", s, lines(got))
		}
		w.works(t, "behind it")
	}
	p.settled(t, 1)
}

// A client that asks without end and reads nothing is not read any more, also if its answers need no server.
func TestAnswersMadeHereDoNotPileUp(t *testing.T) {
	const answers = 6 << 20 // bytes: more than the kernel takes
	for _, tc := range []struct {
		name   string
		unit   message
		answer message
	}{
		{"Sync", syncs, message{pgwire.ReadyForQuery, []byte{pgwire.Idle}}},
		{"Close", closing('S', statementPrefix), message{typ: pgwire.CloseComplete}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := start(t, 1, nil)
			w := p.own(t)
			w.works(t, "before")
			w.nc.(*net.TCPConn).SetReadBuffer(64 << 10)
			unit, answer := tc.unit.encode(), int64(len(tc.answer.encode()))
			units := slices.Repeat(unit, 4<<10)
			writes := answers / (answer * 4 << 10)
			sending := make(chan error, 1)
			go func() {
				w.nc.SetWriteDeadline(time.Now().Add(deadline))
				for range writes {
					if _, err := w.nc.Write(units); err != nil {
						sending <- err
						return
					}
				}
				sending <- nil
			}()
			stopped := func() (stopped bool) {
				p.on(t, 0, func(wk *worker) {
					for c := range wk.clients {
						stopped = c.stalled && c.conn.Queued() > 0
						if c.conn.Queued() > 1<<20 {
							t.Errorf("%d bytes are queued", c.conn.Queued())
						}
					}
				})
				return stopped || t.Failed()
			}
			waitFor(t, "the client not to be read", stopped)
			w.nc.SetReadDeadline(time.Now().Add(deadline))
			if n, err := io.CopyN(io.Discard, w.nc, writes*4<<10*answer); err != nil {
				t.Fatalf("after %d bytes: %v", n, err)
			}
			if err := <-sending; err != nil {
				t.Error(err)
			}
		})
	}
}

// A COPY is as large as it is, and its server as slow as it is: memory holds none of it.
func TestCopyInToASlowServer(t *testing.T) {
	size := int64(1 << 30)
	if raceEnabled {
		size = 128 << 20
	}
	goOn, counted := make(chan struct{}), make(chan int64, 1)
	o := startOdd(t, nil, func(_ int, nc net.Conn, _ string) bool {
		nc.Write(message{pgwire.CopyInResponse, []byte{0, 0, 0}}.encode())
		<-goOn
		n := int64(0)
		for {
			var head [pgwire.HeaderLen]byte
			if _, err := io.ReadFull(nc, head[:]); err != nil {
				return false
			}
			typ, total, _ := pgwire.Header(head[:])
			if _, err := io.CopyN(io.Discard, nc, int64(total-len(head))); err != nil {
				return false
			}
			if typ == pgwire.CopyDone {
				break
			}
			n += int64(total - len(head))
		}
		counted <- n
		nc.Write(pgwire.AppendReadyForQuery(message{pgwire.CommandComplete, cstrings("COPY 1")}.encode(), pgwire.Idle))
		return true
	})
	p := o.startBefore(t)
	w := p.wire(t)
	w.nc.SetDeadline(time.Now().Add(4 * deadline))
	w.nc.Write(query("show odd copy").encode())
	if m, err := w.read(); err != nil || m.typ != pgwire.CopyInResponse {
		t.Fatal(m, err)
	}
	piece := copyData(strings.Repeat("x", 1<<20)).encode()
	before := heap()
	sent := make(chan error, 1)
	go func() {
		for range size >> 20 {
			if _, err := w.nc.Write(piece); err != nil {
				sent <- err
				return
			}
		}
		_, err := w.nc.Write(copyDone.encode())
		sent <- err
	}()
	waitFor(t, "the client to be stopped", func() bool {
		stopped := false
		p.on(t, 0, func(wk *worker) {
			for c := range wk.clients {
				stopped = c.stalled
			}
		})
		return stopped
	})
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("the heap grew by %d bytes while the server took nothing", grown)
	}
	close(goOn)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if n := <-counted; n != size {
		t.Errorf("%d bytes arrived of %d", n, size)
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	for _, typ := range []byte{pgwire.CommandComplete, pgwire.ReadyForQuery} {
		if m, err := w.read(); err != nil || m.typ != typ {
			t.Fatal(m, err)
		}
	}
	w.owed = nil
	w.asked(t, "after")
	w.nc.Close()
	p.settled(t, 0)
}

// A result is as large as it is, and its client as slow as it is.
func TestLargeResultToASlowClient(t *testing.T) {
	rows := 1 << 10
	if raceEnabled {
		rows = 128
	}
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	w := p.own(t)
	w.works(t, "before")
	w.nc.SetDeadline(time.Now().Add(4 * deadline))
	before := heap()
	if _, err := w.nc.Write(query(fmt.Sprintf("select repeat('x', 1 << 20) from generate_series(1, %d)", rows)).encode()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the server to be stopped", func() bool {
		stopped := false
		p.on(t, 0, func(wk *worker) {
			for c := range wk.clients {
				stopped = c.server != nil && c.server.paused
			}
		})
		return stopped
	})
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("the heap grew by %d bytes while the client read nothing", grown)
	}
	got, most := 0, int64(0)
	for typ := byte(0); typ != pgwire.ReadyForQuery; {
		var head [pgwire.HeaderLen]byte
		if _, err := io.ReadFull(w.nc, head[:]); err != nil {
			t.Fatal(err)
		}
		var total int
		typ, total, _ = pgwire.Header(head[:])
		if _, err := io.CopyN(io.Discard, w.nc, int64(total-len(head))); err != nil {
			t.Fatal(err)
		}
		if typ == pgwire.DataRow {
			if got++; got%64 == 0 {
				most = max(most, heap()-before)
			}
		}
	}
	if got != rows || most > 4<<20 {
		t.Errorf("%d rows, want %d; the heap grew by %d bytes", got, rows, most)
	}
	w.works(t, "after")
	p.settled(t, 1)
}
