package pgpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// functionsSchema has functions of every kind, and what calls them.
const functionsSchema = `
create schema billing; create schema "Odd";
create table t (id int primary key, n int, doc jsonb); insert into t values (1, 0, '{}');
create table log (n int);

create function stable_sql(int) returns int language sql stable as 'select n from t where id = $1';
create function immutable_sql(int) returns int language sql immutable as 'select $1 * 2';
create function stable_plpgsql() returns int language plpgsql stable as 'begin return (select n from t); end';
create function atomic_sql() returns int language sql stable begin atomic; select n from t; end;
create function volatile_sql() returns int language sql volatile as 'insert into log values (1) returning n';
create function volatile_plpgsql() returns int language plpgsql as 'begin insert into log values (1); return 1; end';
create function overloaded(int) returns int language sql immutable as 'select $1';
create function overloaded(text) returns int language sql volatile as 'insert into log values (1) returning n';
create function definer() returns int language sql stable security definer as 'select n from t';
create function tenant() returns text language sql stable as $$ select current_setting('app.tenant', true) $$;
create function "Quoted"() returns int language sql stable as 'select 1';
create function quoted() returns int language sql volatile as 'insert into log values (1) returning n';
create function elsewhere() returns int language sql volatile as 'insert into log values (1) returning n';
create function billing.elsewhere() returns int language sql stable as 'select 1';
create function billing.total() returns int language sql stable as 'select 1';
create function "Odd".f() returns int language sql stable as 'select 1';
create function upper(int) returns int language sql volatile as 'insert into log values ($1) returning n';
create function initcap(int) returns int language sql stable as 'select $1';
create function locks() returns void language sql stable as 'select pg_advisory_xact_lock(1)';
create function locks_within() returns int language plpgsql stable as 'begin perform locks(); return 1; end';
create function sets() returns text language plpgsql stable as $$ begin return set_config('app.tenant', 'x', false); end $$;
create function calls_volatile() returns int language sql stable as 'select volatile_sql()';
create function step(int, int) returns int language sql volatile as 'select $1 + $2';
create aggregate volatile_sum(int) (sfunc = step, stype = int);
create aggregate stable_sum(int) (sfunc = int4pl, stype = int);

create view plain as select * from t;
create view over_stable as select stable_sql(1) as n;
create view over_volatile as select volatile_sql() as n;
create view over_view as select * from over_volatile;
create view over_acting as select locks_within() as n;
create view over_builtin as select pg_advisory_xact_lock(1)::text as n;
create view over_random as select random() as n, gen_random_uuid();
create view over_activity as select count(*) from pg_stat_activity;
create view over_unlogged as select 1 as n from t;
create unlogged table unlogged (id int);
create view billing.over_unlogged as select * from unlogged;
create materialized view kept as select volatile_sql() as n;
create sequence tickets;
create table parts (id int) partition by range (id);
create table part_1 partition of parts for values from (0) to (10);
create unlogged table part_2 partition of parts for values from (10) to (20);
create table guarded (id int); alter table guarded enable row level security;
create policy p on guarded using (volatile_sql() = 1);
create table open_to_some (id int); alter table open_to_some enable row level security;
create policy p on open_to_some using (tenant() is null);
create extension file_fdw; create server files foreign data wrapper file_fdw;
create foreign table foreign_lines (line text) server files options (filename '/etc/hostname', format 'text');
create extension pgcrypto schema billing;
`

// functionsCases say where a statement runs when the catalog is known.
var functionsCases = []struct{ sql, want string }{
	{"select immutable_sql(1)", "replica"},
	{"select stable_sql(1), now(), random()", "replica"},
	{"select Stable_SQL (1)", "replica"},
	{"select * from stable_plpgsql()", "replica"},
	{"select atomic_sql()", "replica"},
	{"select volatile_sql()", "primary"},
	{"select n from t where n = (select volatile_plpgsql())", "primary"},
	{"select overloaded(1)", "primary"},
	{"select definer()", "replica"},
	{"select tenant()", "replica"},
	{"select current_setting('app.tenant', true)", "replica"},
	{"select current_setting('transaction_read_only')", "primary"},
	{"select current_setting('transaction_' || 'read_only')", "replica"}, // a literal is all that is looked at
	{`select "Quoted"()`, "replica"},
	{"select quoted()", "primary"},
	{`select "quoted"()`, "primary"},
	{"select elsewhere()", "primary"},
	{"select billing.elsewhere()", "replica"},
	{`select "billing"."elsewhere"()`, "replica"},
	{"select public.elsewhere()", "primary"},
	{"select billing.total()", "replica"},
	{`select "Odd".f()`, "replica"},
	{"select upper('a')", "primary"}, // which one is up to the server
	{"select upper(1)", "primary"},
	{"select pg_catalog.upper('a')", "replica"},
	{"select initcap('a'), initcap(1)", "replica"},
	{"select locks()", "primary"},
	{"select locks_within()", "primary"},
	{"select sets()", "primary"},
	{"select calls_volatile()", "primary"},
	{"select volatile_sum(n) from t", "primary"},
	{"select stable_sum(n) from t", "replica"},
	{"select billing.gen_random_uuid(), gen_random_uuid(), billing.crypt('a', billing.gen_salt('md5')), billing.digest('a', 'md5')", "replica"},
	{"select pg_advisory_xact_lock(1)", "primary"},
	{"select * from pg_stat_activity", "primary"},
	{"explain analyze select stable_sql(1)", "replica"},
	{"explain analyze select volatile_sql()", "primary"},
	{"copy (select stable_sql(n) from t) to stdout", "replica"},
	{"copy (select volatile_sql()) to stdout", "primary"},
	{"copy (select * from over_view) to stdout", "primary"},
	{"copy t to stdout", "primary"},

	{"select * from plain", "replica"},
	{"select * from over_stable", "replica"},
	{"select * from over_volatile", "primary"},
	{"select * from over_view", "primary"},
	{"select * from t, over_view v", "primary"},
	{"select * from (t join over_view v on true)", "primary"},
	{"select (select n from public.over_view)", "primary"},
	{`table "over_view"`, "primary"},
	{"select * from over_acting", "primary"},
	{"select * from over_builtin", "primary"},
	{"select * from over_random", "replica"},
	{"select * from over_activity", "primary"},
	{"select * from unlogged", "primary"},
	{"select n as unlogged from t", "replica"},
	{"select 'from unlogged' from t", "replica"},
	{"select * from over_unlogged", "primary"}, // of another schema, which the search_path may have
	{"select * from public.over_unlogged", "replica"},
	{"select * from billing.over_unlogged", "primary"},
	{"select * from kept", "replica"},
	{"select last_value from tickets", "primary"},
	{"select * from parts", "primary"},
	{"select * from part_1", "replica"},
	{"select * from guarded", "primary"},
	{"select * from open_to_some", "replica"},
	{"select * from foreign_lines", "primary"},
}

// onDatabase makes a database with a schema, on both servers, until the test ends.
func onDatabase(t *testing.T, name, schema string) *pgx.Conn {
	t.Helper()
	ctx := context.Background()
	scratch(t, name)
	config, err := pgx.ParseConfig(pg.URL(0))
	if err != nil {
		t.Fatal(err)
	}
	config.Database = name
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(ctx) })
	mustExec(t, c, schema)
	if err := pg.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// answeredBy tells which server answered what fn did.
func (p *testPooler) answeredBy(t *testing.T, fn func()) string {
	t.Helper()
	before := p.counts(t)
	fn()
	after := p.counts(t)
	switch {
	case after[0] > before[0]:
		return "primary"
	case after[1] > before[1]:
		return "replica"
	}
	return "nowhere"
}

func TestFunctionsAndRelationsDecideWhereAStatementRuns(t *testing.T) {
	onDatabase(t, "functions", functionsSchema)
	p := startSplit(t, 1, nil)
	p.learned(t, "functions")
	for _, mode := range []string{"simple_protocol", "cache_describe"} {
		for _, tc := range functionsCases {
			c := connectTo(t, p, "functions", mode) // a fresh session owes nothing to an earlier write
			got := p.answeredBy(t, func() { read(t, c, tc.sql) })
			if got != tc.want {
				t.Errorf("%s: %q ran on the %s", mode, tc.sql, got)
			}
			c.Close(context.Background())
		}
	}
	if n := p.repeats(t); n != 0 {
		t.Errorf("%d statements were refused by the replica", n)
	}
}

// read runs a query in the mode of its connection: Exec without arguments is always simple.
func read(t *testing.T, c *pgx.Conn, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	rows, err := c.Query(ctx, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	rows.Close()
	if rows.Err() != nil {
		t.Fatalf("%s: %v", sql, rows.Err())
	}
}

// learned waits until the catalog of a database is known: what comes before that runs on the primary.
func (p *testPooler) learned(t *testing.T, database string) {
	t.Helper()
	mustExec(t, connectTo(t, p, database, "exec"), "select 1")
	waitFor(t, "the catalog to be known", func() (known bool) {
		p.on(t, 0, func(w *worker) {
			for shared := range w.groups {
				known = known || shared.name == database && !shared.catalog.Load().unsure()
			}
		})
		return known
	})
}

// repeats returns how many units were repeated.
func (p *testPooler) repeats(t *testing.T) (n uint64) {
	t.Helper()
	for i := range p.workers {
		p.on(t, i, func(w *worker) {
			for _, g := range w.groups {
				for _, pl := range g.pools {
					n += pl.stats.repeated
				}
			}
		})
	}
	return n
}

func connectTo(t *testing.T, p *testPooler, database, mode string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	c, err := pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable&default_query_exec_mode=%s", p.addr, database, mode))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func TestListsComeBeforeTheCatalog(t *testing.T) {
	onDatabase(t, "listed", functionsSchema)
	p := startSplit(t, 1, func(c *Config) {
		d := &c.Tuning.Defaults
		d.ReadFunctions = []string{"overloaded", "public.elsewhere", "pg_is_in_recovery", "upper", "nowhere"}
		d.WriteFunctions = []string{"stable_sql", "billing.total", "lower"}
		d.PrimaryRelations = []string{"t", "billing.report*"}
		d.ReplicaRelations = []string{"pg_stat_*", "over_activity", "pg_catalog.pg_locks"}
	})
	p.learned(t, "listed")
	for _, tc := range []struct{ sql, want string }{
		{"select overloaded(1)", "replica"},
		{"select elsewhere()", "primary"}, // the list has one with a schema, and this may be another
		{"select pg_is_in_recovery()", "replica"},
		{"select upper('a')", "replica"},
		{"select stable_sql(1)", "primary"},
		{"select public.stable_sql(1)", "primary"},
		{"select lower('a')", "primary"},
		{"select billing.total()", "primary"},
		{"select immutable_sql(1)", "replica"},
		{"select * from t", "primary"},
		{"select * from public.t", "primary"},
		{"select t.* from plain t", "replica"},
		{"select count(*) from pg_stat_activity", "replica"},
		{"select count(*) from pg_stat_database", "replica"},
		{"select * from over_activity", "replica"},
		{"select count(*) from pg_locks", "primary"},
		{"select count(*) from pg_catalog.pg_locks", "replica"},
		{"select count(*) from pg_settings", "primary"},
	} {
		c := connectTo(t, p, "listed", "exec")
		if got := p.answeredBy(t, func() { read(t, c, tc.sql) }); got != tc.want {
			t.Errorf("%q ran on the %s", tc.sql, got)
		}
		c.Close(context.Background())
	}
}

// A change of a function counts at once if it goes through the pooler, on whatever worker and by whatever name of the
// database, in session mode too, and within the time to live if it does not.
func TestChangesOfFunctionsAreSeen(t *testing.T) {
	owner := onDatabase(t, "changing", "create table log (n int); create function f() returns int language sql stable as 'select 1'; create table u (id int)")
	p := startSplit(t, 2, func(c *Config) {
		c.learnAgain, c.learnRetry = 200*time.Millisecond, 50*time.Millisecond
		servers := c.Tuning.Databases["*"].Servers
		c.Tuning.Databases["other"] = Database{Name: "changing", Servers: servers}
		defaults := c.Tuning.Defaults
		c.Tuning.Policy = func(database, _ string) Policy {
			p := defaults
			if database == "migrations" {
				p.Mode = SessionMode
			}
			return p
		}
		c.Tuning.Databases["migrations"] = Database{Name: "changing", Servers: servers}
	})
	ctx := context.Background()
	place := func(sql string) string {
		c := connectTo(t, p, "changing", "exec")
		defer c.Close(ctx)
		return p.answeredBy(t, func() { mustExec(t, c, sql) })
	}
	await := func(sql, want string) {
		t.Helper()
		waitFor(t, sql+" to run on the "+want, func() bool { return place(sql) == want })
	}
	changer, migrator := connectTo(t, p, "other", "exec"), connectTo(t, p, "migrations", "exec")
	await("select f()", "replica")
	for i, ddl := range []string{
		"alter function f() volatile",
		"create or replace function f() returns int language sql as 'select 2'", // a replica would run it
		"begin; drop function f(); create function f() returns int language sql volatile as 'select 3'; commit",
		"do $$ begin alter function f() volatile; end $$",
	} {
		who := changer
		if i%2 == 1 {
			who = migrator
		}
		mustExec(t, who, ddl)
		if got := place("select f()"); got != "primary" {
			t.Errorf("behind %q f ran on the %s", ddl, got)
		}
		await("select 1", "replica")
		mustExec(t, changer, "create or replace function f() returns int language sql stable as 'select 1'")
		if err := pg.WaitCaughtUp(ctx); err != nil {
			t.Fatal(err)
		}
		await("select f()", "replica")
	}
	mustExec(t, owner, "alter function f() volatile") // behind its back
	await("select f()", "primary")
	mustExec(t, owner, "alter function f() stable")
	await("select f()", "replica")
	mustExec(t, owner, "alter table u set unlogged")
	await("select * from u", "primary")
	mustExec(t, owner, "alter table u set logged")
	await("select * from u", "replica") // also if a replica has refused it meanwhile
	mustExec(t, owner, "create schema there; create function there.g() returns int language sql volatile as 'select 1'; create function g() returns int language sql stable as 'select 1'")
	await("select public.g()", "replica")
	if got := place("select g()"); got != "primary" {
		t.Errorf("g ran on the %s", got)
	}
	mustExec(t, owner, "alter schema there rename to here")
	await("select here.g()", "primary")
}

// While nothing is known of the catalog, functions of the database run on the primary.
func TestFunctionsAreNotTrustedWhileTheCatalogIsUnknown(t *testing.T) {
	n := &knownNames{functions: map[string]verdict{"f": namesRead, "public\x01f": namesRead, "lower": namesVolatile}}
	for _, tc := range []struct {
		names *knownNames
		stale bool
		sql   string
		want  verdict
	}{
		{n, false, "select f()", namesRead},
		{n, true, "select f()", namesStale},
		{nil, true, "select f()", namesStale},
		{n, false, "select public.f(), pg_catalog.upper('x')", namesRead},
		{n, false, "select other.f()", namesUnknown},
		{n, false, `select "F"()`, namesUnknown},
		{n, false, `select "f"""()`, namesUnknown},
		{n, true, "select upper('x')", namesRead},
		{nil, true, "select upper('x'), count(*) from t", namesRead},
		{n, true, "select lower('x')", namesVolatile},
		{n, false, "select nextval('x')", namesBuiltIn},
		{n, false, "select f(), nextval('x')", namesBuiltIn},
		{n, false, "select " + strings.Repeat("upper(a), ", maxNamed-1) + "upper(b)", namesRead},
		{n, false, "select " + strings.Repeat("upper(a), ", maxNamed) + "upper(b)", namesTooMany},
	} {
		in := (&namedLast{}).find(&statement{body: tc.sql + "\x00"})
		if got := tc.names.judge(in, &Policy{}, tc.stale).worst(); got != tc.want {
			t.Errorf("%.60q, stale %v: %q instead of %q", tc.sql, tc.stale, got, tc.want)
		}
	}
}

// What the catalog did not tell in time is repeated on the primary, unseen by the client.
func TestUnloggedRelationsAreReadOnThePrimary(t *testing.T) {
	owner := onDatabase(t, "unlogged", "create table u (id int); insert into u values (1)")
	p := startSplit(t, 1, func(c *Config) { c.learnAgain, c.learnRetry = time.Hour, time.Hour })
	ctx := context.Background()
	c := connectTo(t, p, "unlogged", "exec")
	if got := p.answeredBy(t, func() { mustExec(t, c, "select * from u") }); got != "replica" {
		t.Fatalf("it ran on the %s", got)
	}
	waitFor(t, "all looks at the catalog to be over", func() bool {
		over := true
		p.on(t, 0, func(w *worker) {
			for _, g := range w.groups {
				for _, pl := range g.pools {
					over = over && pl.dialing+pl.preparing == 0
					for s := range pl.all {
						over = over && !s.learning && len(s.inspections) == 0
					}
				}
			}
		})
		return over
	})
	mustExec(t, owner, "alter table u set unlogged")
	if err := pg.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"simple_protocol", "exec", "cache_statement"} {
		c := connectTo(t, p, "unlogged", mode)
		for range 2 {
			var n int
			if err := c.QueryRow(ctx, "select id from u").Scan(&n); err != nil || n != 1 {
				t.Errorf("%s: %d, %v", mode, n, err)
			}
		}
	}
	if n := p.repeats(t); n == 0 || n > 3 {
		t.Errorf("%d statements were repeated: at least one must be, and each shape only once", n)
	}
	rows, err := p.admin(t).Query(ctx, "explain route for unlogged select id from u")
	if err != nil {
		t.Fatal(err)
	}
	reason := ""
	for rows.Next() {
		if v, err := rows.Values(); err == nil && v[0] == "side" {
			reason = fmt.Sprint(v[2])
		}
	}
	if reason != "relation" {
		t.Errorf("it is explained by %q", reason)
	}
	_, err = c.Exec(ctx, "select * from nowhere")
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "42P01" {
		t.Errorf("other errors stay: %v", err)
	}
}

// A replica cannot do what a serializable session asks for, and no shape is to blame.
func TestSerializableSessionsReadOnThePrimary(t *testing.T) {
	onDatabase(t, "serial", "create table t (id int); insert into t values (1)")
	p := startSplit(t, 1, nil)
	ctx := context.Background()
	c := connectTo(t, p, "serial", "exec")
	mustExec(t, c, "set default_transaction_isolation = serializable")
	for range 3 {
		var n int
		if err := c.QueryRow(ctx, "select id from t").Scan(&n); err != nil || n != 1 {
			t.Fatal(n, err)
		}
	}
	other := connectTo(t, p, "serial", "exec")
	if got := p.answeredBy(t, func() { mustExec(t, other, "select id from t") }); got != "replica" {
		t.Errorf("the others' read ran on the %s", got)
	}
}

// A temporary table hides the one of the same name, from its session alone.
func TestTemporaryTablesHideOthers(t *testing.T) {
	onDatabase(t, "temporary", "create table t (id int); insert into t values (1)")
	p := startSplit(t, 1, nil)
	ctx := context.Background()
	a, b := connectTo(t, p, "temporary", "exec"), connectTo(t, p, "temporary", "exec")
	mustExec(t, a, "create temp table t (id int)")
	mustExec(t, a, "insert into t values (2)")
	for c, want := range map[*pgx.Conn]int{a: 2, b: 1} {
		var n int
		if err := c.QueryRow(ctx, "select id from t").Scan(&n); err != nil || n != want {
			t.Errorf("%d instead of %d, %v", n, want, err)
		}
	}
}

// A call of a function that only reads is no write, and a view that hides one that writes is no read.
func TestFunctionsThatOnlyReadDoNotCountAsWrites(t *testing.T) {
	onDatabase(t, "counted", functionsSchema)
	p := startSplit(t, 1, nil)
	p.learned(t, "counted")
	for sql, want := range map[string]bool{
		"select stable_sql(1)":                 false,
		"select last_value from tickets":       false,
		"select * from unlogged":               false,
		"select * from pg_settings":            false,
		"select volatile_sql()":                true,
		"select * from over_volatile":          true,
		"select nowhere()":                     true,
		"select stable_sql(1) for update":      true,
		"insert into log select stable_sql(1)": true,
	} {
		p.on(t, 0, func(w *worker) {
			for c := range w.clients {
				if got, _ := c.writes(w.texts.make("", []byte(sql+"\x00"))); got != want {
					t.Errorf("%q writes: %v", sql, got)
				}
			}
		})
	}
}

// EXPLAIN ROUTE says which function or relation it is.
func TestExplainRouteNamesTheCulprit(t *testing.T) {
	onDatabase(t, "explained", functionsSchema)
	p := startSplit(t, 1, nil)
	p.learned(t, "explained")
	console := p.admin(t)
	for sql, want := range map[string]string{
		"select stable_sql(1)":                             "side: replica: read",
		"select stable_sql(1), public.volatile_sql()":      "function: public.volatile_sql: volatile",
		"select nowhere()":                                 "function: nowhere: not known",
		"select pg_catalog.pg_switch_wal()":                "function: pg_catalog.pg_switch_wal: it acts on the server itself",
		`select * from t, "over_view"`:                     `relation: "over_view": hides what is not for replicas`,
		"select * from pg_locks where pid = stable_sql(1)": "relation: pg_locks: tells of the server that is asked",
	} {
		rows, err := console.Query(context.Background(), "explain route for explained "+sql)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for rows.Next() {
			if v, err := rows.Values(); err == nil {
				got = append(got, fmt.Sprintf("%v: %v: %v", v...))
			}
		}
		if !slices.Contains(got, want) {
			t.Errorf("%s: %q without %q, %v", sql, got, want, rows.Err())
		}
	}
}

// Who only reads has no server of the primary that could look at the catalog in passing.
func TestTheCatalogIsLookedAtForThoseWhoOnlyRead(t *testing.T) {
	owner := onDatabase(t, "reading", "create function f() returns int language sql stable as 'select 1'")
	p := startSplit(t, 2, func(c *Config) {
		c.learnAgain, c.learnRetry = 100*time.Millisecond, 50*time.Millisecond
		c.Tuning.Defaults.ServerIdle = 50 * time.Millisecond // the primary's are gone between two looks
	})
	c := connectTo(t, p, "reading", "exec")
	waitFor(t, "f to run on the replica", func() bool { return p.answeredBy(t, func() { read(t, c, "select f()") }) == "replica" })
	mustExec(t, owner, "alter function f() volatile")
	waitFor(t, "f to run on the primary", func() bool {
		return p.answeredBy(t, func() { read(t, c, "select f()") }) == "primary"
	})
}
