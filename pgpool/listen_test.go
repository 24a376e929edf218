package pgpool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// mustExec runs SQL that must succeed.
func mustExec(t testing.TB, c *pgx.Conn, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if _, err := c.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// hear waits for the next notification.
func hear(t testing.TB, c *pgx.Conn) *pgconn.Notification {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	n, err := c.WaitForNotification(ctx)
	if err != nil {
		t.Fatalf("no notification: %v", err)
	}
	return n
}

func mustHear(t testing.TB, c *pgx.Conn, channel, payload string) {
	t.Helper()
	if n := hear(t, c); n.Channel != channel || n.Payload != payload {
		t.Fatalf("heard %q on %q, want %q on %q", n.Payload, n.Channel, payload, channel)
	}
}

// listenerOf looks at the listener of the tests' group on its loop.
func (p *testPooler) listenerOf(t testing.TB, fn func(l *listener)) {
	t.Helper()
	p.on(t, 0, func(w *worker) {
		for _, l := range w.listeners {
			fn(l)
		}
	})
}

// subscriptions counts what the listener and the workers know; they must agree when nothing is under way.
func (p *testPooler) subscriptions(t testing.TB) (heard, hearing int) {
	t.Helper()
	p.listenerOf(t, func(l *listener) { heard += l.subscriptions })
	for i := range p.workers {
		p.on(t, i, func(w *worker) {
			for _, g := range w.groups {
				for _, set := range g.channels {
					hearing += len(set)
				}
			}
		})
	}
	return heard, hearing
}

// pinned counts the clients that keep a server.
func (p *testPooler) pinned(t testing.TB) (n int) {
	t.Helper()
	waitFor(t, "servers to say what was left", func() bool {
		asking := false
		for i := range p.workers {
			p.on(t, i, func(w *worker) {
				for c := range w.clients {
					asking = asking || c.server != nil && (c.server.due.any() || c.server.checking())
				}
			})
		}
		return !asking
	})
	for i := range p.workers {
		p.on(t, i, func(w *worker) { n += w.pins })
	}
	return n
}

// One server of the pool is enough for any number of clients that listen, on several loops, by every protocol that drivers
// use for LISTEN.
func TestListenDoesNotPin(t *testing.T) {
	p := start(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	modes := []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"}
	var clients []*pgx.Conn
	for i := range 20 {
		c := p.connect(t, "&default_query_exec_mode="+modes[i%len(modes)])
		mustExec(t, c, "listen everybody")
		mustExec(t, c, fmt.Sprintf(`LISTEN "Own %d"`, i))
		clients = append(clients, c)
	}
	if n := p.pinned(t); n != 0 {
		t.Errorf("%d clients are pinned", n)
	}
	sender := direct(t, 0)
	for round := range 3 {
		mustExec(t, sender, fmt.Sprintf("notify everybody, '%d'", round))
	}
	for i := range clients {
		mustExec(t, clients[0], fmt.Sprintf(`notify "Own %d", 'x'`, i))
	}
	for i, c := range clients {
		for round := range 3 { // in order
			mustHear(t, c, "everybody", fmt.Sprint(round))
		}
		mustHear(t, c, fmt.Sprintf("Own %d", i), "x")
	}
	// A notification carries the process that sent it, as it was sent.
	mustExec(t, sender, "notify everybody, 'pid'")
	if n := hear(t, clients[0]); n.PID != sender.PgConn().PID() {
		t.Errorf("process %d, want %d", n.PID, sender.PgConn().PID())
	}
	var listeners int
	if err := sender.QueryRow(context.Background(), "select count(*) from pg_stat_activity where application_name = 'outrigger listener'").Scan(&listeners); err != nil || listeners != 1 {
		t.Errorf("%d listener connections, %v", listeners, err)
	}
	// UNLISTEN and leaving clean up; the last one has the server forget the channel.
	for i, c := range clients {
		switch i % 4 {
		case 0:
			mustExec(t, c, "unlisten everybody")
			mustExec(t, c, fmt.Sprintf(`unlisten "Own %d"`, i))
		case 1:
			mustExec(t, c, "unlisten *")
		case 2:
			mustExec(t, c, "discard all")
		case 3:
			c.Close(context.Background())
		}
	}
	waitFor(t, "all channels to be given up", func() bool {
		l, c := p.subscriptions(t)
		return l == 0 && c == 0
	})
	mustExec(t, sender, "notify everybody, 'too late'")
	mustExec(t, clients[0], "listen other")
	mustExec(t, sender, "notify other")
	mustHear(t, clients[0], "other", "")
}

// What is committed before LISTEN returns is not heard, and what is committed after it is, also by the client itself.
func TestListenTakesEffectInItsPlace(t *testing.T) {
	p := start(t, 2, nil)
	first := p.connect(t, "")
	mustExec(t, first, "listen a")
	late := p.connect(t, "")
	for i := range 50 {
		mustExec(t, late, fmt.Sprintf("notify a, 'before %d'", i))
		mustExec(t, late, "listen a")
		mustExec(t, late, fmt.Sprintf("notify a, 'heard %d'", i))
		mustExec(t, late, "unlisten a")
		mustExec(t, late, fmt.Sprintf("notify a, 'after %d'", i))
		mustHear(t, late, "a", fmt.Sprintf("heard %d", i))
		mustHear(t, first, "a", fmt.Sprintf("before %d", i))
		mustHear(t, first, "a", fmt.Sprintf("heard %d", i))
		mustHear(t, first, "a", fmt.Sprintf("after %d", i))
	}
}

// The answers to LISTEN and UNLISTEN are a server's, byte by byte, whoever gives them.
func TestListenIsAnsweredAsDirectly(t *testing.T) {
	direct, pooled := differentialDatabases(t, 1)
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	d, err := newDiffer(p, direct, pooled, whole)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	channels := query("select string_agg(c, ',' order by c) from pg_listening_channels() c")
	for i, s := range []step{
		{query("listen a")}, {query("LISTEN A; listen b ; ;")}, {query("listen select")}, {query("listen a; listen 1")}, {query("unlisten a")},
		{query("unlisten never")}, {query("unlisten *")}, {query("unlisten *")},
		join(run("listen c"), syncs), join(run("listen select"), syncs), {parse("p", "listen d"), describe('S', "p"), syncs},
		{bind("", "p"), describe('P', ""), execute("", 0), syncs}, {bind("", "p"), execute("", 1), syncs},
		{parse("q", "listen e"), describe('S', "q"), bind("", "q"), describe('P', ""), execute("", 0), syncs},
		{bind("", "q"), execute("", 0), syncs}, {parse("q", "listen e"), bind("", "q"), execute("", 0), syncs},
		{parse("", "listen f"), describe('S', ""), syncs}, {bind("", ""), execute("", 0), syncs}, {bind("", ""), execute("", 0), syncs},
		{bind("named", ""), execute("named", 0), syncs}, {bind("", "", "too many"), execute("", 0), syncs},
		join(query("listen g"), query("listen h"), query("select 1"), run("unlisten h"), syncs, query("select 2")),
		{query("listen " + strings.Repeat("x", 70))}, {query("listen É")}, {query(`listen U&"\0061"`)}, {query("listen")},
		{channels},
		{query("begin; listen i; commit")}, {query("begin")}, {query("listen j")}, {query("rollback")}, {query("begin")}, {query("unlisten i")}, {query("commit")},
		{query("listen k")}, {query("unlisten c")}, {channels}, {query("discard all")}, {channels},
	} {
		if diff := d.step(s); diff != "" {
			t.Fatalf("step %d: %s", i, diff)
		}
	}
}

// Notifications wait for the end of a transaction, and come before its ReadyForQuery.
func TestNotificationsWaitForTheTransaction(t *testing.T) {
	p := start(t, 1, nil)
	w, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer w.nc.Close()
	sender := p.connect(t, "")
	w.play(step{query("listen a")}, whole)
	w.play(step{query("begin")}, whole)
	mustExec(t, sender, "notify a, '1'")
	mustExec(t, sender, "notify a, '2'")
	waitFor(t, "the notifications to be held", func() bool {
		held := 0
		p.on(t, 0, func(wk *worker) {
			for c := range wk.clients {
				if c.inbox != nil {
					held += len(c.inbox.held)
				}
			}
		})
		return held == 2*(pgwire.HeaderLen+4+len("a\x001\x00"))
	})
	types := func(answers []message) string {
		var b strings.Builder
		for _, m := range answers {
			b.WriteByte(m.typ)
		}
		return b.String()
	}
	if got := types(w.play(step{query("select 1")}, whole)); got != "TDCZ" {
		t.Errorf("in the transaction: %s", got)
	}
	if got := types(w.play(step{query("commit")}, whole)); got != "CAAZ" {
		t.Errorf("at its end: %s", got)
	}
	mustExec(t, sender, "notify a, '3'")
	w.nc.SetDeadline(time.Now().Add(deadline))
	if m, err := w.read(); err != nil || m.typ != pgwire.NotificationResponse {
		t.Errorf("outside a transaction: %v, %v", m, err)
	}
}

// A client that is pinned hears the same as any other, once, whether it listened before it was pinned, or in a transaction.
func TestListenOfAPinnedClient(t *testing.T) {
	p := start(t, 1, nil)
	sender := p.connect(t, "")
	c := p.connect(t, "&default_query_exec_mode=simple_protocol")
	mustExec(t, c, "listen before")
	mustExec(t, c, "create temp table mine(x int)")
	mustExec(t, c, "listen pinned")
	mustExec(t, c, "begin; listen inside; listen before; commit")
	for _, channel := range []string{"before", "pinned", "inside"} {
		mustExec(t, sender, "notify "+channel)
		mustHear(t, c, channel, "")
	}
	mustExec(t, c, "unlisten before")
	mustExec(t, sender, "notify before")
	mustExec(t, sender, "notify inside")
	mustHear(t, c, "inside", "")
	mustExec(t, c, "unlisten *")
	mustExec(t, sender, "notify inside")
	mustExec(t, c, "listen last")
	mustExec(t, sender, "notify last")
	mustHear(t, c, "last", "")
}

// A client that listens is told when its listener is lost: what came meanwhile is gone.
func TestListenerIsLost(t *testing.T) {
	p := start(t, 2, nil)
	admin := direct(t, 0)
	idle, busy, other := p.connect(t, ""), p.connect(t, ""), p.connect(t, "")
	mustExec(t, idle, "listen a")
	mustExec(t, busy, "listen b")
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	tx, err := busy.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "select 1"); err != nil {
		t.Fatal(err)
	}
	mustExec(t, admin, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'outrigger listener'")
	if _, err := idle.WaitForNotification(ctx); !hasCode(err, "08006") {
		t.Errorf("an idle client: %v", err)
	}
	// One in a transaction comes to its end first.
	if _, err := tx.Exec(ctx, "create table if not exists lost_listener as select 1"); err != nil {
		t.Errorf("in the transaction: %v", err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Errorf("at its end: %v", err)
	}
	if _, err := busy.WaitForNotification(ctx); !hasCode(err, "08006") {
		t.Errorf("after the transaction: %v", err)
	}
	mustExec(t, admin, "drop table lost_listener")
	mustExec(t, other, "select 1")
	mustExec(t, other, "listen a")
	mustExec(t, admin, "notify a")
	mustHear(t, other, "a", "")
}

// A listener that cannot be had is an error of the LISTEN, not a wait without end; later it is tried again.
func TestListenerCannotConnect(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	admin := direct(t, 0)
	c, d := p.connect(t, ""), p.connect(t, "")
	mustExec(t, c, "select 1")
	server := testServer(t, 0)
	wrong := server
	wrong.Addr = "127.0.0.1:1"
	wrong.Network = "tcp"
	swap := func(s Server) {
		p.on(t, 0, func(w *worker) {
			for shared := range w.groups {
				shared.up.servers.Store(&[]Server{s})
			}
		})
	}
	swap(wrong)
	if _, err := c.Exec(context.Background(), "listen a"); !hasCode(err, "08001") {
		t.Errorf("LISTEN without a server: %v", err)
	}
	swap(server)
	mustExec(t, d, "listen a") // waits for the next attempt
	mustExec(t, admin, "notify a")
	mustHear(t, d, "a", "")
}

// Notifications that a client does not take are bounded: it is told, and ended.
func TestInboxIsBounded(t *testing.T) {
	p := start(t, 1, nil)
	sender := p.connect(t, "")
	flood := func(size int) {
		mustExec(t, sender, fmt.Sprintf("select pg_notify('flood', g::text || repeat('x', 7000)) from generate_series(1, %d) g", size/7000))
	}
	t.Run("in a transaction", func(t *testing.T) {
		c := p.connect(t, "&default_query_exec_mode=simple_protocol")
		mustExec(t, c, "listen flood")
		mustExec(t, c, "begin; select 1")
		flood(2 * maxInbox)
		waitFor(t, "the client to be ended", func() bool {
			_, err := c.Exec(context.Background(), "select 1")
			if err != nil && !hasCode(err, "54000") && !errors.Is(err, net.ErrClosed) && !c.IsClosed() {
				t.Errorf("unexpected: %v", err)
			}
			return err != nil
		})
	})
	t.Run("not reading", func(t *testing.T) {
		w, err := wireTo(p.addr, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		defer w.nc.Close()
		w.play(step{query("listen flood")}, whole)
		waitFor(t, "the client to be ended", func() bool {
			flood(2 * maxInbox)
			_, clients := p.subscriptions(t)
			closing := false
			p.on(t, 0, func(wk *worker) {
				for c := range wk.clients {
					closing = closing || c.closing
				}
			})
			return closing || clients == 0
		})
		// It can still read why, and everything up to there is whole.
		w.nc.SetDeadline(time.Now().Add(deadline))
		last := 0
		for {
			m, err := w.read()
			if err != nil {
				t.Fatalf("after %d notifications: %v", last, err)
			}
			if m.typ == pgwire.ErrorResponse {
				if e := pgwire.ParseError(m.body); e.Code != "54000" {
					t.Errorf("ended with %v", e)
				}
				break
			}
			last++
		}
	})
	waitFor(t, "both to be gone", func() bool {
		_, clients := p.subscriptions(t)
		return clients == 0
	})
}

// The number of channels is bounded, and what is refused costs nothing.
func TestChannelsAreBounded(t *testing.T) {
	p := start(t, 1, nil)
	c := p.connect(t, "&default_query_exec_mode=simple_protocol")
	mustExec(t, c, "listen a")
	p.listenerOf(t, func(l *listener) { l.limit = 3 })
	mustExec(t, c, "listen b; listen c")
	if _, err := c.Exec(context.Background(), "listen d"); !hasCode(err, "54000") {
		t.Errorf("one too many: %v", err)
	}
	mustExec(t, c, "listen a")
	mustExec(t, c, "unlisten b")
	waitFor(t, "the place to be free", func() bool { l, _ := p.subscriptions(t); return l == 2 })
	mustExec(t, c, "listen d")
	mustExec(t, c, "notify d")
	mustHear(t, c, "d", "")
}

// A listener that nobody needs goes, and comes back.
// SHOW MEM counts channels, and who hears them.
func TestChannelsAreShown(t *testing.T) {
	p := start(t, 2, nil)
	a, b := p.connect(t, simple), p.connect(t, simple)
	mustExec(t, a, "listen one")
	mustExec(t, b, "listen one")
	mustExec(t, b, "listen two")
	used := func(name string) int {
		t.Helper()
		for _, m := range p.Console().Memory() {
			if m.Name == name {
				return m.Used
			}
		}
		t.Fatalf("no row %s", name)
		return 0
	}
	if channels, subscriptions := used("listen_channel"), used("listen_subscription"); channels != 2 || subscriptions != 3 {
		t.Errorf("%d channels, %d subscriptions", channels, subscriptions)
	}
	mustExec(t, b, "unlisten *")
	waitFor(t, "the subscriptions to end", func() bool { return used("listen_channel") == 1 && used("listen_subscription") == 1 })
}

func TestListenerIsClosedWhenIdle(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.ServerIdle = 10 * time.Millisecond })
	owner := direct(t, 0)
	c := p.connect(t, "")
	listeners := func() (n int) {
		if err := owner.QueryRow(context.Background(), "select count(*) from pg_stat_activity where application_name = 'outrigger listener'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 2 {
		mustExec(t, c, "listen a")
		if n := listeners(); n != 1 {
			t.Errorf("%d listeners", n)
		}
		if servers := p.Console().Servers(); !slices.ContainsFunc(servers, func(s admin.Server) bool { return s.ApplicationName == listenerName }) {
			t.Errorf("the console does not show it: %v", servers)
		}
		mustExec(t, owner, "notify a")
		mustHear(t, c, "a", "")
		mustExec(t, c, "unlisten a")
		waitFor(t, "the listener to go", func() bool { return listeners() == 0 })
	}
}

// A listener is asked now and then whether it is there; one whose server does not answer is given up.
func TestSilentListenerIsGivenUp(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.ServerConnect = 5 * time.Second })
	c := p.connect(t, "")
	mustExec(t, c, "listen a")
	p.listenerOf(t, func(l *listener) { l.heard = l.heard.Add(-listenerQuiet) })
	waitFor(t, "the question", func() bool {
		asked := false
		p.listenerOf(t, func(l *listener) { asked = l.w.loop.Now().Sub(l.heard) < listenerQuiet && l.sent == 0 })
		return asked
	})
	mustExec(t, c, "select 1")
	p.listenerOf(t, func(l *listener) {
		l.conn.PauseReading()
		l.ask(&listenRequest{})
		l.heard = l.heard.Add(-time.Hour)
	})
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if _, err := c.WaitForNotification(ctx); !hasCode(err, "08006") {
		t.Errorf("%v", err)
	}
}

// Only a client that reads UTF-8 is heard for: the others listen on a server of their own, as they always did.
func TestListenInAnotherEncoding(t *testing.T) {
	p := start(t, 1, nil)
	sender := p.connect(t, "")
	for _, tc := range []struct {
		encoding, payload string
		pins              int
	}{{"UTF8", "é", 0}, {"utf-8", "é", 0}, {"LATIN1", "\xe9", 1}} {
		t.Run(tc.encoding, func(t *testing.T) {
			w, err := wireTo(p.addr, "postgres", "client_encoding", tc.encoding)
			if err != nil {
				t.Fatal(err)
			}
			defer w.nc.Close()
			w.play(step{query("listen encoded")}, whole)
			if n := p.pinned(t); n != tc.pins {
				t.Errorf("%d pins, want %d", n, tc.pins)
			}
			mustExec(t, sender, "notify encoded, 'é'")
			w.nc.SetDeadline(time.Now().Add(deadline))
			m, err := w.read()
			if err != nil || m.typ != pgwire.NotificationResponse || string(m.body[4:]) != "encoded\x00"+tc.payload+"\x00" {
				t.Errorf("%v, %v", m, err)
			}
		})
	}
}

// A LISTEN that waits for its listener can be cancelled, and is then nobody's.
func TestListenIsCancelled(t *testing.T) {
	p := start(t, 1, nil)
	c, other := p.connect(t, ""), p.connect(t, "")
	mustExec(t, other, "listen b")
	p.listenerOf(t, func(l *listener) { l.conn.PauseReading() })
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := c.PgConn().Exec(ctx, "listen a").ReadAll(); done <- err }()
	waitFor(t, "the LISTEN to wait", func() bool {
		waits := false
		p.on(t, 0, func(w *worker) {
			for c := range w.clients {
				waits = waits || c.listening()
			}
		})
		return waits
	})
	if err := c.PgConn().CancelRequest(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !hasCode(err, "57014") {
		t.Errorf("%v", err)
	}
	mustExec(t, c, "select 1")
	p.listenerOf(t, func(l *listener) { l.conn.ResumeReading() })
	waitFor(t, "the channel to be given up", func() bool {
		l, n := p.subscriptions(t)
		return l == 1 && n == 1
	})
	mustExec(t, c, "listen a")
	mustExec(t, other, "notify a")
	mustHear(t, c, "a", "")
}

// In session mode a LISTEN is the server's.
func TestListenInSessionMode(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.Mode = SessionMode })
	c := p.connect(t, "")
	mustExec(t, c, "listen a")
	mustExec(t, direct(t, 0), "notify a")
	mustHear(t, c, "a", "")
	if l, n := p.subscriptions(t); l != 0 || n != 0 {
		t.Errorf("the listener hears %d channels of %d clients", l, n)
	}
}

// Clients on several loops listen, stop, notify and leave at once: each hears all of its channel between its LISTEN and
// its UNLISTEN, in order, and nothing is left in the end.
func TestListenersAtOnce(t *testing.T) {
	p := start(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 2 })
	var clients sync.WaitGroup
	for i := range 16 {
		clients.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*deadline)
			defer cancel()
			c, err := pgx.Connect(ctx, p.url(""))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close(ctx)
			for round := range 20 {
				sql := []string{"listen shared", fmt.Sprintf("listen own%d", i), fmt.Sprintf("notify shared, '%d'", i)}
				var want []string
				for n := range 5 {
					want = append(want, fmt.Sprintf("%d.%d", round, n))
					sql = append(sql, fmt.Sprintf("notify own%d, '%s'", i, want[n]))
				}
				for _, s := range append(sql, "unlisten *") {
					if _, err := c.Exec(ctx, s); err != nil {
						t.Errorf("client %d: %s: %v", i, s, err)
						return
					}
				}
				var got []string
				own := 0
				for len(got) < len(want) || own == 0 {
					n, err := c.WaitForNotification(ctx)
					if err != nil {
						t.Errorf("client %d, round %d: heard %q: %v", i, round, got, err)
						return
					}
					if n.Channel != "shared" {
						got = append(got, n.Payload)
					} else if n.Payload == fmt.Sprint(i) {
						own++
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("client %d, round %d: heard %q, want %q", i, round, got, want)
				}
			}
		})
	}
	clients.Wait()
	waitFor(t, "all channels to be given up", func() bool {
		l, c := p.subscriptions(t)
		return l == 0 && c == 0
	})
	if n := p.pinned(t); n != 0 {
		t.Errorf("%d pins", n)
	}
}

// primaryAt is a primary that may become another.
type primaryAt struct {
	alone
	index atomic.Int32
}

func (r *primaryAt) Primary() (int, bool) { return int(r.index.Load()), true }

// When the primary is another, or the database lives elsewhere since a reload, or the sidecar stops, clients that listen
// are told: nobody hears for them any more.
func TestListenersAreToldWhenTheirServerChanges(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*deadline)
	defer cancel()
	roles := &primaryAt{}
	p := start(t, 2, func(c *Config) {
		c.Roles = func([]Server) (Roles, error) { return roles, nil }
		c.Tuning.Databases = fallback(testServer(t, 0), testServer(t, 1))
	})
	listening := func() *pgx.Conn {
		c := p.connect(t, "")
		mustExec(t, c, "listen a")
		return c
	}
	c := listening()
	roles.index.Store(1)
	if _, err := c.WaitForNotification(ctx); !hasCode(err, "08006") {
		t.Errorf("after a failover: %v", err)
	}
	roles.index.Store(0)
	c, d := listening(), p.connect(t, "")
	mustExec(t, direct(t, 0), "create database listen_moved")
	defer mustExec(t, direct(t, 0), "drop database listen_moved with (force)")
	tuning := *p.tuning.Load()
	tuning.Databases = map[string]Database{"*": {Name: "listen_moved", Servers: []Server{testServer(t, 0), testServer(t, 1)}}}
	if err := p.Reload(tuning); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitForNotification(ctx); !hasCode(err, "08006") {
		t.Errorf("after a move: %v", err)
	}
	mustExec(t, d, "listen a")
	mustExec(t, directTo(t, "listen_moved"), "notify a")
	mustHear(t, d, "a", "")
	drained := make(chan error, 1)
	go func() { drained <- p.Drain(ctx) }()
	if _, err := d.WaitForNotification(ctx); !hasCode(err, "57P01") {
		t.Errorf("at the end: %v", err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// The listener is no part of the pool, but a connection to the server all the same.
func TestListenerCountsAsConnection(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		c.Tuning.Defaults.MaxDBServers = 2
		c.Tuning.Defaults.QueryWait = 100 * time.Millisecond
	})
	ctx := context.Background()
	c, d := p.connect(t, ""), p.connect(t, "")
	mustExec(t, c, "listen a")
	mustExec(t, c, "begin; select 1")
	if _, err := d.Exec(ctx, "select 1"); !hasCode(err, "57014") {
		t.Errorf("a third connection: %v", err)
	}
}
