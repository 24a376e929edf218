package respserver

import (
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

const errUnblocked = "UNBLOCKED client unblocked via CLIENT UNBLOCK"

// Block leaves the reply to w: it comes when w is served, when its time is over, or when CLIENT UNBLOCK ends it. The end of
// the session ends w. It is called on the session's loop and takes the place of Resolve.
func (sl *Slot) Block(w *command.Waiter) {
	s := sl.session
	if s.closed {
		w.End(nil)
		w.Leave()
		s.st.recycle(sl)
		return
	}
	s.waiter.Store(w)
	s.st.srv.blocked.Add(1)
	if w.Until != 0 {
		if s.waitTimer == nil {
			s.waitTimer = s.st.loop.NewTimer(s.waitOver)
		}
		s.waitTimer.Reset(max(0, until(w.Until-s.st.loop.UnixMilli())))
	}
	if s.ending {
		w.TimeOut()
	}
	w.OnReply(func() { s.st.loop.Post(func() { s.answered(w, sl) }) })
}

// until is a duration of ms, as long as there is at most.
func until(ms int64) time.Duration {
	const most = 1 << 62
	return time.Duration(min(ms, most/int64(time.Millisecond))) * time.Millisecond
}

// waitOver is called by the timer.
func (s *session) waitOver() {
	if w := s.waiter.Load(); w != nil {
		w.TimeOut()
	}
}

// answered gives the client the reply it has waited for.
func (s *session) answered(w *command.Waiter, sl *Slot) {
	if s.waiter.Load() != w {
		return // the session has closed
	}
	s.stopWaiting()
	sl.Resolve(w.Reply())
}

// stopWaiting forgets the waiter, if there is one.
func (s *session) stopWaiting() {
	w := s.waiter.Swap(nil)
	if w == nil {
		return
	}
	w.End(nil)
	w.Leave()
	if s.waitTimer != nil {
		s.waitTimer.Stop()
	}
	s.st.srv.blocked.Add(-1)
}

// unblockClient is CLIENT UNBLOCK id [TIMEOUT|ERROR].
func (s *session) unblockClient(args [][]byte) {
	switch {
	case len(args) < 3:
		s.st.w = command.AppendWrongArity(s.st.w, "client|unblock")
		return
	case len(args) > 4:
		s.fail("ERR unknown subcommand or wrong number of arguments for '" + string(args[1]) + "'. Try CLIENT HELP.")
		return
	}
	withError := len(args) == 4 && command.EqualFold(args[3], "error")
	if len(args) == 4 && !withError && !command.EqualFold(args[3], "timeout") {
		s.fail("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
		return
	}
	id, ok := resp.ParseInt(args[2])
	if !ok {
		s.fail("ERR value is not an integer or out of range")
		return
	}
	ended := false
	if other := s.st.srv.byID(uint64(id)); other != nil {
		if w := other.waiter.Load(); w != nil {
			if withError {
				ended = w.End(resp.AppendError(nil, errUnblocked))
			} else {
				ended = w.TimeOut()
			}
		}
	}
	if ended {
		s.int(1)
	} else {
		s.int(0)
	}
}

func (s *Server) byID(id uint64) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}
