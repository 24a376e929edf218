package pgpool

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"
)

var errNoAddress = errors.New("the name has no address")

// lookup finds the addresses of a name, as net.Resolver.LookupNetIP does.
type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// lookupTimeout bounds one look.
const lookupTimeout = 5 * time.Second

// named is a name among a Watcher's servers.
type named struct {
	host, port, addr string
	first, places    int  // indices of its places
	failed           bool // its last look
	left             int  // addresses without a place, at the last look
}

// names returns the names among servers.
func names(servers []Server) []*named {
	var all []*named
	for i := range servers {
		s := &servers[i]
		if s.place == nil || i > 0 && servers[i-1].place != nil && servers[i-1].Addr == s.Addr && servers[i-1].places == s.places+1 {
			continue
		}
		host, port, _ := net.SplitHostPort(s.Addr)
		all = append(all, &named{host: host, port: port, addr: s.Addr, first: i, places: s.places})
	}
	return all
}

// resolve looks the names of servers up, now and whenever dns_max_ttl has passed, until ctx ends.
func (u *Watcher) resolve(ctx context.Context, all []*named) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			for _, n := range all {
				u.look(ctx, n)
			}
		case <-u.retimed:
		}
		if ttl := time.Duration(u.ttl.Load()); ttl > 0 {
			timer.Reset(ttl)
			u.again.Store(time.Now().Add(ttl).UnixNano())
		} else {
			timer.Stop()
			u.again.Store(0)
		}
	}
}

// look looks one name up. A look that fails changes nothing: who is there may well go on being there.
func (u *Watcher) look(ctx context.Context, n *named) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := u.lookup(ctx, "ip", n.host)
	if err == nil && len(addrs) == 0 {
		err = errNoAddress
	}
	if err != nil {
		if !n.failed && context.Cause(ctx) != context.Canceled {
			u.log.Warn("name of a server cannot be looked up", "host", n.host, "error", err)
		}
		n.failed = true
		return
	}
	n.failed = false
	u.assign(n, addrs)
}

// assign gives the addresses of a name their places.
func (u *Watcher) assign(n *named, addrs []netip.Addr) {
	servers := (*u.servers.Load())[n.first : n.first+n.places]
	was := make([]*place, n.places)
	for i := range servers {
		was[i] = servers[i].place.Load()
	}
	listed := byServer(addrs, n.places > 1)
	now, left := settle(was, listed)
	if left > n.left {
		u.log.Warn("name has more addresses than places, some get no reads", "host", n.host, "places", n.places, "left_out", left)
	}
	n.left = left
	for i, addrs := range now {
		label := ""
		switch {
		case len(addrs) > 0 && len(listed) > 1:
			label = net.JoinHostPort(addrs[0].String(), n.port)
		case len(addrs) > 0:
			label = n.addr
		}
		if was[i] != nil && was[i].label == label && slices.Equal(was[i].addrs, addrs) {
			continue
		}
		servers[i].place.Store(&place{label: label, port: n.port, addrs: addrs})
		if was[i] == nil && label == n.addr { // it was reached by that name already
			continue
		}
		u.log.Info("server has moved", "host", n.host, "place", i, "server", label)
		u.monitor.Move(n.first+i, label)
	}
}
