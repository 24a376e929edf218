package main

import (
	"context"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/report"
)

// replicas is how many a cluster has whose reads are split off.
const replicas = 2

// splitters start Outrigger as it splits reads off, the same with reads on the primary, the same without read your
// writes, and pgpool-II.
func (b *bench) splitters(ctx context.Context, program string) []start {
	outrigger := func(name string, env ...string) start {
		return func() (*contender.Contender, error) {
			fixed := contender.Options{Name: name, Env: env, Replicas: true}
			run := func(ctx context.Context, o contender.Options) (*contender.Contender, error) {
				o.Name, o.Env, o.Replicas = fixed.Name, fixed.Env, fixed.Replicas
				return contender.StartOutrigger(ctx, program, b.tree.commit, b.dir, b.servers, o)
			}
			if name == contender.Outrigger {
				return b.startPooler(ctx, name, program, run)
			}
			return run(ctx, contender.Options{})
		}
	}
	return []start{
		func() (*contender.Contender, error) {
			path, err := contender.Find(b.opts.pgpool, "pgpool", "pgpool2", "/usr/sbin/pgpool")
			if err != nil {
				return nil, err
			}
			return b.startPooler(ctx, contender.Pgpool, path, func(ctx context.Context, _ contender.Options) (*contender.Contender, error) {
				return contender.StartPgpool(ctx, path, b.servers)
			})
		},
		outrigger(contender.Unsplit, "OUTRIGGER_ROUTE=primary"),
		outrigger(contender.Eventual, "OUTRIGGER_CONSISTENCY=eventual"),
		outrigger(contender.Outrigger),
	}
}

// splitTargets say what splitting reads off may cost, and what it should be beside pgpool-II.
func (b *bench) splitTargets() []report.Target {
	var all []report.Target
	for _, w := range b.workloads {
		cannot := b.cannot(contender.Pgpool, w)
		all = append(all,
			report.Target{Workload: w.Name, Metric: report.Rate, Against: contender.Pgpool, Bound: 1, Cannot: cannot},
			report.Target{Workload: w.Name, Metric: report.CPU, Against: contender.Pgpool, Bound: 1, Cannot: cannot},
			report.Target{Workload: w.Name, Metric: report.P99, Against: contender.Pgpool, Bound: 1, Cannot: cannot},
			report.Target{Workload: w.Name, Metric: report.Rate, Against: contender.Unsplit, Bound: 0.95},
			report.Target{Workload: w.Name, Metric: report.Rate, Against: contender.Eventual, Bound: 0.97})
	}
	return all
}
