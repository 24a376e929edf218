package load

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Probe is a steady, light load that shows what else happens to a pooler: pgbench in a process of its own, at a fixed rate.
// A latency counts from when the transaction was due, so that what waits behind a slow one counts too.
type Probe struct {
	Pgbench
	Clients int
	Rate    int // transactions per second of all clients
}

// Latencies are a probe's transactions, by when they ended.
type Latencies struct{ entries []entry }

// Run probes for as long as p.Seconds says.
func (p Probe) Run(ctx context.Context, addr string) (Latencies, Outcome, error) {
	var o Outcome
	logs, err := os.MkdirTemp("", "outrigger-bench-log-")
	if err != nil {
		return Latencies{}, o, fmt.Errorf("create directory for the transaction log: %w", err)
	}
	defer os.RemoveAll(logs)
	out, err := p.execute(ctx, &o, addr, p.Seconds, []string{"-n", "-b", "select-only", "-c", strconv.Itoa(p.Clients), "-j", "1",
		"-T", strconv.Itoa(p.Seconds), "-R", strconv.Itoa(p.Rate), "--log", "--log-prefix=" + filepath.Join(logs, "log")})
	if err != nil {
		return Latencies{}, o, err
	}
	if err := o.parsePgbench(out); err != nil {
		return Latencies{}, o, err
	}
	if o.Failed > 0 {
		return Latencies{}, o, fmt.Errorf("%d transactions failed", o.Failed)
	}
	entries, err := readLogs(logs)
	return Latencies{entries}, o, err
}

// P99 is the percentile of the transactions that ended between two moments.
func (l Latencies) P99(from, to time.Time) (time.Duration, error) {
	var within []time.Duration
	for _, e := range l.entries {
		if !e.end.Before(from) && e.end.Before(to) {
			within = append(within, e.latency)
		}
	}
	if len(within) < leastForP99 {
		return 0, fmt.Errorf("%d transactions are too few for a percentile, of %d in all", len(within), len(l.entries))
	}
	return percentile(within, 0.99)
}

// leastForP99 keeps a percentile from being the slowest of a few.
const leastForP99 = 100
