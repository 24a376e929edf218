package pgpool

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// sessionCode is what applications hide state in.
const sessionCode = `
create schema if not exists other;
create role plain; grant all on schema public to plain; grant plain to postgres;
create function sets_work_mem(v text) returns text language plpgsql as $$ begin perform set_config('work_mem', v, false); return v; end $$;
create function sets_search_path() returns void language sql as $$ set search_path = other, public $$;
create function sets_custom() returns void language plpgsql as $$ begin set my.setting = 'from a function'; end $$;
create function calls_sets_custom() returns int language plpgsql as $$ begin perform sets_custom(); return 1; end $$;
create function makes_temp() returns void language plpgsql as $$ begin create temp table mine(id int); end $$;
create function takes_lock() returns void language plpgsql as $$ begin perform pg_advisory_lock(4711); end $$;
create function local_only() returns text language plpgsql as $$ begin perform set_config('work_mem', '7MB', true); return 'local'; end $$;
create function runs(sql text) returns void language plpgsql as $$ begin execute sql; end $$;
create table audited(id int);
create function audits() returns trigger language plpgsql as $$ begin perform set_config('my.setting', 'from a trigger', false); return new; end $$;
create trigger audits before insert on audited for each row execute function audits();
create view watched as select sets_work_mem('9MB');
create procedure proc() language plpgsql as $$ begin set statement_timeout = '77s'; commit; set timezone = 'Asia/Tokyo'; end $$;
create function only_inserts() returns void language plpgsql as $$ begin insert into audited values (7); end $$;
create view watched_again as select * from watched;
create table parent(id int primary key);
create table child(id int references parent on delete cascade);
create trigger audits before delete on child for each row execute function audits();
create function atomic() returns text begin atomic select set_config('work_mem', '6MB', false); end;
create function concat_set(k text) returns void language plpgsql as $$ begin execute 'set ' || k || ' = 6000'; end $$;
create function format_set(k text) returns void language plpgsql as $$ begin execute format('set %I = 6000', k); end $$;
create function comment_set() returns void language plpgsql as $$ begin set -- a word
 work_mem = 6000; end $$;
create function "Quoted Name"() returns void language plpgsql as $$ begin set work_mem = 6000; end $$;
create function "UPPER"() returns void language plpgsql as $$ begin set work_mem = 6000; end $$;
create function state(text, int) returns text language plpgsql as $$ begin perform set_config('work_mem', '6MB', false); return $1; end $$;
create aggregate agg(int) (sfunc = state, stype = text);
create function op(int, int) returns int language plpgsql as $$ begin perform set_config('work_mem', '6MB', false); return $1; end $$;
create table checked(id int check (op(id, 1) > 0));
create table parted(id int) partition by range (id);
create table part1 partition of parted for values from (0) to (10);
create trigger audits before insert on part1 for each row execute function audits();
create table deflt(id int default op(1, 1));
create domain dom as int check (op(value, 1) > 0);
create table domtab(id dom);
create table ruled(id int);
create rule r as on insert to ruled do also insert into audited values (new.id);
create table rls(id int); insert into rls values (1); grant all on rls to plain; alter table rls enable row level security;
create policy pol on rls using (op(id, 1) > 0);
`

// session is a script after which the client must be free to move, or not.
type session struct {
	name  string
	steps []step
	stays bool // it keeps its server
}

var sessions = []session{
	{name: "SET in a transaction", steps: []step{{query("begin")}, {query("set work_mem = '6MB'")}, {query("commit")}}},
	{name: "SET in a transaction rolled back", steps: []step{{query("set work_mem = '5MB'")}, {query("begin")}, {query("set work_mem = '6MB'")}, {query("rollback")}}},
	{name: "SET behind a savepoint", steps: []step{{query("begin; set work_mem = '6MB'; savepoint s")}, {query("set work_mem = '8MB'; set timezone to 'Asia/Tokyo'")}, {query("rollback to s; commit")}}},
	{name: "SET LOCAL", steps: []step{{query("begin; set local work_mem = '6MB'")}, {query("commit")}}},
	{name: "SET in a transaction that fails", steps: []step{{query("begin; set work_mem = '6MB'")}, {query("select 1/0")}, {query("commit")}}},
	{name: "several in one query", steps: []step{{query("set work_mem = '6MB'; set timezone = 'Asia/Tokyo'; set my.setting = 'x'; set search_path = other, public")}}},
	{name: "reset all in one of several", steps: []step{{query("set work_mem = '6MB'; set search_path = other")}, {query("select 1; reset all; set timezone = 'Asia/Tokyo'")}}},
	{name: "reset in a transaction", steps: []step{{query("set application_name = 'another'")}, {query("begin; reset application_name; commit")}}},
	{name: "discard all in one of several", steps: []step{{query("set work_mem = '6MB'")}, {query("discard all")}}},
	{name: "time zone in words", steps: []step{{query("set time zone 'Asia/Tokyo'")}}},
	{name: "characteristics", steps: []step{{query("set session characteristics as transaction isolation level serializable")}}},
	{name: "begin with a level", steps: []step{{query("begin isolation level serializable")}, {query("commit")}}},
	{name: "DO", steps: []step{{query("do $$ begin set work_mem = '6MB'; perform set_config('my.setting', 'x', false); end $$")}}},
	{name: "a function", steps: []step{{query("select sets_work_mem('6MB')")}}},
	{name: "a function by parameter", steps: []step{join(parse("", "select sets_work_mem($1)"), bind("", "", "6MB"), execute("", 0), syncs)}},
	{name: "a function rolled back", steps: []step{{query("begin; select sets_work_mem('6MB')")}, {query("rollback")}}},
	{name: "a function with SET", steps: []step{{query("select sets_search_path()")}}},
	{name: "a function that calls another", steps: []step{{query("select calls_sets_custom()")}}},
	{name: "a function for the transaction only", steps: []step{{query("select local_only()")}}},
	{name: "a procedure", steps: []step{{query("call proc()")}}},
	{name: "a trigger", steps: []step{{query("insert into audited values (1)")}}},
	{name: "a view", steps: []step{{query("select * from watched")}}},
	{name: "dynamic SQL", steps: []step{{query("select runs('set work_mem = ''6MB''')")}}},
	{name: "a function made a moment ago", steps: []step{{query("create function pg_temp_not() returns void language sql as 'set work_mem = ''6MB'''")}, {query("select pg_temp_not()")}, {query("drop function pg_temp_not()")}}},
	{name: "set_config by parameter", steps: []step{join(parse("", "select set_config($1, $2, false)"), bind("", "", "work_mem", "6MB"), execute("", 0), syncs)}},
	{name: "a custom setting by parameter", steps: []step{join(parse("", "select set_config($1, $2, false)"), bind("", "", "my.setting", "y"), execute("", 0), syncs)}},
	{name: "a custom setting of a computed name", steps: []step{{query("select set_config('my' || '.setting', 'y', false)")}}, stays: true},
	{name: "set role", steps: []step{{query("set role plain")}}},
	{name: "set role and back", steps: []step{{query("set role plain")}, {query("reset role")}}},
	{name: "set role in a transaction rolled back", steps: []step{{query("begin; set role plain")}, {query("rollback")}}},
	{name: "set session authorization", steps: []step{{query("set work_mem = '6MB'")}, {query("set session authorization plain")}, {query("set timezone = 'Asia/Tokyo'")}}},
	{name: "reset all leaves the role", steps: []step{{query("set role plain")}, {query("reset all")}}},
	{name: "temporary table", steps: []step{{query("create temp table mine(id int)")}}, stays: true},
	{name: "temporary table dropped", steps: []step{{query("create temp table mine(id int)")}, {query("insert into mine values (1)")}, {query("drop table mine")}}},
	{name: "temporary table dropped on commit", steps: []step{{query("begin; create temp table mine(id int) on commit drop")}, {query("commit")}}},
	{name: "temporary table rolled back", steps: []step{{query("begin; create temp table mine(id int)")}, {query("rollback")}}},
	{name: "temporary table of a function", steps: []step{{query("select makes_temp()")}}, stays: true},
	{name: "select into temp", steps: []step{{query("select 1 as id into temp mine")}}, stays: true},
	{name: "advisory lock", steps: []step{{query("select pg_advisory_lock(1)")}}, stays: true},
	{name: "advisory lock given back", steps: []step{{query("select pg_advisory_lock(1)")}, {query("select pg_advisory_unlock(1)")}}},
	{name: "advisory lock not got", steps: []step{{query("select pg_try_advisory_lock(1), pg_advisory_unlock_all()")}}},
	{name: "advisory lock of a function", steps: []step{{query("select takes_lock()")}}, stays: true},
	{name: "advisory lock of a transaction", steps: []step{{query("begin; select pg_advisory_xact_lock(1)")}, {query("commit")}}},
	{name: "prepare", steps: []step{{query("prepare p as select 1")}, {query("execute p")}}, stays: true},
	{name: "prepare and deallocate", steps: []step{{query("prepare p as select 1")}, {query("execute p")}, {query("deallocate p")}}},
	{name: "prepare of what sets", steps: []step{{query("prepare p as select set_config('work_mem', '6MB', false)")}, {query("execute p")}, {query("deallocate all")}}},
	{name: "cursor", steps: []step{{query("begin; declare c cursor with hold for select 1")}, {query("commit")}}, stays: true},
	{name: "cursor closed", steps: []step{{query("begin; declare c cursor with hold for select 1")}, {query("commit")}, {query("fetch c")}, {query("close c")}}},
	{name: "cursor of a transaction", steps: []step{{query("begin; declare c cursor for select 1")}, {query("commit")}}},
	{name: "a function made where strings are not standard", steps: []step{{query("set standard_conforming_strings = off")}, {query("create function strings() returns void language sql as $$ set work_mem = '6MB' $$")}, {query("select strings()")}, {query("drop function strings()")}}},
	{name: "log shown", steps: []step{{query("set client_min_messages = log")}, {query("set log_statement = 'all'")}, {query("begin; set work_mem = '6MB'")}, {query("commit")}, {query("create function logged() returns void language sql as ''; drop function logged()")}}},
	{name: "a function that writes to a table with a trigger", steps: []step{{query("select only_inserts()")}}},
	{name: "a view of a view", steps: []step{{query("select * from watched_again")}}},
	{name: "a trigger behind a foreign key", steps: []step{{query("insert into parent values (1)")}, {query("insert into child values (1)")}, {query("delete from parent")}}},
	{name: "a trigger of a partition", steps: []step{{query("insert into parted values (1)")}}},
	{name: "a function with a body of SQL", steps: []step{{query("select atomic()")}}},
	{name: "a function that puts SET together", steps: []step{{query("select concat_set('work_mem')")}}},
	{name: "a function that formats SET", steps: []step{{query("select format_set('work_mem')")}}},
	{name: "a comment behind SET", steps: []step{{query("select comment_set()")}, {query("select 1; set /* to */ work_mem = '7MB'; select 2")}}},
	{name: "a function with a name in quotes", steps: []step{{query(`select "Quoted Name"()`)}, {query(`select "UPPER"()`)}}},
	{name: "an aggregate", steps: []step{{query("select agg(1)")}}},
	{name: "a check", steps: []step{{query("insert into checked values (1)")}}},
	{name: "a default", steps: []step{{query("insert into deflt default values")}}},
	{name: "a domain", steps: []step{{query("insert into domtab values (1)")}}},
	{name: "a rule", steps: []step{{query("insert into ruled values (1)")}}},
	{name: "a policy", steps: []step{{query("set role plain")}, {query("select * from rls")}}},
	{name: "a fast-path call", steps: []step{{call(2078, "work_mem", "6MB", "f")}}, stays: true},
	{name: "a fast-path call of a large object", steps: []step{{call(715, "4711")}}},
	{name: "run by Bind what SQL has prepared", steps: []step{{query("prepare p as select set_config('work_mem', '6MB', false)")}, join(bind("", "p"), execute("", 0), syncs), {query("deallocate p")}}},
	{name: "a backslash that is no escape elsewhere", steps: []step{{query("set standard_conforming_strings = off")}, {query(`set my.setting = 'a\\b'`)}}},
	{name: "load", steps: []step{{query("load 'plpgsql'")}}, stays: true},
	{name: "backend pid", steps: []step{{query("select pg_backend_pid() > 0")}}, stays: true},
}

// What a session has left is found before its server is given away: settings follow the client, what only a server can
// hold keeps the client there, and nothing of it is seen by a stranger.
func TestSessionsAreLookedAtOnRelease(t *testing.T) {
	direct, pooled := differentialDatabases(t, 1)
	for i, database := range []string{direct, pooled} {
		code := sessionCode
		if i > 0 {
			code = strings.Replace(code, "create role plain;", "", 1)
		}
		if _, err := directTo(t, database).Exec(t.Context(), code); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, database := range []string{direct, pooled} {
			if _, err := directTo(t, database).Exec(context.Background(), "drop owned by plain"); err != nil {
				t.Error(err)
			}
		}
	})
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 2 })
	for _, tc := range sessions {
		t.Run(tc.name, func(t *testing.T) {
			if diff := playSession(t, p, direct, pooled, tc); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func playSession(t *testing.T, p *testPooler, direct, pooled string, tc session) string {
	d, err := newDiffer(p, direct, pooled, whole)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for i, s := range tc.steps {
		if diff := d.step(s); diff != "" {
			return fmt.Sprintf("step %d: %s", i, diff)
		}
	}
	stays, why := true, ""
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		settled := false
		p.on(t, 0, func(w *worker) {
			for c := range w.clients {
				stays, why = c.server != nil, c.pin.String()
				settled = c.server == nil || c.pin != notPinned && c.server.owed.n == 0 && !c.server.due.any()
			}
		})
		if settled {
			break
		}
		if time.Now().After(end) {
			return "the client keeps its server without a reason"
		}
	}
	if stays != tc.stays {
		return fmt.Sprintf("keeps its server: %v (%s)", stays, why)
	}
	other, err := newDiffer(p, direct, pooled, whole)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	for _, who := range []struct {
		name string
		*differ
	}{{"a stranger", other}, {"the session itself", d}, {"a stranger again", other}} {
		if diff := who.step(step{query(probe)}); diff != "" {
			return who.name + ": " + diff
		}
	}
	return ""
}

// A look that fails keeps the client on its server until one behind a later unit, whatever that is, succeeds.
func TestFailedLookIsRepeated(t *testing.T) {
	admin := directTo(t, "postgres")
	for _, sql := range []string{"drop role if exists unprivileged", "create role unprivileged"} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if _, err := directTo(t, "postgres").Exec(context.Background(), "drop role unprivileged"); err != nil {
			t.Error(err)
		}
	})
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	c := p.connect(t, "&default_query_exec_mode=simple_protocol")
	pin := func() (pin pinReason, asked bool) {
		p.on(t, 0, func(w *worker) {
			for c := range w.clients {
				pin, asked = c.pin, c.server == nil || c.server.owed.n == 0
			}
		})
		return pin, asked
	}
	// Only members of pg_read_all_settings may read it.
	if _, err := c.Exec(t.Context(), "begin; set session_preload_libraries = ''; set role unprivileged; commit"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a look that fails", func() bool { why, asked := pin(); return asked && why == pinSetting })
	if _, err := admin.Exec(t.Context(), "grant pg_read_all_settings to unprivileged"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "select 1"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a look that succeeds", func() bool { why, asked := pin(); return asked && why == notPinned })
}
