// HOT PATH

package netloop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// ErrStopped is what connections are closed with when their loop stops, and what Adopt answers afterwards.
var ErrStopped = errors.New("event loop stopped")

// Config of a Loop. Zero fields mean the defaults named beside them.
type Config struct {
	// ReadBuffer is the size in bytes of the buffer that all connections read into. Default 64 KiB.
	ReadBuffer int
	// HighWater and LowWater bound a connection's out-queue in bytes: above the first it is Congested, until it is below
	// the second. Defaults 256 KiB and 64 KiB.
	HighWater, LowWater int
	// MaxHeld is how many unconsumed bytes a connection may hold before its socket is no longer read, unless its handler
	// asked for more with Expect. Default 1 MiB.
	MaxHeld int
}

func (c Config) withDefaults() Config {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.ReadBuffer, 64<<10)
	set(&c.HighWater, 256<<10)
	set(&c.LowWater, 64<<10)
	set(&c.MaxHeld, 1<<20)
	return c
}

// Stats counts what a loop has done since it started. Read it on the loop.
type Stats struct {
	Ticks       uint64
	Events      uint64 // connections found ready
	Posts       uint64 // functions run from the mailbox
	Reads       uint64 // that brought something
	Writes      uint64
	BytesIn     uint64 // as on the wire, before decryption
	BytesOut    uint64
	Accepted    uint64 // connections adopted, or moved here
	Conns       int    // connections now
	Timers      int    // set now
	LongestTick time.Duration
}

// Loop carries connections. New makes it, Run runs it.
type Loop struct {
	// constant after New
	cfg Config

	// owned by the loop's goroutine
	poller   poller
	bufs     buffers
	shared   []byte  // what a read goes into; handed to Handler.Data
	cipher   []byte  // what a read of a TLS connection goes into, before decryption
	conns    []*Conn // all of them, in no order; Conn.place is the index
	dirty    []*Conn // have something to write
	closing  []*Conn // closed in this tick; Handler.Closed is still to be called
	timers   timerHeap
	dispatch []func()
	running  []func() // what the mailbox held
	restless bool     // the next tick must not wait
	now      time.Time
	wall     int64 // now in Unix milliseconds
	stats    Stats

	// asleep is 1 while the loop is in, or about to enter, a blocking wait: then a post must wake it.
	asleep atomic.Int32

	mu      sync.Mutex
	mailbox []func() // under mu
	stopped bool     // under mu
}

// New makes a loop. It takes a few descriptors; Run gives them back.
func New(cfg Config) (*Loop, error) {
	l := &Loop{cfg: cfg.withDefaults(), now: time.Now()}
	l.shared = make([]byte, l.cfg.ReadBuffer)
	l.wall = l.now.UnixMilli()
	if err := l.poller.open(); err != nil {
		return nil, fmt.Errorf("open poller: %w", err)
	}
	return l, nil
}

// OnDispatch adds a hook that runs in every tick after all reads and before all writes: the place to hand out waiting
// work. Call it before Run.
func (l *Loop) OnDispatch(fn func()) { l.dispatch = append(l.dispatch, fn) }

// Now is the time at the start of the tick, or when Advance was told it since, with its monotonic part.
func (l *Loop) Now() time.Time { return l.now }

// UnixMilli is the wall clock of Now in milliseconds.
func (l *Loop) UnixMilli() int64 { return l.wall }

// Advance tells the loop what time it is within a tick, from somebody who has read the clock: what comes after something
// slow must not go by a time before it. Loop only.
func (l *Loop) Advance(now time.Time) {
	l.now = now
	l.wall = now.UnixMilli()
}

// Stats returns the loop's counters. Loop only.
func (l *Loop) Stats() Stats {
	s := l.stats
	s.Conns, s.Timers = len(l.conns), len(l.timers)
	return s
}

// Post runs fn on the loop, after this tick's reads. Posts of one goroutine run in order. It reports false once the loop
// has stopped; fn will not run then. Any goroutine may call it.
func (l *Loop) Post(fn func()) bool {
	l.mu.Lock()
	if l.stopped {
		l.mu.Unlock()
		return false
	}
	l.mailbox = append(l.mailbox, fn)
	l.mu.Unlock()
	if l.asleep.Swap(0) == 1 {
		l.poller.wake()
	}
	return true
}

// Adopt hands nc over: a TCP or Unix connection, or a *tls.Conn made by TLSServer or TLSClient whose handshake is done.
// The loop owns it from now on, whatever happens. open runs on the loop with the new Conn and returns its handler; nil
// refuses it. Any goroutine may call Adopt.
func (l *Loop) Adopt(nc net.Conn, open func(*Conn) Handler) error {
	c, err := adopt(nc)
	if err != nil {
		nc.Close()
		return fmt.Errorf("adopt connection: %w", err)
	}
	if !l.Post(func() { l.attach(c, open) }) {
		c.sys.close()
		return ErrStopped
	}
	return nil
}

// attach makes l the owner of c.
func (l *Loop) attach(c *Conn, open func(*Conn) Handler) {
	c.loop = l
	c.place = len(l.conns)
	l.conns = append(l.conns, c)
	l.stats.Accepted++
	if err := l.poller.add(c); err != nil {
		// The handler must exist to hear of the end.
		if c.handler = open(c); c.handler != nil {
			c.Close(fmt.Errorf("watch connection: %w", err))
			return
		}
	} else if c.handler = open(c); c.handler != nil {
		if c.tls != nil {
			c.readable() // the handshake may have read ahead
		}
		return
	}
	c.handler = ignore{}
	c.Close(nil)
}

// slice is how long the loop runs before it passes through the Go scheduler: less than the 10 ms after which the runtime
// takes a goroutine for stuck (runtime, forcePreemptNS). Then it would send a signal, take the processor away in the next
// system call, and have its monitor look again every 20 µs. A loop that is its thread's only goroutine, and not locked to it,
// is back at once.
const slice = 8 * time.Millisecond

// Run runs the loop until ctx ends, then closes every connection and returns.
func (l *Loop) Run(ctx context.Context) error {
	yielded := l.now
	stop := false
	cancel := context.AfterFunc(ctx, func() { l.Post(func() { stop = true }) })
	defer cancel()
	for !stop {
		if err := l.wait(); err != nil {
			l.shutdown()
			return fmt.Errorf("event loop: %w", err)
		}
		l.tick()
		if l.now.Sub(yielded) >= slice {
			yielded = l.now
			runtime.Gosched()
		}
	}
	l.shutdown()
	return nil
}

// tick is one round after the poller has told what is ready.
func (l *Loop) tick() {
	l.stats.Ticks++
	began := time.Now()
	l.Advance(began)
	l.stats.Events += uint64(l.poller.deliver())
	l.runMailbox()
	l.runTimers()
	for _, fn := range l.dispatch {
		fn()
	}
	l.restless = false
	l.flush()
	l.restless = l.restless || len(l.closing) > 0 // what handlers set going has missed this tick's dispatch
	l.finishClosing()
	l.stats.LongestTick = max(l.stats.LongestTick, time.Since(began))
}

// wait asks the poller what is ready, and blocks unless there is work besides.
func (l *Loop) wait() error {
	l.asleep.Store(1)
	timeout := time.Duration(-1)
	switch {
	case l.hasWork():
		timeout = 0
	case len(l.timers) > 0:
		timeout = max(0, time.Until(l.timers[0].due))
	}
	err := l.poller.wait(timeout)
	l.asleep.Store(0)
	return err
}

func (l *Loop) hasWork() bool {
	if l.restless || len(l.dirty) > 0 || len(l.closing) > 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mailbox) > 0
}

func (l *Loop) runMailbox() {
	l.mu.Lock()
	l.running, l.mailbox = l.mailbox, l.running[:0]
	l.mu.Unlock()
	l.stats.Posts += uint64(len(l.running))
	for i, fn := range l.running {
		l.running[i] = nil
		fn()
		l.finishClosing()
	}
}

// flush writes every dirty connection once. Handlers that hear of a drained queue may make others dirty: those come in
// the same pass.
func (l *Loop) flush() {
	for i := 0; i < len(l.dirty); i++ {
		c := l.dirty[i]
		c.dirty = false
		if !c.closed && !c.blocked {
			c.flush()
		}
	}
	clear(l.dirty)
	l.dirty = l.dirty[:0]
}

// finishClosing tells handlers of closed connections, before anything else can come across one that they still count on. A
// handler may close further ones.
func (l *Loop) finishClosing() {
	for i := 0; i < len(l.closing); i++ {
		c := l.closing[i]
		c.handler.Closed(c, c.err)
	}
	clear(l.closing)
	l.closing = l.closing[:0]
}

// shutdown closes everything and refuses what is posted from now on. Work already posted still runs, so that nothing
// handed over is forgotten.
func (l *Loop) shutdown() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.runMailbox()
	for len(l.conns) > 0 {
		l.conns[len(l.conns)-1].Close(ErrStopped)
	}
	l.finishClosing()
	l.poller.close()
}

// ignore is the handler of connections that nobody wanted.
type ignore struct{}

func (ignore) Data(_ *Conn, b []byte) int { return len(b) }
func (ignore) Drained(*Conn)              {}
func (ignore) Closed(*Conn, error)        {}
