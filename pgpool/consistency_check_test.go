package pgpool

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

var consistencyFor = flag.Duration("consistency.for", 60*time.Second, "how long reads are checked against writes while replicas fall behind and die")

const (
	registers       = 6
	registerClients = 10
	registerReaders = 5 // of these only read
)

// registerCheck has clients increment and read registers through a pooler, and compares what they read with what they have
// written and read before: a session may see nothing older, whichever server answers.
type registerCheck struct {
	cluster *devpg.Cluster
	p       *testPooler
	until   time.Time
	enough  int64 // stale reads after which it ends, if not 0

	writes, errors, early, stale atomic.Int64
	reads                        [3]atomic.Int64 // by server

	mu       sync.Mutex
	findings []string // under mu
}

// seen is the newest value of a register that a client knows of.
type seen struct {
	n       int64
	by      string // how
	replica bool   // it was read on a replica
}

func startRegisters(t *testing.T, consistency Consistency) *registerCheck {
	ctx, cancel := context.WithTimeout(context.Background(), 2*deadline)
	defer cancel()
	cluster, servers := startCluster(t, 2)
	watcher, err := newWatcher(servers, health.Config{Interval: 200 * time.Millisecond, TroubleInterval: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r := &registerCheck{cluster: cluster}
	primary, err := pgx.Connect(ctx, cluster.URL(0))
	if err != nil {
		t.Fatal(err)
	}
	defer primary.Close(ctx)
	mustExec(t, primary, fmt.Sprintf("create table register(id int primary key, n bigint); insert into register select g, 0 from generate_series(0, %d) g", registers-1))
	if err := cluster.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	r.p = start(t, 2, func(c *Config) {
		c.Tuning.Databases = fallback(servers...)
		c.Tuning.Defaults.PoolSize = 6
		c.Tuning.Defaults.Consistency = consistency
		c.Roles = func([]Server) (Roles, error) { return watcher, nil }
	})
	waitFor(t, "the replicas to be usable", func() bool { return watcher.Usable(1, &Policy{}) && watcher.Usable(2, &Policy{}) })
	return r
}

// run lets clients and vandals at it.
func (r *registerCheck) run(t *testing.T, d time.Duration) {
	r.until = time.Now().Add(d)
	ctx, cancel := context.WithDeadline(context.Background(), r.until.Add(2*deadline))
	defer cancel()
	var clients, vandals sync.WaitGroup
	for i := range registerClients {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), uint64(d)))
			for r.goesOn() { // each turn is a session
				if err := r.session(ctx, random, i); err != nil && r.goesOn() {
					r.errors.Add(1)
					t.Logf("client %d begins anew: %v", i, err)
				}
			}
		})
	}
	for i := 1; i < r.cluster.Len(); i++ {
		vandals.Go(func() { r.vandalise(ctx, t, rand.New(rand.NewPCG(uint64(i), 7)), i) })
	}
	clients.Wait()
	vandals.Wait()
	onReplicas, all := r.reads[1].Load()+r.reads[2].Load(), r.reads[0].Load()+r.reads[1].Load()+r.reads[2].Load()
	t.Logf("%d writes; %d reads, of which %d %% on replicas (%d, %d, %d); %d stale; %d shown by a replica before the primary; %d sessions broken off",
		r.writes.Load(), all, 100*onReplicas/max(1, all), r.reads[0].Load(), r.reads[1].Load(), r.reads[2].Load(), r.stale.Load(), r.early.Load(), r.errors.Load())
	var total routeCounts
	for i := range r.p.workers {
		r.p.on(t, i, func(w *worker) {
			for _, g := range w.groups {
				for k := range total {
					total[k] += g.routes[k]
				}
			}
		})
	}
	for k, n := range total {
		if n > 0 {
			t.Log(routeReason(k), n)
		}
	}
	for _, f := range r.findings {
		t.Log(f)
	}
	if r.writes.Load() == 0 || onReplicas < all/10 {
		t.Error("too few reads on replicas, or no writes: nothing was tested")
	}
}

func (r *registerCheck) goesOn() bool {
	return time.Now().Before(r.until) && (r.enough == 0 || r.stale.Load() < r.enough)
}

// session is one client's.
func (r *registerCheck) session(ctx context.Context, random *rand.Rand, id int) error {
	mode := [...]string{"cache_statement", "simple_protocol", "exec"}[random.IntN(3)]
	c, err := pgx.Connect(ctx, r.p.url("&default_query_exec_mode="+mode))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	var known [registers]seen
	busy := random.IntN(2) == 0 // one request right behind the other
	for n := 0; n < 2000 && r.goesOn(); n++ {
		at := random.IntN(registers)
		switch roll := random.IntN(100); {
		case roll < 3 && id >= registerReaders:
			err = r.increment(ctx, c, random, at, &known)
		case roll < 4:
			err = r.transaction(ctx, c, &known)
		case roll < 20:
			err = r.readAll(ctx, c, &known)
		default:
			err = r.read(ctx, c, at, &known)
		}
		if err != nil {
			return err
		}
		if !busy {
			time.Sleep(time.Duration(random.IntN(5)) * time.Millisecond)
		}
	}
	return nil
}

// increment writes, by itself or in a transaction.
func (r *registerCheck) increment(ctx context.Context, c *pgx.Conn, random *rand.Rand, at int, known *[registers]seen) error {
	const sql = "update register set n = n + 1 where id = $1 returning n"
	var n int64
	write := func() error { return c.QueryRow(ctx, sql, at).Scan(&n) }
	if random.IntN(2) == 0 {
		inside := write
		write = func() error { return pgx.BeginFunc(ctx, c, func(pgx.Tx) error { return inside() }) }
	}
	if err := write(); err != nil {
		return err
	}
	r.writes.Add(1)
	known[at] = seen{n: n, by: "written"}
	return nil
}

const readRegister = "select id, n, current_setting('cluster_name') from register where id = $1"

func (r *registerCheck) read(ctx context.Context, c *pgx.Conn, at int, known *[registers]seen) error {
	return r.look(ctx, c, known, readRegister, at)
}

func (r *registerCheck) readAll(ctx context.Context, c *pgx.Conn, known *[registers]seen) error {
	return r.look(ctx, c, known, "select id, n, current_setting('cluster_name') from register")
}

// transaction reads several times in a transaction.
func (r *registerCheck) transaction(ctx context.Context, c *pgx.Conn, known *[registers]seen) error {
	return pgx.BeginTxFunc(ctx, c, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(pgx.Tx) error {
		for at := range 2 {
			if err := r.read(ctx, c, at, known); err != nil {
				return err
			}
		}
		return nil
	})
}

// look reads registers and compares.
func (r *registerCheck) look(ctx context.Context, c *pgx.Conn, known *[registers]seen, sql string, args ...any) error {
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var older []int
	var from string
	for rows.Next() {
		var at int
		var n int64
		if err := rows.Scan(&at, &n, &from); err != nil {
			return err
		}
		r.reads[from[len(from)-1]-'0'].Add(1)
		switch old := known[at]; {
		case n > old.n:
			known[at] = seen{n: n, by: "read on " + from, replica: from != "node0"}
		case n == old.n:
		case from == "node0" && old.replica:
			older = append(older, at)
		default:
			r.found(fmt.Sprintf("register %d: %d %s, then %d read on %s", at, old.n, old.by, n, from))
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return err
	}
	for _, at := range older {
		r.early.Add(1)
		if err := r.follows(ctx, c, at, known[at].n); err != nil {
			return err
		}
	}
	return nil
}

// follows waits for the primary to show what a replica has shown: PostgreSQL writes a commit to its log, from where replicas
// have it, before it lets others on the primary see it.
func (r *registerCheck) follows(ctx context.Context, c *pgx.Conn, at int, want int64) error {
	for end := time.Now().Add(deadline); ; {
		var n int64
		if err := c.QueryRow(ctx, "/* outrigger: primary */ select n from register where id = $1", at).Scan(&n); err != nil {
			return err
		}
		if n >= want {
			return nil
		}
		if time.Now().After(end) {
			r.found(fmt.Sprintf("register %d: %d read on a replica, and %d is all that the primary has", at, want, n))
			return nil
		}
	}
}

func (r *registerCheck) found(what string) {
	r.stale.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.findings) < 10 {
		r.findings = append(r.findings, what)
	}
}

// vandalise delays, stops and kills a replica.
func (r *registerCheck) vandalise(ctx context.Context, t *testing.T, random *rand.Rand, i int) {
	pause := func(most int) {
		for end := time.Now().Add(time.Duration(random.IntN(most)) * time.Millisecond); r.goesOn() && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
	}
	do := func(statements ...string) {
		c, err := pgx.Connect(ctx, r.cluster.URL(i))
		if err != nil {
			t.Errorf("replica %d: %v", i, err)
			return
		}
		defer c.Close(ctx)
		for _, sql := range statements {
			if _, err := c.Exec(ctx, sql); err != nil {
				t.Errorf("replica %d: %s: %v", i, sql, err)
			}
		}
	}
	for r.goesOn() {
		switch random.IntN(5) {
		case 0, 1:
			do("select pg_wal_replay_pause()")
			pause(600)
			do("select pg_wal_replay_resume()")
		case 2, 3:
			do(fmt.Sprintf("alter system set recovery_min_apply_delay = '%dms'", 1+random.IntN(200)), "select pg_reload_conf()")
			pause(1500)
			do("alter system reset recovery_min_apply_delay", "select pg_reload_conf()")
		case 4:
			r.cluster.Kill(i)
			pause(500)
			if err := r.cluster.StartNode(ctx, i); err != nil {
				t.Errorf("start replica %d: %v", i, err)
				return
			}
		}
		pause(3000)
	}
}

// No session reads the past.
func TestSessionsNeverReadThePast(t *testing.T) {
	r := startRegisters(t, ConsistencySession)
	r.run(t, *consistencyFor)
	if n := r.stale.Load(); n > 0 {
		t.Errorf("%d reads were older than what the session had seen", n)
	}
}

// The check finds it when they do.
func TestTheCheckFindsReadsOfThePast(t *testing.T) {
	r := startRegisters(t, ConsistencyEventual)
	r.enough = 20
	r.run(t, *consistencyFor)
	if r.stale.Load() == 0 {
		t.Error("nothing was found although nothing is promised")
	}
}
