// Package load is the table of workloads, and the load generators behind it: pgbench, redis-benchmark, and clients of our own
// for crowds, storms and large results.
package load

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Service is what a workload is put on. One process may serve several, and another of the same name the rest.
type Service string

// The services.
const (
	Pooler    Service = "pooler"
	SmallPool Service = "pooler with 4 servers"
	Logins    Service = "pooler that asks for SCRAM-SHA-256"
	Cache     Service = "cache"
	Gossip    Service = "gossip of a cache" // no load is put on it: other nodes join there
)

// Workload is one line of the tables: a load that every contender of its service gets in turn.
type Workload struct {
	Name     string
	Service  Service
	Prepared bool // uses named prepared statements: in transaction mode not every pooler can
	RESP     bool // is for caches that speak it
	Loops    bool // shows what more event loops give
	Clients  int  // at a time

	// Unbatched asks for Outrigger without batches too: what must not become worse by them.
	Unbatched bool

	// Run puts the load on the server at addr (host:port). The outcome holds the command line and what the generator
	// printed even when there is an error.
	Run func(ctx context.Context, addr string) (Outcome, error)
}

// Percentiles are of latencies; one that a generator does not tell is 0.
type Percentiles struct{ P50, P95, P99, P999 time.Duration }

// Outcome is what a generator saw.
type Outcome struct {
	Operations int64         // transactions of pgbench, commands of redis-benchmark
	Failed     int64         // of them, those that ended in an error
	Rate       float64       // operations per second, without the time to connect
	Average    time.Duration // latency
	Percentiles
	Connecting time.Duration // from the generator's start until all clients were connected and the clock of Rate began

	Command string
	Output  string
}

// waitDelay is how long a killed generator's pipes may stay open.
const waitDelay = time.Second

// execute runs a generator to its end, at most limit, with env besides our own environment, and keeps all it printed in o.
func (o *Outcome) execute(ctx context.Context, limit time.Duration, env []string, program string, args ...string) (stdout string, err error) {
	o.Command = strings.Join(append([]string{filepath.Base(program)}, args...), " ")
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %v", limit))
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, waitDelay
	cmd.Env = append(os.Environ(), env...)
	err = cmd.Run()
	o.Output = out.String() + errs.String()
	switch {
	case err == nil:
		return out.String(), nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s: %w", filepath.Base(program), context.Cause(ctx))
	default:
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(program), err, lastLines(errs.String()+out.String()))
	}
}

// lastLines keeps an error readable: a generator with many clients says the same many times.
func lastLines(s string) string {
	const keep = 3
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-keep):], "; ")
}
