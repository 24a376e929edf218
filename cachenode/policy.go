package cachenode

import (
	"sync"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// What rules by prefix say of a key beyond its own node: which nodes hold it, and what a read gets that does not reach them.
//
// A single key is at its owner alone. A backup that becomes the owner while the one of before is alive therefore counts as
// having nothing: it pulls what it is asked for, and gets the partition handed over. What a former owner keeps as a backup is
// without single keys, for it would not hear of their changes.

// holders are the places that have to have a changed key of partition p: the owner, and the backup unless the key is single.
func (n *Node) holders(pl *placement, p int, stored []byte) [2]int16 {
	if n.store.Single(stored) {
		return [2]int16{pl.owner[p], nobody}
	}
	return [2]int16{pl.owner[p], pl.backup[p]}
}

// lacksSingles tells whether this node, which owned partition p neither by the placement of before nor by an older one that it
// still has to take over, lacks the single keys of p, and another node has them.
func (n *Node) lacksSingles(pl, old *placement, p int) bool {
	return pl.owner[p] == self && old.owner[p] != self && pl.former[0][p] >= 0 && n.store.HasSingles()
}

// SetRules replaces the rules by prefix. Keys that are single no more get their copies, and those that have become it lose
// them.
func (n *Node) SetRules(list []store.Rule) {
	had := n.store.HasSingles()
	n.store.SetRules(list)
	if !had && !n.store.HasSingles() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	pl := n.placement.Load()
	for p := range ring.Partitions {
		switch {
		case pl.owner[p] == self:
			n.stale[p].Store(pl.backup[p] >= 0)
		case !n.owned[p].Load():
			n.store.DropSingles(p)
		}
	}
	n.wakeMover()
}

// fail appends the reply to a command that has not reached the owner of its keys.
func (w *worker) fail(c *call, out []byte, err error) []byte {
	if (err == errTimeout || err == errLost || err == errUnreachable) && w.mayMiss(c) {
		return w.miss(c, out)
	}
	return appendFailure(out, err)
}

// mayMiss tells whether a command is a read of keys that are missing when their owner cannot be reached.
func (w *worker) mayMiss(c *call) bool {
	if !w.n.store.HasMisses() || c.spec.Flags&command.ReadOnly == 0 || c.spec.Scope != command.ByKeys || c.spec.Composite() || c.spec.Internal() {
		return false
	}
	w.locate(c)
	for i := range w.keys {
		if !w.n.store.Miss(w.keys[i].Bytes) {
			return false
		}
	}
	return len(w.keys) > 0
}

// nothing is a store that stays empty: what a read replies there it replies wherever its keys are missing.
var nothing = sync.OnceValue(func() *store.Store { return store.New(store.Config{}) })

// miss appends what a read replies that finds none of its keys.
func (w *worker) miss(c *call, out []byte) []byte {
	w.n.stats.missed.Add(1)
	x := &w.ctx
	x.Store, x.Args, x.Proto, x.DB, x.NowMilli, x.Out = nothing(), c.args, c.proto, c.db, w.now(), out
	x.Track, x.Notify, x.MayBlock = false, 0, false
	x.Owns, x.Local, x.Permit = nil, nil, nil
	c.spec.Exec(x)
	out, x.Out, x.Args = x.Out, nil, nil
	return out
}

// keepForMiss copies what a read needs to be answered as a miss; nil for all others.
func (w *worker) keepForMiss(c *call) *call {
	if !w.mayMiss(c) {
		return nil
	}
	return &call{spec: c.spec, raw: append([]byte(nil), c.raw...), proto: c.proto, db: c.db}
}

const noReplicas = "NOREPLICAS this node sees fewer members than min_members and refuses to write. " +
	"HINT: writes go on when it sees the others again; reads go on meanwhile"

// refuses tells whether a command is a write that a node does not take because it sees too few others. Those inside scripts
// and transactions are refused one by one.
func (pl *placement) refuses(c *call) bool {
	return pl.minority && c.spec.Flags&command.Write != 0 && !c.spec.Composite()
}
