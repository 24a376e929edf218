package pgpool

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Keys of both lengths cancel, and nothing else does: not a part of a key, not another's, not a longer one.
func TestCancelByKey(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.NodeID = MaxNodeID })
	for _, version := range []uint32{pgwire.Version30, pgwire.Version32} {
		t.Run(fmt.Sprint("3.", version&0xffff), func(t *testing.T) {
			packet := pgwire.AppendStartup(nil, version, []pgwire.Param{{Name: "user", Value: "postgres"}, {Name: "database", Value: "postgres"}})
			nc, all := p.loginMessages(t, packet)
			var pid uint32
			var key []byte
			for _, m := range all {
				if m.typ == pgwire.BackendKeyData {
					pid, key = binary.BigEndian.Uint32(m.body), m.body[4:]
				}
			}
			if _, err := nc.Write(query("select pg_sleep(60)").encode()); err != nil {
				t.Fatal(err)
			}
			p.runs(t, "select pg_sleep(60)")
			wrong := bytes.Clone(key)
			wrong[len(wrong)-1]++
			for _, tc := range []struct {
				pid uint32
				key []byte
			}{
				{pid, wrong}, {pid, make([]byte, len(key))}, {pid, append(bytes.Clone(key), 0)}, {pid + 1, key}, {pid ^ 1<<serialBits, key},
				{pid, append(bytes.Clone(key), make([]byte, 32-len(key)+4)...)}, {pid, key[:4:4]},
			} {
				if bytes.Equal(tc.key, key) && tc.pid == pid {
					continue
				}
				p.cancelRaw(t, tc.pid, tc.key)
			}
			if n := p.busy(t); n != 1 {
				t.Fatalf("%d queries run after cancels with wrong keys", n)
			}
			p.cancelRaw(t, pid, key)
			w := &wire{nc: nc, params: map[string]string{}, me: -1, patience: patience}
			m, err := w.read()
			for err == nil && m.typ != pgwire.ErrorResponse {
				m, err = w.read()
			}
			if err != nil || pgwire.ParseError(m.body).Code != "57014" {
				t.Errorf("%v, %v", m, err)
			}
			nc.Close()
			waitFor(t, "the key to be forgotten", func() bool { return len(p.holders()) == 0 })
		})
	}
}

// cancelRaw sends a cancel request and waits for its end.
func (p *testPooler) cancelRaw(t *testing.T, pid uint32, key []byte) {
	t.Helper()
	nc := p.dialRaw(t)
	if _, err := nc.Write(pgwire.AppendCancelRequest(nil, pid, key)); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(nc); len(b) > 0 || err != nil {
		t.Errorf("cancel request answered with %q, %v", b, err)
	}
}

// holder of the tests.
type nobody struct{ n int }

func (*nobody) cancelQuery(context.Context) {}
func (*nobody) process() *process           { return nil }

// When process ids run out they are shared, and the secret tells whose the key is.
func TestMoreClientsThanProcessIDs(t *testing.T) {
	const n = 1<<serialBits + 1000
	p := &Pooler{keys: make(map[uint32]*cancelKey)}
	p.cfg.NodeID = 5
	keys := make([]cancelKey, n)
	for i := range keys {
		version := pgwire.Version30
		if i%2 == 1 {
			version = pgwire.Version32
		}
		p.register(&keys[i], &nobody{i}, version)
	}
	if len(p.keys) != 1<<serialBits-1 {
		t.Errorf("%d process ids", len(p.keys))
	}
	found := func(k *cancelKey) int {
		if h, ok := p.holder(k.pid, k.secret(new([longSecret]byte))).(*nobody); ok {
			return h.n
		}
		return -1
	}
	for i := range keys {
		if got := found(&keys[i]); got != i {
			t.Fatalf("key %d is held by %d", i, got)
		}
	}
	for i := 0; i < n; i += 2 {
		p.unregister(&keys[i])
	}
	for i := range keys {
		if got := found(&keys[i]); i%2 == 1 && got != i || i%2 == 0 && got != -1 {
			t.Fatalf("key %d is held by %d", i, got)
		}
	}
	for i := 1; i < n; i += 2 {
		p.unregister(&keys[i])
	}
	if len(p.keys) != 0 {
		t.Errorf("%d process ids are left", len(p.keys))
	}
}

// Only so many cancel requests are under way; others wait, and those whose query ends meanwhile are not sent.
func TestCancelRequestsWaitTheirTurn(t *testing.T) {
	p := start(t, 1, nil)
	ctx := context.Background()
	c := p.connect(t, "")
	for range maxCancels {
		p.cancels <- struct{}{}
	}
	running := func(sql string) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := c.Exec(ctx, sql)
			done <- err
		}()
		waitFor(t, "the query to run", func() bool { return p.busy(t) == 1 })
		return done
	}
	done := running("select pg_sleep(0.3)")
	cancelled := make(chan error, 1)
	go func() { cancelled <- c.PgConn().CancelRequest(ctx) }()
	if err := <-done; err != nil {
		t.Errorf("a cancel request out of turn: %v", err)
	}
	<-p.cancels
	if err := <-cancelled; err != nil {
		t.Error(err)
	}
	// The next one finds a free place.
	done = running("select pg_sleep(60)")
	p.runs(t, "select pg_sleep(60)")
	if err := c.PgConn().CancelRequest(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !hasCode(err, "57014") {
		t.Error(err)
	}
	p.settled(t, 1)
}

func TestCancelRequestGivesUp(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.CancelWait = 50 * time.Millisecond })
	ctx := context.Background()
	c := p.connect(t, "")
	for range maxCancels {
		p.cancels <- struct{}{}
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(ctx, "select pg_sleep(1)")
		done <- err
	}()
	waitFor(t, "the query to run", func() bool { return p.busy(t) == 1 })
	if err := c.PgConn().CancelRequest(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the query that was not cancelled: %v", err)
	}
	p.settled(t, 1)
}

func TestCancelOverProtocol32(t *testing.T) {
	p := start(t, 1, nil)
	ctx := context.Background()
	cfg, err := pgx.ParseConfig(p.url("&max_protocol_version=3.2"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(ctx, "select pg_sleep(60)")
		done <- err
	}()
	p.runs(t, "select pg_sleep(60)")
	if err := c.PgConn().CancelRequest(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !hasCode(err, "57014") {
		t.Error(err)
	}
}

// What a client sends while a cancel request is under way, of its own or of query_timeout, waits until that is through.
func TestNextUnitWaitsForTheCancelRequest(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	for _, first := range []string{"begin; select 1", "create temp table pins()"} {
		w, err := wireTo(p.addr, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		w.play(step{query(first)}, whole)
		var s *server
		p.on(t, 0, func(wk *worker) {
			for c := range wk.clients {
				s = c.server
				s.cancels++
			}
		})
		if _, err := w.nc.Write(query("select 5").encode()); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the query to arrive", func() bool {
			held := false
			p.on(t, 0, func(*worker) { held = len(s.client.conn.Held()) > 0 && s.owed.n == 0 })
			return held
		})
		p.on(t, 0, func(*worker) { s.cancelOver() })
		answered := false
		for !answered {
			m, err := w.read()
			if err != nil || m.typ == pgwire.ErrorResponse {
				t.Fatalf("after %s: %v, %v", first, m, err)
			}
			answered = m.typ == pgwire.ReadyForQuery
		}
		w.nc.Close()
		p.settled(t, 0)
	}
}

// A cancel request of query_timeout that comes late hits nothing: neither what the client sends next in the same unit, nor
// a unit that was behind it already.
func TestQueryTimeoutSparesWhatComesNext(t *testing.T) {
	for name, next := range map[string]step{"same unit": nil, "pipelined": {query("select pg_sleep(0.4)")}} {
		t.Run(name, func(t *testing.T) {
			p := start(t, 1, func(c *Config) {
				c.Tuning.Defaults.PoolSize = 1
				c.Tuning.Defaults.QueryTimeout = time.Second
				c.Tuning.Policy = func(string, string) Policy { return c.Tuning.Defaults }
			})
			w, err := wireTo(p.addr, "postgres")
			if err != nil {
				t.Fatal(err)
			}
			defer w.nc.Close()
			w.play(step{query("begin")}, whole)
			w.nc.SetDeadline(time.Now().Add(deadline))
			for range maxCancels {
				p.cancels <- struct{}{}
			}
			send := func(s step) {
				for _, m := range s {
					if _, err := w.nc.Write(m.encode()); err != nil {
						t.Fatal(err)
					}
				}
			}
			until := func(typ byte) {
				t.Helper()
				for {
					m, err := w.read()
					if err != nil || m.typ == pgwire.ErrorResponse {
						t.Fatalf("waiting for %c: %v, %v", typ, m, err)
					}
					if m.typ == typ {
						return
					}
				}
			}
			var s *server
			cancelling := func() (yes bool) {
				p.on(t, 0, func(wk *worker) {
					for c := range wk.clients {
						if s = c.server; s != nil {
							yes = s.cancels > 0
						}
					}
				})
				return yes
			}
			flush := message{pgwire.Flush, nil}
			send(step{parse("", "select pg_sleep(1.4)"), bind("", ""), execute("", 0)})
			if next != nil {
				send(append(step{syncs}, next...))
			} else {
				send(step{flush})
			}
			waitFor(t, "query_timeout", cancelling)
			until(pgwire.CommandComplete)
			if next == nil {
				send(step{parse("", "select pg_sleep(0.4)"), bind("", ""), execute("", 0), syncs})
				waitFor(t, "the next statement to arrive", func() (held bool) {
					p.on(t, 0, func(*worker) { held = len(s.client.conn.Held()) > 0 && s.owed.n == 0 })
					return held
				})
			} else {
				until(pgwire.ReadyForQuery)
			}
			<-p.cancels // its turn has come
			until(pgwire.CommandComplete)
			until(pgwire.ReadyForQuery)
		})
	}
}

// A cancel request never hits a query of the pooler's own: a client's unit behind one is cancelled in its turn, one that
// has not gone out is answered here.
func TestCancelSparesThePoolersOwnQueries(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	w, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer w.nc.Close()
	w.play(step{query("select 1")}, whole)
	p.settled(t, 1)
	w.nc.SetDeadline(time.Now().Add(deadline))
	var c *client
	for _, sent := range []bool{true, false} {
		done := make(chan struct{})
		p.on(t, 0, func(wk *worker) {
			for c = range wk.clients {
			}
			s := c.group.pools[0].take()
			c.link(s)
			s.run("select pg_sleep(0.3)")
			if !sent {
				c.waits = true // as mustWait has it
			}
		})
		if _, err := w.nc.Write(query("select pg_sleep(60)").encode()); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the query to arrive", func() (there bool) {
			p.on(t, 0, func(*worker) { there = sent && c.inFlight > 0 || !sent && len(c.conn.Held()) > 0 })
			return there
		})
		p.on(t, 0, func(*worker) { c.cancelled(func() { close(done) }) })
		<-done
		waitFor(t, "the query to end", func() (over bool) {
			p.on(t, 0, func(*worker) {
				if over = c.inFlight == 0; !over {
					c.cancelled(func() {}) // a server that has not read the query yet ignores the request
				}
			})
			return over
		})
		m, err := w.read()
		if err == nil && m.typ == pgwire.RowDescription {
			m, err = w.read()
		}
		if err != nil || m.typ != pgwire.ErrorResponse || pgwire.ParseError(m.body).Code != "57014" {
			t.Fatalf("sent %v: %v, %v", sent, m, err)
		}
		if m, err := w.read(); err != nil || m.typ != pgwire.ReadyForQuery {
			t.Fatalf("sent %v: %v, %v", sent, m, err)
		}
		p.settled(t, 1)
	}
	w.play(step{query("select 1")}, whole)
}

// startNamed runs a pooler of a server with a host name, which is sent cancel requests at the address of its connection.
func startNamed(t *testing.T, addr string) *testPooler {
	return start(t, 1, func(c *Config) {
		srv := testServer(t, 0)
		_, port, _ := net.SplitHostPort(addr)
		srv.Addr, srv.Host = "localhost:"+port, "localhost"
		c.Tuning.Databases = fallback(srv)
	})
}

// asleep is a client whose query runs.
func (p *testPooler) asleep(t *testing.T) *wire {
	t.Helper()
	w, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	w.send(t, "select pg_sleep(3)")
	waitFor(t, "the query to run", func() (busy bool) {
		p.on(t, 0, func(w *worker) {
			for c := range w.clients {
				busy = busy || c.server != nil && c.server.owed.n > 0 && !c.server.ours() && !c.server.inspecting()
			}
		})
		return busy
	})
	return w
}

// The pooler can be stopped while a query runs on a server with a host name.
func TestStopInMidQueryOnANamedServer(t *testing.T) {
	var w *wire
	t.Cleanup(func() { w.nc.Close() }) // behind the pooler's end
	w = startNamed(t, pg.Addr(0)).asleep(t)
}

// A client may leave when the address of its server is no longer known, because the server has reset the connection.
func TestClientLeavesWithItsNamedServer(t *testing.T) {
	f := startFaulty(t)
	p := startNamed(t, f.ln.Addr().String())
	w := p.asleep(t)
	defer w.nc.Close()
	p.on(t, 0, func(w *worker) {
		f.mu.Lock()
		for l := range f.links {
			resetBoth(l.client, l.server)
		}
		f.mu.Unlock()
		for c := range w.clients {
			waitFor(t, "the reset to arrive", func() bool { return c.server.conn.RemoteAddr() == nil })
			c.conn.Close(nil) // as when its end is read first
		}
	})
	waitFor(t, "the client to be forgotten", func() bool { return p.nclients.Load() == 0 })
}

// A cancel request that waits behind the restoring of settings is over when those are refused and the client ends.
func TestCancelBehindSettingsThatAreRefused(t *testing.T) {
	release := make(chan struct{})
	p := startStub(t, func(_ int, sql string) []byte {
		if strings.Contains(sql, "application_name") {
			<-release
			return failing("42501", pgwire.Idle)
		}
		return answer(sql)
	}).startBefore(t)
	w := p.wire(t)
	w.nc.Write(append(parse("", "select $1::text").encode(), bind("", "", strings.Repeat("x", 2*maxGather)).encode()[:3*maxGather/2]...))
	var c *client
	waitFor(t, "part of the Bind to be sent", func() (sent bool) {
		p.on(t, 0, func(w *worker) {
			for c = range w.clients {
				sent = c.server != nil && c.body > 0
			}
		})
		return sent
	})
	done := make(chan struct{})
	p.on(t, 0, func(*worker) {
		c.cancelled(func() { close(done) })
		if len(c.server.cancelNext) != 1 {
			t.Error("it does not wait")
		}
	})
	close(release)
	select {
	case <-done:
	case <-time.After(deadline):
		t.Error("it waits for ever")
	}
	if code := lastWords(t, w.nc); code != "42501" {
		t.Errorf("the client is told %q", code)
	}
}

func TestNodeOfProcessID(t *testing.T) {
	for _, tt := range []struct {
		pid  uint32
		node uint16
		ok   bool
	}{
		{firstPID | 1, 0, true},
		{firstPID | MaxNodeID<<serialBits | 65535, MaxNodeID, true},
		{firstPID | 77<<serialBits | 3, 77, true},
		{12345, 0, false},     // a server's own
		{1<<31 | 5, 0, false}, // negative for drivers: given to nobody
		{3 << 30, 0, false},
	} {
		if node, ok := nodeOf(tt.pid); ok != tt.ok || ok && node != tt.node {
			t.Errorf("process id %#x is of node %d, %v; want %d, %v", tt.pid, node, ok, tt.node, tt.ok)
		}
	}
}
