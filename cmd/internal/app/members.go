package app

import (
	"time"

	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/cmd/internal/ops"
	"github.com/outrigger-proxy/outrigger/pgpool/admin"
)

// memberRows shows the members to the console.
func memberRows(view *cluster.View) []admin.Member {
	owned, backed := make(map[string]int), make(map[string]int)
	for p := range ring.Partitions {
		owned[view.Owner(p).Name]++
		if b := view.Backup(p); b != nil {
			backed[b.Name]++
		}
	}
	var rows []admin.Member
	for i := range view.Members {
		m := &view.Members[i]
		rows = append(rows, admin.Member{
			Name: m.Name, State: m.State.String(), Self: i == view.Self, Zone: m.Zone, Gossip: m.GossipAddr, Peers: m.PeerAddr, Redis: m.RESPAddr,
			Version: m.Version, Since: time.Unix(0, int64(m.Instance)),
			Owned: owned[m.Name], Backed: backed[m.Name], Epoch: view.Epoch, Mean: float64(ring.Partitions) / float64(len(view.Active)),
		})
	}
	return rows
}

// memberStats shows them to the operator's listener.
func memberStats(view *cluster.View) (stats []ops.Member) {
	for _, m := range memberRows(view) {
		stats = append(stats, ops.Member{Name: m.Name, State: m.State, Zone: m.Zone, Gossip: m.Gossip, Peers: m.Peers, Redis: m.Redis,
			Version: m.Version, Since: m.Since.UTC(), Owned: m.Owned, Backed: m.Backed})
	}
	return stats
}
