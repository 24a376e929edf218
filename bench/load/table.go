package load

import (
	"fmt"
	"time"
)

// Pgbench's log is sampled where there are transactions in plenty.
const (
	logAll  = 1.0
	logSome = 0.1
)

// A read and a write of one statement each, of which nine in ten are reads.
const writeScript = `\set aid random(1, 100000 * :scale)
\set delta random(-5000, 5000)
update pgbench_accounts set abalance = abalance + :delta where aid = :aid;
`

// sumScript takes the server some milliseconds: too long to make others wait.
const sumScript = `\set aid random(1, 900000)
select sum(abalance) from pgbench_accounts where aid between :aid and :aid + 20000;
`

// megabyteScript gets a row of that size, made on the spot: its way is what counts.
const megabyteScript = "select repeat('x', 1 << 20);\n"

// PoolerWorkloads is the table for Postgres. pgbench's read-only script runs in all protocol modes over a range of clients,
// with a pool of four servers too where clients queue. Its TPC-B-like script holds a server for seven statements.
func PoolerWorkloads(p Pgbench, clients []int) []Workload {
	var all []Workload
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for _, c := range clients {
			w := selects(mode, c)
			all = append(all, p.Workload(w))
			if c == 64 || c == 256 {
				w.Name, w.Service = w.Name+" pool=4", SmallPool
				all = append(all, p.Workload(w))
			}
		}
	}
	for _, c := range clients {
		if c <= 256 { // with more, scale 10 measures PostgreSQL's locks
			all = append(all, p.Workload(tpcb(c)))
		}
	}
	for _, c := range []int{16, 64} {
		all = append(all, p.Workload(Transactions{Name: fmt.Sprintf("9 reads to 1 write clients=%d", c), Mode: "simple", Clients: c, Sample: logSome,
			Scripts: []Script{{Builtin: "select-only", Weight: 9}, {SQL: writeScript, Weight: 1}}}))
	}
	all = append(all, p.Workload(Transactions{Name: "sums of 20,000 rows clients=64", Mode: "simple", Clients: 64, Sample: logAll,
		Scripts: []Script{{SQL: sumScript}}, Unbatched: true}))
	connect := Transactions{Name: "connect trust clients=16", Mode: "simple", Clients: 16, Reconnect: true, Scripts: []Script{{Builtin: "select-only"}}}
	all = append(all, p.Workload(connect))
	connect.Name, connect.Service = "connect SCRAM clients=16", Logins
	all = append(all, p.Workload(connect))
	return append(all, p.Workload(Transactions{Name: "rows of 1 MiB clients=4", Mode: "simple", Clients: 4, Sample: logAll, Scripts: []Script{{SQL: megabyteScript}}}))
}

func selects(mode string, clients int) Transactions {
	t := Transactions{Name: fmt.Sprintf("select %s clients=%d", mode, clients), Mode: mode, Clients: clients, Sample: logSome,
		Scripts: []Script{{Builtin: "select-only"}}, Unbatched: clients < 64}
	if clients == 1 {
		t.Sample = logAll
	}
	return t
}

func tpcb(clients int) Transactions {
	return Transactions{Name: fmt.Sprintf("tpc-b simple clients=%d", clients), Mode: "simple", Clients: clients, Sample: logAll,
		Scripts: []Script{{Builtin: "tpcb-like"}}, Unbatched: true}
}

// SplitWorkloads is the table for replicas: reads alone, which all can go there, and transactions that write.
func SplitWorkloads(p Pgbench) []Workload {
	var all []Workload
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for _, c := range []int{16, 64} {
			all = append(all, p.Workload(selects(mode, c)))
		}
	}
	return append(all, p.Workload(tpcb(16)))
}

// CacheWorkloads is the table for the cache: SET before GET, without pipelining and with; commands of other types; and loops
// of our own, which memcached gets too. scale multiplies the requests of a run.
func CacheWorkloads(b RedisBenchmark, scale int) []Workload {
	var all []Workload
	const shallow, deep = 50_000, 400_000 // requests
	for _, shape := range []struct{ pipeline, requests int }{{1, shallow}, {16, deep}} {
		for _, test := range []string{"SET", "GET"} {
			w := b.Commands(fmt.Sprintf("%s pipeline=%d clients=%d", test, shape.pipeline, b.Clients), test, shape.pipeline, scale*shape.requests)
			w.Loops = true
			all = append(all, w)
		}
	}
	for _, test := range []string{"INCR", "HSET", "LPUSH", "ZADD"} {
		all = append(all, b.Commands(fmt.Sprintf("%s pipeline=16 clients=%d", test, b.Clients), test, 16, scale*deep/2))
	}
	second := time.Duration(scale) * time.Second
	loop := CacheLoop{Clients: b.Clients, Keys: b.Keys, Size: b.Size, Duration: second + second/4, Warm: second / 4}
	for _, pipeline := range []int{1, 16} {
		loop.Pipeline = pipeline
		loop.Sets = 100
		all = append(all, loop.Workload(fmt.Sprintf("our SET pipeline=%d clients=%d", pipeline, b.Clients)))
		loop.Sets = 0
		all = append(all, loop.Workload(fmt.Sprintf("our GET pipeline=%d clients=%d", pipeline, b.Clients)))
	}
	for _, open := range []struct {
		pipeline int
		rate     float64
	}{{1, 20_000}, {16, 100_000}} {
		loop.Pipeline, loop.Sets, loop.Rate = open.pipeline, 10, open.rate
		all = append(all, loop.Workload(fmt.Sprintf("our 9 GET to 1 SET, %.0f/s, pipeline=%d clients=%d", open.rate, open.pipeline, b.Clients)))
	}
	return all
}
