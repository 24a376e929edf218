package cachenode

import (
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// A key that may not be here, because its partition is still on its way or belongs to another node, is pulled before
// the command runs: the nodes that may have it are asked one after the other, and the newest version wins. The search
// ends when a node has answered that holds all of the partition.

// job is a command that waits for its keys.
type job struct {
	call call // its args are cut from raw again when it runs
	left int  // keys still searched
}

// keyPull is the search for one key.
type keyPull struct {
	job       *job
	key       []byte
	partition int
	ours      bool // this node owns the partition
	pl        *placement
	sources   [5]int16
	count, at int
	must      bool // the first source has to be asked, even if all is here
	complete  bool // somebody who holds everything has answered
}

// settled tells whether this node can run a command on partition p with what it has: it has all, and nobody else changes it.
func (n *Node) settled(pl *placement, p int) bool {
	return pl.owner[p] == self && n.complete[p].Load() && pl.passedOn(p)
}

// pullFirst starts the search for the keys of c that are not settled; c runs when they are here.
func (w *worker) pullFirst(pl *placement, c *call) {
	j := &job{call: *c, left: 1}
	j.call.raw = append([]byte(nil), c.raw...)
	j.call.args = nil
	j.call.to = c.later()
	for i := range w.keys {
		k := &w.keys[i]
		p := k.Partition()
		if w.n.settled(pl, p) {
			continue
		}
		kp := &keyPull{job: j, key: append([]byte(nil), k.Bytes...), partition: p, pl: pl, ours: pl.owner[p] == self}
		kp.complete = w.n.complete[p].Load()
		kp.must = !kp.ours || !pl.passedOn(p)
		kp.count = len(pl.sources(kp.sources[:0], p))
		j.left++
		kp.next(w)
	}
	j.done(w)
}

// next asks the next source, if it has to.
func (kp *keyPull) next(w *worker) {
	for kp.at < kp.count {
		if kp.complete && (kp.at > 0 || !kp.must) {
			break
		}
		flags := uint8(0)
		if kp.ours {
			flags = peer.FlagOwner
		}
		to := kp.pl.peers[kp.sources[kp.at]]
		kp.at++
		if w.link(to).ask(peer.Pull, flags, kp.pl.epoch, kp.key, kp) == nil {
			w.n.stats.pulls.Add(1)
			return
		}
	}
	kp.job.done(w)
}

// answered takes over what the source has.
func (kp *keyPull) answered(w *worker, f *peer.Frame, err error) {
	if err == nil && f.Type == peer.Entries && w.apply(f.Body) == nil {
		kp.complete = kp.complete || f.Flags&peer.FlagComplete != 0
	}
	kp.next(w)
}

// done counts one search as ended; after the last one the command runs.
func (j *job) done(w *worker) {
	if j.left--; j.left > 0 {
		return
	}
	w.runLater(&j.call)
}

// heldPull is a Pull that waits for a change of our placement.
type heldPull struct {
	in    *inbound
	id    uint64
	epoch uint64
	key   []byte
	until time.Time
}

// holdFor is how long a Pull may wait for our placement to change: longer than gossip takes to reach everyone.
const holdFor = time.Second

// pulled answers a Pull. Where the asker is the key's owner by a ring that we do not have yet, it has to wait: until all our
// loops have that ring they execute commands on the key, and what they change would be lost to the asker.
func (w *worker) pulled(in *inbound, f *peer.Frame) {
	if f.Flags&peer.FlagOwner != 0 && f.Epoch != w.n.fenced.Load() && len(w.held) < w.n.cfg.MaxPeerRequests {
		w.held = append(w.held, heldPull{in, f.ID, f.Epoch, append([]byte(nil), f.Body...), w.loop.Now().Add(holdFor)})
		if len(w.held) == 1 {
			w.heldTimer.Reset(holdFor)
		}
		return
	}
	w.answerPull(in, f.ID, f.Body)
}

// answerHeld answers the Pulls that need not wait any more.
func (w *worker) answerHeld() {
	epoch, waiting := w.n.fenced.Load(), w.held
	w.held = w.held[:0]
	for _, h := range waiting {
		if wait := h.until.Sub(w.loop.Now()); h.epoch != epoch && wait > 0 && !w.stopped {
			if w.held = append(w.held, h); len(w.held) == 1 {
				w.heldTimer.Reset(wait)
			}
			continue
		}
		w.answerPull(h.in, h.id, h.key)
	}
	clear(waiting[len(w.held):])
}

// answerPull sends what this node knows of a key.
func (w *worker) answerPull(in *inbound, id uint64, key []byte) {
	k := w.n.store.Key(key)
	flags := uint8(0)
	// Asked before the store is read: a partition that arrives in between only makes the answer more modest.
	if p := k.Partition(); w.n.complete[p].Load() && !w.n.assumed[p].Load() {
		flags = peer.FlagComplete
	}
	w.scratch = w.scratch[:0]
	if w.n.store.Entry(key, w.now(), &w.outgoing) {
		w.scratch = w.wire.append(w.scratch, &w.outgoing)
	}
	in.send(peer.Entries, flags, id, w.scratch)
}
