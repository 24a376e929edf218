package netloop

import (
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// resident is this process's memory in bytes.
func resident(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// A stream of gigabytes from a fast source to a reader that takes its time leaves memory as it is.
func TestSlowReaderCostsNoMemory(t *testing.T) {
	size := 5 << 30
	if testing.Short() || raceEnabled {
		size = 256 << 20 // the race detector keeps a shadow of what is copied
	}
	l := startLoop(t, Config{})
	source, sourceEnd := pair(t)
	sink, sinkEnd := pair(t)
	source.SetDeadline(time.Time{})
	sink.SetDeadline(time.Time{})
	var from *Conn
	most := 0
	to := serve(t, l, sinkEnd, &funcs{data: echo, drained: func(*Conn) { from.ResumeReading() }})
	from = serve(t, l, sourceEnd, &funcs{data: func(c *Conn, b []byte) int {
		to.Write(b)
		most = max(most, to.Queued())
		if to.Congested() {
			c.PauseReading()
		}
		return len(b)
	}})
	var stop atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer source.Close()
	defer stop.Store(true)
	wg.Go(func() {
		for chunk := make([]byte, 256<<10); !stop.Load(); {
			if _, err := source.Write(chunk); err != nil {
				return
			}
		}
	})
	buf := make([]byte, 64<<10)
	read := func(n int) {
		for range n / len(buf) {
			if _, err := io.ReadFull(sink, buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Until the sink is read the queues fill up: that is the state to compare with.
	waitFor(t, func() bool {
		var full bool
		on(t, l, func() { full = to.Congested() && from.deaf })
		return full
	})
	read(16 << 20)
	before := resident(t)
	for range 16 {
		read(size / 16)
		if grown := resident(t) - before; !raceEnabled && grown > 4<<20 {
			t.Fatalf("memory grew by %d KiB", grown>>10)
		}
		// The reader pauses until all that can be queued is.
		waitFor(t, func() bool {
			var full bool
			on(t, l, func() { full = to.Congested() && from.deaf })
			return full
		})
	}
	on(t, l, func() {
		if limit := l.cfg.HighWater + l.cfg.ReadBuffer; most > limit {
			t.Errorf("queue grew to %d, limit %d", most, limit)
		}
	})
}

func TestStatsCount(t *testing.T) {
	l := startLoop(t, Config{})
	client, server := pair(t)
	serve(t, l, server, &funcs{data: echo})
	for range 10 {
		checkEcho(t, client, 100)
	}
	on(t, l, func() { time.Sleep(5 * time.Millisecond) }) // a tick that is too long
	on(t, l, func() {})
	on(t, l, func() {
		l.NewTimer(func() {}).Reset(time.Hour)
		s := l.Stats()
		if s.BytesIn != 1000 || s.BytesOut != 1000 || s.Accepted != 1 || s.Conns != 1 || s.Timers != 1 {
			t.Errorf("wrong counts: %+v", s)
		}
		if s.Ticks < 10 || s.Events < 10 || s.Reads < 10 || s.Writes < 10 || s.Posts < 4 {
			t.Errorf("counts too low: %+v", s)
		}
		if s.LongestTick < 5*time.Millisecond {
			t.Errorf("longest tick %v, although one slept", s.LongestTick)
		}
	})
}

// Tens of thousands of deadlines that are set, moved and stopped in any order: each fires once, none early, in order.
func TestManyTimers(t *testing.T) {
	const n = 50_000
	l := startLoop(t, Config{})
	rnd := rand.New(rand.NewPCG(3, 4))
	var wanted, fired, early, disorder int
	var last time.Time
	on(t, l, func() {
		ts := make([]*Timer, n)
		for i := range ts {
			var self *Timer
			self = l.NewTimer(func() {
				fired++
				if time.Now().Before(self.at) {
					early++
				}
				if self.at.Before(last) {
					disorder++
				}
				last = self.at
			})
			ts[i] = self
			self.Reset(time.Hour)
		}
		for _, i := range rnd.Perm(n) {
			switch rnd.IntN(3) {
			case 0:
				ts[i].Stop()
			case 1:
				ts[i].Reset(time.Duration(rnd.IntN(50_000)) * time.Microsecond) // then mostly put off
				fallthrough
			default:
				ts[i].Reset(time.Duration(rnd.IntN(200_000)) * time.Microsecond)
				wanted++
			}
		}
	})
	waitFor(t, func() bool {
		var left int
		on(t, l, func() { left = l.Stats().Timers })
		return left == 0
	})
	on(t, l, func() {
		if fired != wanted || early > 0 || disorder > 0 {
			t.Errorf("%d of %d timers fired, %d early, %d out of order", fired, wanted, early, disorder)
		}
	})
}

// BenchmarkTimerReset puts one of many deadlines off, as a connection does with each message, or brings it forward.
func BenchmarkTimerReset(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		for name, step := range map[string]time.Duration{"later": time.Microsecond, "sooner": -time.Microsecond} {
			b.Run("timers="+strconv.Itoa(n)+"/"+name, func(b *testing.B) {
				l := startLoop(b, Config{})
				on(b, l, func() {
					ts := make([]*Timer, n)
					for i := range ts {
						ts[i] = l.NewTimer(func() {})
						ts[i].Reset(2 * time.Hour)
					}
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						ts[(i*7919)%n].Reset(2*time.Hour + time.Duration(i)*step)
					}
				})
			})
		}
	}
}
