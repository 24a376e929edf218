package health

import (
	"math"
	"time"
)

// trail remembers when the primary was where in its log, so that a replica's position tells how old is what it shows. It
// needs no clock but our own, and a replica that has lost its primary is seen to fall behind although it has replayed all
// that it has received.
type trail struct {
	points [trailLen]point
	n      int
}

// trailLen bounds a trail. When it is full its points are thinned so that the distance between them grows with their age:
// any lag is known to a few percent.
const trailLen = 256

// point says that the primary was at lsn when it was last seen there.
type point struct {
	lsn uint64
	at  time.Time
}

func (t *trail) add(lsn uint64, at time.Time) {
	if t.n > 0 {
		switch last := &t.points[t.n-1]; {
		case lsn == last.lsn:
			last.at = at
			return
		case lsn < last.lsn: // a new primary has less than the old one had
			t.n = 0
		}
	}
	if t.n == trailLen {
		t.thin(at)
	}
	t.points[t.n] = point{lsn, at}
	t.n++
}

// thin drops the point whose neighbours are closest to each other, for their age.
func (t *trail) thin(now time.Time) {
	drop, least := 1, math.Inf(1)
	for i := 1; i < t.n-1; i++ {
		gap := t.points[i+1].at.Sub(t.points[i-1].at).Seconds() / now.Sub(t.points[i-1].at).Seconds()
		if gap < least {
			drop, least = i, gap
		}
	}
	copy(t.points[drop:], t.points[drop+1:t.n])
	t.n--
}

// seen returns when the primary was last seen at lsn or before it; the zero time if it never was.
func (t *trail) seen(lsn uint64) time.Time {
	for i := t.n - 1; i >= 0; i-- {
		if p := &t.points[i]; p.lsn <= lsn {
			return p.at
		}
	}
	return time.Time{}
}

// measure sets the lag of a replica that has just been probed. It is measured at the time when the primary was last seen:
// what a replica shows does not grow old while there is no primary.
func (t *trail) measure(s *Server, fresh bool) {
	if t.n == 0 {
		s.LagBytes = int64(s.LSN - min(s.LSN, s.ReplayLSN))
		if s.Lag = s.replayAge; s.LagBytes == 0 {
			s.Lag = 0
		}
	} else {
		head := &t.points[t.n-1]
		s.LagBytes = int64(head.lsn - min(head.lsn, s.ReplayLSN))
		if at := t.seen(s.ReplayLSN); at.After(s.shown) {
			s.shown = at
		}
		switch {
		case s.LagBytes == 0:
			s.Lag = 0
		case s.shown.IsZero(): // it was behind when we first saw it
			s.Lag = s.replayAge
		default:
			s.Lag = max(0, head.at.Sub(s.shown))
		}
	}
	if fresh {
		s.held, s.heldBytes = s.Lag, s.LagBytes
	}
	s.held, s.heldBytes = hold(s.held, s.Lag), hold(s.heldBytes, s.LagBytes)
}

// hold follows a lag upwards at once, and downwards only when that is less than half of what is held. What is held passes
// a limit together with the lag, and is back below it when the lag is half the limit: hysteresis for any limit at once.
func hold[T ~int64](held, lag T) T {
	switch {
	case lag > held:
		return lag
	case lag < held-lag:
		return 2 * lag
	}
	return held
}
