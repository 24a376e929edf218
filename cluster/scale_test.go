package cluster

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

var gossipNodes = flag.Int("gossip.nodes", 12, "how many members TestGossipAtScale simulates; docs/scaling.md has the numbers of more")

// ether connects members of one process: packets arrive at once or, where the receiver is dead or too slow, never.
type ether struct {
	mu    sync.Mutex
	ports map[string]*port
	bytes atomic.Int64 // sent by all
}

// port is one member's memberlist.Transport.
type port struct {
	of      *ether
	addr    *net.UDPAddr
	dead    atomic.Bool
	packets chan *memberlist.Packet
	streams chan net.Conn
}

func (e *ether) open() *port {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.ports) + 1
	p := &port{of: e, addr: &net.UDPAddr{IP: net.IPv4(10, 0, byte(n>>8), byte(n)), Port: defaultGossipPort},
		packets: make(chan *memberlist.Packet, 4096), streams: make(chan net.Conn, 256)}
	e.ports[p.addr.String()] = p
	return p
}

// peer is who listens at an address, nil when it is dead or we are.
func (p *port) peer(addr string) *port {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if to := p.of.ports[addr]; to != nil && !to.dead.Load() && !p.dead.Load() {
		return to
	}
	return nil
}

func (p *port) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return p.addr.IP, p.addr.Port, nil
}

func (p *port) WriteTo(b []byte, addr string) (time.Time, error) {
	const headers = 28 // of IP and UDP
	now := time.Now()
	p.of.bytes.Add(int64(len(b) + headers))
	if to := p.peer(addr); to != nil {
		select {
		case to.packets <- &memberlist.Packet{Buf: b, From: p.addr, Timestamp: now}:
		default:
		}
	}
	return now, nil
}

func (p *port) PacketCh() <-chan *memberlist.Packet { return p.packets }

func (p *port) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to := p.peer(addr)
	if to == nil {
		time.Sleep(timeout)
		return nil, errors.New("nobody answers")
	}
	ours, theirs := net.Pipe()
	to.streams <- countedConn{theirs, &p.of.bytes}
	return countedConn{ours, &p.of.bytes}, nil
}

func (p *port) StreamCh() <-chan net.Conn { return p.streams }

func (p *port) Shutdown() error { return nil }

type countedConn struct {
	net.Conn
	bytes *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.bytes.Add(int64(len(b)))
	return c.Conn.Write(b)
}

// simulated is a member without the rest of a Cluster: what it knows, and its gossip.
type simulated struct {
	*Cluster
	port   *port
	gossip *memberlist.Memberlist
}

func (e *ether) start(t *testing.T, i int, join *simulated) *simulated {
	c, err := New(Config{Name: fmt.Sprintf("web-%08x-%04d", rand.Uint32(), i), BindAddr: "10.0.0.1", PeerAddr: ":7947", Zone: "eu-central-1a"})
	if err != nil {
		t.Fatal(err)
	}
	s := &simulated{Cluster: c, port: e.open()}
	config := c.cfg.gossip(&delegate{c})
	config.Transport = s.port
	if s.gossip, err = memberlist.Create(config); err != nil {
		t.Fatal(err)
	}
	if join != nil {
		if _, err := s.gossip.Join([]string{join.port.addr.String()}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// sees tells whether a member knows another one in a state.
func (s *simulated) sees(name string, state State) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, found := s.members[name]
	return found && m.State == state
}

// everybody returns how long it takes until ok holds for all.
func everybody(t *testing.T, all []*simulated, what string, ok func(*simulated) bool) time.Duration {
	begin := time.Now()
	for _, s := range all {
		for !ok(s) {
			if time.Since(begin) > time.Minute {
				t.Fatalf("%s: %s has not heard of it after a minute", what, s.cfg.Name)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	took := time.Since(begin)
	t.Logf("%-22s known to all after %v", what, took)
	return took
}

// How long news take to reach everybody, and what gossip costs, with the clock and the network simulated: the numbers are
// those of our settings, and not of this machine.
func TestGossipAtScale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := *gossipNodes
		e := &ether{ports: map[string]*port{}}
		var all []*simulated
		defer func() {
			for _, s := range all {
				if err := s.gossip.Shutdown(); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(time.Minute) // the clock stops with this function, and some still wait for the dead
		}()
		for i := range n {
			var join *simulated
			if i > 0 {
				join = all[rand.IntN(len(all))]
			}
			all = append(all, e.start(t, i, join))
		}
		everybody(t, all, "the start", func(s *simulated) bool { return s.gossip.NumMembers() == n })

		time.Sleep(20 * time.Second) // what there was to tell has been told
		before := e.bytes.Load()
		const rest = 20 * time.Second
		time.Sleep(rest)
		perNode := float64(e.bytes.Load()-before) / rest.Seconds() / float64(n)
		t.Logf("%d members, at rest, each sends %.1f kB/s", n, perNode/1000)

		newcomer := e.start(t, n, all[0])
		all = append(all, newcomer)
		everybody(t, all, "a join", func(s *simulated) bool { return s.sees(newcomer.cfg.Name, Active) })

		newcomer.leaving.Store(true)
		go func() {
			if err := newcomer.gossip.UpdateNode(time.Minute); err != nil {
				t.Error(err)
			}
		}()
		everybody(t, all[:n], "a leave", func(s *simulated) bool { return s.sees(newcomer.cfg.Name, Leaving) })

		victim := all[1]
		victim.port.dead.Store(true)
		others := append([]*simulated{all[0]}, all[2:]...)
		took := everybody(t, others, "a crash", func(s *simulated) bool {
			return !s.sees(victim.cfg.Name, Active)
		})
		if n <= 12 && took > 6*time.Second {
			t.Errorf("a crash is known to all after %v", took)
		}
	})
}
