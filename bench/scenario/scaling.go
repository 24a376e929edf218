package scenario

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/report"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// Every server may use this share of one processor: three of them leave something for the pooler and the generator, and
// what a replica adds can be seen.
const (
	serverShare    = 0.25
	scalingClients = 16
	scalingSeconds = 5
)

// Scaling puts pgbench's reads on the primary alone, and through a pooler on a primary and two replicas, where each server
// has the same small share of a processor.
func Scaling(servers *devpg.Cluster, pgbench load.Pgbench) Scenario {
	share := report.Figure{Name: "reads: the primary's share", Unit: "%", AtMost: 40}
	alone := report.Figure{Name: "reads: time for the same number, against the primary alone", Unit: "×", AtMost: 1 / 1.6}
	rate := report.Figure{Name: "reads through the pooler", Unit: "/s", Better: report.More, NoGoal: true}
	direct := report.Figure{Name: "reads on the primary alone", Unit: "/s", Better: report.Neither, NoGoal: true}
	pgbench.Seconds = scalingSeconds
	reads := pgbench.Workload(load.Transactions{Scripts: []load.Script{{Builtin: "select-only"}}, Mode: "simple", Clients: scalingClients, Sample: 1})
	return Scenario{Name: "scaling", Figures: []report.Figure{share, alone, rate, direct}, run: func(ctx context.Context, p Pooler, v *Values) error {
		lift, err := servers.LimitCPU(serverShare)
		if err != nil {
			return fmt.Errorf("limit the servers: %w", err)
		}
		defer lift()
		single, err := reads.Run(ctx, servers.Addr(0))
		if err != nil {
			return fmt.Errorf("the primary alone: %w", err)
		}
		before, err := transactions(ctx, servers)
		if err != nil {
			return err
		}
		var split load.Outcome
		err = started(ctx, p, contender.Options{}, func(c Process) (err error) {
			split, err = reads.Run(ctx, c.Addr(load.Pooler))
			return err
		})
		if err != nil {
			return err
		}
		after, err := transactions(ctx, servers)
		if err != nil {
			return err
		}
		v.say("$ %s\n%s\n$ %s\n%s\ntransactions of each server: %d to %d", single.Command, single.Output, split.Command, split.Output, before, after)
		total := 0
		for i := range after {
			total += after[i] - before[i]
		}
		if total < int(split.Operations) {
			return fmt.Errorf("the servers count %d transactions, the generator %d", total, split.Operations)
		}
		v.set(share, 100*float64(after[0]-before[0])/float64(total))
		v.set(alone, single.Rate/split.Rate)
		v.set(rate, split.Rate)
		v.set(direct, single.Rate)
		return nil
	}}
}

// transactions asks each server how many it has committed. Sessions that have ended have reported theirs; those that are
// idle may take ten seconds (PGSTAT_IDLE_INTERVAL in pgstat.c).
func transactions(ctx context.Context, servers *devpg.Cluster) ([]int, error) {
	var all []int
	for i := range servers.Len() {
		out, err := servers.Psql(ctx, i, "select xact_commit from pg_stat_database where datname = current_database()")
		if err != nil {
			return nil, fmt.Errorf("count the transactions of server %d: %w", i, err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(out))
		if err != nil {
			return nil, fmt.Errorf("count the transactions of server %d: %w", i, err)
		}
		all = append(all, n)
	}
	return all, nil
}
