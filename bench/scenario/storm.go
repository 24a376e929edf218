package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/report"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// The steady load during a storm: far less than the pooler can do, or its own queue would hide the storm.
const (
	probeClients = 8
	probeRate    = 800 // transactions per second
	probeWarmUp  = time.Second
	leastStorm   = 250 * time.Millisecond // enough for a percentile, if the logins were done sooner
)

// storm lets all of a crowd log in at once, by SCRAM-SHA-256, while a steady load runs, and compares the load's latency
// before and meanwhile. The same load on a direct connection at the same time is the control: what it suffers is the fault
// of the machine, which the clients share too, and not of the pooler.
func storm(s Sizes, servers *devpg.Cluster, pgbench load.Pgbench) Scenario {
	name := fmt.Sprintf("storm of %d SCRAM logins", s.Logins)
	factor := report.Figure{Name: name + ": p99 of queries, times its value before", Unit: "×", AtMost: 3}
	before := report.Figure{Name: name + ": p99 before", Unit: "ms", NoGoal: true}
	during := report.Figure{Name: name + ": p99 during", Unit: "ms", NoGoal: true}
	control := report.Figure{Name: name + ": p99 of direct queries meanwhile, times its value before", Unit: "×", Better: report.Neither, NoGoal: true}
	lasted := report.Figure{Name: name + ": duration", Unit: "s", NoGoal: true}
	failures := report.Figure{Name: name + ": failed logins"}
	pgbench.Seconds = s.Probe
	probe := load.Probe{Pgbench: pgbench, Clients: probeClients, Rate: probeRate}

	figures := []report.Figure{factor, before, during, control, lasted, failures}
	return Scenario{Name: "storm", Figures: figures, run: func(ctx context.Context, p Pooler, v *Values) error {
		return started(ctx, p, contender.Options{Service: load.Logins}, func(c Process) error {
			queries, direct := probing(ctx, probe, c.Addr(load.Logins)), probing(ctx, probe, servers.Addr(0))
			t, err := thunder(ctx, c.Addr(load.Logins), s)
			pooled, straight := <-queries, <-direct
			v.say("$ %s\n%s", pooled.outcome.Command, pooled.outcome.Output)
			if err := errors.Join(err, pooled.err, straight.err); err != nil {
				return err
			}
			if t.err != nil {
				v.say("%v", t.err)
			}
			calm, rough, err := t.compare(pooled.latencies, s.Calm)
			if err != nil {
				return err
			}
			calmDirect, roughDirect, err := t.compare(straight.latencies, s.Calm)
			if err != nil {
				return fmt.Errorf("direct queries: %w", err)
			}
			v.say("p99 before and during: %v, %v; direct: %v, %v", calm, rough, calmDirect, roughDirect)
			v.set(before, calm.Seconds()*1e3)
			v.set(during, rough.Seconds()*1e3)
			v.set(factor, float64(rough)/float64(calm))
			v.set(control, float64(roughDirect)/float64(calmDirect))
			v.set(lasted, t.end.Sub(t.begin).Seconds())
			v.set(failures, float64(t.failed))
			return nil
		})
	}}
}

// probed is what came of a probe.
type probed struct {
	latencies load.Latencies
	outcome   load.Outcome
	err       error
}

// probing starts a probe; its end comes through the channel.
func probing(ctx context.Context, p load.Probe, addr string) <-chan probed {
	done := make(chan probed, 1)
	go func() {
		l, o, err := p.Run(ctx, addr)
		done <- probed{l, o, err}
	}()
	return done
}

// squall is when a storm was, and whom it left outside.
type squall struct {
	begin, end time.Time
	failed     int
	err        error // the first one's
}

// thunder waits until the calm has been seen, and then lets the clients come.
func thunder(ctx context.Context, addr string, s Sizes) (squall, error) {
	all := load.NewCrowd(addr, credentials())
	defer all.Close()
	// The first one derives SCRAM's keys for the rest, and shows that the pooler lets us in.
	if _, err := all.Join(ctx, 1, 1, ""); err != nil {
		return squall{}, err
	}
	select {
	case <-time.After(probeWarmUp + s.Calm):
	case <-ctx.Done():
		return squall{}, context.Cause(ctx)
	}
	t := squall{begin: time.Now()}
	t.failed, t.err = all.Join(ctx, s.Logins, s.Logins, "")
	t.end = time.Now()
	return t, nil
}

// compare gives the 99th percentiles of the calm before and of the storm.
func (t squall) compare(l load.Latencies, calmFor time.Duration) (calm, rough time.Duration, err error) {
	calm, err = l.P99(t.begin.Add(-calmFor), t.begin)
	if err != nil {
		return 0, 0, fmt.Errorf("before the storm: %w", err)
	}
	rough, err = l.P99(t.begin, t.begin.Add(max(t.end.Sub(t.begin), leastStorm)))
	if err != nil {
		return 0, 0, fmt.Errorf("during the storm: %w", err)
	}
	return calm, rough, nil
}
