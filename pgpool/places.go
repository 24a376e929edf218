package pgpool

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// Names.
//
// The name of a replica may have several addresses, as that of a headless service: each is a replica of its own. So among
// the servers of an upstream such a name has places, and DNS says from time to time which of them are taken, and by whom.
// A place keeps its address for as long as that is listed. When it is not any more, its connections are closed as they
// become free. A primary's name has one place, however many addresses: they are tried in turn.

// placesPerName bounds the replicas behind one name. Further addresses are left out, with a warning.
const placesPerName = 8

// place is where a server is at present. It never changes.
type place struct {
	label string       // for people
	addrs []netip.Addr // of one server; none: there is no server in this place
	port  string
}

// named tells whether a server's host is a name, which may lead elsewhere one day.
func (s *Server) named() bool {
	if s.Network != "tcp" {
		return false
	}
	host, _, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddr(host)
	return err != nil
}

// inPlaces returns the servers with as many places as their names may need. was is what it returned for the same servers
// before: what is known of the places stays.
func inPlaces(servers, was []Server) []Server {
	var all []Server
	for _, s := range servers {
		s.id = s.Addr
		if !s.named() {
			all = append(all, s)
			continue
		}
		n := 1
		if s.Spread {
			n = placesPerName
		}
		for k := range n {
			if s.places = n - k; k > 0 {
				s.id = s.Addr + "#" + strconv.Itoa(k)
			}
			if i := len(all); i < len(was) {
				s.place = was[i].place
			} else if s.place = new(atomic.Pointer[place]); k > 0 {
				s.place.Store(&place{})
			}
			all = append(all, s)
		}
	}
	return all
}

// vacant tells whether there is no server in this place now.
func (s *Server) vacant() bool {
	if s.place == nil {
		return false
	}
	at := s.place.Load()
	return at != nil && len(at.addrs) == 0
}

// label is what people call the server.
func (s *Server) label() string {
	if s.place != nil {
		if at := s.place.Load(); at != nil && at.label != "" {
			return at.label
		}
	}
	return s.Addr
}

// connect opens a connection to the server. Until DNS has answered once, the name is left to the dialler.
func (s *Server) connect(ctx context.Context) (net.Conn, error) {
	dialer := netloop.Dialer()
	var at *place
	if s.place != nil {
		at = s.place.Load()
	}
	if at == nil {
		return dialer.DialContext(ctx, s.Network, s.Addr)
	}
	err := errVacant
	for i, addr := range at.addrs {
		if end, ok := ctx.Deadline(); ok { // what is left is for the others too
			dialer.Deadline = time.Now().Add(time.Until(end) / time.Duration(len(at.addrs)-i))
		}
		var nc net.Conn
		if nc, err = dialer.DialContext(ctx, s.Network, net.JoinHostPort(addr.String(), at.port)); err == nil {
			return nc, nil
		}
	}
	return nil, err
}

// at returns how to reach the very server that a connection leads to, wherever its name leads now.
func (s *Server) at(remote net.Addr) *Server {
	if s.place == nil {
		return s
	}
	own := *s
	own.place, own.Addr = nil, remote.String()
	return &own
}

// misplaced tells whether the connection's address is not that of its place any more.
func (s *server) misplaced() bool {
	to := s.pool.group.shared.up.server(s.pool.index).place
	if to == nil {
		return false
	}
	now := to.Load()
	if now == nil || now == s.place {
		return false
	}
	if !now.holds(s.conn.RemoteAddr()) {
		return true
	}
	s.place = now
	return false
}

// left tells whether the server is no longer at an address that it was connected at.
func (s *Server) left(remote net.Addr) bool {
	if s.place == nil {
		return false
	}
	now := s.place.Load()
	return now != nil && !now.holds(remote)
}

func (at *place) holds(remote net.Addr) bool {
	tcp, ok := remote.(*net.TCPAddr)
	return ok && slices.Contains(at.addrs, tcp.AddrPort().Addr().Unmap())
}

// byServer groups the addresses of a name by server. One address of each family is one server, reached by either. More of
// a family are as many servers; those of the larger family stand for them.
func byServer(addrs []netip.Addr, spread bool) [][]netip.Addr {
	var v4, v6 []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	tidy := func(s []netip.Addr) []netip.Addr {
		slices.SortFunc(s, netip.Addr.Compare)
		return slices.Compact(s)
	}
	v4, v6 = tidy(v4), tidy(v6)
	if !spread || len(v4) <= 1 && len(v6) <= 1 {
		return [][]netip.Addr{append(v4, v6...)}
	}
	if len(v6) > len(v4) {
		v4 = v6
	}
	var all [][]netip.Addr
	for i := range v4 {
		all = append(all, v4[i:i+1:i+1])
	}
	return all
}

// settle says who is in each place now: a server that has one keeps it, others get those that are vacant, in order. left
// is how many got none.
func settle(was []*place, listed [][]netip.Addr) (now [][]netip.Addr, left int) {
	now = make([][]netip.Addr, len(was))
	var newcomers [][]netip.Addr
	for _, addrs := range listed {
		i := slices.IndexFunc(was, func(at *place) bool {
			return at != nil && slices.ContainsFunc(at.addrs, func(a netip.Addr) bool { return slices.Contains(addrs, a) })
		})
		if i < 0 || now[i] != nil {
			newcomers = append(newcomers, addrs)
			continue
		}
		now[i] = addrs
	}
	for i := range now {
		if now[i] == nil && len(newcomers) > 0 {
			now[i], newcomers = newcomers[0], newcomers[1:]
		}
	}
	return now, len(newcomers)
}

// errVacant is why a place cannot be connected to.
var errVacant = errors.New("the server's name has no address for this place any more")
