package pgpool

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

// startOver runs a pooler over a cluster, whose servers change may adjust, and waits until all replicas are in use.
func startOver(t *testing.T, cluster *devpg.Cluster, loops int, balance Balance, change func([]Server)) *testPooler {
	t.Helper()
	var servers []Server
	for i := range cluster.Len() {
		s, err := ParseURL(cluster.URL(i))
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	change(servers)
	watcher, err := newWatcher(servers, health.Config{Interval: 100 * time.Millisecond, Timeout: deadline})
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, loops, func(c *Config) {
		c.Tuning.Databases = fallback(servers...)
		c.Tuning.Defaults.PoolSize = 16
		c.Tuning.Defaults.Balance = balance
		c.Tuning.Defaults.Consistency = ConsistencyEventual // each read chooses anew
		c.Roles = func([]Server) (Roles, error) { return watcher, nil }
	})
	waitFor(t, "the replicas to be usable", func() bool {
		for i := 1; i < len(servers); i++ {
			if !watcher.Usable(i, &Policy{}) {
				return false
			}
		}
		return true
	})
	return p
}

// answers returns how many answers each server has completed.
func (p *testPooler) answers(t *testing.T) []int {
	var n []int
	for i := range p.workers {
		p.on(t, i, func(w *worker) {
			for _, g := range w.groups {
				for k, pl := range g.pools {
					if k == len(n) {
						n = append(n, 0)
					}
					n[k] += int(pl.stats.queries)
				}
			}
		})
	}
	return n
}

func TestReadsAreSpreadOverReplicas(t *testing.T) {
	cluster, _ := startCluster(t, 2)
	weights := func(servers []Server) { servers[1].Weight, servers[2].Weight = 1, 3 }

	t.Run("round robin", func(t *testing.T) {
		p := startOver(t, cluster, 2, RoundRobin, weights)
		readMany(t, p, 8, 250)
		shares(t, p.answers(t), 0, 1, 3)
	})
	t.Run("latency", func(t *testing.T) {
		p := startOver(t, cluster, 2, Latency, weights)
		readMany(t, p, 4, 50)
		for _, r := range p.Console().Replicas()[1:] {
			if r.Latency <= 0 {
				t.Errorf("not measured: %+v", r)
			}
		}
	})
	// Reads that stay, on two loops: each goes where there are fewest for the weight, whichever loop sent those.
	t.Run("least connections", func(t *testing.T) {
		p := startOver(t, cluster, 2, LeastConnections, weights)
		var held sync.WaitGroup
		defer held.Wait()
		reads := func() (n [2]int) {
			for i, r := range p.Console().Replicas()[1:] {
				n[i] = r.Reads
			}
			return n
		}
		defer waitFor(t, "the reads to end", func() bool { cancelSleeps(t, cluster); n := reads(); return n[0]+n[1] == 0 })
		for k := range 12 {
			c := p.connect(t, simple)
			held.Go(func() { c.Exec(context.Background(), "select pg_sleep(600)") })
			waitFor(t, "a read to begin", func() bool { n := reads(); return n[0]+n[1] == k+1 })
			if k%4 == 3 {
				if n := reads(); n != [2]int{(k + 1) / 4, 3 * (k + 1) / 4} {
					t.Errorf("of %d reads the replicas have %v", k+1, n)
				}
			}
		}
	})
}

// cancelSleeps cancels what sleeps on the replicas.
func cancelSleeps(t *testing.T, cluster *devpg.Cluster) {
	ctx := context.Background()
	for i := 1; i < cluster.Len(); i++ {
		c, err := pgx.Connect(ctx, cluster.URL(i))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Exec(ctx, "select pg_cancel_backend(pid) from pg_stat_activity where state = 'active' and query = 'select pg_sleep(600)'")
		if err != nil {
			t.Error(err)
		}
		c.Close(ctx)
	}
}

// readMany has clients read n times each.
func readMany(t *testing.T, p *testPooler, clients, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range clients {
		c := p.connect(t, simple)
		wg.Go(func() {
			for range n {
				if _, err := c.Exec(context.Background(), "select 1"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A replica's own pool_size comes before the policy's.
func TestPoolSizeOfAReplica(t *testing.T) {
	replica := testServer(t, 1)
	replica.PoolSize = 2
	p := start(t, 2, func(c *Config) {
		c.Tuning.Databases = fallback(testServer(t, 0), replica)
		c.Tuning.Defaults.PoolSize = 8
		c.Roles = func([]Server) (Roles, error) { return &fakeRoles{usable: []bool{true, true}}, nil }
	})
	readMany(t, p, 6, 200)
	for _, row := range p.Console().Pools() {
		n := row.ServersActive + row.ServersIdle + row.ServersTested + row.ServersLogin
		if row.Server == replica.Addr && (n < 1 || n > 2) {
			t.Errorf("%d connections, want at most 2: %+v", n, row)
		}
	}
	if r := p.Console().Replicas()[1]; r.PoolSize != 2 || r.Reads != 0 {
		t.Errorf("%+v", r)
	}
}

// With reads_without_replica: error a read is refused while there is no replica, and the session goes on.
func TestReadsWithoutReplica(t *testing.T) {
	roles := &switchedRoles{}
	p := start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(testServer(t, 0), testServer(t, 1))
		c.Tuning.Defaults.RefuseReads = true
		c.Roles = func([]Server) (Roles, error) { return roles, nil }
	})
	ctx := context.Background()
	for _, mode := range []string{"simple_protocol", "exec", "describe_exec", "cache_statement"} {
		c := p.connect(t, "&default_query_exec_mode="+mode)
		for range 3 {
			roles.up.Store(false)
			if _, err := c.Exec(ctx, "select 1"); !hasCode(err, "57P03") {
				t.Errorf("%s: a read without a replica: %v", mode, err)
			}
			if _, err := c.Exec(ctx, "do $$ begin end $$"); err != nil {
				t.Errorf("%s: a write: %v", mode, err)
			}
			if _, err := c.Exec(ctx, "/* outrigger: primary */ select 1"); err != nil {
				t.Errorf("%s: a read of the primary: %v", mode, err)
			}
			roles.up.Store(true)
			if got := standby(t, c); got != "replica" {
				t.Errorf("%s: a read went to the %s", mode, got)
			}
		}
		roles.up.Store(false)
		b := &pgx.Batch{}
		for range 5 {
			b.Queue("select 1")
		}
		if err := c.SendBatch(ctx, b).Close(); !hasCode(err, "57P03") {
			t.Errorf("%s: a batch without a replica: %v", mode, err)
		}
		if _, err := c.Exec(ctx, "/* outrigger: primary */ select 1"); err != nil {
			t.Errorf("%s: behind a batch: %v", mode, err)
		}
	}
}

// standby tells which kind of server a read went to.
func standby(t *testing.T, c *pgx.Conn) string {
	t.Helper()
	var node string
	if err := c.QueryRow(context.Background(), "select current_setting('cluster_name')").Scan(&node); err != nil {
		t.Error(err)
	}
	if node == "node1" {
		return "replica"
	}
	return "primary"
}

// By default the primary serves reads while there is no replica.
func TestThePrimaryServesReadsWithoutReplica(t *testing.T) {
	roles := &switchedRoles{}
	p := start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(testServer(t, 0), testServer(t, 1))
		c.Roles = func([]Server) (Roles, error) { return roles, nil }
	})
	c := p.connect(t, "")
	for _, up := range []bool{false, true, false} {
		roles.up.Store(up)
		want := "primary"
		if up {
			want = "replica"
		}
		if got := standby(t, c); got != want {
			t.Errorf("replica up: %v; the read went to the %s", up, got)
		}
	}
}
