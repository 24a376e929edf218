package main

import (
	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/report"
)

// targets say what the pooler is meant to be beside PgBouncer; those of the scenarios are with their figures. Of the cache
// none is asked.
func (b *bench) targets() []report.Target {
	if b.opts.split {
		return b.splitTargets()
	}
	var all []report.Target
	for _, w := range b.workloads {
		if w.Half != load.Pooler {
			continue
		}
		cannot := b.cannot(contender.PgBouncer, w)
		for _, goal := range goals(w.Clients) {
			all = append(all, report.Target{Workload: w.Name, Metric: goal.metric, Against: contender.PgBouncer, Bound: goal.bound, Cannot: cannot})
		}
	}
	return all
}

type bound struct {
	metric string
	bound  float64
}

// goals depend on the number of clients: one waits, sixteen keep the servers busy, more of them queue.
func goals(clients int) []bound {
	switch {
	case clients <= 1:
		return []bound{{report.AddedLatency, 1}}
	case clients < 64:
		return []bound{{report.CPU, 1}, {report.Rate, 1}}
	default:
		return []bound{{report.CPU, 1}, {report.Rate, 1.05}, {report.P99, 1}}
	}
}

// cannot tells whether a contender cannot run a workload; a note says why.
func (b *bench) cannot(name string, w load.Workload) bool {
	for _, c := range b.contenders {
		if c.Name == name {
			return c.Cannot(w) != ""
		}
	}
	return true
}
