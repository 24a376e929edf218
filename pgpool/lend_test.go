package pgpool

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// A worker with more clients than there are servers in the pool leaves some to the others.
func TestNoWorkerKeepsTheOnlyServer(t *testing.T) {
	p := start(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	var busy, other []*pgx.Conn
	for range 4 {
		busy, other = append(busy, p.connect(t, simple)), append(other, p.connect(t, simple))
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	for _, c := range busy {
		go func() {
			for ctx.Err() == nil {
				c.Exec(context.Background(), "select pg_sleep(0.002)")
			}
			ended <- struct{}{}
		}()
	}
	waitFor(t, "a queue", func() bool { return waiting(t, p) > 1 })
	limited, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for range 4 * int(deadline/housekeeping) { // it is not housekeeping that helps
		if _, err := other[0].Exec(limited, "select 1"); err != nil {
			t.Error(err)
			break
		}
	}
	stop()
	for range busy {
		<-ended
	}
}

// A server that its worker is to look at again in this tick stays there: on another worker it may be a client's by then.
func TestServerToBeSettledStays(t *testing.T) {
	p := start(t, 2, nil)
	c := p.connect(t, simple)
	if _, err := c.Exec(context.Background(), "select 1"); err != nil {
		t.Fatal(err)
	}
	found := false
	for i := range p.workers {
		p.on(t, i, func(w *worker) {
			for _, g := range w.groups {
				for s := range g.pools[0].all {
					found = true
					g.pools[0].slots.starving.Store(1 << (1 - w.number))
					w.settleLater(s)
					if g.pools[0].lendAway(s) {
						t.Error("it is lent away")
					}
					w.dispatch()
					if s.unsettled || len(w.toSettle) > 0 {
						t.Error("it is not settled")
					}
					g.pools[0].slots.starving.Store(0)
				}
			}
		})
	}
	if !found {
		t.Fatal("no server")
	}
}

// RESUME reaches also a server that is on its way from one worker to another.
func TestResumeReachesAServerThatIsLent(t *testing.T) {
	p := start(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 1 })
	first, second := p.connect(t, simple), p.connect(t, simple)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if _, err := first.Exec(ctx, "select 1"); err != nil {
		t.Fatal(err)
	}
	p.settled(t, 2)
	console := p.admin(t)
	command(t, console, "suspend")
	moved := make(chan struct{})
	for i := range p.workers {
		p.on(t, i, func(from *worker) {
			for _, g := range from.groups {
				pl := g.pools[0]
				for len(pl.free) > 0 {
					s := pl.take()
					delete(pl.all, s)
					to := p.workers[1-i]
					s.conn.Move(to.loop, func(*netloop.Conn) {
						p.suspended.Store(false) // RESUME goes by
						to.resumeReading()
						from.loop.Post(func() {
							from.resumeReading()
							to.loop.Post(func() { to.borrowed(g.shared, 0, s); close(moved) })
						})
					})
				}
			}
		})
	}
	select {
	case <-moved:
	case <-ctx.Done():
		t.Fatal("no server was lent")
	}
	for _, c := range []*pgx.Conn{first, second} {
		if _, err := c.Exec(ctx, "select 1"); err != nil {
			t.Error(err)
		}
	}
}
