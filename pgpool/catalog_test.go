package pgpool

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Code that has changed may leave anything until the catalog is looked at again, which nobody waits for: what the first
// client leaves does not meet the second.
func TestNothingLeaksWhileCodeIsUnknown(t *testing.T) {
	mustExec(t, direct(t, 0), "drop database if exists unknown with (force)")
	mustExec(t, direct(t, 0), "create database unknown")
	t.Cleanup(func() { mustExec(t, direct(t, 0), "drop database unknown with (force)") })
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	connect := func() *pgx.Conn {
		c, err := p.connectAs(t, "postgres", "unknown")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := connect(), connect()
	for i := range 4 {
		mustExec(t, a, fmt.Sprintf("create function tenant_%d(v text) returns text language sql as $$ select set_config('my.tenant_%[1]d', v, false) $$", i))
		mustExec(t, a, fmt.Sprintf("select tenant_%d('a')", i))
		for _, who := range []struct {
			c    *pgx.Conn
			want string
		}{{b, ""}, {a, "a"}, {b, ""}} {
			var got string
			if err := who.c.QueryRow(context.Background(), fmt.Sprintf("select coalesce(current_setting('my.tenant_%d', true), '')", i)).Scan(&got); err != nil || got != who.want {
				t.Fatalf("%d: %q instead of %q, %v", i, got, who.want, err)
			}
		}
	}
	if n := p.pinned(t); n != 0 {
		t.Errorf("%d clients keep their server", n)
	}
}

// What a server answers to a check or a look at the catalog may be anything.
func TestOddRowsOfTheCatalogAreTaken(t *testing.T) {
	for _, kind := range []string{"r", "s", "t", "d", "f", "u", "F", "R", "E", "v", "q", "?", ""} {
		check := &findings{}
		look := &findings{defaults: map[string]initial{}}
		for _, null := range []bool{false, true} {
			check.add(kind, "", "", null, nil)
			look.add(kind, "", "", null, nil)
		}
		newCatalog(look)
	}
}
