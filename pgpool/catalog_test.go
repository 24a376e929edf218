package pgpool

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

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

// The hazards of code that has not changed are shared with the catalog of before, which others read meanwhile.
func TestSharedHazardsStayAsTheyAre(t *testing.T) {
	leaves := []function{{"leaves", "create temp table t ()"}}
	before := newCatalog(&findings{print: "1", code: leaves, defaults: map[string]initial{}})
	after := newCatalog(&findings{print: "1", code: append(leaves, function{"locks", "select pg_advisory_lock(1)"}), defaults: map[string]initial{}, before: before})
	if len(before.hazards) != 1 || before.hazards["leaves"] == nil || len(after.hazards) != 1 {
		t.Errorf("before: %v, after: %v", before.hazards, after.hazards)
	}
}

// A function leaves what any function leaves that it leads to, and acts if one does. Their texts are read once, however long
// the chain is.
func TestLongChainsOfFunctionsAreFollowed(t *testing.T) {
	const n = 1500
	for _, tc := range []struct {
		last    string
		hazards int
	}{
		{"create temp table t ()", n},
		{"select nextval('s')", 0},
	} {
		f := &findings{defaults: map[string]initial{}}
		for i := range n {
			text := fmt.Sprintf("select fn_%d_() %s", i+1, strings.Repeat("abc def ", 250))
			if i == n-1 {
				text = tc.last
			}
			f.code = append(f.code, function{fmt.Sprintf("fn_%d_", i), text})
			f.routines = append(f.routines, function{fmt.Sprintf("public\x01fn_%d_", i), "s-"})
		}
		begin := time.Now()
		k := newCatalog(f)
		if took := time.Since(begin); took > 15*time.Second { // a pass over all texts for each step would take minutes
			t.Errorf("%s: %d functions took %v", tc.last, n, took)
		}
		if first := k.names.functions["public\x01fn_0_"]; len(k.hazards) != tc.hazards || first != namesActs {
			t.Errorf("%s: %d hazards, the first function is judged %v", tc.last, len(k.hazards), first)
		}
	}
}
