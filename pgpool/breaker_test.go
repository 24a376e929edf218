package pgpool

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

func TestBreaker(t *testing.T) {
	const pause = 5 * time.Second
	b := &breaker{}
	now := time.Hour
	want := func(what string, state breakerState) {
		t.Helper()
		if got, _, _ := b.state(now); got != state || b.avoids() != (state != breakerClosed) {
			t.Fatalf("%s: %v, avoids %v; want %v", what, got, b.avoids(), state)
		}
	}
	fails := func(n int) (opened time.Duration) {
		for range n {
			opened = b.fail(now, 5, pause)
		}
		return opened
	}
	want("at first", breakerClosed)
	fails(4)
	want("after four failures", breakerClosed)
	now += breakerWindow + 1
	fails(4)
	want("after four more in another window", breakerClosed)
	if b.succeed(); fails(1) != pause {
		t.Error("a success in between hides that every other attempt fails")
	}
	want("after five", breakerOpen)
	if fails(10) != 0 || b.succeed() {
		t.Error("what was under way when it opened counts")
	}
	if b.try(now+pause-1, pause) {
		t.Error("an attempt before the pause is over")
	}
	// Attempts fail again and again: the pauses double up to a bound.
	for _, next := range []time.Duration{2, 4, 8, 12, 12, 12, 12, 12, 12, 12, 12, 12} {
		now += time.Duration(b.until.Load()) - now
		want("when the pause is over", breakerHalfOpen)
		if !b.try(now, pause) || b.try(now, pause) {
			t.Fatal("want one attempt at a time")
		}
		want("during an attempt", breakerHalfOpen)
		if got := fails(1); got != next*pause {
			t.Fatalf("the next pause is %v, want %v", got, next*pause)
		}
		want("after the attempt", breakerOpen)
	}
	now = time.Duration(b.until.Load())
	if !b.try(now, pause) || b.try(now+pause-1, pause) || !b.try(now+pause, pause) {
		t.Error("want another attempt when nothing is heard of one, and not before")
	}
	if !b.succeed() || b.succeed() {
		t.Error("a success closes it, once")
	}
	want("after a success", breakerClosed)
	if got := fails(5); got != pause {
		t.Errorf("a breaker that was closed opens for %v, want %v", got, pause)
	}
	if _, _, opened := b.state(now); opened != 14 {
		t.Errorf("it says that it has opened %d times", opened)
	}
}

// However many workers ask at once, one may try.
func TestBreakerLetsOneThrough(t *testing.T) {
	b := &breaker{}
	b.fail(0, 1, time.Second)
	var allowed atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if b.try(time.Second, time.Second) {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := allowed.Load(); n != 1 {
		t.Errorf("%d may try", n)
	}
}

func TestWhatCountsAgainstAServer(t *testing.T) {
	for _, tc := range []struct {
		code, severity string
		blameless      bool
	}{
		{"57P01", "FATAL", false}, // shutdown
		{"57P02", "FATAL", false}, // crash of another process
		{"57P03", "FATAL", false}, // starting up
		{"57P05", "FATAL", true},  // idle_session_timeout
		{"57P04", "FATAL", true},  // database dropped
		{"25P03", "FATAL", true},  // idle_in_transaction_session_timeout
		{"40001", "FATAL", true},  // conflict with recovery
		{"XX000", "PANIC", false},
	} {
		frame := pgwire.AppendErrorResponse(nil, &pgwire.Error{Severity: tc.severity, Code: tc.code, Message: "m"})
		if got := blameless(frame); got != tc.blameless {
			t.Errorf("%s: blameless %v", tc.code, got)
		}
	}
	for code, want := range map[string]bool{"57P01": true, "57P02": true, "57P03": true, "57P05": false, "53300": false, "28P01": false, "3D000": false} {
		if goesAway(code) != want {
			t.Errorf("%s: goes away %v", code, !want)
		}
	}
}

// gate stands in front of a server and can be shut.
type gate struct {
	ln       net.Listener
	target   string
	running  sync.WaitGroup
	arrivals atomic.Int32 // connections that came while it did not let them through
	present  atomic.Int32 // of those, who is there now
	most     atomic.Int32

	mu    sync.Mutex
	mode  gateMode
	links map[net.Conn]bool
}

type gateMode int

const (
	gateOpen gateMode = iota
	gateShut          // ends what comes
	gateMute          // takes connections and says nothing
)

func newGate(t *testing.T, target string) *gate {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{ln: ln, target: target, links: make(map[net.Conn]bool)}
	g.running.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			g.running.Go(func() { g.carry(nc) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		g.set(gateShut)
		g.running.Wait()
	})
	return g
}

// set changes the mode and cuts off who is there.
func (g *gate) set(mode gateMode) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mode = mode
	for nc := range g.links {
		nc.Close()
	}
}

func (g *gate) carry(client net.Conn) {
	defer client.Close()
	g.mu.Lock()
	mode := g.mode
	g.links[client] = true
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.links, client)
		g.mu.Unlock()
	}()
	if mode != gateOpen {
		g.arrivals.Add(1)
		if mode == gateMute {
			for n := g.present.Add(1); n > g.most.Load(); {
				g.most.Store(n)
			}
			buf := make([]byte, 1024)
			for {
				if _, err := client.Read(buf); err != nil {
					break
				}
			}
			g.present.Add(-1)
		}
		return
	}
	server, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer server.Close()
	var other sync.WaitGroup
	other.Go(func() {
		copyUntilEnd(client, server)
		client.Close()
	})
	copyUntilEnd(server, client)
	server.Close()
	other.Wait()
}

func copyUntilEnd(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// A replica that takes no connections any more is left alone, but for one attempt at a time, and comes back when it
// does. No read fails meanwhile.
func TestBreakerOfAReplica(t *testing.T) {
	replica := testServer(t, 1)
	g := newGate(t, replica.Addr)
	replica.Addr = g.ln.Addr().String()
	roles := &fakeRoles{usable: []bool{true, true}}
	p := start(t, 2, func(c *Config) {
		c.Tuning.Databases = fallback(testServer(t, 0), replica)
		c.Tuning.LoginRetry = time.Millisecond
		c.Tuning.BreakerFailures = 3
		c.Tuning.BreakerTimeout = 100 * time.Millisecond
		c.Tuning.ServerConnect = time.Second
		c.Roles = func([]Server) (Roles, error) { return roles, nil }
	})
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var onReplica atomic.Int64
	for range 6 {
		c := p.connect(t, simple)
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var recovering bool
				if err := c.QueryRow(context.Background(), "select current_setting('cluster_name') = 'node1'").Scan(&recovering); err != nil {
					t.Errorf("a read failed: %v", err)
					return
				}
				if recovering {
					onReplica.Add(1)
				}
			}
		})
	}
	defer clients.Wait()
	defer close(stop)
	state := func() string { return p.Console().Replicas()[1].Breaker }
	served := func() bool { n := onReplica.Load(); return n > 100 && onReplica.Swap(0) > 0 }
	waitFor(t, "the replica to serve reads", served)
	if s := state(); s != "closed" {
		t.Errorf("the breaker is %s", s)
	}
	g.set(gateShut)
	waitFor(t, "the breaker to open", func() bool { return state() == "open" })
	// What was under way when it opened ends at once, and so do two attempts.
	waitFor(t, "attempts to fail", func() bool { return p.Console().Replicas()[1].Opened >= 3 && g.present.Load() == 0 })
	g.set(gateMute)
	g.most.Store(0)
	before := g.arrivals.Load()
	waitFor(t, "two more attempts", func() bool { return g.arrivals.Load() >= before+2 })
	if n := g.most.Load(); n != 1 {
		t.Errorf("%d attempts at once", n)
	}
	if s := state(); s == "closed" {
		t.Error("it has closed")
	}
	g.set(gateOpen)
	onReplica.Store(0)
	waitFor(t, "the replica to be back", served)
	if r := p.Console().Replicas()[1]; r.Breaker != "closed" || r.Opened < 3 || !r.Usable {
		t.Errorf("afterwards: %+v", r)
	}
}

// What a server says of a login, or a login that was given up, does not open the breaker.
func TestRefusedLoginsDoNotOpenTheBreaker(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.BreakerFailures = 1 })
	p.connect(t, simple)
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			for _, err := range []error{nil, context.Canceled, &pgwire.Error{Code: "28P01"}, &pgwire.Error{Code: "53300"}} {
				if g.pools[0].dialOutcome(err); g.pools[0].standing.avoids() {
					t.Errorf("%v opened it", err)
				}
			}
			if g.pools[0].dialOutcome(errors.New("no route to host")); !g.pools[0].standing.avoids() {
				t.Error("it does not open")
			}
		}
	})
	if err := p.connect(t, simple).Ping(context.Background()); err != nil {
		t.Errorf("the only server was ejected: %v", err)
	}
}

// Where there is no room for one more connection, one that is free finds out whether the server works.
func TestBreakerOfAFullPool(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(testServer(t, 0), testServer(t, 1))
		c.Tuning.Defaults.PoolSize = 1
		c.Roles = func([]Server) (Roles, error) { return &fakeRoles{usable: []bool{true, true}}, nil }
	})
	c := p.connect(t, simple)
	if got := standby(t, c); got != "replica" {
		t.Fatalf("a read went to the %s", got)
	}
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			g.pools[1].standing.fail(w.clock(), 1, time.Millisecond)
		}
	})
	if s := p.Console().Replicas()[1].Breaker; s == "closed" {
		t.Error("the breaker is closed")
	}
	waitFor(t, "the breaker to close", func() bool { return p.Console().Replicas()[1].Breaker == "closed" })
	waitFor(t, "reads to be back", func() bool { return standby(t, c) == "replica" })
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			if n := g.pools[1].slots.dials.Load(); n != 1 {
				t.Errorf("%d connections were made", n)
			}
		}
	})
}

// Reads that wait for a replica whose breaker is open, and that have nowhere else to go, do not keep the loop busy.
func TestReadsThatOnlyABrokenReplicaCouldTake(t *testing.T) {
	roles := &switchedRoles{}
	roles.up.Store(true)
	p := start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(testServer(t, 0), testServer(t, 1))
		c.Tuning.Defaults.RefuseReads, c.Tuning.Defaults.PoolSize = true, 1
		c.Tuning.BreakerTimeout = time.Hour
		c.Roles = func([]Server) (Roles, error) { return roles, nil }
	})
	ctx := context.Background()
	holder := p.connect(t, "")
	if got := standby(t, holder); got != "replica" {
		t.Fatalf("a read went to the %s", got)
	}
	held := make(chan error, 1)
	go func() { _, err := holder.Exec(ctx, "select pg_sleep(0.5)"); held <- err }()
	p.on(t, 0, func(w *worker) {
		for g := range w.groups {
			b := &g.up.standings[1].breaker
			for range 100 {
				b.fail(0, 1, time.Hour)
			}
		}
	})
	reads := make(chan error, 2)
	for range cap(reads) {
		c := p.connect(t, "")
		go func() { _, err := c.Exec(ctx, "select 1"); reads <- err }()
	}
	for range cap(reads) {
		select {
		case err := <-reads:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(deadline):
			t.Fatal("no answer")
		}
	}
	if err := <-held; err != nil {
		t.Error(err)
	}
}
