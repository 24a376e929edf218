package pgpool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// leaderless is a primary and a replica, or only the replica.
type leaderless struct {
	alone
	gone    atomic.Bool
	without atomic.Bool // a replica
}

func (r *leaderless) Primary() (int, bool)         { return 0, !r.gone.Load() }
func (r *leaderless) Usable(i int, _ *Policy) bool { return i == 1 && !r.without.Load() }
func (r *leaderless) Reached(int, uint64) bool     { return true }

// announce tells the pooler that roles have changed.
func (p *testPooler) announce() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.upstreams {
		p.rolesChanged(u)
	}
}

func startLeaderless(t *testing.T, wait time.Duration) (*leaderless, *testPooler) {
	roles := &leaderless{}
	return roles, start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(testServer(t, 0), testServer(t, 1))
		c.Tuning.Defaults.FailoverWait = wait
		c.Tuning.Defaults.PoolSize = 1
		c.Roles = func([]Server) (Roles, error) { return roles, nil }
	})
}

// Without a primary what needs one waits, in its order, and goes there at once when there is one. Reads go on.
func TestWritesWaitForAPrimary(t *testing.T) {
	roles, p := startLeaderless(t, deadline)
	reader, first, second := p.own(t), p.own(t), p.own(t)
	mustExec(t, direct(t, 0), "drop table if exists waited; create table waited(id serial, who text)")
	first.works(t, "before")
	roles.gone.Store(true)
	insert := func(who string) step { return step{query("insert into waited(who) values ('" + who + "')")} }
	got := make(chan []string, 2)
	for i, w := range []*wire{first, second} {
		s := insert([]string{"first", "second"}[i])
		if i == 1 {
			s = append(run("insert into waited(who) values ('second')"), syncs)
		}
		go func() { got <- normalise(w.play(s, whole)) }()
		waitFor(t, "a client to wait", func() bool { return waiting(t, p) == i+1 })
	}
	reader.works(t, "meanwhile")
	p.on(t, 0, func(w *worker) { // query_wait_timeout is for those that wait for other clients
		for c := range w.clients {
			c.since = c.since.Add(-2 * deadline)
		}
		for _, g := range w.groups {
			g.pools[0].enforceWaits(w.loop.Now())
		}
	})
	if n := waiting(t, p); n != 2 {
		t.Errorf("%d clients wait", n)
	}
	roles.gone.Store(false)
	p.announce()
	for range 2 {
		if answer := <-got; answer[len(answer)-1] != `Z "I"` || !slices.Contains(answer, `C "INSERT 0 1\x00"`) {
			t.Errorf("answered %s", lines(answer))
		}
	}
	var order string
	if err := direct(t, 0).QueryRow(context.Background(), "select string_agg(who, ' ' order by id) from waited").Scan(&order); err != nil || order != "first second" {
		t.Errorf("%q, %v", order, err)
	}
}

// Behind failover_wait a unit of any kind is answered by an error, and its client goes on.
func TestFailoverWaitEnds(t *testing.T) {
	for _, wait := range []time.Duration{0, 200 * time.Millisecond} {
		roles, p := startLeaderless(t, wait)
		w := p.own(t)
		w.works(t, "before")
		roles.gone.Store(true)
		for _, tc := range []struct {
			sent   step
			errors int
		}{
			{step{query("create table never()")}, 1},
			{append(run("create table never()"), syncs), 1},
			{step{parse("never", "create table never()"), flushes, syncs}, 1},
			{join(query("create table never()"), run("create table never()"), syncs, query("select 'read'")), 2},
			{step{call(1598)}, 1},
		} {
			before := time.Now()
			got := normalise(w.play(tc.sent, whole))
			if waited := time.Since(before); waited < time.Duration(tc.errors)*wait {
				t.Errorf("%v: answered after %v", tc.sent, waited)
			}
			errors := 0
			for _, line := range got {
				if strings.HasPrefix(line, "E ERROR 57P03 no server takes writes") {
					errors++
				} else if line[0] == 'E' || line[0] == '!' {
					t.Errorf("%v: %s", tc.sent, line)
				}
			}
			if errors != tc.errors || got[len(got)-1] != `Z "I"` {
				t.Errorf("%v: answered %s", tc.sent, lines(got))
			}
		}
		w.works(t, "meanwhile")
		roles.gone.Store(false)
		got := normalise(w.play(join(query("begin"), query("create table never()"), query("rollback"), step{bind("", "never"), syncs}), whole))
		if !slices.Contains(got, `C "CREATE TABLE\x00"`) || !strings.HasPrefix(got[len(got)-2], "E ERROR 26000") {
			t.Errorf("afterwards: %s", lines(got))
		}
	}
}

// A primary that cannot be reached, or is starting up, is waited for; the reason is told to those that have waited for too
// long.
func TestAnUnreachablePrimaryIsWaitedFor(t *testing.T) {
	f := startFaulty(t)
	p := f.startBehind(t, func(c *Config) {
		c.Tuning.Defaults.FailoverWait = deadline
		c.Tuning.LoginRetry = 5 * time.Millisecond
	})
	for _, starting := range []bool{false, true} {
		w := p.own(t)
		w.works(t, "before")
		f.down(t, starting)
		f.loseServers(t, p)
		got := make(chan []string, 1)
		go func() {
			got <- normalise(w.play(join(query("begin"), query("select 'waited'"), query("commit")), whole))
		}()
		waitFor(t, "a login to fail", func() (failed bool) {
			p.on(t, 0, func(wk *worker) {
				for _, g := range wk.groups {
					failed = g.pools[0].unreachable != nil && g.pools[0].waiting.n == 1
				}
			})
			return failed
		})
		f.up(t)
		if answer := <-got; answer[len(answer)-1] != `Z "I"` || strings.Contains(strings.Join(answer, ""), "E ERROR") {
			t.Errorf("answered %s", lines(answer))
		}
		w.nc.Close()
		p.settled(t, 0)
	}
	impatient := f.startBehind(t, nil)
	w := impatient.own(t)
	w.works(t, "before")
	f.down(t, true)
	f.loseServers(t, impatient)
	w.nc.SetDeadline(time.Now().Add(deadline))
	w.nc.Write(query("create table never()").encode())
	m, err := w.read()
	if err != nil || m.typ != pgwire.ErrorResponse || pgwire.ParseError(m.body).Code != "57P03" || !strings.Contains(string(m.body), "is starting up") {
		t.Errorf("told %v, %v", m, err)
	}
	f.up(t)
}

// down has nobody answer at the wire's address, or a server that says that it is starting up.
func (f *faultyWire) down(t *testing.T, starting bool) {
	t.Helper()
	f.ln.Close()
	if !starting {
		return
	}
	ln := f.listen(t)
	f.ln = ln
	f.running.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			pgwire.ReadStartup(nc)
			nc.Write(pgwire.AppendErrorResponse(nil, &pgwire.Error{Severity: "FATAL", Code: "57P03", Message: "the database system is starting up"}))
			nc.Close()
		}
	})
}

// up ends down.
func (f *faultyWire) up(t *testing.T) {
	t.Helper()
	f.ln.Close()
	f.ln = f.listen(t)
	f.accept(f.ln)
}

func (f *faultyWire) listen(t *testing.T) (ln net.Listener) {
	t.Helper()
	waitFor(t, "the address to be free", func() bool {
		var err error
		ln, err = net.Listen("tcp", f.ln.Addr().String())
		return err == nil
	})
	return ln
}

// What a server says of passwords and names it will say again: nobody waits.
func TestRefusedLoginsAreNotWaitedFor(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.FailoverWait = deadline })
	admin := direct(t, 0)
	mustExec(t, admin, "drop database if exists dropped with (force)")
	mustExec(t, admin, "create database dropped")
	w, err := wireTo(p.addr, "dropped")
	if err != nil {
		t.Fatal(err)
	}
	defer w.nc.Close()
	w.works(t, "before")
	mustExec(t, admin, "drop database dropped with (force)")
	before := time.Now()
	got := normalise(w.play(step{query("select 1")}, whole))
	if !strings.HasPrefix(got[0], "E FATAL 3D000") || time.Since(before) > deadline/2 {
		t.Errorf("answered %s after %v", lines(got), time.Since(before))
	}
	for err, want := range map[error]bool{
		&pgwire.Error{Code: "28P01"}: false, &pgwire.Error{Code: "3D000"}: false, &pgwire.Error{Code: "53300"}: false,
		&pgwire.Error{Code: "57P03"}: true, &pgwire.Error{Code: "57P01"}: true,
		errors.New("server asks for the password in clear text"):                           false,
		&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}: true,
		&net.DNSError{Err: "no such host", IsNotFound: true}:                               true,
		io.ErrUnexpectedEOF: true, context.DeadlineExceeded: true, context.Canceled: false,
	} {
		if isAway(fmt.Errorf("log in: %w", err)) != want {
			t.Errorf("%v: away is %v", err, !want)
		}
	}
}

// What would still be committed on a server that is no longer the primary would be lost: transactions there end.
func TestTransactionsOnAnOldPrimaryEnd(t *testing.T) {
	roles := &primaryAt{}
	p := start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(testServer(t, 0), testServer(t, 0))
		c.Roles = func([]Server) (Roles, error) { return roles, nil }
	})
	w := p.own(t)
	w.play(join(query("begin"), query("create table never()")), whole)
	roles.index.Store(1)
	p.announce()
	waitFor(t, "the server to be given up", func() bool { return len(p.pids(t)) == 0 })
	got := normalise(w.play(join(query("commit"), query("select 'new'")), whole))
	if len(got) != 6 || !strings.HasPrefix(got[0], "E ERROR 08006") || got[1] != `Z "I"` {
		t.Errorf("answered %s", lines(got))
	}
}

// A read that recovery ends on a replica runs again on the primary.
func TestConflictWithRecoveryIsNotSeen(t *testing.T) {
	p := startSplit(t, 1, nil)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	primary, replica := direct(t, 0), direct(t, 1)
	mustExec(t, primary, "drop table if exists conflicted; create table conflicted(n int); insert into conflicted values (1)")
	if err := pg.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	mustExec(t, replica, "alter system set max_standby_streaming_delay = 0")
	mustExec(t, replica, "select pg_reload_conf()")
	defer func() {
		mustExec(t, replica, "alter system reset max_standby_streaming_delay")
		mustExec(t, replica, "select pg_reload_conf()")
	}()
	const sql = "select n from conflicted where case when current_setting('cluster_name') = 'node1' then pg_sleep(3600) is not null else true end"
	for _, mode := range []string{"simple_protocol", "cache_statement"} {
		c := p.connect(t, "&default_query_exec_mode="+mode)
		done := make(chan error, 1)
		go func() {
			var n int
			err := c.QueryRow(ctx, sql).Scan(&n)
			if err == nil && n != 1 {
				err = fmt.Errorf("read %d", n)
			}
			done <- err
		}()
		waitFor(t, "the read to run on the replica", func() bool {
			var n int
			return replica.QueryRow(ctx, "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query = $1", sql).Scan(&n) == nil && n == 1
		})
		mustExec(t, primary, "begin; lock table conflicted in access exclusive mode; commit")
		if err := <-done; err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
	var repeated uint64
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			repeated += g.pools[1].stats.repeated
		}
	})
	if repeated != 2 {
		t.Errorf("%d reads were repeated", repeated)
	}
}
