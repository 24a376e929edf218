package pgpool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestSimpleAndExtended(t *testing.T) {
	p := start(t, 1, nil)
	ctx := context.Background()
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		c := p.connect(t, "&default_query_exec_mode="+mode)
		for i := range 5 {
			var a int
			var b string
			if err := c.QueryRow(ctx, "select $1::int4 + 1, $2::text || '!'", i, "x").Scan(&a, &b); err != nil {
				t.Fatalf("%s: %v", mode, err)
			}
			if a != i+1 || b != "x!" {
				t.Fatalf("%s: got %d %q", mode, a, b)
			}
		}
		var n int
		if err := c.QueryRow(ctx, "select 1/$1::int4", 0).Scan(&n); !hasCode(err, "22012") {
			t.Fatalf("%s: division by zero gave %v", mode, err)
		}
		if err := c.QueryRow(ctx, "select 7").Scan(&n); err != nil || n != 7 {
			t.Fatalf("%s: after an error: %d, %v", mode, n, err)
		}
	}
}

func hasCode(err error, code string) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == code
}

// Sessions of many clients over few servers: a row, a statement, an error or a setting of one that shows up at another
// fails it.
func TestNothingIsMixedUp(t *testing.T) {
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprintf("loops=%d", loops), func(t *testing.T) {
			p := start(t, loops, func(c *Config) {
				c.Tuning.Defaults.PoolSize = 3
				c.Tuning.Defaults.MaxPrepared = 5 // evicts all the time
			})
			var wg sync.WaitGroup
			for i := range 24 {
				wg.Go(func() { mixUp(t, p, i) })
			}
			wg.Wait()
		})
	}
}

// mixUp is one client: everything it asks for carries its number.
func mixUp(t *testing.T, p *testPooler, me int) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*deadline)
	defer cancel()
	modes := []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"}
	c, err := pgx.Connect(ctx, p.url(fmt.Sprintf("&application_name=client_%d&default_query_exec_mode=%s", me, modes[me%len(modes)])))
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close(ctx)
	for round := range 60 {
		var got int
		var name string
		switch round % 6 {
		case 0: // a statement of its own, named by the driver after its text
			err = c.QueryRow(ctx, fmt.Sprintf("select %d + $1::int4, current_setting('application_name')", me*1000), round).Scan(&got, &name)
			if err == nil && name != fmt.Sprintf("client_%d", me) {
				t.Errorf("client %d has application_name %q", me, name)
			}
		case 1: // a statement that all share, with its own value
			err = c.QueryRow(ctx, "select $1::int4 + $2::int4, 'x'", me*1000, round).Scan(&got, &name)
		case 2: // a transaction
			err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "select set_config('my.id', $1, true)", fmt.Sprint(me*1000)); err != nil {
					return err
				}
				return tx.QueryRow(ctx, "select current_setting('my.id')::int4 + $1::int4", round).Scan(&got)
			})
		case 3: // a batch: several statements before one Sync
			b := &pgx.Batch{}
			for k := range 4 {
				b.Queue("select $1::int4 + $2::int4", me*1000+k, round)
			}
			res := c.SendBatch(ctx, b)
			for k := range 4 {
				if err = res.QueryRow().Scan(&got); err != nil {
					break
				}
				got -= k
			}
			err = errors.Join(err, res.Close())
		case 4: // an error that carries the number
			_, err = c.Exec(ctx, fmt.Sprintf("select 1/($1::int4 - %d)", me), me)
			if !hasCode(err, "22012") {
				t.Errorf("client %d: %v", me, err)
			}
			err, got = nil, me*1000+round
		case 5: // many rows
			rows, e := c.Query(ctx, "select $1::int4 + 0*g from generate_series(1, 2000) g", me*1000+round)
			if e != nil {
				err = e
				break
			}
			n := 0
			for rows.Next() {
				if err = rows.Scan(&got); err != nil || got != me*1000+round {
					break
				}
				n++
			}
			rows.Close()
			if err == nil && n != 2000 {
				t.Errorf("client %d got %d rows", me, n)
			}
			err = errors.Join(err, rows.Err())
		}
		if err != nil {
			t.Errorf("client %d, round %d: %v", me, round, err)
			return
		}
		if got != me*1000+round {
			t.Errorf("client %d got an answer of client %d: %d in round %d", me, got/1000, got, round)
			return
		}
	}
}

func TestPoolStaysWithinItsSize(t *testing.T) {
	p := start(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 2 })
	ctx := context.Background()
	var wg sync.WaitGroup
	for range 12 {
		c := p.connect(t, "&application_name=sized")
		wg.Go(func() {
			for range 5 {
				if _, err := c.Exec(ctx, "select pg_sleep(0.01)"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var n int
	if err := direct(t, 0).QueryRow(ctx, "select count(*) from pg_stat_activity where application_name = 'sized'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n < 1 || n > 2 {
		t.Errorf("%d server connections, the limit is 2", n)
	}
}

func TestSettingsFollowTheClient(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	ctx := context.Background()
	a := p.connect(t, "&search_path=a,public&options=-c%20statement_timeout%3D12345")
	b := p.connect(t, "&timezone=Asia%2FTokyo")
	show := func(c *pgx.Conn, name, want string) {
		t.Helper()
		var got string
		if err := c.QueryRow(ctx, "show "+name).Scan(&got); err != nil || got != want {
			t.Errorf("show %s: %q, %v; want %q", name, got, err, want)
		}
	}
	var initial string
	if err := direct(t, 0).QueryRow(ctx, "show search_path").Scan(&initial); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		show(a, "search_path", "a,public")
		show(b, "search_path", initial)
		show(a, "statement_timeout", "12345ms")
		show(b, "statement_timeout", "0")
		show(b, "timezone", "Asia/Tokyo")
	}
	if _, err := a.Exec(ctx, "set search_path to x, \"Y z\""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Exec(ctx, "set work_mem = '77MB'"); err != nil {
		t.Fatal(err)
	}
	show(a, "search_path", `x, "Y z"`)
	show(b, "search_path", initial)
	show(b, "work_mem", "77MB")
	show(a, "work_mem", "4MB")
	// What fails or is rolled back changes nothing.
	if _, err := b.Exec(ctx, "set work_mem = 'nonsense'"); !hasCode(err, "22023") {
		t.Errorf("nonsense: %v", err)
	}
	show(b, "work_mem", "77MB")
	if _, err := a.Exec(ctx, "reset search_path"); err != nil {
		t.Fatal(err)
	}
	show(a, "search_path", "a,public")
	show(b, "work_mem", "77MB")
	if _, err := b.Exec(ctx, "reset all"); err != nil {
		t.Fatal(err)
	}
	show(b, "work_mem", "4MB")
	show(b, "timezone", "Asia/Tokyo")
	p.on(t, 0, func(w *worker) {
		if w.pins != 0 {
			t.Errorf("%d clients are pinned; plain SETs need no pin", w.pins)
		}
	})
}

// DateStyle is a style and an order of day, month and year: a SET of the one leaves the other.
func TestHalfADateStyle(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	a, b := p.connect(t, "&options=-c%20datestyle%3DGerman"), p.connect(t, "")
	show := func(c *pgx.Conn, want string) {
		t.Helper()
		var got string
		if err := c.QueryRow(t.Context(), "show datestyle").Scan(&got); err != nil || got != want {
			t.Errorf("datestyle is %q, %v; want %q", got, err, want)
		}
	}
	show(a, "German, DMY")
	if _, err := b.Exec(t.Context(), "set datestyle to ISO"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		show(a, "German, DMY")
		show(b, "ISO, MDY")
	}
	if _, err := a.Exec(t.Context(), "set datestyle to ISO"); err != nil {
		t.Fatal(err)
	}
	show(a, "ISO, DMY")
	show(a, "ISO, DMY")
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	show(b, "ISO, MDY")
}

// State that cannot be carried keeps the client on its server, and is gone when the client is.
func TestStatePins(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct{ name, make, check string }{
		{"temporary table", "create temp table mine(x int)", "select count(*) from mine"},
		{"advisory lock", "select pg_advisory_lock(4711)", "select count(*) from pg_locks where locktype = 'advisory' and objid = 4711 having count(*) = 1"},
		{"SQL prepare", "prepare mine as select 42", "execute mine"},
		{"set role", "set role pg_monitor", "select 1 where current_user = 'pg_monitor'"},
		{"held cursor", "begin; declare mine cursor with hold for select 1; commit", "fetch all from mine"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 2 })
			a := p.connect(t, "&default_query_exec_mode=simple_protocol")
			if _, err := a.Exec(ctx, tc.make); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 4 {
				b := p.connect(t, "&default_query_exec_mode=simple_protocol")
				wg.Go(func() {
					for range 10 {
						if tag, err := b.Exec(ctx, tc.check); err == nil && tag.RowsAffected() > 0 && tc.name != "advisory lock" {
							t.Error("a stranger sees the state")
						}
					}
				})
			}
			wg.Wait()
			for range 5 {
				if tag, err := a.Exec(ctx, tc.check); err != nil || tag.RowsAffected() != 1 {
					t.Fatalf("its own state: %v, %v", tag, err)
				}
				if tc.name == "held cursor" {
					break // a fetch moves it
				}
			}
			a.Close(ctx)
			b := p.connect(t, "&default_query_exec_mode=simple_protocol")
			waitFor(t, "reset of the server", func() bool {
				busy := 0
				p.on(t, 0, func(w *worker) {
					for _, g := range w.groups {
						for s := range g.pools[0].all {
							if s.client != nil || s.inReset {
								busy++
							}
						}
					}
				})
				return busy == 0
			})
			for range 4 {
				tag, err := b.Exec(ctx, tc.check)
				if err == nil && tag.RowsAffected() > 0 {
					t.Error("the state outlived its client")
				}
			}
		})
	}
}

func TestTransactionKeepsItsServer(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 2 })
	ctx := context.Background()
	a, b := p.connect(t, ""), p.connect(t, "")
	if _, err := direct(t, 0).Exec(ctx, "drop table if exists tx; create table tx(x int)"); err != nil {
		t.Fatal(err)
	}
	tx, err := a.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "insert into tx values (1)"); err != nil {
		t.Fatal(err)
	}
	count := func(c interface {
		QueryRow(context.Context, string, ...any) pgx.Row
	}) (n int) {
		t.Helper()
		if err := c.QueryRow(ctx, "select count(*) from tx").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(b); n != 0 {
		t.Errorf("another client sees %d uncommitted rows", n)
	}
	if n := count(tx); n != 1 {
		t.Errorf("the transaction sees %d rows", n)
	}
	// A failed transaction stays failed until it is rolled back.
	if _, err := tx.Exec(ctx, "select 1/0"); !hasCode(err, "22012") {
		t.Error(err)
	}
	if _, err := tx.Exec(ctx, "select 1"); !hasCode(err, "25P02") {
		t.Error(err)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Error(err)
	}
	if n := count(a); n != 0 {
		t.Errorf("%d rows after the rollback", n)
	}
}

func TestClientThatLeavesInATransactionLeavesNothing(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	ctx := context.Background()
	if _, err := direct(t, 0).Exec(ctx, "drop table if exists left_over; create table left_over(x int)"); err != nil {
		t.Fatal(err)
	}
	a := p.connect(t, "")
	if _, err := a.Exec(ctx, "begin; insert into left_over values (1)"); err != nil {
		t.Fatal(err)
	}
	a.Close(ctx)
	b := p.connect(t, "")
	var n int
	if err := b.QueryRow(ctx, "select count(*) from left_over").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows, %v", n, err)
	}
	if b.PgConn().TxStatus() != 'I' {
		t.Error("the next client is in a transaction")
	}
}

func TestCopyBothWays(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	ctx := context.Background()
	if _, err := direct(t, 0).Exec(ctx, "drop table if exists copied; create table copied(x int, s text)"); err != nil {
		t.Fatal(err)
	}
	c, other := p.connect(t, ""), p.connect(t, "")
	const rows = 50000
	n, err := c.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"x", "s"}, pgx.CopyFromSlice(rows, func(i int) ([]any, error) {
		return []any{i, strings.Repeat("y", i%100)}, nil
	}))
	if err != nil || n != rows {
		t.Fatalf("copied %d rows: %v", n, err)
	}
	var out countingWriter
	if _, err := c.PgConn().CopyTo(ctx, &out, "copy copied to stdout"); err != nil || out.lines != rows {
		t.Errorf("%d lines out: %v", out.lines, err)
	}
	// A copy that fails half-way, by the server's will and by the client's.
	if _, err := c.PgConn().CopyFrom(ctx, strings.NewReader(strings.Repeat("1\tok\n", 100000)+"x\n"), "copy copied from stdin"); !hasCode(err, "22P02") {
		t.Errorf("bad line: %v", err)
	}
	boom := errors.New("boom")
	if _, err := c.PgConn().CopyFrom(ctx, failingReader{boom}, "copy copied from stdin"); err == nil {
		t.Error("a copy that the client gave up succeeded")
	}
	var sum int
	for _, c := range []*pgx.Conn{c, other} {
		if err := c.QueryRow(ctx, "select count(*) from copied").Scan(&sum); err != nil || sum != rows {
			t.Errorf("%d rows in the table: %v", sum, err)
		}
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

type countingWriter struct{ lines int }

func (w *countingWriter) Write(b []byte) (int, error) {
	w.lines += strings.Count(string(b), "\n")
	return len(b), nil
}

func TestLargeMessages(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	ctx := context.Background()
	for _, mode := range []string{"cache_statement", "exec", "simple_protocol"} {
		c := p.connect(t, "&default_query_exec_mode="+mode)
		for _, size := range []int{100, 16 << 10, 70 << 10, 300 << 10, 3 << 20, 40 << 20} {
			want := strings.Repeat("z", size)
			var got string
			if err := c.QueryRow(ctx, "select $1::text", want).Scan(&got); err != nil || got != want {
				t.Fatalf("%s, %d bytes: %d back, %v", mode, size, len(got), err)
			}
		}
	}
}

func TestCancelReachesTheRightQuery(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 2 })
	ctx := context.Background()
	texts := []string{"select 'victim' from pg_sleep(60)", "select 'bystander' from pg_sleep(60)"}
	var clients []*pgx.Conn
	var failed []chan error
	for _, sql := range texts {
		c, end := p.connect(t, ""), make(chan error, 1)
		go func() {
			_, err := c.Exec(ctx, sql)
			end <- err
		}()
		clients, failed = append(clients, c), append(failed, end)
	}
	for _, sql := range texts {
		p.runs(t, sql)
	}
	for i, sql := range texts {
		p.runs(t, sql) // the other's request has not touched it
		if err := clients[i].PgConn().CancelRequest(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-failed[i]; !hasCode(err, "57014") {
			t.Errorf("%s: %v", sql, err)
		}
		var n int
		if err := clients[i].QueryRow(ctx, "select 5").Scan(&n); err != nil || n != 5 {
			t.Errorf("afterwards: %d, %v", n, err)
		}
	}
}

// A cancel that comes when nothing runs is over before the client sends its next query.
func TestLateCancelHitsNothing(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	ctx := context.Background()
	c := p.connect(t, "")
	for range 200 {
		if err := c.PgConn().CancelRequest(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Exec(ctx, "select 42"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCancelOfAWaitingQuery(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	ctx := context.Background()
	holder, waiter := p.connect(t, ""), p.connect(t, "")
	tx, err := holder.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "select 1"); err != nil { // a BEGIN by itself holds no server
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(ctx, "select 1")
		failed <- err
	}()
	waitFor(t, "a client to wait", func() bool {
		n := 0
		p.on(t, 0, func(w *worker) {
			for _, g := range w.groups {
				n += g.pools[0].waiting.n
			}
		})
		return n == 1
	})
	if err := waiter.PgConn().CancelRequest(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !hasCode(err, "57014") {
		t.Errorf("waiter: %v", err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Error(err)
	}
	var n int
	if err := waiter.QueryRow(ctx, "select 5").Scan(&n); err != nil || n != 5 {
		t.Errorf("afterwards: %d, %v", n, err)
	}
}

// Statements by name, as drivers that manage them themselves use them.
func TestNamedStatements(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	ctx := context.Background()
	a, b := p.connect(t, ""), p.connect(t, "")
	for i, c := range []*pgx.Conn{a, b} {
		if _, err := c.PgConn().Prepare(ctx, "s", fmt.Sprintf("select %d + $1::int4", i*100), nil); err != nil {
			t.Fatal(err)
		}
	}
	run := func(c *pgx.Conn, name string) (string, error) {
		r := c.PgConn().ExecPrepared(ctx, name, [][]byte{[]byte("1")}, nil, nil).Read()
		if r.Err != nil {
			return "", r.Err
		}
		return string(r.Rows[0][0]), nil
	}
	for range 3 {
		for i, c := range []*pgx.Conn{a, b} {
			if got, err := run(c, "s"); err != nil || got != fmt.Sprint(i*100+1) {
				t.Errorf("client %d: %q, %v", i, got, err)
			}
		}
	}
	if _, err := a.PgConn().Prepare(ctx, "s", "select 1", nil); !hasCode(err, "42P05") || !strings.Contains(err.Error(), `"s"`) {
		t.Errorf("a name in use: %v", err)
	}
	if got, err := run(a, "s"); err != nil || got != "1" {
		t.Errorf("after the refusal: %q, %v", got, err)
	}
	if _, err := a.PgConn().Prepare(ctx, "bad", "select * from no_such_table", nil); !hasCode(err, "42P01") {
		t.Errorf("a bad text: %v", err)
	}
	if _, err := run(a, "bad"); !hasCode(err, "26000") {
		t.Errorf("a statement that failed to prepare: %v", err)
	}
	if err := a.PgConn().Deallocate(ctx, "s"); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := run(a, "s"); !hasCode(err, "26000") {
		t.Errorf("a closed statement: %v", err)
	}
	if got, err := run(b, "s"); err != nil || got != "101" {
		t.Errorf("the other client's: %q, %v", got, err)
	}
	if _, err := b.PgConn().Exec(ctx, "deallocate all").ReadAll(); err != nil {
		t.Error(err)
	}
	if _, err := run(b, "s"); !hasCode(err, "26000") {
		t.Errorf("after deallocate all: %v", err)
	}
}

func TestServerThatDiesIsReplaced(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 2 })
	ctx := context.Background()
	c, idle := p.connect(t, "&application_name=dies"), p.connect(t, "&application_name=dies")
	admin := direct(t, 0)
	if _, err := idle.Exec(ctx, "select 1"); err != nil {
		t.Fatal(err)
	}
	tx, err := c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "select 1"); err != nil { // a BEGIN by itself holds no server
		t.Fatal(err)
	}
	if _, err := admin.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where application_name in ('dies', 'outrigger')"); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "select 1"); err == nil {
		t.Error("a transaction whose server was killed goes on")
	}
	waitFor(t, "an idle client to go on with another server", func() bool {
		var n int
		err := idle.QueryRow(ctx, "select 5").Scan(&n)
		return err == nil && n == 5
	})
}

func TestDrainLetsTransactionsEnd(t *testing.T) {
	p := start(t, 1, nil)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	idle, busy := p.connect(t, ""), p.connect(t, "")
	tx, err := busy.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	drained := make(chan error, 1)
	go func() { drained <- p.Drain(ctx) }()
	waitFor(t, "the idle client to be told", func() bool {
		_, err := idle.Exec(ctx, "select 1")
		return err != nil
	})
	if _, err := tx.Exec(ctx, "select 1"); err != nil {
		t.Errorf("in the transaction: %v", err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Errorf("commit: %v", err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestUnknownDatabaseAndWrongPortAreToldAtLogin(t *testing.T) {
	p := start(t, 1, nil)
	ctx := context.Background()
	_, err := pgx.Connect(ctx, strings.Replace(p.url(""), "/postgres?", "/nowhere?", 1))
	if !hasCode(err, "3D000") {
		t.Errorf("unknown database: %v", err)
	}
	dead := start(t, 1, func(c *Config) { s := testServer(t, 0); s.Addr = "127.0.0.1:1"; c.Tuning.Databases = fallback(s) })
	if _, err := pgx.Connect(ctx, dead.url("")); !hasCode(err, "08001") {
		t.Errorf("dead server: %v", err)
	}
}

func TestTooManyClients(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.MaxClients = 2 })
	p.connect(t, "")
	second := p.connect(t, "")
	if _, err := pgx.Connect(context.Background(), p.url("")); !hasCode(err, "53300") {
		t.Errorf("third client: %v", err)
	}
	second.Close(context.Background())
	waitFor(t, "room for another client", func() bool {
		c, err := pgx.Connect(context.Background(), p.url(""))
		if err == nil {
			c.Close(context.Background())
		}
		return err == nil
	})
}

func TestQueryWaitTimeout(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1; c.Tuning.Defaults.QueryWait = 300 * time.Millisecond })
	ctx := context.Background()
	a, b := p.connect(t, ""), p.connect(t, "")
	mustExec(t, a, "begin; select 1")
	if _, err := b.Exec(ctx, "select 1"); !hasCode(err, "57014") || !strings.Contains(err.Error(), "query_wait_timeout") {
		t.Errorf("got %v", err)
	}
}

// Who does not come to an end in time is told why it is cut off.
func TestDrainCutShort(t *testing.T) {
	p := start(t, 1, nil)
	busy, begun := p.connect(t, ""), p.connect(t, "")
	mustExec(t, begun, "begin; select 1")
	patient, stop := context.WithTimeout(context.Background(), deadline)
	defer stop()
	failed := make(chan error, 1)
	go func() {
		_, err := busy.Exec(patient, "select pg_sleep(60)")
		failed <- err
	}()
	p.runs(t, "select pg_sleep(60)")
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := p.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drain: %v", err)
	}
	if err := <-failed; !hasCode(err, "57P01") {
		t.Errorf("a query under way: %v", err)
	}
	if _, err := begun.Exec(patient, "select 1"); !hasCode(err, "57P01") {
		t.Errorf("a transaction under way: %v", err)
	}
}
