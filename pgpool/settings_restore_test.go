package pgpool

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A session whose role is gone cannot be restored: what its client sends with that must not run as somebody else.
func TestNothingRunsInASessionThatCannotBeRestored(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
		t.Run(mode.String(), func(t *testing.T) {
			admin := direct(t, 0)
			mustExec(t, admin, "create role passing; create table kept (v text); grant all on kept to passing")
			defer mustExec(t, admin, "drop table kept")
			p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
			a, b := p.connect(t, ""), p.connect(t, "")
			mustExec(t, a, "set role passing")
			mustExec(t, a, "insert into kept values ('as passing')")
			mustExec(t, b, "select 1")
			mustExec(t, admin, "revoke all on kept from passing; drop role passing")
			if _, err := a.Exec(t.Context(), "insert into kept values ('as somebody else')", mode); !hasCode(err, "22023") {
				t.Error(err)
			}
			var n int
			if err := b.QueryRow(context.Background(), "select count(*) from kept").Scan(&n); err != nil || n != 1 {
				t.Errorf("%d rows, %v", n, err)
			}
		})
	}
}

// What ends a transaction does not end the one in which a server refuses what comes behind such a session, wherever it is
// in what the client sends. The server is used again afterwards: a client that tries for ever does not have it dial for ever.
func TestEndOfATransactionBehindASessionThatCannotBeRestored(t *testing.T) {
	insert := "insert into kept values ('as somebody else')"
	for _, c := range []struct {
		name string
		step step
	}{
		{name: "in one Query", step: step{query("rollback; " + insert)}},
		{name: "in Queries", step: step{query("begin"), query(insert), query("rollback"), query(insert)}},
		{name: "extended", step: join(run("commit"), run(insert), syncs)},
		{name: "in extended units", step: join(run(insert), syncs, run("rollback"), syncs, run(insert), syncs)},
		{name: "prepared", step: join(bind("", "ends"), execute("", 0), run(insert), syncs)},
		{name: "behind a flush", step: join(parse("", "select 1"), flushes, run("rollback"), run(insert), syncs)},
	} {
		t.Run(c.name, func(t *testing.T) {
			admin := direct(t, 0)
			mustExec(t, admin, "drop table if exists kept; create role passing; create table kept (v text); grant all on kept to passing")
			p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
			a, b := p.own(t), p.own(t)
			a.play(step{query("set role passing"), parse("ends", "rollback"), syncs}, whole)
			b.works(t, "before")
			mustExec(t, admin, "revoke all on kept from passing; drop role passing")
			before := p.Console().Servers()
			told := normalise(a.play(c.step, whole))
			if len(told) < 2 || !strings.HasPrefix(told[len(told)-2], "E FATAL 22023") {
				t.Errorf("told %s", lines(told))
			}
			b.works(t, "afterwards")
			var n int
			if err := admin.QueryRow(context.Background(), "select count(*) from kept").Scan(&n); err != nil || n != 0 {
				t.Errorf("%d rows, %v", n, err)
			}
			after := p.Console().Servers()
			if len(before) != 1 || len(after) != 1 || before[0].RemotePID != after[0].RemotePID {
				t.Errorf("servers %v, then %v", before, after)
			}
		})
	}
}
