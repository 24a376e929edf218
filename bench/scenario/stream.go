package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/report"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

const slowRate = 1_000_000 // bytes per second

// growth watches the resident memory of a process.
type growth struct {
	c      Process
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu         sync.Mutex
	base, most int64
	err        error
}

// sampleInterval is short against the time in which buffers fill and garbage is collected.
const sampleInterval = 10 * time.Millisecond

func watch(ctx context.Context, c Process) *growth {
	ctx, cancel := context.WithCancel(ctx)
	g := &growth{c: c, cancel: cancel}
	g.base, g.err = c.Memory()
	g.most = g.base
	g.done.Go(func() {
		tick := time.NewTicker(sampleInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			bytes, err := c.Memory()
			g.mu.Lock()
			g.most, g.err = max(g.most, bytes), errors.Join(g.err, err)
			g.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	return g
}

// soFar is the largest growth since the start, in bytes.
func (g *growth) soFar() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.most - g.base
}

func (g *growth) stop() error {
	g.cancel()
	g.done.Wait()
	return g.err
}

// slowReader asks for more than any buffer holds, reads it slowly, which must hold up the server and not fill the pooler,
// and then as fast as it comes.
func slowReader(s Sizes) Scenario {
	name := fmt.Sprintf("growth with a result of %d MiB", s.Waiting>>20)
	slow := report.Figure{Name: fmt.Sprintf("%s, %v at 1 MB/s", name, s.Slow), Unit: "MiB", AtMost: 4}
	whole := report.Figure{Name: name + ", the rest read at once", Unit: "MiB", AtMost: 4}
	return Scenario{Name: "slow reader", Figures: []report.Figure{slow, whole}, run: func(ctx context.Context, p Pooler, v *Values) error {
		return started(ctx, p, contender.Options{}, func(c Process) error {
			return streaming(ctx, c, func(client *load.Client, g *growth) error {
				begin := time.Now()
				err := client.ReadSlowly(ctx, s.Waiting, load.Phases{Slow: s.Slow, Rate: slowRate, SlowDone: func() {
					v.set(slow, mebibytes(g.soFar()))
				}}, limit)
				v.set(whole, mebibytes(g.soFar()))
				v.say("%d bytes in %v, of them %v at %d bytes/s", s.Waiting, time.Since(begin), s.Slow, slowRate)
				return err
			})
		})
	}}
}

// copyIn sends COPY data faster than the server takes it.
func copyIn(s Sizes, servers *devpg.Cluster) Scenario {
	grown := report.Figure{Name: fmt.Sprintf("growth with a COPY of %d MiB", s.Copied>>20), Unit: "MiB", AtMost: 4}
	speed := report.Figure{Name: fmt.Sprintf("COPY of %d MiB", s.Copied>>20), Unit: "MiB/s", Better: report.More, NoGoal: true}
	return Scenario{Name: "copy", Figures: []report.Figure{grown, speed}, run: func(ctx context.Context, p Pooler, v *Values) error {
		if _, err := servers.Psql(ctx, 0, "create table if not exists sink (line text)"); err != nil {
			return fmt.Errorf("create the table: %w", err)
		}
		return started(ctx, p, contender.Options{}, func(c Process) error {
			return streaming(ctx, c, func(client *load.Client, g *growth) error {
				begin := time.Now()
				err := client.CopyIn(s.Copied, limit)
				took := time.Since(begin)
				v.set(grown, mebibytes(g.soFar()))
				v.set(speed, mebibytes(s.Copied)/took.Seconds())
				v.say("%d bytes in %v", s.Copied, took)
				return err
			})
		})
	}}
}

// streaming gives f a client that has asked before, and watches the pooler meanwhile.
func streaming(ctx context.Context, c Process, f func(*load.Client, *growth) error) error {
	client, err := load.Connect(ctx, c.Addr(load.Pooler), credentials())
	if err != nil {
		return err
	}
	defer client.Close()
	defer context.AfterFunc(ctx, client.Interrupt)()
	if err := client.Query("select 1", limit); err != nil {
		return err
	}
	g := watch(ctx, c)
	return errors.Join(f(client, g), g.stop())
}
