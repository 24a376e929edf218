package classify

import (
	"slices"
	"strings"
	"testing"
)

// show writes names as schema.name, functions with parentheses, with a ! where the text alone says that it is not for
// replicas.
func show(sql string, names []Name) (out []string) {
	var nameBuf, schemaBuf [MaxName]byte
	for _, n := range names {
		name, ok := n.Name.Fold([]byte(sql), nameBuf[:])
		s := string(name)
		if schema, _ := n.Schema.Fold([]byte(sql), schemaBuf[:]); len(schema) > 0 {
			s = string(schema) + "." + s
		}
		if n.Function {
			s += "()"
		}
		if !n.Reads {
			s += "!"
		}
		if !ok {
			s = "?"
		}
		out = append(out, s)
	}
	return out
}

func TestClassifyNames(t *testing.T) {
	for _, tc := range []struct {
		sql   string
		class Class
		base  Class
		want  string
	}{
		{"select 1", Read, Read, ""},
		{"select a, b.c, count(*) from t where d in (1, 2) group by e, f order by g, h", Read, Read, "count() t"},
		{"select f(x), S.G(y), \"Q\"(z) from T", Write, Read, "f()! s.g()! Q()! t"},
		{"select lower(a), pg_catalog.upper(b), public.lower(c)", Write, Read, "lower() pg_catalog.upper() public.lower()!"},
		{"select nextval('s')", Write, Read, "nextval()!"},
		{"select * from a, b c, d as e, f.g, \"H\".\"I\"", Read, Read, "a b d f.g H.I"},
		{"select * from a join b on a.x = b.x left join only c using (x) cross join lateral (select * from d) e", Read, Read, "a b only c x d"},
		{"select * from (a join (b join c on true) on true), d", Read, Read, "a b c d"},
		{"select (select x from a), b from c where exists (select from d, e) and f = any (select g from h)", Read, Read, "a c d e h"},
		{"with x as (select * from a), y as (table b) select * from x, y", Read, Read, "a b x y"},
		{"table a", Read, Read, "a"},
		{"select * from db.s.t", Read, Read, "s.t"},
		{"select * from f(a, b) with ordinality as t(x, y), c", Write, Read, "f()! a b x y c"},
		{"select extract(year from a), b from c", Read, Read, "a c"},
		{"select * from a where b operator(pg_catalog.=) 1 order by c, d", Read, Read, "a"},
		{"select t.\"from\", u.where, v.order, w from x, y", Read, Read, "x y"},
		{"select a from b; select c from d", Read, Read, "b d"},
		{"select * from pg_stat_activity, pg_catalog.pg_locks, pg_class", Write, Read, "pg_stat_activity! pg_stat_activity pg_catalog.pg_locks! pg_catalog.pg_locks pg_class"},
		{"select * from pg_temp.t", Write, Write, "pg_temp.t"},
		{"select f() from t for update", Write, Lock, "f()! t"},
		{"insert into t select f()", Write, Write, "f()!"},
		{"copy a.b to stdout", CopyOut, CopyOut, "a.b"},
		{"copy a (x, y) to stdout", CopyOut, CopyOut, "a"},
		{"copy (select f(x) from a) to stdout", Write, CopyOut, "f()! a"},
		{"explain analyze select f() from a", Write, Read, "f()! a"},
		{"select current_setting('app.x'), current_setting('in_hot_standby'), current_setting($1)", Write, Read, "current_setting() current_setting()! current_setting()!"},
		{"select current_setting /* x */ ( E'app.x')", Write, Read, "current_setting()!"},
		{`select "a""b"() from "c""d"`, Write, Read, "? ?"},
		{"select * from " + strings.Repeat("x", 70), Read, Read, strings.Repeat("x", 63)},
	} {
		r, names, all := ClassifyNames([]byte(tc.sql), make([]Name, 0, 20))
		if got := strings.Join(show(tc.sql, names), " "); got != tc.want || !all || r.Class != tc.class || r.Base != tc.base {
			t.Errorf("%q: %v, at best %v, %q, all %v; want %v, %v, %q", tc.sql, r.Class, r.Base, got, all, tc.class, tc.base, tc.want)
		}
	}
	if _, names, all := ClassifyNames([]byte("select f(), g(), h()"), make([]Name, 0, 2)); all || len(names) != 2 {
		t.Errorf("there is room for two: %v, all %v", names, all)
	}
	if _, _, all := ClassifyNames([]byte("select "+strings.Repeat("(", 70)+"1"+strings.Repeat(")", 70)), nil); all {
		t.Error("so many parentheses cannot be followed")
	}
}

// Looking for names changes nothing about the class, and functions are never missed.
func FuzzClassifyNames(f *testing.F) {
	for _, s := range []string{statement200, "select a.b(c) from d.e, (f join g on h(i)), only j", "copy a.b to stdout", `select "a"."b"() from "c"`,
		"select x from y where z operator(a.+) b order by distinct on (c) d()", "with a as (table b) select * from a; values (c())"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, sql []byte) {
		room := make([]Name, 0, 64)
		r, names, all := ClassifyNames(sql, room)
		if want := Classify(sql); r != want {
			t.Fatalf("%+v instead of %+v", r, want)
		}
		buf := make([]byte, MaxName)
		for _, n := range names {
			if n.Name.Start < 0 || n.Name.End > int32(len(sql)) || n.Name.Start >= n.Name.End || n.Schema.End > int32(len(sql)) || n.Schema.Start > n.Schema.End {
				t.Fatalf("got %+v", n)
			}
			n.Name.Fold(sql, buf)
			n.Schema.Fold(sql, buf)
		}
		if r.Class != r.Base && all && !slices.ContainsFunc(names, func(n Name) bool { return !n.Reads }) {
			t.Fatalf("%v, at best %v, and nobody says why: %v", r.Class, r.Base, names)
		}
		if r.Class < r.Base {
			t.Fatalf("%v, and at best %v", r.Class, r.Base)
		}
	})
}
