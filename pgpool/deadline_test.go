package pgpool

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// expectRefusal runs sql until it fails, which it must with code and a message that names the setting.
func expectRefusal(t *testing.T, c *pgx.Conn, sql, code, setting string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	_, err := c.Exec(ctx, sql)
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, setting) || !strings.Contains(e.Hint, setting) {
		t.Fatalf("%s: %v, want %s about %s", sql, err, code, setting)
	}
}

// simple makes a client send its queries as they are, so that an error is the answer to the query at hand.
const simple = "&default_query_exec_mode=simple_protocol"

func TestQueryTimeoutCancelsTheQueryAndKeepsTheSession(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		c.Tuning.Defaults.PoolSize = 1
		c.Tuning.Defaults.QueryTimeout = 300 * time.Millisecond
	})
	c := p.connect(t, simple)
	before := p.pids(t)
	expectRefusal(t, c, "select pg_sleep(3600)", "57014", "query_timeout")
	if after := p.pids(t); !slices.Equal(before, after) {
		t.Errorf("server %d was replaced by %d", before, after)
	}
	// Each query of a transaction has the time for itself.
	for _, sql := range []string{"begin", "select pg_sleep(0.2)", "select pg_sleep(0.2)", "commit"} {
		if _, err := c.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// pids are the processes behind the pooler's connections.
func (p *testPooler) pids(t *testing.T) (pids []uint32) {
	t.Helper()
	for i := range p.workers {
		p.on(t, i, func(w *worker) {
			for _, g := range w.groups {
				for _, pl := range g.pools {
					for s := range pl.all {
						pids = append(pids, s.pid)
					}
				}
			}
		})
	}
	return pids
}

// afterPause waits until the pooler has ended the session, and reads why.
func afterPause(t *testing.T, p *testPooler, setup []string, code, setting string) {
	t.Helper()
	w, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer w.nc.Close()
	for _, sql := range setup {
		w.play(step{query(sql)}, whole)
	}
	w.nc.SetReadDeadline(time.Now().Add(deadline))
	m, err := w.read()
	if err != nil || m.typ != pgwire.ErrorResponse {
		t.Fatalf("after %q: %v, %v", setup, m, err)
	}
	e := pgwire.ParseError(m.body)
	if e.Code != code || !strings.Contains(e.Message, setting) || !strings.Contains(e.Hint, setting) {
		t.Fatalf("after %q: %v, want %s about %s", setup, e, code, setting)
	}
}

func TestSessionsThatRestTooLong(t *testing.T) {
	for _, tc := range []struct {
		name    string
		set     func(*Policy, time.Duration)
		setup   []string
		code    string
		setting string
	}{
		{"transaction", func(p *Policy, d time.Duration) { p.IdleTransaction = d }, []string{"begin", "select 1"}, "25P03", "idle_transaction_timeout"},
		{"failed transaction", func(p *Policy, d time.Duration) { p.IdleTransaction = d }, []string{"begin", "select 1/0"}, "25P03", "idle_transaction_timeout"},
		{"long transaction", func(p *Policy, d time.Duration) { p.Transaction = d }, []string{"begin"}, "25P04", "transaction_timeout"},
		{"idle client", func(p *Policy, d time.Duration) { p.ClientIdle = d }, []string{"select 1"}, "57P05", "client_idle_timeout"},
		{"client that never did anything", func(p *Policy, d time.Duration) { p.ClientIdle = d }, nil, "57P05", "client_idle_timeout"},
		{"idle client with a server", func(p *Policy, d time.Duration) { p.ClientIdle = d; p.Mode = SessionMode }, []string{"select 1"}, "57P05", "client_idle_timeout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, 1, func(c *Config) { tc.set(&c.Tuning.Defaults, 200*time.Millisecond) })
			afterPause(t, p, tc.setup, tc.code, tc.setting)
			p.settled(t, 0)
		})
	}
}

func TestTransactionTimeoutEndsARunningQuery(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.Transaction = 300 * time.Millisecond })
	c := p.connect(t, simple)
	if _, err := c.Exec(context.Background(), "begin; select 1"); err != nil {
		t.Fatal(err)
	}
	expectRefusal(t, c, "select pg_sleep(3600) /* transaction too long */", "25P04", "transaction_timeout")
	watch := direct(t, 0)
	waitFor(t, "the query to end on the server", func() bool {
		var n int
		if err := watch.QueryRow(context.Background(), "select count(*) from pg_stat_activity where query like '%transaction too long%' and state = 'active' and pid <> pg_backend_pid()").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
}

func TestAClientThatWaitsIsToldSo(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		c.Tuning.Defaults.PoolSize = 1
		c.Tuning.Defaults.QueryWaitNotify = 200 * time.Millisecond
	})
	holder := p.connect(t, simple)
	ctx := context.Background()
	if _, err := holder.Exec(ctx, "begin; select 1"); err != nil {
		t.Fatal(err)
	}
	cfg, err := pgx.ParseConfig(p.url(simple))
	if err != nil {
		t.Fatal(err)
	}
	notices := make(chan *pgconn.Notice, 4)
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices <- n }
	waiter, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer waiter.Close(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(ctx, "select 1")
		done <- err
	}()
	select {
	case n := <-notices:
		if !strings.Contains(n.Message, "waiting for a server connection") {
			t.Errorf("told %q", n.Message)
		}
	case <-time.After(deadline):
		t.Fatal("no notice")
	}
	if _, err := holder.Exec(ctx, "commit"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(notices) > 0 {
		t.Error("told more than once")
	}
}

// A dial that has failed ends no wait: while the connections that there are serve others, query_wait_timeout goes on.
func TestQueryWaitTimeoutBehindAFailedDial(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		c.Tuning.Defaults.PoolSize, c.Tuning.Defaults.QueryWait = 1, 300*time.Millisecond
	})
	p.own(t).play(step{query("begin"), query("select 1")}, whole)
	w := p.own(t)
	p.on(t, 0, func(w *worker) { // as when another worker takes the last connection behind it
		for _, g := range w.groups {
			g.pools[0].dialing++
			g.pools[0].slots.used.Add(1)
			g.pools[0].dialed(io.EOF)
		}
	})
	w.nc.SetDeadline(time.Now().Add(deadline))
	w.send(t, "select 1")
	if code := lastWords(t, w.nc); code != "57014" {
		t.Errorf("it is told %q", code)
	}
}

func TestUsersHaveTheirOwnTimeouts(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		defaults := c.Tuning.Defaults
		c.Tuning.Policy = func(_, user string) Policy {
			own := defaults
			if user == "hurried" {
				own.QueryTimeout = 200 * time.Millisecond
			}
			return own
		}
	})
	cfg, err := pgx.ParseConfig(p.url(simple))
	if err != nil {
		t.Fatal(err)
	}
	cfg.User = "hurried"
	hurried, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer hurried.Close(context.Background())
	expectRefusal(t, hurried, "select pg_sleep(3600)", "57014", "query_timeout")
	if _, err := p.connect(t, simple).Exec(context.Background(), "select pg_sleep(0.6)"); err != nil {
		t.Errorf("another user: %v", err)
	}
}
