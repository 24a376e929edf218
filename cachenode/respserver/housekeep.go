package respserver

import (
	"errors"
	"log/slog"
	"sync"
	"time"
)

// What no event tells of is looked at now and then, by each loop for its own sessions: who has been idle for too long, and
// whose output has passed the soft limit for too long. While neither can be, nobody looks.

// houseEvery is the longest pause between two looks.
const houseEvery = time.Second

var errIdle = errors.New("idle for longer than the timeout")

// wantHousekeeping has the loop look at its sessions. It is called on the loop.
func (st *loopState) wantHousekeeping() {
	every := houseEvery
	if idle := st.srv.IdleTimeout(); idle > 0 {
		every = min(every, max(idle/4, 10*time.Millisecond))
	} else if !st.swollen {
		return
	}
	if st.house == nil {
		st.house = st.loop.NewTimer(st.keepHouse)
	}
	if !st.house.Active() {
		st.house.Reset(every)
	}
}

func (st *loopState) keepHouse() {
	idle := st.srv.IdleTimeout()
	st.swollen = false
	any := false
	for _, s := range st.srv.list() {
		if s.st != st || s.closed {
			continue
		}
		any = true
		if s.softSince != 0 {
			s.checkOutput()
			st.swollen = st.swollen || s.softSince != 0
		}
		if idle > 0 && s.idleFor(st.loop.UnixMilli()) > idle.Milliseconds() {
			st.srv.cfg.Logger.Debug("closed an idle client", "client", s.address())
			s.conn.Close(errIdle)
		}
	}
	if any {
		st.wantHousekeeping()
	}
}

// idleFor is for how many milliseconds the session has neither given a command nor sent nor taken any part of one. Who waits
// for a reply, a key or the end of a pause, or listens to messages, never is idle.
func (s *session) idleFor(now int64) int64 {
	moves := len(s.conn.Held()) + s.conn.Queued()
	if moves != s.moves || s.first != nil || s.held || s.monitors || s.subscriptions() > 0 {
		s.moves, s.movedAt = moves, now
	}
	return now - max(s.created.UnixMilli(), s.lastAt.Load(), s.movedAt)
}

// reporter logs what many clients could make happen often: of each message no more than one line in reportEvery.
type reporter struct {
	log *slog.Logger

	mu   sync.Mutex
	told map[string]*report // by message
}

type report struct {
	last    time.Time
	skipped int
}

const reportEvery = time.Second

// warn logs a message, one of a fixed few.
func (r *reporter) warn(message string, attrs ...any) {
	r.mu.Lock()
	of := r.told[message]
	if of == nil {
		of = &report{}
		r.told[message] = of
	}
	now := time.Now()
	if now.Sub(of.last) < reportEvery {
		of.skipped++
		r.mu.Unlock()
		return
	}
	if of.skipped > 0 {
		attrs = append(attrs, "skipped", of.skipped)
	}
	of.last, of.skipped = now, 0
	r.mu.Unlock()
	r.log.Warn(message, attrs...)
}
