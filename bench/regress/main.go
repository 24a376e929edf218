// Command regress runs PostgreSQL's own regression and isolation tests directly and through the pooler in transaction
// mode, and compares: what passes directly must pass pooled, but for the differences that docs/regress.md explains.
//
//	make regress                                  both suites, pool of 20
//	make regress ARGS='-pool 100 -suite isolation'
//	make regress ARGS='-tests "test_setup plpgsql"' one after the other, without a schedule
//
// The tests come from Debian's source package of the PostgreSQL that is installed; nothing is installed for them.
//
// # Files
//
//	main.go       flags, the runs, the table
//	source.go     building the tests
//	suite.go      one run of one suite against one address
//	sidecar.go    the program that is tested
//	explained.go  the differences that docs/regress.md explains
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

type options struct {
	suites  []string
	tests   []string // empty: the whole schedule
	pool    int
	out     string
	skip    bool // run only pooled
	replica bool
	all     bool // list tests that pass too
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, parse()); err != nil {
		fmt.Fprintln(os.Stderr, "regress:", err)
		os.Exit(1)
	}
}

func parse() options {
	var o options
	suite := flag.String("suite", "regress,isolation", "suites to run")
	tests := flag.String("tests", "", "run these tests one after the other instead of the schedule")
	flag.IntVar(&o.pool, "pool", 20, "default_pool_size")
	flag.StringVar(&o.out, "out", "", "directory for results and diffs (default: a new temporary one)")
	flag.BoolVar(&o.skip, "pooled-only", false, "skip the direct runs: every test is expected to pass")
	flag.BoolVar(&o.replica, "replica", false, "give the sidecar a replica to read from")
	flag.BoolVar(&o.all, "all", false, "list the tests that pass, too")
	flag.Parse()
	o.suites = strings.Split(*suite, ",")
	o.tests = strings.Fields(*tests)
	return o
}

func run(ctx context.Context, o options) error {
	root, err := treeRoot(ctx)
	if err != nil {
		return err
	}
	explained, err := readExplained(filepath.Join(root, "docs", "regress.md"))
	if err != nil {
		return err
	}
	if o.out == "" {
		if o.out, err = os.MkdirTemp("", "outrigger-regress-"); err != nil {
			return fmt.Errorf("make a directory for the results: %w", err)
		}
	} else if o.out, err = filepath.Abs(o.out); err != nil {
		return fmt.Errorf("find the directory for the results: %w", err)
	}
	if err := worldWritable(o.out); err != nil {
		return err
	}
	sources, err := fetchSources(ctx)
	if err != nil {
		return err
	}
	program, err := buildSidecar(ctx, root, o.out)
	if err != nil {
		return err
	}
	var unexplained []string
	for _, name := range o.suites {
		s, err := findSuite(name, sources)
		if err != nil {
			return err
		}
		direct := results{}
		if !o.skip {
			if direct, err = o.runOnce(ctx, s, "direct", ""); err != nil {
				return err
			}
		}
		pooled, err := o.runOnce(ctx, s, "pooled", program)
		if err != nil {
			return err
		}
		diffs := map[string]string{}
		if slices.ContainsFunc(pooled, func(t result) bool { return !t.passed }) {
			if diffs, err = readDiffs(filepath.Join(o.out, s.name, "pooled")); err != nil {
				return err
			}
		}
		unexplained = append(unexplained, compare(s, direct, pooled, diffs, explained, o)...)
	}
	fmt.Println("results and diffs:", o.out)
	if len(unexplained) > 0 {
		return fmt.Errorf("%d tests that pass directly fail pooled in a way that docs/regress.md does not explain: %s", len(unexplained), strings.Join(unexplained, " "))
	}
	return nil
}

// runOnce runs a suite on a fresh cluster, through the program if there is one.
func (o options) runOnce(ctx context.Context, s suite, side, program string) (results, error) {
	began := time.Now()
	fmt.Printf("%s, %s ...\n", s.name, side)
	out := filepath.Join(o.out, s.name, side)
	// As pg_regress configures its own server; the tests know no other values.
	opts := devpg.Options{MaxConnections: 300, Settings: map[string]string{"max_prepared_transactions": "2"}}
	if o.replica && program != "" {
		opts.Replicas = 1
	}
	cluster, err := devpg.Start(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer cluster.Stop()
	if err := s.prepare(ctx, cluster, out); err != nil {
		return nil, err
	}
	addr := cluster.Addr(0)
	if program != "" {
		car, err := startSidecar(ctx, program, cluster, o.pool, filepath.Join(out, "outrigger.log"))
		if err != nil {
			return nil, err
		}
		defer car.stop()
		addr = car.addr
	}
	r, err := s.run(ctx, cluster.BinDir(), addr, out, o.tests)
	if err != nil {
		return nil, err
	}
	passed := 0
	for _, t := range r {
		if t.passed {
			passed++
		}
	}
	if err := os.WriteFile(filepath.Join(out, "server.log"), []byte(cluster.Log(0)), 0o644); err != nil {
		return nil, fmt.Errorf("keep the server's log: %w", err)
	}
	fmt.Printf("%s, %s: %d of %d passed in %v\n", s.name, side, passed, len(r), time.Since(began).Round(time.Second))
	return r, nil
}

// compare prints the table and returns the tests that fail pooled in a way that is not explained.
func compare(s suite, direct, pooled results, diffs, explained map[string]string, o options) (bad []string) {
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	word := func(r results, name string) string {
		for _, t := range r {
			if t.name == name && t.passed {
				return "ok"
			} else if t.name == name {
				return "FAILED"
			}
		}
		return "-"
	}
	for _, t := range pooled {
		d, known := word(direct, t.name), explained[s.name+"/"+t.name]
		var why string
		switch {
		case t.passed && d != "FAILED":
			if !o.all {
				continue
			}
		case t.passed || d == "FAILED":
			why = "fails directly"
		case known != "" && known == diffs[t.name]:
			why = "explained"
		default:
			bad = append(bad, s.name+"/"+t.name)
			why = "UNEXPLAINED"
		}
		fmt.Fprintf(tw, "%s/%s\tdirect %s\tpooled %s\t%s\n", s.name, t.name, d, word(pooled, t.name), why)
	}
	if err := tw.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "regress:", err)
	}
	return bad
}

// treeRoot is the directory of this module's go.mod.
func treeRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	mod := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("find the source tree: %w", err)
	}
	if filepath.Base(mod) != "go.mod" {
		return "", errors.New("find the source tree: run this inside of it")
	}
	return filepath.Dir(mod), nil
}
