package cachenode

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// scripted is a node of which a test plays every frame.
type scripted struct {
	t testing.TB
	cluster.Member
	listener net.Listener
	greeting peer.Greeting
}

// newScripted makes a member that n may meet. age is how much older than n it is.
func newScripted(t testing.TB, n *testNode, name string, age uint64) *scripted {
	t.Helper()
	waitFor(t, "the node to run", func() bool { return n.Ready() == nil })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &scripted{t: t, listener: l, greeting: n.greeting}
	s.Member = cluster.Member{Name: name, PeerAddr: l.Addr().String(), Instance: n.greeting.Instance - age}
	s.greeting.Node, s.greeting.Instance = s.Name, s.Instance
	return s
}

func (s *scripted) hello() []byte {
	body, err := peer.AppendGreeting(nil, s.greeting)
	if err != nil {
		s.t.Fatal(err)
	}
	return peer.Append(nil, peer.Frame{Type: peer.Hello, Body: body})
}

// dial connects to n and says hello, and sends frames without waiting for the answer.
func (s *scripted) dial(n *testNode, frames ...peer.Frame) net.Conn {
	s.t.Helper()
	nc, err := net.Dial("tcp", n.cfg.Peers.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	b := s.hello()
	for _, f := range frames {
		b = peer.Append(b, f)
	}
	s.write(nc, b)
	return nc
}

// accept answers the greeting of a node that has dialled.
func (s *scripted) accept() net.Conn {
	s.t.Helper()
	if err := s.listener.(*net.TCPListener).SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	nc, err := s.listener.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	s.expect(nc, peer.Hello)
	s.write(nc, s.hello())
	tags := s.expect(nc, peer.Tags)
	s.write(nc, peer.Append(nil, peer.Frame{Type: peer.Answer, ID: tags.ID})) // it has the same: none
	return nc
}

func (s *scripted) write(nc net.Conn, b []byte) {
	s.t.Helper()
	if _, err := nc.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

// frame reads the next frame, but for news, which may come at any time.
func (s *scripted) frame(nc net.Conn) (f peer.Frame, err error) {
	for {
		if f, err = readFrame(nc, nil, peer.MaxBody); err != nil || f.Type != peer.Publish {
			return f, err
		}
	}
}

// expect reads the next frame, which must be of that type.
func (s *scripted) expect(nc net.Conn, want peer.Type) peer.Frame {
	s.t.Helper()
	if err := nc.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	f, err := s.frame(nc)
	if err != nil || f.Type != want {
		s.t.Fatalf("%s reads a frame of type %d, %q, %v; want type %d", s.Name, f.Type, f.Body, err, want)
	}
	return f
}

// next reads the next frame, whatever it is.
func (s *scripted) next(nc net.Conn) peer.Frame {
	s.t.Helper()
	if err := nc.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	f, err := s.frame(nc)
	if err != nil {
		s.t.Fatalf("%s waits for a frame: %v", s.Name, err)
	}
	return f
}

// silent checks that nothing comes.
func (s *scripted) silent(nc net.Conn, why string) {
	s.t.Helper()
	if err := nc.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		s.t.Fatal(err)
	}
	f, err := s.frame(nc)
	if err == nil {
		s.t.Fatalf("%s reads a frame of type %d, %q: %s", s.Name, f.Type, f.Body, why)
	}
}

// keyOf finds a key that the member of that name owns in a view and another one backs up; "" stands for any.
func keyOf(t testing.TB, v *cluster.View, owner, backup string) string {
	t.Helper()
	for i := range 100_000 {
		key := "k" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26))
		p := ring.PartitionOf([]byte(key))
		if v.Owner(p).Name == owner && (backup == "" || v.Backup(p).Name == backup) {
			return key
		}
	}
	t.Fatalf("no key is owned by %s and backed up by %s", owner, backup)
	return ""
}

func entry(key, value string, version uint64) []byte {
	var w wireEntry
	return w.append(nil, &store.Entry{Key: []byte(key), Kind: store.KindString, Version: version, Value: []byte(value)})
}

func commandFrame(id, epoch uint64, args ...string) peer.Frame {
	var list [][]byte
	for _, a := range args {
		list = append(list, []byte(a))
	}
	return peer.Frame{Type: peer.Command, ID: id, Epoch: epoch, Body: resp.AppendCommand(nil, list)}
}

func (n *testNode) me() cluster.Member { return *n.cluster.View().Me() }

// A node that has started, and that another one knows already, executes nothing before it knows that one too: alone, it
// would answer that there is no such key, and be the only one to have what is written.
func TestNothingIsExecutedForNodesNotMet(t *testing.T) {
	n := startNode(t, "n", 1)
	old := newScripted(t, n, "old", 1)
	view := viewOf(n.me(), old.Member)
	read, written := keyOf(t, view, "n", ""), keyOf(t, view, "n", "")+"{"+keyOf(t, view, "n", "")+"}"
	nc := old.dial(n, commandFrame(0, view.Epoch, "GET", read), commandFrame(1, view.Epoch, "SET", written, "new"))
	old.silent(nc, "the node has not met it")
	if got := n.value(written); got != "" {
		t.Fatalf("the write is executed: %q", got)
	}

	n.follow(nil, view)
	old.expect(nc, peer.Hello)
	// Now the node asks for the keys, for it has nothing.
	asking := old.accept()
	for range 2 {
		f := old.expect(asking, peer.Pull)
		if f.Epoch != view.Epoch || f.Flags&peer.FlagOwner == 0 {
			t.Errorf("Pull of %q with epoch %x and flags %d", f.Body, f.Epoch, f.Flags)
		}
		var have []byte
		if string(f.Body) == read {
			have = entry(read, "value", 1)
		}
		old.write(asking, peer.Append(nil, peer.Frame{Type: peer.Entries, Flags: peer.FlagComplete | peer.FlagLastWord, ID: f.ID, Epoch: view.Epoch, Body: have}))
	}
	if f := old.expect(nc, peer.Reply); f.ID != 0 || string(f.Body) != "$5\r\nvalue\r\n" {
		t.Errorf("reply %d is %q", f.ID, f.Body)
	}
	// The write has two copies before it is acknowledged.
	f := old.expect(asking, peer.Replicate)
	old.silent(nc, "the backup has not acknowledged the write")
	old.write(asking, peer.Append(nil, peer.Frame{Type: peer.Ack, ID: f.ID, Epoch: view.Epoch}))
	if f := old.expect(nc, peer.Reply); f.ID != 1 || string(f.Body) != "+OK\r\n" {
		t.Errorf("reply %d is %q", f.ID, f.Body)
	}
}

// A node that has come together with another cannot tell who owned a key. It asks until that one has answered, and does
// not believe a backup that what this one has is the newest.
func TestNewcomerAsksForTheLastWord(t *testing.T) {
	n := startNode(t, "n", 1)
	backup, owner := newScripted(t, n, "a", 3), newScripted(t, n, "b", 2)
	view := viewOf(n.me(), backup.Member, owner.Member)
	key := keyOf(t, view, "n", "a")
	n.follow(nil, view)
	reply := make(chan string, 1)
	go func() { reply <- n.do("INCR", key) }()

	nc := backup.accept()
	f := backup.expect(nc, peer.Pull)
	backup.write(nc, peer.Append(nil, peer.Frame{Type: peer.Entries, Flags: peer.FlagComplete, ID: f.ID, Epoch: view.Epoch, Body: entry(key, "1", 1)}))
	from := owner.accept()
	f = owner.expect(from, peer.Pull)
	owner.write(from, peer.Append(nil, peer.Frame{Type: peer.Entries, Flags: peer.FlagComplete | peer.FlagLastWord, ID: f.ID, Epoch: view.Epoch, Body: entry(key, "2", 2)}))
	f = backup.expect(nc, peer.Replicate)
	backup.write(nc, peer.Append(nil, peer.Frame{Type: peer.Ack, ID: f.ID, Epoch: view.Epoch}))
	if got := <-reply; got != ":3\r\n" {
		t.Errorf("INCR: %q, want the owner's 2 and one more", got)
	}
}

// Where the key may be at a node that does not answer, there is no telling that it does not exist.
func TestNoAnswerIsNoAbsence(t *testing.T) {
	n := startNode(t, "n", 1)
	old := newScripted(t, n, "old", 1)
	view := viewOf(n.me(), old.Member)
	key := keyOf(t, view, "n", "")
	n.follow(nil, view)
	reply := make(chan string, 1)
	go func() { reply <- n.do("GET", key) }()
	nc := old.accept()
	old.expect(nc, peer.Pull)
	nc.Close()
	nc = old.accept()
	f := old.expect(nc, peer.Pull)
	old.write(nc, peer.Append(nil, peer.Frame{Type: peer.Entries, Flags: peer.FlagComplete | peer.FlagLastWord, ID: f.ID, Epoch: view.Epoch, Body: entry(key, "v", 1)}))
	if got := <-reply; got != "$1\r\nv\r\n" {
		t.Errorf("GET: %q", got)
	}
}

// A write that comes from a node with an older ring reaches those who hold the key by ours before it is acknowledged, and
// goes no further than that.
func TestLateWritesArePassedOn(t *testing.T) {
	n := startNode(t, "n", 1)
	late, holder := newScripted(t, n, "late", 2), newScripted(t, n, "new", 1)
	view := viewOf(n.me(), late.Member, holder.Member)
	n.follow(nil, view)
	key := keyOf(t, view, "new", "late")
	nc := late.dial(n)
	late.expect(nc, peer.Hello)
	late.write(nc, peer.Append(nil, peer.Frame{Type: peer.Replicate, ID: 7, Epoch: view.Epoch + 1, Body: entry(key, "v", 1)}))

	var to net.Conn
	var f peer.Frame
	for limit := time.Now().Add(5 * time.Second); f.Type != peer.Replicate; { // the mover dials as well
		if time.Now().After(limit) {
			t.Fatal("the write is not passed on")
		}
		to = holder.accept()
		if f = holder.next(to); f.Type != peer.Replicate {
			to.Close()
		}
	}
	if f.Flags != peer.FlagPassedOn || string(f.Body) != string(entry(key, "v", 1)) {
		t.Errorf("passed on with flags %d: %q", f.Flags, f.Body)
	}
	late.silent(nc, "the new owner has not acknowledged the write")
	holder.write(to, peer.Append(nil, peer.Frame{Type: peer.Ack, ID: f.ID, Epoch: view.Epoch}))
	if f := late.expect(nc, peer.Ack); f.ID != 7 {
		t.Errorf("request %d is acknowledged", f.ID)
	}

	other := keyOf(t, view, "new", "late") + "{" + key + "}"
	late.write(nc, peer.Append(nil, peer.Frame{Type: peer.Replicate, Flags: peer.FlagPassedOn, ID: 8, Epoch: view.Epoch + 1, Body: entry(other, "v", 1)}))
	if f := late.expect(nc, peer.Ack); f.ID != 8 {
		t.Errorf("request %d is acknowledged", f.ID)
	}
}

// Two nodes that join at the same moment, and leave again, cost no increment and no read, though neither can know who owned
// a key before.
func TestTwoNodesJoinTogether(t *testing.T) {
	nodes := startCluster(t, 2, 1)
	const keys = 40
	var stop atomic.Bool
	var running sync.WaitGroup
	counts := make([][]int, len(nodes))
	for i, n := range nodes {
		counts[i] = make([]int, keys)
		running.Go(func() {
			for round := 0; !stop.Load(); round++ {
				k := round % keys
				key := fmt.Sprintf("counter:%d:%d", i, k)
				if got, want := n.do("INCR", key), fmt.Sprintf(":%d\r\n", counts[i][k]+1); got != want {
					t.Errorf("INCR %s: %q, want %q", key, got, want)
					return
				}
				counts[i][k]++
			}
		})
	}
	for range 2 {
		c, d := startNode(t, "c", 1, nodes[0]), startNode(t, "d", 1, nodes[1])
		waitSettled(t, nodes[0], nodes[1], c, d)
		for _, n := range []*testNode{c, d} {
			if err := n.Leave(t.Context()); err != nil {
				t.Error(err)
			}
			n.stop()
		}
		waitSettled(t, nodes...)
	}
	stop.Store(true)
	running.Wait()
	for i := range counts {
		for k, want := range counts[i] {
			key := fmt.Sprintf("counter:%d:%d", i, k)
			if got := nodes[1-i].do("GET", key); got != fmt.Sprintf("$%d\r\n%d\r\n", len(fmt.Sprint(want)), want) {
				t.Errorf("%s is %q after %d increments", key, got, want)
			}
		}
	}
}
