package pgpool

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

// failoverClients are how many clients read and write while primaries go.
const failoverClients = 32

// register is what one client has written to a row of its own, and knows to be there.
type register struct {
	id       int
	tried    int // the last value that was sent
	acked    int // the last that was acknowledged
	seen     int // the last that was read
	failures int // statements and transactions that were answered by an error
}

// crowd is the clients, and what went wrong with them.
type crowd struct {
	t         *testing.T
	registers [failoverClients]register
	conns     [failoverClients]*pgx.Conn
	stop      atomic.Bool
	running   sync.WaitGroup

	mu       sync.Mutex
	errors   []string    // under mu
	ackTimes []time.Time // under mu; when writes were acknowledged
}

// start has the clients read and write until end, in a test of its own.
func (c *crowd) start(t *testing.T) {
	c.t = t
	c.stop.Store(false)
	for i := range c.registers {
		c.running.Go(func() {
			for !c.stop.Load() && !c.t.Failed() {
				c.turn(&c.registers[i], c.conns[i])
			}
		})
	}
}

func (c *crowd) end() {
	c.stop.Store(true)
	c.running.Wait()
}

// turn has a client write the next value of its row, by itself or in a transaction, and read the row.
func (c *crowd) turn(r *register, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*deadline)
	defer cancel()
	r.tried++
	sql := []string{"update registers set n = $2 where id = $1"}
	if r.id%3 == 0 {
		sql = []string{"begin", sql[0], "insert into history values ($1, $2)", "commit"}
	}
	for i, sql := range sql {
		var args []any
		if len(sql) > len("commit") {
			args = []any{r.id, r.tried}
		}
		if _, err := conn.Exec(ctx, sql, args...); err != nil {
			c.failed(r, conn, sql, err)
			if r.id%3 == 0 && conn.PgConn().TxStatus() != 'I' {
				if _, err := conn.Exec(ctx, "rollback"); err != nil {
					c.t.Errorf("client %d: rollback behind %q, %d: %v", r.id, sql, i, err)
				}
			}
			return
		}
	}
	r.acked = r.tried
	c.mu.Lock()
	c.ackTimes = append(c.ackTimes, time.Now())
	c.mu.Unlock()
	for range 3 {
		var n int
		if err := conn.QueryRow(ctx, "select n from registers where id = $1", r.id).Scan(&n); err != nil {
			c.failed(r, conn, "select", err)
			return
		}
		if n < r.acked || n < r.seen || n > r.tried {
			c.t.Errorf("client %d reads %d, and has written %d and read %d", r.id, n, r.acked, r.seen)
		}
		r.seen = n
	}
}

func (c *crowd) failed(r *register, conn *pgx.Conn, sql string, err error) {
	r.failures++
	c.mu.Lock()
	c.errors = append(c.errors, fmt.Sprintf("client %d: %q: %v", r.id, sql, err))
	c.mu.Unlock()
	if conn.IsClosed() {
		c.t.Errorf("client %d is disconnected: %q: %v", r.id, sql, err)
	}
}

// told is how many errors clients have been told.
func (c *crowd) told() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.errors)
}

// flow waits until a client has had a write acknowledged, and returns when.
func (c *crowd) flow() time.Time {
	c.t.Helper()
	from := time.Now()
	waitFor(c.t, "writes to flow", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.ackTimes) > 0 && c.ackTimes[len(c.ackTimes)-1].After(from)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ackTimes[slices.IndexFunc(c.ackTimes, func(at time.Time) bool { return at.After(from) })]
}

// The loss of the primary under load costs nothing but the statements that were under way, and a planned switchover not
// even these: no client is disconnected, none reads what is wrong, and nothing that was acknowledged is missing.
func TestFailoverUnderLoad(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*deadline)
	defer cancel()
	cluster, servers := startCluster(t, 2)
	onServer := func(i int, statements ...string) {
		t.Helper()
		conn, err := pgx.Connect(ctx, cluster.URL(i))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		for _, sql := range statements {
			if _, err := conn.Exec(ctx, sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
	// What is acknowledged is on the server that is promoted next.
	waitsFor := func(primary, standby int) {
		onServer(primary, fmt.Sprintf("alter system set synchronous_standby_names = 'node%d'", standby), "select pg_reload_conf()")
		waitFor(t, "synchronous replication", func() bool {
			conn, err := pgx.Connect(ctx, cluster.URL(primary))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(ctx)
			var n int
			return conn.QueryRow(ctx, "select count(*) from pg_stat_replication where sync_state = 'sync' and state = 'streaming'").Scan(&n) == nil && n == 1
		})
	}
	onServer(0, "create table registers(id int primary key, n int)", "create table history(id int, n int)",
		fmt.Sprintf("insert into registers select g, 0 from generate_series(0, %d) g", failoverClients-1))
	waitsFor(0, 1)
	watcher, err := newWatcher(servers, health.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, 2, func(c *Config) {
		c.Tuning.Databases = fallback(servers...)
		c.Tuning.Defaults.PoolSize = 8
		c.Tuning.Defaults.FailoverWait = deadline
		c.Roles = func([]Server) (Roles, error) { return watcher, nil }
	})
	limits := &Policy{}
	waitFor(t, "the replicas to be usable", func() bool { return watcher.Usable(1, limits) && watcher.Usable(2, limits) })
	c := &crowd{}
	for i := range c.registers {
		c.registers[i].id = i
		mode := []string{"cache_statement", "simple_protocol", "exec", "describe_exec"}[i%4]
		c.conns[i] = p.connect(t, "&default_query_exec_mode="+mode)
	}
	check := func(server int) {
		t.Helper()
		conn, err := pgx.Connect(ctx, cluster.URL(server))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		for i := range c.registers {
			var n, last int
			if err := conn.QueryRow(ctx, "select n, coalesce((select max(n) from history h where h.id = r.id), n) from registers r where id = $1", i).Scan(&n, &last); err != nil {
				t.Fatal(err)
			}
			if r := &c.registers[i]; n < r.acked || n > r.tried || last != n && i%3 == 0 {
				t.Errorf("client %d: %d is there, and %d in its history; acknowledged is %d of %d", i, n, last, r.acked, r.tried)
			}
		}
	}
	promote := func(i int) time.Time {
		t.Helper()
		if err := cluster.Promote(ctx, i); err != nil {
			t.Fatal(err)
		}
		return time.Now()
	}

	t.Run("switchover", func(t *testing.T) {
		c.start(t)
		c.flow()
		control := consoleControl{p.Pooler}
		if err := control.Pause(ctx, ""); err != nil {
			t.Fatal(err)
		}
		cluster.StopNode(0)
		at := promote(1)
		if err := control.Resume(""); err != nil {
			t.Fatal(err)
		}
		t.Logf("writes flow %v after the promotion", c.flow().Sub(at).Round(time.Millisecond))
		c.end()
		for _, e := range c.errors {
			t.Error(e)
		}
		check(1)
	})
	waitsFor(1, 2)
	t.Run("crash", func(t *testing.T) {
		c.start(t)
		c.flow()
		waitFor(t, "the second replica to be usable", func() bool { return watcher.Usable(2, limits) })
		cluster.Kill(1)
		waitFor(t, "everybody to wait for a primary", func() bool { return waiting(t, p) == failoverClients })
		before := c.told()
		at := promote(2)
		flowing := c.flow().Sub(at)
		t.Logf("writes flow %v after the promotion; %d statements were under way", flowing.Round(time.Millisecond), before)
		if flowing > 15*time.Second {
			t.Error("that is too long")
		}
		c.end()
		for i := range c.registers {
			r := &c.registers[i]
			if r.failures > 1 {
				t.Errorf("client %d was told %d errors", i, r.failures)
			}
		}
		if len(c.errors) > before {
			t.Errorf("%d errors come after the promotion", len(c.errors)-before)
		}
		for _, e := range c.errors {
			t.Log(e)
		}
		check(2)
	})
}
