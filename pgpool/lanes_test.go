package pgpool

import (
	"sync"
	"testing"
	"time"
)

func automatic(size int) func(*Config) {
	return func(c *Config) {
		d := &c.Tuning.Defaults
		d.PoolSize, d.Batching, d.BatchMax, d.BatchMaxTime, d.BatchMaxReply = size, BatchingAuto, 16, 2*time.Millisecond, 16<<10
	}
}

// Without being told, short reads share a server when they wait for it, once they are known; slow ones never do.
func TestShortReadsShareBusyServers(t *testing.T) {
	p := start(t, 1, automatic(1))
	together := func(clients, times int, sql string) {
		var all sync.WaitGroup
		for range clients {
			w, err := wireTo(p.addr, "postgres")
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				defer w.nc.Close()
				for range times {
					if got := w.play(step{query(sql)}, whole); len(got) != 4 {
						t.Errorf("%s: %v", sql, got)
						return
					}
				}
			})
		}
		all.Wait()
	}
	for range 100 {
		if together(16, 20, "select 1"); p.batches(t).batches > 0 {
			break
		}
	}
	before := p.batches(t)
	if before.batches == 0 || before.units < 2*before.batches || before.alone[soloUnknown] == 0 {
		t.Errorf("%+v", before)
	}
	together(8, 3, "select 1 from pg_sleep(0.02)")
	if after := p.batches(t); after.batches != before.batches || after.alone[soloSlow] == 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// Who waits for one of few servers waits no longer than these move, and leaves the others to what is no short read.
func TestLanesThatDoNotMove(t *testing.T) {
	p := start(t, 1, automatic(4))
	reader, writer := p.connect(t, ""), p.connect(t, "")
	simply(t, reader, "select 1")
	p.on(t, 0, func(w *worker) {
		for c := range w.clients {
			if c.last == nil {
				continue
			}
			pl, h := c.group.pools[0], w.shapes.of(c.unit)
			l, now := &pl.lanes, w.loop.Now()
			for _, tc := range []struct {
				name  string
				lanes lanes
				n     int
				best  float32
				want  bool
			}{
				{"no limit", lanes{busy: 2, moved: now}, 1, 10, false},
				{"a lane is left", lanes{width: 2, busy: 1, moved: now}, 1, 10, false},
				{"all lanes are busy", lanes{width: 2, busy: 2, moved: now}, 1, 10, true},
				{"and stuck", lanes{width: 2, busy: 2, moved: now.Add(-2 * stuck)}, 1, 10, false},
				{"enough wait for a batch", lanes{width: 2, busy: 2, moved: now}, 16, 10, false},
				{"they are worth a server", lanes{width: 2, busy: 2, moved: now}, 10, 200, false},
				{"they are not yet", lanes{width: 2, busy: 2, moved: now}, 9, 200, true},
			} {
				*l, *h = tc.lanes, shape{runs: learned, best: least{tc.best, tc.best, now}}
				if got := pl.gathers(c, tc.n); got != tc.want {
					t.Errorf("%s: %v", tc.name, got)
				}
			}
			*l, *h = lanes{width: 2, busy: 2, moved: now.Add(time.Hour)}, shape{runs: learned, best: least{10, 10, now}} // for ever busy
		}
	})
	read := make(chan error, 1)
	go func() { read <- reader.PgConn().Exec(t.Context(), "select 1").Close() }()
	waitFor(t, "the read to wait", func() bool { return waiting(t, p) == 1 })
	simply(t, writer, "create table if not exists overtaken(n int)")
	if n := waiting(t, p); n != 1 {
		t.Errorf("%d wait behind the write", n)
	}
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			g.pools[0].lanes.moved = w.loop.Now()
		}
	})
	if err := <-read; err != nil {
		t.Error(err)
	}
}
