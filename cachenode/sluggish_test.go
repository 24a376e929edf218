package cachenode

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// startSluggish runs a member that greets whoever dials, and then never answers (dribble false), or starts an answer to the
// first request a byte at a time; it reads everything, or nothing.
func startSluggish(t *testing.T, hello peer.Greeting, dribble, reads bool) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var running sync.WaitGroup
	t.Cleanup(func() { close(done); l.Close(); running.Wait() })
	serve := func(nc net.Conn) {
		running.Go(func() { <-done; nc.Close() })
		if _, err := readFrame(nc, nil, maxGreeting); err != nil {
			return
		}
		body, err := peer.AppendGreeting(nil, hello)
		if err != nil {
			t.Error(err)
		}
		nc.Write(peer.Append(nil, peer.Frame{Type: peer.Hello, Body: body}))
		if f, err := readFrame(nc, nil, maxAnswer); err == nil && f.Type == peer.Tags { // part of the greeting
			nc.Write(peer.Append(nil, peer.Frame{Type: peer.Answer, ID: f.ID}))
		}
		if dribble {
			running.Go(func() {
				for _, b := range peer.Append(nil, peer.Frame{Type: peer.Reply, Body: make([]byte, 1000)}) {
					select {
					case <-done:
						return
					case <-time.After(20 * time.Millisecond):
						nc.Write([]byte{b})
					}
				}
			})
		}
		for buf := make([]byte, 64<<10); reads; {
			if _, err := nc.Read(buf); err != nil {
				return
			}
		}
	}
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { serve(nc) })
		}
	})
	return l.Addr().String()
}

// A peer that takes connections and does not answer, or answers by the byte, or does not even read, costs the clients of its
// keys an error in time, and us bounded memory.
func TestSluggishPeers(t *testing.T) {
	for _, tt := range []struct {
		name           string
		dribble, reads bool
	}{{"never answers", false, true}, {"answers by the byte", true, true}, {"does not read", false, false}} {
		t.Run(tt.name, func(t *testing.T) {
			const bound = 1 << 20
			a := startTuned(t, "a", 1, func(c *Config, _ *cluster.Config) {
				c.PeerTimeout, c.MaxPeerBytes, c.BackFillTimeout = 500*time.Millisecond, bound, 100*time.Millisecond
			})
			hello := a.greeting
			hello.Node, hello.Instance = "b", 7
			other := cluster.Member{Name: "b", PeerAddr: startSluggish(t, hello, tt.dribble, tt.reads), Instance: 7, Version: 2}
			a.follow(nil, viewOf(*a.cluster.View().Me(), other))
			waitFor(t, "the ring of both", func() bool { return a.fenced.Load() == a.placement.Load().epoch })
			theirs := a.keyOwned(false)
			for _, command := range [][]string{{"GET", theirs}, {"BLPOP", theirs, "0"}, {"EVAL", "return 1", "1", theirs}} {
				began := time.Now()
				if got := a.do(command...); !strings.HasPrefix(got, "-TRYAGAIN") {
					t.Errorf("%q: %q", command, got)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("%q takes %v", command, took)
				}
			}
			// More than the bound is refused, and meanwhile our own keys are served.
			const writers = 60
			replies := make(chan string, writers)
			for range writers {
				go func() { replies <- a.do("SET", theirs, strings.Repeat("v", 100<<10)) }()
			}
			if got := a.do("GET", a.keyOwned(true)); got != null {
				t.Errorf("our own key: %q", got)
			}
			refused := map[string]int{}
			for range writers {
				code, _, _ := strings.Cut(<-replies, " ")
				refused[code]++
			}
			if refused["-TRYAGAIN"]+refused["-BUSY"] != writers || refused["-BUSY"] == 0 {
				t.Errorf("replies %v", refused)
			}
			queued := make(chan int, 1)
			w := a.workers[0]
			w.loop.Post(func() {
				n := w.parkedBytes
				for _, l := range w.links {
					if l.pause == 0 {
						t.Error("the next dial is not put off, although the peer has not answered anything")
					}
					if n += len(l.queue); l.conn != nil {
						n += l.conn.Queued()
					}
				}
				queued <- n
			})
			if n := <-queued; n > bound+200<<10 {
				t.Errorf("%d bytes are queued, the bound is %d", n, bound)
			}
		})
	}
}
