package admin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// TestAuthorisation asks for every row of the table in every role.
func TestAuthorisation(t *testing.T) {
	needs := map[string]Role{"reload": Admin}
	for _, c := range commands() {
		need, ok := needs[c.name]
		if !ok {
			need = Stats
		}
		delete(needs, c.name)
		for _, role := range []Role{NoRole, Stats, Admin} {
			t.Run(fmt.Sprintf("%s/%d", c.name, role), func(t *testing.T) {
				src := &fakeSource{}
				s := newSession(nil, role, src)
				_, err := s.execute(&c)
				if role >= need {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				if e, ok := errors.AsType[*pgwire.Error](err); !ok || e.Code != "42501" {
					t.Errorf("got error %v", err)
				}
				if src.reloads > 0 {
					t.Error("it was run all the same")
				}
			})
		}
	}
	if len(needs) > 0 {
		t.Errorf("not in the table: %v", needs)
	}
}

// TestTable checks what every row must have.
func TestTable(t *testing.T) {
	table := commands()
	for i, c := range table {
		if c.name != strings.Join(strings.Fields(strings.ToLower(c.name)), " ") || c.tag == "" || c.run == nil || c.role == NoRole {
			t.Errorf("row %d is not complete: %+v", i, c)
		}
		if found, err := find(table, strings.Fields(c.name)); err != nil || found != &table[i] {
			t.Errorf("%q is hidden by an earlier row (%v, %v)", c.name, found, err)
		}
		if rows, err := c.run(&fakeSource{}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else {
			for _, r := range rows {
				checkTypes(t, c, r)
			}
		}
	}
}

func checkTypes(t *testing.T, c command, r row) {
	t.Helper()
	if len(r) != len(c.fields) {
		t.Fatalf("%s: %d values for %d columns", c.name, len(r), len(c.fields))
	}
	for i, v := range r {
		want := map[uint32]string{oidText: "string", oidInt4: "int", oidNumeric: "uint64"}[c.fields[i].oid]
		if got := fmt.Sprintf("%T", v); v != nil && got != want {
			t.Errorf("%s: %s is a %s, its column wants a %s", c.name, c.fields[i].name, got, want)
		}
	}
}

// TestColumns compares names, order and types with src/admin.c and src/stats.c of PgBouncer 1.25.1 (the header lists of
// SHOW), followed by our own columns. The golden file was made from those sources, not from this program.
func TestColumns(t *testing.T) {
	var got strings.Builder
	types := map[uint32]string{oidText: "text", oidInt4: "int4", oidNumeric: "numeric"}
	for _, name := range []string{"show clients", "show help", "show pools", "show servers", "show stats", "show version"} {
		c, err := find(commands(), strings.Fields(name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "-- %s --\n", name)
		for _, f := range c.fields {
			fmt.Fprintf(&got, "%s %s\n", f.name, types[f.oid])
		}
	}
	golden(t, "columns.golden", got.String())
}

func TestFind(t *testing.T) {
	tests := []struct{ sql, want string }{
		{"show pools", "show pools"},
		{"SHOW\tPOOLS ;", "show pools"},
		{"/* who */ Show Clients -- now", "show clients"},
		{"SET extra_float_digits = 3", "set"},
		{"set application_name to 'a;b'", "set"},
		{"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "set"},
		{"begin isolation level serializable", "begin"},
		{"START TRANSACTION", "start transaction"},
		{"DISCARD ALL", "discard"},
		{"show standard_conforming_strings", "show standard_conforming_strings"},
		{"show TimeZone", "show timezone"},
	}
	for _, tt := range tests {
		statements, err := split(tt.sql)
		if err != nil || len(statements) != 1 {
			t.Errorf("%s: split into %q, %v", tt.sql, statements, err)
			continue
		}
		if c, err := find(commands(), statements[0]); err != nil || c.name != tt.want {
			t.Errorf("%s: found %v, error %v", tt.sql, c, err)
		}
	}
	for _, sql := range []string{"show", "show pools now", "pools", "select 1", "reload now", "shutdown", "start", "show pools.x", "\xff", strings.Repeat("ü", 1000)} {
		statements, err := split(sql)
		if err != nil {
			t.Fatal(err)
		}
		c, err := find(commands(), statements[0])
		e, ok := errors.AsType[*pgwire.Error](err)
		if !ok || e.Code != "42601" || !strings.Contains(e.Hint, "SHOW HELP") || len(e.Message) > 200 {
			t.Errorf("%s: found %v, error %v", sql, c, err)
		}
	}
}

func TestHelpListsTheTable(t *testing.T) {
	table := commands()
	rows, err := table[0].run(&fakeSource{})
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, r := range rows {
		listed = append(listed, strings.ToLower(r[0].(string)))
	}
	for _, c := range table {
		if slices.Contains(listed, c.name) != (c.help != "") {
			t.Errorf("%q: help %q, listed %v", c.name, c.help, listed)
		}
	}
	for _, want := range []string{"show help", "show pools", "show clients", "show servers", "show stats", "show version", "reload", "set"} {
		if !slices.Contains(listed, want) {
			t.Errorf("%q is not listed", want)
		}
	}
}

func TestReloadFails(t *testing.T) {
	_, err := reload(&fakeSource{reloadErr: errors.New("line 3: unknown setting")})
	if e, ok := errors.AsType[*pgwire.Error](err); !ok || e.Code != "F0000" || e.Message != "reload: line 3: unknown setting" {
		t.Errorf("got %v", err)
	}
}
