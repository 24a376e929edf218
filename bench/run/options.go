package main

import (
	"flag"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/scenario"
)

// options are what the caller may choose.
type options struct {
	quick     bool
	limit     time.Duration  // 0: as long as planned
	heap      int            // MiB; 0: none is collected
	split     bool           // reads on replicas, instead of the pooler and the cache
	only      *regexp.Regexp // names of workloads
	pgbouncer string         // path; empty: the one in PATH
	pgpool    string
	haproxy   string
	redis     string
	memcached string
	traces    string // a directory of them, or one; empty: only those that are drawn
}

// plan is how much is measured. A round that would not end within the limit is not begun, so that slow machines get
// fewer rounds instead of longer runs.
type plan struct {
	limit       time.Duration // from the start of the program to the end of the last round
	rounds      int
	workloads   *regexp.Regexp // names of those that run
	seconds     int            // of a run of pgbench
	clients     []int          // of pgbench
	direct      int            // most clients without a pooler
	redisScale  int            // factor of redis-benchmark's requests
	repetitions int            // of the scenarios
	drawn       int            // accesses of a drawn trace
	accesses    int            // most of a trace in a file
	sizes       scenario.Sizes
}

var (
	everyWorkload  = regexp.MustCompile("")
	quickWorkloads = regexp.MustCompile(`^(select simple clients=(1|64|256|64 pool=4)|select prepared clients=64|tpc-b simple clients=16|` +
		`9 reads to 1 write clients=64|connect trust clients=16|GET pipeline=(1|16) clients=50|our 9 GET to 1 SET, 20000/s, pipeline=1 clients=50)$`)
)

func (o options) plan() plan {
	p := plan{limit: 43 * time.Minute, rounds: 10, workloads: everyWorkload, seconds: 2, clients: []int{1, 16, 64, 256, 1000, 5000}, direct: 64,
		redisScale: 2, repetitions: 2, drawn: 1_000_000, accesses: 64 << 20,
		sizes: scenario.Sizes{Few: 1000, Idle: 10_000, Held: 10_000, Settle: 15 * time.Second, Starts: 9, Logins: 2000, Calm: 4 * time.Second, Probe: 12,
			Slow: 20 * time.Second, Waiting: 5 << 30, Copied: 1 << 30, Asking: 256, Open: 5 * time.Second, Requests: 5000, Sustained: time.Minute, Stored: 5_000_000, Heap: int64(o.heap) << 20, Collected: 20 * time.Second, Shared: 5 * time.Second, SharedKeys: 100_000}}
	if o.quick {
		p.limit, p.rounds, p.workloads, p.seconds, p.direct, p.redisScale, p.repetitions = 195*time.Second, 3, quickWorkloads, 1, 1, 1, 1
		p.drawn, p.accesses = 200_000, 100_000
		p.sizes.Few, p.sizes.Settle, p.sizes.Starts, p.sizes.Logins = 0, 5*time.Second, 3, 0 // no storm
		p.sizes.Slow, p.sizes.Waiting, p.sizes.Copied = 2*time.Second, 256<<20, 128<<20
		p.sizes.Open, p.sizes.Sustained = time.Second, 4*time.Second
		p.sizes.Stored, p.sizes.Heap, p.sizes.Shared = 200_000, 0, time.Second
	}
	if o.limit > 0 {
		p.limit = o.limit
	}
	return p
}

// parseOptions reads flags and the environment; what is wrong is told on stderr.
func parseOptions(args []string, getenv func(string) string, stderr io.Writer) (options, error) {
	quick := getenv("QUICK")
	o := options{pgbouncer: getenv("PGBOUNCER"), pgpool: getenv("PGPOOL"), haproxy: getenv("HAPROXY"), redis: getenv("REDIS"), memcached: getenv("MEMCACHED"), traces: getenv("TRACES")}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.quick, "quick", quick != "" && quick != "0", "three short rounds of some of the workloads (QUICK=1)")
	flags.BoolVar(&o.split, "split", false, "measure reads and writes apart, on a primary with two replicas, beside pgpool-II")
	flags.DurationVar(&o.limit, "limit", 0, "begin no round that would end later than this after the start (default: 43m, with -quick 3m15s)")
	flags.IntVar(&o.heap, "heap", 0, "read from a cache that holds so many MiB of strings while its heap is collected (4096 needs 12 GiB of memory)")
	only := flags.String("only", "", "run the workloads whose names match this regular expression")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", flags.Arg(0))
		fmt.Fprintln(stderr, "bench:", err)
		return o, err
	}
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		fmt.Fprintln(stderr, "bench: -only:", err)
		return o, err
	}
	return o, nil
}
