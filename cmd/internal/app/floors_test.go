package app

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/pgpool"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// madeMembers is a membership that the test makes.
type madeMembers struct {
	mu   sync.Mutex
	view *cluster.View
	tell func(old, new *cluster.View)
}

func (m *madeMembers) Name() string                          { return "c" }
func (m *madeMembers) Subscribe(fn func(_, _ *cluster.View)) { m.tell = fn }
func (m *madeMembers) Joined() bool                          { return true }
func (m *madeMembers) Leave(context.Context) error           { return nil }
func (m *madeMembers) View() *cluster.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view
}

func (m *madeMembers) become(v *cluster.View) {
	m.mu.Lock()
	old := m.view
	m.view = v
	m.mu.Unlock()
	m.tell(old, v)
}

// signal is a log of which a test waits for the first line.
type signal chan struct{}

func (s signal) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}

// A sibling that has been restarted is heard, also when the first question was for its former self: the node may see a new
// life of a member later than we.
func TestFloorsOfARestartedSibling(t *testing.T) {
	t.Parallel()
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	atA, atB := listen(), listen()
	view := func(self string, instanceOfB uint64) *cluster.View {
		return cluster.NewView([]cluster.Member{{Name: "a", PeerAddr: atA.Addr().String(), Instance: 1},
			{Name: "b", PeerAddr: atB.Addr().String(), Instance: instanceOfB}}, self, nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	failed := make(signal, 1)
	startNode := func(at net.Listener, v *cluster.View) (*floorExchange, *madeMembers) {
		members := &madeMembers{view: v}
		loop, err := netloop.New(netloop.Config{})
		if err != nil {
			t.Fatal(err)
		}
		node, err := cachenode.New(cachenode.Config{Cluster: members, Peers: at, Loops: []*netloop.Loop{loop}})
		if err != nil {
			t.Fatal(err)
		}
		members.become(v)
		s := &siblings{node: node, log: slog.New(slog.NewTextHandler(failed, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		x := s.exchange(pgpool.NewFloors())
		loopCtx, stop := context.WithCancel(context.Background())
		running.Go(func() { _ = loop.Run(loopCtx) })
		running.Go(func() { defer stop(); _ = node.Run(ctx) })
		return x, members
	}
	startNode(atB, view("b", 3))
	x, members := startNode(atA, view("a", 2))
	one := &teller{news: make(chan struct{}, 1)}
	running.Go(func() { x.tell(ctx, one, "b") })
	select {
	case <-failed:
	case <-time.After(20 * time.Second):
		t.Fatal("the former self is not asked")
	}
	members.become(view("a", 3))
	for deadline := time.Now().Add(20 * time.Second); one.heard.Load() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the restarted sibling is not heard")
		}
	}
}
