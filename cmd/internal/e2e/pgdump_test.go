package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// pgdumpSchema is a bit of everything that pg_dump has to look up.
const pgdumpSchema = `
create schema "odd name"; create extension if not exists plpgsql;
create type mood as enum ('sad', 'ok');
create table person (id serial primary key, name text not null check (name <> ''), m mood default 'ok', at timestamptz default '2001-02-03 04:05+00');
create table "odd name"."child table" (person int references person on delete cascade, part numeric(10, 2), data bytea) partition by range (person);
create table "odd name".p1 partition of "odd name"."child table" for values from (0) to (1000000);
create view elders as select name from person where id < 10;
create materialized view counted as select count(*) from person;
create function twice(int) returns int language plpgsql set search_path to 'odd name' as $$begin return $1 * 2; end$$;
create index on person (lower(name)); create index on "odd name"."child table" (part);
create rule nothing as on delete to person where old.id = 1 do instead nothing;
insert into person (name) select 'person ' || n from generate_series(1, 20000) n;
insert into "odd name"."child table" select n, n / 3.0, decode(md5(n::text), 'hex') from generate_series(1, 20000) n;
refresh materialized view counted;
select lo_from_bytea(0, 'a large object');`

// A dump through the pooler equals a direct one, a restore through it makes the same database, and neither the emptied
// search_path of pg_dump nor anything else of it reaches the next client.
func TestPgDump(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	database := newDatabase(t, "dumped")
	direct, pooled := inDatabase(t, shared.get("PRIMARY_URL"), database), inDatabase(t, shared.get("DATABASE_URL"), database)
	mustExec(t, connect(t, direct), pgdumpSchema)
	dump := func(url, file string, more ...string) string {
		path := filepath.Join(dir, file)
		shared.sh(t, "pg_dump "+strings.Join(more, " ")+" -f '"+path+"' '"+url+"'")
		if len(more) == 0 { // the key of \restrict is another each time
			shared.sh(t, `sed -i -E 's/^\\(un)?restrict .*//' '`+path+"'")
		}
		return path
	}
	untouched := func() {
		t.Helper()
		for range 3 {
			if got := one[string](t, connect(t, pooled), "select current_setting('search_path') || current_setting('datestyle') || current_setting('row_security')"); got != `"$user", publicISO, MDYon` {
				t.Errorf("the next client's settings are %s", got)
			}
		}
	}
	want := dump(direct, "direct.sql")
	same := func(file string) {
		t.Helper()
		if out := shared.sh(t, "diff '"+want+"' '"+file+"' && echo same"); out != "same\n" {
			t.Error(out)
		}
	}
	same(dump(pooled, "pooled.sql"))
	untouched()
	dump(pooled, "parallel", "-Fd", "-j", "3") // sessions that share a snapshot
	dump(pooled, "custom", "-Fc")
	untouched()
	for _, tt := range []struct{ name, command string }{
		{"psql", "psql -Xq -v ON_ERROR_STOP=1 -o /dev/null -f '" + dir + "/pooled.sql' '$URL'"},
		{"single", "pg_restore --exit-on-error --single-transaction -d '$URL' '" + dir + "/custom'"},
		{"parallel", "pg_restore --exit-on-error -j 3 -d '$URL' '" + dir + "/parallel'"},
	} {
		restored := newDatabase(t, "restored-"+tt.name)
		shared.sh(t, strings.ReplaceAll(tt.command, "$URL", inDatabase(t, shared.get("DATABASE_URL"), restored)))
		same(dump(inDatabase(t, shared.get("PRIMARY_URL"), restored), "restored-"+tt.name+".sql"))
	}
	untouched()
}
