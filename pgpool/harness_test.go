package pgpool

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// deadline bounds every wait of these tests; reaching it is a failure.
const deadline = 30 * time.Second

var pg *devpg.Cluster

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(devpg.Around(m, devpg.Options{Replicas: 1}, func(c *devpg.Cluster) { pg = c }))
}

// testPooler is a running pooler in front of the tests' cluster.
type testPooler struct {
	*Pooler
	addr string
	halt func() // ends Run
}

// url returns the URL of a client; query is appended as it is.
func (p *testPooler) url(query string) string {
	return fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable%s", p.addr, query)
}

// connect connects a client until the test ends.
func (p *testPooler) connect(t testing.TB, query string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	c, err := pgx.Connect(ctx, p.url(query))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// testServer is how the pooler reaches server i of the cluster.
func testServer(t testing.TB, i int) Server {
	t.Helper()
	s, err := ParseURL(pg.URL(i))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// alone is a primary about which nothing else is known.
type alone struct{}

func (alone) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (alone) Primary() (int, bool)          { return 0, true }
func (alone) Usable(int, *Policy) bool      { return false }
func (alone) Fenced(int) bool               { return false }
func (alone) Doubt(int)                     {}
func (alone) Floor() uint64                 { return 0 }
func (alone) Want(uint64)                   {}
func (alone) Reached(int, uint64) bool      { return false }
func (alone) Life(int) uint32               { return 0 }
func (alone) System() uint64                { return 0 }

func (alone) Mark() uint64                       { return 0 }
func (alone) Position(uint64) (Position, bool)   { return Position{}, false }
func (alone) ReachedPosition(int, Position) bool { return false }
func (alone) Confirm(context.Context, int) error { return nil }

// fallback has all databases on the same servers.
func fallback(servers ...Server) map[string]Database {
	return map[string]Database{"*": {Servers: servers}}
}

var forced = flag.Bool("batch", false, "have every unit that may share a server do so")

// start runs a pooler; change may adjust its configuration.
func start(t testing.TB, loops int, change func(*Config)) *testPooler {
	t.Helper()
	clients, err := auth.New(auth.Config{Method: auth.Trust})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Roles:   func([]Server) (Roles, error) { return alone{}, nil },
		Listen:  []string{"127.0.0.1:0"},
		Logger:  slog.New(slog.NewTextHandler(testWriter{t}, nil)),
		Version: "test",
		Tuning: Tuning{Databases: fallback(testServer(t, 0)), MaxClients: 1000, ClientLogin: deadline, ServerConnect: deadline,
			LoginRetry: 50 * time.Millisecond, AdminUsers: []string{"postgres"}, Clients: clients,
			Defaults: Policy{PoolSize: 4, MaxPrepared: 50, QueryWait: deadline, ServerLifetime: time.Hour, ServerIdle: time.Hour}},
	}
	for range loops {
		l, err := netloop.New(netloop.Config{})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Loops = append(cfg.Loops, l)
	}
	if change != nil {
		change(&cfg)
	}
	if *forced && cfg.Tuning.Defaults.Batching == BatchingOff {
		cfg.Tuning.Defaults.Batching, cfg.Tuning.Defaults.BatchMax = batchingAll, 16
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Listen(); err != nil {
		t.Fatal(err)
	}
	loopCtx, stopLoops := context.WithCancel(context.Background())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, l := range cfg.Loops {
		running.Go(func() {
			if err := l.Run(loopCtx); err != nil {
				t.Errorf("loop: %v", err)
			}
		})
	}
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Errorf("pooler: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		p.Close()
		stopLoops()
		running.Wait()
	})
	return &testPooler{Pooler: p, addr: p.Addrs()[0].String(), halt: cancel}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// direct connects to server i without the pooler.
func direct(t testing.TB, i int) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(context.Background(), pg.URL(i))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// on runs fn on worker i's loop and waits for it.
func (p *testPooler) on(t testing.TB, i int, fn func(*worker)) {
	t.Helper()
	done := make(chan struct{})
	if !p.workers[i].loop.Post(func() { fn(p.workers[i]); close(done) }) {
		t.Fatal("loop has stopped")
	}
	<-done
}

func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// dialRaw opens a bare connection to the pooler.
func (p *testPooler) dialRaw(t testing.TB) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(deadline))
	t.Cleanup(func() { nc.Close() })
	return nc
}
