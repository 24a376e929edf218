package pgpool

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// startForced runs a pooler of size servers in which whatever may share a server does.
func startForced(t *testing.T, loops, size int, change func(*Config)) *testPooler {
	t.Helper()
	return start(t, loops, force(size, change))
}

// force is the change of a configuration that startForced makes.
func force(size int, change func(*Config)) func(*Config) {
	return func(c *Config) {
		c.Tuning.Defaults.Batching, c.Tuning.Defaults.BatchMax = batchingAll, 16
		c.Tuning.Defaults.PoolSize = size
		if change != nil {
			change(c)
		}
	}
}

// batches counts what has been done since the pooler was started.
func (p *testPooler) batches(t testing.TB) (sum batchCounts) {
	t.Helper()
	for i := range p.workers {
		p.on(t, i, func(w *worker) {
			for _, g := range w.groups {
				sum.add(&g.batched)
			}
		})
	}
	return sum
}

// dials counts the connections to servers that were made.
func (p *testPooler) dials() (n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.groups {
		for _, slots := range g.slots {
			n += slots.dials.Load()
		}
	}
	return n
}

// find runs fn on the loop with the client of w; nil: it is gone.
func (p *testPooler) find(t testing.TB, w *wire, fn func(c *client)) {
	t.Helper()
	var found bool
	for i := range p.workers {
		p.on(t, i, func(own *worker) {
			for c := range own.clients {
				if c.pid == w.pid {
					found = true
					fn(c)
				}
			}
		})
	}
	if !found {
		fn(nil)
	}
}

// ask sends a step whose answers are read later.
func (w *wire) ask(t testing.TB, s step) {
	t.Helper()
	w.nc.SetDeadline(time.Now().Add(deadline))
	w.owe(s)
	var b []byte
	for _, m := range s {
		b = append(b, m.encode()...)
	}
	if _, err := w.nc.Write(b); err != nil {
		t.Fatal(err)
	}
}

// told reads what is left of the answers to what was asked.
func (w *wire) told() (replies []message) {
	w.nc.SetReadDeadline(time.Now().Add(deadline))
	for len(w.owed) > 0 {
		m, err := w.read()
		if err == nil {
			err = w.take(m)
		}
		if m.typ != 0 {
			replies = append(replies, m)
		}
		if err != nil {
			return append(replies, message{'!', []byte(err.Error())})
		}
	}
	return replies
}

// hold takes a server away until release is called.
func (p *testPooler) hold(t *testing.T, database string) (release func()) {
	t.Helper()
	w, err := wireTo(p.addr, database)
	if err != nil {
		t.Fatal(err)
	}
	w.play(step{query("begin")}, whole)
	w.play(step{query("select 'the holder'")}, whole)
	return func() {
		t.Helper()
		if got := w.play(step{query("commit")}, whole); len(got) != 2 {
			t.Errorf("commit: %v", got)
		}
		w.nc.Close()
	}
}

// queues has clients ask, one behind the other, so that they wait in this order.
func (p *testPooler) queues(t *testing.T, clients []*wire, units ...step) {
	t.Helper()
	for i, s := range units {
		before := waiting(t, p)
		clients[i].ask(t, s)
		waitFor(t, fmt.Sprintf("client %d to wait", i), func() bool { return waiting(t, p) > before })
	}
}

// company is clients of the pooler, each with a connection of its own to the same database that shows what it ought to see.
type company struct {
	p        *testPooler
	pooled   []*wire
	direct   []*wire
	database string
}

func (p *testPooler) company(t *testing.T, n int) *company {
	t.Helper()
	c := &company{p: p, database: "postgres"}
	for range n {
		for _, to := range []struct {
			addr string
			list *[]*wire
		}{{p.addr, &c.pooled}, {pg.Addr(0), &c.direct}} {
			w, err := wireTo(to.addr, c.database)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { w.nc.Close() })
			*to.list = append(*to.list, w)
		}
	}
	return c
}

// each has every client play its step, one after the other, and compares the answers.
func (c *company) each(t *testing.T, what string, of func(i int) step) {
	t.Helper()
	for i := range c.pooled {
		c.compare(t, what, i, of(i), c.pooled[i].play(of(i), whole))
	}
}

func (c *company) compare(t *testing.T, what string, i int, s step, got []message) {
	t.Helper()
	want := normalise(c.direct[i].play(s, whole))
	if got := normalise(got); !slices.Equal(want, got) {
		t.Errorf("%s, client %d: sent %s\ndirect %s\npooled %s", what, i, lines(s), lines(want), lines(got))
	}
}

// together has the clients' units wait for the one server, in order, and compares the answers. It returns what was counted.
func (c *company) together(t *testing.T, what string, units ...step) batchCounts {
	t.Helper()
	before := c.p.batches(t)
	release := c.p.hold(t, c.database)
	c.p.queues(t, c.pooled, units...)
	release()
	for i, s := range units {
		c.compare(t, what, i, s, c.pooled[i].told())
	}
	return c.p.batches(t).since(before)
}

func (n batchCounts) since(before batchCounts) batchCounts {
	n.batches -= before.batches
	n.units -= before.units
	n.taken -= before.taken
	n.surprises -= before.surprises
	for why := range n.alone {
		n.alone[why] -= before.alone[why]
	}
	return n
}

// expectBatches compares counts with what they must be.
func expectBatches(t *testing.T, what string, got batchCounts, batches, units uint64) {
	t.Helper()
	if got.batches != batches || got.units != units || got.surprises != 0 {
		t.Errorf("%s: %d units in %d batches and %d surprises, want %d in %d; alone %v", what, got.units, got.batches, got.surprises, units, batches, got.alone)
	}
}

// asUnnamed and asNamed are units of the extended protocol with one parameter and what is asked of them besides.
func asUnnamed(sql string, values ...string) step {
	return step{parse("", sql), bind("", "", values...), describe('P', ""), execute("", 0), syncs}
}

func asNamed(name string, values ...string) step {
	return step{bind("", name, values...), execute("", 0), syncs}
}

// own is a unit that asks for the client's own number, in one of the forms that units have. The client has prepared it as
// "mine".
func own(form, i int) step {
	switch form % 3 {
	case 0:
		return step{query(fmt.Sprintf("select 'c%d', %d", i, i))}
	case 1:
		return asUnnamed("select $1::text, 'unnamed'", fmt.Sprintf("c%d", i))
	}
	return asNamed("mine", fmt.Sprintf("c%d", i))
}

// Clients that wait share the server that becomes free, and each gets what is its own.
func TestWaitingClientsShareAServer(t *testing.T) {
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 12)
	c.each(t, "prepare", func(i int) step { return step{parse("mine", "select $1::text, 'named'"), syncs} })
	for round := range 3 {
		var units []step
		for i := range c.pooled {
			units = append(units, own(i+round, i))
		}
		expectBatches(t, "all forms", c.together(t, "all forms", units...), 1, 12)
	}
	p.settled(t, 12)
	if n := p.dials(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

// They are served in the order in which they came, and no more of them at once than batch_max.
func TestBatchesKeepTheOrderAndTheLimit(t *testing.T) {
	p := startForced(t, 1, 1, func(c *Config) { c.Tuning.Defaults.BatchMax = 4 })
	c := p.company(t, 10)
	var seats int
	release := p.hold(t, "postgres")
	var units []step
	for range c.pooled {
		units = append(units, step{query("select extract(epoch from clock_timestamp())")})
	}
	p.queues(t, c.pooled, units...)
	release()
	last := ""
	for i, w := range c.pooled {
		got := w.told()
		if len(got) != 4 || got[1].typ != pgwire.DataRow {
			t.Fatalf("client %d: %v", i, got)
		}
		if at := string(got[1].body[6:]); at < last {
			t.Errorf("client %d was served at %s, one behind it at %s", i, at, last)
		} else {
			last = at
		}
	}
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			for s := range g.pools[0].all {
				seats = max(seats, cap(s.riders))
			}
		}
	})
	if seats != 4 && seats != 3 {
		t.Errorf("room for %d riders was needed, with a batch_max of 4", seats)
	}
	expectBatches(t, "ten clients", p.batches(t), 3, 10)
}

// What a client sends behind its unit in a batch is answered behind it, by whatever server.
func TestSecondUnitsAreNotLost(t *testing.T) {
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 6)
	release := p.hold(t, "postgres")
	var first, second []step
	for i := range c.pooled {
		first = append(first, own(i%2, i))
		second = append(second, join(own((i+1)%2, i), query(fmt.Sprintf("select 'third of c%d'", i))))
	}
	p.queues(t, c.pooled, first...)
	for i, w := range c.pooled {
		w.ask(t, second[i])
	}
	waitFor(t, "all of it to arrive", func() bool {
		all := true
		p.on(t, 0, func(w *worker) {
			for own := range w.clients {
				all = all && (own.pool == nil || len(own.conn.Held()) > 70)
			}
		})
		return all
	})
	release()
	for i, w := range c.pooled {
		c.compare(t, "three units", i, join(first[i], second[i]), w.told())
	}
	if n := p.batches(t); n.batches == 0 || n.units < 6 || n.surprises > 0 {
		t.Errorf("counted %+v", n)
	}
	p.settled(t, 6)
}

// An error is its own unit's, wherever in the batch that is, and so is what becomes of the unnamed statement.
func TestErrorsInABatchStayWithTheirUnit(t *testing.T) {
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 5)
	const late = "select 10 / g, 'named' from generate_series($1::int, $1::int) g" // fails when it is run, by any plan
	c.each(t, "prepare", func(i int) step { return step{parse("mine", late), syncs} })
	for name, wrong := range map[string]step{
		"query":            {query("select 1/0")},
		"rows, query":      {query("select 6/(3-g) from generate_series(1, 5) g")},
		"parse":            asUnnamed("select nothing_such"),
		"bind":             asUnnamed("select $1::int", "no number"),
		"bind, not enough": asUnnamed("select $1::int"),
		"execute":          asUnnamed("select 1/$1::int", "0"),
		"rows, execute":    asUnnamed("select 6/($1-g) from generate_series(1, 5) g", "3"),
		"named, bind":      asNamed("mine", "no number"),
		"named, execute":   asNamed("mine", "0"),
	} {
		t.Run(name, func(t *testing.T) {
			for _, at := range [][]int{{0}, {2}, {4}, {0, 1, 2, 3, 4}, {1, 3}, {0, 4}} {
				c.each(t, "before", func(i int) step { return step{parse("", fmt.Sprintf("select 'old %d'", i)), syncs} })
				var units []step
				for i := range c.pooled {
					switch {
					case slices.Contains(at, i):
						units = append(units, wrong)
					case i%2 == 0:
						units = append(units, asUnnamed(fmt.Sprintf("select 'new %d'", i)))
					default:
						units = append(units, asNamed("mine", fmt.Sprint(i)))
					}
				}
				expectBatches(t, name, c.together(t, fmt.Sprintf("wrong at %v", at), units...), 1, 5)
				c.each(t, fmt.Sprintf("the unnamed statement, wrong at %v", at), func(int) step { return asNamed("") })
				c.each(t, fmt.Sprintf("the named one, wrong at %v", at), func(int) step { return asNamed("mine", "1") })
			}
		})
	}
	p.settled(t, 5)
	if n := p.dials(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

// A server that holds few statements prepares in a batch what it does not have, and drops what others there still use.
func TestBatchesOfStatementsThatAServerLacks(t *testing.T) {
	p := startForced(t, 1, 1, func(c *Config) { c.Tuning.Defaults.MaxPrepared = 2 })
	c := p.company(t, 8)
	text := func(i int) string { return fmt.Sprintf("select $1::int, 'text %d'", i) }
	c.each(t, "own", func(i int) step { return step{parse("mine", text(i)), syncs} })
	c.each(t, "common", func(i int) step { return step{parse("ours", text(i%2)), syncs} })
	setUp := direct(t, 0)
	command(t, setUp, "create table batch_gone(n int)")
	c.each(t, "to be lost", func(i int) step { return step{parse("gone", "select $1::int, n from batch_gone"), syncs} })
	command(t, setUp, "drop table batch_gone")
	for i, w := range c.pooled { // what counts their units must not fit together
		for range i * 7 % 8 {
			w.works(t, "more")
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	var sum batchCounts
	for range 60 {
		var units []step
		for range c.pooled {
			u := asNamed(pick(r, "mine", "mine", "ours"), pick(r, "1", "2", "wrong"))
			switch r.IntN(8) {
			case 0:
				u = step{parse("", "select 'unnamed'"), bind("", ""), describe('S', pick(r, "mine", "ours")), execute("", 0), syncs}
			case 1:
				u = append(step{describe('S', pick(r, "mine", "ours"))}, u...)
			case 2:
				u = asUnnamed(text(r.IntN(3)), pick(r, "1", "wrong"))
			case 3: // it cannot be prepared any more
				u = asNamed("gone", "1")
			}
			units = append(units, u)
		}
		n := c.together(t, "few statements", units...)
		sum.surprises += n.surprises
		sum.units += n.units
	}
	if sum.surprises != 0 || sum.units == 0 {
		t.Errorf("%d surprises, %d units in batches", sum.surprises, sum.units)
	}
	if n := p.dials(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
	p.settled(t, 8)
}

// A cancel request for a client that rides is answered at once, and hits nobody.
func TestCancelOfARider(t *testing.T) {
	for range 20 { // riders are taken off soon, and then it would be a client that waits
		if rides := cancelRider(t); rides || t.Failed() {
			return
		}
	}
	t.Error("never came in time")
}

func cancelRider(t *testing.T) (rides bool) {
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 4)
	const long = "select 'c0' from pg_sleep(60)"
	units := []step{{query(long)}, own(1, 1), own(0, 2), own(1, 3)}
	release := p.hold(t, "postgres")
	p.queues(t, c.pooled, units...)
	release()
	cancelled := c.pooled[2]
	p.find(t, cancelled, func(own *client) {
		if rides = own.rides(); rides {
			own.cancelled(func() {})
		}
	})
	if !rides {
		cancelled.cancel()
	}
	expectCancelled(t, "the cancelled", cancelled)
	p.runs(t, long) // still: nothing has hit it
	p.find(t, c.pooled[0], func(head *client) {
		if head.inFlight != 1 {
			t.Error("the head has been answered")
		}
	})
	cancelled.ask(t, units[2]) // again
	c.pooled[0].cancel()
	expectCancelled(t, "the head", c.pooled[0])
	for i := 1; i < 4; i++ {
		c.compare(t, "afterwards", i, units[i], c.pooled[i].told())
	}
	p.settled(t, 4)
	if n := p.dials(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
	return rides
}

// expectCancelled reads the end of what was cancelled.
func expectCancelled(t *testing.T, who string, w *wire) {
	t.Helper()
	got := w.told()
	if n := len(got); n < 2 || got[n-2].typ != pgwire.ErrorResponse || pgwire.ParseError(got[n-2].body).Code != "57014" || got[n-1].typ != pgwire.ReadyForQuery {
		t.Errorf("%s: %s", who, lines(normalise(got)))
	}
}

// A head that is cancelled, by its client, by query_timeout or by leaving, is the only one that is hit, and its server is
// used again.
func TestHeadThatIsCancelled(t *testing.T) {
	const long = "select 'c0' from pg_sleep(60)"
	for name, unit := range map[string]step{"query": {query(long)}, "unnamed": asUnnamed(long)} {
		for _, by := range []string{"request", "query_timeout", "leaving", "reset"} {
			t.Run(name+" by "+by, func(t *testing.T) {
				p := startForced(t, 1, 1, func(c *Config) {
					if by == "query_timeout" {
						c.Tuning.Defaults.QueryTimeout = 300 * time.Millisecond
					}
				})
				c := p.company(t, 5)
				c.each(t, "prepare", func(i int) step { return step{parse("mine", "select $1::text, 'named'"), syncs} })
				units := []step{unit}
				for i := 1; i < 5; i++ {
					units = append(units, own(i, i))
				}
				release := p.hold(t, "postgres")
				p.queues(t, c.pooled, units...)
				release()
				p.runs(t, long)
				left := int64(5)
				switch head := c.pooled[0]; by {
				case "request":
					head.cancel()
				case "leaving", "reset":
					if by == "reset" {
						head.nc.(*net.TCPConn).SetLinger(0)
					}
					head.nc.Close()
					left--
				}
				for i := 1; i < 5; i++ {
					c.compare(t, "a rider", i, units[i], c.pooled[i].told())
				}
				if left == 5 {
					expectCancelled(t, "the head", c.pooled[0])
					c.pooled[0].works(t, "afterwards")
				}
				p.settled(t, left)
				if n := p.batches(t); n.batches != 1 || n.units != 5 || n.taken != 4 || n.surprises != 0 {
					t.Errorf("counted %+v", n)
				}
				if n := p.dials(); n != 1 {
					t.Errorf("%d connections were made", n)
				}
			})
		}
	}
}

// Riders that leave are missed by nobody.
func TestRidersThatLeave(t *testing.T) {
	const long = "select 'c0' from pg_sleep(0.05)"
	for _, leave := range [][]int{{1}, {2}, {4}, {1, 2, 3, 4}, {1, 3}} {
		t.Run(fmt.Sprint(leave), func(t *testing.T) {
			p := startForced(t, 1, 1, nil)
			c := p.company(t, 5)
			units := []step{{query(long)}}
			for i := 1; i < 5; i++ {
				units = append(units, own(i%2, i))
			}
			release := p.hold(t, "postgres")
			p.queues(t, c.pooled, units...)
			release()
			for _, i := range leave {
				c.pooled[i].nc.Close()
			}
			for i, w := range c.pooled {
				if !slices.Contains(leave, i) {
					c.compare(t, "who stays", i, units[i], w.told())
				}
			}
			p.settled(t, int64(5-len(leave)))
			if n := p.dials(); n != 1 {
				t.Errorf("%d connections were made", n)
			}
		})
	}
}

// What a client sends when its cancel request is through is never hit by it, and nobody else ever is.
func TestCancelsInBatchesHitNobodyElse(t *testing.T) {
	const clients, rounds = 10, 60
	p := startForced(t, 1, 1, nil)
	var asking sync.WaitGroup
	for me := range clients {
		w := p.own(t)
		w.me = me
		asking.Go(func() {
			for i := range rounds {
				u := own(i%2, me)
				if me%2 == 0 {
					w.ask(t, u)
					w.cancel()
					got := normalise(w.told())
					if all := strings.Join(got, " "); !strings.Contains(all, fmt.Sprintf("c%d", me)) && !strings.Contains(all, "57014") {
						t.Errorf("client %d: %s", me, lines(got))
						return
					}
				}
				if got := normalise(w.play(u, whole)); !strings.Contains(strings.Join(got, " "), fmt.Sprintf("c%d", me)) {
					t.Errorf("client %d, not cancelled: %s", me, lines(got))
					return
				}
			}
		})
	}
	asking.Wait()
	p.settled(t, clients)
	if n := p.batches(t); n.batches == 0 || n.surprises != 0 {
		t.Errorf("counted %+v", n)
	}
}

// Nobody ever reads another's number: all forms of units over few servers, with cancels, and with clients that leave and
// come back, in whole messages and in single bytes.
func TestRowsOfABatchReachTheirClients(t *testing.T) {
	const clients = 32
	for _, tc := range []struct {
		loops, size, rounds, cut int
	}{{1, 2, 300, 0}, {2, 2, 150, 0}, {1, 1, 12, 1}} {
		t.Run(fmt.Sprintf("loops=%d/size=%d/cut=%d", tc.loops, tc.size, tc.cut), func(t *testing.T) {
			p := startForced(t, tc.loops, tc.size, nil)
			cut := whole
			if tc.cut > 0 {
				cut = func(n int) int { return min(n, tc.cut) }
			}
			var asking sync.WaitGroup
			for me := range clients {
				asking.Go(func() { askForOneself(t, p, me, tc.rounds, cut) })
			}
			asking.Wait()
			p.settled(t, 0)
			if n := p.batches(t); n.batches == 0 || n.surprises != 0 {
				t.Errorf("counted %+v", n)
			}
		})
	}
}

// askForOneself has client me ask for its number again and again. Each sixth client cancels what it asks, each seventh
// leaves at any time and comes back.
func askForOneself(t *testing.T, p *testPooler, me, rounds int, cut func(int) int) {
	r := rand.New(rand.NewPCG(7, uint64(me)))
	var w *wire
	var err error
	defer func() {
		if w != nil {
			w.nc.Close()
		}
	}()
	var cancelling sync.WaitGroup
	defer cancelling.Wait()
	for n := range rounds {
		if w == nil {
			if w, err = wireTo(p.addr, "postgres"); err != nil {
				t.Errorf("client %d: %v", me, err)
				return
			}
			w.me, w.patience = me, deadline
			w.play(step{parse("mine", "select $1::text, 'named'"), syncs}, cut)
		}
		u := own(r.IntN(3), me)
		if me%7 == 1 && r.IntN(4) == 0 {
			var b []byte
			for _, m := range u {
				b = append(b, m.encode()...)
			}
			w.nc.Write(b[:r.IntN(len(b)+1)])
			w.nc.Close()
			w = nil
			continue
		}
		cancels := me%6 == 2 && r.IntN(3) == 0
		if cancels {
			asked := w
			cancelling.Go(asked.cancel)
		}
		got := normalise(w.play(u, cut))
		cancelling.Wait()
		all := strings.Join(got, " ")
		if !strings.Contains(all, fmt.Sprintf("c%d", me)) && !(cancels && strings.Contains(all, "57014")) || strings.Contains(all, "! ") {
			t.Errorf("client %d, round %d: sent %s\ngot %s", me, n, lines(u), lines(got))
			return
		}
	}
}

// A unit may ask about a statement which one before it prepares, and which may fail.
func TestDescribeOfWhatABatchPrepares(t *testing.T) {
	p := startForced(t, 1, 1, func(c *Config) { c.Tuning.Defaults.MaxPrepared = 1 })
	c := p.company(t, 3)
	c.each(t, "mine", func(int) step { return step{parse("mine", "select $1::int, 'theirs'"), syncs} })
	for i, w := range c.pooled { // what counts their units must not fit together
		for range i * 3 {
			w.works(t, "more")
		}
	}
	asks := step{parse("", "select 'unnamed'"), bind("", ""), describe('S', "mine"), execute("", 0), syncs}
	for _, units := range [][]step{{asNamed("mine", "1"), asks, asNamed("mine", "2")}, {asNamed("mine", "wrong"), asNamed("mine", "1"), asks}, {asks, asks, asNamed("mine", "1")}} {
		c.pooled[0].play(step{parse("another", "select 1"), closing('S', "another"), syncs}, whole) // in its place
		if n := c.together(t, "describe", units...); n.surprises > 0 || n.taken > 0 {
			t.Errorf("counted %+v", n)
		}
	}
}

// Where functions leave something in sessions, what looks like a call of one, and whatever reads while it is not known
// which there are, has its server to itself.
func TestHazardsAreNotShared(t *testing.T) {
	setUp := direct(t, 0)
	command(t, setUp, `create or replace function batch_sets() returns int language plpgsql as $$ begin perform set_config('work_mem', '6MB', false); return 1; end $$`)
	t.Cleanup(func() { command(t, setUp, "drop function batch_sets()") })
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 4)
	c.each(t, "first", func(int) step { return step{query("select 1")} })
	likeACall := step{query("select 1 as batch_sets")}
	for _, tc := range []struct {
		name  string
		units []step
	}{
		{"none", []step{own(0, 0), own(1, 1), own(0, 2), own(1, 3)}},
		{"a word", []step{own(0, 0), likeACall, own(0, 2), likeACall}},
		{"a call", []step{own(0, 0), {query("select batch_sets()")}, own(1, 2), own(0, 3)}},
	} {
		n := c.together(t, tc.name, tc.units...)
		if n.surprises > 0 || n.taken > 0 || tc.name == "none" && n.units != 4 {
			t.Errorf("%s: counted %+v", tc.name, n)
		}
	}
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			stale := *g.shared.catalog.Load()
			stale.stale = true
			g.shared.catalog.Store(&stale)
		}
	})
	if n := c.together(t, "not known", own(0, 0), own(1, 1), own(0, 2), own(1, 3)); n.surprises > 0 || n.taken > 0 {
		t.Errorf("not known: counted %+v", n)
	}
	p.settled(t, 4)
}

// Wherever the connection to a server is cut in a batch, nobody is told, but for a head that has seen rows already.
func TestLossOfAServerInABatch(t *testing.T) {
	const clients = 4
	big := "select repeat('c0', 2000) from generate_series(1, 40)" // comes in several pieces
	for name, head := range map[string]step{"short": own(0, 0), "unnamed": own(1, 0), "named": own(2, 0), "large": {query(big)}} {
		f := startFaulty(t)
		p := f.startBehind(t, force(1, nil))
		c := p.company(t, clients)
		c.each(t, "prepare", func(int) step { return step{parse("mine", "select $1::text, 'named'"), syncs} })
		cuts := []int{1, 5, 30, 60, 80, 100, 130, 160, 200, 260, 300}
		if name == "large" {
			cuts = []int{1, 60, 5000, 20000, 70000, 160200, 160300}
		}
		for _, at := range cuts {
			units := []step{head}
			for i := 1; i < clients; i++ {
				units = append(units, own(i, i))
			}
			release := p.hold(t, c.database)
			p.queues(t, c.pooled, units...)
			commit := len(message{pgwire.CommandComplete, cstrings("COMMIT")}.encode()) + 6
			f.arm(fault{true, commit + at, cutOff})
			release()
			told := 0
			for i, s := range units {
				got, want := normalise(c.pooled[i].told()), normalise(c.direct[i].play(s, whole))
				if n := len(got); n > 2 && strings.Contains(got[n-2], "08006") { // it has seen what came before
					told++
					if rows := got[:n-2]; !slices.ContainsFunc(rows, func(line string) bool { return line[0] == 'D' }) || !slices.Equal(rows, want[:n-2]) {
						t.Errorf("%s, cut at %d, client %d: lost behind %s", name, at, i, lines(rows))
					}
					continue
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s, cut at %d, client %d: direct %s\npooled %s", name, at, i, lines(want), lines(got))
				}
			}
			if told > 1 {
				t.Errorf("%s, cut at %d: %d clients were told of one loss", name, at, told)
			}
			p.settled(t, clients)
		}
		if n := p.batches(t); n.batches < uint64(len(cuts)) || n.surprises > 0 {
			t.Errorf("%s: counted %+v", name, n)
		}
	}
}

// A backend that an administrator ends in a batch ends for nobody: what it ran is run again alone. If that is ended too its
// client is told.
func TestTerminatedBackendInABatch(t *testing.T) {
	for range 20 { // a head that runs long is alone soon
		if twice := terminateTwice(t); twice || t.Failed() {
			return
		}
	}
	t.Error("never came in time")
}

func terminateTwice(t *testing.T) bool {
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 4)
	const long = "select 'c0' from pg_sleep(60)"
	units := []step{{query(long)}, own(0, 1), own(1, 2), own(0, 3)}
	release := p.hold(t, c.database)
	p.queues(t, c.pooled, units...)
	admin := direct(t, 0)
	ends := func() {
		command(t, admin, fmt.Sprintf("select pg_terminate_backend(%d, 10000)", p.pids(t)[0]))
	}
	release()
	waitFor(t, "the batch", func() bool { return p.batches(t).batches == 1 })
	ends()
	again := false
	waitFor(t, "the head to run again, or to be told", func() (done bool) {
		p.find(t, c.pooled[0], func(head *client) {
			again = head.server != nil && head.inFlight > 0 && head.server.owed.n == 1
			done = again || head.server == nil && head.pool == nil
		})
		return done
	})
	if again {
		p.runs(t, long)
		ends()
	}
	for i := 1; i < 4; i++ {
		c.compare(t, "a rider", i, units[i], c.pooled[i].told())
	}
	if got := normalise(c.pooled[0].told()); len(got) < 2 || !strings.Contains(got[len(got)-2], "E ERROR 57P01") || got[len(got)-1] != `Z "I"` {
		t.Errorf("the head: %s", lines(got))
	}
	c.pooled[0].works(t, "afterwards")
	p.settled(t, 4)
	return again
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Nobody waits long behind a unit that does not end if there is another server.
func TestHeadThatDoesNotEnd(t *testing.T) {
	p := startForced(t, 1, 2, nil)
	c := p.company(t, 4)
	const long = "select 'c0' from pg_sleep(60)"
	units := []step{{query(long)}, own(0, 1), own(1, 2), own(0, 3)}
	one, other := p.hold(t, c.database), p.hold(t, c.database)
	p.queues(t, c.pooled, units...)
	one()
	p.runs(t, long)
	other()
	for i := 1; i < 4; i++ {
		c.compare(t, "a rider", i, units[i], c.pooled[i].told())
	}
	p.find(t, c.pooled[0], func(head *client) {
		if head.inFlight != 1 || head.server == nil {
			t.Error("the head has ended")
		}
	})
	if n := p.batches(t); n.batches != 1 || n.units != 4 || n.taken != 3 || n.surprises != 0 {
		t.Errorf("counted %+v", n)
	}
	c.pooled[0].cancel()
	expectCancelled(t, "the head", c.pooled[0])
	p.settled(t, 4)
}

// Who does not read its answer keeps nobody but itself from a server.
func TestHeadThatDoesNotRead(t *testing.T) {
	p := startForced(t, 1, 2, nil)
	c := p.company(t, 4)
	units := []step{{query("select repeat('c0', 50000) from generate_series(1, 300)")}, own(0, 1), own(1, 2), own(0, 3)}
	one, other := p.hold(t, c.database), p.hold(t, c.database)
	p.queues(t, c.pooled, units...)
	one()
	other()
	for i := 1; i < 4; i++ {
		c.compare(t, "a rider", i, units[i], c.pooled[i].told())
	}
	p.find(t, c.pooled[0], func(head *client) {
		if head.inFlight != 1 || head.server == nil {
			t.Error("all of it was sent to who does not read")
		}
	})
	c.compare(t, "the head", 0, units[0], c.pooled[0].told())
	p.settled(t, 4)
	if n := p.batches(t); n.batches != 1 || n.surprises != 0 {
		t.Errorf("counted %+v", n)
	}
}

// Large answers of a whole batch, all of them read late.
func TestLargeAnswersInABatch(t *testing.T) {
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 5)
	var units []step
	for i := range c.pooled {
		units = append(units, step{query(fmt.Sprintf("select repeat('c%d', 20000) from generate_series(1, 40)", i))})
	}
	c.together(t, "large", units...)
	p.settled(t, 5)
	if n := p.batches(t); n.batches != 1 || n.surprises != 0 {
		t.Errorf("counted %+v", n)
	}
}

// oddCompany is clients of a fake server, of whom the second asks what odd answers over the first connection.
func oddCompany(t *testing.T, odd func(sql string) []byte) *oddities {
	held := make(chan struct{})
	says := func(n int, sql string) []byte {
		if n == 1 && sql == "show odd 1" {
			return odd(sql)
		}
		return answer(sql)
	}
	o := (&oddServer{parts: says, script: func(n int, nc net.Conn, sql string) bool {
		if sql == "show odd hold" {
			<-held
		}
		nc.Write(says(n, sql))
		return true
	}}).start(t)
	c := &oddities{held: held, p: start(t, 1, func(c *Config) {
		force(1, nil)(c)
		c.Tuning.Databases = fallback(o.server())
	})}
	for i := range 5 {
		c.clients = append(c.clients, c.p.wire(t))
		c.units = append(c.units, step{query(fmt.Sprintf("show odd %d", i))})
	}
	c.holder = c.p.wire(t)
	return c
}

// oddities is what oddCompany makes.
type oddities struct {
	p       *testPooler
	held    chan struct{}
	holder  *wire
	clients []*wire
	units   []step
}

// together has the clients' units wait for the server, in order.
func (c *oddities) together(t *testing.T) {
	t.Helper()
	c.holder.ask(t, step{query("show odd hold")})
	waitFor(t, "the server to be held", func() bool { return c.p.busy(t) == 1 })
	c.p.queues(t, c.clients, c.units...)
	c.held <- struct{}{}
	if got := c.holder.told(); len(got) != 4 {
		t.Errorf("the holder: %v", got)
	}
}

// What leaves a transaction open behind a batch takes the server with it, and nobody notices. It does not get into a batch
// again.
func TestSurpriseInABatch(t *testing.T) {
	for _, status := range []byte{pgwire.InBlock, pgwire.InFailed} {
		t.Run(string(status), func(t *testing.T) {
			c := oddCompany(t, func(sql string) []byte { return pgwire.AppendReadyForQuery(answer(sql)[:len(answer(sql))-6], status) })
			c.together(t)
			c.told(t, "first")
			waitFor(t, "the surprise", func() bool { return c.p.batches(t).surprises > 0 })
			if n := c.p.batches(t); n.surprises != 1 || n.taken != 0 || n.batches != 1 || n.units != 5 {
				t.Errorf("counted %+v", n)
			}
			c.together(t)
			c.told(t, "afterwards")
			if n := c.p.batches(t); n.surprises != 1 || n.batches != 1 || n.alone[soloBarred] != 5 { // texts of one shape
				t.Errorf("afterwards counted %+v", n)
			}
			if n := c.p.dials(); n != 2 {
				t.Errorf("%d connections were made", n)
			}
			c.p.settled(t, 6)
		})
	}
}

// told reads what the clients are told, which must be what a server answers that is not odd.
func (c *oddities) told(t *testing.T, what string) {
	t.Helper()
	for i, w := range c.clients[:len(c.units)] {
		var got []byte
		for _, m := range w.told() {
			got = append(got, m.encode()...)
		}
		if want := answer(fmt.Sprintf("show odd %d", i)); string(got) != string(want) {
			t.Errorf("%s, client %d: answered %q, want %q", what, i, got, want)
		}
	}
}

// What a server reports of its session in the middle of a batch, and its notices, are told to the client whose answer they
// are in.
func TestReportsInABatch(t *testing.T) {
	c := oddCompany(t, func(sql string) []byte {
		b := pgwire.AppendNotice(nil, &pgwire.Error{Severity: "NOTICE", Code: "00000", Message: "odd notice"})
		return append(pgwire.AppendParameterStatus(b, "odd_report", "told"), answer(sql)...)
	})
	c.together(t)
	for i, w := range c.clients {
		got := normalise(w.told())
		noticed := strings.Contains(strings.Join(got, ""), "odd notice")
		if told := w.params["odd_report"] == "told"; told != (i == 1) || noticed != (i == 1) {
			t.Errorf("client %d: reported %v: %s", i, told, lines(got))
		}
	}
	if n := c.p.batches(t); n.surprises != 0 || n.batches != 1 || n.units != 5 {
		t.Errorf("counted %+v", n)
	}
	c.p.settled(t, 6)
}

// A server that says what nobody understands in mid-batch costs only the one whose turn it is.
func TestGarbageInABatch(t *testing.T) {
	c := oddCompany(t, func(string) []byte { return []byte("garbage, and no message") })
	c.together(t)
	for i, w := range c.clients {
		if got := w.told(); len(got) != 4 && (i != 1 || len(got) != 2) {
			t.Errorf("client %d: %v", i, got)
		}
	}
	c.p.settled(t, 6)
}

// Every script is answered as directly also among clients whose units share servers with each other and with those of the
// script.
func TestScriptsAmongBatches(t *testing.T) {
	direct, pooled := differentialDatabases(t, 1)
	var sum batchCounts
	for _, tc := range scripts {
		if tc.mode == SessionMode { // batches are off
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			p := startForced(t, 1, 2, func(c *Config) { c.Tuning.Defaults.MaxPrepared, c.Tuning.Defaults.Mode = 3, tc.mode })
			d, err := newDiffer(p, direct, pooled, whole, tc.settings...)
			if err != nil {
				t.Fatal(err)
			}
			defer d.close()
			stop := make(chan struct{})
			var asking sync.WaitGroup
			for me := range 5 {
				w, err := wireTo(p.addr, pooled, tc.settings...)
				if err != nil {
					t.Fatal(err)
				}
				w.me = me
				asking.Go(func() {
					defer w.nc.Close()
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						if got := normalise(w.play(own(i%2, me), whole)); len(got) < 4 || !strings.Contains(strings.Join(got, " "), fmt.Sprintf("c%d", me)) {
							t.Errorf("client %d beside it: %s", me, lines(got))
							return
						}
					}
				})
			}
			for i, s := range tc.steps {
				if diff := d.step(s); diff != "" {
					t.Errorf("step %d: %s", i, diff)
					break
				}
			}
			close(stop)
			asking.Wait()
			if diff := d.step(step{query(probe)}); diff != "" && !t.Failed() {
				t.Errorf("afterwards: %s", diff)
			}
			n := p.batches(t)
			if n.surprises > 0 {
				t.Errorf("counted %+v", n)
			}
			sum.units += n.units
		})
	}
	if sum.units == 0 {
		t.Error("nothing has shared a server")
	}
	t.Logf("%d units shared a server", sum.units)
}

// PAUSE waits for a batch, RESUME lets those go on who were taken off it, and a reload changes nothing for it.
func TestPauseAndReloadInABatch(t *testing.T) {
	var tuning Tuning
	p := startForced(t, 1, 1, func(c *Config) { tuning = c.Tuning })
	c := p.company(t, 5)
	const long = "select 'c0' from pg_sleep(60)"
	units := []step{{query(long)}, own(0, 1), own(1, 2), own(0, 3), own(1, 4)}
	release := p.hold(t, c.database)
	p.queues(t, c.pooled, units...)
	release()
	p.runs(t, long)
	paused := make(chan struct{})
	console := p.admin(t)
	go func() {
		command(t, console, "pause")
		close(paused)
	}()
	waitFor(t, "the pause to begin", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.switches[""].paused
	})
	tuning.Defaults.BatchMax = 2
	if err := p.Reload(tuning); err != nil {
		t.Fatal(err)
	}
	select {
	case <-paused:
		t.Error("paused in the middle of a batch")
	default:
	}
	c.pooled[0].cancel()
	expectCancelled(t, "the head", c.pooled[0])
	<-paused
	command(t, p.admin(t), "resume")
	for i := 1; i < 5; i++ {
		c.compare(t, "a rider", i, units[i], c.pooled[i].told())
	}
	if n := p.batches(t); n.surprises != 0 {
		t.Errorf("counted %+v", n)
	}
}

// A drain answers what is in a batch before clients go, and a client that is killed goes by itself.
func TestKillAndDrainInABatch(t *testing.T) {
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 5)
	units := []step{{query("select 'c0' from pg_sleep(0.2)")}, own(0, 1), own(1, 2), own(0, 3), own(1, 4)}
	release := p.hold(t, c.database)
	p.queues(t, c.pooled, units...)
	release()
	killed := c.pooled[2]
	p.find(t, killed, func(own *client) { own.refuse(clientIdle.with("client_idle_timeout", time.Second)) }) // as any reason to end it
	drained := make(chan error, 1)
	go func() { drained <- p.Drain(t.Context()) }()
	for i, w := range c.pooled {
		if i == 2 {
			continue
		}
		want, got := normalise(c.direct[i].play(units[i], whole)), normalise(w.told())
		if !slices.Equal(want, got) {
			t.Errorf("client %d: direct %s\npooled %s", i, lines(want), lines(got))
		}
	}
	if got := normalise(killed.told()); len(got) == 0 || !strings.HasPrefix(got[0], "E FATAL") {
		t.Errorf("the killed: %s", lines(got))
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// So does the last unit of a batch, which nobody is behind.
func TestSurpriseAtTheEndOfABatch(t *testing.T) {
	c := oddCompany(t, func(sql string) []byte {
		return pgwire.AppendReadyForQuery(answer(sql)[:len(answer(sql))-6], pgwire.InBlock)
	})
	c.units = []step{{query("show odd 0")}, {query("show odd 1")}}
	c.together(t)
	c.told(t, "first")
	waitFor(t, "the surprise", func() bool { return c.p.batches(t).surprises > 0 })
	if n := c.p.batches(t); n.surprises != 1 || n.batches != 1 || n.taken != 0 {
		t.Errorf("counted %+v", n)
	}
	c.together(t)
	c.told(t, "afterwards")
	if n := c.p.batches(t); n.batches != 1 || n.alone[soloBarred] != 2 {
		t.Errorf("afterwards counted %+v", n)
	}
	c.p.settled(t, 6)
}

// A full table of shapes forgets those that are barred last.
func TestBarredShapesAreKept(t *testing.T) {
	var table shapes
	for i := range maxShapes {
		h := table.find(fmt.Appendf(nil, "select a%d", i))
		h.recent, h.barred = true, i != 100
	}
	table.find([]byte("select another"))
	kept := 0
	for _, h := range table.byKey {
		if h.barred {
			kept++
		}
	}
	if len(table.byKey) != maxShapes || kept != maxShapes-1 {
		t.Errorf("%d shapes, of which %d are barred", len(table.byKey), kept)
	}
}
