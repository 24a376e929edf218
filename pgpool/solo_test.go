package pgpool

import (
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// What has a server to itself, and why.
func TestWhatHasAServerToItself(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		d := &c.Tuning.Defaults
		d.PoolSize, d.Batching, d.BatchMax, d.BatchMaxTime, d.BatchMaxReply = 2, BatchingAuto, 16, 2*time.Millisecond, 16<<10
	})
	mustExec(t, direct(t, 0), "create table if not exists soloed(n int); create sequence if not exists soloing") // DDL through p would make it unsure
	for _, tc := range []struct {
		name   string
		steps  []step
		change func(c *client, s *server, h *shape) // what is known when it waits next
		want   solo
	}{
		{"a read", []step{{query("select 1")}}, nil, soloNot},
		{"a read that was prepared unnamed", []step{join(run("select 2"), syncs)}, nil, soloNot},
		{"a read that was prepared before", []step{{parse("s", "select 3"), syncs}, {bind("", "s"), execute("", 0), syncs}}, nil, soloNot},
		{"a read of a table", []step{{query("select count(*) from pg_class where relname = 'x'")}}, nil, soloNot},

		{"batches are off", []step{{query("select 1")}}, func(c *client, _ *server, _ *shape) { c.policy.Batching = BatchingOff }, soloOff},
		{"one unit is the most", []step{{query("select 1")}}, func(c *client, _ *server, _ *shape) { c.policy.BatchMax = 1 }, soloOff},
		{"servers are lent for sessions", []step{{query("select 1")}}, func(c *client, _ *server, _ *shape) { c.policy.Mode = SessionMode }, soloOff},

		{"other settings", []step{{query("set work_mem = '1MB'")}, {query("select 1")}}, func(_ *client, s *server, _ *shape) { s.set = nil }, soloState},
		{"a pinned client", []step{{query("prepare own as select 1")}, {query("select 1")}}, nil, soloState},
		{"a client that does not read", []step{{query("select 1")}}, func(c *client, _ *server, _ *shape) { c.stalled = true }, soloState},

		{"in a transaction", []step{{query("begin")}, {query("select 1")}}, nil, soloTransaction},
		{"in one that has begun here", []step{{query("select 1")}, {query("begin")}}, nil, soloTransaction},

		{"a write", []step{{query("insert into soloed values (1)")}}, nil, soloWrite},
		{"a lock", []step{{query("select n from soloed for update")}}, nil, soloWrite},
		{"an advisory lock", []step{{query("select pg_advisory_xact_lock(1)")}}, nil, soloWrite},
		{"a setting", []step{{query("set work_mem = '2MB'")}}, nil, soloWrite},
		{"a sequence", []step{{query("select nextval('soloing')")}}, nil, soloWrite},
		{"two reads in a string", []step{{query("select 1; select 2")}}, nil, soloWrite},
		{"nothing", []step{{query("")}}, nil, soloWrite},
		{"a token", []step{{query("show outrigger.token")}}, nil, soloWrite},
		{"what is not known", []step{{query("nonsense")}}, nil, soloWrite},

		{"a named statement that is prepared", []step{join(step{parse("p", "select 4"), bind("", "p"), execute("", 0), syncs})}, nil, soloForm},
		{"one that is only prepared", []step{{parse("", "select 5"), describe('S', ""), syncs}}, nil, soloForm},
		{"one of an earlier unit without a name", []step{{parse("", "select 6"), syncs}, {bind("", ""), execute("", 0), syncs}}, nil, soloForm},
		{"two that are bound", []step{join(run("select 7"), run("select 8"), syncs)}, nil, soloForm},
		{"a Close", []step{join(run("select 9"), closing('P', ""), syncs)}, nil, soloForm},
		{"a long text", []step{{query("select '" + strings.Repeat("x", maxShared) + "'")}}, nil, soloForm},

		{"a statement that the server may not have", []step{{parse("q", "select 10"), syncs}, {bind("", "q"), execute("", 0), syncs}},
			func(c *client, s *server, _ *shape) { s.stmts.doubts(c.unit, 1) }, soloStatement},
		{"what is run again", []step{{query("select 1")}}, func(c *client, _ *server, _ *shape) { c.replay = []byte{pgwire.Query} }, soloAgain},
		{"a shape that is not known", []step{{query("select 1")}}, func(_ *client, _ *server, h *shape) { h.runs = learned - 1 }, soloUnknown},
		{"a slow shape", []step{{query("select 1")}}, func(_ *client, _ *server, h *shape) { h.best.value = 2001 }, soloSlow},
		{"one that is slow at times", []step{{query("select 1")}}, func(_ *client, _ *server, h *shape) { h.time = slack*2000 + 1 }, soloSlow},
		{"long answers", []step{{query("select 1")}}, func(_ *client, _ *server, h *shape) { h.reply = 16<<10 + 1 }, soloLarge},
		{"a barred shape", []step{{query("select 1")}}, func(_ *client, _ *server, h *shape) { h.barred = true }, soloBarred},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, err := wireTo(p.addr, "postgres")
			if err != nil {
				t.Fatal(err)
			}
			defer w.nc.Close()
			for _, s := range tc.steps {
				w.play(s, whole)
			}
			waitFor(t, "the catalog to be known", func() (known bool) {
				p.on(t, 0, func(wk *worker) {
					for _, g := range wk.groups {
						known = !g.shared.catalog.Load().unsure()
					}
				})
				return known
			})
			p.on(t, 0, func(wk *worker) {
				var c *client
				for each := range wk.clients {
					if each.pid == w.pid {
						c = each
					}
				}
				s := c.server
				if s == nil {
					s = c.last
				}
				if s == nil { // nothing was sent
					s = &server{pool: c.group.pools[0], set: c.set}
				}
				policy, h := *c.policy, &shape{runs: learned}
				c.policy, s.set = &policy, c.set
				replay := c.replay
				if c.unit != nil {
					c.unit.shape = h
				}
				if tc.change != nil {
					tc.change(c, s, h)
				}
				if got := c.solo(s); got != tc.want {
					t.Errorf("%v, want %v", got, tc.want)
				}
				c.replay, c.stalled = replay, false
				clear(s.stmts.unsure)
				if c.unit != nil {
					c.unit.shape = nil
				}
			})
		})
	}
}
