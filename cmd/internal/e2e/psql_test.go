package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// psql runs statements in one session and returns the bare rows.
func psql(t *testing.T, script string) string {
	t.Helper()
	file := filepath.Join(tempDir(t), "script.sql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	out := shared.sh(t, "psql -XAtq -v ON_ERROR_STOP=1 -f '"+file+"' \"$DATABASE_URL\"")
	return strings.TrimSpace(out)
}

func TestPsql(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	out := filepath.Join(dir, "out.csv")
	for _, tt := range []struct{ name, script, want string }{
		{"transaction", `
			create table psql_tx (id int primary key, v text);
			begin; insert into psql_tx values (1, 'kept'); savepoint s; insert into psql_tx values (2, 'undone'); rollback to s; commit;
			begin; delete from psql_tx; rollback;
			select * from psql_tx;`, "1|kept"},
		{"prepared statement", `
			prepare plus(int, int) as select $1 + $2;
			execute plus(1, 2);
			begin; execute plus(3, 4); commit;
			execute plus(5, 6);
			deallocate plus;
			prepare plus(int) as select $1 - 1;
			execute plus(1);`, "3\n7\n11\n0"},
		{"copy", `
			create table psql_copy (id int, v text);
			\copy psql_copy from program 'seq 1 20000 | sed s/$/,value/' csv
			\copy psql_copy to '` + out + `' csv
			select count(*), sum(id), count(distinct v) from psql_copy;`, "20000|200010000|1"},
		{"copy from stdin", `
			create table psql_stdin (id int);` + "\ncopy psql_stdin from stdin;\n1\n2\n\\.\nselect sum(id) from psql_stdin;", "3"},
		{"error", `
			\set ON_ERROR_STOP off
			select 1/0;
			\echo :SQLSTATE
			begin; select nothing; select 1; rollback;
			\echo :SQLSTATE
			select 'goes on';`, "22012\n00000\ngoes on"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := psql(t, tt.script); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(string(b)), "\n"); len(lines) != 20000 || lines[0] != "1,value" || lines[19999] != "20000,value" {
		t.Errorf(`\copy to wrote %d lines, want 20000 as they were read`, len(lines))
	}
}

// active counts the servers' sessions that run a query now.
func active(t *testing.T, query string) int {
	t.Helper()
	sum := 0
	for _, url := range append(shared.each("REPLICA_URLS"), shared.get("PRIMARY_URL")) {
		sum += number(t, shared.sh(t, `psql -XAt "`+url+`" -c "select count(*) from pg_stat_activity where state = 'active' and query = '`+query+`'"`))
	}
	return sum
}

// Ctrl-C in psql cancels that session's query, and nobody else's.
// psql looks for notifications behind each answer: it sees its own only if they come before it is ready.
func TestPsqlListen(t *testing.T) {
	t.Parallel()
	got := psql(t, "listen psql_channel;\nnotify psql_channel, 'payload';\nunlisten *;\nnotify psql_channel, 'late';\nselect 'end';")
	said := `Asynchronous notification "psql_channel" with payload "payload" received from server process with PID `
	if !strings.HasPrefix(got, said) || !strings.HasSuffix(got, "\nend") || strings.Count(got, "\n") != 1 {
		t.Errorf("got\n%s", got)
	}
}

func TestPsqlCancel(t *testing.T) {
	t.Parallel()
	const sleep = "select pg_sleep(60) /* TestPsqlCancel */"
	sleeping := func(want int) func() error {
		return func() error {
			// Asked of the servers themselves: to sleep is a read.
			if got := active(t, sleep); got != want {
				return fmt.Errorf("%d queries sleep, want %d", got, want)
			}
			return nil
		}
	}
	var sessions []*process
	for range 3 {
		p, err := start(shared.environ, nil, "psql", "-XAt", shared.get("DATABASE_URL"), "-c", sleep)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, p)
		defer p.kill()
	}
	eventually(t, "queries run", sleeping(3))
	// The one in the middle first: neither the oldest nor the newest.
	for i, n := range []int{1, 0, 2} {
		p := sessions[n]
		p.signal(t, syscall.SIGINT)
		p.exit(t, 1, 10*time.Second)
		if err := p.says("canceling statement due to user request"); err != nil {
			t.Error(err)
		}
		eventually(t, "the others go on", sleeping(2-i))
		for _, other := range []int{1, 0, 2}[i+1:] {
			if !sessions[other].running() {
				t.Errorf("session %d was cancelled with session %d:\n%s", other, n, sessions[other].said())
			}
		}
	}
}
