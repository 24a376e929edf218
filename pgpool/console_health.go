package pgpool

import (
	"cmp"
	"slices"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

// Health returns a row for each server of each upstream.
func (c consoleSource) Health() []admin.Health {
	var out []admin.Health
	for _, w := range c.p.Watchers() {
		out = append(out, w.describe()...)
	}
	slices.SortStableFunc(out, func(a, b admin.Health) int { return cmp.Compare(a.Server, b.Server) })
	return slices.CompactFunc(out, func(a, b admin.Health) bool { return a.Server == b.Server && a.Primary == b.Primary })
}

// DNSHosts returns a row for each name that a server is reached by.
func (c consoleSource) DNSHosts() []admin.DNSHost {
	var out []admin.DNSHost
	for _, w := range c.p.Watchers() {
		ttl := time.Duration(0)
		if again := w.again.Load(); again != 0 {
			ttl = time.Until(time.Unix(0, again))
		}
		servers := *w.servers.Load()
		for _, n := range names(servers) {
			row := admin.DNSHost{Host: n.host, TTL: ttl}
			for i := range servers[n.first : n.first+n.places] {
				if at := servers[n.first+i].place.Load(); at != nil {
					for _, a := range at.addrs {
						row.Addrs = append(row.Addrs, a.String())
					}
				}
			}
			out = append(out, row)
		}
	}
	slices.SortStableFunc(out, func(a, b admin.DNSHost) int { return cmp.Compare(a.Host, b.Host) })
	return slices.CompactFunc(out, func(a, b admin.DNSHost) bool { return a.Host == b.Host && slices.Equal(a.Addrs, b.Addrs) })
}

// describe returns a row for each server that has an address.
func (u *Watcher) describe() []admin.Health {
	snapshot := u.Snapshot()
	primary, known := snapshot.Primary()
	var out []admin.Health
	for i := range snapshot.Servers {
		s := &snapshot.Servers[i]
		if s.Addr == "" {
			continue
		}
		row := admin.Health{Server: s.Addr, Primary: known && i == primary, Role: s.Role.String(), State: "up", Timeline: s.Timeline,
			SystemID: s.SystemID, Version: s.Version, LSN: s.LSN, Lag: -1, LagBytes: -1, CheckedAt: s.CheckedAt}
		switch {
		case s.CheckedAt.IsZero():
			row.State = "unknown"
		case !s.Up:
			row.State = "down"
		case s.Fence != health.NotFenced:
			row.State, row.Reason = "fenced", s.Fence.String()
		}
		if s.LastError != nil {
			row.Reason = s.LastError.Error()
		}
		if s.Role == health.RoleReplica {
			row.LSN = s.ReplayLSN
			if row.State == "up" {
				row.LagBytes = s.LagBytes
				if s.Lag != health.UnknownLag {
					row.Lag = s.Lag
				}
			}
		}
		out = append(out, row)
	}
	return out
}
