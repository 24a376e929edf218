package health

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake plays a primary (server 0) and a replica over memory.
type fake struct {
	down, hangs      atomic.Bool
	lsn, replayed    atomic.Int64
	inserts, replays atomic.Int64 // samples asked for
	probes           atomic.Int64
	serving          sync.WaitGroup
}

func (f *fake) dial(_ context.Context, server int) (net.Conn, error) {
	if f.down.Load() {
		return nil, errors.New("refused")
	}
	ours, theirs := net.Pipe()
	f.serving.Go(func() {
		defer theirs.Close()
		b := pgproto3.NewBackend(pgproto3.NewChunkReader(theirs), theirs)
		for {
			m, err := b.Receive()
			if err != nil || f.down.Load() {
				return
			}
			if f.hangs.Load() {
				continue
			}
			var row []string
			switch m.(*pgproto3.Query).String {
			case probeSQL:
				f.probes.Add(1)
				recovery := "f"
				if server != 0 {
					recovery = "t"
				}
				row = []string{recovery, "1", "7", "150000", "100", strconv.FormatInt(f.replayed.Load(), 10), "0"}
			case insertSQL:
				f.inserts.Add(1)
				row = []string{strconv.FormatInt(f.lsn.Load(), 10)}
			case replaySQL:
				f.replays.Add(1)
				row = []string{strconv.FormatInt(f.replayed.Load(), 10)}
			}
			values := make([][]byte, len(row))
			for i, v := range row {
				values[i] = []byte(v)
			}
			var out []byte
			for _, m := range []pgproto3.BackendMessage{&pgproto3.DataRow{Values: values},
				&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'}} {
				out, _ = m.Encode(out)
			}
			if _, err := theirs.Write(out); err != nil {
				return
			}
		}
	})
	return ours, nil
}

// The whole sampler in fake time: asleep when nobody waits, paced when somebody does, patient with a slow replica.
func TestSamplerPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.lsn.Store(1000)
		m, err := New(Config{Servers: []string{"0", "1"}, Dial: f.dial})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()

		time.Sleep(10*time.Second + time.Millisecond)
		if p, ok := m.Snapshot().Primary(); !ok || p != 0 {
			t.Fatalf("primary %d, %v", p, ok)
		}
		if n := f.inserts.Load() + f.replays.Load(); n != 0 {
			t.Fatalf("%d samples while nobody waits", n)
		}
		// Ten intervals, and a few more while the first server had found no primary yet.
		if n := f.probes.Load(); n < 20 || n > 26 {
			t.Fatalf("%d probes of two servers in 10 s", n)
		}

		floor := m.Floor()
		f.replayed.Store(1000)
		time.Sleep(3 * time.Second)
		if n := f.inserts.Load(); n != 1 || !m.ReplicaHasReached(1, floor) {
			t.Fatalf("%d samples for a floor that nobody wants, reached %v", n, m.ReplicaHasReached(1, floor))
		}
		f.lsn.Store(1100)
		floor = m.Floor()
		m.Want(floor)
		time.Sleep(4 * time.Millisecond)
		if f.inserts.Load() != 2 || m.ReplicaHasReached(1, floor) {
			t.Fatalf("%d samples, reached %v", f.inserts.Load(), m.ReplicaHasReached(1, floor))
		}
		f.replayed.Store(1100)
		time.Sleep(10 * time.Millisecond)
		if !m.ReplicaHasReached(1, floor) {
			t.Fatal("not reached")
		}
		inserts, replays := f.inserts.Load(), f.replays.Load()
		time.Sleep(900 * time.Millisecond)
		if f.inserts.Load() != inserts || f.replays.Load() != replays {
			t.Fatal("goes on although the replica is there")
		}

		for range 1000 { // a writer per millisecond
			m.Want(m.Floor())
			time.Sleep(time.Millisecond)
		}
		if n := f.inserts.Load() - inserts; n > 201 || n < 190 { // both ends count
			t.Fatalf("%d samples in a second", n)
		}

		f.lsn.Store(2000)
		m.Want(m.Floor())
		time.Sleep(2 * time.Second)
		replays = f.replays.Load()
		time.Sleep(10 * time.Second)
		if n := f.replays.Load() - replays; n < 90 || n > 110 {
			t.Fatalf("%d samples of a stuck replica in 10 s", n)
		}

		f.down.Store(true)
		time.Sleep(3 * time.Second)
		if _, ok := m.Snapshot().Primary(); ok || m.Snapshot().Servers[0].LastError == nil {
			t.Fatal("still up")
		}
		if m.ReplicaHasReached(1, floor) {
			t.Fatal("a replica that is down has reached")
		}
		f.down.Store(false)
		time.Sleep(time.Second)
		if _, ok := m.Snapshot().Primary(); !ok {
			t.Fatal("not up again")
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		f.serving.Wait()
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

func exec(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// One life of a real cluster: roles, replay paused, a replica lost, a failover, the old primary back.
func TestRealCluster(t *testing.T) {
	cluster, err := devpg.Start(t.Context(), devpg.Options{Replicas: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Stop()
	credentials := auth.NewCredentials(devpg.User, "")
	var changes atomic.Int64
	m, err := New(Config{
		Servers:  []string{cluster.Addr(0), cluster.Addr(1), cluster.Addr(2)},
		Interval: 100 * time.Millisecond, TroubleInterval: 50 * time.Millisecond,
		Dial: func(ctx context.Context, server int) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", cluster.Addr(server))
			if err != nil {
				return nil, err
			}
			s, err := auth.Login(ctx, conn, auth.LoginParams{Credentials: credentials})
			return s.Conn, err
		},
		OnChange: func(*Snapshot) { changes.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	isPrimary := func(i int) func() bool {
		return func() bool {
			p, ok := m.Snapshot().Primary()
			return ok && p == i
		}
	}

	eventually(t, "roles are known", func() bool {
		s := m.Snapshot().Servers
		return isPrimary(0)() && s[1].Role == RoleReplica && s[2].Role == RoleReplica
	})
	for i, s := range m.Snapshot().Servers {
		if !s.Up || s.SystemID == 0 || s.Timeline != 1 || s.Version < 100000 || s.CheckedAt.IsZero() ||
			s.SystemID != m.Snapshot().Servers[0].SystemID || s.LastError != nil {
			t.Fatalf("server %d: %+v", i, s)
		}
	}

	// Who may look at no statistics learns as much, but for a replica's timeline, which the control file tells late.
	exec(t, cluster.URL(0), "create role plain login")
	exec(t, cluster.URL(0), "checkpoint")
	if err := cluster.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range cluster.Len() {
		conn, err := net.Dial("tcp", cluster.Addr(i))
		if err != nil {
			t.Fatal(err)
		}
		session, err := auth.Login(t.Context(), conn, auth.LoginParams{Credentials: auth.NewCredentials("plain", ""), Database: devpg.Database})
		if err != nil {
			t.Fatal(err)
		}
		s, err := newLink(session.Conn).probe(10 * time.Second)
		session.Conn.Close()
		if want := m.Snapshot().Servers[i]; err != nil || s.Timeline != 1 || s.SystemID != want.SystemID || s.Role != want.Role || s.LSN == 0 {
			t.Errorf("server %d to a plain user: %v, %+v", i, err, s)
		}
	}

	// Replicas of an idle primary are not behind, not even where a segment begins: the next record goes behind a page header.
	exec(t, cluster.URL(0), "select pg_switch_wal()")
	eventually(t, "the replicas are at the end", func() bool {
		s := m.Snapshot().Servers
		return s[1].LagBytes == 0 && s[2].LagBytes == 0 && s[1].ReplayLSN == s[0].LSN
	})
	at := m.Snapshot().Servers[0].LSN
	time.Sleep(300 * time.Millisecond) // several probes
	if s := m.Snapshot().Servers; s[0].LSN == at && (s[1].Lag != 0 || s[2].Lag != 0) {
		t.Errorf("behind an idle primary: %+v", s[1:])
	}

	exec(t, cluster.URL(0), "create table t (a int)")
	floor := m.Floor()
	m.Want(floor)
	eventually(t, "replicas follow", func() bool { return m.ReplicaHasReached(1, floor) && m.ReplicaHasReached(2, floor) })

	exec(t, cluster.URL(1), "select pg_wal_replay_pause()")
	exec(t, cluster.URL(0), "insert into t values (1)")
	floor = m.Floor()
	m.Want(floor)
	eventually(t, "the other replica follows", func() bool { return m.ReplicaHasReached(2, floor) })
	if m.ReplicaHasReached(1, floor) {
		t.Fatal("a replica that does not replay has reached")
	}
	exec(t, cluster.URL(1), "select pg_wal_replay_resume()")
	eventually(t, "replay resumed", func() bool { return m.ReplicaHasReached(1, floor) })

	// A replica without its primary has replayed all that it has, and yet falls behind.
	limit := 500 * time.Millisecond
	within := func(i int) bool { s := m.Snapshot().Servers[i]; return s.Within(limit, 0) }
	eventually(t, "both are within the limit", func() bool { return within(1) && within(2) })
	exec(t, cluster.URL(1), "alter system set primary_conninfo = ''")
	exec(t, cluster.URL(1), "select pg_reload_conf()")
	exec(t, cluster.URL(1), "do $$begin while exists (select from pg_stat_wal_receiver) loop perform pg_sleep(0.01); perform pg_stat_clear_snapshot(); end loop; end$$")
	exec(t, cluster.URL(0), "insert into t values (2)")
	eventually(t, "the cut off replica is over the limit", func() bool { return !within(1) })
	if s := m.Snapshot().Servers; !s[1].Up || s[1].ReplayLSN != s[1].LSN || s[1].LagBytes <= 0 || !within(2) {
		t.Errorf("the replicas are %+v", s[1:])
	}
	exec(t, cluster.URL(1), "alter system reset primary_conninfo")
	exec(t, cluster.URL(1), "select pg_reload_conf()")
	eventually(t, "it is within the limit again", func() bool { return within(1) && m.Snapshot().Servers[1].LagBytes == 0 })

	cluster.Kill(2)
	eventually(t, "killed replica is down", func() bool { return !m.Snapshot().Servers[2].Up })
	if m.ReplicaHasReached(2, floor) {
		t.Fatal("a killed replica has reached")
	}

	cluster.Kill(0)
	eventually(t, "no primary", func() bool { _, ok := m.Snapshot().Primary(); return !ok })
	if err := cluster.Promote(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "promotion is noticed", isPrimary(1))
	if s := m.Snapshot().Servers[1]; s.Timeline != 2 {
		t.Fatalf("timeline %d, want 2", s.Timeline)
	}

	if err := cluster.StartNode(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old one is back", func() bool { return m.Snapshot().Servers[0].Up })
	if s := m.Snapshot().Servers[0]; s.Role != RolePrimary || s.Timeline != 1 || s.Fence != OldPrimary || s.Within(0, 0) {
		t.Fatalf("the old primary is %+v", s)
	}
	if !isPrimary(1)() {
		t.Fatal("the old primary took over")
	}
	if changes.Load() < 6 {
		t.Fatalf("told of %d changes", changes.Load())
	}
}

// Who is doubted is asked at once, but not more often than every 20 ms.
func TestDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		m, err := New(Config{Servers: []string{"0", "1"}, Dial: f.dial, Interval: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(time.Minute)
		before := f.probes.Load()
		m.Doubt(1)
		time.Sleep(time.Millisecond)
		if n := f.probes.Load() - before; n != 1 {
			t.Errorf("%d probes of who is doubted", n)
		}
		before = f.probes.Load()
		for range 1000 {
			m.Doubt(0)
			time.Sleep(time.Millisecond)
		}
		if n := f.probes.Load() - before; n < 40 || n > 51 {
			t.Errorf("%d probes in a second of doubt", n)
		}

		// A primary that is gone is missed at once, and so is what the others know of that.
		f.down.Store(true)
		m.Doubt(0)
		time.Sleep(50 * time.Millisecond)
		if _, ok := m.Snapshot().Primary(); ok || m.Snapshot().Servers[1].Up {
			t.Errorf("still there: %+v", m.Snapshot())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.serving.Wait()
	})
}

// A server that has moved is nobody until it has been asked at its new place.
func TestMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		m, err := New(Config{Servers: []string{"0", ""}, Dial: f.dial, Interval: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(time.Minute)
		if _, ok := m.Snapshot().Primary(); !ok || f.probes.Load() != 1 || m.Snapshot().Present() != 1 {
			t.Errorf("%d probes, %+v", f.probes.Load(), m.Snapshot())
		}
		m.Move(1, "1")
		if s := m.Snapshot().Servers[1]; s.Up || s.Addr != "1" {
			t.Errorf("before it is asked: %+v", s)
		}
		time.Sleep(time.Millisecond)
		if s := m.Snapshot().Servers[1]; !s.Within(0, 0) || m.Snapshot().Present() != 2 {
			t.Errorf("at its new place: %+v", s)
		}
		m.Move(1, "")
		time.Sleep(time.Millisecond)
		before := f.probes.Load()
		time.Sleep(2 * time.Hour)
		if s := m.Snapshot().Servers[1]; s.Up || s.Within(0, 0) || f.probes.Load()-before > 3 {
			t.Errorf("gone: %+v, %d probes", s, f.probes.Load()-before)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.serving.Wait()
	})
}

// A server that takes connections and answers nothing is down one interval and one timeout later.
func TestAServerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		m, err := New(Config{Servers: []string{"0", "1"}, Dial: f.dial})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(10 * time.Second)
		f.hangs.Store(true)
		time.Sleep(time.Second + 2*time.Second + 100*time.Millisecond)
		if _, ok := m.Snapshot().Primary(); ok || m.Snapshot().Servers[0].LastError == nil {
			t.Errorf("not missed: %+v", m.Snapshot())
		}
		f.hangs.Store(false)
		time.Sleep(2*time.Second + 300*time.Millisecond) // one that asked before may have to give up first
		if _, ok := m.Snapshot().Primary(); !ok {
			t.Errorf("not found again: %+v", m.Snapshot())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.serving.Wait()
	})
}
