package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// suite is a set of tests with a schedule.
type suite struct {
	name     string
	program  string // its driver
	schedule string // relative to its directory
	database string
	src      sources
}

func findSuite(name string, src sources) (suite, error) {
	switch name {
	case "regress":
		return suite{name, filepath.Join(src.tools, "regress/pg_regress"), "parallel_schedule", "regression", src}, nil
	case "isolation":
		return suite{name, filepath.Join(src.tools, "isolation/pg_isolation_regress"), "isolation_schedule", "isolation_regression", src}, nil
	}
	return suite{}, fmt.Errorf("unknown suite %q: there are regress and isolation", name)
}

// result is how a test went.
type result struct {
	name   string
	passed bool
}

type results []result

// prepare copies the tests to where the server's user can read them and write, and makes the database as pg_regress
// itself would.
func (s suite) prepare(ctx context.Context, cluster *devpg.Cluster, out string) error {
	if err := worldWritable(out); err != nil {
		return err
	}
	if err := command(ctx, out, "sh", "-c", fmt.Sprintf("cp -r %s input && cp -r %s libs && mkdir -p output/results output/testtablespace && chmod -R a+rwX .",
		filepath.Join(s.src.tests, s.name), s.src.libs)); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, cluster.PrimaryURL())
	if err != nil {
		return fmt.Errorf("connect to make the database: %w", err)
	}
	defer conn.Close(ctx)
	sql := []string{"CREATE DATABASE " + s.database + " TEMPLATE template0"}
	for _, setting := range []string{"lc_messages", "lc_monetary", "lc_numeric", "lc_time"} {
		sql = append(sql, "ALTER DATABASE "+s.database+" SET "+setting+" TO 'C'")
	}
	sql = append(sql, "ALTER DATABASE "+s.database+" SET bytea_output TO 'hex'",
		"ALTER DATABASE "+s.database+" SET timezone_abbreviations TO 'Default'")
	for _, line := range sql {
		if _, err := conn.Exec(ctx, line); err != nil {
			return fmt.Errorf("make the database: %s: %w", line, err)
		}
	}
	return nil
}

// run runs the suite's schedule, or the given tests, at an address.
func (s suite) run(ctx context.Context, bin, addr, out string, tests []string) (results, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("read the address: %w", err)
	}
	input := filepath.Join(out, "input")
	args := []string{"--use-existing", "--dbname=" + s.database, "--host=" + host, "--port=" + port, "--user=" + devpg.User,
		"--bindir=" + bin, "--inputdir=" + input, "--outputdir=" + filepath.Join(out, "output"),
		"--dlpath=" + filepath.Join(out, "libs"), "--max-concurrent-tests=20"}
	if len(tests) > 0 {
		args = append(args, tests...)
	} else {
		args = append(args, "--schedule="+filepath.Join(input, s.schedule))
	}
	cmd := exec.CommandContext(ctx, s.program, args...)
	cmd.Dir = out
	cmd.Env = append(os.Environ(), "PGSSLMODE=disable", "PGISOLATIONTIMEOUT=20", "LC_ALL=C")
	said, err := cmd.CombinedOutput()
	if e := os.WriteFile(filepath.Join(out, "said.txt"), said, 0o644); e != nil {
		return nil, fmt.Errorf("keep what the driver said: %w", e)
	}
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		return nil, fmt.Errorf("run %s: %w", filepath.Base(s.program), err)
	}
	r := parseResults(string(said))
	if len(r) == 0 {
		return nil, fmt.Errorf("%s ran no test; it said:\n%s", filepath.Base(s.program), said)
	}
	return r, nil
}

// Lines of pg_regress: "test a ... ok   12 ms" and "    b ... FAILED (test process exited with exit code 2)   9 ms" up
// to PostgreSQL 15; "ok 7     - a    12 ms" and "not ok 8     + b    9 ms" since.
var (
	oldLine = regexp.MustCompile(`(?m)^(?:test)?\s+(\S+)\s+\.\.\. (ok|FAILED|failed)`)
	newLine = regexp.MustCompile(`(?m)^(ok|not ok) \d+\s+[-+] (\S+)`)
)

func parseResults(said string) results {
	var r results
	for _, m := range oldLine.FindAllStringSubmatch(said, -1) {
		r = append(r, result{m[1], m[2] == "ok"})
	}
	for _, m := range newLine.FindAllStringSubmatch(said, -1) {
		r = append(r, result{m[2], m[1] == "ok"})
	}
	return r
}

// worldWritable makes a directory in which the server, another user, can write: tests COPY to files.
func worldWritable(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("make a directory for the results: %w", err)
	}
	if err := os.Chmod(dir, 0o777); err != nil { // whatever umask is
		return fmt.Errorf("open a directory for the server: %w", err)
	}
	return nil
}
