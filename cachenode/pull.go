package cachenode

import (
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
	asked     bool // somebody has answered
	complete  bool // somebody who holds everything has answered
}

// settled tells whether this node can run a command on partition p with what it has.
func (n *Node) settled(pl *placement, p int) bool { return pl.owner[p] == self && n.complete[p].Load() }

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
		kp.count = len(pl.sources(kp.sources[:0], p))
		j.left++
		kp.next(w)
	}
	j.done(w)
}

// next asks the next source, if it has to.
func (kp *keyPull) next(w *worker) {
	for kp.at < kp.count {
		if kp.complete && (kp.ours || kp.asked) {
			break
		}
		to := kp.pl.peers[kp.sources[kp.at]]
		kp.at++
		if w.link(to).ask(peer.Pull, 0, kp.pl.epoch, kp.key, kp) == nil {
			w.n.stats.pulls.Add(1)
			return
		}
	}
	kp.job.done(w)
}

// answered takes over what the source has.
func (kp *keyPull) answered(w *worker, f *peer.Frame, err error) {
	if err == nil && f.Type == peer.Entries && w.apply(f.Body) == nil {
		kp.asked = true
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

// answerPull sends what this node knows of a key.
func (w *worker) answerPull(in *inbound, f *peer.Frame) {
	k := w.n.store.Key(f.Body)
	flags := uint8(0)
	// Asked before the store is read: a partition that arrives in between only makes the answer more modest.
	if p := k.Partition(); w.n.complete[p].Load() && !w.n.assumed[p].Load() {
		flags = peer.FlagComplete
	}
	w.scratch = w.scratch[:0]
	if w.n.store.Entry(f.Body, w.now(), &w.outgoing) {
		w.scratch = w.wire.append(w.scratch, &w.outgoing)
	}
	in.send(peer.Entries, flags, f.ID, w.scratch)
}
