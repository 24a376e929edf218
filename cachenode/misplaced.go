package cachenode

import (
	"slices"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
)

// While the layout changes, one node after the other is restarted with the new one, and nodes differ about where some keys
// live. Each sends a command for such a key where its own layout says, and may find nothing there that the other half has
// written. An entry is filed by whoever gets it where its own layout says; if that is a partition that it does not hold, or
// holds for another owner than the one who sent it, it is passed on to those who do. So when all have the same layout, all
// keys are where it says, with the newest version of each.

// misplaced names the other members whose layout is not ours, in order.
func (n *Node) misplaced(view *cluster.View) (names []string) {
	for i := range view.Members {
		if m := &view.Members[i]; i != view.Self && m.Rules != n.cfg.Layout.Hash() {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return names
}

// tellMisplaced logs when nodes begin, or cease, to differ.
func (n *Node) tellMisplaced(old, pl *placement) {
	switch {
	case slices.Equal(old.misplaced, pl.misplaced):
	case len(pl.misplaced) == 0:
		n.cfg.Logger.Info("all members place keys by the same cache_prefixes")
	default:
		n.cfg.Logger.Warn("members place keys by another cache_prefixes than this node: keys with colocate or copies: local may be missing "+
			"until all have the same", "members", pl.misplaced)
	}
}

// refile marks what has just arrived for partition p, which we hold, to be passed on: who sent it does not know that the
// other holders should have it.
func (w *worker) refile(pl *placement, in *inbound, p int) {
	if len(pl.misplaced) == 0 || !w.applied || store.IsLocal(p) {
		return
	}
	if owner := pl.owner[p]; owner >= 0 && pl.peers[owner].name == in.from.Node {
		return
	}
	w.n.mu.Lock()
	granted := w.n.grants[p] == in
	w.n.mu.Unlock()
	if !granted {
		w.n.stray[p].Store(true)
	}
}
