// Package verify checks package classify against PostgreSQL's own grammar, as libpg_query has it. It is a module of its
// own and has tests only: the program stays pure Go, and its go.mod knows nothing of it.
//
// # Files
//
//	verify_test.go   PostgreSQL's own tests and what drivers send; testdata/report.txt lists every difference
//	mutate_test.go   statements cut up and put together again, and fuzzing
//	truth_test.go    what a text does, by its parse tree
//	builtin_test.go  what the functions of the catalog do
//	compare_test.go  the classifier against the truth, and why they may differ
//	script_test.go   the statements in a script of psql's
package verify

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg/pgtests"
)

var (
	pg       *devpg.Cluster
	builtins Builtins

	update = flag.Bool("update", false, "write testdata/report.txt")
)

func TestMain(m *testing.M) {
	os.Exit(devpg.Around(m, devpg.Options{}, func(c *devpg.Cluster) {
		pg = c
		conn, err := pgx.Connect(context.Background(), c.PrimaryURL())
		if err == nil {
			defer conn.Close(context.Background())
			builtins, err = ReadBuiltins(context.Background(), conn)
		}
		if err != nil {
			panic(err)
		}
	}).Run())
}

// corpus is a collection of statements.
type corpus struct {
	name       string
	statements []Statement
}

// drivers returns what drivers and ORMs send: testdata/drivers has a paragraph for each statement.
func drivers(t testing.TB) corpus {
	t.Helper()
	c := corpus{name: "drivers and ORMs"}
	files, _ := filepath.Glob("testdata/drivers/*.sql")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line := 1
		for _, p := range strings.SplitAfter(string(text), "\n\n") {
			if !strings.HasPrefix(p, "#") {
				c.statements = append(c.statements, Statement{filepath.Base(file), line, strings.TrimSpace(p)})
			}
			line += strings.Count(p, "\n")
		}
	}
	if len(c.statements) < 300 {
		t.Fatalf("only %d statements of drivers", len(c.statements))
	}
	return c
}

// postgres returns the scripts in PostgreSQL's source tree, and whose they are.
func postgres(t testing.TB) ([]corpus, string) {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("PostgreSQL's tests come from Debian's packages")
	}
	tree, err := pgtests.Get(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	all := []corpus{{name: "PostgreSQL: regress"}, {name: "PostgreSQL: contrib"}, {name: "PostgreSQL: plpgsql"}}
	for i, pattern := range []string{"src/test/regress/sql", "contrib/*/sql", "src/pl/plpgsql/src/sql"} {
		files, _ := filepath.Glob(filepath.Join(tree.Root, pattern, "*.sql"))
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(tree.Root, file)
			if err != nil {
				t.Fatal(err)
			}
			all[i].statements = append(all[i].statements, Script(name, string(text))...)
		}
	}
	if n := len(all[0].statements); n < 30_000 {
		t.Fatalf("only %d statements of PostgreSQL's", n)
	}
	return all, tree.Version
}

// tally is how a corpus went.
type tally struct {
	name                                              string
	statements, noSQL, reads, called, cautious, wrong int
}

// Every statement of PostgreSQL's own tests, and of the drivers: none that binds more may be called less, 97 of 100 reads
// must be called so, and testdata/report.txt lists each difference with its reason.
func TestStatements(t *testing.T) {
	postgres, version := postgres(t)
	oracle := newOracle(t)
	var tallies []tally
	differences := map[string][]string{} // by reason
	ofReport := isOfReport(t, version)
	for _, c := range append(postgres, drivers(t)) {
		n := tally{name: c.name, statements: len(c.statements)}
		for _, s := range c.statements {
			got := classify.Classify([]byte(s.SQL))
			want, err := builtins.Parse(s.SQL)
			if err != nil {
				if n.noSQL++; got.Class <= classify.CopyOut && oracle.parses(t, s.SQL) {
					t.Errorf("%s:%d: %v, and only PostgreSQL 17 refuses it: %s", s.File, s.Line, got.Class, oneLine(s.SQL, 300))
				}
				continue
			}
			if err := CompareNames(s.SQL, got, want); err != nil {
				n.wrong++
				t.Errorf("%s:%d: %v", s.File, s.Line, err)
			}
			if want.Class == classify.Read {
				n.reads++
			}
			switch v := Compare(got, want); v {
			case Same:
				if want.Class == classify.Read {
					n.called++
				}
			case Cautious, Missed:
				if v == Cautious {
					n.cautious++
				}
				why := Reason(s.SQL)
				if why == "" && ofReport {
					t.Errorf("%s:%d: %v, and by its tree %v, for no reason known: %s", s.File, s.Line, got.Class, want.Class, oneLine(s.SQL, 300))
				}
				why = fmt.Sprintf("%v: %s", v, why)
				differences[why] = append(differences[why], fmt.Sprintf("%s:%d", s.File, s.Line))
			default:
				n.wrong++
				t.Errorf("%v: %s:%d: %v %b, and by its tree %v %b %v: %s", v, s.File, s.Line, got.Class, got.Flags, want.Class, want.Flags, want.Why, oneLine(s.SQL, 300))
			}
		}
		if share := float64(n.called) / float64(max(n.reads, 1)); share < 0.97 {
			t.Errorf("%s: only %.1f%% of %d reads are called reads", n.name, 100*share, n.reads)
		}
		tallies = append(tallies, n)
	}
	checkReport(t, version, ofReport, tallies, differences)
}

const reportFile = "testdata/report.txt"

// isOfReport tells whether the report is of this release of PostgreSQL. Another has other statements, and only the limits
// hold for it.
func isOfReport(t *testing.T, version string) bool {
	report, err := os.ReadFile(reportFile)
	if err != nil {
		t.Fatal(err)
	}
	return *update || strings.Contains(string(report), "PostgreSQL "+version+",")
}

// checkReport compares with the report.
func checkReport(t *testing.T, version string, ofReport bool, tallies []tally, differences map[string][]string) {
	var b strings.Builder
	fmt.Fprintf(&b, "Where the classifier and PostgreSQL's parser differ. Written by `go test -run TestStatements -update`.\n")
	fmt.Fprintf(&b, "The statements of PostgreSQL %s, Debian's package, and of testdata/drivers.\n\n", version)
	fmt.Fprintf(&b, "%-20s %10s %7s %7s %12s %8s %9s %6s\n", "", "statements", "no SQL", "reads", "called reads", "%", "cautious", "wrong")
	for _, n := range tallies {
		fmt.Fprintf(&b, "%-20s %10d %7d %7d %12d %8.2f %9d %6d\n", n.name, n.statements, n.noSQL, n.reads, n.called,
			100*float64(n.called)/float64(max(n.reads, 1)), n.cautious, n.wrong)
	}
	b.WriteString("\nmissed: a read that is not called one. cautious: another statement that is said to bind more than it does.\n" +
		"wrong: said to bind less than it does, or to leave less in the session.\n")
	var whys []string
	for why := range differences {
		whys = append(whys, why)
	}
	slices.Sort(whys)
	for _, why := range whys {
		fmt.Fprintf(&b, "\n%s (%d)\n", why, len(differences[why]))
		for _, at := range differences[why] {
			fmt.Fprintf(&b, "  %s\n", at)
		}
	}
	if *update {
		if err := os.WriteFile(reportFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !ofReport {
		t.Logf("the report is of another release than %s: only the limits are checked", version)
		return
	}
	want, err := os.ReadFile(reportFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != b.String() {
		got := strings.Split(b.String(), "\n")
		for _, line := range got {
			if !strings.Contains(string(want), line+"\n") {
				t.Errorf("new: %s", line)
			}
		}
		t.Error(reportFile + " is out of date: look at the differences, and run with -update")
	}
}

// oracle asks a server whether it can parse a text, without running it: in a transaction that has failed, a statement is
// refused after it is parsed and before anything else (exec_simple_query).
type oracle struct{ conn *pgconn.PgConn }

func newOracle(t testing.TB) *oracle {
	t.Helper()
	conn, err := pgconn.Connect(context.Background(), pg.PrimaryURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return &oracle{conn}
}

func (o *oracle) parses(t testing.TB, sql string) bool {
	t.Helper()
	if o.conn.TxStatus() != 'E' {
		_ = o.conn.Exec(context.Background(), "begin; select 1/0").Close() // the error is what it is for
	}
	if o.conn.TxStatus() != 'E' {
		t.Fatal("no failed transaction to ask in")
	}
	err := o.conn.Exec(context.Background(), sql).Close()
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refused.Code == "25P02" // in_failed_sql_transaction
	}
	if err != nil {
		t.Fatalf("%q: %v", sql, err)
	}
	return true // COMMIT and the like
}

// The oracle must be able to say both.
func TestOracle(t *testing.T) {
	o := newOracle(t)
	for sql, want := range map[string]bool{
		"select 1": true, "select nonsense from nowhere": true, "commit": true, "delete from pg_class; select 1": true, "": true,
		"select": true, "select from from": false, "select 'open": false, "select e'\\u00'": false, "copy t from stdin": true,
	} {
		if got := o.parses(t, sql); got != want {
			t.Errorf("%q: %v", sql, got)
		}
	}
}

// What the truth says of the statements that the whole rests on.
func TestTruth(t *testing.T) {
	for _, tt := range []struct {
		sql   string
		class classify.Class
	}{
		{"select 1", classify.Read},
		{"select a, lower(b) from t where c = any ($1)", classify.Read},
		{"select random(), pg_sleep(1), now()", classify.Read},
		{"select f(1)", classify.Write},
		{"select public.lower('a')", classify.Write},
		{"select nextval('s')", classify.Write},
		{"select ('s'::regclass).nextval", classify.Write},
		{"select x.pg_advisory_lock from t x", classify.Write},
		{"select * into x from t", classify.Write},
		{"select * from (select * from t for share) x", classify.Lock},
		{"with a as (delete from t returning 1) select * from a", classify.Write},
		{"select * from pg_catalog.pg_stat_activity", classify.Write},
		{"select * from other.pg_stat_activity", classify.Read},
		{"explain delete from t", classify.Read},
		{"explain (analyze off) delete from t", classify.Read},
		{`explain ("analyze") delete from t`, classify.Write},
		{"explain analyze select 1", classify.Read},
		{"set a = 1", classify.Session},
		{"copy t to stdout", classify.CopyOut},
		{"copy (select f()) to stdout", classify.Write},
		{"begin read only", classify.BeginReadOnly},
		{"begin", classify.Begin},
		{"select 1; listen a; select 2", classify.Listen},
		{"truncate t", classify.Write},
		{"do ''", classify.Unknown},
	} {
		got, err := builtins.Parse(tt.sql)
		if err != nil || got.Class != tt.class {
			t.Errorf("%q: %v %v %v, want %v", tt.sql, got.Class, got.Why, err, tt.class)
		}
	}
}
