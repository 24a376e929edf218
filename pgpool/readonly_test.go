package pgpool

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// side tells which server runs a read that the client sends now. No other client may be at work.
func side(t testing.TB, p *testPooler, c *pgx.Conn) string {
	t.Helper()
	before := p.counts(t)
	simply(t, c, "select 1")
	after := p.counts(t)
	switch [2]uint64{after[0] - before[0], after[1] - before[1]} {
	case [2]uint64{1, 0}:
		return "primary"
	case [2]uint64{0, 1}:
		return "replica"
	}
	return fmt.Sprint("nobody knows: ", before, after)
}

// startKnown is startSplit, and the database's defaults are known: before that no transaction goes to a replica.
func startKnown(t testing.TB, loops int, change func(*Config)) *testPooler {
	t.Helper()
	p := startSplit(t, loops, change)
	c := p.connect(t, "")
	defer c.Close(context.Background())
	waitFor(t, "the catalog to be known", func() bool {
		simply(t, c, "select 1")
		known := false
		p.on(t, 0, func(w *worker) {
			for g := range w.groups {
				known = g.catalog.Load() != nil
			}
		})
		return known
	})
	return p
}

// splitTable makes a table with one row on both servers.
func splitTable(t testing.TB, name string) {
	t.Helper()
	ctx := context.Background()
	if _, err := direct(t, 0).Exec(ctx, fmt.Sprintf("drop table if exists %s; create table %[1]s(id int primary key, n int); insert into %[1]s values (1, 0)", name)); err != nil {
		t.Fatal(err)
	}
	if err := pg.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestReadOnlyTransactionsRunOnTheReplica(t *testing.T) {
	p := startKnown(t, 1, nil)
	for _, tc := range []struct {
		session, begin, want string
	}{
		{"", "begin read only", "replica"},
		{"", "start transaction read only", "replica"},
		{"", "begin isolation level repeatable read read only", "replica"},
		{"", "begin; select 1", "primary"},
		{"", "begin", "primary"},
		{"", "begin read write", "primary"},
		{"", "begin isolation level serializable, read only", "primary"},
		{"", "begin read only deferrable", "primary"},
		{"", "/* outrigger: primary */ begin read only", "primary"},
		{"", "begin read only; select 1", "replica"},
		{"", "begin read only; set local work_mem = '1MB'; select 1; select 2", "replica"},
		{"", "begin read only; select pg_advisory_xact_lock(1)", "primary"},
		{"", "begin read only; select set_config('work_mem', '1MB', true)", "replica"},
		{"", "begin read only; select set_config('work_mem', '1MB', false)", "primary"},
		{"", "begin read only; commit; begin", "primary"},
		{"", "select 1; begin read only", "primary"},
		{"set default_transaction_read_only = on", "begin", "replica"},
		{"set default_transaction_read_only = 'tr'", "begin; select 1", "replica"},
		{"set default_transaction_read_only = on", "begin read write", "primary"},
		{"set default_transaction_read_only = off", "begin", "primary"},
		{"set session characteristics as transaction read only", "begin", "replica"},
		{"set session characteristics as transaction read only", "begin read write", "primary"},
		{"set session characteristics as transaction read only, isolation level serializable", "begin", "primary"},
		{"set default_transaction_isolation = 'serializable'", "begin read only", "primary"},
		{"set default_transaction_isolation = 'serializable'", "begin isolation level read committed read only", "replica"},
		{"set default_transaction_read_only = on; set default_transaction_read_only = off", "begin", "primary"},
	} {
		t.Run(tc.session+"/"+tc.begin, func(t *testing.T) {
			c := p.connect(t, "")
			if tc.session != "" {
				simply(t, c, tc.session)
				waitFor(t, "the replica to have come as far as the SET, which counts as a write", func() bool {
					simply(t, c, "begin isolation level read committed read only")
					defer simply(t, c, "commit")
					return side(t, p, c) == "replica"
				})
			}
			simply(t, c, tc.begin)
			for range 3 {
				if got := side(t, p, c); got != tc.want {
					t.Errorf("it runs on the %s", got)
				}
			}
			simply(t, c, "commit")
			if s := c.PgConn().TxStatus(); s != pgwire.Idle {
				t.Errorf("state %c", s)
			}
			c.Close(context.Background())
		})
	}
	p.settled(t, 0)
}

// Sessions are read-only also by how they start, and by what their role has.
func TestReadOnlySessionsByTheirStart(t *testing.T) {
	p := startKnown(t, 1, nil)
	for _, query := range []string{"&default_transaction_read_only=on", "&options=-c%20default_transaction_read_only%3Don"} {
		c := p.connect(t, query)
		simply(t, c, "begin")
		if got := side(t, p, c); got != "replica" {
			t.Errorf("%s: it runs on the %s", query, got)
		}
		simply(t, c, "commit")
	}
	ctx := context.Background()
	admin := direct(t, 0)
	if _, err := admin.Exec(ctx, "alter role postgres in database postgres set default_transaction_read_only = on"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := admin.Exec(ctx, "set default_transaction_read_only = off; alter role postgres in database postgres reset default_transaction_read_only"); err != nil {
			t.Error(err)
		}
		if err := pg.WaitCaughtUp(ctx); err != nil {
			t.Error(err)
		}
	}()
	if err := pg.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	byRole := startKnown(t, 1, nil)
	c := byRole.connect(t, "")
	simply(t, c, "begin")
	if got := side(t, byRole, c); got != "replica" {
		t.Errorf("by its role: it runs on the %s", got)
	}
	simply(t, c, "commit")
}

// A write in a read-only transaction is refused in the same words wherever it comes, and reads before it are no reason for
// others.
func TestWritesInReadOnlyTransactions(t *testing.T) {
	p := startKnown(t, 1, nil)
	splitTable(t, "read_only_writes")
	for _, begin := range []string{"begin read only", "begin isolation level repeatable read read only", "begin read only; select 1"} {
		for _, write := range []string{"insert into read_only_writes values (2, 2)", "create table never()", "select * from read_only_writes for update",
			"create temp table never()", "with w as (delete from read_only_writes returning *) select * from w", "truncate read_only_writes"} {
			for _, before := range []string{"", "select 1", "declare c cursor for select 1"} {
				var said [2]string
				for i, addr := range []string{pg.Addr(0), p.addr} {
					w, err := wireTo(addr, "postgres")
					if err != nil {
						t.Fatal(err)
					}
					for _, sql := range []string{begin, before, write, "select 1", "commit", "select 2"} {
						said[i] += strings.Join(normalise(w.play(step{query(sql)}, whole)), "\n") + "\n"
					}
					w.nc.Close()
				}
				if said[0] != said[1] {
					t.Errorf("%s; %s; %s:\ndirect %s\npooled %s", begin, before, write, said[0], said[1])
				}
			}
		}
	}
}

// A connection to the replica that is lost takes a transaction's first statement elsewhere if nothing of it was seen, and the
// transaction with it otherwise.
func TestReadOnlyTransactionWhoseReplicaIsLost(t *testing.T) {
	p := startKnown(t, 1, nil)
	replica := direct(t, 1)
	end := func() {
		if _, err := replica.Exec(context.Background(), "select pg_terminate_backend(pid, 10000) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"); err != nil {
			t.Fatal(err)
		}
	}
	for _, extended := range []bool{false, true} {
		c := p.connect(t, "")
		simply(t, c, "begin isolation level repeatable read read only")
		slow := make(chan error, 1)
		go func() {
			if extended {
				slow <- c.PgConn().ExecParams(context.Background(), "select 1 from pg_sleep(0.5)", nil, nil, nil, nil).Read().Err
				return
			}
			slow <- c.PgConn().Exec(context.Background(), "select 1 from pg_sleep(0.5)").Close()
		}()
		waitFor(t, "the statement to run on the replica", func() bool {
			var n int
			if err := replica.QueryRow(context.Background(), "select count(*) from pg_stat_activity where query like '%pg_sleep(0.5)%' and state = 'active' and pid <> pg_backend_pid()").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n == 1
		})
		end()
		if err := <-slow; err != nil || c.PgConn().TxStatus() != pgwire.InBlock {
			t.Fatalf("extended %v: %v, state %c", extended, err, c.PgConn().TxStatus())
		}
		if got := code(c, "create table never()"); got != "25006" {
			t.Errorf("it is not in a read-only transaction: %q", got)
		}
		simply(t, c, "rollback")

		waitFor(t, "the replica to be used again", func() bool {
			simply(t, c, "begin isolation level repeatable read read only")
			if side(t, p, c) == "replica" {
				return true
			}
			simply(t, c, "rollback")
			return false
		})
		end()
		if got := code(c, "select 1"); got == "" || c.PgConn().TxStatus() != pgwire.InFailed {
			t.Errorf("extended %v: the transaction goes on elsewhere: %q, state %c", extended, got, c.PgConn().TxStatus())
		}
		simply(t, c, "rollback")
		simply(t, c, "select 1")
		p.on(t, 0, func(w *worker) {
			if w.open != 0 || len(w.aborted) != 0 {
				t.Errorf("%d transactions are open, %d failed", w.open, len(w.aborted))
			}
		})
		c.Close(context.Background())
	}
	p.settled(t, 0)
}

// What only the primary can do takes a READ COMMITTED transaction there that has only read.
func TestReadOnlyTransactionGoesToThePrimary(t *testing.T) {
	p := startKnown(t, 1, nil)
	lock := direct(t, 0)
	for _, extended := range []bool{false, true} {
		c := p.connect(t, "")
		simply(t, c, "begin read only")
		if got := side(t, p, c); got != "replica" {
			t.Fatalf("it runs on the %s", got)
		}
		if extended {
			if err := c.PgConn().ExecParams(context.Background(), "select pg_advisory_xact_lock(4711)", nil, nil, nil, nil).Read().Err; err != nil {
				t.Fatal(err)
			}
		} else {
			simply(t, c, "select pg_advisory_xact_lock(4711)")
		}
		var free bool
		if err := lock.QueryRow(context.Background(), "select pg_try_advisory_xact_lock(4711)").Scan(&free); err != nil || free {
			t.Errorf("extended %v: the lock is not on the primary (%v)", extended, err)
		}
		if got := side(t, p, c); got != "primary" {
			t.Errorf("behind it, it runs on the %s", got)
		}
		if got := code(c, "create table never()"); got != "25006" {
			t.Errorf("it writes: %q", got)
		}
		simply(t, c, "rollback")
		c.Close(context.Background())
	}
	p.settled(t, 0)
}

// And where it cannot go there any more, it is refused and not done on the replica.
func TestReadOnlyTransactionThatIsTiedToAReplica(t *testing.T) {
	p := startKnown(t, 1, nil)
	for _, before := range []step{
		{query("begin isolation level repeatable read read only"), query("select 1")},
		{query("begin read only"), query("savepoint s")},
		{query("begin read only"), query("declare c cursor for select 1")},
		{query("begin read only"), query("set local work_mem = '1MB'")},
		{query("begin read only"), parse("", "select generate_series(1, 3)"), bind("p", ""), execute("p", 1), syncs},
		{query("begin read only"), parse("", "select generate_series(1, 3)"), bind("", ""), execute("", 1), syncs},
		{query("begin read only; select 1")},
		join(run("begin read only"), run("select 1"), syncs),
	} {
		for _, extended := range []bool{false, true} {
			w, err := wireTo(p.addr, "postgres")
			if err != nil {
				t.Fatal(err)
			}
			w.play(before, whole)
			last := step{query("select pg_advisory_lock(4712)")}
			if extended {
				last = append(run("select pg_advisory_lock(4712)"), syncs)
			}
			replies := w.play(last, whole)
			if e := pgwire.ParseError(replies[0].body); replies[0].typ != pgwire.ErrorResponse || e.Code != "25006" || e.Hint == "" || w.status != pgwire.InFailed {
				t.Errorf("%v: %v, state %c", before, replies, w.status)
			}
			if replies = w.play(step{query("select 1")}, whole); pgwire.ParseError(replies[0].body).Code != "25P02" {
				t.Errorf("%v, then: %v", before, replies)
			}
			w.play(step{query("rollback")}, whole)
			if replies = w.play(step{query("select 1")}, whole); w.status != pgwire.Idle || replies[0].typ != pgwire.RowDescription {
				t.Errorf("%v, in the end: %v", before, replies)
			}
			w.nc.Close()
		}
	}
	p.settled(t, 0)
	var locks int
	if err := direct(t, 1).QueryRow(context.Background(), "select count(*) from pg_locks where locktype = 'advisory'").Scan(&locks); err != nil || locks != 0 {
		t.Errorf("%d locks on the replica, %v", locks, err)
	}
}

// What a session sets in a transaction on a replica goes with it to the primary.
func TestSettingsOfTransactionsOnTheReplica(t *testing.T) {
	p := startKnown(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	c, other := p.connect(t, ""), p.connect(t, "")
	simply(t, c, "begin isolation level repeatable read read only")
	if got := side(t, p, c); got != "replica" {
		t.Fatalf("it runs on the %s", got)
	}
	simply(t, c, "set work_mem = '9MB'")
	simply(t, c, "commit")
	for _, sql := range []string{"show work_mem", "/* outrigger: primary */ show work_mem"} {
		var mine, others string
		if err := c.QueryRow(context.Background(), sql, pgx.QueryExecModeSimpleProtocol).Scan(&mine); err != nil || mine != "9MB" {
			t.Errorf("%s: %s, %v", sql, mine, err)
		}
		if err := other.QueryRow(context.Background(), sql, pgx.QueryExecModeSimpleProtocol).Scan(&others); err != nil || others == "9MB" {
			t.Errorf("a stranger's %s: %s, %v", sql, others, err)
		}
	}
}

// Cursors and portals live as long as the transaction does.
func TestCursorsOnTheReplica(t *testing.T) {
	p := startKnown(t, 1, nil)
	splitTable(t, "read_only_cursors")
	w, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer w.nc.Close()
	d, err := wireTo(pg.Addr(0), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer d.nc.Close()
	before := p.counts(t)
	for _, s := range []step{
		{query("begin read only")}, {query("declare c cursor for select generate_series(1, 9)")}, {query("fetch 2 from c")}, {query("fetch 2 from c")},
		{parse("", "select generate_series(1, 9)"), bind("p", ""), execute("p", 2), syncs}, {execute("p", 2), syncs}, {query("close c")}, {query("commit")},
		{query("fetch 2 from c")},
	} {
		want, got := normalise(d.play(s, whole)), normalise(w.play(s, whole))
		if fmt.Sprint(want) != fmt.Sprint(got) {
			t.Errorf("%v\ndirect %s\npooled %s", s, lines(want), lines(got))
		}
	}
	if after := p.counts(t); after[1] == before[1] {
		t.Error("none of it ran on the replica")
	}
}

// A write in disguise, first in its transaction, is repeated on the primary, with the BEGIN ahead of it.
func TestDisguisedWriteAtTheFrontOfATransaction(t *testing.T) {
	p := startKnown(t, 1, nil)
	ctx := context.Background()
	if _, err := direct(t, 0).Exec(ctx, "create or replace view xid as select txid_current() as x"); err != nil {
		t.Fatal(err)
	}
	if err := pg.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	for _, s := range []step{
		{query("begin read only"), query("select x > 0 from xid")},
		{query("begin read only; select x > 0 from xid")},
		join(run("begin read only"), run("select x > 0 from xid"), syncs),
		join(query("begin read only"), run("select x > 0 from xid"), syncs),
	} {
		p.on(t, 0, func(w *worker) { // it is forgotten that it was a write
			w.texts = newStatements(w.texts.names)
		})
		w, err := wireTo(p.addr, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		replies := w.play(s, whole)
		for _, m := range replies {
			if m.typ == pgwire.ErrorResponse {
				t.Errorf("%v: %v", s, m)
			}
		}
		if w.status != pgwire.InBlock {
			t.Errorf("%v: state %c", s, w.status)
		}
		before := p.counts(t)
		w.play(step{query("select 1")}, whole)
		if after := p.counts(t); after[0] == before[0] {
			t.Errorf("%v: it is not on the primary", s)
		}
		w.play(step{query("commit")}, whole)
		w.nc.Close()
	}
	p.settled(t, 0)
	if _, err := direct(t, 0).Exec(ctx, "drop view xid"); err != nil {
		t.Fatal(err)
	}
}

// Units of a transaction on a replica may be sent without waiting, also behind its end.
func TestPipelinedTransactionsOnTheReplica(t *testing.T) {
	p := startKnown(t, 1, nil)
	splitTable(t, "read_only_pipeline")
	units := join(query("begin read only"), query("select 1"), run("select 2"), syncs, query("select 1/0"), query("select 3"), query("rollback"),
		query("insert into read_only_pipeline values (2, 2)"), query("begin read only"), query("select 4"), query("commit"), query("select 5"),
		query("delete from read_only_pipeline where id = 2"), run("begin read only"), run("select 6"), syncs, query("select 7"), query("commit"), query("begin"),
		query("update read_only_pipeline set n = 1"), query("commit"))
	for _, size := range []int{0, 1, 7, 100} {
		cut := whole
		if size > 0 {
			cut = func(n int) int { return min(size, n) }
		}
		var said [2][]string
		for i, addr := range []string{pg.Addr(0), p.addr} {
			w, err := wireTo(addr, "postgres")
			if err != nil {
				t.Fatal(err)
			}
			said[i] = normalise(w.play(units, cut))
			w.nc.Close()
		}
		if fmt.Sprint(said[0]) != fmt.Sprint(said[1]) {
			t.Errorf("cuts of %d:\ndirect %s\npooled %s", size, lines(said[0]), lines(said[1]))
		}
	}
	p.settled(t, 0)
}

func TestCopyOfAQueryRunsOnTheReplica(t *testing.T) {
	p := startKnown(t, 1, nil)
	splitTable(t, "copied")
	for sql, want := range map[string]int{
		"copy (select * from copied) to stdout":            1,
		"copy (select * from copied for update) to stdout": 0,
		"copy copied to stdout":                            0,
	} {
		for _, extended := range []bool{false, true} {
			w, err := wireTo(p.addr, "postgres")
			if err != nil {
				t.Fatal(err)
			}
			s := step{query(sql)}
			if extended {
				s = append(run(sql), syncs)
			}
			before := p.counts(t)
			if got := fmt.Sprint(normalise(w.play(s, whole))); !strings.Contains(got, `1\t0`) {
				t.Errorf("%s: %s", sql, got)
			}
			after := p.counts(t)
			if after[want] == before[want] || after[1-want] != before[1-want] {
				t.Errorf("%s, extended %v: %v, then %v", sql, extended, before, after)
			}
			w.nc.Close()
		}
	}
}

// In a session that asks for SERIALIZABLE no read can be on a replica.
func TestSerializableReadsStayOnThePrimary(t *testing.T) {
	p := startKnown(t, 1, nil)
	c := p.connect(t, "")
	simply(t, c, "set default_transaction_isolation = 'serializable'")
	if got := side(t, p, c); got != "primary" {
		t.Errorf("it runs on the %s", got)
	}
	simply(t, c, "set default_transaction_isolation = 'read committed'")
	waitFor(t, "reads to return to the replica", func() bool { return side(t, p, c) == "replica" })
}

// With reads_until_write, a READ COMMITTED transaction reads from the replica until it does anything else.
func TestReadsUntilWrite(t *testing.T) {
	p := startKnown(t, 1, func(c *Config) { c.Tuning.Defaults.ReadsUntilWrite = true })
	splitTable(t, "until_write")
	ctx := context.Background()
	for _, write := range []string{"update until_write set n = n + 1", "select * from until_write for update", "savepoint s", "set local work_mem = '1MB'",
		"select pg_advisory_xact_lock(1)", "declare c cursor for select 1", "select 1; select 2"} {
		c := p.connect(t, "")
		simply(t, c, "begin")
		for range 2 {
			if got := side(t, p, c); got != "replica" {
				t.Errorf("before %s: on the %s", write, got)
			}
			if s := c.PgConn().TxStatus(); s != pgwire.InBlock {
				t.Errorf("state %c", s)
			}
			if n := p.holding(t); n != 0 {
				t.Errorf("%d servers are held between reads", n)
			}
		}
		simply(t, c, write)
		if got := side(t, p, c); got != "primary" {
			t.Errorf("behind %s: on the %s", write, got)
		}
		simply(t, c, "rollback")
		if got := side(t, p, c); got == "primary" && write != "update until_write set n = n + 1" && write != "select pg_advisory_xact_lock(1)" {
			t.Logf("behind ROLLBACK: on the %s", got)
		}
		c.Close(ctx)
	}
	c := p.connect(t, "")
	for _, begin := range []string{"begin isolation level repeatable read", "begin isolation level serializable"} {
		simply(t, c, begin)
		if got := side(t, p, c); got != "primary" {
			t.Errorf("%s: on the %s", begin, got)
		}
		simply(t, c, "commit")
	}
	// An error on the replica fails the transaction, wherever it would have gone on.
	simply(t, c, "begin")
	if got := code(c, "select 1/0"); got != "22012" {
		t.Error(got)
	}
	for _, sql := range []string{"select 1", "update until_write set n = 100"} {
		if got := code(c, sql); got != "25P02" || c.PgConn().TxStatus() != pgwire.InFailed {
			t.Errorf("%s in a failed transaction: %q, state %c", sql, got, c.PgConn().TxStatus())
		}
	}
	simply(t, c, "commit")
	var n int
	if err := direct(t, 0).QueryRow(ctx, "select n from until_write").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d, %v: something was committed that was rolled back", n, err)
	}
	p.settled(t, 1)
}

// The scripts of the differential test are answered alike, although some of them is read from a replica.
func TestReadsUntilWriteIsAnsweredAsDirectly(t *testing.T) {
	direct, pooled := differentialDatabases(t, 1)
	if err := pg.WaitCaughtUp(context.Background()); err != nil {
		t.Fatal(err)
	}
	p := startKnown(t, 1, func(c *Config) { c.Tuning.Defaults.ReadsUntilWrite = true })
	for _, tc := range scripts {
		if tc.mode != TransactionMode || !strings.Contains(tc.name, "transaction") && !strings.Contains(tc.name, "units") {
			continue
		}
		d, err := newDiffer(p, direct, pooled, whole, tc.settings...)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range tc.steps {
			if diff := d.step(s); diff != "" {
				t.Errorf("%s, step %d: %s", tc.name, i, diff)
				break
			}
		}
		d.close()
	}
	p.settled(t, 0)
}

func TestIsOn(t *testing.T) {
	for v, want := range map[string]bool{"on": true, "ON": true, "t": true, "true": true, "Yes": true, "y": true, "1": true,
		"": false, "o": false, "off": false, "of": false, "f": false, "no": false, "0": false, "trues": false, "2": false} {
		if isOn(v) != want {
			t.Errorf("%q: %v", v, !want)
		}
	}
	if onReplica(classify.ReadOnly, classify.IsolationDefault) {
		t.Error("an isolation that is not known is taken for one that a replica can do")
	}
}

// until reads up to the next ReadyForQuery.
func (w *wire) until(t *testing.T, status byte) {
	t.Helper()
	for {
		m, err := w.read()
		if err != nil {
			t.Fatal(err)
		}
		if m.typ == pgwire.ReadyForQuery {
			if m.body[0] != status {
				t.Fatalf("state %c, want %c", m.body[0], status)
			}
			return
		}
	}
}

// A unit of a transaction on a replica that has come in part when the unit before it fails is skipped, and what comes
// behind it is read from its beginning.
func TestAUnitInPartBehindAnError(t *testing.T) {
	p := startKnown(t, 1, nil)
	w, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer w.nc.Close()
	w.send(t, "begin read only")
	w.until(t, pgwire.InBlock)
	w.send(t, "select 1")
	w.until(t, pgwire.InBlock)
	write := func(s ...message) {
		t.Helper()
		var b []byte
		for _, m := range s {
			b = append(b, m.encode()...)
		}
		if _, err := w.nc.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(parse("", "select 1 / (1 - length('a'))"), bind("", ""), execute("", 0), syncs,
		parse("", "select 'a text that is longer than the one that comes behind it'"), bind("", ""))
	w.until(t, pgwire.InFailed)
	write(execute("", 0), syncs)
	w.until(t, pgwire.InFailed)
	w.send(t, "rollback")
	w.until(t, pgwire.Idle)
	w.send(t, "select 1")
	w.until(t, pgwire.Idle)
}
