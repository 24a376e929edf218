package main

import (
	"strings"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/report"
)

// targets say what the pooler is meant to be beside PgBouncer, and what batches and a small pool may cost; those of the
// scenarios are with their figures.
func (b *bench) targets() []report.Target {
	if b.opts.split {
		return b.splitTargets()
	}
	var all []report.Target
	for _, w := range b.workloads {
		for _, g := range goals(w) {
			all = append(all, report.Target{Workload: w.Name, Metric: g.metric, Against: g.against, Bound: g.bound, Cannot: b.cannot(g.against, w)})
		}
		// The same load on a pool of twenty is the rival of one on four.
		if large, ok := strings.CutSuffix(w.Name, " pool=4"); ok {
			all = append(all, report.Target{Workload: w.Name, Metric: report.Rate, Against: contender.Outrigger, Of: large, Bound: 0.95})
		}
		if two := contender.OnLoops(2); w.Loops && !b.cannot(two, w) && strings.Contains(w.Name, shallow) {
			all = append(all, report.Target{Workload: w.Name, Who: two, Metric: report.Rate, Against: contender.Outrigger, Bound: 1})
		}
	}
	return all
}

type bound struct {
	against string
	metric  string
	bound   float64
}

// goals of a workload. Of short reads one client waits, sixteen keep the servers busy, and more of them queue and share:
// then PostgreSQL has less to do, too.
func goals(w load.Workload) []bound {
	if w.Service == load.Cache {
		return cacheGoals(w)
	}
	const rival, alone = contender.PgBouncer, contender.Unbatched
	read, tpcb := strings.HasPrefix(w.Name, "select "), strings.HasPrefix(w.Name, "tpc-b ")
	var all []bound
	switch {
	case !read && !tpcb:
	case w.Clients <= 1:
		all = []bound{{rival, report.AddedLatency, 1}}
	case w.Clients < 64:
		all = []bound{{rival, report.CPU, 1}, {rival, report.Rate, 1}}
	case tpcb:
		all = []bound{{rival, report.CPU, 1}, {rival, report.Rate, 1.05}, {rival, report.P99, 1}}
	case w.Clients <= 1000:
		all = []bound{{rival, report.CPU, 0.55}, {rival, report.Rate, 1.9}, {rival, report.P99, 0.7}, {rival, report.ServerCPU, 1}}
	}
	if w.Unbatched {
		all = append(all, bound{alone, report.Rate, 0.98})
	}
	if w.Unbatched && read {
		all = append(all, bound{alone, report.CPU, 1.02})
	}
	return all
}

// shallow is in the names of workloads without pipelining.
const shallow = "pipeline=1 "

// cacheGoals are of the cache beside redis-server, with one thread each. Without pipelining it is the system calls that
// cost, and with it the commands. In an open loop the rate is given.
func cacheGoals(w load.Workload) []bound {
	const rival = contender.Redis
	words := strings.Fields(strings.TrimPrefix(w.Name, "our "))
	text := words[0] == "GET" || words[0] == "SET" || words[0] == "9"
	switch {
	case !text:
		return []bound{{rival, report.Rate, 1}}
	case words[0] == "9" && strings.Contains(w.Name, shallow):
		return []bound{{rival, report.CPU, 1}, {rival, report.P99, 1}}
	case words[0] == "9":
		return []bound{{rival, report.CPU, 0.75}, {rival, report.P99, 1}}
	case strings.Contains(w.Name, shallow):
		return []bound{{rival, report.Rate, 1}, {rival, report.CPU, 1}, {rival, report.P99, 1}}
	}
	return []bound{{rival, report.Rate, 1.4}, {rival, report.CPU, 0.75}, {rival, report.P99, 1}}
}

// cannot tells whether a contender cannot run a workload; a note says why.
func (b *bench) cannot(name string, w load.Workload) bool {
	for _, c := range b.contenders {
		if c.Name == name && takes(c, w) {
			return false
		}
	}
	return true
}
