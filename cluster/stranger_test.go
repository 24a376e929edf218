package cluster

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cluster/gossiptest"
)

// tap stands before a member: it passes datagrams and connections on, and notes what they say.
type tap struct {
	port int
	mu   sync.Mutex
	said [][]byte
}

func (p *tap) note(b []byte) {
	p.mu.Lock()
	p.said = append(p.said, bytes.Clone(b))
	p.mu.Unlock()
}

func newTap(t *testing.T, target string) *tap {
	t.Helper()
	p := &tap{port: gossiptest.Port(t)}
	addr := joinAddr("127.0.0.1", p.port)
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	out, err := net.Dial("udp", target)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); udp.Close(); tcp.Close(); out.Close(); running.Wait() })
	running.Go(func() {
		b := make([]byte, 64<<10)
		for {
			n, _, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			p.note(b[:n])
			out.Write(b[:n])
		}
	})
	running.Go(func() {
		for {
			from, err := tcp.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer from.Close()
				to, err := net.Dial("tcp", target)
				if err != nil {
					return
				}
				defer to.Close()
				stop := context.AfterFunc(ctx, func() { from.Close(); to.Close() })
				defer stop()
				back := make(chan struct{})
				go func() {
					defer close(back)
					io.Copy(from, to)
					from.Close()
				}()
				var said bytes.Buffer
				io.Copy(io.MultiWriter(to, &said), from)
				to.Close()
				<-back
				p.note(said.Bytes())
			})
		}
	})
	return p
}

// Who does not have the key joins nothing, reads nothing and changes nothing, whatever it sends.
func TestStrangersToTheGossip(t *testing.T) {
	key := []byte("0123456789abcdef")
	a := start(t, Config{Name: "a", Keys: keys(t, key), Zone: "zone-of-a"})
	port := gossiptest.Port(t)
	wire := newTap(t, joinAddr("127.0.0.1", port))
	b := start(t, Config{Name: "b", Keys: keys(t, key), BindPort: port, AdvertiseAddr: "127.0.0.1", AdvertisePort: wire.port, Join: []string{a.addr}})
	waitMembers(t, "a b", a, b)
	c := start(t, Config{Name: "c", Keys: keys(t, key), Join: []string{a.addr}})
	waitMembers(t, "a b c", a, b, c)
	c.stop()
	waitMembers(t, "a b", a, b)
	wire.mu.Lock()
	said := slices.Clone(wire.said) // to which the tap goes on adding
	wire.mu.Unlock()
	if len(said) == 0 {
		t.Fatal("nothing was recorded")
	}

	plain := start(t, Config{Name: "x", Join: []string{a.addr}})
	wrong := start(t, Config{Name: "y", Keys: keys(t, []byte("fedcba9876543210")), Join: []string{a.addr}})
	garbage := append(said, bytes.Repeat([]byte{0xff}, 1400), bytes.Repeat([]byte{9}, 1400), []byte{})
	datagrams, err := net.Dial("udp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	for _, b := range garbage {
		if bytes.Contains(b, []byte("zone-of-a")) {
			t.Error("members' metadata is sent in the clear")
		}
		datagrams.Write(b) // one that is too long for a datagram goes the other way alone
		stream, err := net.Dial("tcp", a.addr)
		if err != nil {
			t.Fatal(err)
		}
		stream.SetDeadline(time.Now().Add(10 * time.Second))
		stream.Write(b)
		stream.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(stream)
		stream.Close()
		if bytes.Contains(answer, []byte("zone-of-a")) {
			t.Error("a stranger is told of the members in the clear")
		}
	}
	// One that is let in shows that a has gone on, and has dealt with all that came before.
	d := start(t, Config{Name: "d", Keys: keys(t, key), Join: []string{a.addr}})
	waitMembers(t, "a b d", a, b, d)
	waitMembers(t, "x", plain)
	waitMembers(t, "y", wrong)
}
