package cachenode

import (
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// A key that may not be here, because its partition is still on its way or belongs to another node, is pulled before
// the command runs: the nodes that may have it are asked one after the other, and the newest version wins. The search
// ends when a node has answered that holds all of the partition.

// job is a command that waits for its keys.
type job struct {
	call  call // its args are cut from raw again when it runs
	pl    *placement
	left  int  // keys still searched
	blind bool // one that has not answered may have the newest version of a key
}

// keyPull is the search for one key.
type keyPull struct {
	job       *job
	key       []byte
	partition int
	ours      bool // this node owns the partition
	sources   []int16
	at        int  // the next of sources
	must      bool // the first source has to be asked, even if all is here
	searching bool // nobody here knows who owned the partition before
	complete  bool // somebody who holds everything has answered
	found     bool // so has the one who owned the partition
	failed    bool // somebody has not answered
	ended     bool
}

// settled tells whether this node can run a command on partition p with what it has: it has all, and nobody else changes it.
func (n *Node) settled(pl *placement, p int) bool {
	return pl.owner[p] == self && n.complete[p].Load() && pl.passedOn(p)
}

// pullFirst starts the search for the keys of c that are not settled; c runs when they are here. Those that wait for this are
// bounded like those that wait for an owner.
func (w *worker) pullFirst(pl *placement, c *call, out []byte) (reply []byte, done bool) {
	if cfg := &w.n.cfg; len(w.pulling) >= cfg.MaxPeerRequests || w.pullBytes > 0 && w.pullBytes+len(c.raw) > cfg.MaxPeerBytes {
		w.n.stats.busy.Add(1)
		return appendFailure(out, errBusy), true
	}
	w.pullBytes += len(c.raw)
	j := &job{call: *c, pl: pl, left: 1}
	j.call.raw = append([]byte(nil), c.raw...)
	j.call.args = nil
	j.call.to = c.later()
	for i := range w.keys {
		k := &w.keys[i]
		p := k.Partition()
		if w.n.settled(pl, p) {
			continue
		}
		kp := &keyPull{job: j, key: append([]byte(nil), k.Bytes...), partition: p, ours: pl.owner[p] == self}
		kp.complete = w.n.complete[p].Load() && (kp.ours || !w.n.store.Single(k.Bytes)) // a backup has no single keys
		kp.must = !kp.ours || !pl.passedOn(p)
		kp.searching = kp.ours && pl.former[0][p] < 0 && w.n.young[p].Load()
		kp.sources = pl.sources(nil, p)
		j.left++
		kp.next(w)
	}
	j.done(w)
	return out, false
}

// next asks the next source, if it has to.
func (kp *keyPull) next(w *worker) {
	pl := kp.job.pl
	for kp.at < len(kp.sources) && !kp.enough() && w.n.placement.Load() == pl {
		flags := uint8(0)
		if kp.ours {
			flags = peer.FlagOwner
		}
		to := pl.peers[kp.sources[kp.at]]
		kp.at++
		if w.link(to).ask(peer.Pull, flags, pl.epoch, kp.key, kp) == nil {
			w.n.stats.pulls.Add(1)
			w.pulling[kp] = struct{}{}
			return
		}
		kp.failed = true
	}
	kp.end(w)
}

// end ends the search. An answer that still comes is of no consequence.
func (kp *keyPull) end(w *worker) {
	delete(w.pulling, kp)
	kp.ended = true
	kp.job.blind = kp.job.blind || kp.failed && !kp.enough()
	kp.job.done(w)
}

// endPulls ends the searches by older placements than pl. Who was asked may be waiting for a ring that nobody will have.
func (w *worker) endPulls(pl *placement) {
	var old []*keyPull
	for kp := range w.pulling {
		if kp.job.pl != pl {
			old = append(old, kp)
		}
	}
	for _, kp := range old {
		kp.end(w)
	}
}

// enough tells whether no other source can have anything newer. A node that has come into a cluster, maybe together with
// another, cannot know who owned a partition by the ring before: until that one works by the new ring, and says so, it may
// go on changing the key, and a backup that says that it has everything is not enough.
func (kp *keyPull) enough() bool {
	if kp.searching {
		return kp.complete && kp.found
	}
	return kp.complete && (kp.at > 0 || !kp.must)
}

// answered takes over what the source has.
func (kp *keyPull) answered(w *worker, f *peer.Frame, err error) {
	if kp.ended {
		return
	}
	if err != nil || f.Type != peer.Entries || w.apply(f.Body) != nil {
		kp.failed = true
	} else {
		kp.complete = kp.complete || f.Flags&peer.FlagComplete != 0
		kp.found = kp.found || f.Flags&peer.FlagLastWord != 0
	}
	kp.next(w)
}

// done counts one search as ended; after the last one the command runs. Where the key may be at a node that cannot be
// reached, it waits: that node will be, or a new ring will say that it is gone.
func (j *job) done(w *worker) {
	if j.left--; j.left > 0 {
		return
	}
	w.pullBytes -= len(j.call.raw)
	if j.blind && w.n.placement.Load() == j.pl {
		w.again(&j.call, func(c *call) ([]byte, bool) { return w.park(c, nil) })
		return
	}
	w.runLater(j.pl, &j.call)
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
	if store.IsLocal(k.Partition()) {
		in.send(peer.Entries, 0, id, nil) // of another layout than ours, where the key is not local
		return
	}
	flags := uint8(0)
	// Asked before the store is read: a partition that arrives in between only makes the answer more modest.
	if p := k.Partition(); w.n.complete[p].Load() && !w.n.assumed[p].Load() {
		flags = peer.FlagComplete
		if w.n.owned[p].Load() {
			flags |= peer.FlagLastWord
		} else if w.n.store.Single(key) {
			flags = 0 // all but the single keys
		}
	}
	w.scratch = w.scratch[:0]
	if w.n.store.Entry(key, w.now(), &w.outgoing) {
		w.scratch = w.wire.append(w.scratch, &w.outgoing)
	}
	in.send(peer.Entries, flags, id, w.scratch)
}
