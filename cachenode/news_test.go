package cachenode

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
)

// line is a connection that speaks inline commands.
type line struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader

	number string // CLIENT ID
}

func (n *testNode) line(t *testing.T) *line {
	t.Helper()
	nc, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	return &line{t: t, nc: nc, r: bufio.NewReader(nc)}
}

func (l *line) send(format string, args ...any) { fmt.Fprintf(l.nc, format+"\r\n", args...) }

// until reads lines until one is word.
func (l *line) until(word string) (seen []string) {
	l.t.Helper()
	for {
		got, err := l.r.ReadString('\n')
		if err != nil {
			l.t.Fatalf("waiting for %q after %q: %v", word, seen, err)
		}
		if got = strings.TrimRight(got, "\r\n"); got == word {
			return seen
		}
		seen = append(seen, got)
	}
}

// A client hears of changes of the keys it has read, whoever owns them and whoever changes them.
func TestTrackingInACluster(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	keys := nodes[0].keyOfEach()
	for i, n := range nodes {
		c := n.line(t)
		c.send("HELLO 3")
		c.until("*0")
		c.send("CLIENT TRACKING ON")
		c.until("+OK")
		for j, key := range keys {
			writer := nodes[(i+j+1)%3]
			writer.do("SET", key, "old")
			c.send("GET %s", key)
			c.until("old")
			writer.do("SET", key, "new")
			c.until("invalidate")
			c.until(key)
		}
		c.send("MGET %s", strings.Join(keys, " "))
		c.until("new")
		nodes[(i+1)%3].do("FLUSHALL")
		c.until("invalidate")
		c.until("_")
	}
}

// A client is told to drop everything when the ring changes: what happened in between it may not have heard.
func TestTrackingSurvivesChangesOfTheRing(t *testing.T) {
	nodes := startCluster(t, 2, 1)
	c := nodes[0].line(t)
	c.send("HELLO 3")
	c.until("*0")
	c.send("CLIENT TRACKING ON")
	c.until("+OK")
	c.send("GET k")
	c.until("_")
	third := startNode(t, "c", 1, nodes...)
	waitSettled(t, nodes[0], nodes[1], third)
	c.until("invalidate")
	for i := range 30 {
		key := fmt.Sprint("after", i)
		c.send("GET %s", key)
		third.do("SET", key, "v")
		c.send("PING %s", key)
		c.until(key)
		third.do("SET", key, "w")
	}
	c.send("GET last")
	c.send("ECHO read")
	c.until("read")
	third.do("SET", "last", "v")
	c.until("last")
}

// Passes of the movers are no reason to drop what clients cache.
func TestTrackingIsNotDisturbedByMovers(t *testing.T) {
	nodes := startCluster(t, 2, 1)
	waitSettled(t, nodes...)
	c := nodes[0].line(t)
	c.send("HELLO 3")
	c.until("*0")
	c.send("CLIENT TRACKING ON")
	c.until("+OK")
	c.send("GET read")
	c.send("ECHO watching")
	c.until("watching")
	met := nodes[0].accepted.Load()
	p := nodes[1].partition(nodes[1].place(t, nodes[1], nodes[0]))
	waitFor(t, "passes of the other's mover", func() bool {
		nodes[1].stale[p].Store(true)
		nodes[1].wakeMover()
		return nodes[0].accepted.Load() > met+2
	})
	c.send("ECHO done")
	if heard := c.until("done"); slices.Contains(heard, "invalidate") {
		t.Errorf("told to drop what it caches: %q", heard)
	}
}

// What a node is handed for a key that it owns is told to the clients that cache the key, wherever they are.
func TestTrackingHearsOfWhatIsHandedOver(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, 1)
	a, b := nodes[0], nodes[1]
	key := a.place(t, a, b)
	c := b.line(t)
	c.send("HELLO 3")
	c.until("*0")
	c.send("CLIENT TRACKING ON")
	c.until("+OK")
	c.send("GET %s", key)
	c.send("ECHO read")
	c.until("read")
	// b has a newer one, which a has not got: as after a split.
	b.hold(t, oldEntry(key, "newer", 0))
	b.stray[b.partition(key)].Store(true)
	b.wakeMover()
	c.until(key)
	if got := a.value(key); got != "newer" {
		t.Errorf("the owner has %q", got)
	}
}

// Events are heard at every node, with the classes that were set at one.
func TestNotificationsInACluster(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	nodes[0].line(t).send("CONFIG SET notify-keyspace-events KEA")
	for _, n := range nodes {
		waitFor(t, "the setting to spread", func() bool { return n.Notifies().String() == "AKE" })
	}
	keys := nodes[0].keyOfEach()
	var listeners []*line
	for _, n := range nodes {
		l := n.line(t)
		l.send("PSUBSCRIBE __keyevent@0__:*")
		l.until("__keyevent@0__:*")
		l.send("SSUBSCRIBE shard")
		l.until("shard")
		listeners = append(listeners, l)
	}
	for i, key := range keys {
		nodes[i].do("SET", key, "v", "PX", "30")
		for _, l := range listeners {
			for _, word := range []string{"__keyevent@0__:set", key, "__keyevent@0__:expire", key, "__keyevent@0__:expired", key} {
				l.until(word)
			}
		}
	}
	nodes[1].line(t).send("SPUBLISH shard hello")
	for _, l := range listeners {
		l.until("hello")
	}
}

// In a cluster a script of a user with restrictions is refused: where it runs nobody knows whose it is.
func TestScriptsOfRestrictedUsersInACluster(t *testing.T) {
	nodes := startCluster(t, 2, 1)
	c := nodes[0].line(t)
	c.send("ACL SETUSER u on nopass ~* +@all -flushall")
	c.until("+OK")
	c.send("AUTH u x")
	c.until("+OK")
	c.send("EVAL \"return redis.call('flushall')\" 0")
	got, err := c.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(got, "-NOPERM in a cluster scripts") {
		t.Errorf("EVAL: %q, %v", got, err)
	}
}

// A node that comes later has the setting of the others, and the one that was set last counts.
func TestSettingsReachWhoComesLater(t *testing.T) {
	nodes := startCluster(t, 2, 2)
	set := func(by *testNode, classes, want string) {
		t.Helper()
		by.line(t).ask("+OK\r\n", "CONFIG", "SET", "notify-keyspace-events", classes)
		for _, n := range nodes {
			waitFor(t, "the setting to spread", func() bool { return n.Notifies().String() == want })
		}
	}
	set(nodes[0], "Kx", "xK")
	set(nodes[1], "KEA", "AKE")
	late := startNode(t, "c", 2, nodes...)
	waitFor(t, "the setting to reach who comes later", func() bool { return late.Notifies().String() == "AKE" })
	nodes = append(nodes, late)
	set(late, "", "")
	late.setNotify(command.EventKeyspace, 1) // by somebody who has been away
	if late.Notifies().String() != "" {
		t.Error("an older setting counts")
	}
}

// Of settings of the same millisecond all nodes take the same, in whatever order they hear of them.
func TestSettingsOfTheSameTime(t *testing.T) {
	nodes := startCluster(t, 2, 1)
	nodes[0].setNotify(1, 5)
	nodes[0].setNotify(2, 5)
	nodes[1].setNotify(2, 5)
	nodes[1].setNotify(1, 5)
	if a, b := nodes[0].Notifies(), nodes[1].Notifies(); a != b {
		t.Errorf("%v and %v", a, b)
	}
}
