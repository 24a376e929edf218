package cachenode

import (
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// A member that was away comes back with what it had: its process was stopped, or the network was cut. If it has seen the
// others go as well, both sides have gone on, and follow merges them. If not, it takes itself for the owner of what others
// have changed meanwhile; so those who had lost it say so when they see it again, and it then believes nothing of what it has
// before it has asked, as if it had just come. That is the rule that keeps the past from coming back:
//
//   - While a member is away, deletions are remembered beyond their time, for keepFor, and always within their number.
//   - Who was away for longer than deletions live on their own drops what was written before that and others hold as well:
//     they have had it all along, and what they lack of it was deleted.
//   - What a node has read from a snapshot it drops when it meets a cluster that is older than itself by more than that time.
const (
	// tombstoneTTL is how long a deletion is remembered: longer than a hand-off can take to bring an older value.
	tombstoneTTL = 2 * time.Minute
	// keepFor is how long deletions are kept for a member that is away.
	keepFor = 30 * time.Minute
	// noticed is how long it may take at most until a member is known to be away.
	noticed = 30 * time.Second
	// maxAbsent bounds the members that are remembered while they are away.
	maxAbsent = 1024
)

// absence is a member that has gone without having left.
type absence struct {
	instance uint64
	since    time.Time
	back     time.Time // zero while it is away; it is kept for a while after that
	held     []int     // the partitions that it owned or backed up
}

// watchAbsences compares two views. It notes who has gone, marks the remotes of those who have come back, and, where we are
// the ones who gave way while they were away for too long, drops what they have had all along. merged says that we give way.
// n.mu is held.
func (n *Node) watchAbsences(old, view *cluster.View, before, pl *placement, merged bool) {
	now := time.Now()
	for i := range old.Members {
		m := &old.Members[i]
		if i == old.Self || m.State != cluster.Active || view.Find(m.Name) != nil || len(n.absent) >= maxAbsent {
			continue
		}
		a, place := absence{instance: m.Instance, since: now}, before.placeOf(m.Name)
		for p := range ring.Partitions {
			if before.holds(place, p) {
				a.held = append(a.held, p)
			}
		}
		n.absent[m.Name] = a
	}
	for _, r := range pl.peers {
		if a, was := n.absent[r.name]; was && a.instance != r.instance {
			delete(n.absent, r.name) // replaced by one that has nothing
		} else if was && a.back.IsZero() {
			a.back, r.lost = now, a.since
			n.absent[r.name] = a
		}
	}
	for name, a := range n.absent {
		// Those on the other side may be seen one after the other.
		if merged && now.Sub(a.since) > tombstoneTTL {
			n.dropUntil(a.since.Add(-noticed), a.held)
		}
		if !a.back.IsZero() && now.Sub(a.back) > noticed {
			delete(n.absent, name)
		}
	}
	if oldest := view.Oldest(); merged && n.restored && time.Duration(n.greeting.Instance-oldest.Instance) > tombstoneTTL {
		n.dropUntil(time.Unix(0, int64(n.greeting.Instance)), nil)
	}
	n.restored = n.restored && !merged
	n.keepDeletions()
}

// keepDeletions has the store remember deletions as long as somebody is away who may not know of them. n.mu is held.
func (n *Node) keepDeletions() {
	keep := false
	for _, a := range n.absent {
		keep = keep || a.back.IsZero() && time.Since(a.since) < keepFor
	}
	n.store.KeepTombstones(keep)
}

// dropUntil drops what was last written before a time, of some partitions, nil for all. n.mu is held.
func (n *Node) dropUntil(end time.Time, partitions []int) {
	version, dropped := store.VersionAt(end.UnixMilli()), 0
	if partitions == nil {
		for p := range ring.Partitions {
			dropped += n.store.DropOlder(p, version)
		}
	}
	for _, p := range partitions {
		dropped += n.store.DropOlder(p, version)
	}
	n.stats.outdated.Add(uint64(dropped))
	if dropped > 0 {
		n.cfg.Logger.Info("dropped what others have had all the time", "keys", dropped, "written_before", end)
	}
}

// toldAway is called when a peer says that it had lost this node for some time. If we had lost it too, that was taken care of
// when it came back.
func (n *Node) toldAway(name string, instance uint64, ago time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	pl, since := n.placement.Load(), time.Now().Add(-ago)
	r := pl.find(name)
	if r == nil || r.instance != instance || r.met.After(since) || n.doubted.After(since) {
		return
	}
	n.cfg.Logger.Warn("this node was away, asking the others for what has changed", "peer", name, "away", ago.Round(time.Millisecond))
	n.doubted, n.changed = time.Now(), time.Now()
	n.forgo()
	n.forgone.Add(1)
	if ago > tombstoneTTL {
		n.dropUntil(since.Add(-noticed), nil)
	}
	clear(n.grants[:])
	for p := range ring.Partitions {
		if pl.holds(self, p) {
			n.young[p].Store(true)
		}
		if n.store.Size(p) > 0 {
			n.stray[p].Store(true)
		}
	}
	n.wakeMover()
}

// forgo takes nothing that is here for whole any more. n.mu is held.
func (n *Node) forgo() {
	for p := range ring.Partitions {
		n.complete[p].Store(false)
		n.assumed[p].Store(false)
		n.owned[p].Store(false)
	}
}
