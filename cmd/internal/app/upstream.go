package app

import (
	"slices"

	"github.com/outrigger-proxy/outrigger/cmd/internal/ops"
	"github.com/outrigger-proxy/outrigger/pgpool"
)

// upstreams shows the servers to the operator's listener, each once.
func upstreams(watchers []*pgpool.Watcher) []ops.Upstream {
	var all []ops.Upstream
	for _, w := range watchers {
		for _, one := range watched(w) {
			if !slices.ContainsFunc(all, func(u ops.Upstream) bool { return u.Address == one.Address }) {
				all = append(all, one)
			}
		}
	}
	return all
}

func watched(watcher *pgpool.Watcher) []ops.Upstream {
	snapshot := watcher.Snapshot()
	primary := watcher.Primary()
	current, known := snapshot.Primary()
	var all []ops.Upstream
	for i, s := range snapshot.Servers {
		one := ops.Upstream{Address: s.Addr, Role: "replica", Up: watcher.Usable(i), LagBytes: -1}
		if i == primary {
			one.Role, one.Up = "primary", known && current == i
		} else if known && one.Up {
			one.LagBytes = int64(snapshot.Servers[current].LSN) - int64(s.ReplayLSN)
			one.LagBytes = max(one.LagBytes, 0) // probes are not taken at one moment
		}
		all = append(all, one)
	}
	return all
}
