package pgpool

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// breaker keeps reads away from a server that fails. It opens after so many failures within breakerWindow: connections that
// could not be made or were lost, and servers that start, stop or crash; what is wrong with a login or a query is no
// failure. Then it lets one attempt through at a time, after pauses that double, and closes when one succeeds.
//
// All workers share it. Times are on the pooler's clock (worker.clock).
type breaker struct {
	until atomic.Int64 // nobody is sent there before; 0: it is closed

	mu       sync.Mutex
	failures int           // since begun
	begun    time.Duration // when the window began
	trips    int           // in a row; 0: closed
	trying   bool          // an attempt is under way
	opened   uint64        // times since the start
}

const (
	// breakerWindow is the time within which failures add up.
	breakerWindow = 10 * time.Second
	// longestBreak bounds the pauses, unless breaker_timeout is longer.
	longestBreak = time.Minute
)

// breakerState is a breaker's state.
type breakerState uint8

const (
	breakerClosed breakerState = iota
	breakerOpen
	breakerHalfOpen // an attempt is due or under way
)

var breakerStates = [...]string{breakerClosed: "closed", breakerOpen: "open", breakerHalfOpen: "half-open"}

func (s breakerState) String() string { return breakerStates[s] }

// avoids tells whether reads are to go elsewhere.
func (b *breaker) avoids() bool { return b.until.Load() != 0 }

// try asks to be the one that finds out whether the server is back. Who is given that reports the outcome by fail or
// succeed; if it does not within limit, another may try.
func (b *breaker) try(now, limit time.Duration) bool {
	if int64(now) < b.until.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trips == 0 || int64(now) < b.until.Load() {
		return false
	}
	b.trying = true
	b.until.Store(int64(now + limit))
	return true
}

// fail counts a failure. If that opens the breaker it returns for how long.
func (b *breaker) fail(now time.Duration, limit int, pause time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trips == 0 {
		if b.failures == 0 || now-b.begun > breakerWindow {
			b.failures, b.begun = 0, now
		}
		if b.failures++; b.failures < limit {
			return 0
		}
	} else if !b.trying {
		return 0 // a straggler of those that have opened it
	}
	if longest := max(pause, longestBreak); b.trips < 10 {
		pause = min(pause<<b.trips, longest)
	} else {
		pause = longest
	}
	b.trips++
	b.opened++
	b.trying, b.failures = false, 0
	b.until.Store(int64(now + pause))
	return pause
}

// succeed is told that the server works, and whether that closes the breaker. While it is open only the attempt that it has
// let through counts: what was under way before says nothing.
func (b *breaker) succeed() bool {
	if b.until.Load() == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.trying {
		return false
	}
	b.trips, b.failures, b.trying = 0, 0, false
	b.until.Store(0)
	return true
}

// state returns the state, the failures of the window at hand, and how often it has opened.
func (b *breaker) state(now time.Duration) (state breakerState, failures int, opened uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.trips == 0:
		if now-b.begun <= breakerWindow {
			failures = b.failures
		}
	case b.trying || int64(now) >= b.until.Load():
		state = breakerHalfOpen
	default:
		state = breakerOpen
	}
	return state, failures, b.opened
}

// serverFailed counts a failure of the pool's server.
func (p *pool) serverFailed(err error) {
	t := p.w.tuning()
	if pause := p.standing.fail(p.w.clock(), t.BreakerFailures, t.BreakerTimeout); pause > 0 {
		p.w.pooler.log.Warn("breaker opened", "server", p.server().Addr, "pause", pause, "error", err)
	}
}

// serverWorks notes that the pool's server has answered.
func (p *pool) serverWorks() {
	if p.standing.succeed() {
		p.w.pooler.log.Info("breaker closed", "server", p.server().Addr)
	}
}

// dialOutcome tells the breaker how a login went. A server that refuses one works.
func (p *pool) dialOutcome(err error) {
	e, refused := errors.AsType[*pgwire.Error](err)
	switch {
	case errors.Is(err, context.Canceled): // we are ending
	case err == nil || refused && !goesAway(e.Code):
		p.serverWorks()
	default:
		p.serverFailed(err)
	}
}

// goesAway tells whether an error's code says that the server starts, stops or has crashed: admin_shutdown,
// crash_shutdown and cannot_connect_now (errcodes.txt, class 57). The others of the class are about one session.
func goesAway(code string) bool { return code == "57P01" || code == "57P02" || code == "57P03" }

// blameless tells whether an ErrorResponse that ends a connection says nothing against the server: a timeout, a conflict
// with recovery, a database that was dropped.
func blameless(frame []byte) bool {
	return !bytes.Contains(frame, panicSeverity) && !bytes.Contains(frame, []byte("\x00C57P01\x00")) &&
		!bytes.Contains(frame, []byte("\x00C57P02\x00")) && !bytes.Contains(frame, []byte("\x00C57P03\x00"))
}

// probe finds out whether a server is back, if that is due: by a login, so that no client has to wait for the outcome, or
// where there is no room for one more connection by an empty query on a free one.
func (p *pool) probe() {
	t := p.w.tuning()
	if !p.standing.avoids() || p.useless() || p.group.paused || p.w.draining || !p.standing.try(p.w.clock(), t.ServerConnect+t.BreakerTimeout) {
		return
	}
	if p.reserve() {
		p.dialing++
		p.w.pooler.dialFor(p)
	} else if s := p.take(); s != nil {
		s.inReset, s.since = true, p.w.loop.Now()
		s.run(";")
	} // or else the next answer counts
}
