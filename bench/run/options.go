package main

import (
	"flag"
	"fmt"
	"io"
	"regexp"
	"time"
)

// options are what the caller may choose.
type options struct {
	quick     bool
	only      *regexp.Regexp // names of workloads
	pgbouncer string         // path; empty: the one in PATH
	redis     string
}

// plan is how much is measured. A round that would not end within the limit is not begun, so that slow machines get
// fewer rounds instead of longer runs.
type plan struct {
	limit      time.Duration // from the start of the program to the end of the last round
	rounds     int
	seconds    int   // of a run of pgbench
	clients    []int // of pgbench's read-only script
	redisScale int   // factor of redis-benchmark's requests
}

func (o options) plan() plan {
	if o.quick {
		return plan{limit: 160 * time.Second, rounds: 3, seconds: 1, clients: []int{1, 16, 64}, redisScale: 1}
	}
	return plan{limit: 870 * time.Second, rounds: 10, seconds: 2, clients: []int{1, 16, 64, 256}, redisScale: 2}
}

// parseOptions reads flags and the environment; what is wrong is told on stderr.
func parseOptions(args []string, getenv func(string) string, stderr io.Writer) (options, error) {
	quick := getenv("QUICK")
	o := options{pgbouncer: getenv("PGBOUNCER"), redis: getenv("REDIS")}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.quick, "quick", quick != "" && quick != "0", "three short rounds (QUICK=1)")
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
