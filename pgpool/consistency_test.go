package pgpool

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

// countingRoles counts how often somebody wants to know how far the replicas are.
type countingRoles struct {
	*Watcher
	wants atomic.Int64
}

func (r *countingRoles) Want(floor uint64) {
	r.wants.Add(1)
	r.Watcher.Want(floor)
}

// number reads one number.
func number(t testing.TB, c *pgx.Conn, sql string, args ...any) (n int) {
	t.Helper()
	if err := c.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// pauseReplay stops the replica where it is, with all that was written so far, until the test ends.
func pauseReplay(t testing.TB) {
	t.Helper()
	if err := pg.WaitCaughtUp(context.Background()); err != nil {
		t.Fatal(err)
	}
	replica := direct(t, 1)
	mustExec(t, replica, "select pg_wal_replay_pause()")
	t.Cleanup(func() { mustExec(t, direct(t, 1), "select pg_wal_replay_resume()") })
	waitFor(t, "replay to pause", func() bool {
		var state string
		if err := replica.QueryRow(context.Background(), "select pg_get_wal_replay_pause_state()").Scan(&state); err != nil {
			t.Fatal(err)
		}
		return state == "paused"
	})
}

// Who only reads costs no samples, and stays with the replica that it has read first.
func TestReadersAskForNoSamples(t *testing.T) {
	roles := &countingRoles{}
	p := startSplit(t, 2, func(c *Config) {
		inner := c.Roles
		c.Roles = func(servers []Server) (Roles, error) {
			r, err := inner(servers)
			roles.Watcher, _ = r.(*Watcher)
			return roles, err
		}
	})
	var wg sync.WaitGroup
	for range 4 {
		c := p.connect(t, "")
		wg.Go(func() {
			for range 50 {
				if got := where(t, c); got != "replica" {
					t.Errorf("read on the %s", got)
				}
			}
		})
	}
	wg.Wait()
	if n := roles.wants.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// slowRoles are a primary and a replica that shows what was committed before arrive was called.
type slowRoles struct {
	alone
	floors, done atomic.Uint64
	lives        atomic.Uint32
	lost         atomic.Int32
}

func (r *slowRoles) Usable(i int, _ *Policy) bool { return i == 1 }
func (r *slowRoles) Floor() uint64                { return r.floors.Add(1) }
func (r *slowRoles) Reached(_ int, f uint64) bool { return f <= r.done.Load() }
func (r *slowRoles) Life(int) uint32              { return r.lives.Load() }
func (r *slowRoles) arrive()                      { r.done.Store(r.floors.Load()) }
func (r *slowRoles) start(t *testing.T) *testPooler {
	return start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(testServer(t, 0), testServer(t, 1))
		c.Roles = func([]Server) (Roles, error) { return r, nil }
	})
}

// waitingReads is how many reads wait for a replica.
func waitingReads(t testing.TB, p *testPooler) (n int) {
	p.on(t, 0, func(w *worker) { n = len(w.awaiting) })
	return n
}

// A client that reads the primary again and again because that is what keeps it there gets back to a replica.
func TestAReaderComesBackToTheReplicas(t *testing.T) {
	roles := &slowRoles{}
	p := roles.start(t)
	c := p.connect(t, "")
	mustExec(t, c, "select pg_advisory_xact_lock(1)") // which may write, for all that is known
	if got := where(t, c); got != "primary" {
		t.Fatalf("right after a write the %s is read", got)
	}
	back := make(chan string, 1)
	go func() {
		for {
			got := where(t, c)
			if got == "replica" {
				back <- got
				return
			}
		}
	}()
	for seen := false; !seen; {
		waitFor(t, "a read to wait", func() bool { seen = waitingReads(t, p) == 1; return seen })
		roles.arrive()
		select {
		case <-back:
		case <-time.After(time.Second): // it was too late for that one
			seen = false
		}
	}
	if got := where(t, c); got != "replica" {
		t.Errorf("and then the %s is read", got)
	}
}

// A read that waits in vain is answered by the primary, and the next ones do not wait.
func TestAReadWaitsNotForLong(t *testing.T) {
	roles := &slowRoles{}
	p := roles.start(t)
	c := p.connect(t, "")
	mustExec(t, c, "select pg_advisory_xact_lock(1)")
	waits := 0
	for begin := time.Now(); time.Since(begin) < 500*time.Millisecond; {
		if got := where(t, c); got != "primary" {
			t.Fatalf("read on the %s", got)
		}
		p.on(t, 0, func(w *worker) {
			for cl := range w.clients {
				if !cl.past(w.clientsTime(), cl.patient) {
					waits++
				}
			}
		})
	}
	if waits == 0 {
		t.Error("it is ready to wait each time")
	}
}

// A cancel request and the end of the connection reach a read that waits.
func TestAWaitingReadCanBeCancelled(t *testing.T) {
	roles := &slowRoles{}
	p := roles.start(t)
	for _, end := range []string{"cancel", "close"} {
		c := p.connect(t, simple)
		mustExec(t, c, "select pg_advisory_xact_lock(1)")
		for waited := false; !waited; { // until a request comes in time
			time.Sleep(afterWrite)
			done := make(chan error, 1)
			go func() {
				_, err := c.Exec(context.Background(), "select 1")
				done <- err
			}()
			for len(done) == 0 && waitingReads(t, p) == 0 {
			}
			p.on(t, 0, func(w *worker) {
				for _, a := range w.awaiting {
					waited = true
					if end == "cancel" {
						a.client.cancelled(func() {})
					} else {
						a.client.close(nil)
					}
				}
			})
			err := <-done
			switch {
			case waited && end == "cancel" && !hasCode(err, "57014"), waited && end == "close" && err == nil, !waited && err != nil:
				t.Fatalf("%s: %v", end, err)
			}
			if !waited {
				mustExec(t, c, "select pg_advisory_xact_lock(1)")
			}
		}
		if end == "cancel" {
			mustExec(t, c, "select 1")
		}
		waitFor(t, "the wait to be forgotten", func() bool { return waitingReads(t, p) == 0 })
	}
}

// What a replica has shown may be gone when it has been started again: the primary is read until it is sure to be back.
func TestAReplicaThatStartedAgainHasToCatchUp(t *testing.T) {
	roles := &slowRoles{}
	p := roles.start(t)
	c := p.connect(t, "")
	if got := where(t, c); got != "replica" {
		t.Fatalf("the %s is read", got)
	}
	roles.floors.Add(1)
	if got := where(t, c); got != "replica" {
		t.Fatalf("the %s is read while nothing has changed", got)
	}
	roles.lives.Add(1)
	if got := where(t, c); got != "primary" {
		t.Fatalf("the %s is read", got)
	}
	roles.arrive()
	if got := where(t, c); got != "replica" {
		t.Fatalf("the %s is read when it has caught up", got)
	}
}

// Who is told of something by NOTIFY can read it.
func TestWhatANotificationTellsCanBeRead(t *testing.T) {
	p := startSplit(t, 2, nil)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	primary := direct(t, 0)
	mustExec(t, primary, "drop table if exists told; create table told(n int)")
	c := p.connect(t, "")
	mustExec(t, c, "listen told")
	waitFor(t, "reads to reach the replica", func() bool { return where(t, c) == "replica" })
	pauseReplay(t)
	mustExec(t, primary, "begin; insert into told values (1); notify told; commit")
	if n := number(t, p.connect(t, ""), "select count(*) from told"); n != 0 {
		t.Fatalf("%d rows on a replica that stands still", n)
	}
	if _, err := c.WaitForNotification(ctx); err != nil {
		t.Fatal(err)
	}
	if n := number(t, c, "select count(*) from told"); n != 1 {
		t.Errorf("told of a row, and reads %d", n)
	}
}

// What is seen on the primary is not unseen on a replica.
func TestWhatWasReadOnThePrimaryIsReadAgain(t *testing.T) {
	p := startSplit(t, 1, nil)
	primary := direct(t, 0)
	mustExec(t, primary, "drop table if exists seen; create table seen(n int)")
	pauseReplay(t)
	mustExec(t, primary, "insert into seen values (1)")
	c := p.connect(t, "")
	if n := number(t, c, "select count(*) from seen"); n != 0 {
		t.Fatalf("%d rows on a replica that stands still", n)
	}
	if n := number(t, c, "/* outrigger: primary */ select count(*) from seen"); n != 1 {
		t.Fatalf("%d rows on the primary", n)
	}
	if n := number(t, c, "select count(*) from seen"); n != 1 {
		t.Errorf("%d rows afterwards", n)
	}
}

// eventual asks for nothing, and token for nothing but what the token names.
func TestEventualReadsWhatTheReplicaHas(t *testing.T) {
	for _, consistency := range []Consistency{ConsistencyEventual, ConsistencyToken} {
		t.Run(consistency.String(), func(t *testing.T) {
			p := startSplit(t, 1, func(c *Config) { c.Tuning.Defaults.Consistency = consistency })
			c := p.connect(t, "")
			mustExec(t, c, "drop table if exists stale; create table stale(n int)")
			pauseReplay(t)
			mustExec(t, c, "insert into stale values (1)")
			if n := number(t, c, "select count(*) from stale"); n != 0 {
				t.Errorf("%d rows on a replica that stands still", n)
			}
		})
	}
}

// floorSource is the floor of one database.
type floorSource struct {
	database string
	at       atomic.Pointer[Position]
}

func (f *floorSource) Floor(database string, _ Roles) Position {
	if at := f.at.Load(); at != nil && database == f.database {
		return *at
	}
	return Position{}
}

func (f *floorSource) Wrote(string, Roles) {}

// cluster asks a source how far others have written.
func TestClusterReadsWhatOthersHaveWritten(t *testing.T) {
	source := &floorSource{database: "postgres"}
	p := startSplit(t, 1, func(c *Config) {
		c.Tuning.Defaults.Consistency = ConsistencyCluster
		c.Floors = source
	})
	primary := direct(t, 0)
	mustExec(t, primary, "drop table if exists others; create table others(n int)")
	pauseReplay(t)
	mustExec(t, primary, "insert into others values (1)")
	if n := number(t, p.connect(t, ""), "select count(*) from others"); n != 0 {
		t.Fatalf("%d rows on a replica that stands still", n)
	}
	source.at.Store(&Position{LSN: uint64(number(t, primary, "select "+health.InsertPosition+"::bigint"))})
	if n := number(t, p.connect(t, ""), "select count(*) from others"); n != 1 {
		t.Errorf("%d rows of another's", n)
	}
	mustExec(t, direct(t, 1), "select pg_wal_replay_resume()")
	c := p.connect(t, "")
	waitFor(t, "the replica to be read again", func() bool { return where(t, c) == "replica" })
}

// At the start of a page or of a file the log's end, as the primary tells it, is behind a header that a replica does not
// reach before something else is written. It need not be.
func TestALogThatEndsWithAPageIsReached(t *testing.T) {
	p := startSplit(t, 1, nil)
	primary := direct(t, 0)
	for _, tc := range []struct{ what, sql string }{
		{"file", "select pg_switch_wal()"},
		{"page", `do $$ begin
			for i in 1..100000 loop
				perform pg_logical_emit_message(false, 'fill', repeat('x', (random() * 100)::int));
				exit when mod(pg_current_wal_insert_lsn() - '0/0'::pg_lsn, 8192) = 24;
			end loop; end $$`},
	} {
		c := p.connect(t, "")
		mustExec(t, c, "select pg_advisory_xact_lock(1)")          // so that it takes a floor
		waitFor(t, "the log to end with a "+tc.what, func() bool { // others may write too
			mustExec(t, primary, tc.sql)
			n := number(t, primary, "select mod(pg_current_wal_insert_lsn() - '0/0'::pg_lsn, 8192)::int")
			return n == 24 || n == 40
		})
		mustExec(t, c, "/* outrigger: primary */ select 1")
		for end := time.Now().Add(5 * time.Second); where(t, c) != "replica"; {
			if time.Now().After(end) { // soon the primary writes something by itself
				t.Fatalf("%s: the replica is not read although it has everything", tc.what)
			}
		}
	}
}

// Who leaves its replica for another sees there what it has seen here, whatever the other is behind.
func TestWhatAReplicaHasShownIsShownByTheNext(t *testing.T) {
	roles := &slowRoles{}
	p := start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(testServer(t, 0), testServer(t, 1), testServer(t, 1))
		c.Roles = func([]Server) (Roles, error) { return &lostRoles{slowRoles: roles}, nil }
	})
	c := p.connect(t, "")
	if got := where(t, c); got != "replica" {
		t.Fatalf("the %s is read", got)
	}
	var first int
	p.on(t, 0, func(w *worker) {
		for cl := range w.clients {
			first = int(cl.replica) - 1
		}
	})
	roles.lost.Store(int32(first))
	if got := where(t, c); got != "primary" {
		t.Fatalf("the %s is read before the other is known to show the same", got)
	}
	roles.arrive()
	if got := where(t, c); got != "replica" {
		t.Fatalf("the %s is read when it is known to", got)
	}
}

// lostRoles has two replicas, one of which may be lost.
type lostRoles struct{ *slowRoles }

func (r *lostRoles) Usable(i int, _ *Policy) bool { return i > 0 && int32(i) != r.lost.Load() }
