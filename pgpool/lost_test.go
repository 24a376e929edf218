package pgpool

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
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
		w.play(join(prepared, query("begin")), whole)
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
		w.play(step{query("begin")}, whole)
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
	w.play(step{query("begin")}, whole)
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
