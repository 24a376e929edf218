package respserver

import (
	"fmt"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
)

// TestClientsAreCharged has clients take memory in all the ways there are: what is charged is what the heap grows by, and nothing is
// left when they are gone.
func TestClientsAreCharged(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes allocations")
	}
	n := start(t, 1, nil)
	heap := func() int64 {
		runtime.GC()
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	watcher := n.dial(t)
	used := func() int64 {
		watcher.want("+PONG\r\n", "PING") // ends a tick
		watcher.want("+PONG\r\n", "PING")
		return n.store.Used()
	}
	watcher.want("+OK\r\n", "SET", "large", strings.Repeat("v", 300_000))
	for _, c := range []struct {
		name  string
		least int64
		take  func(clients []*client)
	}{
		{"query buffers", 40 << 20, func(clients []*client) {
			for i, c := range clients {
				c.send(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$%d\r\nkey%d\r\n$1048576\r\n%s", len(fmt.Sprint("key", i)), i, strings.Repeat("x", 1<<20-1)))
			}
		}},
		{"output buffers", 10 << 20, func(clients []*client) {
			for _, c := range clients {
				go c.nc.Write([]byte(strings.Repeat("GET large\r\n", 200)))
			}
		}},
		{"transactions", 3 << 20, func(clients []*client) {
			for _, c := range clients {
				c.want("+OK\r\n", "MULTI")
				for range 40 {
					c.want("+QUEUED\r\n", "SET", "k", strings.Repeat("x", 2000))
				}
			}
		}},
		{"transactions of small commands", 10 << 20, func(clients []*client) {
			for _, c := range clients {
				c.want("+OK\r\n", "MULTI")
				c.send(strings.Repeat("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", 3000))
				for range 3000 {
					c.read()
				}
			}
		}},
		{"subscriptions", 2 << 20, func(clients []*client) {
			for i, c := range clients {
				for j := range 100 {
					c.do("SUBSCRIBE", fmt.Sprintf("channel:%d:%d", i, j))
				}
			}
		}},
		{"tracking", 1 << 20, func(clients []*client) {
			for i, c := range clients {
				c.do("HELLO", "3")
				c.want("+OK\r\n", "CLIENT", "TRACKING", "ON")
				for j := range 200 {
					c.do("GET", fmt.Sprintf("some:key:of:a:session:%d:%d", i, j))
				}
			}
		}},
	} {
		clients := make([]*client, 40)
		for i := range clients {
			clients[i] = n.dial(t)
			clients[i].want("+PONG\r\n", "PING")
		}
		before, usedBefore := heap(), used()
		c.take(clients)
		eventually(t, c.name+" are charged", func() bool { return used()-usedBefore >= c.least })
		charged, grown := used()-usedBefore, heap()-before
		t.Logf("%s: charged %d, the heap grew by %d", c.name, charged, grown)
		if grown > charged*12/10+1<<20 || grown < charged*8/10-1<<20 {
			t.Errorf("%s: the heap grew by %d for %d charged", c.name, grown, charged)
		}
		for _, cl := range clients {
			cl.nc.Close()
		}
		eventually(t, c.name+" are given back", func() bool { return used()-usedBefore < tellAt })
	}
}

// TestBuffersMakeKeysGiveWay has clients take more than the budget has left.
func TestBuffersMakeKeysGiveWay(t *testing.T) {
	n := start(t, 1, nil)
	const budget = 8 << 20
	n.store.SetMaxBytes(budget)
	c := n.dial(t)
	for i := range 3000 {
		c.want("+OK\r\n", "SET", fmt.Sprint("key", i), strings.Repeat("v", 2000))
	}
	keys := n.store.CountDB(0, nil)
	big := n.dial(t)
	big.send("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$5000000\r\n" + strings.Repeat("x", 4_900_000))
	eventually(t, "keys give way", func() bool {
		c.want("+OK\r\n", "SET", "key0", "v")
		return n.store.CountDB(0, nil) < keys*3/4
	})
	// The rest of the large value may still be coming; the next write makes room for it.
	eventually(t, "the budget to be kept", func() bool {
		c.want("+OK\r\n", "SET", "key0", "v")
		return n.store.Used() <= budget
	})
}

// What is sent behind a command that waits for a key takes memory, too.
func TestBlockedClientsAreCharged(t *testing.T) {
	n := start(t, 1, nil)
	c, watcher := n.dial(t), n.dial(t)
	c.send("BLPOP nosuch 0\r\n")
	eventually(t, "it waits", func() bool { return n.blocked.Load() == 1 })
	watcher.want("+PONG\r\n", "PING")
	before := n.store.Used()
	c.send("*2\r\n$4\r\nECHO\r\n$400000\r\n" + strings.Repeat("x", 400_000) + "\r\n")
	eventually(t, "it is charged", func() bool {
		watcher.want("+PONG\r\n", "PING")
		return n.store.Used()-before >= 400_000
	})
}
