package pgpool

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A client hears what it notifies itself before ReadyForQuery, as PostgreSQL has it, by every way to notify.
func TestOwnNotificationsComeBeforeReadyForQuery(t *testing.T) {
	direct, pooled := differentialDatabases(t, 1)
	p := start(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	d, err := newDiffer(p, direct, pooled, whole)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for round := range 20 {
		for i, s := range []step{
			{query("listen a")}, {query("notify a, 'x'")}, join(run("select pg_notify('a', 'y')"), syncs), {query("begin")}, {query("notify a, 'x'")}, {query("notify a, 'x'")},
			{query("notify a, 'z'")}, {query("commit")}, {query("begin; notify a; rollback")}, {query("notify b; select 1")},
			{query("notify a, 'x'; select 1/0")}, {query("create temp table mine(x int)")}, {query("notify a, 'pinned'")}, {query("drop table mine")},
			join(query("notify a, '1'"), query("select 1"), query("notify a, '2'")), {query("discard all")}, {query("notify a")},
		} {
			var seen [2]string
			for k, w := range []*wire{d.direct, d.pooled} {
				for _, m := range w.play(s, whole) {
					if m.typ == pgwire.NotificationResponse {
						seen[k] += string(m.body[4:])
					}
					if m.typ != pgwire.ParameterStatus {
						seen[k] += string(m.typ)
					}
				}
			}
			if len(s) == 1 && seen[0] != seen[1] {
				t.Fatalf("round %d, step %d: %q, directly %q", round, i, seen[1], seen[0])
			}
		}
	}
}

// Who listens hears of a transaction before the answer to what it asks behind it, by whatever session that was notified.
func TestNotificationsComeBeforeTheNextAnswer(t *testing.T) {
	p := start(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 2 })
	var clients [2]*wire
	for i := range clients {
		w, err := wireTo(p.addr, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		defer w.nc.Close()
		clients[i] = w
	}
	listener, notifier := clients[0], clients[1]
	listener.play(step{query("listen order_of_things")}, whole)
	for round := range 500 {
		notifier.play(step{query("notify order_of_things")}, whole)
		seen := ""
		for _, m := range listener.play(step{query("")}, whole) {
			seen += string(m.typ)
		}
		if seen != "AIZ" && seen != "IAZ" { // before the answer, or before ReadyForQuery
			t.Fatalf("round %d: %s, want a notification in it", round, seen)
		}
	}
}

// A notification carries the id of the session that sent it, although sessions share servers.
func TestNotificationsNameTheirSender(t *testing.T) {
	p := start(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	listener := p.connect(t, "")
	mustExec(t, listener, "listen names")
	const senders, each = 8, 50
	var wg sync.WaitGroup
	for range senders {
		c := p.connect(t, "")
		wg.Go(func() {
			for range each {
				if _, err := c.Exec(context.Background(), fmt.Sprintf("notify names, '%d'", c.PgConn().PID())); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range senders * each {
		if n := hear(t, listener); n.Payload != fmt.Sprint(n.PID) {
			t.Errorf("a notification of %s says it is from %d", n.Payload, n.PID)
		}
	}
	wg.Wait()
}
