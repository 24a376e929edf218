package cachenode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// issue sends a command whose reply comes later.
func (l *line) issue(args ...string) {
	l.t.Helper()
	if _, err := l.nc.Write(resp.AppendCommand(nil, redistest.Args(args))); err != nil {
		l.t.Fatal(err)
	}
}

// gets reads what is to come next.
func (l *line) gets(want string) {
	l.t.Helper()
	b := make([]byte, len(want))
	for n := 0; n < len(b); {
		k, err := l.r.Read(b[n:])
		if err != nil {
			l.t.Fatalf("%q instead of %q: %v", b[:n], want, err)
		}
		n += k
	}
	if string(b) != want {
		l.t.Fatalf("%q instead of %q", b, want)
	}
}

func (l *line) ask(want string, args ...string) {
	l.t.Helper()
	l.issue(args...)
	l.gets(want)
}

func (l *line) id() string {
	l.t.Helper()
	l.issue("CLIENT", "ID")
	id, err := l.r.ReadString('\n')
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.Trim(id, ":\r\n")
}

// waiters waits until so many wait for a key, at any node.
func waiters(t *testing.T, nodes []*testNode, key string, want int) {
	t.Helper()
	waitFor(t, fmt.Sprint(want, " to wait for ", key), func() bool { return awaited(nodes, key) == want })
}

// hosted counts the guests of a node.
func (n *testNode) hosted() (count int) {
	n.onLoops(context.Background(), func(w *worker) {
		n.mu.Lock()
		defer n.mu.Unlock()
		for in := range w.inbounds {
			count += len(in.guests)
		}
	})
	return count
}

// Each command that waits does so from each node, and says what it says on one.
func TestEveryWaitFromEveryNode(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	key := nodes[0].keyOfEach()[0]
	other := "{" + key + "}2"
	writer := nodes[1].line(t)
	for _, tt := range []struct {
		wait, write  []string
		reply, empty string
	}{
		{[]string{"BLPOP", key, "0"}, []string{"RPUSH", key, "v"}, "*2\r\n" + bulk(key) + bulk("v"), "*-1\r\n"},
		{[]string{"BRPOP", other, key, "0"}, []string{"RPUSH", key, "v"}, "*2\r\n" + bulk(key) + bulk("v"), "*-1\r\n"},
		{[]string{"BLMPOP", "0", "2", other, key, "LEFT", "COUNT", "2"}, []string{"RPUSH", key, "v", "w"}, "*2\r\n" + bulk(key) + "*2\r\n" + bulk("v") + bulk("w"), "*-1\r\n"},
		{[]string{"BLMOVE", key, other, "LEFT", "RIGHT", "0"}, []string{"RPUSH", key, "v"}, bulk("v"), "*-1\r\n"},
		{[]string{"BRPOPLPUSH", key, other, "0"}, []string{"RPUSH", key, "v"}, bulk("v"), "*-1\r\n"},
		{[]string{"BZPOPMIN", key, "0"}, []string{"ZADD", key, "1.5", "m"}, "*3\r\n" + bulk(key) + bulk("m") + bulk("1.5"), "*-1\r\n"},
		{[]string{"BZPOPMAX", key, "0"}, []string{"ZADD", key, "1.5", "m"}, "*3\r\n" + bulk(key) + bulk("m") + bulk("1.5"), "*-1\r\n"},
		{[]string{"BZMPOP", "0", "1", key, "MIN"}, []string{"ZADD", key, "1.5", "m"}, "*2\r\n" + bulk(key) + "*1\r\n*2\r\n" + bulk("m") + bulk("1.5"), "*-1\r\n"},
		{[]string{"XREAD", "BLOCK", "0", "STREAMS", key, "$"}, []string{"XADD", key, "5-1", "f", "v"}, "*1\r\n*2\r\n" + bulk(key) + "*1\r\n*2\r\n" + bulk("5-1") + "*2\r\n" + bulk("f") + bulk("v"), "*-1\r\n"},
	} {
		for _, n := range nodes {
			c := n.line(t)
			c.issue(tt.wait...)
			waitFor(t, "the client to wait", func() bool { return awaited(nodes, key) > 0 })
			writer.issue(tt.write...)
			c.gets(tt.reply)
			writer.until(written(tt.write[0], tt.write))
			nodes[2].do("DEL", key, other)
			// Its time.
			began := time.Now()
			short := slices.Clone(tt.wait)
			for i := range short {
				if short[i] == "0" {
					short[i] = map[bool]string{true: "60", false: "0.06"}[short[0] == "XREAD"]
				}
			}
			c.ask(tt.empty, short...)
			if took := time.Since(began); took < 60*time.Millisecond || took > 5*time.Second {
				t.Errorf("%q takes %v", short, took)
			}
		}
	}
	for _, n := range nodes {
		if got := n.hosted(); got != 0 {
			t.Errorf("%s hosts %d guests", n.name, got)
		}
	}
}

// written is the line that the reply to a write ends with.
func written(name string, args []string) string {
	switch name {
	case "XADD":
		return args[2]
	case "ZADD":
		return ":1"
	}
	return fmt.Sprint(":", len(args)-2)
}

// Who has come first is served first, whichever node he has come through.
func TestWaitersOfAllNodesStandInOneQueue(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	for _, key := range nodes[0].keyOfEach() {
		var queue []*line
		for i := range 9 {
			c := nodes[i%3].line(t)
			c.issue("BLPOP", key, "0")
			queue = append(queue, c)
			waiters(t, nodes, key, i+1)
		}
		writer := nodes[1].line(t)
		for i, c := range queue[:4] {
			writer.ask(":1\r\n", "RPUSH", key, fmt.Sprint(i))
			c.gets("*2\r\n" + bulk(key) + bulk(fmt.Sprint(i)))
		}
		writer.ask(":5\r\n", "RPUSH", key, "4", "5", "6", "7", "8")
		for i, c := range queue[4:] {
			c.gets("*2\r\n" + bulk(key) + bulk(fmt.Sprint(4+i)))
		}
	}
}

// A client that waits at another node can be unblocked and killed, and leaves the queue there; so does one that goes.
func TestWaitersLeaveTheQueueOfAnotherNode(t *testing.T) {
	nodes := startCluster(t, 2, 1)
	a, b := nodes[0], nodes[1]
	key := a.place(t, b, a)
	admin, c := a.line(t), a.line(t)
	id := c.id()
	for _, reason := range []string{"TIMEOUT", "ERROR"} {
		c.issue("BLPOP", key, "0")
		waiters(t, nodes, key, 1)
		admin.ask(":1\r\n", "CLIENT", "UNBLOCK", id, reason)
		if reason == "ERROR" {
			c.gets("-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")
		} else {
			c.gets("*-1\r\n")
		}
		waiters(t, nodes, key, 0)
	}
	for _, end := range []func(c *line){
		func(c *line) { c.nc.Close() },
		func(c *line) { c.nc.(*net.TCPConn).SetLinger(0); c.nc.Close() },
		func(c *line) { admin.ask(":1\r\n", "CLIENT", "KILL", "ID", c.number) },
	} {
		c := a.line(t)
		c.number = c.id()
		c.issue("BLPOP", key, "0")
		waiters(t, nodes, key, 1)
		end(c)
		waiters(t, nodes, key, 0)
	}
	waitFor(t, "no guest to be left", func() bool { return b.hosted() == 0 })
	admin.ask(":1\r\n", "RPUSH", key, "v")
	if got := b.items(key); !slices.Equal(got, []string{"v"}) {
		t.Errorf("%q is left", got)
	}
	// What is wrong is said by the owner at once.
	c.ask("-ERR timeout is negative\r\n", "BLPOP", key, "-1")
	c.ask("+OK\r\n", "SET", key, "string")
	c.ask("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", "BLPOP", key, "0")
}

// Keys of several owners can be waited for together: the first that has something counts, and nothing is taken twice.
func TestWaitingForKeysOfSeveralOwners(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	keys := nodes[0].keyOfEach()
	writer := nodes[1].line(t)
	for i, n := range nodes {
		c := n.line(t)
		pop := append(append([]string{"BLPOP"}, keys...), "0")
		for j := range keys { // the last that is pushed is the first in order
			writer.ask(":1\r\n", "RPUSH", keys[len(keys)-1-j], fmt.Sprint(j))
		}
		for j, key := range keys {
			c.ask("*2\r\n"+bulk(key)+bulk(fmt.Sprint(len(keys)-1-j)), pop...)
		}
		for _, key := range keys {
			c.issue(pop...)
			for _, k := range keys {
				waiters(t, nodes, k, 1)
			}
			writer.ask(":1\r\n", "RPUSH", key, "v")
			c.gets("*2\r\n" + bulk(key) + bulk("v"))
			for _, k := range keys {
				waiters(t, nodes, k, 0)
			}
		}
		c.ask("*-1\r\n", append(append([]string{"BRPOP"}, keys...), "0.05")...)
		c.issue(append(append([]string{"BZMPOP", "0", "3"}, keys...), "MAX", "COUNT", "2")...)
		waiters(t, nodes, keys[i], 1)
		writer.ask(":1\r\n", "ZADD", keys[i], "inf", "m")
		c.gets("*2\r\n" + bulk(keys[i]) + "*1\r\n*2\r\n" + bulk("m") + bulk("inf"))
		c.issue("BLMOVE", keys[0], keys[1], "LEFT", "LEFT", "0")
		if got, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(got, "-CROSSSLOT ") {
			t.Errorf("%q %v", got, err)
		}
	}
}

// A node joins while a client waits for many keys of two: it goes on waiting for each, once, wherever it is now.
func TestANewcomerPartsWaits(t *testing.T) {
	nodes := startCluster(t, 2, 1)
	var keys []string
	for i := range 40 {
		keys = append(keys, fmt.Sprint("queue", i))
	}
	clients := []*line{nodes[0].line(t), nodes[1].line(t)}
	for _, c := range clients {
		c.issue(append(append([]string{"BLPOP"}, keys...), "0")...)
	}
	for _, key := range keys {
		waiters(t, nodes, key, len(clients))
	}
	nodes = append(nodes, startNode(t, "c", 1, nodes...))
	waitSettled(t, nodes...)
	for _, key := range keys {
		waiters(t, nodes, key, len(clients))
	}
	writer := nodes[2].line(t)
	writer.ask(":2\r\n", "RPUSH", keys[39], "v", "v")
	for _, c := range clients {
		c.gets("*2\r\n" + bulk(keys[39]) + bulk("v"))
	}
	for _, key := range keys {
		waiters(t, nodes, key, 0)
	}
}

// Consumers at all nodes take every element once, while each waits for the queues of all.
func TestSharedQueuesLoseNothing(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	keys := nodes[0].keyOfEach()
	const elements = 60
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	taken := map[string]int{}
	var consumers, producers sync.WaitGroup
	pop := []any{"BLPOP", keys[0], keys[1], keys[2], "0.02"}
	for i := range 9 {
		c := nodes[i%3].client(t, 2+i%2)
		consumers.Go(func() {
			for ctx.Err() == nil {
				got, err := c.Do(ctx, pop...).StringSlice()
				if errors.Is(err, redis.Nil) || errors.Is(err, context.Canceled) {
					continue
				} else if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				taken[got[1]]++
				mu.Unlock()
			}
		})
	}
	for i, n := range nodes {
		c := n.client(t, 2)
		producers.Go(func() {
			for j := range elements {
				if err := c.RPush(ctx, keys[(i+j)%3], fmt.Sprint(i, "-", j)).Err(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	producers.Wait()
	waitFor(t, "everything to be taken", func() bool { mu.Lock(); defer mu.Unlock(); return len(taken) == 3*elements })
	for _, key := range keys {
		waitFor(t, "the consumers to wait", func() bool { return awaited(nodes, key) > 0 })
	}
	cancel()
	consumers.Wait()
	for element, times := range taken {
		if times != 1 {
			t.Errorf("%s was taken %d times", element, times)
		}
	}
}

// The owner dies while clients of the others wait: they wait on at the next one. $ of XREAD stays what it was.
func TestWaitersOutliveTheOwner(t *testing.T) {
	nodes := startTunedCluster(t, 3, 1, quick)
	a, b, c := nodes[0], nodes[1], nodes[2]
	list, stream := a.place(t, c, b), "{"+a.place(t, c, b)+"}s"
	a.do("XADD", stream, "5-1", "f", "old")
	var waiting []*line
	for _, n := range []*testNode{a, b} {
		l, s := n.line(t), n.line(t)
		l.issue("BLPOP", list, "0")
		s.issue("XREAD", "BLOCK", "0", "STREAMS", stream, "$")
		waiting = append(waiting, l, s)
	}
	waitFor(t, "all to wait", func() bool { return awaited(nodes, list) == 4 || awaited(nodes, list)+awaited(nodes, stream) == 4 })
	c.crash()
	rest := nodes[:2]
	waitFor(t, "all to wait at the next owner", func() bool { return awaited(rest, list) == 4 || awaited(rest, list)+awaited(rest, stream) == 4 })
	a.do("RPUSH", list, "v", "v")
	a.do("XADD", stream, "5-2", "f", "new")
	for i := 0; i < len(waiting); i += 2 {
		waiting[i].gets("*2\r\n" + bulk(list) + bulk("v"))
		waiting[i+1].gets("*1\r\n*2\r\n" + bulk(stream) + "*1\r\n*2\r\n" + bulk("5-2"))
	}
}

// What was taken for a client whose node does not take it, and dies, goes back to the front.
func TestElementsOfDeadNodesGoBack(t *testing.T) {
	nodes := startTunedCluster(t, 3, 1, quick)
	a, b, c := nodes[0], nodes[1], nodes[2]
	list := a.place(t, a, b)
	set := "{" + list + "}z"
	l, z := c.line(t), c.line(t)
	l.issue("BLMPOP", "0", "1", list, "LEFT", "COUNT", "2")
	z.issue("BZPOPMIN", set, "0")
	waitFor(t, "both to wait", func() bool { return awaited(nodes, list) == 2 })
	resume := c.stall()
	a.do("RPUSH", list, "1", "2", "3")
	a.do("ZADD", set, "1", "m", "2", "n")
	if got := a.do("LRANGE", list, "0", "-1"); got != "*1\r\n"+bulk("3") {
		t.Errorf("%q is left while the reply is on its way", got)
	}
	go c.cluster.Close() // its gossip falls silent, and its connections do not break
	waitFor(t, "the elements to be back", func() bool {
		return a.do("LRANGE", list, "0", "-1") == "*3\r\n"+bulk("1")+bulk("2")+bulk("3") && a.do("ZCARD", set) == ":2\r\n"
	})
	waitFor(t, "the other copy", func() bool { return slices.Equal(b.items(list), []string{"1", "2", "3"}) })
	resume()
}

// What an owner has at once goes back as well, if the reply is lost with the connection, or comes when nobody waits for it.
func TestElementsOfLostRepliesGoBack(t *testing.T) {
	v := newValve(t)
	a := startTuned(t, "a", 1, func(cfg *Config, _ *cluster.Config) { cfg.Dial, cfg.PeerTimeout = v.dial, time.Second })
	b := startTuned(t, "b", 1, quick, a)
	waitSettled(t, a, b)
	list := a.place(t, b, a)
	b.do("RPUSH", list, "1", "2")
	c := a.line(t)
	var held sync.WaitGroup
	for cut, want := range map[bool]string{true: "*2\r\n" + bulk(list) + bulk("1"), false: "-TRYAGAIN the node"} {
		a.do("EXISTS", list) // so that there is a connection
		held.Go(func() { v.hold("<"+b.peerAddr(), 1500*time.Millisecond) })
		waitFor(t, "the valve to shut", func() bool { v.mu.Lock(); defer v.mu.Unlock(); return len(v.shut) > 0 })
		left := len(b.items(list)) - 1
		c.issue("BLPOP", list, "5")
		waitFor(t, "the element to be taken", func() bool { return len(b.items(list)) == left })
		if cut {
			v.cut(b.peerAddr())
		}
		c.gets(want)
		if !cut {
			if _, err := c.r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the element to be back", func() bool { return len(b.items(list)) == left+1 })
		} else {
			a.do("LPUSH", list, "1")
		}
		held.Wait()
	}
	if got := b.items(list); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("%q is left", got)
	}
	waitFor(t, "no guest to be left", func() bool { return b.hosted() == 0 })
}

// A guest whose keys have gone to another node while they were fetched is told so: it may wait there.
func TestGuestsAreTurnedAway(t *testing.T) {
	nodes := startCluster(t, 3, 1)
	a, keys := nodes[0], nodes[0].keyOfEach()
	a.do("DBSIZE")
	nodes[1].do("DBSIZE")
	a.onLoops(t.Context(), func(w *worker) {
		for in := range w.inbounds {
			for _, args := range [][]string{{"BLPOP", keys[1], "0"}, {"BLPOP", keys[1], keys[2], "0"}} {
				c := call{spec: w.n.table.Lookup([]byte("BLPOP")), raw: resp.AppendCommand(nil, redistest.Args(args)), proto: 2, guest: true, from: in, to: &guest{in: in}}
				w.again(&c, func(c *call) ([]byte, bool) {
					if reply, done := w.execute(c, nil); done {
						t.Errorf("%q: %q", args, reply)
					}
					return nil, false
				})
			}
		}
	})
}
