package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/hitratio"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/report"
	"github.com/outrigger-proxy/outrigger/bench/scenario"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// scale is pgbench's: 100,000 rows each.
const scale = 10

// bench is one measurement. It belongs to one goroutine.
type bench struct {
	opts     options
	tree     tree
	begin    time.Time
	progress io.Writer

	dir        string // temporary
	servers    *devpg.Cluster
	postgres   *contender.Postgres // their processes
	contenders []*contender.Contender
	workloads  []load.Workload
	table      []load.Workload // all that could run, chosen or not: some of them warm up
	poolers    []scenario.Pooler
	caches     []scenario.Pooler
	clusters   []scenario.Pooler
	scenarios  []scenario.Scenario
	tools      []report.Fact // the load generators
	loadBefore float64       // load average

	traces []string // paths

	hits       []report.Hits
	hitFigures []report.Figure
	runs       []report.Run
	readings   []report.Reading
	notes      []string
	raw        strings.Builder
}

// postgresSettings keep the server's own housekeeping from falling into one contender's run.
func postgresSettings() map[string]string {
	return map[string]string{"shared_buffers": "256MB", "autovacuum": "off", "checkpoint_timeout": "1h", "max_wal_size": "8GB"}
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "%4.0fs  "+format+"\n", append([]any{time.Since(b.begin).Seconds()}, args...)...)
}

// setUp starts everything and fills it.
func (b *bench) setUp(ctx context.Context) error {
	if b.opts.traces != "" { // before anything takes time
		var err error
		if b.traces, err = hitratio.Files(b.opts.traces); err != nil {
			return err
		}
	}
	load, err := loadAverage()
	if err != nil {
		return err
	}
	b.loadBefore = load
	if err := raiseFileLimit(); err != nil {
		b.note(err.Error())
	}
	if cpus := runtime.NumCPU(); load > float64(cpus) {
		b.note(fmt.Sprintf("the machine was busy before the start: load average %.2f on %d processors. Such numbers show that it works, not how well.", load, cpus))
	}
	if b.dir, err = os.MkdirTemp("", "outrigger-bench-"); err != nil {
		return fmt.Errorf("create temporary directory: %w", err)
	}
	b.say("building outrigger %s", b.tree.commit)
	program, err := contender.BuildOutrigger(ctx, b.tree.root, b.dir, b.tree.commit)
	if err != nil {
		return err
	}
	b.say("starting PostgreSQL with pgbench's tables, scale %d", scale)
	o := devpg.Options{Settings: postgresSettings(),
		MaxConnections: b.opts.plan().direct + 7*contender.PoolSize + 20} // clients without a pooler, poolers and a scenario's, others
	if b.opts.split {
		o.Replicas, o.MaxConnections = replicas, 3*o.MaxConnections
	}
	b.servers, err = devpg.Start(ctx, o)
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := b.servers.Pgbench(ctx, "-i", "-q", "-s", strconv.Itoa(scale)); err != nil {
		return fmt.Errorf("create pgbench's tables: %w", err)
	}
	if b.postgres, err = contender.OfServers(ctx, b.servers); err != nil {
		return err
	}
	if err := b.startContenders(ctx, program); err != nil {
		return err
	}
	if err := b.chooseWorkloads(ctx); err != nil {
		return err
	}
	b.warmUp(ctx)
	return ctx.Err()
}

// note says something now and in the report.
func (b *bench) note(text string) {
	b.notes = append(b.notes, text)
	b.say("%s", text)
}

func (b *bench) leaveOut(why string) {
	b.note("not run: " + why)
}

// chooseWorkloads finds the generators and takes what they can do and the caller wants.
func (b *bench) chooseWorkloads(ctx context.Context) error {
	p := b.opts.plan()
	var all []load.Workload
	pgbench := filepath.Join(b.servers.BinDir(), "pgbench") // not the wrapper script that Debian has in PATH
	if _, err := os.Stat(pgbench); err != nil {
		if pgbench, err = contender.Find("", "pgbench", "postgresql-15"); err != nil {
			b.leaveOut(err.Error())
		}
	}
	if pgbench != "" {
		g := load.Pgbench{Program: pgbench, User: devpg.User, Password: contender.Password, Database: devpg.Database, Seconds: p.seconds}
		if b.opts.split {
			all = append(all, load.SplitWorkloads(g)...)
		} else {
			all = append(all, load.PoolerWorkloads(g, p.clients)...)
		}
		b.addTool(ctx, "pgbench", pgbench, fmt.Sprintf("scale %d, %d s a run, at most 2 threads; with 1,000 clients one more second, "+
			"to log in, and one thread: then it is the heaviest process itself, and ratios lean "+
			"towards 1; so they do with SCRAM, for which it derives keys anew each time", scale, p.seconds))
		p.sizes.Rows = scale * 100_000
		scenarios := scenario.All(p.sizes, b.servers, g)
		if b.opts.split {
			scenarios = []scenario.Scenario{scenario.Scaling(b.servers, g)}
		} else {
			scenarios = append(scenarios, scenario.Caches(p.sizes)...)
			scenarios = append(scenarios, scenario.Clusters(p.sizes)...)
		}
		for _, s := range scenarios {
			if b.opts.only.MatchString(s.Name) {
				b.scenarios = append(b.scenarios, s)
			}
		}
	}
	redisBenchmark, err := contender.Find("", "redis-benchmark", "redis-tools")
	switch {
	case b.opts.split:
	case err != nil:
		b.leaveOut(err.Error())
	default:
		g := load.RedisBenchmark{Program: redisBenchmark, Clients: 50, Size: 100, Keys: 100_000}
		all = append(all, load.CacheWorkloads(g, p.redisScale)...)
		b.addTool(ctx, "redis-benchmark", redisBenchmark, fmt.Sprintf("one thread, values of %d bytes, %d keys", g.Size, g.Keys))
	}
	b.table = all
	wanted := p.workloads
	if b.opts.only.String() != "" {
		wanted = b.opts.only
	}
	for _, w := range all {
		if wanted.MatchString(w.Name) {
			b.workloads = append(b.workloads, w)
		}
	}
	if len(b.workloads)+len(b.scenarios) == 0 && !b.opts.only.MatchString(hitRatios) {
		return errors.New("nothing to run")
	}
	for _, why := range inabilities(b.contenders, b.workloads) {
		b.leaveOut(why)
	}
	return nil
}

// inabilities tells what contenders cannot run, and why: a line for each reason.
func inabilities(contenders []*contender.Contender, workloads []load.Workload) []string {
	var lines []string
	for _, c := range contenders {
		var reasons []string
		names := map[string][]string{}
		for _, w := range workloads {
			why := c.Cannot(w)
			if why == "" || c.Addr(w.Service) == "" {
				continue
			}
			if names[why] == nil {
				reasons = append(reasons, why)
			}
			names[why] = append(names[why], w.Name)
		}
		for _, why := range reasons {
			which := strings.Join(names[why], ", ")
			if n := len(names[why]); n > 5 {
				which = fmt.Sprintf("%d workloads, from %s to %s,", n, names[why][0], names[why][n-1])
			}
			lines = append(lines, fmt.Sprintf("%s on %s: %s", which, c.Name, why))
		}
	}
	return lines
}

func (b *bench) addTool(ctx context.Context, name, program, flags string) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	version, _, _ := strings.Cut(string(out), "\n")
	if err != nil {
		version = "version unknown"
	}
	b.tools = append(b.tools, report.Fact{Name: name, Value: strings.TrimSpace(version) + "; " + flags})
}

// warmUp opens the pools and fills the caches, also for those who chose a workload that only reads. What fails here fails
// again where it counts.
func (b *bench) warmUp(ctx context.Context) {
	if len(b.workloads) == 0 {
		return // scenarios have processes of their own
	}
	for _, c := range b.contenders {
		b.say("warming up %s", c.Label())
		for _, w := range warmUps(b.table, c) {
			if _, err := w.Run(ctx, c.Addr(w.Service)); err != nil {
				b.say("warming up %s: %v", c.Name, err)
			}
		}
	}
}

// enough clients open every pool.
const enough = 256

// warmUps picks a select of many clients that a contender takes, or what it takes instead, and the last SET, which writes
// most keys.
func warmUps(all []load.Workload, c *contender.Contender) []load.Workload {
	var chosen []load.Workload
	for _, prefix := range []string{"select simple", "connect SCRAM", "SET"} {
		for _, w := range slices.Backward(all) {
			if strings.HasPrefix(w.Name, prefix) && w.Clients <= enough && takes(c, w) {
				chosen = append(chosen, w)
				break
			}
		}
	}
	return chosen
}

// rounds puts every workload on every contender, round by round, until the plan is done or the time is up.
func (b *bench) rounds(ctx context.Context) error {
	p := b.opts.plan()
	var last time.Duration // of the latest round
	for round := 1; round <= p.rounds; round++ {
		started := time.Now()
		if started.Sub(b.begin)+last > p.limit {
			b.leaveOut(fmt.Sprintf("rounds %d to %d: the time of %v was up", round, p.rounds, p.limit))
			return nil
		}
		for _, w := range b.workloads {
			if time.Since(b.begin) > p.limit {
				b.leaveOut(fmt.Sprintf("round %d from %q on: the time of %v was up", round, w.Name, p.limit))
				return nil
			}
			var said []string
			for _, c := range turn(b.contenders, round) {
				if !takes(c, w) {
					continue
				}
				r := b.one(ctx, round, w, c)
				if err := ctx.Err(); err != nil {
					return fmt.Errorf("interrupted: %w", err)
				}
				b.runs = append(b.runs, r)
				said = append(said, fmt.Sprintf("%s %s", c.Name, cmp.Or(r.Err, fmt.Sprintf("%.0f/s", r.Rate))))
			}
			b.say("round %d/%d  %-28s %s", round, p.rounds, w.Name, strings.Join(said, ", "))
		}
		last = time.Since(started)
	}
	return nil
}

// runScenarios runs each on every pooler, in turn.
func (b *bench) runScenarios(ctx context.Context) error {
	plan := b.opts.plan()
	for round := range plan.repetitions {
		if round > 0 && time.Since(b.begin) > plan.limit/3 {
			b.leaveOut(fmt.Sprintf("scenarios from repetition %d on: the rounds need their time too", round+1))
			return nil
		}
		for _, s := range b.scenarios {
			if s.Once && round > 0 {
				continue
			}
			who := b.poolers
			switch {
			case s.Cluster:
				who = b.clusters
			case s.Cache:
				who = b.caches
			}
			if s.Ours {
				who = slices.DeleteFunc(slices.Clone(who), func(p scenario.Pooler) bool { return p.Name != contender.Outrigger })
			}
			for _, p := range turn(who, round+1) {
				readings, raw := s.Run(ctx, p, round+1)
				if err := ctx.Err(); err != nil {
					return fmt.Errorf("interrupted: %w", err)
				}
				b.readings = append(b.readings, readings...)
				fmt.Fprintf(&b.raw, "=== scenario %s, repetition %d, %s\n%s\n", s.Name, round+1, p.Name, raw)
				var said []string
				for _, r := range readings {
					said = append(said, fmt.Sprintf("%s %s", r.Figure, cmp.Or(r.Err, fmt.Sprintf("%.1f", r.Value))))
				}
				b.say("%s on %s:\n       %s", s.Name, p.Name, strings.Join(said, "\n       "))
			}
		}
	}
	return nil
}

// turn gives the contenders, beginning with another one in each round: being first must not be anybody's advantage.
func turn[T any](all []T, round int) []T {
	first := (round - 1) % len(all)
	return slices.Concat(all[first:], all[:first])
}

// one measures a workload on a contender.
func (b *bench) one(ctx context.Context, round int, w load.Workload, c *contender.Contender) report.Run {
	r := report.Run{Round: round, Workload: w.Name, Contender: c.Name}
	servers := b.postgres
	if w.Service == load.Cache {
		servers = nil
	}
	clock := startClock(c, servers)
	o, err := w.Run(ctx, c.Addr(w.Service))
	used, clockErr := clock.stop(o.Connecting)
	err = errors.Join(err, clockErr)
	r.CPU, r.ServerCPU, r.Memory, r.Servers = used.CPU, used.Servers, used.Memory, used.Busy
	r.Operations, r.Failed, r.Rate, r.Average = o.Operations, o.Failed, o.Rate, o.Average
	r.P50, r.P95, r.P99, r.P999 = o.P50, o.P95, o.P99, o.P999
	if err != nil {
		r.Err = err.Error()
	}
	fmt.Fprintf(&b.raw, "=== round %d, %s, %s\n$ %s\n%s", round, w.Name, c.Name, o.Command, o.Output)
	if err != nil {
		fmt.Fprintf(&b.raw, "error: %v\n", err)
	}
	fmt.Fprintf(&b.raw, "cpu of the process %v, of PostgreSQL %v; at most %d KiB resident, %d servers at work\n\n", r.CPU, r.ServerCPU, r.Memory>>10, r.Servers)
	return r
}

// logs are what the contenders printed, for the raw output.
func (b *bench) logs() string {
	var s strings.Builder
	for _, c := range b.contenders {
		if log := c.Log(); log != "" {
			fmt.Fprintf(&s, "=== log of %s\n%s\n\n", c.Label(), log)
		}
	}
	return s.String()
}

// stop ends everything, in the reverse order of the start.
func (b *bench) stop() {
	for _, c := range slices.Backward(b.contenders) {
		c.Stop()
	}
	if b.postgres != nil {
		b.postgres.Close()
	}
	if b.servers != nil {
		if err := b.servers.Stop(); err != nil {
			b.say("stop PostgreSQL: %v", err)
		}
	}
	if b.dir != "" {
		if err := os.RemoveAll(b.dir); err != nil {
			b.say("remove temporary directory: %v", err)
		}
	}
}
