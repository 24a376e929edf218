// HOT PATH

package respserver

// What clients take besides what they store is charged to the budget as well: buffers, transactions, subscriptions, what is
// remembered for those that track. The cache makes room for it with the next write.

const (
	// sessionBytes is what an idle session and its connection occupy, roughly.
	sessionBytes = 1 << 10
	// subscriptionBytes is what a subscription takes besides its name, topicBytes what a channel with any does.
	subscriptionBytes = 128
	topicBytes        = 512
	// trackedBytes is what a key takes that is remembered, besides its name.
	trackedBytes = 128
	// tellAt is by how many bytes a loop's clients may have grown or shrunk before the store is told.
	tellAt = 64 << 10
)

// hold has the session's memory looked at when the tick ends.
func (s *session) hold() {
	if !s.holds {
		s.holds = true
		s.st.holding = append(s.st.holding, s)
	}
}

// memory is what the session has in buffers now.
func (s *session) memory() int {
	if s.closed {
		return 0
	}
	return s.conn.Memory() + s.waiting + int(s.queuedBytes.Load())
}

// account charges what the sessions hold that have done something since they held nothing. Once they hold nothing they are
// looked at no more.
func (st *loopState) account() {
	kept := st.holding[:0]
	for _, s := range st.holding {
		n := s.memory()
		st.grown += n - s.charged
		s.charged = n
		if s.holds = n > 0; s.holds {
			kept = append(kept, s)
		}
	}
	clear(st.holding[len(kept):])
	st.holding = kept
	if st.grown >= tellAt || st.grown <= -tellAt {
		st.srv.cfg.Store.Charge(int64(st.grown))
		st.grown = 0
	}
}
