package cachenode

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// meetTester makes n know a member named tester, and returns how that one greets.
func (n *testNode) meetTester() peer.Greeting {
	me := *n.cluster.View().Me()
	n.follow(nil, viewOf(me, member("tester", me.Instance+1)))
	g := n.greeting
	g.Node, g.Instance = "tester", me.Instance+1
	return g
}

func TestPeersOfOtherKindsAreRefused(t *testing.T) {
	n := startNode(t, "a", 1)
	good := n.meetTester()
	hello := func(change func(*peer.Greeting)) []byte {
		g := good
		change(&g)
		body, err := peer.AppendGreeting(nil, g)
		if err != nil {
			t.Fatal(err)
		}
		return peer.Append(nil, peer.Frame{Type: peer.Hello, Body: body})
	}
	tests := []struct {
		name string
		send []byte
		want string // in the refusal; "" for none, "closed" for a connection that is closed without a word
	}{
		{"friend", hello(func(*peer.Greeting) {}), ""},
		{"stranger", hello(func(g *peer.Greeting) { g.Node = "nobody" }), "no member that we know of"},
		{"another instance", hello(func(g *peer.Greeting) { g.Instance++ }), "no member that we know of"},
		{"cluster", hello(func(g *peer.Greeting) { g.Cluster = "other" }), `cluster "other" is not`},
		{"version", hello(func(g *peer.Greeting) { g.VersionMin = 9; g.VersionMax = 10 }), "versions 9 to 10"},
		{"not a greeting", peer.Append(nil, peer.Frame{Type: peer.Pull}), "instead of a greeting"},
		{"malformed greeting", peer.Append(nil, peer.Frame{Type: peer.Hello, Body: []byte{0xc1}}), "decode greeting"},
		{"huge greeting", peer.Append(nil, peer.Frame{Type: peer.Hello, Body: make([]byte, maxGreeting+1)}), "closed"},
		{"http", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "closed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nc, err := net.Dial("tcp", n.cfg.Peers.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := nc.Write(tt.send); err != nil {
				t.Fatal(err)
			}
			f, err := readFrame(nc, nil, maxGreeting)
			switch {
			case tt.want == "":
				if err != nil || f.Type != peer.Hello {
					t.Fatalf("answer of type %d, %q, %v", f.Type, f.Body, err)
				}
				return
			case tt.want == "closed":
				if err == nil {
					t.Errorf("answer of type %d, %q", f.Type, f.Body)
				}
				return
			case err != nil || f.Type != peer.Refuse || !strings.Contains(string(f.Body), tt.want):
				t.Errorf("answer of type %d, %q, %v; want a refusal with %q", f.Type, f.Body, err, tt.want)
			}
			if _, err := io.ReadFull(nc, make([]byte, 1)); err == nil {
				t.Error("the connection goes on")
			}
		})
	}
}

func TestDialChecksWhoIsThere(t *testing.T) {
	a := startNode(t, "a", 1)
	b := startNode(t, "b", 1, a)
	waitSettled(t, a, b)
	addr := b.cfg.Peers.Addr().String()
	tests := []struct {
		name string
		to   *remote
		want string
	}{
		{"right", &remote{name: "b", addr: addr, instance: b.greeting.Instance}, ""},
		{"another node", &remote{name: "c", addr: addr, instance: b.greeting.Instance}, "another node"},
		{"another instance", &remote{name: "b", addr: addr, instance: b.greeting.Instance + 1}, "another node"},
		{"nobody", &remote{name: "b", addr: "127.0.0.1:1", instance: 0}, "dial peer b"},
	}
	for _, tt := range tests {
		nc, err := a.dial(context.Background(), tt.to)
		if err == nil {
			nc.Close()
		}
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// After the greeting, a connection that sends nonsense is closed and nothing else happens.
func TestMalformedFramesCloseTheConnection(t *testing.T) {
	n := startNode(t, "a", 1)
	body, _ := peer.AppendGreeting(nil, n.meetTester())
	tests := []struct {
		name  string
		frame []byte
	}{
		{"length", []byte{0xff, 0xff, 0xff, 0xff, 3}},
		{"type", []byte{0, 0, 0, 18, 99}},
		{"answer instead of a request", peer.Append(nil, peer.Frame{Type: peer.Reply})},
		{"command", peer.Append(nil, peer.Frame{Type: peer.Command, Body: []byte("nonsense\r\n+")})},
		{"empty command", peer.Append(nil, peer.Frame{Type: peer.Command})},
		{"two commands", peer.Append(nil, peer.Frame{Type: peer.Command, Body: []byte("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n")})},
		{"entries", peer.Append(nil, peer.Frame{Type: peer.Replicate, Body: []byte("x")})},
		{"hand-off", peer.Append(nil, peer.Frame{Type: peer.Handoff, Body: []byte("x")})},
		{"offer", peer.Append(nil, peer.Frame{Type: peer.Offer, Body: []byte{255, 255}})},
		{"done", peer.Append(nil, peer.Frame{Type: peer.Done, Body: []byte{0}})},
		{"publish", peer.Append(nil, peer.Frame{Type: peer.Publish, Body: []byte{0}})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nc, err := net.Dial("tcp", n.cfg.Peers.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(5 * time.Second))
			nc.Write(peer.Append(nil, peer.Frame{Type: peer.Hello, Body: body}))
			if _, err := readFrame(nc, nil, maxGreeting); err != nil {
				t.Fatal(err)
			}
			nc.Write(tt.frame)
			if f, err := readFrame(nc, nil, maxGreeting); err == nil {
				t.Errorf("answer of type %d, %q", f.Type, f.Body)
			} else if strings.Contains(err.Error(), "timeout") {
				t.Errorf("the connection stays open: %v", err)
			}
		})
	}
}
