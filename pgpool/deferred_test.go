package pgpool

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// simply runs a statement by the simple protocol, so that a transaction is what it says.
func simply(t testing.TB, c *pgx.Conn, sql string) {
	t.Helper()
	if err := c.PgConn().Exec(context.Background(), sql).Close(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// code is the SQLSTATE of what a statement is refused with, or nothing.
func code(c *pgx.Conn, sql string) string {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	err := c.PgConn().Exec(ctx, sql).Close()
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// holding is how many servers have a client.
func (p *testPooler) holding(t testing.TB) (n int) {
	for i := range p.workers {
		p.on(t, i, func(w *worker) {
			for c := range w.clients {
				if c.server != nil {
					n++
				}
			}
		})
	}
	return n
}

// A BEGIN holds no server, and who ends what it has begun has never had one.
func TestBeginTakesNoServer(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	ctx := context.Background()
	a, b := p.connect(t, ""), p.connect(t, "")
	for _, end := range []string{"commit", "rollback"} {
		simply(t, a, "begin")
		if n := p.holding(t); n != 0 || a.PgConn().TxStatus() != pgwire.InBlock {
			t.Fatalf("%d servers are held behind BEGIN, the client's state is %c", n, a.PgConn().TxStatus())
		}
		simply(t, b, "select 1") // by the only server
		simply(t, a, end)
		if s := a.PgConn().TxStatus(); s != pgwire.Idle {
			t.Fatalf("state %c behind %s", s, end)
		}
	}
	// The transaction is one: its first statement has opened it.
	simply(t, b, "create table if not exists deferred(n int)")
	simply(t, a, "begin")
	simply(t, a, "insert into deferred values (1)")
	if n := p.holding(t); n != 1 {
		t.Fatalf("%d servers are held by a transaction", n)
	}
	simply(t, a, "rollback")
	var n int
	if err := b.QueryRow(ctx, "select count(*) from deferred").Scan(&n); err != nil || n != 0 {
		t.Fatalf("%d rows of a transaction that was rolled back, %v", n, err)
	}
	simply(t, b, "drop table deferred")
	p.settled(t, 2)
	p.on(t, 0, func(w *worker) {
		if w.open != 0 || len(w.spare) == 0 {
			t.Errorf("%d transactions are open, %d kept for use again", w.open, len(w.spare))
		}
	})
}

// What is answered without a server counts as the rest does.
func TestTransactionsAnsweredHereAreCounted(t *testing.T) {
	p := start(t, 1, nil)
	c := p.connect(t, "")
	queries, xacts := p.totals()
	simply(t, c, "begin")
	simply(t, c, "commit")
	simply(t, c, "begin")
	simply(t, c, "select 1")
	simply(t, c, "commit")
	if q, x := p.totals(); q-queries != 5 || x-xacts != 2 {
		t.Errorf("%d queries and %d transactions, not 5 and 2", q-queries, x-xacts)
	}
}

// totals are the sums of SHOW STATS.
func (p *testPooler) totals() (queries, xacts uint64) {
	for _, row := range p.Console().Stats() {
		queries += row.Total.Queries
		xacts += row.Total.Xacts
	}
	return queries, xacts
}

// A client that cancels its transaction's first statement while it waits is in a failed transaction until it ends it.
func TestCancelAheadOfATransactionsServer(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	holder, c := p.connect(t, ""), p.connect(t, "")
	for _, extended := range []bool{false, true} {
		simply(t, holder, "begin")
		simply(t, holder, "select 1") // it has the only server
		simply(t, c, "begin")
		failed := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), deadline)
			defer cancel()
			if extended {
				failed <- c.PgConn().ExecParams(ctx, "select 'never'", nil, nil, nil, nil).Read().Err
				return
			}
			failed <- c.PgConn().Exec(ctx, "select 'never'").Close()
		}()
		waitFor(t, "the client to wait", func() bool {
			waits := 0
			p.on(t, 0, func(w *worker) {
				for _, g := range w.groups {
					waits += g.pools[0].waiting.n
				}
			})
			return waits == 1
		})
		if err := c.PgConn().CancelRequest(context.Background()); err != nil {
			t.Fatal(err)
		}
		if e, ok := errors.AsType[*pgconn.PgError](<-failed); !ok || e.Code != "57014" {
			t.Fatalf("extended %v: %v", extended, e)
		}
		if s := c.PgConn().TxStatus(); s != pgwire.InFailed {
			t.Fatalf("state %c behind it", s)
		}
		for _, sql := range []string{"select 1", "begin", "savepoint s", "select 1; select 2", "nonsense"} {
			if got := code(c, sql); got != "25P02" || c.PgConn().TxStatus() != pgwire.InFailed {
				t.Errorf("%s: %q, state %c", sql, got, c.PgConn().TxStatus())
			}
		}
		if got := code(c, ""); got != "" {
			t.Errorf("an empty query: %s", got)
		}
		if err := c.PgConn().ExecParams(context.Background(), "select 1", nil, nil, nil, nil).Read().Err; err == nil {
			t.Error("the extended protocol runs in a failed transaction")
		}
		tag, err := c.PgConn().Exec(context.Background(), "commit").ReadAll()
		if err != nil || len(tag) != 1 || tag[0].CommandTag.String() != "ROLLBACK" {
			t.Fatalf("COMMIT of a failed transaction: %v, %v", tag, err)
		}
		simply(t, holder, "commit")
		simply(t, c, "select 1")
	}
}

// A cancel request may come right behind the end of its client, whose unit waits.
func TestCancelBehindTheEndOfItsClient(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	holder, gone := p.connect(t, ""), p.connect(t, "")
	simply(t, holder, "begin")
	simply(t, holder, "select 1") // it has the only server
	simply(t, gone, "begin")
	ended := make(chan error, 1)
	go func() { ended <- gone.PgConn().Exec(context.Background(), "select 'never'").Close() }()
	var waiting *client
	waitFor(t, "the client to wait", func() bool {
		p.on(t, 0, func(w *worker) {
			for c := range w.clients {
				if c.pool != nil {
					waiting = c
				}
			}
		})
		return waiting != nil
	})
	done := make(chan struct{})
	p.on(t, 0, func(w *worker) { // both come in the next tick
		w.loop.Post(func() { waiting.conn.Close(nil) })
		w.loop.Post(func() { waiting.cancelled(func() { close(done) }) })
	})
	<-done
	if err := <-ended; err == nil {
		t.Error("a query of a connection that has ended was answered")
	}
	simply(t, holder, "commit")
}

// Timeouts hold for a transaction that no server knows of.
func TestTimeoutsOfATransactionWithoutAServer(t *testing.T) {
	for name, set := range map[string]func(*Policy){
		"25P03": func(p *Policy) { p.IdleTransaction = 200 * time.Millisecond },
		"25P04": func(p *Policy) { p.Transaction = 200 * time.Millisecond },
	} {
		p := start(t, 1, func(c *Config) { set(&c.Tuning.Defaults) })
		w, err := wireTo(p.addr, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		defer w.nc.Close()
		w.play(step{query("begin")}, whole)
		w.nc.SetDeadline(time.Now().Add(deadline))
		m, err := w.read()
		if err != nil || m.typ != pgwire.ErrorResponse || pgwire.ParseError(m.body).Code != name {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

// transaction_timeout counts from BEGIN, although the server comes later.
func TestTransactionTimeoutCountsFromBegin(t *testing.T) {
	p := start(t, 1, nil)
	c := p.connect(t, "")
	simply(t, c, "begin")
	var told time.Time
	p.on(t, 0, func(w *worker) {
		for c := range w.clients {
			told = c.tx.began
		}
	})
	simply(t, c, "set local work_mem = '1MB'")
	p.on(t, 0, func(w *worker) {
		for c := range w.clients {
			if c.server == nil || !c.server.began.Equal(told) {
				t.Error("the server's transaction began at another time than the client's")
			}
		}
	})
}

// A client that has begun is in a transaction, which a shutdown waits for.
func TestDrainWaitsForATransactionWithoutAServer(t *testing.T) {
	p := start(t, 1, nil)
	c, idle := p.connect(t, ""), p.connect(t, "")
	simply(t, c, "begin")
	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		drained <- p.Drain(ctx)
	}()
	waitFor(t, "the idle client to be told to go", func() bool { return code(idle, "select 1") != "" })
	simply(t, c, "select 1")
	simply(t, c, "commit")
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if got := code(c, "select 1"); got == "" {
		t.Error("the client goes on behind its transaction")
	}
}

// And one that ends without a statement leaves as well.
func TestDrainOfATransactionThatEndsHere(t *testing.T) {
	p := start(t, 1, nil)
	c := p.connect(t, "")
	simply(t, c, "begin")
	p.on(t, 0, (*worker).drain)
	simply(t, c, "commit")
	if got := code(c, "select 1"); got == "" {
		t.Error("the client goes on behind its transaction")
	}
}

// PAUSE does not wait for who has only begun; what they send next waits for RESUME.
func TestPauseBehindBegin(t *testing.T) {
	p := start(t, 1, nil)
	c := p.connect(t, "")
	simply(t, c, "begin")
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := p.Control().Pause(ctx, ""); err != nil {
		t.Fatal(err)
	}
	done := make(chan string, 1)
	go func() { done <- code(c, "select 1") }()
	waitFor(t, "the client to wait", func() bool {
		waits := 0
		p.on(t, 0, func(w *worker) {
			for _, g := range w.groups {
				waits += g.pools[0].waiting.n
			}
		})
		return waits == 1
	})
	if err := p.Control().Resume(""); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got != "" {
		t.Error(got)
	}
	simply(t, c, "commit")
}

// The settings of a session are there in the transaction, and are not rolled back with it.
func TestSettingsComeAheadOfTheBegin(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	a, b := p.connect(t, ""), p.connect(t, "")
	for i, c := range []*pgx.Conn{a, b} {
		simply(t, c, fmt.Sprintf("set work_mem = '%dMB'", 10+i))
	}
	for range 3 {
		for i, c := range []*pgx.Conn{a, b} {
			want := fmt.Sprintf("%dMB", 10+i)
			for _, end := range []string{"rollback", "commit"} {
				simply(t, c, "begin")
				var inside, behind string
				if err := c.QueryRow(context.Background(), "show work_mem", pgx.QueryExecModeSimpleProtocol).Scan(&inside); err != nil {
					t.Fatal(err)
				}
				simply(t, c, end)
				if err := c.QueryRow(context.Background(), "show work_mem", pgx.QueryExecModeSimpleProtocol).Scan(&behind); err != nil {
					t.Fatal(err)
				}
				if inside != want || behind != want {
					t.Errorf("%s in the transaction, %s behind it, not %s", inside, behind, want)
				}
			}
		}
	}
}

// In statement mode a BEGIN is refused, as ever.
func TestBeginInStatementMode(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.Mode = StatementMode })
	if got := code(p.connect(t, ""), "begin"); got != "0A000" {
		t.Error(got)
	}
}

// A transaction that begins here allocates nothing in the pooler, with a statement or without.
func TestTransactionsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, tc := range []struct {
		name  string
		units step
	}{
		{"nothing in it", step{query("begin"), query("commit")}},
		{"a query", step{query("begin isolation level repeatable read"), query("select 1"), query("rollback")}},
		{"show", step{query("show server_version")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := start(t, 1, nil)
			nc := p.dialRaw(t)
			buf := make([]byte, 4096)
			nc.Write(pgwire.AppendStartup(nil, pgwire.Version30, []pgwire.Param{{Name: "user", Value: "postgres"}}))
			untilReady(t, nc, buf)
			var units [][]byte
			for _, m := range tc.units {
				units = append(units, m.encode())
			}
			trip := func() {
				for _, unit := range units {
					nc.Write(unit)
					untilReady(t, nc, buf)
				}
			}
			for range 200 {
				trip()
			}
			least := testing.AllocsPerRun(300, trip)
			for range 20 { // others allocate too for a while, as what looks at the catalog does
				least = min(least, testing.AllocsPerRun(300, trip))
			}
			if least != 0 {
				t.Errorf("%v allocations", least)
			}
		})
	}
}
