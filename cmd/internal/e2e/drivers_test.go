package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// target is what a driver's script finds behind its URLs.
type target struct {
	database string // the URL under test
	primary  string // the same database without a pooler
	notify   string // where another client of the same database notifies from
}

// script uses a database through one client and prints what it sees.
type script func(ctx context.Context, to target, out io.Writer) error

// external is a script in another language. In its arguments, $URL stands for the URL under test.
func external(name string, args ...string) script {
	return func(ctx context.Context, to target, out io.Writer) error {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%w: `.ci/install test` installs it; go test -short leaves it out", err)
		}
		cmd := exec.CommandContext(ctx, name)
		for _, arg := range args {
			cmd.Args = append(cmd.Args, strings.ReplaceAll(arg, "$URL", to.database))
		}
		cmd.Env = append(environIn(os.TempDir()), "DATABASE_URL="+to.database, "PRIMARY_URL="+to.primary, "NOTIFY_URL="+to.notify, "LC_ALL=C.UTF-8")
		cmd.WaitDelay = 5 * time.Second
		var diagnostics bytes.Buffer
		cmd.Stdout, cmd.Stderr = out, &diagnostics
		if name == "psql" { // its errors are what it sees
			cmd.Stderr = out
		}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%w: %s", err, diagnostics.String())
		}
		return nil
	}
}

// Each driver's script sees the same directly, through a sidecar with a replica, and through one with a single server
// connection in transaction mode that keeps few prepared statements.
func TestDrivers(t *testing.T) {
	t.Parallel()
	tight := serve(t, "tight", nil, "--primary-url="+shared.get("PRIMARY_URL"), "--default-pool-size=1", "--max-prepared-statements=20",
		"--query-wait-timeout=20s", "--cache=off")
	t.Cleanup(func() {
		tight.signal(t, syscall.SIGTERM)
		tight.exit(t, 0, 40*time.Second)
	})
	tight.ready(t, 0) // a pooler alone is in no cluster

	scripts := map[string]script{
		"pgx":  pgxModes,
		"pq":   func(ctx context.Context, to target, out io.Writer) error { return pqScript{to, out}.run(ctx) },
		"psql": external("psql", "-X", "-f", "testdata/drivers/psql.sql", "$URL"),
	}
	if !testing.Short() {
		const python = "/usr/bin/python3" // Debian's: another one does not see the packages
		scripts["psycopg 3"] = external(python, "testdata/drivers/psycopg-3.py")
		scripts["psycopg 2"] = external(python, "testdata/drivers/psycopg-2.py")
		scripts["JDBC"] = external("java", "-XX:TieredStopAtLevel=1", "-cp", "/usr/share/java/postgresql.jar", "testdata/drivers/Jdbc.java")
		scripts["node-postgres"] = external("node", filepath.Join(nodeModules(t), "pg.js"))
		scripts["postgres.js"] = external("node", filepath.Join(nodeModules(t), "postgresjs.js"))
	}
	for name, run := range scripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, name, run, "postgres://postgres@"+tight.pg+"/postgres?sslmode=disable")
		})
	}
}

// compare runs a script at the three targets, each in a database of its own.
func compare(t *testing.T, name string, run script, tight string) {
	primary, pooled := shared.get("PRIMARY_URL"), shared.get("DATABASE_URL")
	said := make([]output, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var running sync.WaitGroup
	for i, kind := range []string{"direct", "pooled", "tight"} {
		database := newDatabase(t, strings.ReplaceAll(name, " ", "-")+"-"+kind)
		direct := inDatabase(t, primary, database)
		to := target{database: direct, primary: direct, notify: direct}
		switch kind {
		case "pooled":
			to.database = inDatabase(t, pooled, database)
			to.notify = to.database
		case "tight": // its only connection is the listener's
			to.database = inDatabase(t, tight, database)
		}
		running.Go(func() {
			if err := run(ctx, to, &said[i]); err != nil {
				t.Errorf("%s: %v\nafter it had said\n%s", kind, err, said[i].String())
			}
		})
	}
	running.Wait()
	for i, kind := range []string{"pooled", "tight"} {
		if where, equal := firstDifference(said[0].String(), said[1+i].String()); !equal {
			t.Errorf("direct and %s differ in %s", kind, where)
		}
	}
}

// firstDifference names the first line in which two outputs differ, with the last title ("-- title") before it.
func firstDifference(direct, pooled string) (where string, equal bool) {
	if direct == pooled {
		return "", true
	}
	a, b := strings.Split(direct, "\n"), strings.Split(pooled, "\n")
	title := ""
	for i := range max(len(a), len(b)) {
		line := func(lines []string) string {
			if i < len(lines) {
				return lines[i]
			}
			return "(the end)"
		}
		if line(a) != line(b) {
			return fmt.Sprintf("%q, line %d:\ndirect: %s\npooled: %s", title, i+1, line(a), line(b)), false
		}
		if strings.HasPrefix(a[i], "-- ") {
			title = a[i]
		}
	}
	return "the line ends", false
}

// newDatabase creates a database on the shared servers and waits until the replica has it.
func newDatabase(t *testing.T, name string) string {
	t.Helper()
	mustExec(t, connect(t, shared.get("PRIMARY_URL")), "create database "+pgx.Identifier{name}.Sanitize())
	for _, replica := range shared.each("REPLICA_URLS") {
		eventually(t, "the replica has database "+name, func() error {
			conn, err := pgx.Connect(t.Context(), inDatabase(t, replica, name))
			if err != nil {
				return err
			}
			return conn.Close(t.Context())
		})
	}
	return name
}

// inDatabase is a URL with another database.
func inDatabase(t *testing.T, base, database string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + database
	return u.String()
}
