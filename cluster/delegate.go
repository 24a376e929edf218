package cluster

import (
	"fmt"
	"net"
	"strconv"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls, mostly under its own locks: nothing here may call memberlist back or wait.
type delegate struct{ c *Cluster }

// NodeMeta is our metadata; limit was checked by New.
func (d *delegate) NodeMeta(int) []byte {
	if d.c.leaving.Load() {
		return d.c.leavingMeta
	}
	return d.c.activeMeta
}

func (*delegate) NotifyMsg([]byte)                {}
func (*delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (*delegate) LocalState(bool) []byte          { return nil }
func (*delegate) MergeRemoteState([]byte, bool)   {}

// NotifyAlive refuses single members of other clusters.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	m, err := decodeMetadata(n.Meta)
	if err != nil {
		return err
	}
	return m.compatible(d.c.cfg.ClusterName)
}

// NotifyMerge refuses a whole other cluster.
func (d *delegate) NotifyMerge(nodes []*memberlist.Node) error {
	for _, n := range nodes {
		if err := d.NotifyAlive(n); err != nil {
			return fmt.Errorf("member %s: %w", n.Name, err)
		}
	}
	return nil
}

func (d *delegate) NotifyJoin(n *memberlist.Node)   { d.put(n) }
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.put(n) }

// NotifyLeave covers members that died as well as those that left.
func (d *delegate) NotifyLeave(n *memberlist.Node) { d.c.remove(n.Name) }

func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	d.c.hear(existing, other)
}

func (d *delegate) put(n *memberlist.Node) {
	m, err := decodeMetadata(n.Meta)
	if err != nil {
		return // NotifyAlive has let it pass, so this cannot happen
	}
	details := m.Details
	details.RESPAddr = reachable(details.RESPAddr, n.Addr)
	d.c.put(Member{
		Name:       n.Name,
		GossipAddr: n.Address(),
		PeerAddr:   reachable(m.PeerAddr, n.Addr),
		Zone:       m.Zone,
		State:      m.State,
		Instance:   m.Instance,
		Version:    m.version(),
		Details:    details,
	})
}

// reachable fills an unspecified host of addr with the one that the member gossips from.
func reachable(addr string, gossip net.IP) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort(gossip.String(), port)
	}
	return addr
}

func joinAddr(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
