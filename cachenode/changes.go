package cachenode

import (
	"encoding/binary"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/outrigger-proxy/outrigger/cachenode/near"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// What an owner does for those who keep copies of its keys: it says which replies may be kept, and answers what has changed
// since. It does not know who has copies of what; the store numbers the changes of keys that anybody has copied, see
// store/journal.go.

const (
	// maxHold bounds how long an answer waits for a change, whatever the asker would like.
	maxHold = time.Second
	// maxHeldPolls bounds the answers that wait on one loop. Others are given at once.
	maxHeldPolls = 1024
)

// copied executes a GET of a key of this node whose reply the peer wants to keep. It reports false if it must not.
func (w *worker) copied(pl *placement, c *call, in *inbound) bool {
	k := &w.keys[0]
	if len(w.keys) != 1 || c.spec != w.n.get || len(pl.misplaced) > 0 || !w.n.settled(pl, k.Partition()) {
		return false
	}
	until, ok := w.n.store.Mark(k, w.now())
	if !ok {
		return false
	}
	left := uint64(0)
	if until != 0 {
		left = uint64(max(1, until-w.now()))
	}
	start := len(peer.AppendCopy(nil, 0))
	w.scratch, _ = w.run(pl, c, peer.AppendCopy(w.scratch[:0], left))
	if reply := w.scratch[start:]; len(w.scratch) > peer.MaxBody || reply[0] != '$' || reply[1] == '-' {
		in.reply(c.id, reply) // it is gone since
		return true
	}
	in.send(peer.Reply, peer.FlagCopy, c.id, w.scratch)
	return true
}

// heldPoll is a Poll that waits for a change.
type heldPoll struct {
	in    *inbound
	id    uint64
	asked peer.PollRequest
	until time.Time
}

// polled answers a Poll, when there is something to tell or its time is over.
func (w *worker) polled(in *inbound, f *peer.Frame) error {
	asked, err := peer.ParsePoll(f.Body)
	if err != nil {
		return err
	}
	hold := min(time.Duration(asked.Hold)*time.Millisecond, maxHold)
	h := heldPoll{in, f.ID, asked, w.loop.Now().Add(hold)}
	w.awaiting.Store(true) // before the look at what there is: a change that comes now wakes this loop
	if len(w.polls) >= maxHeldPolls || !w.quiet(&asked) {
		w.answerPoll(&h)
		return nil
	}
	w.polls = append(w.polls, h)
	if !w.pollTimer.Active() {
		w.pollTimer.Reset(hold)
	}
	return nil
}

// quiet tells that there is nothing to tell.
func (w *worker) quiet(asked *peer.PollRequest) bool {
	_, last, known := w.n.store.MarkedChanges(nil, asked.Since)
	w.vouchedFor()
	return known && last == asked.Since && asked.Set == xxhash.Sum64(w.vouched)
}

// wakePolls has the answers given that wait for a change. Any goroutine may call it, also with a shard of the store held.
func (n *Node) wakePolls() {
	for _, w := range n.workers {
		if w.awaiting.Load() && w.awaiting.Swap(false) {
			w.loop.Post(w.changed)
		}
	}
}

// answerPolls gives all answers.
func (w *worker) answerPolls() {
	for i := range w.polls {
		w.answerPoll(&w.polls[i])
	}
	clear(w.polls)
	w.polls = w.polls[:0]
}

// answerOverdue gives the answers whose time is over.
func (w *worker) answerOverdue() {
	left := w.polls[:0]
	now := w.loop.Now()
	next := maxHold
	for i := range w.polls {
		h := w.polls[i]
		if wait := h.until.Sub(now); wait > 0 {
			left, next = append(left, h), min(next, wait)
			continue
		}
		w.answerPoll(&h)
	}
	clear(w.polls[len(left):])
	if w.polls = left; len(left) > 0 {
		w.pollTimer.Reset(next)
	}
}

func (w *worker) answerPoll(h *heldPoll) {
	if h.in.closed {
		return
	}
	var last uint64
	var known bool
	flags := uint8(0)
	// What this node has the last word on is looked at first: then what made it have it is among the changes.
	w.vouchedFor()
	w.hashes, last, known = w.n.store.MarkedChanges(w.hashes[:0], h.asked.Since)
	if !known {
		flags |= peer.FlagAllChanged
	}
	set := w.vouched
	if xxhash.Sum64(set) == h.asked.Set {
		set = nil
	} else {
		flags |= peer.FlagNewSet
	}
	w.scratch = peer.AppendChanges(w.scratch[:0], last, w.hashes, set)
	h.in.send(peer.Changes, flags, h.id, w.scratch)
}

// vouchedFor puts the set of partitions in w.vouched that this node has the last word on: it owns them, has all of them, and nobody
// else changes them.
func (w *worker) vouchedFor() {
	var words [near.Words]uint64
	pl := w.n.placement.Load()
	for p := range ring.Partitions {
		if pl.owner[p] == self && w.n.settled(pl, p) {
			words[p/64] |= 1 << (p % 64)
		}
	}
	w.vouched = w.vouched[:0]
	for _, word := range words {
		w.vouched = binary.LittleEndian.AppendUint64(w.vouched, word)
	}
}

// ForgetCopies makes all nodes that have copies of this node's keys drop them, and this node its own of theirs. It is for changes
// of what keys hold that change no entry of the store. When it returns, nothing is given by this node that was copied before;
// other nodes follow within near_cache_max_staleness, as with any change.
func (n *Node) ForgetCopies() {
	n.store.ForgetCopies()
	n.forgetCopies()
}
