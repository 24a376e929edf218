package classify

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	tests := []struct {
		sql   string
		class Class
		flags Flags
	}{
		// Reads.
		{"", Read, 0},
		{" ;; -- nothing\n", Read, 0},
		{"select 1", Read, 0},
		{"SELECT * FROM t WHERE id = $1", Read, 0},
		{"select count(*), max(a), coalesce(b, 0) from t group by (a)", Read, 0},
		{"(select 1) union all (select 2)", Read, 0},
		{"values (1), (2)", Read, 0},
		{"table t", Read, 0},
		{"with a as (select 1) select * from a", Read, 0},
		{"with recursive a(x) as (values (1) union all select x + 1 from a where x < 9), b(y) as (select 1) select * from a, b", Read, 0},
		{"select now(), random(), clock_timestamp(), pg_sleep(0)", Read, 0},
		{"select a::numeric(10,2), cast(b as varchar(10)), c::character varying(9), timestamp(3) 'now'", Read, 0},
		{"select pg_catalog.lower(a), \"upper\"(b) from t", Read, 0},
		{"select sum(a) filter (where a > 1) over (partition by b order by (c)) from t", Read, 0},
		{"select * from (select 1) as x(a), lateral (select 2) y(b), unnest(array[1,2]) with ordinality as z(c, d)", Read, 0},
		{"select substring(a from 1 for 3), extract(year from b), position('a' in c), trim(both ' ' from d)", Read, 0},
		{"select 'insert into t', \"update\", $$delete from t$$, $a$ nextval('s') $b$ $a$, E'\\'; drop table t --' from t", Read, 0},
		{"select a.update, b.\"insert\" from t a, t b", Read, 0},
		{"select a operator(pg_catalog.+) b, operator(-) c from t where a operator(pg_catalog.~) '^(x)$' collate pg_catalog.default", Read, 0},
		{"select distinct on (a, (b)) a from t x(a, b) order by (a)", Read, 0},
		{"select * from t where a ilike ('x') and b not ilike ('y') and c[1] ilike (d) and e like ('f')", Read, 0},
		{"select * from (with a(x) as (select 1), recursive(y) as (select 2) select * from a) y", Read, 0},
		{"select (with recursive a(x) as (with b(y) as (values (1)) table b) select * from a)", Read, 0},
		{"select * from xmltable(xmlnamespaces('a' as b), '/x' passing y columns z int path 'z')", Read, 0},
		{"select * from t x(a) join \"u\" y(b) on (true), unnest(array[1]) with ordinality z(c, d)", Read, 0},
		{"select * from t left join (select 1) x on (true) join (select 2) y using (a) cross join (select 3) z", Read, 0},
		{"select a from t group by all cube (a), rollup (b, c) order by (a)", Read, 0},
		{"select (a).b, (c).nextvalue, d.lo, e.pg_class from t", Read, 0},
		{"select e'a\\tb', 0x1F, 0b01, 0o17", Read, 0},
		{"select /* insert /* nested */ update */ 1 -- delete\n", Read, 0},
		{"select x'1f', b'01', n'a', u&'\\0061', 1e5, 1.5e-3, .5, 0x1f, 1_000", Read, 0},
		{"select replace(a, 'x', 'y'), left(a, 1), right(a, 2) from t tablesample bernoulli (10) repeatable (1)", Read, 0},
		{"select percentile_cont(0.5) within group (order by a) from t group by grouping sets ((a), (b)), rollup (c)", Read, 0},
		{"show search_path", Read, 0},
		{"show all", Read, 0},
		{"explain select nextval('s')", Read, 0},
		{"explain (verbose, costs off) delete from t", Read, 0},
		{"explain analyze select 1", Read, 0},
		{"explain (analyze, buffers) select 1", Read, 0},
		{"select 1; select 2", Read, 0},
		{"select * from pg_class, pg_catalog.pg_namespace, information_schema.tables, pg_stats", Read, 0},

		// Queries that are none.
		{"select * from t for update", Lock, 0},
		{"select * from t for no key update skip locked", Lock, 0},
		{"select * from t for share", Lock, 0},
		{"select * from t for key share of t nowait", Lock, 0},
		{"select * from (select * from t for update) x", Lock, 0},
		{"select * into x from t", Write, 0},
		{"select 1into x", Write, 0},
		{"select * into temp x from t", Write, StateTemp},
		{"with a as (insert into t values (1) returning *) select * from a", Write, 0},
		{"with a as (update t set x = 1 returning *) select * from a", Write, 0},
		{"with a as (delete from t returning *), b as (select 1) select * from a", Write, 0},
		{"with a as (select 1) insert into t select * from a", Write, 0},
		{"with a as (select 1) (select 1) order by (1), nextval('s')", Write, 0},
		{"with a as (select 1) select (1), nextval('s')", Write, 0},
		{"with a as (select 1) values (1), (nextval('s'))", Write, 0},
		{"with recursive a as (select 1) search depth first by x set y (select 1) order by (1), f()", Write, 0},
		{"select my_function(1)", Write, 0},
		{"select public.lower('x')", Write, 0},
		{"select pg_catalog.my_function(1)", Write, 0},
		{"select \"LOWER\"('x')", Write, 0},
		{"select nextval('s')", Write, 0},
		{"select NextVal/* */\n('s')", Write, 0},
		{"select \"nextval\"('s')", Write, 0},
		{"select pg_catalog.currval('s'), lastval()", Write, Sequence},
		{"select setval('s', 1)", Write, 0},
		{"select distinct on (1) nextval('s')", Write, 0},
		{"select distinct on ((1), lower('x')) \"nextval\"('s')", Write, 0},
		{"select 1 operator(pg_catalog.+) nextval('s')", Write, 0},
		{"select distinct on (1 operator(pg_catalog.+) 1) f(1)", Write, 0},
		{"select * from f(1) join g(2) on (true)", Write, 0},
		{"select * from lateral f(1)", Write, 0},
		{"select * from (with a(x) as (select f(1)) select * from a) y", Write, 0},
		{"select * from (with a(x) as (select 1), b(y) as (select 2) (select 1) union select (1), f(2)) y", Write, 0},
		{"select * from (with a(x) as (select 1) select 1) y, (select 1), f(1)", Write, 0},
		{"with a as (with recursive b(x) as (select 1) search depth first by x set y select f(1)) select 1", Write, 0},
		{"select is(1, 2), like('a', 'b')", Write, 0},
		{"select join(1)", Write, 0},
		{"select a, ilike(b, c), similar(d)", Write, 0},
		{"select cube(a), rollup(b) from t", Write, 0},
		{"select a from t group by b having x(cube(a), rollup(c))", Write, 0},
		{"select * from (select a from t group by a) y where a = coalesce(0, cube(1))", Write, 0},
		{"select f(a, cube(b)) from t group by f(a, cube(b))", Write, 0},
		{"select varying(1) from t where varying(2)", Write, 0},
		{"select ('s'::regclass).nextval", Write, 0},
		{"select ('s'::regclass).\"nextval\"", Write, 0},
		{"select x.Pg_Advisory_Lock from generate_series(1::bigint, 2) x", Write, StateAdvisoryLock},
		{"select (1::oid).lo_create", Write, 0},
		{"select set_config('a.b', 'c', false)", Write, StateSet},
		{"select set_config('a.b', 'c', true)", Write, SetLocal},
		{"select set_config('a.b', coalesce('c', true), $1)", Write, StateSet},
		{"select set_config('a', set_config('b', 'c', false), true)", Write, StateSet},
		{"select pg_advisory_lock(1)", Write, StateAdvisoryLock},
		{"select pg_try_advisory_lock(1)", Write, StateAdvisoryLock},
		{"select pg_advisory_xact_lock(1)", Write, 0},
		{"select pg_advisory_unlock_all()", Write, StateAdvisoryLock},
		{"select setseed(0.5)", Write, StateSeed},
		{"select pg_backend_pid()", Write, StateOther},
		{"select pg_notify('a', 'b')", Write, Notifies},
		{"select lo_create(0), lo_unlink(1)", Write, 0},
		{"select dblink_connect('x')", Write, StateOther},
		{"select pg_terminate_backend(1), pg_stat_reset(), txid_current(), pg_export_snapshot()", Write, Pids},
		{"select pg_is_in_recovery()", Write, 0},
		{"select * from pg_stat_activity", Write, Pids},
		{"select * from pg_catalog.pg_locks", Write, Pids},
		{"select * from \"pg_settings\"", Write, 0},
		{"select * from PG_Prepared_Statements, pg_cursors", Write, 0},
		{"select * from pg_temp.t", Write, 0},
		{"show transaction_read_only", Write, TellsRole},
		{"show \"transaction_read_only\"", Write, TellsRole},
		{"explain (\"analyze\") delete from t", Write, 0},
		{"explain analyze delete from t", Write, 0},
		{"explain (analyze) select nextval('s')", Write, 0},
		{"explain analyze verbose select f()", Write, 0},

		// Writes.
		{"insert into t values (1)", Write, 0},
		{"update t set a = 1", Write, 0},
		{"delete from t", Write, 0},
		{"merge into t using s on true when matched then delete", Write, 0},
		{"insert into t select pg_advisory_lock(1)", Write, StateAdvisoryLock},
		{"truncate t", Write, Defines},
		{"create table t (temp int)", Write, Defines},
		{"create temp table t (a int)", Write, Defines | StateTemp},
		{"create local temporary table t as select 1", Write, Defines | StateTemp},
		{"create or replace temp view v as select 1", Write, Defines | StateTemp},
		{"create rule r as on insert to t do (select 1; select 2)", Write, Defines},
		{"alter table t add b int", Write, Defines},
		{"drop table t", Write, Defines},
		{"vacuum", Write, Defines},
		{"analyze t", Unknown, 0},
		{"notify a", Write, Notifies},
		{"refresh materialized view v", Write, Defines},
		{"declare c cursor for select 1", Write, Defines},
		{"declare c cursor with hold for select 1", Write, Defines | StateCursor},
		{"fetch next from c", Write, Defines},
		{"lock table t in share update exclusive mode", Lock, 0},

		// Transactions.
		{"begin", Begin, OpensTx},
		{"BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE", Begin, OpensTx},
		{"begin read only", BeginReadOnly, OpensTx},
		{"start transaction isolation level repeatable read, read only, deferrable", BeginReadOnly, OpensTx},
		{"start transaction read only, read write", Begin, OpensTx},
		{"start something", Unknown, 0},
		{"commit", Commit, EndsTx},
		{"end work", Commit, EndsTx},
		{"commit and chain", Commit, EndsTx | OpensTx},
		{"commit and no chain", Commit, EndsTx},
		{"commit prepared 'x'", Write, 0},
		{"rollback", Rollback, EndsTx},
		{"abort", Rollback, EndsTx},
		{"rollback to savepoint a", Savepoint, 0},
		{"rollback work to a", Savepoint, 0},
		{"rollback prepared 'x'", Write, 0},
		{"prepare transaction 'x'", Write, EndsTx},
		{"savepoint a", Savepoint, 0},
		{"release savepoint a", Savepoint, 0},
		{"begin; select 1; commit", Begin, OpensTx | EndsTx},
		{"begin read only; select 1", BeginReadOnly, OpensTx},
		{"begin; insert into t values (1); commit", Write, OpensTx | EndsTx},

		// Session state.
		{"set search_path = a, b", Session, StateSet},
		{"set session statement_timeout to 5", Session, StateSet},
		{"set local statement_timeout to 5", Session, SetLocal},
		{"set time zone 'UTC'", Session, StateSet},
		{"set session time zone 'UTC'", Session, StateSet},
		{"set names 'utf8'", Session, StateSet},
		{"set transaction read only", Session, SetLocal},
		{"set constraints all deferred", Session, SetLocal},
		{"set session characteristics as transaction read only", Session, StateSet},
		{"set role bob", Session, StateRole},
		{"set session role bob", Session, StateRole},
		{"set local role bob", Session, SetLocal},
		{"set session authorization bob", Session, StateRole},
		{"set local session authorization bob", Session, SetLocal},
		{"set a to default", Session, StateReset},
		{"reset a", Session, StateReset},
		{"reset all", Session, StateReset},
		{"reset role", Session, StateRole},
		{"reset session authorization", Session, StateRole},
		{"set \"role\" to bob", Session, StateRole},
		{"set session_authorization = bob", Session, StateRole},
		{"set local session_authorization = bob", Session, SetLocal},
		{"reset \"session_authorization\"", Session, StateRole},
		{"set local.id = 1", Session, StateSet},
		{"set session.id to 1", Session, StateSet},
		{"set role.id = 1", Session, StateSet},
		{"set local role.id = 1", Session, SetLocal},
		{"set role to bob", Session, StateRole},
		{"reset session.id", Session, StateReset},
		{"prepare transaction as select 1", Session, StatePrepare},
		{"prepare p (int, numeric(10,2)) as with a(x) as (select $1) select * from a", Session, StatePrepare},
		{"discard all", Session, StateDiscard},
		{"prepare p as select 1", Session, StatePrepare},
		{"prepare p as insert into t values (1)", Write, StatePrepare},
		{"deallocate p", Session, StateDeallocate},
		{"execute p(1)", Unknown, Executes},
		{"listen a", Listen, StateListen},
		{"unlisten *", Listen, StateUnlisten},
		{"load 'x'", Session, StateLoad},

		// COPY.
		{"copy t from stdin", CopyIn, Copy},
		{"copy t (a, b) from stdin with (format csv, force_not_null (a))", CopyIn, Copy},
		{"copy t to stdout", CopyOut, Copy},
		{"copy (select a from t) to stdout", CopyOut, Copy},
		{"copy (select my_function(a) from t) to stdout", Write, Copy},
		{"copy (delete from t returning *) to stdout", Write, Copy},
		{"copy t to '/tmp/x'", Write, Copy},
		{"copy t", Unknown, Copy},

		// Not sure.
		{"call p()", Unknown, 0},
		{"do $$ begin end $$", Unknown, 0},
		{"this is no SQL", Unknown, 0},
		{"select 'open", Unknown, 0},
		{"select \"open", Unknown, 0},
		{"select $$open", Unknown, 0},
		{"select /* open", Unknown, 0},
		{"select (1", Unknown, 0},
		{"select 1)", Unknown, 0},
		{"select (1; select 2)", Unknown, 0},
		{`select 'a\'' , nextval('s') --'`, Unknown, 0},
		{`select * from u&"\0070g_locks"`, Unknown, 0},
		{"create function f() returns int begin atomic; select 1; end", Unknown, Defines},
		{"explain (select 1)", Unknown, 0},
		{"explain execute p", Unknown, Executes},
		{"select operator(1)", Unknown, 0},
		{"select E'\x95\\', nextval('s'), 'x'", Unknown, 0},
		{"explain analyze explain analyze select 1", Unknown, 0},
		{"select 1; this is no SQL", Unknown, 0},
		{"\x00", Unknown, 0},
	}
	for _, tt := range tests {
		got := Classify([]byte(tt.sql))
		if got.Class != tt.class || got.Flags&^StateOther != tt.flags&^StateOther || (tt.class != Unknown && got.Flags != tt.flags) {
			t.Errorf("%q: got %v %b, want %v %b", tt.sql, got.Class, got.Flags, tt.class, tt.flags)
		}
		// Letter case never matters outside quotes; comments and white space never do.
		if !strings.ContainsAny(tt.sql, "\"$\\") {
			if up := Classify([]byte(strings.ToUpper(tt.sql))); up.Class != got.Class || up.Flags != got.Flags {
				t.Errorf("%q: in upper case %v %b", tt.sql, up.Class, up.Flags)
			}
		}
		checkBlanks(t, []byte(tt.sql), rand.New(rand.NewPCG(1, 2)))
	}
}

// checkBlanks puts comments and white space between the tokens of sql, which must not change what it is.
func checkBlanks(t *testing.T, sql []byte, rnd *rand.Rand) {
	t.Helper()
	l := lexer{src: sql}
	var spread []byte
	for tok := l.next(); tok.kind != kindEOF; tok = l.next() {
		blanks := []string{" ", "\n", "/* insert */", "/*/* ; */*/\t", "-- ' update\n", ""}
		if tok.start > 0 {
			blanks = blanks[:5]
		}
		spread = append(spread, blanks[rnd.IntN(len(blanks))]...)
		spread = append(spread, sql[tok.start:tok.end]...)
	}
	if l.odd {
		return // it says so itself
	}
	want, got := Classify(sql), Classify(spread)
	if got.Class != want.Class || got.Flags != want.Flags || got.Statements != want.Statements {
		t.Errorf("%q: got %v %b, and with blanks %q: %v %b", sql, want.Class, want.Flags, spread, got.Class, got.Flags)
	}
}

func TestSettings(t *testing.T) {
	tests := []struct{ sql, name, value string }{
		{"set search_path = a, \"B\" ;", "search_path", `a, "B"`},
		{"SET SESSION Statement_Timeout TO '5s' -- x", "Statement_Timeout", "'5s'"},
		{"set local my.thing='x'", "my.thing", "'x'"},
		{`set "my"."thing" to 1`, `"my"."thing"`, "1"},
		{"set a = -1.5", "a", "-1.5"},
		{"set session.id = 1", "session.id", "1"},
		{"reset role.id", "role.id", ""},
		{"set a to default", "a", ""},
		{"reset a", "a", ""},
		{"reset my.thing", "my.thing", ""},
		{"reset all", "", ""},
		{"set time zone 'UTC'", "", ""},
		{"set role x", "", ""},
		{"set a", "", ""},
		{"set a =", "", ""},
		{"set a = 1; set b = 2", "", ""},
		{"select 1", "", ""},
	}
	for _, tt := range tests {
		r := Classify([]byte(tt.sql))
		name, value := tt.sql[r.Name.Start:r.Name.End], tt.sql[r.Value.Start:r.Value.End]
		if name != tt.name || value != tt.value {
			t.Errorf("%q: got %q = %q, want %q = %q", tt.sql, name, value, tt.name, tt.value)
		}
	}
}

func TestHintsAndCount(t *testing.T) {
	tests := []struct {
		sql        string
		hint       Hint
		statements int
	}{
		{"/* outrigger: primary */ select 1", HintPrimary, 1},
		{"select 1 /*outrigger:replica*/", HintReplica, 1},
		{"select 1 /* outrigger: elsewhere */;", HintNone, 1},
		{"select '/* outrigger: primary */'; ; select 2", HintNone, 2},
		{"-- outrigger: primary\nselect 1", HintNone, 1},
		{"", HintNone, 0},

		// In any case, with any space, anywhere between two tokens.
		{"/*\tOutRigger :\n REPLICA*/select 1", HintReplica, 1},
		{"/*outrigger=primary*/ select 1", HintPrimary, 1},
		{"select /* outrigger: replica */ 1", HintReplica, 1},
		{"select lower/* outrigger: replica */('a')", HintReplica, 1},
		{"select 1 -- one\n/* outrigger: primary */\n, 2", HintPrimary, 1},
		{"select 1; /* outrigger: primary */ select 2", HintPrimary, 2},
		{"select 1; /* outrigger: primary */", HintPrimary, 1},
		{"/* outrigger: primary */", HintPrimary, 0},

		// Among the tags of sqlcommenter, Marginalia and Rails.
		{"select 1 /*controller='orders',outrigger='replica',route='%2Forders'*/", HintReplica, 1},
		{"select 1 /*application:Shop,controller:orders,outrigger:primary*/", HintPrimary, 1},
		{"/* outrigger: replica */ select 1 /*controller='orders'*/", HintReplica, 1},
		{"select 1 /*controller='outrigger: replica'*/", HintNone, 1},

		// Several: the primary can run everything.
		{"/* outrigger: primary */ select 1 /* outrigger: replica */", HintPrimary, 1},
		{"/* outrigger: replica */ select 1 /* outrigger: primary */", HintPrimary, 1},
		{"/* outrigger: replica, outrigger: primary */ select 1", HintPrimary, 1},
		{"/* outrigger: replica */ select 1 /* outrigger: elsewhere */", HintReplica, 1},

		// What only looks like one.
		{"select $a$/* outrigger: primary */$a$, E'/* outrigger: primary */', \"/* outrigger: primary */\"", HintNone, 1},
		{"/* /* outrigger: primary */ */ select 1", HintNone, 1},
		{"/* not outrigger: primary */ select 1", HintNone, 1},
		{"/* outrigger primary */ select 1", HintNone, 1},
		{"/* outriggers: primary */ select 1", HintNone, 1},
		{"/* outrigger: 'primary */ select 1", HintNone, 1},
		{"/* outrigger: */ select 1 /* outrigger */ /* , */ /**/", HintNone, 1},
	}
	for _, tt := range tests {
		if r := Classify([]byte(tt.sql)); r.Hint != tt.hint || r.Statements != tt.statements {
			t.Errorf("%q: got hint %v, %d statements", tt.sql, r.Hint, r.Statements)
		}
	}
}

func TestClassNames(t *testing.T) {
	seen := map[string]bool{}
	for c := Read; c <= Unknown; c++ {
		seen[c.String()] = true
	}
	if len(seen) != int(Unknown)+1 {
		t.Fatalf("got %v", seen)
	}
}

func TestFlagNames(t *testing.T) {
	if names := StateMask.Names(); names[len(names)-1] != "session function" || names[0] != "set" {
		t.Errorf("names do not go with the bits: %q", names)
	}
	if all := Flags(1<<len(flagNames) - 1); all&StateMask != StateMask || len(all.Names()) != len(flagNames) {
		t.Errorf("a flag has no name")
	}
	if names := (StateTemp | Copy).Names(); len(names) != 2 || names[0] != "copy" || names[1] != "temporary object" {
		t.Errorf("got %q", names)
	}
}

const statement200 = `SELECT o.id, o.total, coalesce(c.email, '') AS email FROM orders o JOIN customers c ON c.id = o.customer ` +
	`WHERE o.status = $1 AND o.created_at > now() - interval '7 days' ORDER BY o.id LIMIT 50`

func TestNoAllocation(t *testing.T) {
	for _, sql := range []string{statement200, "set a = 1", "begin read only", "with a as (delete from t) select f() from pg_locks",
		"/* outrigger: primary */ select 1 /*a='b',Outrigger = 'replica'*/"} {
		b := []byte(sql)
		if n := testing.AllocsPerRun(100, func() { Classify(b) }); n != 0 {
			t.Errorf("%q: %v allocations", sql, n)
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, s := range []string{
		statement200, "select 'a' /* b /* c */ */; set x to 1 -- d", "$a$ $$ $a$", `E'\'' u&"x" "y""z"`, "explain (analyze) with a as (values(1)) table a",
		"copy (select 1) to stdout", "create rule r as on insert to t do (a;b)", "1.5e+3::numeric(1,2)", "select set_config('a','b',true)",
		"/* outrigger: primary */ select 1 /*a='b',outrigger = 'replica'*/",
	} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, sql []byte, seed uint64) {
		r := Classify(sql)
		if r.Class > Unknown || r.Name.End > len(sql) || r.Value.End > len(sql) || r.Name.Start > r.Name.End || r.Value.Start > r.Value.End {
			t.Fatalf("got %+v", r)
		}
		checkBlanks(t, sql, rand.New(rand.NewPCG(seed, 0)))
		// A write behind it is never hidden, and neither is one in front.
		if !r.Class.unsure() {
			if after := Classify(append([]byte("delete from t;"), sql...)); after.Class < Write {
				t.Fatalf("a write in front of %q: %v", sql, after.Class)
			}
			if before := Classify(append(append([]byte{}, sql...), "\n;delete from t"...)); before.Class < Write {
				t.Fatalf("a write behind %q: %v", sql, before.Class)
			}
		}
	})
}

func (c Class) unsure() bool { return c == Unknown }

func BenchmarkClassify(b *testing.B) {
	for name, sql := range map[string]string{
		"size=200B": statement200,
		"size=40B":  "SELECT abalance FROM accounts WHERE aid=1",
	} {
		b.Run(name, func(b *testing.B) {
			in := []byte(sql)
			b.ReportAllocs()
			for b.Loop() {
				Classify(in)
			}
		})
	}
}
