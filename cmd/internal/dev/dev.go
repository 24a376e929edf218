package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// Options says what to start and how to talk to the caller.
type Options struct {
	Replicas, Nodes, Scale int

	Exec    string // shell command; empty: wait for a signal
	Program string // path of the outrigger program

	Environ        []string
	Signals        <-chan os.Signal
	Stdin          *os.File // of the command
	Stdout, Stderr io.Writer
}

// errInterrupted ends a run that a signal cut short before there was anything to return.
var errInterrupted = errors.New("interrupted")

// Validate says what is impossible.
func (o Options) Validate() error {
	const most = 32 // each takes a process or several
	if o.Nodes < 1 || o.Nodes > most || o.Replicas < 0 || o.Replicas > most || o.Scale < 0 {
		return errors.New("--nodes takes 1 or more, --replicas and --scale 0 or more, and 32 nodes and replicas at most")
	}
	return nil
}

// Run starts the environment, waits for a signal or for the command's end, and removes everything. The command's failure
// comes back as a *StatusError.
func Run(ctx context.Context, opts Options) (err error) {
	// Progress is for a person. With --exec, stdout belongs to the command.
	out := opts.Stdout
	if opts.Exec != "" {
		out = opts.Stderr
	}
	p := &progress{w: out}
	servers, sidecars, err := start(ctx, opts, p)
	p.done()
	defer func() {
		stopSidecars(sidecars)
		if servers != nil {
			err = errors.Join(err, servers.Stop())
		}
	}()
	if err != nil {
		return err
	}
	if opts.Exec != "" {
		watch := watchCrashes(opts.Stderr, sidecars)
		defer watch()
		return runCommand(ctx, opts, commandEnviron(opts.Environ, servers, sidecars))
	}
	fmt.Fprint(out, welcome(opts, servers, sidecars))
	watch := watchCrashes(out, sidecars)
	defer watch()
	select {
	case <-ctx.Done():
	case <-opts.Signals:
	}
	fmt.Fprintln(out, "removing everything")
	return nil
}

// start makes everything. What it returns is the caller's to stop, also when there is an error.
func start(ctx context.Context, opts Options, p *progress) (servers *devpg.Cluster, sidecars []*sidecar, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer func() {
		if context.Cause(ctx) == errInterrupted {
			err = errInterrupted // and not how each step fails when it is cut short
		}
	}()
	// A signal during the start cancels it; the way out is the usual one.
	var watching sync.WaitGroup
	defer watching.Wait()
	started := make(chan struct{})
	defer close(started)
	watching.Go(func() {
		select {
		case <-opts.Signals:
			cancel(errInterrupted)
		case <-started:
		}
	})

	servers, err = devpg.Start(ctx, devpg.Options{Replicas: opts.Replicas, Progress: p.step})
	if err != nil {
		return nil, nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if opts.Scale > 0 {
		p.step("pgbench -i -s " + strconv.Itoa(opts.Scale))
		if err := servers.Pgbench(ctx, "-i", "-q", "-s", strconv.Itoa(opts.Scale)); err != nil {
			return servers, nil, fmt.Errorf("make pgbench's tables: %w", err)
		}
		p.step("replicas catch up")
		if err := servers.WaitCaughtUp(ctx); err != nil {
			return servers, nil, err
		}
	}
	if opts.Nodes == 1 {
		p.step("start the sidecar")
	} else {
		p.step("start " + strconv.Itoa(opts.Nodes) + " sidecars")
	}
	sidecars, err = startSidecars(ctx, opts, servers, opts.Exec == "")
	return servers, sidecars, err
}

// watchCrashes tells on w when a sidecar ends by itself. The function returned ends the watch.
func watchCrashes(w io.Writer, sidecars []*sidecar) (stop func()) {
	var (
		watching sync.WaitGroup
		mu       sync.Mutex // w
		over     = make(chan struct{})
	)
	for _, s := range sidecars {
		watching.Go(func() {
			select {
			case <-over:
			case <-s.child.Done():
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintf(w, "%s (pid %d) has ended: %s\n", s.name, s.child.Pid(), how(s.child.Err()))
			}
		})
	}
	return func() {
		close(over)
		watching.Wait()
	}
}

// how says how a process ended.
func how(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// welcome is what a newcomer reads.
func welcome(opts Options, servers *devpg.Cluster, sidecars []*sidecar) string {
	var b strings.Builder
	row := func(label, value string) { fmt.Fprintf(&b, "  %-9s %s\n", label, value) }
	b.WriteString("\n")
	for _, s := range sidecars {
		fmt.Fprintf(&b, "%s (pid %d)\n", s.name, s.child.Pid())
		row("SQL", s.databaseURL())
		row("cache", s.redisURL())
		row("console", s.consoleURL())
		row("HTTP", s.httpURL()+"/health/ready, /metrics")
	}
	b.WriteString("direct, to compare\n")
	row("primary", servers.PrimaryURL())
	for _, url := range servers.ReplicaURLs() {
		row("replica", url)
	}
	first, last := sidecars[0], sidecars[len(sidecars)-1]
	b.WriteString("try\n")
	table := "pg_class"
	if opts.Scale > 0 {
		table = "pgbench_accounts"
	}
	fmt.Fprintf(&b, "  psql '%s' -c 'select count(*) from %s' -c \"select current_setting('in_hot_standby')\"\n", first.databaseURL(), table)
	if opts.Scale > 0 {
		fmt.Fprintf(&b, "  %s -n -S -M prepared -c 16 -T 5 '%s'\n", filepath.Join(servers.BinDir(), "pgbench"), first.databaseURL())
	}
	fmt.Fprintf(&b, "  redis-cli -u %s set greeting hello && redis-cli -u %s get greeting\n", first.redisURL(), last.redisURL())
	b.WriteString("\nCtrl-C ends and removes everything.\n")
	return b.String()
}
