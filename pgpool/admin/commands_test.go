package admin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// testEnv is for commands that run without a session. Nobody waits for SHUTDOWN.
func testEnv(t *testing.T, f *fake) env {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	f.onShutdown = cancel
	return env{ctx, f, f}
}

// sample is a statement that runs the command.
func (c *command) sample() string {
	return c.name + map[arguments]string{oneDatabase: " shop", clientID: " 26", assignment: " default_pool_size = 30",
		aStatement: " select 1"}[c.args]
}

// TestAuthorisation asks for every row of the table in every role. The rows of drivers are for everybody.
func TestAuthorisation(t *testing.T) {
	needs := make(map[string]Role)
	for _, name := range []string{"pause", "resume", "disable", "enable", "reconnect", "kill", "kill_client", "wait_close", "suspend", "shutdown",
		"shutdown wait_for_servers", "shutdown wait_for_clients", "reload", "set", "show fds"} {
		needs[name] = Admin
	}
	for _, c := range commands() {
		need, ok := needs[c.name]
		if !ok {
			need = Stats
		}
		delete(needs, c.name)
		for _, role := range []Role{NoRole, Stats, Admin} {
			t.Run(fmt.Sprintf("%s/%d", c.name, role), func(t *testing.T) {
				f := &fake{}
				s := newSession(t.Context(), nil, role, f, f)
				s.env = testEnv(t, f)
				sql := c.sample()
				tokens, err := split(sql)
				if err != nil {
					t.Fatal(err)
				}
				r, err := find(s.table, sql, tokens[0])
				if err != nil || r.name != c.name {
					t.Fatalf("found %v, error %v", r.command, err)
				}
				_, err = s.execute(r)
				if role >= need {
					if err != nil && !errors.Is(err, context.Canceled) {
						t.Fatal(err)
					}
					return
				}
				if e, ok := errors.AsType[*pgwire.Error](err); !ok || e.Code != "42501" {
					t.Errorf("got error %v", err)
				}
				if f.log() != "" {
					t.Errorf("it was run all the same: %s", f.log())
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
		sql := c.sample()
		tokens, err := split(sql)
		if err != nil {
			t.Fatal(err)
		}
		r, err := find(table, sql, tokens[0])
		if err != nil || r.command != &table[i] {
			t.Fatalf("%q is hidden by an earlier row (%v, %v)", c.name, r.command, err)
		}
		rows, err := c.run(testEnv(t, &fake{}), r)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, r := range rows {
			checkTypes(t, c, r)
		}
	}
}

// TestControl checks what each command asks for, and its tag.
func TestControl(t *testing.T) {
	tests := []struct{ sql, want, tag string }{
		{"PAUSE", "pause()", "PAUSE"},
		{"pause Shop;", "pause(Shop)", "PAUSE"},
		{`PAUSE "my ""db"""`, `pause(my "db")`, "PAUSE"},
		{"RESUME", "resume()", "RESUME"},
		{"resume shop", "resume(shop)", "RESUME"},
		{"DISABLE shop", "disable(shop)", "DISABLE"},
		{"ENABLE shop", "enable(shop)", "ENABLE"},
		{"RECONNECT", "reconnect()", "RECONNECT"},
		{"RECONNECT shop", "reconnect(shop)", "RECONNECT"},
		{"KILL", "kill()", "KILL"},
		{"KILL 'shop'", "kill(shop)", "KILL"},
		{"KILL_CLIENT 26", "kill_client(26)", "KILL_CLIENT"},
		{"SUSPEND", "suspend()", "SUSPEND"},
		{"SHUTDOWN WAIT_FOR_SERVERS", "shutdown(1)", "SHUTDOWN"},
		{"SHUTDOWN wait_for_clients", "shutdown(2)", "SHUTDOWN"},
		{"RELOAD", "reload()", "RELOAD"},
		{"WAIT_CLOSE", "wait_close()", "WAIT_CLOSE"},
		{"WAIT_CLOSE shop", "wait_close(shop)", "WAIT_CLOSE"},
		{"SET Default_Pool_Size = 30", "set(default_pool_size, 30)", "SET default_pool_size=30"},
		{"SET query_timeout TO '1''5s'", "set(query_timeout, 1'5s)", "SET query_timeout=1'5s"},
		{"SET query_timeout = 1.5", "set(query_timeout, 1.5)", "SET query_timeout=1.5"},
		{"SET admin_users = a, b ;", "set(admin_users, a, b)", "SET admin_users=a, b"},
		{"SET extra_float_digits = 3", "", "SET"},
		{"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "", "SET"},
		{"EXPLAIN ROUTE SELECT 1", "route(, , SELECT 1)", "EXPLAIN"},
		{"/* who */ explain /* what */ route /* outrigger: replica */ select ';', $$;'$$; -- two\n select 2 ;\n", "route(, , /* outrigger: replica */ select ';', $$;'$$; -- two\n select 2 ;)", "EXPLAIN"},
		{"EXPLAIN ROUTE FOR shop select 1", "route(, shop, select 1)", "EXPLAIN"},
		{"explain route for app@shop\nselect 1", "route(app, shop, select 1)", "EXPLAIN"},
		{`explain route for "a@b ""c"""@"my shop" select 1`, `route(a@b "c", my shop, select 1)`, "EXPLAIN"},
		{"EXPLAIN ROUTE FORMAT", "route(, , FORMAT)", "EXPLAIN"},
	}
	for _, tt := range tests {
		f := &fake{}
		e := testEnv(t, f)
		tokens, err := split(tt.sql)
		if err != nil {
			t.Fatal(err)
		}
		r, err := find(commands(), tt.sql, tokens[0])
		if err != nil {
			t.Errorf("%s: %v", tt.sql, err)
			continue
		}
		if _, err := r.run(e, r); err != nil || f.log() != tt.want || r.completion() != tt.tag {
			t.Errorf("%s: did %q with tag %q, error %v", tt.sql, f.log(), r.completion(), err)
		}
	}
}

// TestOwnDatabase keeps the console's own names from those who pause.
func TestOwnDatabase(t *testing.T) {
	for _, verb := range []string{"pause", "resume", "disable", "enable", "reconnect", "kill", "wait_close"} {
		for _, db := range []string{"outrigger", "pgbouncer"} {
			f := &fake{}
			sql := verb + " " + db
			tokens, _ := split(sql)
			r, err := find(commands(), sql, tokens[0])
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.run(testEnv(t, f), r)
			if e, ok := errors.AsType[*pgwire.Error](err); !ok || e.Code != "42809" || f.log() != "" {
				t.Errorf("%s: error %v, did %q", sql, err, f.log())
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
		want := map[uint32]string{oidText: "string", oidInt4: "int", oidInt8: "int64", oidNumeric: "uint64"}[c.fields[i].oid]
		if got := fmt.Sprintf("%T", v); v != nil && got != want {
			t.Errorf("%s: %s is a %s, its column wants a %s", c.name, c.fields[i].name, got, want)
		}
	}
}

// TestColumns compares names, order and types with the headers that src/admin.c and src/stats.c of PgBouncer 1.25.2 send,
// then with our own columns. pgbouncer.golden was made from those sources, not from this program, and -update leaves it.
func TestColumns(t *testing.T) {
	var theirs, ours strings.Builder
	types := map[uint32]string{oidText: "text", oidInt4: "int4", oidInt8: "int8", oidNumeric: "numeric", oidBytea: "bytea"}
	own := map[string]int{"show servers": 3} // how many columns come after PgBouncer's
	ownCommands := []string{"show help", "show server_pools", "show replicas", "show pins", "show statements", "show routes", "show batches", "show loops", "show health", "show members", "show ring", "explain route"}
	for _, c := range commands() {
		if c.help == "" || len(c.fields) == 0 {
			continue
		}
		fmt.Fprintf(&ours, "-- %s --\n", c.name)
		for _, f := range c.fields {
			fmt.Fprintf(&ours, "%s %s\n", f.name, types[f.oid])
		}
		if slices.Contains(ownCommands, c.name) {
			continue
		}
		fmt.Fprintf(&theirs, "-- %s --\n", c.name)
		for _, f := range c.fields[:len(c.fields)-own[c.name]] {
			fmt.Fprintf(&theirs, "%s %s\n", f.name, types[f.oid])
		}
	}
	want, err := os.ReadFile("testdata/pgbouncer.golden")
	if err != nil {
		t.Fatal(err)
	}
	sorted := func(s string) string { // the order of the commands does not matter
		parts := strings.Split(strings.TrimPrefix(s, "-- "), "\n-- ")
		slices.Sort(parts)
		return strings.TrimSpace(strings.Join(parts, "\n-- "))
	}
	if got, want := sorted(theirs.String()), sorted(string(want)); got != want {
		t.Errorf("not PgBouncer's columns:\n%s\nwant:\n%s", got, want)
	}
	golden(t, "columns.golden", ours.String())
}

func TestFind(t *testing.T) {
	tests := []struct{ sql, want string }{
		{"show pools", "show pools"},
		{"SHOW\tPOOLS ;", "show pools"},
		{"select pools", "show pools"},
		{`show "Pools"`, "show pools"},
		{"/* who */ Show Clients -- now", "show clients"},
		{"SET extra_float_digits = 3", "set extra_float_digits"},
		{"set application_name to 'a;b'", "set application_name"},
		{`set "client_encoding" to 'UTF8'`, "set client_encoding"},
		{"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "set session"},
		{"set transaction_timeout = 5", "set"},
		{"begin isolation level serializable", "begin"},
		{"START TRANSACTION", "start transaction"},
		{"DISCARD ALL", "discard"},
		{"shutdown", "shutdown"},
		{"shutdown Wait_For_Clients", "shutdown wait_for_clients"},
		{"show standard_conforming_strings", "show standard_conforming_strings"},
		{"show TimeZone", "show timezone"},
		{"SHOW TRANSACTION ISOLATION LEVEL", "show transaction isolation level"},
	}
	for _, tt := range tests {
		statements, err := split(tt.sql)
		if err != nil || len(statements) != 1 {
			t.Errorf("%s: split into %v, %v", tt.sql, statements, err)
			continue
		}
		if r, err := find(commands(), tt.sql, statements[0]); err != nil || r.name != tt.want {
			t.Errorf("%s: found %v, error %v", tt.sql, r, err)
		}
	}
	for _, sql := range []string{"show", "show pools now", "show 'pools'", "pools", "select 1", "reload now", "shutdown wait_for_nobody", "start", "show pools.x",
		"\xff", strings.Repeat("ü", 1000), "disable", "enable", "pause a b", "kill my-db", "kill_client", "kill_client me", "kill_client -1",
		"kill_client 99999999999999999999", "set x", "set x y", "set x =", "set = 1", "explain", "explain select 1", "explain route", "explain route ;", "explain route for shop", "explain route for shop@ select 1",
		"explain route for @shop select 1", `explain route for "shop select 1`} {
		statements, err := split(sql)
		if err != nil {
			t.Fatal(err)
		}
		r, err := find(commands(), sql, statements[0])
		e, ok := errors.AsType[*pgwire.Error](err)
		if !ok || e.Code != "42601" || !strings.Contains(e.Hint, "SHOW HELP") || len(e.Message) > 200 {
			t.Errorf("%s: found %v, error %v", sql, r.command, err)
		}
	}
}

func TestHelpListsTheTable(t *testing.T) {
	table := commands()
	rows, err := table[0].run(testEnv(t, &fake{}), request{})
	if err != nil {
		t.Fatal(err)
	}
	var listed, want []string
	for _, r := range rows {
		listed = append(listed, r[0].(string))
	}
	for _, c := range table {
		if c.help != "" {
			want = append(want, strings.ToUpper(c.name)+usage[c.args])
		}
	}
	if !slices.Equal(listed, want) || len(want) < 30 {
		t.Errorf("listed %q, want %q", listed, want)
	}
}

func TestFailures(t *testing.T) {
	f := &fake{err: errors.New("line 3: unknown setting")}
	tests := []struct {
		err           error
		code, message string
	}{
		{reload(env{ctl: f}, request{}), "F0000", "RELOAD failed: line 3: unknown setting"},
		{set(env{ctl: f}, request{}), "22023", "SET failed: line 3: unknown setting"},
	}
	for _, tt := range tests {
		if e, ok := errors.AsType[*pgwire.Error](tt.err); !ok || e.Code != tt.code || e.Message != tt.message {
			t.Errorf("got %v, want %s", tt.err, tt.message)
		}
	}
	f.err = NoDatabase("x")
	if err := set(env{ctl: f}, request{}); err != f.err {
		t.Errorf("a pgwire.Error came out as %v", err)
	}
}
