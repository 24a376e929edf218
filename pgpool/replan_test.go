package pgpool

import (
	"testing"

	"github.com/jackc/pgx/v5"
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
