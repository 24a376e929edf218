package load

import "fmt"

// Pgbench's log is sampled where there are transactions in plenty.
const (
	logAll  = 1.0
	logSome = 0.1
)

// PoolerWorkloads is the table for Postgres: pgbench's read-only script in all protocol modes over a range of clients, and
// its TPC-B-like script, whose transactions hold a server for seven statements.
func PoolerWorkloads(p Pgbench, clients []int) []Workload {
	var all []Workload
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for _, c := range clients {
			sample := logSome
			if c == 1 {
				sample = logAll
			}
			all = append(all, p.Transactions(fmt.Sprintf("select %s clients=%d", mode, c), "select-only", mode, c, sample))
		}
	}
	for _, c := range clients {
		all = append(all, p.Transactions(fmt.Sprintf("tpc-b simple clients=%d", c), "tpcb-like", "simple", c, logAll))
	}
	return all
}

// SplitWorkloads is the table for replicas: reads alone, which all can go there, and transactions that write.
func SplitWorkloads(p Pgbench) []Workload {
	var all []Workload
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for _, c := range []int{16, 64} {
			all = append(all, p.Transactions(fmt.Sprintf("select %s clients=%d", mode, c), "select-only", mode, c, logSome))
		}
	}
	return append(all, p.Transactions("tpc-b simple clients=16", "tpcb-like", "simple", 16, logAll))
}

// CacheWorkloads is the table for the cache: SET before GET, without pipelining and with. scale multiplies the
// requests of a run.
func CacheWorkloads(b RedisBenchmark, scale int) []Workload {
	var all []Workload
	for _, shape := range []struct{ pipeline, requests int }{{1, 50_000}, {16, 400_000}} {
		for _, test := range []string{"SET", "GET"} {
			name := fmt.Sprintf("%s pipeline=%d clients=%d", test, shape.pipeline, b.Clients)
			all = append(all, b.Commands(name, test, shape.pipeline, scale*shape.requests))
		}
	}
	return all
}
