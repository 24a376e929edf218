package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// finished checks pgbench's report: it has done work, and none of it failed.
func finished(said string) error {
	match := regexp.MustCompile(`actually processed: (\d+)`).FindStringSubmatch(said)
	if match == nil || match[1] == "0" || !strings.Contains(said, "number of failed transactions: 0 (") {
		return errors.New(said)
	}
	return nil
}

func TestPgbench(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, args string }{
		{"select prepared", "-S -M prepared -c 64 -j 2"},
		{"select simple", "-S -M simple -c 64 -j 2"},
		{"select extended", "-S -M extended -c 64 -j 2"},
		{"tpc-b", "-c 16"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := finished(shared.sh(t, "pgbench -n -T 5 "+tt.args)); err != nil {
				t.Error(err)
			}
		})
	}
	// What TPC-B has written adds up, wherever it is read.
	for _, url := range []string{"PRIMARY_URL", "DATABASE_URL", "REPLICA_URLS"} {
		eventually(t, "balances through "+url, func() error {
			out := shared.sh(t, `psql -At "$`+url+`" -c "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history),
				(select sum(bbalance) from pgbench_branches) = (select sum(tbalance) from pgbench_tellers), (select count(*) > 100 from pgbench_history)"`)
			if strings.TrimSpace(out) != "t|t|t" {
				return errors.New(out)
			}
			return nil
		})
	}
	// Which the console shows to the user that dev's URLs name.
	if got := queries(t, "replica"); got < 1000 {
		t.Errorf("the replica has answered %d queries of pgbench -S", got)
	}
	if got := queries(t, "primary"); got < 100 {
		t.Errorf("the primary has answered %d queries of TPC-B", got)
	}
}

// pgbenchPipeline reads back what it has just written, all in one pipeline and twice in a transaction.
const pgbenchPipeline = `\set id random(1, 100)
\startpipeline
insert into piped (client, id) values (:client_id, :id);
select count(*) from piped where client = :client_id;
begin;
update piped set n = n + 1 where client = :client_id and id = :id;
select 1 / (count(*) - count(*) + 1) from piped;
end;
\endpipeline
`

// pgbench's pipelines, in the two modes that have them, with more clients than servers; and its other ways to fetch results.
func TestPgbenchPipeline(t *testing.T) {
	t.Parallel()
	database := newDatabase(t, "pipelines")
	mustExec(t, connect(t, inDatabase(t, shared.get("PRIMARY_URL"), database)), "create table piped (client int, id int, n int default 0)")
	dir := tempDir(t)
	file := filepath.Join(dir, "pipeline.sql")
	if err := os.WriteFile(file, []byte(pgbenchPipeline), 0o644); err != nil {
		t.Fatal(err)
	}
	gset := filepath.Join(dir, "gset.sql")
	if err := os.WriteFile(gset, []byte("select 1 as one \\; select :client_id as two \\gset\nselect 1 / (case when :two = :client_id then 1 else 0 end);\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	url := inDatabase(t, shared.get("DATABASE_URL"), database)
	for _, args := range []string{
		"-M extended -f '" + file + "'", "-M prepared -f '" + file + "'", "-M simple -f '" + gset + "'",
	} {
		if err := finished(shared.sh(t, "pgbench -n -c 32 -j 2 -t 30 "+args+" '"+url+"'")); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
	const want = 2 * 32 * 30
	if got := one[int](t, connect(t, inDatabase(t, shared.get("PRIMARY_URL"), database)), "select count(*) from piped where n > 0"); got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
}

// queries adds up query_count of SHOW SERVERS over the servers of a role.
func queries(t *testing.T, role string) (sum int) {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), strings.Replace(shared.get("DATABASE_URL"), "/postgres?", "/outrigger?", 1))
	if err != nil {
		t.Fatalf("console: %v", err)
	}
	defer conn.Close(t.Context())
	results, err := conn.Exec(t.Context(), "SHOW SERVERS").ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, field := range results[0].FieldDescriptions {
		column[field.Name] = i
	}
	for _, row := range results[0].Rows {
		if string(row[column["role"]]) == role {
			sum += number(t, string(row[column["query_count"]]))
		}
	}
	return sum
}

// The command of --exec itself, to the letter: its output and its status are the program's.
func TestDevExec(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	p := begin(t, environIn(dir), "dev", "--nodes=1", "--scale=1", "--exec", "pgbench -n -S -M prepared -c 64 -j 2 -T 1")
	p.exit(t, 0, 90*time.Second)
	if err := finished(p.stdout.String()); err != nil {
		t.Error(err)
	}
	if err := empty(dir); err != nil {
		t.Error(err)
	}
}
