package pgpool

import (
	"context"
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
