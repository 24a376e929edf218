package pgpool

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The functions of these tests. note_it reads or writes, as its argument says, and the catalog cannot tell.
const ruleFunctions = `
	drop table if exists ruled; create table ruled(id int primary key, n int); insert into ruled values (1, 0);
	drop sequence if exists ruled_seq; create sequence ruled_seq;
	create or replace function lock_it() returns int volatile language plpgsql as $$ begin perform pg_advisory_xact_lock(7); return 1; end $$;
	create or replace function lock_it_too() returns int volatile language plpgsql as $$ begin return lock_it(); end $$;
	create or replace function set_it() returns int volatile language plpgsql as $$ begin perform set_config('ruled.it', '1', false); return 1; end $$;
	create or replace function look_it_up() returns int volatile language plpgsql as $$ begin return (select n from ruled where id = 1); end $$;
	create or replace function note_it(yes bool) returns int volatile language plpgsql as $$ begin
		if yes then update ruled set n = n + 1; end if; return (select n from ruled where id = 1); end $$`

// ranOn runs sql on c and tells which servers have completed answers meanwhile.
func (p *testPooler) ranOn(t testing.TB, c *pgx.Conn, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	before := p.counts(t)
	_, err := c.Exec(ctx, sql)
	after := p.counts(t)
	var where []string
	for i, name := range []string{"primary", "replica"} {
		if after[i] > before[i] {
			where = append(where, name)
		}
	}
	if err != nil {
		if e, ok := errors.AsType[*pgconn.PgError](err); ok {
			where = append(where, e.Code)
		} else {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	return strings.Join(where, " ")
}

func setUpRules(t testing.TB) {
	t.Helper()
	mustExec(t, direct(t, 0), ruleFunctions)
	if err := pg.WaitCaughtUp(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// tried is where a write ran that a replica was tried for. Who prepares first does that on the replica.
var tried = map[string]string{"cache_statement": "primary replica", "exec": "primary", "simple_protocol": "primary"}

func TestHints(t *testing.T) {
	setUpRules(t)
	p := startSplit(t, 1, nil)
	p.connect(t, "")
	p.learned(t, "postgres")
	for _, mode := range []string{"cache_statement", "exec", "simple_protocol"} {
		for _, tc := range []struct{ sql, want string }{
			{"select n from ruled", "replica"},
			{"/* outrigger: primary */ select n from ruled", "primary"},
			{"select n /* outrigger:primary */ from ruled /*controller='x'*/", "primary"},
			{"select '/* outrigger: primary */', n from ruled", "replica"},

			// A function that may write is tried on a replica if a hint says so, and run on the primary when it does write.
			{"select look_it_up()", "primary"},
			{"select look_it_up() /*controller='x',outrigger='replica'*/", "replica"},
			{"/* outrigger: replica */ select note_it(false)", "replica"},
			{"/* outrigger: replica */ select note_it(true)", "primary"},
			{"/* outrigger: replica */ select note_it(false)", "replica"},
			{"/* outrigger: replica */ insert into ruled values (2, 0) on conflict do nothing", "primary"},

			// What differs by server is told of the one that is asked.
			{"select pg_is_in_recovery()", "primary"},
			{"/* outrigger: replica */ select pg_is_in_recovery(), inet_server_port()", "replica"},
			{"/* outrigger: replica */ show in_hot_standby", "replica"},
			{"/* outrigger: replica */ select count(*) from pg_stat_activity", "replica"},

			// What a replica would take, and must not get.
			{"/* outrigger: replica */ select pg_advisory_xact_lock(7)", "primary"},
			{"/* outrigger: replica */ select lock_it()", "primary"},
			{"/* outrigger: replica */ select lock_it_too()", "primary"},
			{"/* outrigger: replica */ select set_it()", "primary"},
			{"/* outrigger: replica */ select nextval('ruled_seq')", "primary"},
			{"/* outrigger: replica */ select last_value from ruled_seq", "primary"},
			{"/* outrigger: replica */ select pg_terminate_backend(0)", "primary"},
			{"/* outrigger: replica */ show in_hot_standby; select set_config('a.b', 'c', false)", "primary"},
			{"/* outrigger: replica */ select pg_advisory_lock(7)", "primary"},
			{"/* outrigger: replica */ select pg_advisory_unlock(7)", "primary"},
			{"/* outrigger: replica */ select set_config('a.b', 'c', false)", "primary"},
			{"/* outrigger: replica */ set application_name = 'x'", "primary"},
			{"/* outrigger: replica */ select * from ruled for update", "primary"},
			{"/* outrigger: replica */ prepare ruled_1 as select 1", "primary"},
			{"/* outrigger: replica */ do $$ begin end $$", "primary"},
		} {
			c := p.connect(t, "&default_query_exec_mode="+mode)
			want := tc.want
			if strings.Contains(tc.sql, "note_it(true)") {
				want = tried[mode]
			}
			if got := p.ranOn(t, c, tc.sql); got != want {
				t.Errorf("%s: %q ran on %q, want %q", mode, tc.sql, got, want)
			}
			c.Close(context.Background())
		}
		var n int
		if err := direct(t, 0).QueryRow(context.Background(), "select n from ruled where id = 1").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n != 1 {
			t.Errorf("%s: one call that writes has written %d times", mode, n)
		}
		mustExec(t, direct(t, 0), "update ruled set n = 0")
	}
}

func TestSetRoute(t *testing.T) {
	setUpRules(t)
	p := startSplit(t, 1, nil)
	p.connect(t, "")
	p.learned(t, "postgres")
	for _, mode := range []string{"cache_statement", "exec", "simple_protocol"} {
		c := p.connect(t, "&default_query_exec_mode="+mode)
		for i, tc := range []struct{ sql, want string }{
			{"select 1", "replica"},
			{"set outrigger.route = 'primary'", "primary"},
			{"select 1", "primary"},
			{"select 1 /* outrigger: replica */", "replica"},
			{"set session outrigger.route to replica", "primary"},
			{"select look_it_up()", "replica"},
			{"select note_it(true)", tried[mode]},
			{"/* outrigger: primary */ select look_it_up()", "primary"},
			{"SET OUTRIGGER.ROUTE TO 'Auto'", "primary"},
			{"select look_it_up()", "primary"},
			{`set "outrigger"."route" = "primary"`, "primary"},
			{"select 1", "primary"},
			{"reset outrigger.route", "primary"},
			{"select 1", "replica"},
			{"select set_config('outrigger.route', 'primary', false)", "primary"},
			{"select 2", "primary"},
			{"set outrigger.route to default", "primary"},
			{"select 2", "replica"},

			// Like any setting it knows transactions.
			{"begin", ""}, {"set outrigger.route = 'primary'", "primary"}, {"rollback", "primary"},
			{"select 3", "replica"},
			{"begin", ""}, {"set local outrigger.route = 'primary'", "primary"}, {"commit", "primary"},
			{"select 3", "replica"},
			{"begin", ""}, {"set outrigger.route = 'primary'", "primary"}, {"commit", "primary"},
			{"select 4", "primary"},
			{"discard all", "primary"},
			{"select 5", "replica"},

			// Wrong values.
			{"set outrigger.route = 'elsewhere'", "primary 22023"},
			{"set local outrigger.route = elsewhere", "primary 22023"},
			{`set outrigger.route = 'primary', 'replica'`, "primary 22023"},
			{`set outrigger.route = ''`, "primary 22023"},
			{"select 5", "replica"},
			{"begin", ""}, {"set outrigger.route = 'elsewhere'", "primary 22023"}, {"select 6", "primary 25P02"}, {"rollback", "primary"},
			{"select 7", "replica"},
		} {
			// The write owes its session a replica that has it.
			waitFor(t, "the replica to have caught up", func() bool { return p.caughtUp(t) })
			if got := p.ranOn(t, c, tc.sql); got != tc.want {
				t.Errorf("%s: %d: %q ran on %q, want %q", mode, i, tc.sql, got, tc.want)
			}
		}
	}
}

// caughtUp tells whether the replica has come as far as every client.
func (p *testPooler) caughtUp(t testing.TB) bool {
	reached := true
	for i := range p.workers {
		p.on(t, i, func(w *worker) {
			for c := range w.clients {
				c.wantFloor()
				reached = reached && c.group.shared.up.roles.Reached(1, c.floor)
			}
		})
	}
	return reached
}

// The error is the one that PostgreSQL has for a setting of its own.
func TestWrongRouteIsToldLikeAnyWrongValue(t *testing.T) {
	p := start(t, 1, nil)
	for _, mode := range []string{"cache_statement", "exec", "simple_protocol"} {
		c := p.connect(t, "&default_query_exec_mode="+mode)
		for value, shown := range map[string]string{"elsewhere": "elsewhere", "Grün und \t": "Gr?n und ?", strings.Repeat("x", 100): strings.Repeat("x", 40)} {
			_, err := c.Exec(context.Background(), "set outrigger.route = '"+value+"'")
			e, ok := errors.AsType[*pgconn.PgError](err)
			if !ok || e.Severity != "ERROR" || e.Code != "22023" || e.Message != `invalid value for parameter "outrigger.route": "`+shown+`"` ||
				e.Hint != "Available values: auto, primary, replica." {
				t.Errorf("%s: %q: %+v", mode, value, err)
			}
		}
		mustExec(t, c, "select 1")
	}
	_, err := pgx.Connect(context.Background(), p.url("&options=-c%20outrigger.route%3Delsewhere"))
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "22023" || e.Severity != "FATAL" || !strings.Contains(e.Message, `"elsewhere"`) {
		t.Errorf("a wrong startup parameter: %v", err)
	}
}

// SHOW tells what counts now, whoever says so.
func TestShowRoute(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		c.Tuning.ApplicationRoutes = map[string]Route{"job*": RoutePrimary, "report": RouteReplica}
	})
	ctx := context.Background()
	for _, mode := range []string{"cache_statement", "describe_exec", "exec", "simple_protocol"} {
		c := p.connect(t, "&default_query_exec_mode="+mode)
		for i, tc := range []struct{ sql, want string }{
			{"select 1", "auto"},
			{"set application_name = 'job-1'", "primary"},
			{"set outrigger.route = 'Replica'", "replica"},
			{"set application_name = report", "replica"},
			{"set outrigger.route to auto", "auto"},
			{"reset outrigger.route", "replica"},
			{"begin", "replica"},
			{"set local outrigger.route = 'primary'", "primary"},
			{"commit", "replica"},
			{"select set_config('outrigger.route', 'elsewhere', false)", "replica"},
			{"reset all", "auto"},
		} {
			if _, err := c.Exec(ctx, tc.sql); err != nil {
				t.Fatalf("%s: %s: %v", mode, tc.sql, err)
			}
			for _, sql := range []string{"show outrigger.route", `SHOW "outrigger".Route;`} {
				rows, err := c.Query(ctx, sql)
				if err != nil {
					t.Fatal(err)
				}
				var got string
				for rows.Next() {
					if err := rows.Scan(&got); err != nil {
						t.Fatal(err)
					}
				}
				if rows.Err() != nil {
					t.Fatalf("%s: %d: behind %q, %s: %v", mode, i, tc.sql, sql, rows.Err())
				}
				if got != tc.want || rows.CommandTag().String() != "SHOW" || rows.FieldDescriptions()[0].Name != "outrigger.route" {
					t.Errorf("%s: %d: behind %q, %s: %q as %q with tag %q", mode, i, tc.sql, sql, got, rows.FieldDescriptions()[0].Name, rows.CommandTag())
				}
			}
		}
	}
	if out, err := psql(t, p.url(""), "show outrigger.route"); err != nil || out != "auto\n" {
		t.Errorf("psql: %v: %s", err, out)
	}
}

// A hint comes before what is SET, that before the rule for the application, that before the user and the database.
func TestWhichRuleWins(t *testing.T) {
	setUpRules(t)
	p := startSplit(t, 1, func(c *Config) {
		c.Tuning.ApplicationRoutes = map[string]Route{"job*": RoutePrimary, "job-reads*": RouteAuto, "job-reads-7": RouteReplica}
		c.Tuning.Policy = func(database, user string) Policy {
			p := c.Tuning.Defaults
			if user == "kept" {
				p.Route = RoutePrimary
			}
			return p
		}
	})
	p.connect(t, "")
	p.learned(t, "postgres")
	app := func(name string) string { return "&application_name=" + name }
	for _, tc := range []struct{ user, options, first, sql, want string }{
		{"postgres", "", "", "select look_it_up()", "primary"},
		{"postgres", app("job"), "", "select 1", "primary"},
		{"postgres", app("job-17"), "", "select 1", "primary"},
		{"postgres", app("jo"), "", "select 1", "replica"},
		{"postgres", app("job-reads"), "", "select 1", "replica"},
		{"postgres", app("job-reads"), "", "select look_it_up()", "primary"},
		{"postgres", app("job-reads-7"), "", "select look_it_up()", "replica"},
		{"postgres", app("job"), "", "select 1 /* outrigger: replica */", "replica"},
		{"postgres", app("job"), "set outrigger.route = auto", "select 1", "replica"},
		{"postgres", "", "set application_name = 'job'", "select 1", "primary"},
		{"postgres", app("job"), "set application_name = 'other'", "select 1", "replica"},
		{"kept", "", "", "select 1", "primary"},
		{"kept", app("job-reads"), "", "select 1", "replica"},
		{"kept", "", "set outrigger.route = replica", "select look_it_up()", "replica"},
		{"postgres", "&options=-c%20outrigger.route%3Dprimary", "", "select 1", "primary"},
		{"postgres", "&options=-c%20outrigger.route%3Dprimary", "set outrigger.route = auto", "select 1", "replica"},
		{"postgres", "&options=-c%20outrigger.route%3Dprimary", "set outrigger.route = auto; reset outrigger.route", "select 1", "primary"},
		{"postgres", "&outrigger.route=replica", "", "select look_it_up()", "replica"},
	} {
		url := strings.Replace(p.url(tc.options), "postgres@", tc.user+"@", 1)
		c, err := pgx.Connect(context.Background(), url)
		if err != nil {
			t.Fatalf("%+v: %v", tc, err)
		}
		if tc.first != "" {
			_, err := c.PgConn().Exec(context.Background(), tc.first).ReadAll()
			if err != nil {
				t.Fatalf("%+v: %v", tc, err)
			}
		}
		waitFor(t, "the replica to have caught up", func() bool { return p.caughtUp(t) })
		if got := p.ranOn(t, c, tc.sql); got != tc.want {
			t.Errorf("%+v: it ran on %q", tc, got)
		}
		c.Close(context.Background())
	}
}

// A reload changes the rules for clients that are there.
func TestRulesAreReloaded(t *testing.T) {
	p := startSplit(t, 1, nil)
	c := p.connect(t, "")
	if got := p.ranOn(t, c, "select 1"); got != "replica" {
		t.Fatalf("it ran on %q", got)
	}
	tuning := *p.tuning.Load()
	tuning.Defaults.Route = RoutePrimary
	if err := p.Reload(tuning); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the new rule", func() bool { return p.ranOn(t, c, "select 1") == "primary" })
}

// Whoever begins with the route replica is on a standby, as far as it can tell and libpq's target_session_attrs asks.
func TestStandbySessions(t *testing.T) {
	setUpRules(t)
	p := startSplit(t, 1, func(c *Config) {
		c.Tuning.Databases = map[string]Database{"*": c.Tuning.Databases["*"]}
		d := c.Tuning.Databases["*"]
		d.Name = "postgres"
		c.Tuning.Databases["readers"] = d
		c.Tuning.Policy = func(database, user string) Policy {
			p := c.Tuning.Defaults
			if database == "readers" {
				p.Route = RouteReplica
			}
			return p
		}
	})
	readers := func(query string) string { return strings.Replace(p.url(query), "/postgres?", "/readers?", 1) }
	c, err := pgx.Connect(context.Background(), readers(""))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	waitFor(t, "the catalog to be known", func() (known bool) {
		p.on(t, 0, func(w *worker) {
			for shared := range w.groups {
				known = known || shared.key.database == "readers" && !shared.catalog.Load().unsure()
			}
		})
		return known
	})
	for name, want := range map[string]string{"in_hot_standby": "on", "default_transaction_read_only": "on"} {
		if got := c.PgConn().ParameterStatus(name); got != want {
			t.Errorf("%s is reported as %q", name, got)
		}
	}
	for _, tc := range []struct{ sql, want string }{
		{"select n from ruled", "replica"},
		{"select look_it_up()", "replica"},
		{"show transaction_read_only", "replica"},
		{"select pg_is_in_recovery()", "replica"},
		{"begin", ""}, {"select n from ruled", "replica"}, {"commit", "replica"},
	} {
		if got := p.ranOn(t, c, tc.sql); got != tc.want {
			t.Errorf("%q ran on %q, want %q", tc.sql, got, tc.want)
		}
	}
	for _, sql := range []string{"insert into ruled values (3, 0)", "select note_it(true)", "create table ruled_2()"} {
		if _, err := c.Exec(context.Background(), sql); err == nil || !strings.Contains(err.Error(), "25006") {
			t.Errorf("%s: %v", sql, err)
		}
	}

	// Drivers that ask by SQL, and libpq, which looks at what it is told.
	for attrs, want := range map[string][2]bool{ // in readers, elsewhere
		"any": {true, true}, "read-write": {false, true}, "primary": {false, true}, "prefer-standby": {true, true},
		"read-only": {true, false}, "standby": {true, false},
	} {
		for i, database := range []string{"readers", "postgres"} {
			url := strings.Replace(p.url("&target_session_attrs="+attrs), "/postgres?", "/"+database+"?", 1)
			c, err := pgx.Connect(context.Background(), url)
			if (err == nil) != want[i] {
				t.Errorf("pgx, %s of %s: %v", attrs, database, err)
			}
			if err == nil {
				c.Close(context.Background())
			}
			if out, err := psql(t, url, "select 'it is '||1"); (err == nil) != want[i] || err == nil && !strings.Contains(out, "it is 1") {
				t.Errorf("psql, %s of %s: %v: %s", attrs, database, err, out)
			}
		}
	}
	// Anybody can ask for the same in a connection string.
	if out, err := psql(t, p.url("&target_session_attrs=standby&options=-c%20outrigger.route%3Dreplica"), "select pg_is_in_recovery()"); err != nil || out != "t\n" {
		t.Errorf("a standby by startup parameter: %v: %s", err, out)
	}
	for _, options := range []string{"outrigger.route%3Dreplica", "default_transaction_read_only%3Don"} {
		if out, err := psql(t, p.url("&target_session_attrs=read-only&options=-c%20"+options), "show transaction_read_only"); err != nil || out != "on\n" {
			t.Errorf("%s: %v: %s", options, err, out)
		}
	}
}

// A standby session writes nowhere, also while the primary stands in for the replicas.
func TestStandbySessionsStayReadOnlyOnThePrimary(t *testing.T) {
	setUpRules(t)
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.Route = RouteReplica })
	for _, mode := range []string{"cache_statement", "simple_protocol"} {
		c := p.connect(t, "&default_query_exec_mode="+mode)
		mustExec(t, c, "select n from ruled")
		for _, sql := range []string{"insert into ruled values (4, 0)", "select note_it(true)", "/* outrigger: primary */ update ruled set n = 5"} {
			if _, err := c.Exec(context.Background(), sql); err == nil || !strings.Contains(err.Error(), "25006") {
				t.Errorf("%s: %s: %v", mode, sql, err)
			}
		}
		// As on a direct connection, who wants to write can say so: rights are what keeps users from it.
		mustExec(t, c, "set default_transaction_read_only = off")
		mustExec(t, c, "update ruled set n = 0")
	}
}

func TestShowRoutes(t *testing.T) {
	setUpRules(t)
	p := startSplit(t, 2, nil)
	c := p.connect(t, "&default_query_exec_mode=simple_protocol")
	for _, sql := range []string{"select 1", "select 2", "/* outrigger: primary */ select 1", "select n from ruled for update",
		"insert into ruled values (9, 9) on conflict do nothing", "set a.b = c", "begin; commit", "do $$ begin end $$"} {
		mustExec(t, c, sql)
	}
	console := p.admin(t)
	rows, err := console.Query(context.Background(), "show routes")
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for rows.Next() {
		v, err := rows.Values()
		if err != nil {
			t.Fatal(err)
		}
		got[fmt.Sprint(v[1], ", ", v[2])] = fmt.Sprint(v[0])
	}
	for _, want := range []string{"replica, read", "primary, primary hint", "primary, lock", "primary, write", "primary, session", "primary, transaction", "primary, unknown"} {
		if got[want] != "postgres" {
			t.Errorf("%s is missing from %v", want, got)
		}
	}
}

func TestExplainRoute(t *testing.T) {
	setUpRules(t)
	p := startSplit(t, 1, func(c *Config) {
		c.Tuning.Policy = func(database, user string) Policy {
			p := c.Tuning.Defaults
			switch user {
			case "kept":
				p.Route = RoutePrimary
			case "standby":
				p.Route = RouteReplica
			}
			return p
		}
	})
	p.connect(t, "")
	p.learned(t, "postgres")
	console := p.admin(t)
	explain := func(sql string) map[string][]string {
		t.Helper()
		rows, err := console.Query(context.Background(), "explain route "+sql)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string][]string)
		for rows.Next() {
			v, err := rows.Values()
			if err != nil {
				t.Fatal(err)
			}
			got[v[0].(string)] = append(got[v[0].(string)], fmt.Sprint(v[1], "|", v[2]))
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
		return got
	}
	for sql, want := range map[string]map[string]string{
		"select 1": {"database": "postgres|", "user": "postgres|", "class": "read|", "hint": "none|", "flags": "|", "side": "replica|read",
			"route": "auto|route of the user or the database"},
		"select 1 /* outrigger: primary */":                  {"hint": "primary|", "side": "primary|primary hint"},
		"for kept@postgres select 1":                         {"user": "kept|", "route": "primary|route of the user or the database", "side": "primary|primary route"},
		"for postgres insert into ruled values (1, ';'); ; ": {"class": "write|", "side": "primary|write"},
		"create temp table x()":                              {"class": "write|", "flags": "defines, temporary object|", "side": "primary|write"},
		"select look_it_up(), lower('a') from ruled":         {"class": "write|", "function": "look_it_up|volatile lower|only reads", "relation": "ruled|only reads", "side": "primary|function"},
		"begin read only":                                    {"class": "begin read only|", "side": "replica|read-only transaction"},
		"begin read only; select 1; commit":                  {"side": "replica|read-only transaction"},
		"begin read only; delete from ruled":                 {"side": "primary|write"},
		"/* outrigger: primary */ begin read only":           {"side": "primary|primary hint"},
		"for standby@postgres begin":                         {"route": "replica|route of the user or the database", "side": "replica|read-only transaction"},
		"begin":                                              {"class": "begin|", "flags": "opens transaction|", "side": "primary|transaction"},
	} {
		got := explain(sql)
		for item, value := range want {
			if strings.Join(got[item], " ") != value {
				t.Errorf("%s: %s is %q, want %q", sql, item, got[item], value)
			}
		}
		if len(got["server"]) != 2 {
			t.Errorf("%s: servers %q", sql, got["server"])
		}
	}
	first, second := testServer(t, 0).Addr, testServer(t, 1).Addr
	if got := fmt.Sprint(explain("select 1")["server"]); got != "["+first+"|primary "+second+"|replica, usable, chosen]" {
		t.Errorf("servers of a read: %s", got)
	}
	if got := fmt.Sprint(explain("delete from ruled")["server"]); got != "["+first+"|primary, chosen "+second+"|replica, usable]" {
		t.Errorf("servers of a write: %s", got)
	}
	p.connect(t, "")
	p.learned(t, "postgres")
	for _, sql := range []string{"select 1", "delete from ruled"} {
		if got := explain("for nobody@postgres " + sql)["user"]; got[0] != "nobody|" {
			t.Errorf("user %q", got)
		}
	}
	// What a replica has refused is known.
	c := p.connect(t, "&default_query_exec_mode=simple_protocol")
	mustExec(t, c, "select note_it(true) /* outrigger: replica */")
	mustExec(t, c, "select note_it(true) /* outrigger: replica */")
	if got := explain("select note_it(true) /* outrigger: replica */")["side"]; got[0] != "primary|refused by a replica" {
		t.Errorf("what was refused: %v", got)
	}
	if _, err := console.Exec(context.Background(), "explain route for nowhere_at_all@ select 1"); err == nil {
		t.Error("a database without a name was taken")
	}
}

// someUp has a primary and replicas, of which the last is down.
type someUp struct{ alone }

func (someUp) Usable(i int, _ *Policy) bool { return i > 0 && i < 5 }
func (someUp) Reached(int, uint64) bool     { return true }

// Nobody need have been there.
func TestExplainRouteOfADatabaseWithoutClients(t *testing.T) {
	p := startSplit(t, 1, nil)
	console := p.admin(t)
	for _, sql := range []string{"select 1", "begin read only", "select f()", "for x@y commit"} {
		mustExec(t, console, "explain route "+sql)
	}
}

func TestExplainRouteSaysWhyNotTheOthers(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		c.Roles = func([]Server) (Roles, error) { return someUp{}, nil }
		servers := []Server{testServer(t, 0)}
		for i, s := range []Server{{Zone: "a"}, {Zone: "b"}, {Zone: "a", Backup: true}, {Zone: "a"}, {Zone: "a"}} {
			s.Network, s.Addr, s.Credentials = "tcp", fmt.Sprint("replica-", i+1, ":5432"), servers[0].Credentials
			servers = append(servers, s)
		}
		c.Tuning.Databases = map[string]Database{"shop": {Servers: servers}}
		c.Tuning.Zone = "a"
	})
	p.mu.Lock()
	for _, u := range p.upstreams {
		u.standings[4].fail(time.Since(p.started), 1, time.Hour)
	}
	p.mu.Unlock()
	console := p.admin(t)
	rows, err := console.Query(context.Background(), "explain route select 1")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for rows.Next() {
		if v, err := rows.Values(); err == nil && v[0] == "server" {
			got = append(got, v[2].(string))
		}
	}
	want := []string{"primary", "replica, usable, chosen", "replica, usable, but in another zone", "replica, usable, but a backup",
		"replica, breaker is open", "down, or not following the primary"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// psql runs sql with a connection string of its own.
func psql(t testing.TB, url, sql string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(pg.BinDir(), "psql"), "-XAtwc", sql, url)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
