package script

import (
	"context"
	"runtime"
	"runtime/metrics"
	"sync"
	"time"
)

// Why a script is stopped.
const (
	stopNone = iota
	stopTime
	stopMemory
	stopKilled
)

const (
	errTime   = "ERR the script took longer than the time limit and was stopped"
	errMemory = "ERR the script needed more memory than the limit and was stopped"
	errKilled = "ERR Error running script: Script killed by user with SCRIPT KILL."
)

// tick is how often a running script is looked after.
const tick = 5 * time.Millisecond

// guard stops a script that takes too long or too much memory. It is the context that the interpreter asks before each
// instruction; what allocates in one piece asks it by charge.
type guard struct {
	limit  func() time.Duration
	memory int64 // bytes

	charged int64 // since the last look; by the script's goroutine only

	mu       sync.Mutex
	timer    *time.Timer
	stopped  chan struct{} // closed to stop the script
	started  time.Time
	baseline int64 // of the heap, -1 until known
	running  bool
	wrote    bool
	reason   int
}

func newGuard(limit func() time.Duration, memory int64) *guard {
	g := &guard{limit: limit, memory: memory, stopped: make(chan struct{})}
	g.timer = time.AfterFunc(time.Hour, g.look)
	g.timer.Stop()
	return g
}

func (g *guard) begin() {
	g.mu.Lock()
	if g.reason != stopNone {
		g.reason, g.stopped = stopNone, make(chan struct{})
	}
	g.running, g.wrote, g.started, g.baseline, g.charged = true, false, time.Now(), -1, 0
	g.timer.Reset(tick)
	g.mu.Unlock()
}

// end tells why the script was stopped, if it was.
func (g *guard) end() (reason int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = false
	g.timer.Stop()
	return g.reason
}

func (g *guard) noteWrite() {
	if !g.wrote {
		g.mu.Lock()
		g.wrote = true
		g.mu.Unlock()
	}
}

// kill stops the script for SCRIPT KILL. It reports whether one was running, and whether it has written already and so
// goes on.
func (g *guard) kill() (running, wrote bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running && !g.wrote {
		g.stop(stopKilled)
	}
	return g.running, g.wrote
}

func (g *guard) stop(reason int) {
	if g.running && g.reason == stopNone {
		g.reason = reason
		close(g.stopped)
	}
}

// look is the timer's function.
func (g *guard) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.running {
		return
	}
	if time.Since(g.started) >= g.limit() {
		g.stop(stopTime)
	}
	if g.overgrown(0) {
		g.stop(stopMemory)
	}
	if g.reason == stopNone {
		g.timer.Reset(tick)
	}
}

// overgrown tells whether the heap has grown past the limit since the script began, what is garbage not counted.
func (g *guard) overgrown(charged int64) bool {
	now := heapBytes()
	if g.baseline < 0 {
		g.baseline = now - charged
	}
	if now-g.baseline <= g.memory {
		return false
	}
	runtime.GC()
	return heapBytes()-g.baseline > g.memory
}

// charge books n bytes about to be allocated in one piece. It reports false when the script must not have them.
func (g *guard) charge(n int) bool {
	if int64(n) > g.memory {
		return false
	}
	if g.charged += int64(n); g.charged <= g.memory {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	over := g.overgrown(g.charged)
	g.charged = int64(n)
	if over {
		g.stop(stopMemory)
	}
	return !over
}

// ended tells whether the script is to stop.
func (g *guard) ended() bool {
	select {
	case <-g.stopped:
		return true
	default:
		return false
	}
}

func heapBytes() int64 {
	sample := [1]metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample[:])
	return int64(sample[0].Value.Uint64())
}

// The guard as a context.Context.

func (g *guard) Deadline() (time.Time, bool) { return time.Time{}, false }
func (g *guard) Done() <-chan struct{}       { return g.stopped }
func (g *guard) Err() error                  { return context.Canceled }
func (g *guard) Value(any) any               { return nil }
