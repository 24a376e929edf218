package pgpool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// scribes write a row after the other, each its own numbers, and remember those whose commit they were told of.
type scribes struct {
	last    atomic.Int64 // when the latest write came back, Unix nanoseconds
	stop    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	written map[int]bool
	errors  map[string]int
	drops   int // connections that were lost
}

func startScribes(p *testPooler, n int) *scribes {
	s := &scribes{stop: make(chan struct{}), written: make(map[int]bool), errors: make(map[string]int)}
	for i := range n {
		s.running.Go(func() { s.write(p, i*1_000_000) })
	}
	return s
}

func (s *scribes) write(p *testPooler, number int) {
	var c *pgx.Conn
	for {
		select {
		case <-s.stop:
			if c != nil {
				c.Close(context.Background())
			}
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		var err error
		if c == nil || c.IsClosed() {
			c, err = pgx.Connect(ctx, p.url(""))
		}
		if err == nil {
			number++
			_, err = c.Exec(ctx, "insert into written values ($1)", number)
		}
		cancel()
		s.mu.Lock()
		if err == nil {
			s.written[number] = true
			s.last.Store(time.Now().UnixNano())
		} else {
			s.errors[err.Error()]++
			if c != nil && c.IsClosed() {
				s.drops++
			}
		}
		s.mu.Unlock()
		if err != nil {
			time.Sleep(10 * time.Millisecond) // as an application would
		}
	}
}

// since returns how long after a moment writes came back again.
func (s *scribes) since(t *testing.T, moment time.Time) time.Duration {
	t.Helper()
	waitFor(t, "writes to flow again", func() bool { return s.last.Load() > moment.UnixNano() })
	return time.Unix(0, s.last.Load()).Sub(moment)
}

// Patroni moves the primary among three hosts, once as asked and once because its machine is lost. The pooler, which was
// told nothing but the hosts, follows; clients stay connected; what was committed is there; who comes back is a replica.
func TestPatroni(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cluster, err := devpg.StartPatroni(ctx, 3)
	if errors.Is(err, devpg.ErrNoPatroni) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			for i := range cluster.Len() {
				t.Logf("member %d:\n%s", i, cluster.Log(i))
			}
		}
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	}()
	hosts := []string{cluster.Addr(0), cluster.Addr(1), cluster.Addr(2)}
	var servers []Server
	for _, u := range pgwire.SplitHosts("postgres://postgres@" + strings.Join(hosts, ",") + "/postgres?sslmode=disable") {
		s, err := ParseURL(u)
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	var watcher *Watcher
	p := start(t, 2, func(c *Config) {
		c.Tuning.Databases = fallback(servers...)
		c.Tuning.Defaults.FailoverWait = deadline
		c.Roles = func(servers []Server) (_ Roles, err error) {
			watcher, err = NewWatcher(servers, c.Logger)
			return watcher, err
		}
	})
	leads := func(i int) func() bool {
		return func() bool { return cluster.Leader(ctx) == i && isPrimary(watcher, i)() }
	}
	replicas := func() (n int) {
		for i := range servers {
			if watcher.Usable(i, &Policy{}) {
				n++
			}
		}
		return n
	}
	first := cluster.Leader(ctx)
	waitFor(t, "the leader to be found", leads(first))
	waitFor(t, "two replicas", func() bool { return replicas() == 2 })
	mustExec(t, p.connect(t, ""), "create table written (n int)")
	s := startScribes(p, 4)
	defer s.running.Wait()
	var once sync.Once
	stop := func() { once.Do(func() { close(s.stop) }) }
	defer stop()
	s.since(t, time.Now())

	second := synchronous(t, ctx, cluster)
	if err := cluster.Switchover(ctx, first, second); err != nil {
		t.Fatal(err)
	}
	moment := time.Now()
	waitFor(t, "the candidate to lead", leads(second))
	t.Logf("after the switchover writes came back in %v", s.since(t, moment))
	waitFor(t, "the old leader to be a replica", func() bool { return replicas() == 2 })

	synchronous(t, ctx, cluster)
	cluster.Kill(second)
	waitFor(t, "the loss to be noticed", func() bool { return !isPrimary(watcher, second)() })
	promoted := make(chan time.Time, 1)
	go func() { promoted <- awaitPromotion(ctx, hosts, second) }()
	waitFor(t, "another leader", func() bool { i := cluster.Leader(ctx); return i >= 0 && i != second && leads(i)() })
	moment = <-promoted
	took := s.since(t, moment)
	t.Logf("after the promotion writes came back within %v", took)
	if took > 10*time.Second {
		t.Errorf("writes came back %v after the promotion", took)
	}
	if h := p.healthOf(t, hosts[second]); h.State != "down" || h.Primary {
		t.Errorf("the lost member is shown as %+v", h)
	}

	if err := cluster.Restart(second); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the lost member to be a replica", func() bool { return watcher.Usable(second, &Policy{}) })
	stop()
	s.running.Wait()
	there := make(map[int]bool)
	rows, err := p.connect(t, "").Query(ctx, "/* outrigger: primary */ select n from written")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		there[n] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for n := range s.written {
		if !there[n] {
			t.Errorf("write %d was acknowledged and is lost", n)
		}
	}
	t.Logf("%d writes, %d connections lost, errors %v", len(s.written), s.drops, s.errors)
	if s.drops > 0 {
		t.Errorf("%d clients lost their connection", s.drops)
	}
	for said := range s.errors { // those of statements under way, and nothing else
		if !strings.Contains(said, "SQLSTATE 08006") && !strings.Contains(said, "SQLSTATE 57P01") {
			t.Errorf("a client was told %q", said)
		}
	}
}

// synchronous returns the member to which commits are replicated before they return.
func synchronous(t *testing.T, ctx context.Context, cluster *devpg.Patroni) (i int) {
	t.Helper()
	waitFor(t, "a synchronous replica", func() bool {
		all, _ := cluster.States(ctx)
		for _, s := range all {
			if s.Role == "sync_standby" {
				_, err := fmt.Sscanf(s.Name, "member%d", &i)
				return err == nil
			}
		}
		return false
	})
	return i
}

// awaitPromotion returns when one of the hosts but a lost one was first seen to take writes.
func awaitPromotion(ctx context.Context, hosts []string, lost int) time.Time {
	for ctx.Err() == nil {
		for i, host := range hosts {
			if i == lost {
				continue
			}
			c, err := pgx.Connect(ctx, "postgres://postgres@"+host+"/postgres?sslmode=disable")
			if err != nil {
				continue
			}
			var recovery bool
			err = c.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&recovery)
			c.Close(ctx)
			if err == nil && !recovery {
				return time.Now()
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Time{}
}
