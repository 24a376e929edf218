package pgpool

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Two clients with different settings over one server, each with a message that has to wait for the answers before it: the
// restoring of its settings is one of them, and must not cost it the server.
func TestWaitingForOnesOwnSettingsKeepsTheServer(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	var clients []*wire
	for _, name := range []string{"one", "two"} {
		w, err := wireTo(p.addr, "postgres", "application_name", name)
		if err != nil {
			t.Fatal(err)
		}
		defer w.nc.Close()
		w.play(step{parse("a", "select 1"), syncs}, whole)
		clients = append(clients, w)
	}
	done := make(chan []message, len(clients))
	for _, w := range clients {
		go func() { done <- w.play(step{parse("a", "select 2"), syncs}, whole) }()
	}
	for range clients {
		if answers := <-done; len(answers) != 2 {
			t.Errorf("answers: %v", normalise(answers))
		}
	}
}

// A statement that is prepared behind the ROLLBACK of a failed transaction, in one unit, is its client's alone.
func TestStatementBehindARollbackIsNobodyElses(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	owner, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer owner.nc.Close()
	owner.play(step{query("begin; select 1/0")}, whole)
	owner.play(join(run("rollback"), parse("mine", "select 'secret'"), syncs), whole)
	stranger, err := wireTo(p.addr, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.nc.Close()
	for _, answer := range stranger.play(step{bind("", "mine"), execute("", 0), syncs}, whole) {
		if answer.typ == 'D' {
			t.Error("a stranger ran the statement")
		}
	}
}

// pipelined plays steps to a client of a pool of one server. Before each but the first a stranger uses the server, so that
// what the client finds is what our books say.
func pipelined(t *testing.T, steps ...step) (answers [][]string) {
	t.Helper()
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	var both [2]*wire
	for i := range both {
		w, err := wireTo(p.addr, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		defer w.nc.Close()
		both[i] = w
	}
	for i, s := range steps {
		if i > 0 && both[0].status == pgwire.Idle {
			both[1].play(append(run("select 'a stranger''s'"), syncs), whole)
		}
		answers = append(answers, normalise(both[0].play(s, whole)))
	}
	return answers
}

// A Parse that is skipped, behind a unit that failed before it, leaves the unnamed statement as it was.
func TestUnnamedStatementOutlivesUnitsThatFail(t *testing.T) {
	answers := pipelined(t, join(parse("", "select 'mine'"), syncs, bind("", "nowhere"), syncs, bind("", "nowhere"), parse("", "select 'not this'"), syncs),
		step{bind("", ""), execute("", 0), syncs})
	if got := answers[1]; len(got) != 4 || !strings.Contains(got[1], "mine") {
		t.Errorf("the unnamed statement answers %s", lines(got))
	}
}

// A Query that is skipped, likewise.
func TestUnnamedStatementOutlivesASkippedQuery(t *testing.T) {
	answers := pipelined(t, join(parse("", "select 'mine'"), syncs, bind("", "nowhere"), syncs, bind("", "nowhere"), query("select 'not this'"), syncs),
		step{bind("", ""), execute("", 0), syncs})
	if got := answers[1]; len(got) != 4 || !strings.Contains(got[1], "mine") {
		t.Errorf("the unnamed statement answers %s", lines(got))
	}
}

// DEALLOCATE finds what was made with Parse although the ROLLBACK that makes it possible is not answered yet.
func TestDeallocateBehindARollback(t *testing.T) {
	answers := pipelined(t, step{parse("mine", "select 1"), syncs}, step{query("begin; select 1/0")},
		step{query("rollback"), query("deallocate mine"), query("select 'on'")}, step{bind("", "mine"), syncs})
	if got := answers[2]; len(got) < 3 || !strings.Contains(got[2], "DEALLOCATE") {
		t.Errorf("deallocate: %s", lines(got))
	}
	if got := answers[3]; len(got) != 2 || !strings.Contains(got[0], "26000") {
		t.Errorf("afterwards: %s", lines(got))
	}
}

// Nor does it wait for ever if the server has to prepare the statement again, and cannot.
func TestDeallocateWhatCannotBePreparedAgain(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1; c.Tuning.Defaults.MaxPrepared = 1 })
	w := p.own(t)
	for _, s := range []step{
		{query("create table passing(x int)")}, {parse("mine", "select * from passing"), syncs}, {parse("other", "select 1"), syncs},
		{query("drop table passing")},
	} {
		w.play(s, whole)
	}
	if got := normalise(w.play(step{query("deallocate mine")}, whole)); len(got) != 2 || !strings.Contains(got[0], "DEALLOCATE") {
		t.Errorf("deallocate: %s", lines(got))
	}
	w.works(t, "afterwards")
}

// In a failed transaction nothing is deallocated.
func TestDeallocateInAFailedTransaction(t *testing.T) {
	answers := pipelined(t, step{parse("mine", "select 'mine'"), syncs}, step{query("begin"), query("select 1/0"), query("deallocate mine")},
		step{query("rollback")}, step{bind("", "mine"), execute("", 0), syncs})
	if got := answers[3]; len(got) != 4 || !strings.Contains(got[1], "mine") {
		t.Errorf("afterwards: %s", lines(got))
	}
}

// A statement that is prepared anew in a unit that fails before is prepared for the next unit, which was sent ahead.
func TestStatementBehindAUnitThatFailed(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1; c.Tuning.Defaults.MaxPrepared = 2 })
	w := p.own(t)
	for _, name := range []string{"mine", "other", "third"} { // the server keeps the last two
		w.play(step{parse(name, "select '"+name+"'"), syncs}, whole)
	}
	got := normalise(w.play(step{bind("", "nowhere"), bind("", "mine"), execute("", 0), syncs, bind("", "mine"), execute("", 0), syncs}, whole))
	if len(got) != 6 || !strings.Contains(got[3], "mine") {
		t.Errorf("answered %s", lines(got))
	}
}

// What a client that left in the middle of a pipeline without a Sync has made the server skip is not skipped for the next.
func TestSkippedUpToASyncThatNeverCame(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	p.own(t).works(t, "before")
	for range 20 {
		w := p.own(t)
		var b []byte
		for _, m := range []message{bind("", "nowhere"), query("select pg_sleep(3600)")} {
			b = append(b, m.encode()...)
		}
		w.nc.Write(b)
		w.nc.Close()
		other := p.own(t)
		other.works(t, "afterwards")
		other.nc.Close()
	}
}

// A Parse behind a unit that fails in a transaction is refused, also if the server has the statement.
func TestParseBehindAUnitThatFails(t *testing.T) {
	answers := pipelined(t, step{parse("mine", "select 'mine'"), syncs, query("begin")},
		step{query("select 1/0"), parse("other", "select 'mine'"), syncs, parse("third", "select 'mine'"), syncs, query("rollback")},
		step{bind("", "mine"), execute("", 0), syncs, bind("", "other"), syncs})
	if got := answers[1]; len(got) != 8 || !strings.HasPrefix(got[2], "E ERROR 25P02") || !strings.HasPrefix(got[4], "E ERROR 25P02") {
		t.Errorf("answered %s", lines(got))
	}
	if got := answers[2]; len(got) != 6 || !strings.Contains(got[1], "mine") || !strings.HasPrefix(got[4], "E ERROR 26000") {
		t.Errorf("afterwards %s", lines(got))
	}
}

// A client that leaves while its server is asked what it left, or gets its settings back, leaves no trace of that.
func TestClientLeavesWhileItsSettingsComeBack(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	other := p.own(t)
	for i := range 100 {
		w, err := wireTo(p.addr, "postgres", "work_mem", "5MB")
		if err != nil {
			t.Fatal(err)
		}
		w.nc.Write(query("select 1; reset work_mem").encode())
		time.Sleep(time.Duration(i%20) * 100 * time.Microsecond)
		w.nc.Close()
		other.works(t, "not disturbed")
	}
}

// A Sync that comes while the ReadyForQuery of the unit before is held back has one of its own.
func TestSyncWhileSettingsComeBack(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	w, err := wireTo(p.addr, "postgres", "work_mem", "5MB")
	if err != nil {
		t.Fatal(err)
	}
	defer w.nc.Close()
	for i := range 100 {
		sql := []string{"reset work_mem", "reset timezone"}[i%2]
		w.nc.SetDeadline(time.Now().Add(deadline))
		w.nc.Write(query("select 1; " + sql).encode())
		time.Sleep(time.Duration(i%20) * 100 * time.Microsecond)
		w.nc.Write(syncs.encode())
		for ready := 0; ready < 2; {
			m, err := w.read()
			if err != nil {
				t.Fatalf("round %d: %d times ready: %v", i, ready, err)
			}
			if m.typ == pgwire.ReadyForQuery {
				ready++
			}
		}
	}
	if got := normalise(w.play(step{query("show work_mem")}, whole)); !strings.Contains(strings.Join(got, ""), "5MB") {
		t.Errorf("answered %s", lines(got))
	}
}

// A message that is sent in pieces while the server skips everything does not end the unit.
func TestSkippedInPieces(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	w := p.own(t)
	w.works(t, "before")
	w.nc.SetDeadline(time.Now().Add(deadline))
	function := call(177, "1", "2").encode()
	w.nc.Write(slices.Concat(bind("", "nowhere").encode(), flushes.encode(), function[:len(function)-1]))
	if m, err := w.read(); err != nil || m.typ != pgwire.ErrorResponse {
		t.Fatal(m, err)
	}
	w.nc.Write(slices.Concat(function[len(function)-1:], query("select 'skipped'").encode(), syncs.encode()))
	if m, err := w.read(); err != nil || m.typ != pgwire.ReadyForQuery {
		t.Fatal(m, err)
	}
	w.works(t, "afterwards")
	p.settled(t, 1)
}

// DEALLOCATE does not find what a unit that was sent ahead of it failed to make.
func TestDeallocateBehindAParseThatIsSkipped(t *testing.T) {
	answers := pipelined(t, step{bind("", "nowhere"), parse("mine", "select 1"), syncs, query("deallocate mine")})
	if got := answers[0]; len(got) != 4 || !strings.HasPrefix(got[2], "E ERROR 26000") {
		t.Errorf("answered %s", lines(got))
	}
}

// A Flush behind a Bind that came in pieces has its effect.
func TestFlushBehindABindInPieces(t *testing.T) {
	p := start(t, 1, nil)
	w := p.own(t)
	w.play(step{query("begin"), query("select 1"), parse("s", "select $1::text"), syncs}, whole)
	w.nc.SetDeadline(time.Now().Add(deadline))
	b := bind("", "s", strings.Repeat("x", 4*maxNames)).encode()
	w.nc.Write(b[:2*maxNames])
	waitFor(t, "part of the Bind to be sent", func() (sent bool) {
		p.on(t, 0, func(w *worker) {
			for c := range w.clients {
				sent = c.body > 0
			}
		})
		return sent
	})
	w.nc.Write(append(b[2*maxNames:], flushes.encode()...))
	if m, err := w.read(); err != nil || m.typ != pgwire.BindComplete {
		t.Errorf("%v, %v", m, err)
	}
}
