package pgpool

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// lines are those with all of the words.
func (l *lockedBuffer) lines(words ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n
}

// watched runs a pooler whose servers are probed often.
func watched(t *testing.T, log io.Writer, servers ...Server) (*testPooler, *Watcher) {
	t.Helper()
	var watcher *Watcher
	p := start(t, 2, func(c *Config) {
		c.Tuning.Databases = fallback(servers...)
		c.Tuning.Defaults.FailoverWait = time.Second
		c.Roles = func(servers []Server) (_ Roles, err error) {
			logger := slog.New(slog.NewTextHandler(log, nil))
			watcher, err = newWatcher(servers, health.Config{Interval: 50 * time.Millisecond, TroubleInterval: 20 * time.Millisecond, Logger: logger})
			return watcher, err
		}
	})
	return p, watcher
}

func isPrimary(w *Watcher, want int) func() bool {
	return func() bool { i, ok := w.Primary(); return ok && i == want }
}

func noPrimary(w *Watcher) func() bool {
	return func() bool { _, ok := w.Primary(); return !ok }
}

// healthOf returns the row of SHOW HEALTH for a server.
func (p *testPooler) healthOf(t *testing.T, server string) admin.Health {
	t.Helper()
	rows := p.Console().Health()
	i := slices.IndexFunc(rows, func(h admin.Health) bool { return h.Server == server })
	if i < 0 {
		t.Fatalf("%s is not shown: %+v", server, rows)
	}
	return rows[i]
}

// connectionsTo counts those to a server.
func (p *testPooler) connectionsTo(addr string) (n int) {
	for _, s := range p.Console().Servers() {
		if s.Addr.String() == addr {
			n++
		}
	}
	return n
}

// startCluster starts servers for a test that spoils them.
func startCluster(t *testing.T, replicas int) (*devpg.Cluster, []Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	c, err := devpg.Start(ctx, devpg.Options{Replicas: replicas})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	var servers []Server
	for i := range c.Len() {
		s, err := ParseURL(c.URL(i))
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	return c, servers
}

// Any of the hosts may be the primary, another is used as soon as it has a higher timeline, and the one before gets nothing
// from then on: neither while it goes on as if nothing had happened, nor when it is the only one that is left.
func TestAnOldPrimaryIsFenced(t *testing.T) {
	c, servers := startCluster(t, 1)
	slices.Reverse(servers) // the primary is the second host
	log := &lockedBuffer{}
	p, watcher := watched(t, log, servers...)
	ctx := context.Background()
	waitFor(t, "the primary to be found", isPrimary(watcher, 1))
	waitFor(t, "the other to be a replica", func() bool { return watcher.Usable(0, &Policy{}) })
	setUp := p.connect(t, simple)
	mustExec(t, setUp, "create table fenced (n int)")
	inTransaction := p.connect(t, simple)
	mustExec(t, inTransaction, "begin")
	mustExec(t, inTransaction, "insert into fenced values (1)")

	if err := c.Promote(ctx, 1); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the promoted server to be the primary", isPrimary(watcher, 0))
	if _, err := inTransaction.Exec(ctx, "insert into fenced values (2)"); err == nil {
		t.Error("a transaction goes on at the old primary")
	}
	writer := p.connect(t, simple)
	mustExec(t, writer, "insert into fenced values (3)")
	waitFor(t, "the connections to the old primary to be closed", func() bool { return p.connectionsTo(c.Addr(0)) == 0 })
	if h := p.healthOf(t, c.Addr(0)); h.State != "fenced" || h.Reason != "old primary" || h.Primary || h.Timeline != 1 {
		t.Errorf("the old primary: %+v", h)
	}
	if h := p.healthOf(t, c.Addr(1)); h.State != "up" || !h.Primary || h.Role != "primary" || h.Timeline != 2 {
		t.Errorf("the new primary: %+v", h)
	}

	c.Kill(1)
	waitFor(t, "the new primary to be missed", noPrimary(watcher))
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if _, err := writer.Exec(short, "insert into fenced values (4)"); err == nil {
		t.Error("a write was taken without a primary")
	}
	if watcher.Usable(1, &Policy{}) {
		t.Error("the old primary is used for reads")
	}
	if n := log.lines("fenced="); n != 1 {
		t.Errorf("the fence was logged %d times", n)
	}
	old, err := pgx.Connect(ctx, c.URL(0))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close(ctx)
	var n int
	if err := old.QueryRow(ctx, "select count(*) from fenced").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows at the old primary, %v", n, err)
	}
}

// switchboard passes connections on to wherever it is told.
type switchboard struct {
	ln net.Listener
	to atomic.Value // string

	mu      sync.Mutex
	open    []net.Conn
	passing sync.WaitGroup
}

func newSwitchboard(t *testing.T, to string) *switchboard {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &switchboard{ln: ln}
	b.to.Store(to)
	b.passing.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", b.to.Load().(string))
			if err != nil {
				nc.Close()
				continue
			}
			b.mu.Lock()
			b.open = append(b.open, nc, to)
			b.mu.Unlock()
			b.passing.Go(func() { defer to.Close(); io.Copy(to, nc) })
			b.passing.Go(func() { defer nc.Close(); io.Copy(nc, to) })
		}
	})
	t.Cleanup(func() { ln.Close(); b.cut(); b.passing.Wait() })
	return b
}

// cut closes what is open.
func (b *switchboard) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, nc := range b.open {
		nc.Close()
	}
	b.open = nil
}

// A server of another cluster at a known address gets nothing, until somebody says that it is right.
func TestAStrangerIsFenced(t *testing.T) {
	stranger, _ := startCluster(t, 0)
	door := newSwitchboard(t, pg.Addr(0))
	server := testServer(t, 0)
	server.Addr = door.ln.Addr().String()
	log := &lockedBuffer{}
	p, watcher := watched(t, log, server)
	waitFor(t, "the primary to be found", isPrimary(watcher, 0))
	c := p.connect(t, simple)
	mustExec(t, c, "select 1")

	door.to.Store(stranger.Addr(0))
	door.cut()
	waitFor(t, "the stranger to be recognised", func() bool { return watcher.Fenced(0) })
	if !noPrimary(watcher)() {
		t.Error("the stranger is the primary")
	}
	if h := p.healthOf(t, server.Addr); h.State != "fenced" || h.Reason != "other cluster" || h.Primary {
		t.Errorf("shown as %+v", h)
	}
	waitFor(t, "connections to it to be closed", func() bool { return len(p.Console().Servers()) == 0 })
	time.Sleep(200 * time.Millisecond) // several probes
	if n := log.lines("fenced=", "system_identifier="); n != 1 {
		t.Errorf("the fence was logged %d times", n)
	}
	if err := p.Control().Reconnect(""); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the stranger to be accepted", isPrimary(watcher, 0))
	mustExec(t, p.connect(t, simple), "create table accepted ()")
}
