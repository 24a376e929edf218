package pgpool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// loseServers ends all server connections of a pooler, as a crash of the network would, and waits until they are given up.
func (f *faultyWire) loseServers(t *testing.T, p *testPooler) {
	t.Helper()
	f.mu.Lock()
	for l := range f.links {
		resetBoth(l.client, l.server)
	}
	f.mu.Unlock()
	waitFor(t, "the servers to be given up", func() bool { return len(p.pids(t)) == 0 })
	// A server that sleeps notices no lost connection.
	mustExec(t, direct(t, 0), "select pg_terminate_backend(pid) from pg_stat_activity where query ~ 'mine.*pg_sleep' and pid <> pg_backend_pid()")
}

// A transaction whose server is lost behaves as one that has failed on a server, but for the first error, until its client
// ends it; and then everything is as it was before.
func TestAbortedTransactionIsLikeAServers(t *testing.T) {
	f := startFaulty(t)
	p := f.startBehind(t, nil)
	prepared := join(parse("r", "rollback"), syncs, parse("s", "select 1"), syncs)
	extended := func(sql string) step {
		return step{parse("", sql), describe('S', ""), bind("", ""), describe('P', ""), execute("", 0), syncs}
	}
	for _, script := range [][]step{
		{{query("rollback")}},
		{{query("ABORT work;")}},
		{{query("/* a comment */ commit -- and another")}},
		{{query("end")}, {query("select 'after'")}},
		{{query("prepare transaction 'x'")}, {query("rollback")}},
		{{query("select 1")}, {query("insert into nowhere values (1)")}, {query("")}, {query("begin")}, {query("rollback")}},
		{{query("savepoint a")}, {query("release a")}, {query("rollback to savepoint b")}, {query("rollback to b")}, {query("rollback")}},
		{{query("rollback; select 'rest'")}, {query("select 'after'")}},
		{{query("commit; select 'rest'; select 'more'")}},
		{{query("select 1; rollback")}, {query("rollback")}},
		{{query("commit;")}},
		{extended("select 1"), extended("rollback"), extended("select 'after'")},
		{extended("commit")},
		{{bind("", "r"), execute("", 0), syncs}, {bind("", "s"), execute("", 0), syncs}},
		{{bind("", "s"), execute("", 0), syncs}, {bind("", "r"), describe('P', ""), execute("", 1), syncs}},
		{{syncs}, {flushes, syncs}, {closing('P', ""), closing('S', "none"), syncs}, {query("rollback")}},
		{{parse("n", "commit"), syncs}, {bind("", "n"), execute("", 0), syncs}, {closing('S', "n"), syncs}},
		{join(extended("rollback")[:5], extended("select 'in one unit'"))},
		{join(step{query("select 1")}, extended("select 2"), step{query("rollback"), query("select 'behind'")})},
		{{call(1598)}, {query("rollback")}},
		{{copyData("left over"), copyDone, query("rollback")}},
		{{query("copy pg_class from stdin"), copyData("1"), copyDone, query("select 1"), query("rollback")}},
		{{query(";; -- ping")}, extended(""), {query("rollback")}},
	} {
		w := p.own(t)
		d, err := wireTo(pg.Addr(0), "postgres")
		if err != nil {
			t.Fatal(err)
		}
		w.play(join(prepared, query("begin"), query("select 1")), whole)
		d.play(join(prepared, query("begin"), query("select 1/0")), whole)
		f.loseServers(t, p)
		if got := normalise(w.play(step{query("select 'lost'")}, whole)); len(got) != 2 || got[0] != "E ERROR 08006 server connection was lost" || got[1] != `Z "E"` {
			t.Fatalf("told %s", lines(got))
		}
		for _, s := range script {
			want, got := withoutNotices(normalise(d.play(s, whole))), withoutNotices(normalise(w.play(s, whole)))
			if !slices.Equal(want, got) {
				t.Errorf("sent   %s\ndirect %s\npooled %s", lines(s), lines(want), lines(got))
			}
		}
		w.works(t, "afterwards")
		if got := normalise(w.play(join(run("select 1"), syncs, step{bind("", "s"), execute("", 0), syncs}), whole)); got[len(got)-1] != `Z "I"` || strings.HasPrefix(got[len(got)-2], "E") {
			t.Errorf("behind %v: answered %s", script, lines(got))
		}
		w.nc.Close()
		d.nc.Close()
		p.settled(t, 0)
	}
}

// withoutNotices leaves out that there is no transaction to roll back, which a server says of the rest of a string whose
// beginning has ended one here.
func withoutNotices(got []string) []string {
	return slices.DeleteFunc(got, func(line string) bool { return line[0] == 'N' })
}

// A client that did nothing when its transaction was lost must not take the answer to COMMIT for a success.
func TestCommitOfALostTransactionFails(t *testing.T) {
	f := startFaulty(t)
	p := f.startBehind(t, nil)
	for _, s := range []step{{query("commit")}, append(run("commit"), syncs), {query("commit; select 'never'")}} {
		w := p.own(t)
		w.play(join(query("begin"), query("select 1")), whole)
		f.loseServers(t, p)
		got := normalise(w.play(s, whole))
		if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, "E ERROR 08006") }) || got[len(got)-1] != `Z "I"` {
			t.Errorf("%v: answered %s", s, lines(got))
		}
		w.works(t, "afterwards")
		w.nc.Close()
		p.settled(t, 0)
	}
	w := p.own(t) // ROLLBACK has done what it is to do
	w.play(join(query("begin"), query("select 1")), whole)
	f.loseServers(t, p)
	if got := normalise(w.play(step{query("rollback")}, whole)); len(got) != 2 || got[0] != `C "ROLLBACK\x00"` {
		t.Errorf("answered %s", lines(got))
	}
}

// What a unit has parsed that was not answered is gone, what was answered stays, on any server.
func TestBooksAfterALoss(t *testing.T) {
	f := startFaulty(t)
	p := f.startBehind(t, nil)
	w := p.own(t)
	w.play(join(step{parse("kept", "select 'kept'"), syncs}), whole)
	hang := join(step{parse("lost", "select 'lost'"), closing('S', "kept")}, run("select 'mine' from pg_sleep(3600)"), syncs, step{parse("lost too", "select 1"), syncs})
	var b []byte
	for _, m := range hang {
		b = append(b, m.encode()...)
	}
	w.nc.Write(b)
	p.runs(t, "select 'mine' from pg_sleep(3600)")
	f.loseServers(t, p)
	w.owe(hang)
	for len(w.owed) > 0 {
		m, err := w.read()
		if err == nil {
			err = w.take(m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"lost": "26000", "lost too": "26000"} {
		got := normalise(w.play(step{bind("", name), execute("", 0), syncs}, whole))
		if len(got) != 2 || !strings.Contains(got[0], want) {
			t.Errorf("%s: answered %s", name, lines(got))
		}
	}
	w.play(step{parse("again", "select 'again'"), syncs}, whole)
	got := normalise(w.play(step{bind("", "again"), execute("", 0), syncs}, whole))
	if len(got) != 4 || !strings.Contains(got[1], "again") {
		t.Errorf("answered %s", lines(got))
	}
}

// A session that is lost with its server says with what.
func TestWhatIsLostWithAServer(t *testing.T) {
	f := startFaulty(t)
	for what, before := range map[string]step{
		"temporary object":      {query("create temp table gone(x int)")},
		"session advisory lock": {query("select pg_advisory_lock(1)")},
		"cursor WITH HOLD":      {query("declare held cursor with hold for select 1")},
		"SQL PREPARE":           {query("prepare x as select 1")},
		"not known yet":         {query("begin"), query("select pg_advisory_lock(1)")},
		"pool_mode":             {query("select 1")},
	} {
		p := f.startBehind(t, func(c *Config) {
			if what == "pool_mode" {
				c.Tuning.Defaults.Mode = SessionMode
			}
		})
		w := p.own(t)
		w.play(before, whole)
		waitFor(t, "the session to be looked at", func() (idle bool) {
			p.on(t, 0, func(wk *worker) {
				for c := range wk.clients {
					idle = c.server == nil || c.server.owed.n == 0
				}
			})
			return idle
		})
		f.loseServers(t, p)
		m, err := w.read()
		if err != nil || !strings.Contains(m.String(), "FATAL") || !strings.Contains(m.String(), "08006") || !strings.Contains(string(m.body), what) {
			t.Errorf("%s: told %v, %v", what, m, err)
		}
		w.nc.Close()
	}
	p := f.startBehind(t, nil) // what nextval gave is no reason to go
	w := p.own(t)
	w.play(step{query("create sequence if not exists lost_values"), query("select nextval('lost_values'), currval('lost_values')"), query("select nextval('lost_values')")}, whole)
	f.loseServers(t, p)
	if got := normalise(w.play(step{query("select currval('lost_values')")}, whole)); !strings.HasPrefix(got[1], "E ERROR 55000") {
		t.Errorf("currval: answered %s", lines(got))
	}
	w.works(t, "afterwards")
}

// What a statement that is under way would have left is no reason to lose the session: the client knows that it failed.
func TestAStatementThatFailedLeavesNothing(t *testing.T) {
	f := startFaulty(t)
	p := f.startBehind(t, nil)
	w := p.own(t)
	w.works(t, "before")
	const sql = "select 'mine', set_config('my.setting', 'x', false), pg_advisory_lock(7), pg_sleep(3600)"
	w.nc.Write(query(sql).encode())
	p.runs(t, sql)
	f.loseServers(t, p)
	w.owe(step{query(sql)})
	var got []message
	for len(w.owed) > 0 {
		m, err := w.read()
		if err == nil {
			err = w.take(m)
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	if lines := normalise(got); len(lines) != 2 || !strings.HasPrefix(lines[0], "E ERROR 08006") || lines[1] != `Z "I"` {
		t.Errorf("answered %v", lines)
	}
	w.works(t, "afterwards")
}

// A read that is alone on the primary runs again when the connection is lost, but not for ever; a write does not.
func TestALoneReadOnThePrimaryRunsAgain(t *testing.T) {
	f := startFaulty(t)
	p := f.startBehind(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for _, mode := range []string{"simple_protocol", "cache_statement"} {
		c := p.connect(t, "&default_query_exec_mode="+mode)
		for lost := range 4 {
			mustExec(t, direct(t, 0), "drop table if exists lone; create table lone(n int); insert into lone values (1)")
			blocker := direct(t, 0)
			mustExec(t, blocker, "begin; lock table lone in access exclusive mode")
			done := make(chan error, 1)
			go func() {
				var n int
				err := c.QueryRow(ctx, "select n from lone").Scan(&n)
				if err == nil && n != 1 {
					err = fmt.Errorf("read %d", n)
				}
				done <- err
			}()
			for range lost {
				waitFor(t, "the read to wait for the lock", func() bool { return len(p.pids(t)) == 1 && blocked(t, p.pids(t)[0]) })
				pid := p.pids(t)[0]
				f.mu.Lock()
				for l := range f.links {
					resetBoth(l.client, l.server)
				}
				f.mu.Unlock()
				waitFor(t, "the server to be given up", func() bool { return !slices.Contains(p.pids(t), pid) })
			}
			if lost <= maxReruns {
				mustExec(t, blocker, "rollback")
			}
			err := <-done
			if lost <= maxReruns && err != nil || lost > maxReruns && !hasCode(err, "08006") {
				t.Errorf("%s: lost %d times: %v", mode, lost, err)
			}
			blocker.Close(ctx)
		}
	}
}

// A read that somebody has ended on the primary runs again on a replica, and if there is none, the client is told.
func TestATerminatedReadIsNotSentBack(t *testing.T) {
	roles := &leaderless{}
	roles.without.Store(true)
	p := start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(testServer(t, 0), testServer(t, 1))
		c.Roles = func([]Server) (Roles, error) { return roles, nil }
	})
	mustExec(t, direct(t, 0), "drop table if exists ended; create table ended(n int); insert into ended values (1)")
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := pg.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	for _, replica := range []bool{false, true} {
		roles.without.Store(true)
		blocker := direct(t, 0)
		mustExec(t, blocker, "begin; lock table ended in access exclusive mode")
		w := p.own(t)
		got := make(chan []string, 1)
		go func() { got <- normalise(w.play(step{query("select n from ended")}, whole)) }()
		waitFor(t, "the read to wait for the lock", func() bool { return len(p.pids(t)) == 1 && blocked(t, p.pids(t)[0]) })
		roles.without.Store(!replica)
		mustExec(t, direct(t, 0), fmt.Sprintf("select pg_terminate_backend(%d)", p.pids(t)[0]))
		answer := <-got // while the table is locked on the primary
		if replica != slices.Contains(answer, `C "SELECT 1\x00"`) || !replica && !strings.HasPrefix(answer[0], "E ERROR 57P01") || answer[len(answer)-1] != `Z "I"` {
			t.Errorf("with a replica %v: answered %s", replica, lines(answer))
		}
		blocker.Close(ctx)
		w.nc.Close()
		p.settled(t, 0)
	}
}

// A client that listens hears on, and is told when its lost transaction has ended, not before.
func TestAClientThatListensSurvives(t *testing.T) {
	p := start(t, 1, nil)
	w := p.own(t)
	w.play(join(query("listen survives"), query("begin"), query("select 1")), whole)
	mustExec(t, direct(t, 0), fmt.Sprintf("select pg_terminate_backend(%d)", p.pids(t)[0]))
	waitFor(t, "the server to be given up", func() bool { return len(p.pids(t)) == 0 })
	mustExec(t, direct(t, 0), "notify survives, 'meanwhile'")
	waitFor(t, "the notification to come", func() (held bool) {
		p.on(t, 0, func(wk *worker) {
			for c := range wk.clients {
				held = len(c.inbox.held) > 0
			}
		})
		return held
	})
	if got := normalise(w.play(step{query("select 1")}, whole)); !strings.HasPrefix(got[0], "E ERROR 57P01") || len(w.heard) > 0 {
		t.Errorf("answered %s, heard %v", lines(got), w.heard)
	}
	w.play(step{query("rollback")}, whole)
	w.hear(1)
	if len(w.heard) != 1 || !strings.Contains(w.heard[0], "meanwhile") {
		t.Errorf("heard %v", w.heard)
	}
}

// blocked tells whether a backend waits for a lock.
func blocked(t *testing.T, pid uint32) bool {
	t.Helper()
	c := direct(t, 0)
	defer c.Close(context.Background())
	var n int
	if err := c.QueryRow(context.Background(), "select count(*) from pg_locks where pid = $1 and not granted", pid).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// Clients send whole transactions ahead, in all ways in which that can be done, while servers are ended at random: of a
// transaction either all happens, in one transaction of the server's, or nothing, and what was acknowledged did happen.
func TestNoStatementLeavesItsLostTransaction(t *testing.T) {
	const clients, statements = 8, 3
	p := start(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 3 })
	admin := direct(t, 0)
	mustExec(t, admin, "drop table if exists lost_rows; create table lost_rows(client int, n int, xid xid8 default pg_current_xact_id())")
	end := time.Now().Add(4 * time.Second)
	var acked [clients]map[int]bool
	var played [clients][]string
	var playing, ready sync.WaitGroup
	ready.Add(clients)
	var lost, tried atomic.Int64
	for id := range clients {
		acked[id] = make(map[int]bool)
		playing.Go(func() {
			r := rand.New(rand.NewPCG(uint64(id), 1))
			w, err := wireTo(p.addr, "postgres", "application_name", "loses")
			if err != nil {
				t.Error(err)
				return
			}
			defer w.nc.Close()
			w.patience = deadline
			if got := normalise(w.play(step{parse("b", "begin"), parse("c", "commit"), syncs}, whole)); len(got) != 3 {
				t.Error(got)
			}
			ready.Done()
			for n := 0; time.Now().Before(end) && !t.Failed(); n++ {
				insert := fmt.Sprintf("insert into lost_rows(client, n) values (%d, %d)", id, n)
				rows := slices.Repeat(step{query(insert)}, statements)
				var s step
				switch r.IntN(6) {
				case 0:
					s = join(query("begin"), rows, query("commit"))
				case 1:
					s = join(step{bind("", "b"), execute("", 0), syncs}, rows, step{bind("", "c"), execute("", 0), syncs})
				case 2:
					s = join(step{query("begin; " + insert)}, rows[1:], query("commit"))
				case 3: // one unit
					s = join(step{bind("", "b"), execute("", 0)}, run(insert), run(insert), run(insert), step{bind("", "c"), execute("", 0), syncs})
				case 4:
					s = join(step{bind("", "b"), execute("", 0)}, run(insert), syncs, step{flushes}, run(insert), run(insert), syncs, query("commit"))
				default:
					s = join(query("begin"), query(insert), query(insert+";"+insert+"; commit"))
				}
				tried.Add(1)
				failed, transcript := false, ""
				for len(s) > 0 { // ahead of the answers, or not
					size := 1 + r.IntN(len(s))
					for size < len(s) && r.IntN(3) > 0 {
						size = len(s)
					}
					for size < len(s) && s[size-1].typ != pgwire.Query && s[size-1].typ != pgwire.Sync {
						size++
					}
					got := normalise(w.play(s[:size], whole))
					transcript += fmt.Sprintf("\nsent %s\nanswered %s", lines(s[:size]), lines(got))
					for _, line := range got {
						failed = failed || line[0] == 'E' || line == `C "ROLLBACK\x00"`
						if line[0] == '!' {
							t.Errorf("client %d: sent %s\nanswered %s", id, lines(s[:size]), lines(got))
							return
						}
					}
					s = s[size:]
				}
				if failed {
					lost.Add(1)
				}
				if w.status != pgwire.Idle {
					if got := normalise(w.play(step{query("rollback")}, whole)); got[len(got)-1] != `Z "I"` {
						t.Errorf("client %d: rollback: %v", id, got)
					}
				}
				acked[id][n] = !failed
				played[id] = append(played[id], transcript)
			}
		})
	}
	ready.Wait()
	waitFor(t, "the catalog to be known", func() (known bool) {
		p.on(t, 0, func(w *worker) {
			for shared := range w.groups {
				known = shared.catalog.Load() != nil
			}
		})
		return known
	})
	for r := rand.New(rand.NewPCG(9, 9)); time.Now().Before(end) && !t.Failed(); time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond) {
		var pids []uint32
		for i := range p.workers {
			p.on(t, i, func(w *worker) {
				for _, g := range w.groups {
					for s := range g.pools[0].all {
						pids = append(pids, s.pid)
					}
				}
			})
		}
		if len(pids) > 0 {
			mustExec(t, admin, fmt.Sprintf("select pg_terminate_backend(%d)", pids[r.IntN(len(pids))]))
		}
	}
	playing.Wait()
	rows, err := admin.Query(context.Background(), "select client, n, count(*), count(distinct xid) from lost_rows group by 1, 2")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id, n, count, transactions int
		if err := rows.Scan(&id, &n, &count, &transactions); err != nil {
			t.Fatal(err)
		}
		if count != statements || transactions != 1 {
			t.Errorf("client %d, transaction %d: %d rows in %d transactions: %s", id, n, count, transactions, played[id][n])
		}
		delete(acked[id], n)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for id := range acked {
		for n, acknowledged := range acked[id] {
			if acknowledged {
				t.Errorf("client %d, transaction %d: acknowledged, and not there", id, n)
			}
		}
	}
	t.Logf("%d of %d transactions lost", lost.Load(), tried.Load())
	if lost.Load() == 0 {
		t.Error("the test did not test")
	}
}

func FuzzLeadingEnd(f *testing.F) {
	for _, s := range []string{"rollback; select 1", "commit work;begin", "/* c */ abort -- d\n; x", "end transaction ; ", "rollback to a; b", "rollback and chain; c", "select ';rollback'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		end, rest := leadingEnd(text)
		if end == goesOn {
			return
		}
		r := classify.Classify([]byte(text[:len(text)-len(rest)]))
		if !strings.HasPrefix(rest, ";") && !strings.Contains(rest, ";") || r.Statements != 1 || !r.Flags.Has(classify.EndsTx) || r.Flags.Has(classify.OpensTx) {
			t.Errorf("%q: %v, %q: %+v", text, end, rest, r)
		}
	})
}
