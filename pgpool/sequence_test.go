package pgpool

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// sequenceClients are two clients on a pool of so many servers, and a sequence, in a database of its own.
func sequenceClients(t *testing.T, database string, poolSize int) (p *testPooler, a, b *pgx.Conn) {
	t.Helper()
	mustExec(t, direct(t, 0), "drop database if exists "+database+" with (force)")
	mustExec(t, direct(t, 0), "create database "+database)
	t.Cleanup(func() { mustExec(t, direct(t, 0), "drop database "+database+" with (force)") })
	mustExec(t, directTo(t, database), "create sequence s; create table rows (id serial, v text)")
	p = start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = poolSize })
	var both [2]*pgx.Conn
	for i := range both {
		c, err := p.connectAs(t, "postgres", database)
		if err != nil {
			t.Fatal(err)
		}
		both[i] = c
	}
	return p, both[0], both[1]
}

// value runs a query of one number.
func value(c *pgx.Conn, sql string) (n int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	err = c.QueryRow(ctx, sql).Scan(&n)
	return n, err
}

// What currval gives is the client's own, or an error as of a session that has called no nextval: never a stranger's.
func TestCurrvalIsNeverAStrangers(t *testing.T) {
	_, a, b := sequenceClients(t, "sequence_strangers", 1)
	if _, err := value(a, "select nextval('s')"); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"select currval('s')", "select lastval()"} {
		if n, err := value(b, sql); !hasCode(err, "55000") {
			t.Errorf("%s: %d, %v", sql, n, err)
		}
	}
	mustExec(t, b, "begin; select 1")
	if n, err := value(b, "select currval('s')"); !hasCode(err, "55000") {
		t.Errorf("in a transaction: %d, %v", n, err)
	}
	mustExec(t, b, "rollback")
}

// The first currval ever comes in a transaction, after the server was given.
func TestFirstCurrvalInATransaction(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement} {
		t.Run(mode.String(), func(t *testing.T) {
			_, a, b := sequenceClients(t, "sequence_first", 1)
			if _, err := value(a, "select nextval('s')"); err != nil {
				t.Fatal(err)
			}
			mustExec(t, b, "begin read only")
			var n int64
			if err := b.QueryRow(t.Context(), "select currval('s')", mode).Scan(&n); !hasCode(err, "55000") {
				t.Errorf("%d, %v", n, err)
			}
			mustExec(t, b, "rollback")
		})
	}
}

// From the first currval on, what a client has inserted is there for it, whatever others do.
func TestCurrvalFollowsNextval(t *testing.T) {
	p, a, b := sequenceClients(t, "sequence_follows", 3)
	value(a, "select lastval()")
	for range 5 {
		for i, c := range []*pgx.Conn{a, b} {
			want, err := value(c, "insert into rows(v) values ('x') returning id")
			if err != nil {
				t.Fatal(err)
			}
			other := []*pgx.Conn{b, a}[i]
			if _, err := value(other, "select count(*) from rows"); err != nil {
				t.Fatal(err)
			}
			for _, sql := range []string{"select currval('rows_id_seq')", "select lastval()"} {
				if n, err := value(c, sql); n != want {
					t.Errorf("%s: %d instead of %d, %v", sql, n, want, err)
				}
			}
		}
	}
	if n := p.pinned(t); n != 2 {
		t.Errorf("%d clients keep their server", n)
	}
	a.Close(context.Background())
	b.Close(context.Background())
	waitFor(t, "the servers", func() bool { return p.pinned(t) == 0 })
}

// A server that is kept for currval alone is given to who waits for one. Its value is gone then, which currval says.
func TestServersAreNotKeptForCurrvalWhileOthersWait(t *testing.T) {
	_, a, b := sequenceClients(t, "sequence_yield", 1)
	value(a, "select lastval()")
	if _, err := value(a, "select nextval('s')"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := value(b, "select nextval('s')"); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(began); waited < sequencePatience/2 {
		t.Errorf("the server was given away after %v", waited)
	}
	if n, err := value(a, "select currval('s')"); !hasCode(err, "55000") {
		t.Errorf("%d, %v", n, err)
	}
}

// A function of the database that calls lastval counts like a client that does.
func TestFunctionsSeeNoStrangersLastval(t *testing.T) {
	sequenceClients(t, "sequence_functions", 1)
	mustExec(t, directTo(t, "sequence_functions"), "create function last() returns bigint language sql as 'select lastval()'")
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 }) // looks at the catalog anew
	var clients [2]*pgx.Conn
	for i := range clients {
		c, err := p.connectAs(t, "postgres", "sequence_functions")
		if err != nil {
			t.Fatal(err)
		}
		clients[i] = c
	}
	mustExec(t, clients[0], "insert into rows (v) values ('a')")
	if n, err := value(clients[1], "select last()"); !hasCode(err, "55000") {
		t.Errorf("%d, %v", n, err)
	}
}
