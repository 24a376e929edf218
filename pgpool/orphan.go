package pgpool

import "time"

// A client may leave in the middle of a query. Its server is cancelled and, if what is left of the answer is small, read to
// its end and used again: a storm of impatient clients must not cost a storm of logins.

const (
	// orphanBytes is how much of an answer is read for nobody.
	orphanBytes = 64 << 10
	// orphanWait is for how long.
	orphanWait = 5 * time.Second
)

// orphaned tells whether a server whose client has left may be kept: all that was sent was whole units that change nothing
// in the books of sessions, and it is not one that query_timeout had to cancel already.
func (s *server) orphaned(c *client) bool {
	if s.owed.n == 0 || c.midUnit || c.body > 0 || c.copyIn || c.waits || c.changing || c.keeps() || s.due.any() || s.skipping || s.fatal || s.restoring || s.timedOut {
		return false
	}
	for i := range s.owed.n {
		if e := s.owed.at(i); e.set != nil || e.kind == kindCopyEnd {
			return false
		}
	}
	return s.set.equal(c.set)
}

// drainOrphan is told what the server has sent for nobody, and gives it up when that is too much.
func (s *server) drainOrphan(n int) {
	if s.leftover += n; s.leftover > orphanBytes {
		s.retire()
	}
}
