package cachenode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// Partitions move by offers. After each change of the ring every node offers what it holds whole to the nodes that should
// hold it; they take what they lack, each partition from one giver. The giver forgets a partition that is not its own
// once owner and backup both have it. Nothing depends on nodes having seen the same sequence of rings, nor on who was
// meant to hold what before: only on what a node has.

const (
	handoffBytes = 64 << 10 // of a Handoff frame; the receiver works on one between two ticks
	handoffItems = 16       // that one look into the store takes
	// partitionsPerDone is how many partitions are declared complete at once. Until then the receiver asks for their keys.
	partitionsPerDone = 64
	retryFirst        = 50 * time.Millisecond
	retryMax          = time.Second
	// sweepEvery is how often a node at rest looks for something left to do: partitions whose backup missed a write, or
	// entries that arrived late.
	sweepEvery = time.Second
	// ownersFirst is how long a backup leaves it to the living owner to hand a partition over.
	ownersFirst = time.Second
)

// errWrongEpoch means that the peer's ring is another one than ours.
var errWrongEpoch = errors.New("the peer has another ring")

// move is the goroutine that hands partitions over, until ctx ends.
func (n *Node) move(ctx context.Context) {
	pause := retryFirst
	for {
		wait := sweepEvery
		if !n.pass(ctx) {
			wait = pause
			pause = min(2*pause, retryMax)
		} else {
			pause = retryFirst
		}
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
			pause = retryFirst
		case <-time.After(wait):
		}
	}
}

// pass offers to every peer what it should have. It reports whether nothing is left to do.
func (n *Node) pass(ctx context.Context) (settled bool) {
	pl := n.placement.Load()
	n.giveUpWaiting(pl)
	// Commands that still run by an older placement must have changed the store before it is read, for from now on whoever
	// executes a write tells the new holders himself.
	n.onLoops(ctx, func(*worker) {})

	n.mu.Lock()
	patient := time.Since(n.changed) > ownersFirst
	n.mu.Unlock()
	results := make([]handover, len(pl.peers))
	var handovers sync.WaitGroup
	for i := range pl.peers {
		h := &results[i]
		*h = handover{n: n, pl: pl, place: int16(i), to: pl.peers[i]}
		if h.plan(patient) {
			handovers.Go(func() { h.run(ctx) })
		}
	}
	handovers.Wait()

	settled = true
	for i := range results {
		if err := results[i].err; err != nil {
			settled = false
			n.cfg.Logger.Debug("hand-over not finished", "peer", results[i].to.name, "error", err)
		}
	}
	return n.settle(pl, results) && settled && n.missing(pl) == 0
}

// giveUpWaiting takes what is here for everything there is, when the former holders have had their time.
func (n *Node) giveUpWaiting(pl *placement) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.placement.Load() != pl || time.Since(n.changed) < n.cfg.BackFillTimeout {
		return
	}
	count := 0
	for p := range ring.Partitions {
		if pl.holds(self, p) && !n.complete[p].Load() && n.grants[p] == nil {
			n.complete[p].Store(true)
			n.assumed[p].Store(true)
			count++
		}
	}
	if count > 0 {
		n.stats.abandoned.Add(uint64(count))
		n.cfg.Logger.Warn("nobody handed over partitions, serving what is here", "partitions", count)
	}
}

// settle draws the conclusions of a pass: partitions that are not this node's are forgotten where both holders have
// confirmed that they have them. It reports whether nothing is left over.
func (n *Node) settle(pl *placement, results []handover) (settled bool) {
	settled = true
	for p := range ring.Partitions {
		if owner := pl.owner[p]; n.owned[p].Load() != (owner == self) && n.complete[p].Load() {
			n.changeHands(pl, p, owner >= 0 && results[owner].confirmed[p])
		}
		mine := pl.holds(self, p)
		if mine && !n.stray[p].Load() || !mine && !n.complete[p].Load() && n.store.CountPartition(p) == 0 {
			continue
		}
		confirmed, sent := true, true
		for _, place := range [2]int16{pl.owner[p], pl.backup[p]} {
			confirmed = confirmed && (place < 0 || results[place].confirmed[p])
			sent = sent && (place < 0 || slices.Contains(results[place].stray, p))
		}
		if !confirmed || !n.forget(pl, p, mine, sent) {
			settled = false
		}
	}
	return settled
}

// changeHands notes that this node has the last word on partition p, which it owns, or that it has it no more: its owner
// has confirmed that all is there.
func (n *Node) changeHands(pl *placement, p int, confirmed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.placement.Load() != pl:
	case confirmed:
		n.owned[p].Store(false)
	case pl.owner[p] == self && n.complete[p].Load() && pl.passedOn(p):
		n.owned[p].Store(true)
	}
}

// forget notes that all holders of partition p have what we have, and drops it if we are none of them. It reports false
// when the ring has changed.
func (n *Node) forget(pl *placement, p int, mine, sent bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.placement.Load() != pl {
		return false
	}
	if n.stray[p].Swap(false) && !sent {
		n.stray[p].Store(true) // something has arrived meanwhile
		return false
	}
	if !mine {
		n.owned[p].Store(false)
		n.complete[p].Store(false)
		n.assumed[p].Store(false)
		n.stats.dropped.Add(uint64(n.store.DropPartition(p)))
	}
	return true
}

// handover is one pass with one peer, over a connection of its own.
type handover struct {
	n     *Node
	pl    *placement
	place int16
	to    *remote

	whole  []int // held whole, and the peer should
	forced []int // of those, the ones whose copy at the peer misses writes
	owned  []int // of the whole, the ones that we have the last word on
	stray  []int // held in part, and the peer may lack that
	asked  []int // held whole, but left to the node that owned them, for a while

	confirmed [ring.Partitions]bool // the peer has what we have
	err       error

	nc       net.Conn
	id       uint64
	frame    []byte // being written
	in       []byte // being read
	entries  []byte // of the Handoff in the making
	finished []int  // partitions sent, and not yet declared complete
	wire     wireEntry
	entry    store.Entry
}

// plan finds out what there is to do. patient tells that former owners have had their time.
func (h *handover) plan(patient bool) bool {
	n := h.n
	for p := range ring.Partitions {
		if !h.pl.holds(h.place, p) {
			continue
		}
		mine := h.pl.holds(self, p)
		switch {
		case n.stray[p].Load() || !n.complete[p].Load() && !mine && n.store.CountPartition(p) > 0:
			h.stray = append(h.stray, p)
		case n.complete[p].Load() && n.stale[p].Load() && h.pl.owner[p] == self:
			h.forced = append(h.forced, p)
		}
		switch {
		case !n.complete[p].Load():
		case n.owned[p].Load():
			h.owned = append(h.owned, p)
		case h.pl.former[0][p] >= 0 && !patient:
			h.asked = append(h.asked, p) // its owner is alive and does it better
		default:
			h.whole = append(h.whole, p)
		}
	}
	return len(h.stray)+len(h.forced)+len(h.owned)+len(h.asked)+len(h.whole) > 0
}

// run does it. An error leaves the rest to the next pass.
func (h *handover) run(ctx context.Context) {
	if h.err = h.open(ctx); h.err != nil {
		return
	}
	defer h.nc.Close()
	stop := context.AfterFunc(ctx, func() { h.nc.Close() })
	defer stop()
	for _, step := range []func() error{
		h.giveStray,
		func() error { return h.give(h.forced, peer.FlagForce) },
		func() error { return h.give(h.owned, peer.FlagOwned) },
		func() error { return h.give(h.whole, 0) },
		func() error { return h.give(h.asked, peer.FlagAsk) },
	} {
		if h.err = step(); h.err != nil {
			return
		}
	}
}

func (h *handover) open(ctx context.Context) (err error) {
	h.nc, err = h.n.dial(ctx, h.to)
	return err
}

// giveStray sends entries that the peer may lack, whoever hands the partition over as a whole.
func (h *handover) giveStray() error {
	for _, p := range h.stray {
		if err := h.send(p); err != nil {
			return err
		}
	}
	if err := h.flush(); err != nil {
		return err
	}
	for _, p := range h.stray {
		// One that is also held whole is confirmed by its offer.
		if !slices.Contains(h.whole, p) && !slices.Contains(h.owned, p) && !slices.Contains(h.asked, p) {
			h.confirmed[p] = true
		}
	}
	return nil
}

// give offers partitions, sends those that are wanted, and says which are complete.
func (h *handover) give(partitions []int, flags uint8) (err error) {
	if len(partitions) == 0 {
		return nil
	}
	answer, err := h.ask(peer.Offer, flags, peer.AppendPartitions(nil, partitions))
	if err != nil {
		return err
	}
	if answer.Type != peer.Accept || len(answer.Body) != len(partitions) {
		return errWrongEpoch
	}
	wants := append([]byte(nil), answer.Body...)
	forced := flags&peer.FlagForce != 0
	defer func() {
		for i, p := range partitions {
			if forced && wants[i] == peer.Want && !h.confirmed[p] {
				h.n.stale[p].Store(true)
			}
		}
	}()
	busy := 0
	for i, p := range partitions {
		switch wants[i] {
		case peer.Have:
			h.confirmed[p] = true
		case peer.Busy:
			busy++
		case peer.Want:
			if forced {
				h.n.stale[p].Store(false) // a write that the peer misses from here on marks it again
			}
			if err := h.send(p); err != nil {
				return err
			}
			if h.finished = append(h.finished, p); len(h.finished) >= partitionsPerDone {
				if err := h.finish(); err != nil {
					return err
				}
			}
		}
	}
	if err := h.finish(); err != nil {
		return err
	}
	if busy > 0 {
		return fmt.Errorf("%d partitions are being handed over by others", busy)
	}
	return nil
}

// finish declares the partitions complete that were sent.
func (h *handover) finish() error {
	if len(h.finished) == 0 {
		return nil
	}
	if err := h.flush(); err != nil {
		return err
	}
	answer, err := h.ask(peer.Done, 0, peer.AppendPartitions(nil, h.finished))
	if err != nil {
		return err
	}
	if answer.Type != peer.Ack || answer.Flags&peer.FlagWrongEpoch != 0 {
		return errWrongEpoch
	}
	for _, p := range h.finished {
		h.confirmed[p] = true
	}
	h.n.stats.moved.Add(uint64(len(h.finished)))
	h.finished = h.finished[:0]
	return nil
}

// send sends the entries of partition p, tombstones too; the last of them wait for flush.
func (h *handover) send(p int) error {
	var found []byte // by one look into the store
	var ends []int   // of each entry in found
	for cursor := uint64(0); ; {
		if h.n.placement.Load() != h.pl {
			return errWrongEpoch
		}
		found, ends = found[:0], ends[:0]
		cursor = h.n.store.ScanPartition(p, cursor, handoffItems, time.Now().UnixMilli(), func(it *store.Item) {
			h.entry.Fill(it)
			found = h.wire.append(found, &h.entry)
			ends = append(ends, len(found))
		})
		start := 0
		for _, end := range ends {
			if end-start > peer.MaxBody {
				h.n.stats.refused.Add(1) // no frame can carry it
			} else if err := h.add(found[start:end]); err != nil {
				return err
			}
			start = end
		}
		if cursor == 0 {
			return nil
		}
	}
}

// add puts an entry into the Handoff in the making.
func (h *handover) add(entry []byte) error {
	if len(h.entries) > 0 && len(h.entries)+len(entry) > handoffBytes {
		if err := h.flush(); err != nil {
			return err
		}
	}
	h.entries = append(h.entries, entry...)
	return nil
}

// flush sends the Handoff in the making.
func (h *handover) flush() error {
	if len(h.entries) == 0 {
		return nil
	}
	_, err := h.ask(peer.Handoff, 0, h.entries)
	h.entries = h.entries[:0]
	return err
}

// ask sends a request and reads the answer, which is valid until the next call.
func (h *handover) ask(t peer.Type, flags uint8, body []byte) (peer.Frame, error) {
	h.id++
	h.frame = peer.Append(h.frame[:0], peer.Frame{Type: t, Flags: flags, ID: h.id, Epoch: h.pl.epoch, Body: body})
	if err := h.nc.SetDeadline(time.Now().Add(5 * h.n.cfg.PeerTimeout)); err != nil {
		return peer.Frame{}, err
	}
	if _, err := h.nc.Write(h.frame); err != nil {
		return peer.Frame{}, fmt.Errorf("hand over to %s: %w", h.to.name, err)
	}
	f, err := readFrame(h.nc, h.in, peer.MaxBody)
	if err != nil {
		return f, fmt.Errorf("hand over to %s: %w", h.to.name, err)
	}
	h.to.epoch.Store(f.Epoch)
	if f.ID != h.id {
		return f, fmt.Errorf("hand over to %s: answer %d to request %d", h.to.name, f.ID, h.id)
	}
	return f, nil
}
