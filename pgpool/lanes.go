// HOT PATH

package pgpool

import "time"

// Short reads that come at once could each have a server to itself. A database with fewer processors than that only makes
// all of them slower, and fewer servers with deeper batches do the same work with fewer wake-ups. So a pool watches how
// much longer short reads take than they might. As long as more servers mean more work done it uses all it has; when they
// only stretch each other, fewer, and who comes waits for the next one of these, if that is worth less than
// batch_max_time.

// lanes are the servers of a pool that run short reads.
type lanes struct {
	width   float32   // how many are used before reads wait for each other; 0: any number
	stretch float32   // how many times as long as the best they take, on average
	runs    int       // since width was looked at
	busy    int       // servers that run short reads
	moved   time.Time // when one of these was last answered
}

const (
	// leastLanes is enough where database, pooler and clients share few processors: more lanes find more work only where
	// their runs are not stretched, and there come back.
	leastLanes = 1
	// strained is the stretch from which there are too many lanes, relaxed that below which there may be more.
	strained, relaxed = 2.5, 1.5
	// lanesEvery is after how many runs that is judged.
	lanesEvery = 32
	// stuck is the time after which nobody waits for lanes that do not move.
	stuck = 10 * time.Millisecond
)

// felt takes in how long a short read took, in terms of the best.
func (l *lanes) felt(stretch float32, most int) {
	l.stretch += (min(stretch, 10*strained) - l.stretch) / lanesEvery
	if l.runs++; l.runs < lanesEvery {
		return
	}
	l.runs = 0
	switch {
	case l.stretch > strained:
		if l.width == 0 {
			l.width = float32(max(l.busy, leastLanes))
		}
		l.width = max(leastLanes, l.width*0.75)
	case l.stretch < relaxed && l.width > 0:
		if l.width++; int(l.width) >= most {
			l.width = 0
		}
	}
}

// left is how many of the free servers short reads may use besides the one that is given out.
func (l *lanes) left(free int) int {
	if l.width == 0 {
		return free
	}
	return min(free, max(0, int(l.width)-l.busy-1))
}

// gathers tells whether c, first of n who wait, waits for a lane rather than take a further server.
func (p *pool) gathers(c *client, n int) bool {
	l := &p.lanes
	if l.width == 0 || l.busy < int(l.width) || n >= c.policy.BatchMax || p.w.loop.Now().Sub(l.moved) > stuck || c.solo(nil) != soloNot {
		return false
	}
	if float32(n)*c.w.shapes.of(c.unit).best.value >= float32(c.policy.BatchMaxTime/time.Microsecond) {
		return false
	}
	p.w.watchLanes(p)
	return true
}

// mayTake tells whether c may have a free server at once: nobody waits, or those who do leave it free for others.
func (p *pool) mayTake(c *client) bool {
	if n := p.waiting.n; n > 0 {
		return p.lanes.width > 0 && len(p.free) > 0 && c.solo(nil) != soloNot && p.gathers(p.waiting.first(), n)
	}
	return c.policy.Batching != batchingAll && !p.gathers(c, 1)
}

// takesLane notes that the server runs short reads.
func (s *server) takesLane() {
	if !s.short {
		s.short = true
		if s.pool.lanes.busy++; s.pool.lanes.busy == 1 {
			s.pool.lanes.moved = s.pool.w.loop.Now()
		}
	}
}

// leavesLane notes that it does no more.
func (s *server) leavesLane() {
	if s.short {
		s.short = false
		s.pool.lanes.busy--
		s.pool.lanes.moved = s.pool.w.loop.Now()
	}
}
