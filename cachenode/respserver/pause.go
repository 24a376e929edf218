package respserver

import (
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// pause is what CLIENT PAUSE has ordered.
type pause struct {
	until time.Time
	all   bool // else only what writes
}

// pauseCommand is CLIENT PAUSE timeout [WRITE|ALL].
func (s *session) pauseCommand(args [][]byte) {
	next := pause{all: true}
	if len(args) > 2 {
		s.fail("ERR syntax error")
		return
	}
	if len(args) == 2 {
		switch {
		case command.EqualFold(args[1], "write"):
			next.all = false
		case !command.EqualFold(args[1], "all"):
			s.fail("ERR CLIENT PAUSE mode must be WRITE or ALL")
			return
		}
	}
	ms, ok := resp.ParseInt(args[0])
	if !ok {
		s.fail("ERR timeout is not an integer or out of range")
		return
	}
	if ms < 0 {
		s.fail("ERR timeout is negative")
		return
	}
	next.until = time.Now().Add(until(ms))
	// A pause is only made longer and stricter, until it is over.
	if old := s.st.srv.pause.Load(); old != nil && time.Now().Before(old.until) {
		next.all = next.all || old.all
		if old.until.After(next.until) {
			next.until = old.until
		}
	}
	s.st.srv.pause.Store(&next)
	s.ok()
}

func (s *session) unpauseCommand() {
	srv := s.st.srv
	srv.pause.Store(nil)
	for _, st := range srv.loops {
		st.loop.Post(st.resumePaused)
	}
	s.ok()
}

// paused tells whether a command has to wait; the session then waits with it. CLIENT UNPAUSE never waits.
func (s *session) paused(p *pause, args [][]byte) bool {
	left := time.Until(p.until)
	if left <= 0 {
		s.st.srv.pause.CompareAndSwap(p, nil)
		return false
	}
	spec := s.st.srv.table.Lookup(args[0])
	if spec == nil {
		return false
	}
	if spec.Name == "client" && len(args) > 1 && command.EqualFold(args[1], "unpause") {
		return false
	}
	if !p.all && !s.writes(spec) {
		return false
	}
	st := s.st
	if !s.held { // it may have been served again meanwhile, for it has read what it was sent
		s.held = true
		st.srv.blocked.Add(1)
		st.pausing = append(st.pausing, s)
	}
	if st.pauseTimer == nil {
		st.pauseTimer = st.loop.NewTimer(st.resumePaused)
	}
	st.pauseTimer.Reset(left + time.Millisecond)
	return true
}

// writes tells what CLIENT PAUSE WRITE holds back: what changes keys, or is heard by others.
func (s *session) writes(spec *command.Spec) bool {
	if spec.Name == "exec" && s.inMulti() {
		for _, q := range s.tx.queue {
			if s.writes(q.Spec) {
				return true
			}
		}
		return false
	}
	return spec.Flags&command.Write != 0 || spec.Name == "publish" || spec.Name == "spublish" || spec.Name == "pfcount"
}

// resumePaused serves the sessions on that were paused. Those that still have to wait come back.
func (st *loopState) resumePaused() {
	waiting := st.pausing
	st.pausing = nil
	for _, s := range waiting {
		if s.letGo(); !s.closed {
			st.unstall(s)
		}
	}
}

// letGo ends a session's wait for the end of a pause.
func (s *session) letGo() {
	if s.held {
		s.held = false
		s.st.srv.blocked.Add(-1)
	}
}
