package cachenode

import (
	"context"
	"errors"
	"time"
)

// A process that was stopped (by a signal, with its container, with the whole machine) goes on with all that has been sent to
// it meanwhile. Those who asked have given up, asked the next owner, and got their answers: executed now, an old command would
// be newer than all of those, and replace them. So what has waited in the connections of peers is thrown away unread with
// the connections; peers make new ones for what they still want.

const (
	beatEvery = 100 * time.Millisecond
	// stallLimit is less than peers wait for an answer, and than a member needs to be taken for dead.
	stallLimit = time.Second
)

// errStalled closes connections that hold what may be outdated.
var errStalled = errors.New("this process was stopped for a while")

// pulse beats until ctx ends.
func (n *Node) pulse(ctx context.Context) {
	n.beat()
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			n.beat()
		}
	}
}

// beat counts a stall where the last one was too long ago.
func (n *Node) beat() {
	if late := n.late(); late > stallLimit {
		n.stalls.Add(1) // before the new time can be seen
		n.cfg.Logger.Warn("this process was stopped, or had no processor, for a while", "missing", late.Round(time.Millisecond))
	}
	n.lastBeat.Store(int64(time.Since(n.made)))
}

// late is the time since the last beat, 0 before the first.
func (n *Node) late() time.Duration {
	last := time.Duration(n.lastBeat.Load())
	if last == 0 {
		return 0
	}
	return time.Since(n.made) - last
}

// stalled tells whether the process was stopped since the last call, and if so, closes the connections of peers. Whoever
// runs first when the process goes on may be this loop, so it looks at the clock itself.
func (w *worker) stalled() bool {
	n := w.n
	if n.late() > stallLimit {
		n.beat()
	}
	stalls := n.stalls.Load()
	if stalls == w.stalls {
		return false
	}
	w.stalls = stalls
	for in := range w.inbounds {
		in.conn.Close(errStalled)
	}
	return true
}
