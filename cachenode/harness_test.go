package cachenode

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrigger-proxy/outrigger/cachenode/respserver"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/gossiptest"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testNode is a node of a cluster in this process, with all that it needs.
type testNode struct {
	*Node
	t       testing.TB
	name    string
	cluster *cluster.Cluster
	gossip  string // its address
	server  *respserver.Server
	addr    string // for clients

	stopNode, stopCluster, stopLoops func()
	nodeDone, clusterDone            chan error
	once                             sync.Once

	mu    sync.Mutex
	heard []string // "channel message" of other nodes
}

func testLogger(testing.TB) *slog.Logger {
	if os.Getenv("OUTRIGGER_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// startNode runs a node that joins others, until the test ends or it is stopped. loops is the number of its event loops.
func startNode(t testing.TB, name string, loops int, join ...*testNode) *testNode {
	t.Helper()
	return startTuned(t, name, loops, func(*Config, *cluster.Config) {}, join...)
}

// quick makes a crash known within a second. Tests without a crash do not use it: on a busy machine it takes the living
// for dead.
func quick(_ *Config, c *cluster.Config) { c.ProbeInterval = 200 * time.Millisecond }

// startTuned is startNode with changes to the configuration.
func startTuned(t testing.TB, name string, loops int, tune func(*Config, *cluster.Config), join ...*testNode) *testNode {
	t.Helper()
	n := &testNode{t: t, name: name, nodeDone: make(chan error, 1), clusterDone: make(chan error, 1)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := cluster.Config{
		Name:           name,
		BindAddr:       "127.0.0.1",
		BindPort:       gossiptest.Port(t),
		PeerAddr:       listener.Addr().String(),
		JoinInterval:   200 * time.Millisecond,
		ProbeInterval:  2 * time.Second,
		GossipInterval: 20 * time.Millisecond,
		Logger:         testLogger(t).With("node", name),
	}
	for _, other := range join {
		cfg.Join = append(cfg.Join, other.gossip)
	}
	n.gossip = fmt.Sprintf("127.0.0.1:%d", cfg.BindPort)
	config := Config{Peers: listener, Logger: testLogger(t).With("node", name)}
	tune(&config, &cfg)
	if n.cluster, err = cluster.New(cfg); err != nil {
		t.Fatal(err)
	}
	if config.Peers != nil {
		config.Cluster = n.cluster
	} else {
		listener.Close()
	}
	for range loops {
		loop, err := netloop.New(netloop.Config{})
		if err != nil {
			t.Fatal(err)
		}
		config.Loops = append(config.Loops, loop)
	}
	if n.Node, err = New(config); err != nil {
		t.Fatal(err)
	}
	n.server, err = respserver.New(respserver.Config{Backend: n.Node, Store: n.Store(), Table: n.Table(), Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, loop := range config.Loops {
		if err := n.server.Attach(loop); err != nil {
			t.Fatal(err)
		}
	}
	n.Tell(recorder{n.server, n})
	clients, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addr = clients.Addr().String()
	next := atomic.Int64{}
	accept := netloop.NewListener(clients, testLogger(t), func(_ context.Context, nc net.Conn) {
		// An error means that the loop has stopped, and has closed the connection.
		n.server.Serve(config.Loops[int(next.Add(1))%len(config.Loops)], nc)
	})
	loopCtx, stopLoops := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, loop := range config.Loops {
		running.Go(func() {
			if err := loop.Run(loopCtx); err != nil {
				t.Errorf("loop of %s: %v", name, err)
			}
		})
	}
	running.Go(func() {
		if err := accept.Run(loopCtx); err != nil {
			t.Errorf("listener of %s: %v", name, err)
		}
	})
	n.stopLoops = func() { stopLoops(); running.Wait() }
	nodeCtx, stopNode := context.WithCancel(context.Background())
	n.stopNode = stopNode
	go func() { n.nodeDone <- n.Run(nodeCtx) }()
	clusterCtx, stopCluster := context.WithCancel(context.Background())
	n.stopCluster = stopCluster
	go func() { n.clusterDone <- n.cluster.Run(clusterCtx) }()
	t.Cleanup(n.stop)
	return n
}

// recorder notes the messages of other nodes.
type recorder struct {
	*respserver.Server
	n *testNode
}

func (r recorder) Deliver(loop *netloop.Loop, kind respserver.Kind, channel, message []byte) int {
	r.n.mu.Lock()
	r.n.heard = append(r.n.heard, string(channel)+" "+string(message))
	r.n.mu.Unlock()
	return r.Server.Deliver(loop, kind, channel, message)
}

// stop ends the node in order: it says farewell, but hands nothing over.
func (n *testNode) stop() {
	n.once.Do(func() {
		n.stopNode()
		n.wait(n.nodeDone)
		n.stopCluster()
		n.wait(n.clusterDone)
		n.stopLoops()
	})
}

// crash ends the node as SIGKILL would: nothing more is sent, connections break, gossip falls silent.
func (n *testNode) crash() {
	n.once.Do(func() {
		n.cluster.Close()
		n.stopLoops()
		n.wait(n.clusterDone)
		n.stopNode()
		n.wait(n.nodeDone)
		n.stopCluster()
	})
}

func (n *testNode) wait(done chan error) {
	n.t.Helper()
	select {
	case err := <-done:
		if err != nil {
			n.t.Errorf("node %s: %v", n.name, err)
		}
	case <-time.After(20 * time.Second):
		n.t.Errorf("node %s does not stop", n.name)
	}
}

func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	waitLong(t, 15*time.Second, what, cond)
}

func waitLong(t testing.TB, patience time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting for: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// waitSettled waits until all nodes see each other, and each has all that it should hold, and nothing else.
func waitSettled(t testing.TB, nodes ...*testNode) {
	t.Helper()
	for _, n := range nodes {
		waitFor(t, fmt.Sprintf("node %s to be settled", n.name), func() bool {
			pl := n.placement.Load()
			if len(pl.peers) != len(nodes)-1 || n.missing(pl) > 0 {
				return false
			}
			for _, other := range nodes {
				if r := pl.find(other.name); other != n && (r == nil || r.instance != other.greeting.Instance) {
					return false
				}
			}
			for p := range store.Partitions {
				if !pl.holds(self, p) && (n.complete[p].Load() || n.store.CountPartition(p) > 0) {
					return false
				}
			}
			return true
		})
	}
}

// startCluster runs n settled nodes named a, b, c …
func startCluster(t testing.TB, count, loops int) []*testNode {
	t.Helper()
	return startTunedCluster(t, count, loops, func(*Config, *cluster.Config) {})
}

func startTunedCluster(t testing.TB, count, loops int, tune func(*Config, *cluster.Config)) []*testNode {
	t.Helper()
	var nodes []*testNode
	for i := range count {
		nodes = append(nodes, startTuned(t, string(rune('a'+i)), loops, tune, nodes...))
	}
	waitSettled(t, nodes...)
	return nodes
}
