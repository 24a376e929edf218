package app

import (
	"context"
	"slices"
	"time"

	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
	"github.com/outrigger-proxy/outrigger/pgpool"
	"github.com/outrigger-proxy/outrigger/pgpool/admin"
)

// request is what a console asks of Run: to reload, unless it has more.
type request struct {
	set    *config.Given // change a setting until the next reload
	stop   stopping      // end the program
	answer chan error    // has room for one
}

// stopping says how to end.
type stopping uint8

const (
	stopNot stopping = iota
	stopNow
	stopDrain
)

// obey does what a console asks, apart from ending.
func (a *App) obey(r request) error {
	switch {
	case r.stop != stopNot:
		return nil
	case r.set == nil:
		return a.reload(nil)
	}
	given := slices.DeleteFunc(slices.Clone(a.given), func(g config.Given) bool { return g.Name == r.set.Name })
	return a.reload(append(given, *r.set))
}

// ask has Run do something, from any goroutine.
func (a *App) ask(r request) error {
	r.answer = make(chan error, 1)
	select {
	case a.asked <- r:
		return <-r.answer
	case <-a.over:
		return errStopping
	}
}

func (a *App) askReload() error { return a.ask(request{}) }

func (a *App) askSet(name, value string) error {
	return a.ask(request{set: &config.Given{Name: name, Value: value}})
}

// clientsLeft is how often SHUTDOWN WAIT_FOR_CLIENTS looks whether they have left.
const clientsLeft = 100 * time.Millisecond

// shutdown ends the program for a console. Who waits for servers or clients has asked to wait, however long it takes: only
// then comes the drain, which drain_timeout bounds. Nobody new is let in meanwhile, and health says so.
func (a *App) shutdown(pooler *pgpool.Pooler, p *part) func(mode admin.ShutdownMode) error {
	return func(mode admin.ShutdownMode) error {
		if mode == admin.ShutdownNow {
			return a.ask(request{stop: stopNow})
		}
		wait := pooler.Drain // tells clients to go as they become idle
		if mode == admin.ShutdownWaitForClients {
			wait = func(ctx context.Context) error { return untilEmpty(ctx, pooler) }
		}
		a.draining.Store(true)
		a.log.Info("waiting for the end", "asked", "on the console", "for_clients", mode == admin.ShutdownWaitForClients)
		a.tasks.Go(func() {
			p.halt()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			a.tasks.Go(func() {
				select {
				case <-a.over:
					cancel()
				case <-ctx.Done():
				}
			})
			if wait(ctx) == nil {
				_ = a.ask(request{stop: stopDrain}) // or it is ending already
			}
		})
		return nil
	}
}

// untilEmpty waits until all clients have left, or ctx ends.
func untilEmpty(ctx context.Context, pooler *pgpool.Pooler) error {
	tick := time.NewTicker(clientsLeft)
	defer tick.Stop()
	for pooler.ClientCount() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
