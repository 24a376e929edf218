package pgpool

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

// startSplit runs a pooler over the cluster's primary and replica, and waits until the replica is in use.
func startSplit(t testing.TB, loops int, change func(*Config)) *testPooler {
	t.Helper()
	servers := []Server{testServer(t, 0), testServer(t, 1)}
	watcher, err := newWatcher(servers, health.Config{Interval: 100 * time.Millisecond, TroubleInterval: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, loops, func(c *Config) {
		c.Tuning.Databases = fallback(servers...)
		c.Roles = func([]Server) (Roles, error) { return watcher, nil }
		if change != nil {
			change(c)
		}
	})
	waitFor(t, "the replica to be usable", func() bool { return watcher.Usable(1, &Policy{}) })
	return p
}

// where tells which server answers a read.
func where(t testing.TB, c *pgx.Conn) string {
	t.Helper()
	var name string
	if err := c.QueryRow(context.Background(), "select current_setting('cluster_name')").Scan(&name); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"node0": "primary", "node1": "replica"}[name]
}

func TestReadsGoToTheReplicaAndWritesToThePrimary(t *testing.T) {
	p := startSplit(t, 1, nil)
	ctx := context.Background()
	setUp := direct(t, 0)
	if _, err := setUp.Exec(ctx, "drop table if exists split; create table split(id int primary key, n int); insert into split values (1, 0)"); err != nil {
		t.Fatal(err)
	}
	if err := pg.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"cache_statement", "describe_exec", "exec", "simple_protocol"} {
		c := p.connect(t, "&default_query_exec_mode="+mode)
		server := func(sql string) string {
			t.Helper()
			before := p.counts(t)
			if _, err := c.Exec(ctx, sql); err != nil {
				t.Fatalf("%s: %s: %v", mode, sql, err)
			}
			after := p.counts(t)
			switch {
			case after[1] > before[1] && after[0] == before[0]:
				return "replica"
			case after[0] > before[0]:
				return "primary"
			}
			return "nowhere"
		}
		for _, tc := range []struct{ sql, want string }{
			{"select n from split where id = 1", "replica"},
			{"select count(*) from split", "replica"},
			{"select n from split where id = 1 for update", "primary"},
			{"with x as (update split set n = n returning n) select * from x", "primary"},
			{"select pg_advisory_xact_lock(1)", "primary"},
			{"/* outrigger: primary */ select 1", "primary"},
		} {
			c.Close(ctx) // a fresh session owes nothing to an earlier write
			c = p.connect(t, "&default_query_exec_mode="+mode)
			if got := server(tc.sql); got != tc.want {
				t.Errorf("%s: %q ran on the %s", mode, tc.sql, got)
			}
		}
	}
}

// counts returns how many answers each server has completed.
func (p *testPooler) counts(t testing.TB) [2]uint64 {
	var n [2]uint64
	for i := range p.workers {
		p.on(t, i, func(w *worker) {
			for _, g := range w.groups {
				for k, pl := range g.pools {
					n[k] += pl.stats.queries
				}
			}
		})
	}
	return n
}

// Reads of a session never miss its own writes, although the replica is behind most of the time.
func TestReadYourWrites(t *testing.T) {
	p := startSplit(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 8 })
	ctx := context.Background()
	replica := direct(t, 1)
	if _, err := direct(t, 0).Exec(ctx, "drop table if exists ryw; create table ryw(id int primary key, n int); insert into ryw select g, 0 from generate_series(0, 9) g"); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var pauser, clients sync.WaitGroup
	pauser.Go(func() { // the replica stands still every now and then
		for {
			select {
			case <-stop:
				replica.Exec(ctx, "select pg_wal_replay_resume()")
				return
			default:
			}
			if _, err := replica.Exec(ctx, "select pg_wal_replay_pause(), pg_sleep(0.05)"); err != nil {
				t.Error(err)
			}
			if _, err := replica.Exec(ctx, "select pg_wal_replay_resume(), pg_sleep(0.05)"); err != nil {
				t.Error(err)
			}
		}
	})
	for id := range 10 {
		clients.Go(func() {
			c, err := pgx.Connect(ctx, p.url(""))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close(ctx)
			for n := 1; n <= 40; n++ {
				if _, err := c.Exec(ctx, "update ryw set n = $2 where id = $1", id, n); err != nil {
					t.Error(err)
					return
				}
				for range 5 {
					var got int
					if err := c.QueryRow(ctx, "select n from ryw where id = $1", id).Scan(&got); err != nil || got != n {
						t.Errorf("client %d wrote %d and read %d (%v)", id, n, got, err)
						return
					}
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	pauser.Wait()
	// And once it is quiet, the replica serves them again.
	c := p.connect(t, "")
	if _, err := c.Exec(ctx, "update ryw set n = 0"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "reads to return to the replica", func() bool {
		before := p.counts(t)
		var n int
		if err := c.QueryRow(ctx, "select count(*) from ryw where n <> 0").Scan(&n); err != nil || n != 0 {
			t.Fatalf("%d, %v", n, err)
		}
		return p.counts(t)[1] > before[1]
	})
}

// What looks like a read and writes is refused by the replica and repeated on the primary, unseen by the client.
func TestWriteInDisguiseIsRepeatedOnThePrimary(t *testing.T) {
	p := startSplit(t, 1, nil)
	ctx := context.Background()
	if _, err := direct(t, 0).Exec(ctx, `drop table if exists disguised cascade; create table disguised(n int);
		create or replace function sneaky(int, int) returns int language sql volatile as 'insert into disguised values ($1) returning n';
		drop operator if exists ~~~ (int, int);
		create operator ~~~ (function = sneaky, leftarg = int, rightarg = int)`); err != nil {
		t.Fatal(err)
	}
	if err := pg.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, mode := range []string{"cache_statement", "describe_exec", "exec", "simple_protocol"} {
		c := p.connect(t, "&default_query_exec_mode="+mode)
		for range 3 {
			var n int
			if err := c.QueryRow(ctx, "select 1 ~~~ 2").Scan(&n); err != nil || n != 1 {
				t.Fatalf("%s: %d, %v", mode, n, err)
			}
			want++
		}
	}
	var repeated uint64
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			repeated += g.pools[1].stats.repeated
		}
	})
	if repeated == 0 {
		t.Error("nothing was repeated: the test did not test")
	}
	var rows int
	if err := direct(t, 0).QueryRow(ctx, "select count(*) from disguised").Scan(&rows); err != nil || rows != want {
		t.Errorf("%d rows, %v; want %d: each statement once", rows, err, want)
	}
}

// A replica that goes away takes no read with it.
func TestReadsSurviveTheLossOfTheReplica(t *testing.T) {
	p := startSplit(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 2 })
	ctx := context.Background()
	c := p.connect(t, "")
	if got := where(t, c); got != "replica" {
		t.Logf("the first read ran on the %s", got)
	}
	pg.StopNode(1)
	defer func() {
		ctx, cancel := context.WithTimeout(ctx, deadline)
		defer cancel()
		if err := pg.StartNode(ctx, 1); err != nil {
			t.Error(err)
		}
	}()
	for i := range 20 {
		var n int
		if err := c.QueryRow(ctx, "select $1::int4", i).Scan(&n); err != nil || n != i {
			t.Fatalf("read %d: %d, %v", i, n, err)
		}
	}
}

func TestMixUpOverPrimaryAndReplica(t *testing.T) {
	p := startSplit(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 3; c.Tuning.Defaults.MaxPrepared = 5 })
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() { mixUp(t, p, i) })
	}
	wg.Wait()
	if n := p.counts(t); n[1] == 0 || n[0] == 0 {
		t.Error(fmt.Sprint("one server took no part: ", n))
	}
}
