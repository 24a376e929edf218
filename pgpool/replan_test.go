package pgpool

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A change of a table's columns is not seen by those who use statements, named ones or not, through the pooler.
func TestPlansOutOfDate(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	ctx := t.Context()
	if _, err := direct(t, 0).Exec(ctx, "drop table if exists changes; create table changes(a int); insert into changes values (1)"); err != nil {
		t.Fatal(err)
	}
	first, second := p.connect(t, "&default_query_exec_mode=cache_describe"), p.connect(t, "")
	read := func(c *pgx.Conn, name string) ([]any, error) {
		rows, err := c.Query(ctx, name)
		if err != nil {
			return nil, err
		}
		return pgx.CollectOneRow(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	}
	const sql = "select * from changes"
	if _, err := first.Prepare(ctx, "early", sql); err != nil {
		t.Fatal(err)
	}
	if v, err := read(first, "early"); err != nil || len(v) != 1 {
		t.Fatal(v, err)
	}
	for i, ddl := range []string{"alter table changes add b int default 2", "alter table changes alter a type text"} {
		if _, err := direct(t, 0).Exec(ctx, ddl); err != nil {
			t.Fatal(err)
		}
		// The second client parses it for the first time: what the server has is another client's.
		name := []string{"late", "later"}[i]
		if _, err := second.Prepare(ctx, name, sql); err != nil {
			t.Fatal(err)
		}
		if v, err := read(second, name); err != nil || len(v) != 2 {
			t.Fatalf("after %s: %v, %v", ddl, v, err)
		}
	}
}

// The client that goes on with its old statement is told of nothing, and once the unit has been seen, or within a
// transaction, the error is PostgreSQL's.
func TestPlansOutOfDateMessageByMessage(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	admin := direct(t, 0)
	if _, err := admin.Exec(t.Context(), "drop table if exists changes; create table changes(a int); insert into changes values (1)"); err != nil {
		t.Fatal(err)
	}
	w, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer w.nc.Close()
	types := func(s step) (types string) {
		for _, m := range w.play(s, whole) {
			types += string(m.typ)
		}
		return types
	}
	play := func(what string, s step, want string) {
		t.Helper()
		if got := types(s); got != want {
			t.Errorf("%s: answers %s, want %s", what, got, want)
		}
	}
	alter := func() {
		t.Helper()
		if _, err := admin.Exec(t.Context(), "alter table changes add column c"+string(rune('a'+len(t.Name())%26))+" int"); err == nil {
			return
		}
		if _, err := admin.Exec(t.Context(), "alter table changes rename to was; create table changes(a text, b text); insert into changes values ('x', 'y'); drop table was"); err != nil {
			t.Fatal(err)
		}
	}
	use := step{bind("", "s"), describe('P', ""), execute("", 0), syncs}
	play("first", step{parse("s", "select * from changes"), describe('S', "s"), bind("", "s"), execute("", 0), syncs}, "1tT2DCZ")
	alter()
	play("after a change", use, "2TDCZ")
	play("again", use, "2TDCZ")
	alter()
	play("in a transaction", step{query("begin")}, "CZ")
	play("in a transaction", use, "EZ")
	play("in a transaction", step{query("rollback")}, "CZ")
	play("afterwards", use, "2TDCZ")
}

// Drivers that know the type of the result, and do not ask for it again, have to be told: they would read the rows by the
// old one. They are told by servers that have the statement and by those that do not.
func TestPlansOutOfDateAreToldToThoseWhoKnowTheType(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize, c.Tuning.Defaults.MaxPrepared = 1, 2 })
	admin := direct(t, 0)
	if _, err := admin.Exec(t.Context(), "drop table if exists changes; create table changes(a int); insert into changes values (1)"); err != nil {
		t.Fatal(err)
	}
	var clients [2]*wire
	for i := range clients {
		w, err := wireTo(p.addr, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		defer w.nc.Close()
		clients[i] = w
	}
	old, other := clients[0], clients[1]
	play := func(w *wire, what string, s step, want string) {
		t.Helper()
		got := ""
		for _, m := range w.play(s, whole) {
			got += string(m.typ)
			if m.typ == pgwire.ErrorResponse {
				got += " " + pgwire.ParseError(m.body).Code + " "
			}
		}
		if got != want {
			t.Errorf("%s: answers %s, want %s", what, got, want)
		}
	}
	const sql = "select * from changes"
	use := step{bind("", "s"), execute("", 0), syncs}
	evict := step{parse("", "select 1"), syncs, parse("x", "select 2"), syncs, parse("y", "select 3"), syncs, closing('S', "x"), closing('S', "y"), syncs}
	play(old, "first", step{parse("s", sql), describe('S', "s"), bind("", "s"), execute("", 0), syncs}, "1tT2DCZ")
	if _, err := admin.Exec(t.Context(), "alter table changes add b int"); err != nil {
		t.Fatal(err)
	}
	play(old, "after the change", use, "E 0A000 Z")
	play(other, "who parses now", step{parse("s", sql), describe('S', "s"), syncs}, "1tTZ")
	play(other, "who parses now", use, "2DCZ")
	play(old, "again", use, "E 0A000 Z")
	play(other, "others go on", use, "2DCZ")
	play(other, "many statements", evict, "1Z1Z1Z33Z")
	play(old, "on a server that has it no more", use, "E 0A000 Z")
	play(old, "on a server that has it no more", step{describe('S', "s"), syncs}, "E 0A000 Z")
	play(old, "anew", step{closing('S', "s"), parse("s", sql), describe('S', "s"), bind("", "s"), execute("", 0), syncs}, "31tT2DCZ")
	play(old, "anew", use, "2DCZ")

	play(old, "in a transaction", step{query("begin; alter table changes add c int")}, "CCZ")
	play(old, "in a transaction", use, "E 0A000 Z")
	play(old, "in a transaction", step{query("rollback")}, "CZ")
	play(old, "rolled back", use, "2DCZ")
}

// A Describe that names nothing does not ask for a type.
func TestPlanOutOfDateAndDescribeOfNothing(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	admin := direct(t, 0)
	mustExec(t, admin, "drop table if exists changes; create table changes(a int)")
	w := p.own(t)
	w.play(step{parse("s", "select * from changes"), describe('S', "s"), bind("", "s"), execute("", 0), syncs}, whole)
	mustExec(t, admin, "alter table changes add b int")
	var b []byte
	for _, m := range (step{bind("", "s"), {typ: pgwire.Describe}, execute("", 0), syncs}) {
		b = append(b, m.encode()...)
	}
	w.nc.Write(b)
	if code, status := w.hears(); code != "0A000" || status != pgwire.Idle {
		t.Errorf("answered %q, state %q", code, status)
	}
}

// A read that runs outside of its client's transaction, once more because its plan was out of date, and is lost then,
// leaves the transaction failed: what the client sends next must not run by itself.
func TestTransactionFailsWithAReadWhosePlanWasOutOfDate(t *testing.T) {
	f, p := startFaultyReplica(t, func(c *Config) { c.Tuning.Defaults.ReadsUntilWrite = true })
	admin := direct(t, 0)
	changed := func(sql string) {
		t.Helper()
		mustExec(t, admin, sql)
		if err := pg.WaitCaughtUp(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	changed("drop table if exists changes; create table changes(a int); insert into changes select generate_series(1, 1000)")
	w, err := wireTo(p.addr, "postgres", "default_transaction_isolation", "read committed")
	if err != nil {
		t.Fatal(err)
	}
	defer w.nc.Close()
	w.play(step{parse("s", "select * from changes"), describe('S', "s"), bind("", "s"), execute("", 0), syncs}, whole)
	changed("alter table changes add b int")
	w.play(step{query("begin")}, whole)
	f.arm(fault{fromServer: true, after: 5000, then: cutOff}) // behind the error, within the rows
	got := w.play(step{bind("", "s"), describe('P', ""), execute("", 0), syncs}, whole)
	if len(got) < 5 || got[1].typ != pgwire.RowDescription || got[2].typ != pgwire.DataRow || got[len(got)-2].typ != pgwire.ErrorResponse {
		t.Fatalf("answered %v", got)
	}
	if w.status != pgwire.InFailed {
		t.Errorf("state %q behind the loss", w.status)
	}
}
