package cachenode

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// stall stops the loops of a node, as a stopped process would, while its gossip goes on; go lets them run again.
func (n *testNode) stall() (resume func()) {
	gate := make(chan struct{})
	var held sync.WaitGroup
	for _, w := range n.workers {
		held.Add(1)
		w.loop.Post(func() { held.Done(); <-gate })
	}
	held.Wait()
	return sync.OnceFunc(func() { close(gate) })
}

// place finds a key that has this owner and backup, as n sees it.
func (n *testNode) place(t *testing.T, owner, backup *testNode) string {
	t.Helper()
	pl := n.placement.Load()
	is := func(place int16, node *testNode) bool {
		if place == self {
			return node == n
		}
		return place >= 0 && pl.peers[place].name == node.name
	}
	for i := range 100_000 {
		key := fmt.Sprintf("p%d", i)
		p := ring.PartitionOf([]byte(key))
		if is(pl.owner[p], owner) && is(pl.backup[p], backup) {
			return key
		}
	}
	t.Fatalf("no key is owned by %s and backed up by %s", owner.name, backup.name)
	return ""
}

func TestStalledPeerBlocksOnlyItsKeys(t *testing.T) {
	nodes := startTunedCluster(t, 3, 1, func(cfg *Config, _ *cluster.Config) { cfg.PeerTimeout = 400 * time.Millisecond })
	a, b, c := nodes[0], nodes[1], nodes[2]
	atC, backedByC, elsewhere := a.place(t, c, a), a.place(t, a, c), a.place(t, a, b)
	atB := a.place(t, b, a)
	for _, key := range []string{atC, backedByC, elsewhere, atB} {
		if got := a.do("SET", key, "1"); got != "+OK\r\n" {
			t.Fatalf("SET %s: %q", key, got)
		}
	}
	resume := c.stall()
	defer resume()

	waiting := make(chan string, 1)
	go func() { waiting <- a.do("GET", atC) }()
	// While that waits, other keys are served, by this loop too.
	for _, key := range []string{elsewhere, atB} {
		for range 20 {
			if got := a.do("INCR", key); !strings.HasPrefix(got, ":") {
				t.Fatalf("INCR %s: %q", key, got)
			}
		}
	}
	select {
	case got := <-waiting:
		t.Errorf("the stalled owner answers %q, or the others took too long", got)
	default:
	}
	if got := <-waiting; !strings.HasPrefix(got, "-TRYAGAIN") {
		t.Errorf("GET of a stalled owner: %q", got)
	}

	// A write whose backup is stalled waits once, then goes on with one copy.
	for i := range 20 {
		began := time.Now()
		if got := a.do("INCR", backedByC); got != fmt.Sprintf(":%d\r\n", i+2) {
			t.Fatalf("INCR %s: %q", backedByC, got)
		}
		if took := time.Since(began); i > 0 && took > 300*time.Millisecond {
			t.Errorf("write %d waits %v for a backup that is known to stall", i, took)
		}
	}
	if a.Stats().Degraded == 0 || a.Stats().Timeouts == 0 {
		t.Errorf("nothing is counted: %+v", a.Stats())
	}
	resume()
	// What the backup has missed is made up for, without a change of the ring.
	waitFor(t, "the backup to be complete again", func() bool { return c.value(backedByC) == "21" })
}

func TestBoundOfOutstandingRequests(t *testing.T) {
	const bound = 50
	nodes := startTunedCluster(t, 3, 1, func(cfg *Config, _ *cluster.Config) {
		cfg.PeerTimeout = 400 * time.Millisecond
		cfg.MaxPeerRequests = bound
	})
	a, c := nodes[0], nodes[2]
	key := a.place(t, c, a)
	a.do("SET", key, "1")
	resume := c.stall()
	defer resume()
	replies := make(chan string, 4*bound)
	for range cap(replies) {
		go func() { replies <- a.do("GET", key) }()
	}
	busy := 0
	for range cap(replies) {
		if reply := <-replies; strings.HasPrefix(reply, "-BUSY") {
			busy++
		} else if !strings.HasPrefix(reply, "-TRYAGAIN") {
			t.Errorf("reply %q", reply)
		}
	}
	if want := cap(replies) - bound; busy < want-bound || busy > want {
		t.Errorf("%d of %d are refused as too many, the bound is %d", busy, cap(replies), bound)
	}
	if got := a.Stats().Busy; got != uint64(busy) {
		t.Errorf("%d are counted, %d were refused", got, busy)
	}
	resume()
	waitFor(t, "the peer to answer again", func() bool { return a.do("GET", key) == "$1\r\n1\r\n" })
}

// Commands for an owner that has just died wait for the next one, unless they were on their way.
func TestCommandsWaitForTheNextOwner(t *testing.T) {
	nodes := startTunedCluster(t, 3, 1, quick)
	a, b, c := nodes[0], nodes[1], nodes[2]
	key := a.place(t, c, b)
	if got := a.do("SET", key, "1"); got != "+OK\r\n" {
		t.Fatal(got)
	}
	c.crash()
	// The first command may learn that the connection is gone; from then on they wait.
	a.do("GET", key)
	for i := range 3 {
		if got := a.do("GET", key); got != "$1\r\n1\r\n" {
			t.Errorf("GET %d after the crash: %q", i, got)
		}
	}
}

func TestStoppedNodeSaysSo(t *testing.T) {
	n := startNode(t, "a", 1)
	if got := n.do("SET", "k", "v"); got != "+OK\r\n" {
		t.Fatalf("SET: %q", got)
	}
	n.stopNode()
	n.wait(n.nodeDone)
	if got := n.do("GET", "k"); !strings.HasPrefix(got, "-CLUSTERDOWN") {
		t.Errorf("GET on a stopped node: %q", got)
	}
	if n.Ready() == nil {
		t.Error("a stopped node is ready")
	}
	n.once.Do(func() {
		n.stopCluster()
		n.wait(n.clusterDone)
		n.stopLoops()
	})
}

func TestReady(t *testing.T) {
	nodes := startCluster(t, 2, 1)
	for _, n := range nodes {
		if err := n.Ready(); err != nil {
			t.Errorf("%s is settled but not ready: %v", n.name, err)
		}
	}
	// A node that cannot find those it shall join is not ready, for a while.
	lost := startTuned(t, "x", 1, func(cfg *Config, _ *cluster.Config) { cfg.BackFillTimeout = time.Second }, &testNode{gossip: "127.0.0.1:1"})
	if lost.Ready() == nil {
		t.Error("a node without its cluster is ready at once")
	}
	waitFor(t, "the lost node to be ready", func() bool { return lost.Ready() == nil })
}

func TestDatabasesAndKindsTravel(t *testing.T) {
	nodes := startCluster(t, 3, 1)
	run := func(n *testNode, db int, args ...string) string {
		w := n.workers[0]
		replies := make(chanReply, 1)
		c := call{proto: 3, db: db, to: replies}
		for _, a := range args {
			c.args = append(c.args, []byte(a))
		}
		c.raw = resp.AppendCommand(nil, c.args)
		c.spec = n.table.Lookup(c.args[0])
		w.loop.Post(func() {
			if reply, done := w.execute(&c, nil); done {
				replies <- string(reply)
			}
		})
		return <-replies
	}
	for db := range 3 {
		value := fmt.Sprint(db)
		for i := range 30 {
			key := fmt.Sprintf("k%d", i)
			run(nodes[i%3], db, "SET", key, value)
			run(nodes[i%3], db, "HSET", "h"+key, "f", value)
			run(nodes[i%3], db, "SADD", "s"+key, value)
		}
	}
	nodes = append(nodes, startNode(t, "d", 1, nodes[0]))
	waitSettled(t, nodes...)
	for db := range 3 {
		value := fmt.Sprint(db)
		for i := range 30 {
			key := fmt.Sprintf("k%d", i)
			n := nodes[(i+1)%4]
			for _, tt := range []struct{ got, want string }{
				{run(n, db, "GET", key), "$1\r\n" + value + "\r\n"},
				{run(n, db, "HGETALL", "h"+key), "%1\r\n$1\r\nf\r\n$1\r\n" + value + "\r\n"},
				{run(n, db, "SMEMBERS", "s"+key), "~1\r\n$1\r\n" + value + "\r\n"},
			} {
				if tt.got != tt.want {
					t.Fatalf("database %d, %s through %s: %q, want %q", db, key, n.name, tt.got, tt.want)
				}
			}
		}
		if got := run(nodes[3], db, "DBSIZE"); got != ":90\r\n" {
			t.Errorf("database %d has %q keys", db, got)
		}
	}
}
