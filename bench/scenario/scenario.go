// Package scenario measures what a load generator's rate does not show: how fast a pooler starts, what thousands of idle
// clients cost it, a storm of logins, and streams larger than its buffers. Every scenario starts processes of its own.
//
//	scenario.go  what a scenario is, and running one
//	start.go     the program's size, start and resident memory
//	crowd.go     thousands of clients that hold their connections
//	storm.go     logins while queries run
//	stream.go    a large result that is read slowly, a large COPY
//	openloop.go  requests that come when they are due
//	scaling.go   reads on a primary alone, and on its replicas too
//	cluster.go   three nodes that share a cache
//	cache.go     what a cache takes for each key, and how it reads while its heap is collected
package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/report"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// Sizes are how much of each.
type Sizes struct {
	Few     int           // clients whose memory is weighed first; 0: none
	Idle    int           // clients whose memory is weighed
	Held    int           // clients in all
	Settle  time.Duration // from the last query of the idle clients until they are weighed
	Starts  int
	Logins  int           // of a storm
	Calm    time.Duration // before the storm
	Probe   int           // seconds that queries run, before and during the storm
	Slow    time.Duration // how long a client reads slowly
	Waiting int64         // bytes of the result that it reads
	Copied  int64         // bytes sent by COPY

	// Of open loops.
	Asking    int           // clients that offer shares of the most that is answered
	Open      time.Duration // of each share
	Requests  int           // per second, of Held clients
	Sustained time.Duration
	Rows      int // of pgbench_accounts

	// Of caches.
	Stored     int           // keys of 20 bytes with values of 100, whose memory is weighed
	Heap       int64         // bytes of strings that are held while the heap is collected; 0: it is not tried
	Collected  time.Duration // for which they are read
	Shared     time.Duration // for which three nodes are read and written
	SharedKeys int
}

// Pooler can be started any number of times.
type Pooler struct {
	Name    string
	Program string // path
	Start   func(context.Context, contender.Options) (Process, error)
}

// Process is what a scenario needs of a contender.
type Process interface {
	Addr(load.Service) string
	Memory() (int64, error)
	CPU() (time.Duration, error) // used so far
	Ready() time.Duration
	Log() string
	Stop()
}

// Scenario takes one or more figures of a pooler.
type Scenario struct {
	Name    string
	Figures []report.Figure
	Once    bool // long, and steady: not repeated
	Cache   bool // of caches, and not of poolers
	Cluster bool // of caches that several nodes share
	Ours    bool // says nothing of rivals
	run     func(context.Context, Pooler, *Values) error
}

// Values are what a run has found, by the name of the figure.
type Values struct {
	readings map[string]float64
	raw      string // for the raw output
}

func (v *Values) set(f report.Figure, value float64) { v.readings[f.Name] = value }

func (v *Values) say(format string, args ...any) { v.raw += fmt.Sprintf(format+"\n", args...) }

// limit ends a scenario that hangs.
const limit = 5 * time.Minute

// Run runs a scenario once on a pooler. When it fails, every figure gets the error: a number that was taken on the way
// says little. raw is what is worth keeping beside the numbers.
func (s Scenario) Run(ctx context.Context, p Pooler, round int) (readings []report.Reading, raw string) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %v", limit))
	defer cancel()
	v := Values{readings: map[string]float64{}}
	err := s.run(ctx, p, &v)
	for _, f := range s.Figures {
		value, ok := v.readings[f.Name]
		r := report.Reading{Figure: f.Name, Contender: p.Name, Round: round, Value: value}
		switch {
		case err != nil:
			r.Err = err.Error()
		case !ok:
			r.Err = "no number was taken"
		}
		readings = append(readings, r)
	}
	if err != nil {
		v.say("error: %v", err)
	}
	return readings, v.raw
}

// All are the scenarios; the storm only if there are logins. pgbench is the one that probes during it.
func All(s Sizes, servers *devpg.Cluster, pgbench load.Pgbench) []Scenario {
	all := []Scenario{start(s), crowd(s), slowReader(s), copyIn(s, servers), openLoop(s), sustained(s)}
	if s.Logins > 0 {
		all = append(all, storm(s, servers, pgbench))
	}
	return all
}

// started runs f on a pooler that was started for it.
func started(ctx context.Context, p Pooler, o contender.Options, f func(Process) error) error {
	c, err := p.Start(ctx, o)
	if err != nil {
		return err
	}
	defer c.Stop()
	if err := f(c); err != nil {
		return fmt.Errorf("%w; its log: %s", err, c.Log())
	}
	return nil
}

func credentials() *auth.Credentials { return auth.NewCredentials(contender.User, contender.Password) }

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
