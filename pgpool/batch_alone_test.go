package pgpool

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A unit that executes nothing is answered.
func TestUnitWithoutExecuteInABatch(t *testing.T) {
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 3)
	u := step{parse("", "select $1::text"), bind("", "", "x"), describe('P', ""), syncs}
	c.together(t, "no execute", own(0, 0), u, own(0, 2))
}

// A unit that only binds is answered, too.
func TestUnitWithoutDescribeOrExecuteInABatch(t *testing.T) {
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 3)
	u := step{parse("", "select $1::text"), bind("", "", "x"), syncs}
	c.together(t, "no execute", u, own(0, 0), own(0, 2))
}

// No portal of a client is seen by another, whatever it is called.
func TestPortalsInABatch(t *testing.T) {
	for name, u := range map[string][2]step{
		"named execute": {{parse("", "select 'secret of 0' from generate_series(1,3)"), bind("p", ""), execute("p", 1), syncs},
			{parse("", "select 1"), bind("", ""), execute("p", 0), syncs}},
		"named describe": {{parse("", "select 'secret of 0' as secret from generate_series(1,3)"), bind("p", ""), execute("p", 1), syncs},
			{parse("", "select 1"), bind("", ""), describe('P', "p"), execute("", 0), syncs}},
		"unnamed execute ahead": {{parse("", "select 'secret of 0' from generate_series(1,3)"), bind("", ""), execute("", 1), syncs},
			{execute("", 0), parse("", "select 1"), bind("", ""), execute("", 0), syncs}},
		"no portal":         {own(0, 0), {parse("", "select 1"), bind("", ""), execute("nowhere", 0), syncs}},
		"behind an execute": {own(0, 0), {parse("", "select 1"), bind("", ""), execute("", 0), describe('P', "nowhere"), execute("", 0), syncs}},
		"unnamed describe ahead": {{parse("", "select 'secret of 0' from generate_series(1,3)"), bind("", ""), execute("", 1), syncs},
			{describe('P', ""), parse("", "select 1"), bind("", ""), execute("", 0), syncs}},
		"same name": {{parse("", "select 1"), bind("p", ""), execute("p", 0), syncs},
			{parse("", "select 2"), bind("p", ""), execute("p", 0), syncs}},
		"pg_cursors": {{parse("", "select 'secret of 0'"), bind("p", ""), execute("p", 0), syncs},
			{query("select name, statement from pg_cursors")}},
		"after query": {{query("select 'secret of 0' as secret from generate_series(1,3)")},
			{describe('P', ""), parse("", "select 1"), bind("", ""), execute("", 0), syncs}},
	} {
		t.Run(name, func(t *testing.T) {
			p := startForced(t, 1, 1, nil)
			c := p.company(t, 3)
			c.together(t, name, u[0], u[1], own(0, 2))
		})
	}
}

// Who is answered does not wait for a unit behind that is blocked, however long the answer.
func TestHeadAnsweredBeforeABlockedRider(t *testing.T) {
	d := direct(t, 0)
	command(t, d, "create table if not exists batch_locked(n int)")
	for name, sql := range map[string]string{"two parts": "select repeat('x', 1000) from generate_series(1, 12)", "hint": "/* outrigger: primary */ select 'mine'", "small": "select 1"} {
		t.Run(name, func(t *testing.T) {
			p := startForced(t, 1, 2, nil)
			c := p.company(t, 3)
			r1, r2 := p.hold(t, "postgres"), p.hold(t, "postgres")
			command(t, d, "begin")
			command(t, d, "lock table batch_locked in access exclusive mode")
			p.queues(t, c.pooled[:2], step{query(sql)}, step{query("select count(*) from batch_locked")})
			r1()
			c.pooled[0].told() // or it would time out
			r2()
			command(t, d, "rollback")
			c.pooled[1].told()
			p.settled(t, 3)
		})
	}
}

// query_timeout holds in a batch on a server that does not obey.
func TestBatchOnAServerThatHangs(t *testing.T) {
	for name, batching := range map[string]bool{"batch": true, "alone": false} {
		t.Run(name, func(t *testing.T) {
			p := startForced(t, 1, 1, func(c *Config) {
				c.Tuning.Defaults.QueryTimeout = 500 * time.Millisecond
				c.Tuning.Defaults.CancelWait = time.Second
			})
			c := p.company(t, 3)
			var pid int
			release := p.hold(t, "postgres")
			n := 2
			if !batching {
				n = 1
			}
			p.queues(t, c.pooled[:n], []step{{query("select pg_sleep(0.3)")}, {query("select 2")}}[:n]...)
			release()
			p.runs(t, "select pg_sleep(0.3)")
			p.on(t, 0, func(w *worker) {
				for _, g := range w.groups {
					for s := range g.pools[0].all {
						pid = int(s.pid)
					}
				}
			})
			syscall.Kill(pid, syscall.SIGSTOP)
			defer syscall.Kill(pid, syscall.SIGCONT)
			if got := normalise(c.pooled[0].told()); len(got) == 0 || !strings.Contains(got[0], "query_timeout") {
				t.Errorf("the head: %s", lines(got))
			}
		})
	}
}

// A batch whose clients have gone does not keep a server that hangs.
func TestOrphanedBatchOnAServerThatHangs(t *testing.T) {
	p := startForced(t, 1, 2, func(c *Config) { c.Tuning.Defaults.CancelWait = time.Second })
	c := p.company(t, 4)
	r1 := p.hold(t, "postgres")
	r2 := p.hold(t, "postgres")
	p.queues(t, c.pooled[:2], step{query("select pg_sleep(0.3)")}, step{query("select 2")})
	r1()
	p.runs(t, "select pg_sleep(0.3)")
	var pid int
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			for s := range g.pools[0].all {
				if s.joined {
					pid = int(s.pid)
				}
			}
		}
	})
	syscall.Kill(pid, syscall.SIGSTOP)
	defer syscall.Kill(pid, syscall.SIGCONT)
	r2()
	c.pooled[0].nc.Close()
	waitFor(t, "the server to be given up", func() bool {
		gone := true
		p.on(t, 0, func(w *worker) {
			for _, g := range w.groups {
				for s := range g.pools[0].all {
					gone = gone && int(s.pid) != pid
				}
			}
		})
		return gone
	})
}

// A replica is as busy as it is after batches, too.
func TestBusyAfterBatches(t *testing.T) {
	for _, n := range []int{1, 3} {
		p := startSplit(t, 1, force(1, nil))
		h, _ := wireTo(p.addr, "postgres")
		defer h.nc.Close()
		c := p.company(t, 3)
		h.play(step{query("begin read only")}, whole)
		h.play(step{query("select 1")}, whole)
		units := []step{{query("select 1")}, {query("select 2")}, {query("select 3")}}[:n]
		p.queues(t, c.pooled[:n], units...)
		h.play(step{query("commit")}, whole)
		for i := range units {
			c.pooled[i].told()
		}
		waitFor(t, "nothing to run", func() bool {
			busy := int64(0)
			p.on(t, 0, func(w *worker) {
				for _, g := range w.groups {
					for _, pl := range g.pools {
						busy += int64(pl.standing.busy.Load())
					}
				}
			})
			return busy == 0
		})
	}
}

// A plan that is out of date stays unseen in a batch.
func TestOutdatedPlanInABatch(t *testing.T) {
	d := direct(t, 0)
	command(t, d, "drop table if exists batch_plan")
	command(t, d, "create table batch_plan(n int)")
	command(t, d, "insert into batch_plan values (1)")
	p := startForced(t, 1, 2, nil)
	c := p.company(t, 3)
	prep := func(i int) step { return step{parse("mine", "select * from batch_plan"), syncs} }
	c.compare(t, "prep", 1, prep(1), c.pooled[1].play(prep(1), whole))
	c.compare(t, "run", 1, asNamed("mine"), c.pooled[1].play(asNamed("mine"), whole))
	command(t, d, "alter table batch_plan add column m text")
	c.compare(t, "prep", 2, prep(2), c.pooled[2].play(prep(2), whole))
	r1 := p.hold(t, "postgres")
	r2 := p.hold(t, "postgres")
	u := []step{{query("select 1 from pg_sleep(0.05)")}, own(0, 1), {bind("", "mine"), describe('P', ""), execute("", 0), syncs}}
	p.queues(t, c.pooled, u...)
	r1()
	r2()
	for i := range u {
		c.compare(t, "plan", i, u[i], c.pooled[i].told())
	}
}

// A simple Query in a batch is answered byte for byte as directly, whatever it is.
func TestFormsOfQueriesInABatch(t *testing.T) {
	p := startForced(t, 1, 1, nil)
	c := p.company(t, 3)
	for _, sql := range []string{"select $1::text", "select 1;", "select", "values (1, 'x')", "show work_mem", "explain select 1", "select null", "select nothing", "table pg_am", "select 1 where false", "select 'x'::bytea, now() = statement_timestamp(), 1", "select 1 as a;;", "select distinct 'x'", "select 'x' union select 'y' order by 1"} {
		c.together(t, sql, own(0, 0), step{query(sql)}, own(1, 2))
	}
}

// A unit that fails in a batch keeps its turn.
func TestFailedUnitKeepsItsTurn(t *testing.T) {
	p := startForced(t, 1, 1, func(c *Config) { c.Tuning.Defaults.BatchMax = 2 })
	c := p.company(t, 8)
	release := p.hold(t, "postgres")
	units := []step{{query("select 1/0, pg_sleep(0)")}}
	for range 7 {
		units = append(units, step{query("select clock_timestamp() from pg_sleep(0.02)")})
	}
	p.queues(t, c.pooled, units...)
	release()
	done := make(chan string, 8)
	for i, w := range c.pooled {
		go func() { w.told(); done <- fmt.Sprint(i) }()
	}
	var order []string
	for range 8 {
		order = append(order, <-done)
	}
	if order[len(order)-1] == "0" {
		t.Errorf("who came first and failed was answered last: %v", order)
	}
}
