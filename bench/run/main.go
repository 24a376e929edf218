// Command run measures the pooler and the cache against their rivals and writes a report; make bench calls it. See the
// documentation of package bench.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: 0 measured (won or lost), 1 something failed, 2 wrong usage.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, getenv, stderr)
	if err != nil {
		return 2 // said already
	}
	if runtime.GOOS != "linux" {
		fmt.Fprintln(stderr, "bench: CPU time and memory are read from /proc: this needs Linux")
		return 1
	}
	failures, err := measure(ctx, opts, time.Now(), stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	if failures > 0 {
		fmt.Fprintf(stderr, "bench: %d runs failed, see the report\n", failures)
		return 1
	}
	return 0
}

// measure does all of it and returns how many runs failed.
func measure(ctx context.Context, opts options, begin time.Time, stdout, stderr io.Writer) (failures int, err error) {
	tree, err := findTree(ctx)
	if err != nil {
		return 0, err
	}
	b := &bench{opts: opts, tree: tree, begin: begin, progress: stderr}
	defer b.stop()
	if err := b.setUp(ctx); err != nil {
		return 0, err
	}
	if err := b.takeHits(ctx); err != nil {
		return 0, err
	}
	if err := b.runScenarios(ctx); err != nil {
		return 0, err
	}
	if err := b.rounds(ctx); err != nil {
		return 0, err
	}
	page, err := b.page()
	if err != nil {
		return 0, err
	}
	dir, err := keep(tree, begin, page, b.raw.String()+b.logs())
	if err != nil {
		return 0, err
	}
	if err := page.Markdown(stdout); err != nil {
		return 0, fmt.Errorf("print the report: %w", err)
	}
	fmt.Fprintf(stdout, "\nReport and raw output: %s\n", dir)
	return page.Failures(), nil
}

// filesNeeded is a little more than a pooler and the generator need for the largest crowd: a descriptor for each client.
const filesNeeded = 10_500

// raiseFileLimit raises the soft limit to the hard one, for the processes that are started too: Go would only raise its own.
func raiseFileLimit() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	if l.Max < filesNeeded {
		return fmt.Errorf("at most %d open files are allowed: crowds will fail (ulimit -Hn %d lets them in)", l.Max, filesNeeded)
	}
	return nil
}
