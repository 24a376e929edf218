package cachenode

import (
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// A command whose owner cannot be reached was not executed, so it may be tried again: mostly the owner has just died, and
// the others need a moment to see it. It waits, is sent when there is a new owner, and fails only after parkFor. So does what
// a node is asked that has just started and not yet found the others.

const (
	// parkRetry is how often waiting commands are tried again.
	parkRetry = 50 * time.Millisecond
	// parkFor is how long a command waits: longer than it takes to notice a crash, shorter than clients wait by default.
	parkFor = 2800 * time.Millisecond
)

// park keeps a command for later, or fails it when its time is over or too many wait.
func (w *worker) park(c *call, out []byte) (reply []byte, done bool) {
	now := w.loop.Now()
	switch {
	case c.parked.IsZero() && (len(w.parked) >= w.n.cfg.MaxPeerRequests ||
		w.parkedBytes > 0 && w.parkedBytes+len(c.raw) > w.n.cfg.MaxPeerBytes):
		w.n.stats.busy.Add(1)
		return appendFailure(out, errBusy), true
	case c.parked.IsZero():
		c.parked = now
	case now.Sub(c.parked) > parkFor && !w.n.searched():
		return appendFailure(out, errSearching), true
	case now.Sub(c.parked) > parkFor:
		return w.fail(c, out, errUnreachable), true
	}
	kept := *c
	kept.raw = append([]byte(nil), c.raw...)
	kept.to = c.later()
	kept.request, kept.args = nil, nil
	w.parked = append(w.parked, &kept)
	w.parkedBytes += len(kept.raw)
	if len(w.parked) == 1 {
		w.parkTimer.Reset(parkRetry)
	}
	return out, false
}

// unpark tries the waiting commands again, in order. Those that cannot be sent yet come back by themselves.
func (w *worker) unpark() {
	waiting := w.parked
	w.parked, w.parkedBytes = nil, 0
	for _, c := range waiting {
		if l, ok := c.to.(*leg); ok && l.of.over {
			continue
		}
		w.again(c, func(c *call) ([]byte, bool) { return w.execute(c, nil) })
	}
}

// again continues a command that has waited with a copy of its text.
func (w *worker) again(c *call, next func(*call) ([]byte, bool)) {
	var limits resp.Limits
	args, _, _, err := w.parser.Parse(c.raw, &limits)
	if err != nil {
		c.to.Resolve(resp.AppendError(nil, "ERR "+err.Error()))
		return
	}
	c.args = args
	if reply, done := next(c); done {
		c.to.Resolve(reply)
	}
}
