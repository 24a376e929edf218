package cachenode

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// Partitions move by offers. After each change of the ring every node offers what it holds whole to the nodes that should
// hold it; they take what they lack, each partition from one giver. The giver forgets a partition that is not its own
// once owner and backup both have it. Nothing depends on nodes having seen the same sequence of rings, nor on who was
// meant to hold what before: only on what a node has.

const (
	retryFirst = 50 * time.Millisecond
	retryMax   = time.Second
	// sweepEvery is how often a node at rest looks for something left to do: partitions whose backup missed a write, or
	// entries that arrived late. It looks at its own memory only: nothing is sent when there is nothing.
	sweepEvery = time.Second
	// ownersFirst is how long a backup leaves it to the living owner to hand a partition over.
	ownersFirst = time.Second
)

// errWrongEpoch means that the peer's ring is another one than ours.
var errWrongEpoch = errors.New("the peer has another ring")

// mover hands partitions over. It belongs to the goroutine of run; what has confirmed notes is written by the hand-overs of a
// pass, each its own peer's part, and read after them.
type mover struct {
	n    *Node
	pace *pacer
	pl   *placement // that all below is about

	// atOwner and atBackup tell of each partition whether that holder has confirmed that it has what we have.
	atOwner, atBackup [ring.Partitions]bool
	// strays are what this pass gives in part, and who has got it.
	strays []stray
	sizes  [store.Partitions]int32 // of partitions, in items

	// told are the peers that know how often this node has forgone what it had, and that they were away.
	told map[*remote]int64
}

// stray is a partition that is given in part.
type stray struct {
	p                 int
	toOwner, toBackup bool // sent
}

// confirmed returns where it is noted that the node at place has what we have of partition p, which it holds.
func (m *mover) confirmed(place int16, p int) *bool {
	if m.pl.owner[p] == place {
		return &m.atOwner[p]
	}
	return &m.atBackup[p]
}

// unconfirm forgets what the peer at place has confirmed.
func (m *mover) unconfirm(place int16) {
	for p := range ring.Partitions {
		if m.pl.holds(place, p) {
			*m.confirmed(place, p) = false
		}
	}
}

// run hands partitions over until ctx ends.
func (m *mover) run(ctx context.Context) {
	pause := retryFirst
	for {
		wait := sweepEvery
		if !m.pass(ctx) {
			wait = pause
			pause = min(2*pause, retryMax)
		} else {
			pause = retryFirst
		}
		select {
		case <-ctx.Done():
			return
		case <-m.n.wake:
			pause = retryFirst
		case <-time.After(wait):
		}
	}
}

// pass gives every peer what it should have and has not confirmed. It reports whether nothing is left to do.
func (m *mover) pass(ctx context.Context) (settled bool) {
	n := m.n
	if pl := n.placement.Load(); pl != m.pl {
		m.pl = pl
		clear(m.atOwner[:])
		clear(m.atBackup[:])
		maps.DeleteFunc(m.told, func(r *remote, _ int64) bool { return !pl.alive(r) })
		// Commands that still run by an older placement must have changed the store before it is read, for from now on whoever
		// executes a write tells the new holders himself.
		n.onLoops(ctx, func(*worker) {})
	}
	n.giveUpWaiting(m.pl)
	n.mu.Lock()
	n.keepDeletions()
	n.mu.Unlock()
	plan := m.plan()
	var handovers sync.WaitGroup
	for _, h := range plan {
		if h != nil {
			handovers.Go(func() { h.run(ctx) })
		}
	}
	handovers.Wait()

	settled = true
	for _, h := range plan {
		if h != nil && h.news && h.forgone >= 0 {
			m.told[h.to] = h.forgone
		}
		if h != nil && h.err != nil {
			settled = false
			n.cfg.Logger.Debug("hand-over not finished", "peer", h.to.name, "error", h.err)
		}
	}
	return m.settle() && settled && n.missing(m.pl) == 0
}

// plan finds out what there is to give, by the places of the peers; nil for those who have everything.
func (m *mover) plan() []*handover {
	n, pl := m.n, m.pl
	n.mu.Lock()
	patient := time.Since(n.changed) > ownersFirst // former owners have had their time
	var pace *pacer
	if n.view.Me().State != cluster.Leaving {
		pace = m.pace // who leaves has a deadline
	}
	n.mu.Unlock()
	n.store.Sizes(&m.sizes)
	m.strays = m.strays[:0]
	plan := make([]*handover, len(pl.peers))
	to := func(place int16) *handover {
		if plan[place] == nil {
			plan[place] = &handover{n: n, m: m, pl: pl, pace: pace, place: place, to: pl.peers[place], forgone: -1}
		}
		return plan[place]
	}
	for i, r := range pl.peers {
		lost := !r.lost.IsZero()
		if known, asked := m.told[r]; r.version >= peer.Away.Since() && (!asked && lost || known != n.forgone.Load()) {
			to(int16(i)).news = true
		}
		if r.lacks.Swap(false) {
			m.unconfirm(int16(i))
		}
	}
	for p := range ring.Partitions {
		whole, mine := n.complete[p].Load(), pl.holds(self, p)
		// Taken back here, before anything is read: what comes from now on marks it again.
		late := n.stray[p].Swap(false) || !whole && !mine && m.sizes[p] > 0
		if late {
			m.strays = append(m.strays, stray{p: p})
		}
		for _, place := range [2]int16{pl.owner[p], pl.backup[p]} {
			if place < 0 {
				continue
			}
			if late {
				to(place).strays = append(to(place).strays, len(m.strays)-1)
			}
			switch confirmed := m.confirmed(place, p); {
			case !whole:
			case pl.owner[p] == self && n.stale[p].Load():
				*confirmed = false
				to(place).forced = append(to(place).forced, p)
			case *confirmed:
			case n.owned[p].Load():
				to(place).owned = append(to(place).owned, p)
			case pl.former[0][p] >= 0 && !patient:
				to(place).asked = append(to(place).asked, p) // its owner is alive and does it better
			default:
				to(place).whole = append(to(place).whole, p)
			}
		}
	}
	return plan
}

// settle draws the conclusions of a pass: partitions that are not this node's are forgotten where both holders have
// confirmed that they have them. It reports whether nothing is left over.
func (m *mover) settle() (settled bool) {
	n, pl := m.n, m.pl
	settled = true
	next := m.strays
	for p := range ring.Partitions {
		owner, backup := pl.owner[p], pl.backup[p]
		whole, mine := n.complete[p].Load(), pl.holds(self, p)
		if n.owned[p].Load() != (owner == self) && whole {
			n.changeHands(pl, p, owner >= 0 && m.atOwner[p])
		}
		given := true
		if len(next) > 0 && next[0].p == p {
			s := next[0]
			next = next[1:]
			if given = (owner < 0 || s.toOwner) && (backup < 0 || s.toBackup); !given {
				n.stray[p].Store(true) // once more
			}
		} else if !whole && !mine && m.sizes[p] == 0 {
			continue
		}
		if whole {
			given = given && (owner < 0 || m.atOwner[p]) && (backup < 0 || m.atBackup[p])
		}
		if mine && given || !mine && given && n.forget(pl, p) {
			continue
		}
		settled = false
	}
	return settled
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

// changeHands notes that this node has the last word on partition p, which it owns, or that it has it no more: its owner
// has confirmed that all is there.
func (n *Node) changeHands(pl *placement, p int, confirmed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.placement.Load() != pl:
	case confirmed:
		n.owned[p].Store(false)
		if n.store.HasSingles() {
			n.store.DropSingles(p) // as a backup we would not hear of their changes
		}
	case pl.owner[p] == self && n.complete[p].Load() && pl.passedOn(p):
		n.owned[p].Store(true)
	}
}

// forget drops partition p, which is not ours and which its holders have. It reports false when the ring has changed, or when
// something has arrived meanwhile that they have not got.
func (n *Node) forget(pl *placement, p int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.placement.Load() != pl || n.stray[p].Load() {
		return false
	}
	n.owned[p].Store(false)
	n.complete[p].Store(false)
	n.assumed[p].Store(false)
	n.stats.dropped.Add(uint64(n.store.DropPartition(p)))
	return true
}
