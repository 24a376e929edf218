package admin

import (
	"fmt"
	"time"
)

// Member is a row of SHOW MEMBERS and, if it is active, of SHOW RING: a sidecar of the cluster.
type Member struct {
	Name    string
	State   string // active, or leaving: it owns nothing any more
	Self    bool   // the one that is asked
	Zone    string
	Gossip  string // addresses
	Peers   string
	Redis   string    // empty, shown as NULL, if others cannot reach it
	Version int       // of the peer protocol that is spoken with it
	Since   time.Time // its start

	Owned, Backed int // partitions of the cache that it executes commands on, and those of which it has the second copy
	Epoch         uint64
	Mean          float64 // partitions that a member owns on average
}

// showMembers are the commands about the cluster.
func showMembers() []command {
	return []command{
		show("show members", "Sidecars of the cluster, as this one sees them.", []column[Member]{
			text("name", func(m *Member) string { return m.Name }),
			text("state", func(m *Member) string { return m.State }),
			text("self", func(m *Member) string { return yes(m.Self) }),
			textOrNull("zone", func(m *Member) string { return m.Zone }),
			text("gossip", func(m *Member) string { return m.Gossip }),
			text("peers", func(m *Member) string { return m.Peers }),
			textOrNull("redis", func(m *Member) string { return m.Redis }),
			int4("version", func(m *Member) int { return m.Version }),
			text("since", func(m *Member) string { return clock(m.Since) }),
		}, Source.Members),
		show("show ring", "What each member has of the cache's partitions.", []column[Member]{
			text("epoch", func(m *Member) string { return fmt.Sprintf("%016x", m.Epoch) }),
			text("name", func(m *Member) string { return m.Name }),
			textOrNull("zone", func(m *Member) string { return m.Zone }),
			int4("owned", func(m *Member) int { return m.Owned }),
			int4("backed", func(m *Member) int { return m.Backed }),
			text("of_mean", func(m *Member) string { return fmt.Sprintf("%.3f", float64(m.Owned)/max(m.Mean, 1)) }),
		}, activeMembers),
	}
}

func activeMembers(s Source) (active []Member) {
	for _, m := range s.Members() {
		if m.Owned > 0 || m.Backed > 0 {
			active = append(active, m)
		}
	}
	return active
}
