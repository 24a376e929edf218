// HOT PATH

package cachenode

import (
	"bytes"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// maxBatch is the size in bytes from which a batch of changed entries does not wait for the end of the tick.
const maxBatch = 256 << 10

// write is a command whose reply waits until the other holders of its keys have what it changed.
type write struct {
	to     replyTo
	peer   peerReply // what to points to, where a peer has sent the command
	reply  []byte
	served []*command.Waiter // who was served by it, and waits for the same
	left   int               // batches that are not acknowledged
}

// batchAsk waits for the acknowledgement of one batch.
type batchAsk struct {
	l          *link
	waiters    []*write
	partitions []uint16 // that the batch touched, in order, with doubles
}

// replicate queues the entries of the changed keys for the nodes that must have them too: the backup, unless the key is
// single, and the owner where this node has executed for it. It returns the write that its reply has to wait for, nil when there is no need.
func (w *worker) replicate(pl *placement, changed []store.Key) (pending *write) {
	for i := range changed {
		if i > 0 && bytes.Equal(changed[i].Bytes, changed[i-1].Bytes) {
			continue
		}
		p := changed[i].Partition()
		for _, place := range w.n.holders(pl, p, changed[i].Bytes) {
			if place < 0 {
				continue
			}
			l := w.link(pl.peers[place])
			if w.loop.Now().Before(l.distrusted) {
				w.n.degrade(p)
				continue
			}
			if !w.n.store.Entry(changed[i].Bytes, w.now(), &w.outgoing) {
				continue // expired or evicted meanwhile: nothing to keep
			}
			if pending == nil {
				pending = w.newWrite()
			}
			l.add(&w.outgoing, p, pending)
		}
	}
	if pending != nil && pending.left == 0 {
		w.freeWrite(pending)
		return nil
	}
	return pending
}

// add puts an entry into the batch, which counts among what pending waits for.
func (l *link) add(e *store.Entry, p int, pending *write) {
	before := len(l.batch)
	l.batch = l.w.wire.append(l.batch, e)
	if len(l.batch) > peer.MaxBody {
		l.batch = l.batch[:before] // a collection that no frame can carry
		l.w.n.degrade(p)
		return
	}
	if l.asking == nil {
		l.asking = l.w.newBatchAsk(l)
		l.w.batching = append(l.w.batching, l)
	}
	l.asking.partitions = append(l.asking.partitions, uint16(p))
	if waiters := l.asking.waiters; len(waiters) == 0 || waiters[len(waiters)-1] != pending {
		l.asking.waiters = append(waiters, pending)
		pending.left++
	}
	if len(l.batch) >= maxBatch {
		l.flushBatch()
	}
}

// flushBatch sends the batch.
func (l *link) flushBatch() {
	asking := l.asking
	if asking == nil {
		return
	}
	l.asking = nil
	l.w.n.stats.replicated.Add(uint64(len(asking.partitions)))
	err := l.ask(peer.Replicate, 0, l.w.n.placement.Load().epoch, l.batch, asking)
	if cap(l.batch) > 4*maxBatch {
		l.batch = nil
	}
	l.batch = l.batch[:0]
	if err != nil {
		asking.answered(l.w, nil, err)
	}
}

// answered releases the replies. A backup that cannot be had does not stop writes: they go on with one copy, and the
// partitions are handed over once more when it is back.
func (a *batchAsk) answered(w *worker, _ *peer.Frame, err error) {
	if err != nil {
		for _, p := range a.partitions {
			w.n.degrade(int(p))
		}
		if err == errTimeout {
			a.l.distrusted = w.loop.Now().Add(distrustFor)
		}
	}
	for _, pending := range a.waiters {
		w.release(pending)
	}
	w.freeBatchAsk(a)
}

// release counts one thing as done that pending has waited for.
func (w *worker) release(pending *write) {
	if pending.left--; pending.left == 0 && pending.to != nil {
		pending.to.Resolve(pending.reply)
		command.Deliver(pending.served)
		w.freeWrite(pending)
	}
}

// serveWaiting serves clients that wait here for a key which another node, by an older ring, has written.
func (w *worker) serveWaiting(key []byte) {
	pl := w.n.placement.Load()
	if pl.owner[w.n.store.PartitionOf(key)] != self {
		return
	}
	x := &w.ctx
	x.Store, x.NowMilli = w.n.store, w.now()
	clustered := len(pl.peers) > 0
	x.Track = clustered || w.n.reports()
	x.Notify = command.Event(w.n.notify.Load())
	x.HoldServed = clustered
	x.ServeWaiting(key)
	if len(x.Events) > 0 || x.Track {
		w.report(pl, x, 0)
	}
	if !clustered || len(x.Served) == 0 {
		return
	}
	pending := w.replicate(pl, x.Changed())
	if pending == nil {
		command.Deliver(x.Served)
		return
	}
	pending.served = append(pending.served, x.Served...)
	pending.to = nobodyAsked{}
}

// nobodyAsked is the place of a reply that nobody waits for.
type nobodyAsked struct{}

// Resolve does nothing.
func (nobodyAsked) Resolve([]byte) {}

// replicated takes over what another node has just executed, and acknowledges it. A node that works by another ring than
// ours may not know who has to have it: we pass it on to those who hold it by our ring, once, and they acknowledge it
// first. Otherwise the only copy of an acknowledged write could be at a node that is about to forget the partition, or
// the owner's next backup would never see it, because it got the partition a moment ago.
func (w *worker) replicated(in *inbound, f *peer.Frame) error {
	pl := w.n.placement.Load()
	var pending *write
	for body := f.Body; len(body) > 0; {
		rest, err := w.applyNext(body)
		if err != nil {
			return err
		}
		p := w.n.store.PartitionOf(w.incoming.Key)
		switch {
		case f.Epoch != pl.epoch && f.Flags&peer.FlagPassedOn == 0:
			pending = w.passOn(pl, in, f.ID, w.n.holders(pl, p, w.incoming.Key), p, body[:len(body)-len(rest)], pending)
		case !pl.holds(self, p):
			w.n.stray[p].Store(true)
		default:
			w.refile(pl, in, p)
		}
		body = rest
	}
	if pending == nil {
		in.send(peer.Ack, 0, f.ID, nil)
		return nil
	}
	w.release(pending)
	return nil
}

// passOn sends an entry of partition p to those who hold it by our placement, places, but not back to where it came from. What
// waits for their acknowledgement is pending, which is made when first needed, and for the call of release.
func (w *worker) passOn(pl *placement, in *inbound, id uint64, places [2]int16, p int, entry []byte, pending *write) *write {
	for _, place := range places {
		if place < 0 {
			continue
		}
		to := pl.peers[place]
		if to.name == in.from.Node && to.instance == in.from.Instance {
			continue
		}
		l := w.link(to)
		if w.loop.Now().Before(l.distrusted) {
			w.n.degrade(p)
			continue
		}
		if pending == nil {
			pending = w.newWrite()
			pending.to, pending.left = &peerAck{in, id}, 1
		}
		pending.left++
		a := w.newBatchAsk(l)
		a.partitions, a.waiters = append(a.partitions, uint16(p)), append(a.waiters, pending)
		w.n.stats.replicated.Add(1)
		if err := l.ask(peer.Replicate, peer.FlagPassedOn, pl.epoch, entry, a); err != nil {
			a.answered(w, nil, err)
		}
	}
	return pending
}

// peerAck is the place of an acknowledgement to a peer.
type peerAck struct {
	in *inbound
	id uint64
}

// Resolve sends it.
func (a *peerAck) Resolve([]byte) { a.in.send(peer.Ack, 0, a.id, nil) }

func (w *worker) newBatchAsk(l *link) *batchAsk {
	if last := len(w.spareAsks) - 1; last >= 0 {
		a := w.spareAsks[last]
		w.spareAsks = w.spareAsks[:last]
		a.l = l
		return a
	}
	return &batchAsk{l: l}
}

func (w *worker) freeBatchAsk(a *batchAsk) {
	if len(w.spareAsks) < 16 && cap(a.partitions) <= 4096 {
		clear(a.waiters)
		*a = batchAsk{waiters: a.waiters[:0], partitions: a.partitions[:0]}
		w.spareAsks = append(w.spareAsks, a)
	}
}

func (w *worker) newWrite() *write {
	if last := len(w.spareWrites) - 1; last >= 0 {
		pending := w.spareWrites[last]
		w.spareWrites = w.spareWrites[:last]
		return pending
	}
	return &write{}
}

func (w *worker) freeWrite(pending *write) {
	if len(w.spareWrites) < 1024 && cap(pending.reply) <= 4<<10 {
		*pending = write{reply: pending.reply[:0]}
		w.spareWrites = append(w.spareWrites, pending)
	}
}

// degrade notes that another holder of partition p misses a write.
func (n *Node) degrade(p int) {
	n.stats.degraded.Add(1)
	if n.placement.Load().owner[p] == self {
		n.stale[p].Store(true)
	} else {
		n.stray[p].Store(true)
	}
}
