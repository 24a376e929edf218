package pgpool

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

// Replicas returns a row for each server of each upstream.
func (c consoleSource) Replicas() []admin.Replica {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	databases := make(map[string][]string) // by the key of the upstream
	t := c.p.tuning.Load()
	for _, name := range slices.Sorted(maps.Keys(t.Databases)) {
		key := upstreamKey(t.Databases[name].Servers)
		databases[key] = append(databases[key], name)
	}
	now := time.Since(c.p.started)
	var out []admin.Replica
	for _, key := range slices.Sorted(maps.Keys(c.p.upstreams)) {
		u, names := c.p.upstreams[key], databases[key]
		limits := t.policy(strings.Join(names[:min(1, len(names))], ""), "")
		for i := range u.count() {
			if !u.server(i).vacant() {
				row := u.describe(i, limits, now)
				row.Databases = strings.Join(names, ",")
				out = append(out, row)
			}
		}
	}
	return out
}

// describe tells what is known of server i.
func (u *upstream) describe(i int, limits *Policy, now time.Duration) admin.Replica {
	server, s := u.server(i), u.standings[i]
	v := u.judge(i, u.primary(), limits)
	row := admin.Replica{Server: server.label(), Role: u.role(i), Usable: v == fitnessUsable, Weight: int(server.weight()),
		Backup: server.Backup, Zone: server.Zone, PoolSize: server.PoolSize, Reads: int(s.busy.Load()),
		Latency: time.Duration(s.latency.Load()), Lag: -1, LagBytes: -1}
	if !row.Usable {
		if row.Reason = u.shortfall(i, limits); row.Reason == "" {
			row.Reason = v.String()
		}
	}
	state, failures, opened := s.state(now)
	row.Breaker, row.Failures, row.Opened = state.String(), failures, opened
	if w, ok := u.roles.(*Watcher); ok {
		if h := &w.Snapshot().Servers[i]; h.Up && h.Role == health.RoleReplica {
			row.LagBytes = h.LagBytes
			if h.Lag != health.UnknownLag {
				row.Lag = h.Lag
			}
		}
	}
	return row
}

// shortfall says why server i can be used for nothing, or for no reads within the limits for lag.
func (u *upstream) shortfall(i int, limits *Policy) string {
	w, ok := u.roles.(*Watcher)
	if !ok {
		return ""
	}
	switch s := &w.Snapshot().Servers[i]; {
	case !s.Up:
		return "down"
	case s.Fence != health.NotFenced:
		return "fenced: " + s.Fence.String()
	case s.Role != health.RoleReplica:
		return ""
	case !s.Within(0, 0):
		return "not usable"
	case !s.Within(limits.MaxReplicaLag, 0):
		return fmt.Sprintf("too far behind: %v, and max_replica_lag is %v", s.Lag.Round(time.Millisecond), limits.MaxReplicaLag)
	case !s.Within(0, limits.MaxReplicaLagBytes):
		return fmt.Sprintf("too far behind: %d bytes, and max_replica_lag_bytes is %d", s.LagBytes, limits.MaxReplicaLagBytes)
	}
	return ""
}
