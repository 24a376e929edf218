//go:build portable || !linux

package sim

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode"
	"github.com/outrigger-proxy/outrigger/cachenode/respserver"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// node is one node with all that it has in a process of its own.
type node struct {
	w       *world
	name    string
	member  cluster.Member
	members *membership
	cache   *cachenode.Node
	store   *store.Store
	server  *respserver.Server
	loops   []*netloop.Loop

	stopLoops, stopNode func()
	alive               atomic.Bool
}

// start runs a node that knows nobody yet.
func (w *world) start(name string) *node {
	w.mu.Lock()
	w.starts++
	n := &node{w: w, name: name}
	n.alive.Store(true)
	// Instances are times in production: the later the larger.
	n.member = cluster.Member{Name: name, GossipAddr: name, PeerAddr: name, Instance: uint64(time.Now().UnixNano()) + uint64(w.starts)}
	w.mu.Unlock()
	n.members = newMembership(n, n.member)
	cfg := cachenode.Config{
		Cluster: n.members,
		Peers:   w.net.listen(name),
		Dial:    func(ctx context.Context, to string) (net.Conn, error) { return w.net.dial(ctx, name, to) },
		Logger:  w.logger.With("node", name),
	}
	for range w.loops(name) {
		loop, err := netloop.New(netloop.Config{ReadBuffer: 16 << 10})
		if err != nil {
			panic(err)
		}
		cfg.Loops = append(cfg.Loops, loop)
	}
	var err error
	if n.cache, err = cachenode.New(cfg); err != nil {
		panic(err)
	}
	n.loops, n.store = cfg.Loops, n.cache.Store()
	n.server, err = respserver.New(respserver.Config{Backend: n.cache, Store: n.store, Table: n.cache.Table(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	for _, loop := range n.loops {
		if err := n.server.Attach(loop); err != nil {
			panic(err)
		}
	}
	var carrying, running sync.WaitGroup
	loopsCtx, stopLoops := context.WithCancel(context.Background())
	for _, loop := range n.loops {
		carrying.Go(func() { w.must(loop.Run(loopsCtx)) })
	}
	nodeCtx, stopNode := context.WithCancel(context.Background())
	running.Go(func() { w.must(n.cache.Run(nodeCtx)) })
	n.stopLoops = func() { stopLoops(); carrying.Wait() }
	n.stopNode = func() { stopNode(); running.Wait() }
	w.mu.Lock()
	w.nodes = append(w.nodes, n)
	if !w.knows(name) {
		w.hosts = append(w.hosts, name)
	}
	w.mu.Unlock()
	w.trace(name, "starts with %d loops", len(n.loops))
	return n
}

// loops is how many event loops a node has: one, but in a quarter of the histories, where the timers of two loops may come
// at the same time. The runtime wakes such two in any order, so that these histories do not always repeat themselves.
func (w *world) loops(name string) int {
	if w.seed%4 != 0 {
		return 1
	}
	return 1 + w.pick(2, "loops", name)
}

// join starts a node that soon hears of the others, and they of it, in any order.
func (w *world) join(name string) *node {
	n := w.start(name)
	w.announce(n.member, true, w.spread)
	time.AfterFunc(w.between(w.spread.min, w.spread.max, "join", name, int(n.member.Instance)), func() {
		w.mu.Lock()
		all := make([]news, 0, len(w.truth))
		for _, about := range w.truth {
			all = append(all, about)
		}
		w.mu.Unlock()
		n.members.learn(all...)
	})
	return n
}

// crash ends a node at once. The others hear of it when the failure detector has found out.
func (w *world) crash(n *node, power bool, noticed delays) {
	w.trace(n.name, "crashes, power=%v", power)
	w.gone(n)
	w.net.crash(n.name, power)
	n.stopLoops()
	n.stopNode()
	w.announce(n.member, false, noticed)
}

// leave has a node hand over what it has, and stops it.
func (w *world) leave(n *node) {
	w.trace(n.name, "leaves")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.cache.Leave(ctx); err != nil {
		w.fail("%s cannot leave: %v", n.name, err)
	}
	w.trace(n.name, "has left")
	if err := n.server.Drain(ctx); err != nil {
		w.fail("%s cannot drain: %v", n.name, err)
	}
	n.stopNode()
	w.gone(n)
	w.net.crash(n.name, false)
	n.stopLoops()
	w.announce(n.member, false, w.spread)
}

// gone takes n off the list of those who live.
func (w *world) gone(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.alive.Store(false)
	for i, other := range w.nodes {
		if other == n {
			w.nodes = append(w.nodes[:i:i], w.nodes[i+1:]...)
		}
	}
}

// entry is what a node's store has of a key, as text; "" for nothing.
func (n *node) entry(key string) string {
	var e store.Entry
	if !n.store.Entry([]byte(key), time.Now().UnixMilli(), &e) {
		return ""
	}
	if e.Deleted {
		return fmt.Sprintf("deleted at %x", e.Version)
	}
	return fmt.Sprintf("%q %q at %x", e.Value, e.Items, e.Version)
}
