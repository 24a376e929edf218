package cachenode

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

const (
	handoffBytes = 64 << 10 // of a Handoff frame; the receiver works on one between two ticks
	handoffItems = 16       // that one look into the store takes
	// partitionsPerDone is how many partitions are declared complete at once. Until then the receiver asks for their keys.
	partitionsPerDone = 64
	// hottest bounds the entries of a hand-over that go first.
	hottest = 64 << 10
)

// handover is one pass with one peer, over a connection of its own.
type handover struct {
	n     *Node
	m     *mover
	pl    *placement
	place int16
	to    *remote
	pace  *pacer // nil: as fast as can be
	ctx   context.Context

	strays []int // of mover.strays: held in part, and the peer may lack that
	forced []int // held whole, and the copy at the peer misses writes
	owned  []int // held whole, and we have the last word on them
	whole  []int // held whole
	asked  []int // held whole, but left to the node that owned them, for a while

	news    bool  // the peer has to hear that it, or this node, was away
	forgone int64 // what it has heard, see mover.told; -1 for nothing

	err error

	nc       *greeted
	id       uint64
	frame    []byte                   // being written
	in       []byte                   // being read
	entries  []byte                   // of the Handoff in the making
	weight   int                      // of those, for the pace
	sent     map[uint64]struct{}      // entries that have gone before the rest of their partitions
	deliver  func(entry []byte) error // add, but for tests
	finished []int                    // partitions sent, and not yet declared complete
	wire     wireEntry
	entry    store.Entry
}

// run does it. An error leaves the rest to the next pass.
func (h *handover) run(ctx context.Context) {
	h.ctx, h.deliver = ctx, h.add
	if h.nc, h.err = h.n.dial(ctx, h.to); h.err != nil {
		return
	}
	defer h.nc.Close()
	stop := context.AfterFunc(ctx, func() { h.nc.Close() })
	defer stop()
	for _, step := range []func() error{
		h.tellNews,
		h.giveStrays,
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

// tellNews tells the peer that it was away, and that this node lacks what it had confirmed.
func (h *handover) tellNews() error {
	if !h.news || h.nc.version < peer.Away.Since() {
		return nil
	}
	forgone := h.n.forgone.Load()
	_, told := h.m.told[h.to]
	if !told && !h.to.lost.IsZero() {
		if err := h.tell(peer.Away, peer.AppendDuration(nil, time.Since(h.to.lost))); err != nil {
			return err
		}
	}
	if forgone > 0 {
		if err := h.tell(peer.Lack, nil); err != nil {
			return err
		}
	}
	h.forgone = forgone
	return nil
}

// tell sends a request whose answer says no more than that it was understood.
func (h *handover) tell(t peer.Type, body []byte) error {
	answer, err := h.ask(t, 0, body)
	if err == nil && answer.Type != peer.Ack {
		err = fmt.Errorf("tell %s: answered by a frame of type %d", h.to.name, answer.Type)
	}
	return err
}

// giveStrays sends entries that the peer may lack, whoever hands the partition over as a whole.
func (h *handover) giveStrays() error {
	for _, i := range h.strays {
		if err := h.send(h.m.strays[i].p); err != nil {
			return err
		}
	}
	if err := h.flush(); err != nil {
		return err
	}
	for _, i := range h.strays {
		if s := &h.m.strays[i]; h.pl.owner[s.p] == h.place {
			s.toOwner = true
		} else {
			s.toBackup = true
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
			if forced && wants[i] == peer.Want && !*h.m.confirmed(h.place, p) {
				h.n.stale[p].Store(true)
			}
		}
	}()
	var wanted []int
	busy := 0
	for i, p := range partitions {
		switch wants[i] {
		case peer.Have:
			*h.m.confirmed(h.place, p) = true
		case peer.Busy:
			busy++
		case peer.Want:
			if forced {
				h.n.stale[p].Store(false) // a write that the peer misses from here on marks it again
			}
			wanted = append(wanted, p)
		}
	}
	if wanted, err = h.sendHot(wanted); err != nil {
		return err
	}
	for _, p := range wanted {
		if err := h.send(p); err != nil {
			return err
		}
		if h.finished = append(h.finished, p); len(h.finished) >= partitionsPerDone {
			if err := h.finish(); err != nil {
				return err
			}
		}
	}
	h.sent = nil
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
		*h.m.confirmed(h.place, p) = true
	}
	h.n.stats.moved.Add(uint64(len(h.finished)))
	h.finished = h.finished[:0]
	return nil
}

// sendHot sends the entries that were read since they were written, at most hottest of them, of all partitions before the rest
// of any. It returns the partitions in the order of how many they have.
func (h *handover) sendHot(partitions []int) (sorted []int, err error) {
	h.sent = map[uint64]struct{}{}
	found := make(map[int]int, len(partitions))
	for _, p := range partitions {
		before := len(h.sent)
		err := h.sendIf(p, func(it *store.Item) bool {
			if it.Freq() == 0 || it.Deleted() || len(h.sent) >= hottest {
				return false
			}
			id := identity(it)
			_, twice := h.sent[id] // by the scan
			h.sent[id] = struct{}{}
			return !twice
		})
		if err != nil {
			return nil, err
		}
		found[p] = len(h.sent) - before
	}
	slices.SortStableFunc(partitions, func(a, b int) int { return found[b] - found[a] })
	return partitions, nil
}

// identity tells apart what a hand-over has sent and what has changed since.
func identity(it *store.Item) uint64 { return xxhash.Sum64(it.Key()) ^ it.Version()*0x9e3779b97f4a7c15 }

// send sends the entries of partition p that sendHot has not, tombstones too; the last of them wait for flush.
func (h *handover) send(p int) error {
	return h.sendIf(p, func(it *store.Item) bool {
		if len(h.sent) == 0 {
			return true
		}
		_, gone := h.sent[identity(it)]
		return !gone
	})
}

// sendIf sends the entries of partition p that goes accepts; it is called with their shard held.
func (h *handover) sendIf(p int, goes func(*store.Item) bool) error {
	var found []byte // by one look into the store
	var ends []int   // of each entry in found
	for cursor := uint64(0); ; {
		if h.n.placement.Load() != h.pl {
			return errWrongEpoch
		}
		found, ends = found[:0], ends[:0]
		cursor = h.n.store.ScanPartition(p, cursor, handoffItems, time.Now().UnixMilli(), func(it *store.Item) {
			if h.pl.owner[p] != h.place && h.n.store.Single(it.Key()) || !goes(it) {
				return
			}
			h.entry.Fill(h.n.store, it)
			found = h.wire.append(found, &h.entry)
			ends = append(ends, len(found))
		})
		start := 0
		for _, end := range ends {
			if end-start > peer.MaxBody {
				h.n.stats.refused.Add(1) // no frame can carry it
			} else if err := h.deliver(found[start:end]); err != nil {
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
	h.weight += max(len(entry), paceEntry)
	return nil
}

// flush sends the Handoff in the making.
func (h *handover) flush() error {
	if len(h.entries) == 0 {
		return nil
	}
	if h.pace != nil {
		if err := h.pace.wait(h.ctx, h.weight); err != nil {
			return err
		}
	}
	_, err := h.ask(peer.Handoff, 0, h.entries)
	h.entries, h.weight = h.entries[:0], 0
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
