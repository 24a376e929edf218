package pgpool

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// exact is all that was answered, byte for byte, but for what is reported of the session.
func exact(replies []message) (same []string) {
	for _, m := range replies {
		if m.typ != pgwire.ParameterStatus {
			same = append(same, m.String())
		}
	}
	return same
}

// exactly has the clients' units wait for the one server, in order, and compares every byte of the answers.
func (c *company) exactly(t *testing.T, what string, units ...step) batchCounts {
	t.Helper()
	before := c.p.batches(t)
	release := c.p.hold(t, c.database)
	c.p.queues(t, c.pooled, units...)
	release()
	for i, s := range units {
		got, want := exact(c.pooled[i].told()), exact(c.direct[i].play(s, whole))
		if !slices.Equal(got, want) {
			t.Errorf("%s, client %d: sent %s\ndirect %s\npooled %s", what, i, lines(s), lines(want), lines(got))
		}
	}
	return c.p.batches(t).since(before)
}

// A simple Query is answered to the byte as it would be alone, wherever in a batch it is.
func TestQueriesInABatchAreAnsweredToTheByte(t *testing.T) {
	setUp := direct(t, 0)
	command(t, setUp, "drop table if exists batch_t; create table batch_t(n int, x varchar(5), z numeric(4,1)); insert into batch_t values (1, 'ä', 2.5), (2, null, null)")
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 4)
	c.each(t, "first", func(int) step { return step{query("select 1")} })
	shared := 0
	for _, sql := range []string{
		"select", "select from batch_t", "select where false", "show work_mem", "show transaction_isolation", "SHOW search_path;", "explain select 1",
		"explain (verbose, costs off) select n from batch_t", "explain (costs off) select nothing", "values (1, 'a'), (2, 'b')", "table batch_t", "table batch_t;",
		"select * from batch_t", "select t from batch_t t", "select t.x, n + 1, z from batch_t t", "select null", "select 'a' union select 'b' order by 1", "select 1 as a, 2 as a",
		"select $1", "select $1::int", "select n from batch_t where n = $1", "select 1 where $2 is null",
		"select 1 -- the end", "select 1 /* the end */", "select 1 -- ;", "select 1;", "select 1;;", "select 1; ; ", "select 1 ; -- x", "-- first\nselect 1", "/* a /* b */ c */ select 1",
		"select 1 /* open", "select 'open", "select \"open", "select $$open", "select $a$open$b$", "select 1 /* a /* b */", "select E'\\'",
		"-- nothing", "", ";", " ", "/* nothing */", "select 'ä', x from batch_t", "select '\xff'", "select E'\\xff'", "select chr(0)",
		"select nothing from batch_t", "select n from batch_tt", "select nowhere(1)", "select 'x'::int", "select n / 0 from batch_t", "selec 1", "select 1 1", "select (", "select from from",
		"select 'x'::regclass", "select 1 from batch_t where n = 'x'", "execute nothing", "fetch 1 from nothing", "close nothing", "deallocate nothing",
		"with x as (select 1) table x", "(select 1)", "((select 1) union (select 2))", "select n from batch_t limit 0", "select n from batch_t fetch first 1 row only",
		"select current_query()", "select '$1'", "select '" + strings.Repeat("x", 3000) + "'", "select repeat('x', 20000)", "select n, repeat('c', 3000) from generate_series(1, 30) n",
		"select count(*) from pg_prepared_statements", "select count(*) from pg_cursors", "select name, statement from pg_cursors",
		"select transaction_timestamp() = current_timestamp", "select txid_current_if_assigned()", "select pg_current_xact_id_if_assigned()",
		"select now() > clock_timestamp() - interval '1 minute'",
	} {
		for at := range c.pooled {
			var units []step
			for i := range c.pooled {
				if units = append(units, step{query(fmt.Sprintf("select n, 'c%d' from batch_t", i))}); i == at {
					units[i] = step{query(sql)}
				}
			}
			n := c.exactly(t, fmt.Sprintf("%.40q at %d", sql, at), units...)
			if n.surprises > 0 {
				t.Errorf("%q: counted %+v", sql, n)
			}
			if n.units == 4 {
				shared++
			}
			c.each(t, "afterwards", func(i int) step { return own(1, i) })
		}
		if t.Failed() && testing.Short() {
			break
		}
	}
	if shared < 100 {
		t.Errorf("%d batches of four", shared)
	}
	p.settled(t, 4)
	t.Logf("%d batches of four", shared)
}

// An error behind rows that have gone out already is the head's, behind its rows; the others are answered.
func TestErrorBehindRowsThatWereSeen(t *testing.T) {
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 5)
	const late = "select repeat('c0', 300), 1/(200-g) from generate_series(1, 400) g"
	for name, wrong := range map[string]step{"query": {query(late)}, "unnamed": asUnnamed(late), "named": asNamed("late")} {
		c.each(t, "prepare", func(i int) step {
			return step{closing('S', "late"), parse("late", late+" -- named"), closing('S', "mine"), parse("mine", "select $1::text, 'named'"), syncs}
		})
		for at := range c.pooled {
			var units []step
			for i := range c.pooled {
				if units = append(units, own(i, i)); i == at {
					units[i] = wrong
				}
			}
			expectBatches(t, name, c.together(t, fmt.Sprintf("%s at %d", name, at), units...), 1, 5)
			c.each(t, "afterwards", func(i int) step { return own(2, i) })
		}
	}
	p.settled(t, 5)
	if n := p.dials(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

// What a unit has prepared on the server in a batch that failed is not taken for prepared, or for not prepared.
func TestStatementsPreparedInABatchThatFails(t *testing.T) {
	p := startForced(t, 1, 1, func(c *Config) { c.Tuning.Defaults.MaxPrepared = 3 })
	c := p.company(t, 5)
	c.each(t, "prepare", func(i int) step { return step{parse("mine", fmt.Sprintf("select $1::int, 'text %d'", i)), syncs} })
	for _, wrong := range []step{{query("select 1/0")}, asUnnamed("select nothing"), asNamed("mine", "none"), asUnnamed("select 1/$1::int", "0")} {
		for at := range c.pooled {
			for range 2 {
				var units []step
				for i := range c.pooled {
					if units = append(units, asNamed("mine", fmt.Sprint(i))); i == at {
						units[i] = wrong
					}
				}
				if n := c.together(t, fmt.Sprintf("wrong at %d", at), units...); n.surprises > 0 || n.batches == 0 {
					t.Errorf("counted %+v", n)
				}
			}
			c.each(t, "afterwards", func(i int) step { return asNamed("mine", "7") })
		}
	}
	p.settled(t, 5)
	if n := p.dials(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

// A lock that one unit waits for keeps nobody but its client: neither those behind it nor those whose answers the server
// holds back. It is answered when the lock is gone.
func TestLockInABatch(t *testing.T) {
	locker := direct(t, 0)
	command(t, locker, "drop table if exists batch_locked; create table batch_locked(n int)")
	for name, blocked := range map[string]step{"query": {query("select n from batch_locked")}, "unnamed": asUnnamed("select n from batch_locked"), "named": asNamed("locked")} {
		for at := range 5 {
			t.Run(fmt.Sprintf("%s at %d", name, at), func(t *testing.T) {
				p := startForced(t, 1, 2, nil)
				c := p.company(t, 5)
				c.each(t, "prepare", func(int) step {
					return step{parse("locked", "select n from batch_locked"), parse("mine", "select $1::text, 'named'"), syncs}
				})
				var units []step
				for i := range c.pooled {
					if units = append(units, own(i, i)); i == at {
						units[i] = blocked
					}
				}
				one, other := p.hold(t, c.database), p.hold(t, c.database)
				command(t, locker, "begin; lock table batch_locked")
				p.queues(t, c.pooled, units...)
				one()
				waitFor(t, "the batch", func() bool { return p.batches(t).units == 5 })
				other()
				for i := range c.pooled {
					if i != at {
						c.compare(t, "another", i, units[i], c.pooled[i].told())
					}
				}
				p.find(t, c.pooled[at], func(own *client) {
					if own.inFlight == 0 && own.pool == nil {
						t.Error("the blocked one is answered")
					}
				})
				command(t, locker, "commit")
				c.compare(t, "the blocked one", at, units[at], c.pooled[at].told())
				c.each(t, "afterwards", func(i int) step { return own(2, i) })
				if n := p.batches(t); n.surprises > 0 {
					t.Errorf("counted %+v", n)
				}
				p.settled(t, 5)
			})
		}
	}
}

// What functions set until the end of their transaction ends with their unit.
func TestLocalSettingsDoNotReachOthers(t *testing.T) {
	setUp := direct(t, 0)
	command(t, setUp, `
create or replace function batch_stable() returns text stable language plpgsql as $$ begin perform set_config('batch.seen', 'leaked', true); return 'x'; end $$;
create or replace function batch_immutable() returns text immutable language plpgsql as $$ begin return set_config('work_mem', '7MB', true); end $$;
create or replace function batch_sql() returns text stable language sql as $$ select set_config('work_mem', '7MB', true) $$;
create or replace function batch_named(text, text) returns text stable language sql as $$ select set_config($1, $2, true) $$;
create or replace function batch_dynamic() returns text stable language plpgsql as $$ declare s text; begin execute 'select set_con' || 'fig(''work_mem'', ''7MB'', true)' into s; return s; end $$;
create or replace function batch_volatile() returns text volatile language plpgsql as $$ begin set local work_mem = '7MB'; return 'x'; end $$;
create or replace function batch_wraps() returns text stable language plpgsql as $$ declare s text; begin select batch_volatile() into s; return s; end $$;
create or replace function batch_wraps_stable() returns text stable language sql as $$ select batch_stable() || batch_sql() $$;
create or replace function batch_own() returns text stable language sql set work_mem = '7MB' as $$ select 'x'::text $$;
create or replace view batch_view as select batch_sql() as x;
create or replace function batch_cast(text) returns text stable language plpgsql as $$ begin return pg_catalog.set_config('work_mem', '7MB', true); end $$`)
	t.Cleanup(func() {
		command(t, setUp, `drop view batch_view; drop function batch_stable, batch_immutable, batch_sql, batch_named, batch_dynamic, batch_volatile, batch_wraps, batch_wraps_stable, batch_own, batch_cast`)
	})
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 4)
	p.learned(t, c.database)
	c.each(t, "first", func(int) step { return step{query("select 1")} })
	ask := step{query("select current_setting('work_mem'), coalesce(current_setting('batch.seen', true), '')")}
	for _, sql := range []string{
		"select set_config('work_mem', '7MB', true)", "select set_config('batch.seen', 'leaked', true)", "select pg_catalog.set_config('work_mem', '7MB', true)",
		"select batch_stable()", "select batch_immutable()", "select batch_sql()", "select * from batch_sql()", "select batch_named('work_mem', '7MB')", "select batch_dynamic()", "select batch_wraps()",
		"select batch_wraps_stable()", "select batch_own()", "select x from batch_view", "select batch_cast('x')", "select ('x'::text).batch_cast",
		"explain select batch_immutable()",
	} {
		for _, unit := range []step{{query(sql)}, asUnnamed(sql)} {
			for at := range 3 {
				units := []step{ask, ask, ask, ask}
				units[at] = unit
				if n := c.together(t, fmt.Sprintf("%s at %d", sql, at), units...); n.surprises > 0 {
					t.Errorf("%s: counted %+v", sql, n)
				}
			}
		}
	}
	if n := c.together(t, "none", ask, ask, ask, ask); n.units != 4 {
		t.Errorf("what harms nobody: counted %+v", n)
	}
	p.settled(t, 5)
}

// Where a function that sets something runs without being named nothing is shared.
func TestHiddenCallsAreNotShared(t *testing.T) {
	setUp := direct(t, 0)
	command(t, setUp, `create or replace function batch_hides(int) returns text stable language sql as $$ select set_config('work_mem', '7MB', true) $$;
create or replace function batch_holds(text) returns boolean stable language sql as $$ select set_config('work_mem', '7MB', true) <> '' $$`)
	t.Cleanup(func() { command(t, setUp, "drop function batch_hides(int), batch_holds(text)") })
	for _, tc := range []struct{ name, made, gone, sql string }{
		{"nothing", "", "", "select 1"},
		{"operator", "create operator ### (function = batch_hides, rightarg = int)", "drop operator ###(none, int)", "select ### 2"},
		{"cast", "create type batch_type as (n int); create function batch_casts(batch_type) returns text stable language sql as 'select batch_hides(1)'; create cast (batch_type as text) with function batch_casts(batch_type)",
			"drop function batch_casts(batch_type) cascade; drop type batch_type", "select row(1)::batch_type::text"},
		{"domain", "create domain batch_domain as text check (batch_holds(value))", "drop domain batch_domain", "select 'x'::batch_domain"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.made != "" {
				command(t, setUp, tc.made)
				defer command(t, setUp, tc.gone)
			}
			p := startForced(t, 1, 1, nil)
			c := p.company(t, 4)
			p.learned(t, c.database)
			ask := step{query("select current_setting('work_mem')")}
			n := c.together(t, tc.name, ask, step{query(tc.sql)}, ask, ask)
			if shared := n.units > 0; n.surprises > 0 || shared != (tc.made == "") {
				t.Errorf("counted %+v", n)
			}
		})
	}
}

// What functions say reaches who has called them.
func TestNoticesInABatch(t *testing.T) {
	setUp := direct(t, 0)
	command(t, setUp, `create or replace function batch_says(text) returns text stable language plpgsql as $$ begin raise notice 'for %', $1; return $1; end $$;
create or replace view batch_said as select n, batch_says('c' || n) as said from generate_series(0, 9) n`)
	t.Cleanup(func() { command(t, setUp, "drop view batch_said; drop function batch_says(text)") })
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 6)
	p.learned(t, c.database)
	c.each(t, "prepare", func(int) step {
		return step{parse("says", "select said, 'named' from batch_said where n = $1::int"), syncs}
	})
	var sum batchCounts
	for round := range 4 {
		var units []step
		for i := range c.pooled {
			me := fmt.Sprint(i)
			units = append(units, []step{{query("select said from batch_said where n = " + me)}, asUnnamed("select said from batch_said where n = $1::int", me), asNamed("says", me), own(0, i)}[(i+round)%4])
		}
		n := c.together(t, "notices", units...)
		sum.units, sum.taken, sum.surprises = sum.units+n.units, sum.taken+n.taken, sum.surprises+n.surprises
	}
	if sum.units != 24 || sum.taken+sum.surprises != 0 {
		t.Errorf("counted %+v, in the end %+v", sum, p.batches(t))
	}
	p.settled(t, 7)
}

// Who has its server tell it what it logs is told of its own units, as alone.
func TestLogsAreNotShared(t *testing.T) {
	p := startForced(t, 1, 1, nil)
	for _, level := range []string{"log", "debug1", "'DEBUG5'"} {
		c := p.company(t, 4)
		c.each(t, "set", func(int) step {
			return step{query("set client_min_messages = " + level + "; set log_statement = 'all'")}
		})
		release := p.hold(t, c.database)
		var units []step
		for i := range c.pooled {
			units = append(units, own(i%2, i))
		}
		p.queues(t, c.pooled, units...)
		release()
		for i, w := range c.pooled {
			logged := func(replies []message) (all []string) {
				for _, m := range replies {
					if m.typ == pgwire.NoticeResponse {
						if said := pgwire.ParseError(m.body).Message; strings.HasPrefix(said, "statement: ") || strings.HasPrefix(said, "execute ") {
							all = append(all, said)
						}
					}
				}
				return all
			}
			if got, want := logged(w.told()), logged(c.direct[i].play(units[i], whole)); !slices.Equal(got, want) {
				t.Errorf("%s, client %d: direct %q\npooled %q", level, i, want, got)
			}
		}
	}
}

// Reads that may fail at the end of their transaction have one to themselves, however they have come to that.
func TestSerializableReadsAreNotShared(t *testing.T) {
	setUp := direct(t, 0)
	isolation := step{query("show transaction_isolation")}
	for _, tc := range []struct {
		name       string
		by, undone string
		set        string
		shares     bool
	}{
		{"nobody", "", "", "", true},
		{"the client", "", "", "set default_transaction_isolation = 'serializable'", false},
		{"the client, in capitals", "", "", "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", false},
		{"the client, quoted", "", "", `set default_transaction_isolation to "Serializable"`, false},
		{"the client, by set_config", "", "", "select set_config('default_transaction_isolation', 'serializable', false)", false},
		{"repeatable read", "", "", "set default_transaction_isolation = 'repeatable read'", true},
		{"the role", "alter role postgres set default_transaction_isolation = 'serializable'", "alter role postgres reset default_transaction_isolation", "", false},
		{"the database", "alter database postgres set default_transaction_isolation = 'serializable'", "alter database postgres reset default_transaction_isolation", "", false},
		{"the role, and the client another", "alter role postgres set default_transaction_isolation = 'serializable'", "alter role postgres reset default_transaction_isolation", "set default_transaction_isolation = 'read committed'", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.by != "" {
				command(t, setUp, tc.by)
				defer command(t, setUp, tc.undone)
			}
			p := startForced(t, 1, 1, nil)
			c := p.company(t, 4)
			p.learned(t, c.database)
			if tc.set != "" {
				c.each(t, "set", func(int) step { return step{query(tc.set)} })
			}
			c.each(t, "first", func(int) step { return isolation })
			n := c.together(t, "reads", own(0, 0), own(1, 1), isolation, own(0, 3))
			if n.surprises > 0 || tc.shares != (n.units >= 3) || !tc.shares && n.alone[soloState] < 4 {
				t.Errorf("counted %+v", n)
			}
		})
	}
}

// In repeatable read everybody sees what was committed before it asked.
func TestRepeatableReadsInABatch(t *testing.T) {
	setUp := direct(t, 0)
	command(t, setUp, "drop table if exists batch_seen; create table batch_seen(n int); insert into batch_seen values (0)")
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 4)
	c.each(t, "set", func(int) step { return step{query("set default_transaction_isolation = 'repeatable read'")} })
	for round := range 10 {
		release := p.hold(t, c.database)
		read := step{query("select n from batch_seen")}
		p.queues(t, c.pooled, read, read, read, read)
		command(t, setUp, "update batch_seen set n = n + 1")
		release()
		for i, w := range c.pooled {
			if got := normalise(w.told()); len(got) != 4 || got[1] != fmt.Sprintf("D %q", "\x00\x01\x00\x00\x00"+string(rune(len(fmt.Sprint(round+1))))+fmt.Sprint(round+1)) {
				t.Errorf("client %d, round %d: %s", i, round, lines(got))
			}
		}
	}
}

// statement_timeout is each unit's own.
func TestStatementTimeoutInABatch(t *testing.T) {
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 4)
	c.each(t, "set", func(int) step { return step{query("set statement_timeout = '60ms'")} })
	for name, wrong := range map[string]step{"query": {query("select 'late' from pg_sleep(60)")}, "unnamed": asUnnamed("select 'late' from pg_sleep(60)")} {
		for at := range c.pooled {
			var units []step
			for i := range c.pooled {
				if units = append(units, own(i%2, i)); i == at {
					units[i] = wrong
				}
			}
			if n := c.together(t, fmt.Sprintf("%s at %d", name, at), units...); n.surprises > 0 || n.units < 3 {
				t.Errorf("counted %+v", n)
			}
		}
	}
	// None of them takes too long; all of them together do. On a busy machine one may, at times.
	for try := range 20 {
		var units []step
		for i := range c.pooled {
			units = append(units, step{query(fmt.Sprintf("select 'c%d' from pg_sleep(0.02)", i))})
		}
		release := p.hold(t, c.database)
		p.queues(t, c.pooled, units...)
		release()
		late := 0
		for _, w := range c.pooled {
			if got := w.told(); len(got) != 4 {
				late++
			}
		}
		if late == 0 {
			break
		}
		if try == 19 {
			t.Error("a timeout is for all of them")
		}
	}
	p.settled(t, 4)
}

// client_encoding is the server's, and all of a batch have the same.
func TestEncodingsInABatch(t *testing.T) {
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 6)
	c.each(t, "set", func(i int) step {
		return step{query("set client_encoding = " + []string{"latin1", "utf8", "latin1"}[i%3])}
	})
	var units []step
	for i := range c.pooled {
		units = append(units, []step{{query("select 'c\xe4'")}, {query("select 'cä'")}, asUnnamed("select $1::text", "\xe4")}[i%3])
	}
	for range 3 {
		if n := c.together(t, "encodings", units...); n.surprises > 0 {
			t.Errorf("counted %+v", n)
		}
	}
}

// What runs long for somebody who has left is ended.
func TestRiderThatLeavesWhatRunsLong(t *testing.T) {
	watch := direct(t, 0)
	for name, leave := range map[string][]int{"a rider": {1}, "the last": {3}, "all": {0, 1, 2, 3}, "the head": {0}} {
		t.Run(name, func(t *testing.T) {
			p := startForced(t, 1, 1, nil)
			c := p.company(t, 4)
			long := fmt.Sprintf("select 'left by %s' from pg_sleep(3600)", name)
			units := []step{own(0, 0), own(1, 1), own(0, 2), own(1, 3)}
			units[leave[0]] = step{query(long)}
			release := p.hold(t, c.database)
			p.queues(t, c.pooled, units...)
			release()
			p.runs(t, long)
			for _, i := range leave {
				c.pooled[i].nc.Close()
			}
			for i, w := range c.pooled {
				if !slices.Contains(leave, i) {
					c.compare(t, "who stays", i, units[i], w.told())
				}
			}
			waitFor(t, "its end", func() bool {
				return number(t, watch, "select count(*) from pg_stat_activity where state = 'active' and query = "+quoted(long)) == 0
			})
			p.own(t).works(t, "afterwards")
			p.settled(t, int64(5-len(leave)))
			waitFor(t, "nothing to be watched", func() (done bool) {
				p.on(t, 0, func(w *worker) { done = len(w.batches) == 0 })
				return done
			})
		})
	}
}

// A shape that turns slow when it is known as short costs those beside it a moment, once.
func TestShapeThatTurnsSlow(t *testing.T) {
	setUp := direct(t, 0)
	command(t, setUp, "drop table if exists batch_speed; create table batch_speed(n float); insert into batch_speed values (0)")
	p := start(t, 1, automatic(1))
	c := p.company(t, 6)
	units := func(kind string) (all []step) {
		for i := range c.pooled {
			if all = append(all, step{query(fmt.Sprintf("select 'c%d'", i))}); i == 2 {
				all[i] = step{query("select pg_sleep(n) from batch_speed")}
			}
		}
		return all
	}
	for round := 0; ; round++ {
		n := c.together(t, "fast", units("fast")...)
		if n.units >= 6 {
			break
		}
		if round == 100 {
			t.Fatalf("never shared: %+v", n)
		}
	}
	command(t, setUp, "update batch_speed set n = 1.5")
	release := p.hold(t, c.database)
	before := p.batches(t)
	p.queues(t, c.pooled, units("slow")...)
	began := time.Now()
	release()
	for i, w := range c.pooled {
		if got := w.told(); len(got) != 4 {
			t.Errorf("client %d: %s", i, lines(normalise(got)))
		}
	}
	n := p.batches(t).since(before)
	if n.batches == 0 || n.taken == 0 || n.surprises > 0 {
		t.Errorf("counted %+v", n)
	}
	t.Logf("after %v: %+v", time.Since(began), n)
	n = c.together(t, "known as slow", units("slow")...)
	if n.alone[soloUnknown]+n.alone[soloSlow] == 0 || n.taken > 0 {
		t.Errorf("afterwards counted %+v", n)
	}
	p.settled(t, 6)
}

// On replicas what is refused there runs on the primary, and what recovery ends runs again.
func TestBatchesOnReplicas(t *testing.T) {
	setUp := direct(t, 0)
	command(t, setUp, `drop table if exists batch_written; create table batch_written(n int);
drop table if exists batch_unlogged; create unlogged table batch_unlogged(n int);
create or replace function batch_writes() returns int stable language plpgsql as $$ declare k int; begin execute 'sel' || 'ect batch_inserts()' into k; return k; end $$;
create or replace function batch_inserts() returns int volatile language sql as $$ insert into batch_written values (1) returning n $$`)
	t.Cleanup(func() { command(t, setUp, "drop function batch_writes(), batch_inserts()") })
	if err := pg.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := startKnown(t, 1, force(1, nil))
	c := p.company(t, 5)
	c.each(t, "prepare", func(int) step { return step{parse("mine", "select $1::text, 'named'"), syncs} })
	for name, odd := range map[string]step{
		"write": {query("select batch_writes()")}, "unlogged": {query("select count(*) from batch_unlogged")}, "error": {query("select 1/0")}, "long": {query("select 'cx' from pg_sleep(0.3)")},
		"named": asNamed("mine", "x"), "read": {query("table batch_written")},
	} {
		for at := range c.pooled {
			var units []step
			for i := range c.pooled {
				if units = append(units, own(i, i)); i == at {
					units[i] = odd
				}
			}
			all := make([]chan []message, len(units))
			for i, u := range units {
				answer := make(chan []message, 1)
				all[i] = answer
				go func() { answer <- c.pooled[i].play(u, whole) }()
			}
			for i, u := range units {
				if name == "write" && i == at || name == "read" && i == at { // each call writes once more
					<-all[i]
					continue
				}
				c.compare(t, fmt.Sprintf("%s at %d", name, at), i, u, <-all[i])
			}
		}
	}
	if n := p.batches(t); n.units == 0 || n.surprises > 0 {
		t.Errorf("counted %+v", n)
	}
	p.settled(t, 5)
}
