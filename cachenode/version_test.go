package cachenode

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// recording is what nodes of version 1 have said.
type recording struct {
	hello   peer.Greeting               // of b
	asked   [][]exchange                // by b, of a, for each connection
	answers map[peer.Type][]*peer.Frame // by their type
}

// exchange is a request, and the type of what version 1 has answered.
type exchange struct {
	request peer.Frame
	answer  peer.Type
}

func readRecording(t *testing.T) *recording {
	t.Helper()
	file, err := os.Open("testdata/version1.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := &recording{answers: map[peer.Type][]*peer.Frame{}}
	toA := false
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		kind, text, _ := strings.Cut(lines.Text(), " ")
		if kind == "#" {
			continue
		}
		if kind == "connection" {
			if toA = strings.HasPrefix(text, "to a"); toA {
				r.asked = append(r.asked, nil)
			}
			continue
		}
		raw, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		f, n, _, err := peer.Parse(raw)
		if err != nil || n != len(raw) {
			t.Fatalf("recorded frame %s: %d of %d bytes, %v", text, n, len(raw), err)
		}
		fromB := toA == (kind == ">")
		if fromB && f.Type == peer.Hello {
			if r.hello, err = peer.ParseGreeting(f.Body); err != nil {
				t.Fatal(err)
			}
		}
		if kind == "<" && (fromB || f.Type != peer.Hello) {
			r.answers[f.Type] = append(r.answers[f.Type], &f)
		}
		switch {
		case toA && fromB:
			last := &r.asked[len(r.asked)-1]
			*last = append(*last, exchange{request: f})
		case toA:
			exchanges := r.asked[len(r.asked)-1]
			for i := range exchanges {
				if exchanges[i].request.ID == f.ID && exchanges[i].answer == 0 {
					exchanges[i].answer = f.Type
					break
				}
			}
		}
	}
	return r
}

// checkVersion1 says why version 1 would not understand a frame.
func checkVersion1(f *peer.Frame) error {
	flags := map[peer.Type]uint8{
		peer.Hello: 0, peer.Refuse: 0, peer.Command: 0xf7, peer.Reply: 0, peer.Replicate: 1, peer.Ack: 1, peer.Pull: 1, peer.Entries: 3,
		peer.Offer: 7, peer.Accept: 0, peer.Handoff: 0, peer.Done: 0, peer.Publish: 7,
	}
	known, ok := flags[f.Type]
	if !ok {
		return fmt.Errorf("it does not know frames of type %d", f.Type)
	}
	if f.Flags&^known != 0 {
		return fmt.Errorf("it does not know flags %08b of type %d", f.Flags, f.Type)
	}
	if f.Type == peer.Hello {
		var g struct {
			Version int    `msgpack:"version"`
			Cluster string `msgpack:"cluster"`
			Node    string `msgpack:"node"`
		}
		if err := msgpack.Unmarshal(f.Body, &g); err != nil || g.Version != 1 || g.Cluster != "outrigger" || g.Node != "a" {
			return fmt.Errorf("it reads the greeting as %+v, %v", g, err)
		}
	}
	return nil
}

// recordedNode plays the recorded b: it answers whatever it is asked with what b has answered.
type recordedNode struct {
	t        *testing.T
	listener net.Listener
	*recording
	running sync.WaitGroup

	mu    sync.Mutex
	asked map[peer.Type]int
	conns []net.Conn
}

func startRecorded(t *testing.T) *recordedNode {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &recordedNode{t: t, listener: l, recording: readRecording(t), asked: map[peer.Type]int{}}
	b.running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.conns = append(b.conns, nc)
			b.mu.Unlock()
			b.running.Go(func() { b.serve(nc) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		b.mu.Lock()
		for _, nc := range b.conns {
			nc.Close()
		}
		b.mu.Unlock()
		b.running.Wait()
	})
	return b
}

func (b *recordedNode) serve(nc net.Conn) {
	for {
		f, err := readFrame(nc, nil, peer.MaxBody)
		if err != nil {
			return
		}
		if err := checkVersion1(&f); err != nil {
			b.t.Errorf("sent to version 1: %v", err)
		}
		b.mu.Lock()
		b.asked[f.Type]++
		count := b.asked[f.Type]
		b.mu.Unlock()
		kind, ok := map[peer.Type]peer.Type{
			peer.Hello: peer.Hello, peer.Command: peer.Reply, peer.Replicate: peer.Ack, peer.Pull: peer.Entries, peer.Offer: peer.Accept,
			peer.Handoff: peer.Ack, peer.Done: peer.Ack, peer.Publish: peer.Reply,
		}[f.Type]
		if !ok || len(b.answers[kind]) == 0 {
			b.t.Errorf("version 1 has no answer to type %d", f.Type)
			return
		}
		answer := *b.answers[kind][count%len(b.answers[kind])]
		answer.ID, answer.Epoch = f.ID, f.Epoch
		if kind == peer.Accept {
			answer.Body = make([]byte, len(f.Body)/2)
			for i := range answer.Body {
				answer.Body[i] = peer.Have
			}
		}
		if _, err := nc.Write(peer.Append(nil, answer)); err != nil {
			return
		}
	}
}

func (b *recordedNode) count(t peer.Type) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked[t]
}

// A node that is upgraded works with those that are not yet: it understands what they say, and says what they understand.
func TestNodeOfVersion1(t *testing.T) {
	b := startRecorded(t)
	// The recorded b never hands anything over.
	a := startTuned(t, "a", 1, func(c *Config, _ *cluster.Config) { c.BackFillTimeout = 200 * time.Millisecond })
	other := cluster.Member{Name: "b", PeerAddr: b.listener.Addr().String(), Instance: b.hello.Instance, Version: 1}
	a.follow(nil, viewOf(*a.cluster.View().Me(), other))
	epoch := a.placement.Load().epoch
	waitFor(t, "the loops of a to work by the ring of both", func() bool { return a.fenced.Load() == epoch })

	replicated := 0
	for _, exchanges := range b.recording.asked {
		replay(t, a, epoch, exchanges)
		for _, e := range exchanges {
			var entry peer.Entry
			for body := e.request.Body; e.request.Type == peer.Replicate && len(body) > 0; {
				var err error
				if body, err = peer.NextEntry(body, &entry); err != nil {
					t.Fatal(err)
				}
				replicated++
				now := time.Now().UnixMilli()
				expired := entry.ExpireAt != 0 && entry.ExpireAt <= now // an hour after it was recorded
				if here := a.store.Entry(entry.Key, now, &store.Entry{}); here == expired {
					t.Errorf("%s was replicated by b, expired: %t, here: %t", entry.Key, expired, here)
				}
			}
		}
	}
	if replicated == 0 {
		t.Error("nothing was replicated by b")
	}

	client := redis.NewClient(&redis.Options{Addr: a.addr, Protocol: 2})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for i := range 64 {
		// Half of them are b's, whose answers say nothing of these keys.
		client.Set(ctx, fmt.Sprint("new:", i), "x", 0)
		client.Get(ctx, fmt.Sprint("new:", i))
	}
	client.Publish(ctx, "news", "x")
	for _, kind := range []peer.Type{peer.Hello, peer.Command, peer.Replicate, peer.Offer, peer.Publish} {
		waitFor(t, fmt.Sprintf("a to send a frame of type %d", kind), func() bool { return b.count(kind) > 0 })
	}

	refused := make(chan error, 1)
	w := a.workers[0]
	w.loop.Post(func() {
		l := w.link(a.placement.Load().find("b"))
		if l.version != 1 {
			t.Errorf("the link is of version %d", l.version)
		}
		refused <- l.ask(peer.Publish+1, 0, epoch, nil, nil)
	})
	if err := <-refused; !errors.Is(err, errOlder) {
		t.Errorf("a request of version 2: %v", err)
	}
}

// replay dials a and asks as b has asked, by the ring of today.
func replay(t *testing.T, a *testNode, epoch uint64, exchanges []exchange) {
	t.Helper()
	nc, err := net.Dial("tcp", a.cfg.Peers.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, e := range exchanges {
		nc.SetDeadline(time.Now().Add(10 * time.Second))
		if e.request.Type != peer.Hello {
			e.request.Epoch = epoch
		}
		if _, err := nc.Write(peer.Append(nil, e.request)); err != nil {
			t.Fatal(err)
		}
		f, err := readFrame(nc, nil, peer.MaxBody)
		if err != nil {
			t.Fatalf("answer to type %d: %v", e.request.Type, err)
		}
		if err := checkVersion1(&f); err != nil {
			t.Errorf("answered to version 1: %v", err)
		}
		if f.ID != e.request.ID || f.Type != e.answer {
			t.Errorf("request %d of type %d is answered by type %d for request %d, version 1 answers with type %d",
				e.request.ID, e.request.Type, f.Type, f.ID, e.answer)
		}
	}
}
