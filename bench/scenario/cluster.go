package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/report"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// nodes is how many make a cluster.
const nodes = 3

// nodeName is the name of a node of ours: it decides what it owns.
func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

// fleet starts the nodes of a cluster, with so many copies of everything.
func fleet(ctx context.Context, p Pooler, copies int, env []string, f func([]Process) error) error {
	var all []Process
	var join []string
	defer func() {
		for _, c := range all {
			c.Stop()
		}
	}()
	for i := range nodes {
		c, err := p.Start(ctx, contender.Options{Service: load.Cache, Node: nodeName(i), Join: join, Copies: copies, Env: env})
		if err != nil {
			return err
		}
		all, join = append(all, c), append(join, c.Addr(load.Gossip))
	}
	if err := f(all); err != nil {
		return fmt.Errorf("%w; the log of a node: %s", err, all[0].Log())
	}
	return nil
}

// Clusters are the scenarios of three nodes that share a cache.
func Clusters(s Sizes) []Scenario {
	var all []Scenario
	for _, pipeline := range []int{1, 16} {
		for _, copies := range []int{1, 2} {
			all = append(all, sharing(s, pipeline, copies))
		}
	}
	for _, pipeline := range []int{1, 16} {
		all = append(all, forwarding(s, pipeline))
	}
	return all
}

// Of the clusters' load.
const (
	clusterClients = 48
	clusterValue   = 100
)

// sharing has clients of every node read and write keys of all: two thirds belong to another node.
func sharing(s Sizes, pipeline, copies int) Scenario {
	name := fmt.Sprintf("9 GET to 1 SET through three nodes, copies=%d pipeline=%d", copies, pipeline)
	cpu := report.Figure{Name: name + ": CPU of all nodes for a command", Unit: "µs", AtMost: 1. / 3, Of: contender.Olric}
	rate := report.Figure{Name: name + ": rate", Unit: "/s", Better: report.More, NoGoal: true}
	p99 := report.Figure{Name: name + ": p99", Unit: "ms", NoGoal: true}
	return Scenario{Name: name, Cluster: true, Figures: []report.Figure{cpu, rate, p99}, run: func(ctx context.Context, p Pooler, v *Values) error {
		var env []string
		if copies == 1 {
			env = []string{`OUTRIGGER_CACHE_PREFIXES={"*": {copies: single}}`}
		}
		return fleet(ctx, p, copies, env, func(all []Process) error {
			l := load.CacheLoop{Clients: clusterClients / nodes, Pipeline: pipeline, Sets: 10, Keys: s.SharedKeys, Size: clusterValue, Duration: s.Shared, Warm: s.Shared / 5}
			if err := l.Fill(ctx, all[0].Addr(load.Cache)); err != nil {
				return err
			}
			before, err := cpuOf(all)
			if err != nil {
				return err
			}
			var running sync.WaitGroup
			got, errs := make([]load.Opened, nodes), make([]error, nodes)
			for i, c := range all {
				running.Go(func() { got[i], errs[i] = l.Run(ctx, c.Addr(load.Cache)) })
			}
			running.Wait()
			after, err := cpuOf(all)
			if err := errors.Join(append(errs, err)...); err != nil {
				return err
			}
			commands, perSecond, worst := 0, 0., time.Duration(0)
			for _, g := range got {
				v.say("%+v", g)
				if g.Failed > 0 {
					return fmt.Errorf("%d of %d requests failed", g.Failed, g.Due)
				}
				commands += g.Due * pipeline
				perSecond += g.Rate * float64(pipeline)
				worst = max(worst, g.P99)
			}
			v.set(cpu, float64((after-before).Microseconds())/float64(commands))
			v.set(rate, perSecond)
			v.set(p99, milliseconds(worst))
			return nil
		})
	}}
}

// forwarding compares what a GET costs where its key is here, at another node, and at another node but read so often that
// it is cached here.
func forwarding(s Sizes, pipeline int) Scenario {
	bounds := map[int]float64{1: 2.2, 16: 1.5}
	name := fmt.Sprintf("GET of a key of another node, pipeline=%d", pipeline)
	local := report.Figure{Name: name + ": CPU of a local one", Unit: "µs", NoGoal: true}
	remote := report.Figure{Name: name + ": times the CPU of a local one", AtMost: bounds[pipeline]}
	slower := report.Figure{Name: name + ": times the p99 of a local one", AtMost: 2.5}
	near := report.Figure{Name: name + ": times the CPU of a local one, near-cached", AtMost: 1.1}
	return Scenario{Name: name, Cluster: true, Ours: true, Figures: []report.Figure{local, remote, slower, near}, run: func(ctx context.Context, p Pooler, v *Values) error {
		measure := func(all []Process, owner, keys int) (cpu float64, p99 time.Duration, err error) {
			l := load.CacheLoop{Clients: clusterClients, Pipeline: pipeline, Keys: keys, Size: clusterValue, Tags: tagsOf(owner), Duration: s.Shared, Warm: s.Shared / 5}
			if err := l.Fill(ctx, all[0].Addr(load.Cache)); err != nil {
				return 0, 0, err
			}
			before, err := cpuOf(all)
			if err != nil {
				return 0, 0, err
			}
			got, err := l.Run(ctx, all[0].Addr(load.Cache))
			if err != nil {
				return 0, 0, err
			}
			after, err := cpuOf(all)
			v.say("keys of node %d: %+v, CPU %v", owner, got, after-before)
			return float64((after - before).Nanoseconds()) / 1000 / float64(got.Due*pipeline), got.P99, err
		}
		const hot = 100 // so few that each is read often
		off := []string{"OUTRIGGER_NEAR_CACHE_MEMORY=0"}
		if err := fleet(ctx, p, 2, off, func(all []Process) error {
			here, p99, err := measure(all, 0, s.SharedKeys)
			if err != nil {
				return err
			}
			there, farther, err := measure(all, 1, s.SharedKeys)
			if err != nil {
				return err
			}
			v.set(local, here)
			v.set(remote, there/here)
			v.set(slower, float64(farther)/float64(p99))
			return nil
		}); err != nil {
			return err
		}
		return fleet(ctx, p, 2, nil, func(all []Process) error {
			here, _, err := measure(all, 0, hot)
			if err != nil {
				return err
			}
			there, _, err := measure(all, 1, hot)
			v.set(near, there/here)
			return err
		})
	}}
}

// tagsOf are hash tags of keys that a node owns.
func tagsOf(node int) []string {
	var names []string
	for i := range nodes {
		names = append(names, nodeName(i))
	}
	r := ring.New(names)
	const count = 256
	var tags []string
	for i := 0; len(tags) < count; i++ {
		if tag := fmt.Sprintf("%04d", i); r.Owner(ring.PartitionOf([]byte(tag))) == node {
			tags = append(tags, tag)
		}
	}
	return tags
}

// cpuOf is the time that all of them have used.
func cpuOf(all []Process) (total time.Duration, err error) {
	for _, c := range all {
		used, err := c.CPU()
		if err != nil {
			return 0, err
		}
		total += used
	}
	return total, nil
}
