package cachenode

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/near"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// worker is what one loop knows: its links to peers, the peers' connections to it, and memory that one command at a time
// uses. Owned by the loop, but for the constant fields.
type worker struct {
	// Constant after New.
	n    *Node
	loop *netloop.Loop

	links    map[*remote]*link
	inbounds map[*inbound]struct{}
	batching []*link // have entries for the end of the tick
	stopped  bool
	stalls   uint64 // of the node, as of the last look

	parked      []*call // wait for an owner that can be reached
	parkedBytes int     // of their text
	parkTimer   *netloop.Timer
	pulling     map[*keyPull]struct{} // wait for an answer
	pullBytes   int                   // of the text of commands that wait for it
	held        []heldPull
	heldTimer   *netloop.Timer

	heat     *near.Heat    // nil without a near-cache
	nearHits atomic.Uint64 // read by others

	polls     []heldPoll // wait for a change
	pollTimer *netloop.Timer
	awaiting  atomic.Bool // a change is to wake this loop
	changed   func()      // answerPolls
	vouched   []byte      // partitions, in the making
	hashes    []uint64    // changes, in the making

	spareAsks     []*batchAsk
	spareForwards []*forwarded
	spareWrites   []*write

	answer   peer.Frame // being handled by who waited for it
	parser   resp.Parser
	ctx      command.Context
	outgoing store.Entry
	incoming store.Entry
	applied  bool // incoming was newer than what was here
	wire     wireEntry
	keys     []store.Key
	keyBytes []byte
	at       []int  // of the keys among the arguments
	told     []byte // news for peers in the making
	scratch  []byte // a reply, or a frame's body, in the making

	// What local answers by: the partitions of the keys that the command names.
	local    func(partition int) bool
	declared []int

	// What owns answers by.
	owns     func(p int) bool
	counting *placement
	limit    int
}

func newWorker(n *Node, loop *netloop.Loop) *worker {
	w := &worker{n: n, loop: loop, links: map[*remote]*link{}, inbounds: map[*inbound]struct{}{}, pulling: map[*keyPull]struct{}{}}
	w.ctx.Table = n.table
	w.parkTimer = loop.NewTimer(w.unpark)
	w.heldTimer = loop.NewTimer(w.answerHeld)
	w.pollTimer, w.changed = loop.NewTimer(w.answerOverdue), w.answerPolls
	if n.near != nil {
		w.heat = new(near.Heat)
	}
	w.owns = func(p int) bool { return p < w.limit && w.counting.owner[p] == self }
	w.ctx.Scripts = n.scripts.NewRunner()
	w.local = w.isLocal
	w.ctx.Publish = w.publish
	loop.OnDispatch(w.dispatch)
	return w
}

// isLocal tells whether a command inside another, of a script, may touch a partition: one that is this node's, and here,
// or one whose keys the outer command names, for those brought it here.
func (w *worker) isLocal(p int) bool {
	pl := w.n.placement.Load()
	return pl.owner[p] == self && w.n.settled(pl, p) || slices.Contains(w.declared, p)
}

// link returns the link to a peer, which is made when first needed.
func (w *worker) link(to *remote) *link {
	l := w.links[to]
	if l == nil {
		l = newLink(w, to)
		l.closed = w.stopped
		w.links[to] = l
	}
	return l
}

// dispatch ends the tick: what it has changed goes to the backups, one frame to each.
func (w *worker) dispatch() {
	for i, l := range w.batching {
		l.flushBatch()
		w.batching[i] = nil
	}
	w.batching = w.batching[:0]
}

// follow takes note of a new placement: links to peers that are gone close, and commands that wait are tried again.
func (w *worker) follow() {
	w.answerHeld()
	w.answerPolls()
	if w == w.n.workers[0] {
		w.tellSettings()
	}
	if w.n.tracking.Load() {
		w.tellInterest()
		w.mistrust()
	}
	pl := w.n.placement.Load()
	for to, l := range w.links {
		if !pl.alive(to) {
			l.close()
			delete(w.links, to)
		}
	}
	w.endPulls(pl)
	w.dismissStrangers(pl)
	w.unpark()
}

// stop closes everything. Commands that come later get an error.
func (w *worker) stop() {
	w.stopped = true
	w.dispatch()
	for _, l := range w.links {
		l.close()
	}
	clear(w.links)
	w.unpark()
	w.answerHeld()
	for in := range w.inbounds {
		in.conn.CloseAfterFlush()
	}
}

// now is the wall clock of the tick in Unix milliseconds.
func (w *worker) now() int64 { return w.loop.UnixMilli() }

// distrustFor is how long a peer that did not acknowledge in time is not waited for.
const distrustFor = time.Second
