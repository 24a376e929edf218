package pgpool

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A unit that waits to be run again when the second server is lost too is the client's next in a failed transaction.
func TestReplayInAFailedTransaction(t *testing.T) {
	var begins atomic.Int32
	primary := startStub(t, func(_ int, sql string) []byte { return answer(sql) })
	replica := startStub(t, func(n int, sql string) []byte {
		switch {
		case strings.HasPrefix(sql, "begin read only"):
			if begins.Add(1) == 2 {
				return nil
			}
			return tagged("BEGIN", pgwire.InBlock)
		case strings.HasPrefix(sql, "rollback transaction") && begins.Load() == 1:
			return nil
		}
		return answer(sql)
	})
	w := startBeforeBoth(t, primary, replica).committed(t)
	w.send(t, "begin read only")
	w.hears()
	w.send(t, "rollback transaction; select 1")
	if code, status := w.hears(); code != "" || status != pgwire.Idle {
		t.Errorf("answered %q, state %q", code, status)
	}
	if n := begins.Load(); n != 2 {
		t.Errorf("%d transactions were begun", n)
	}
}

// A client whose unit cannot be told from what comes next is ended instead.
func TestGivingUpWhatHasNotCome(t *testing.T) {
	p := start(t, 1, nil)
	w := p.own(t)
	waitFor(t, "the loop to have the client", func() (there bool) {
		p.on(t, 0, func(w *worker) {
			for c := range w.clients {
				c.giveUp(cancelledInQueue.with())
				there = true
			}
		})
		return there
	})
	if code := lastWords(t, w.nc); code != "57014" {
		t.Errorf("told %q", code)
	}
}

// What comes of a unit when the replica has refused it already is run with the rest: here the COMMIT, which waits for the
// answers before it.
func TestAllOfAUnitRunsAgain(t *testing.T) {
	p := startKnown(t, 1, nil)
	mustExec(t, direct(t, 0), "drop table if exists late_unlogged; create unlogged table late_unlogged(n int)")
	if err := pg.WaitCaughtUp(context.Background()); err != nil {
		t.Fatal(err)
	}
	w := p.own(t)
	got := ""
	for _, m := range w.play(join(run("begin read only"), run("select * from late_unlogged"), run("commit"), syncs), whole) {
		got += string(m.typ)
	}
	if got != "12C12C12CZ" || w.status != pgwire.Idle {
		t.Errorf("answered %s, state %q", got, w.status)
	}
}

// Cancelling a unit, part of which waits to be run again, takes the rest with it.
func TestCancelOfAUnitOfWhichPartRunsAgain(t *testing.T) {
	p := startKnown(t, 1, nil)
	replica := direct(t, 1)
	w := p.own(t)
	w.nc.SetDeadline(time.Now().Add(deadline))
	var b []byte
	for _, m := range join(run("begin read only"), run("select 1 from pg_sleep(20.25)"), run("commit"), syncs) {
		b = append(b, m.encode()...)
	}
	w.nc.Write(b)
	const sleeps = "query like '%pg_sleep(20.25)%' and state = 'active' and pid <> pg_backend_pid()"
	waitFor(t, "the read to run on the replica", func() bool {
		return number(t, replica, "select count(*) from pg_stat_activity where "+sleeps) == 1
	})
	paused := func(yes bool) {
		p.turn("", func(s *switches) { s.paused = yes })
		p.onGroups("", (*group).obey)
	}
	paused(true)
	mustExec(t, replica, "select pg_terminate_backend(pid, 10000) from pg_stat_activity where "+sleeps)
	waitFor(t, "the read to wait", func() bool { return waiting(t, p) == 1 })
	w.cancel()
	if code, status := w.hears(); code != "57014" || status != pgwire.Idle {
		t.Fatalf("cancelled: %q, state %q", code, status)
	}
	paused(false)
	w.works(t, "next")
}

// A unit is cancelled that waits to be run again behind the BEGIN of its transaction, also when nothing follows it.
func TestCancelOfAReplayBehindABegin(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	var reads atomic.Int32
	primary := startStub(t, func(_ int, sql string) []byte {
		switch {
		case strings.HasPrefix(sql, "begin read only"):
			close(begun)
			<-release
			return tagged("BEGIN", pgwire.InBlock)
		case strings.HasPrefix(sql, "select 1"):
			reads.Add(1)
		}
		return answer(sql)
	})
	replica := startStub(t, func(_ int, sql string) []byte {
		switch {
		case strings.HasPrefix(sql, "begin read only"):
			return tagged("BEGIN", pgwire.InBlock)
		case strings.HasPrefix(sql, "select 1"):
			return failing("40001", pgwire.InFailed) // a conflict with recovery
		}
		return answer(sql)
	})
	p := startBeforeBoth(t, primary, replica)
	w := p.committed(t)
	w.send(t, "begin read only")
	w.hears()
	w.send(t, "select 1")
	select {
	case <-begun:
	case <-time.After(deadline):
		t.Fatal("it is not run again")
	}
	w.cancel()
	close(release)
	if code, status := w.hears(); code != "57014" || status != pgwire.InFailed {
		t.Errorf("cancelled: %q, state %q", code, status)
	}
	p.settled(t, 1)
	if n := reads.Load(); n != 0 {
		t.Errorf("%d reads on the primary", n)
	}
}

// What a unit does to the client's statements is undone before it is run again because its server was lost.
func TestLostUnitsFindTheirStatements(t *testing.T) {
	f, p := startFaultyReplica(t, nil)
	for _, tc := range []struct {
		name string
		unit step
		want string
	}{
		{"closed behind", step{bind("", "s"), execute("", 0), closing('S', "s"), syncs}, "2 D first C 3 Z"},
		{"replaced behind", join(bind("", "s"), execute("", 0), closing('S', "s"), parse("s", "select 'other'"), bind("", "s"), execute("", 0), syncs), "2 D first C 3 1 2 D other C Z"},
		{"unnamed", join(bind("", ""), execute("", 0), run("select 'other'"), syncs), "2 D unnamed C 1 2 D other C Z"},
		{"new", step{parse("t", "select 'other'"), bind("", "t"), execute("", 0), syncs}, "1 2 D other C Z"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := p.own(t)
			w.play(join(parse("s", "select 'first'"), run("select 'unnamed'"), syncs), whole)
			before := p.repeats(t)
			f.arm(fault{after: 1, then: cutOff})
			got := ""
			for _, m := range w.play(tc.unit, whole) {
				switch m.typ {
				case pgwire.DataRow:
					got += "D " + string(m.body[6:]) + " "
				case pgwire.ErrorResponse:
					got += "E " + pgwire.ParseError(m.body).Code + " "
				default:
					got += string(m.typ) + " "
				}
			}
			if strings.TrimSpace(got) != tc.want {
				t.Errorf("answered %s, want %s", got, tc.want)
			}
			if n := p.repeats(t) - before; n != 1 {
				t.Errorf("run again %d times", n)
			}
			w.nc.Close()
		})
	}
}
