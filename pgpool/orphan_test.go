package pgpool

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unique"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// send writes a query and does not wait for its answer.
func (w *wire) send(t *testing.T, sql string) {
	t.Helper()
	if _, err := w.nc.Write(pgwire.AppendQuery(nil, sql)); err != nil {
		t.Fatal(err)
	}
}

func TestAServerOutlivesAClientThatLeavesInMidQuery(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	stranger := p.connect(t, simple)
	ask(t, stranger, "select 'warm'")
	before := p.pids(t)
	watch := direct(t, 0)
	const slow = "select pg_sleep(3600), 'of the one who left'"
	for i := range 20 {
		w, err := wireTo(p.addr, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		w.send(t, slow)
		waitFor(t, "the query to run", func() bool {
			var state, sql string
			if err := watch.QueryRow(context.Background(), "select state, query from pg_stat_activity where pid = $1", before[0]).Scan(&state, &sql); err != nil {
				t.Fatal(err)
			}
			owed := 0 // our own query ahead of it may be answered and not read yet
			p.on(t, 0, func(w *worker) {
				for _, g := range w.groups {
					for s := range g.pools[0].all {
						owed += s.owed.n
					}
				}
			})
			return state == "active" && sql == slow && owed == 1
		})
		w.nc.Close()
		if got, want := ask(t, stranger, fmt.Sprintf("select 'mine %d'", i)), fmt.Sprintf("mine %d", i); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if after := p.pids(t); !slices.Equal(before, after) {
		t.Errorf("server %d was replaced by %d", before, after)
	}
	p.settled(t, 1)
}

// What would take long to read, or leaves something behind, costs the server.
func TestAServerThatCannotBeKeptIsClosed(t *testing.T) {
	for _, tc := range []struct{ name, before, sql string }{
		{"long answer", "", "select repeat('x', 1000) from generate_series(1, 1000000)"},
		{"open transaction", "begin", "select pg_sleep(3600)"},
		{"transaction begun", "", "begin; select pg_sleep(3600)"},
		{"setting", "", "set search_path to pg_catalog; select pg_sleep(3600)"},
		{"copy", "", "copy pg_class from stdin"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
			path := ask(t, p.connect(t, simple), "show search_path")
			w, err := wireTo(p.addr, "postgres")
			if err != nil {
				t.Fatal(err)
			}
			if tc.before != "" {
				w.play(step{query(tc.before)}, whole)
			}
			w.send(t, tc.sql)
			waitFor(t, "the query to run", func() bool {
				busy := false
				p.on(t, 0, func(wk *worker) {
					for c := range wk.clients {
						busy = busy || c.server != nil && c.server.queries > 0 || c.inFlight > 0
					}
				})
				return busy
			})
			w.nc.Close()
			stranger := p.connect(t, simple)
			if got := ask(t, stranger, "show search_path"); got != path {
				t.Errorf("search_path is %q, was %q", got, path)
			}
			if got := ask(t, stranger, "select 'mine'"); got != "mine" {
				t.Errorf("got %q", got)
			}
			if _, err := stranger.Exec(context.Background(), "begin; commit"); err != nil {
				t.Error(err)
			}
			p.settled(t, 2)
		})
	}
}

func TestUsersWaitInTurn(t *testing.T) {
	list := waitList{load: new(atomic.Int32)}
	var got []string
	now := time.Now()
	add := func(user string, n int) {
		for i := range n {
			list.push(&client{user: unique.Make(user), since: now.Add(time.Duration(i)), cancelKey: cancelKey{pid: uint32(i)}})
		}
	}
	add("greedy", 4)
	add("a", 2)
	add("b", 1)
	for list.n > 0 {
		c := list.pop()
		got = append(got, fmt.Sprint(c.user.Value(), c.pid))
		if len(got) == 3 {
			add("late", 1)
		}
	}
	want := []string{"greedy0", "a0", "b0", "greedy1", "a1", "late0", "greedy2", "greedy3"}
	if !slices.Equal(got, want) {
		t.Errorf("served %v, want %v", got, want)
	}
	if len(list.lines) != 0 || list.next != nil {
		t.Error("lines are left")
	}
}

func TestWhoHasWaitedComesFirst(t *testing.T) {
	list := waitList{load: new(atomic.Int32)}
	var all []*client
	for _, name := range []string{"later", "other", "later", "alone"} {
		all = append(all, &client{user: unique.Make(name)})
		list.push(all[len(all)-1])
	}
	preferred := []*client{{user: unique.Make("later")}, {user: unique.Make("later")}, {user: unique.Make("first")}}
	for _, c := range preferred {
		list.push(c)
		list.prefer(c)
	}
	want := []*client{preferred[1], all[1], all[3], preferred[2], preferred[0], all[0], all[2]}
	for i, c := range want {
		if got := list.pop(); got != c {
			t.Errorf("the %dth is another", i)
		}
	}
	if list.n != 0 || len(list.lines) != 0 {
		t.Errorf("%d are left", list.n)
	}
}
