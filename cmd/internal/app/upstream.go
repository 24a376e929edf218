package app

import (
	"slices"
	"time"

	"github.com/outrigger-proxy/outrigger/cmd/internal/ops"
	"github.com/outrigger-proxy/outrigger/pgpool"
	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/pgpool/health"
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
	primary, _ := snapshot.Primary()
	var all []ops.Upstream
	for i, s := range snapshot.Servers {
		if s.Addr == "" {
			continue
		}
		one := ops.Upstream{Address: s.Addr, Role: "replica", Up: s.Up && s.Fence == health.NotFenced, Fenced: s.Up && s.Fence > health.Unproven,
			Lag: -time.Second, LagBytes: -1, Timeline: s.Timeline}
		if i == primary {
			one.Role, one.Up = "primary", one.Up && s.Role == health.RolePrimary
		} else if one.Up {
			one.LagBytes = s.LagBytes
			if s.Lag != health.UnknownLag {
				one.Lag = s.Lag
			}
		}
		all = append(all, one)
	}
	return all
}

// addStandings adds what clients have met with. Databases that log in to a server as different users each have their own
// view of it: reads add up, and the worst breaker is shown.
func addStandings(servers []ops.Upstream, rows []admin.Replica) {
	worse := func(a, b string) bool {
		order := []string{"", "closed", "half-open", "open"}
		return slices.Index(order, a) > slices.Index(order, b)
	}
	for _, row := range rows {
		for i := range servers {
			if s := &servers[i]; s.Address == row.Server {
				s.Opened += row.Opened
				s.Reads += row.Reads
				if worse(row.Breaker, s.Breaker) {
					s.Breaker = row.Breaker
				}
			}
		}
	}
}
