package cachenode

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
)

// put stores a key on this node only.
func (n *testNode) put(key, value string) {
	k := n.store.Key([]byte(key))
	var tx store.Tx
	tx.Begin(n.store, []store.Key{k}, time.Now().UnixMilli(), 0)
	tx.SetString(&k, []byte(value), 0)
	tx.End()
}

// value returns what this node holds of a key, "" for nothing.
func (n *testNode) value(key string) string {
	var e store.Entry
	if !n.store.Entry([]byte(key), time.Now().UnixMilli(), &e) {
		return ""
	}
	return string(e.Value)
}

// copies counts the nodes that hold key with that value.
func copies(nodes []*testNode, key, value string) (count int) {
	for _, n := range nodes {
		if n.value(key) == value {
			count++
		}
	}
	return count
}

func checkTwoCopies(t *testing.T, nodes []*testNode, keys int) {
	t.Helper()
	bad := 0
	for i := range keys {
		key := fmt.Sprintf("key:%d", i)
		if got := copies(nodes, key, key); got != 2 {
			if bad++; bad < 5 {
				t.Errorf("%s has %d copies", key, got)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d keys have not two copies", bad, keys)
	}
}

// What a lone node has spreads over those that join, each key at two of them, and moves on as they leave.
func TestPartitionsMove(t *testing.T) {
	const keys = 5000
	a := startTuned(t, "a", 1, quick)
	for i := range keys {
		key := fmt.Sprintf("key:%d", i)
		a.put(key, key)
	}
	b := startTuned(t, "b", 1, quick, a)
	waitSettled(t, a, b)
	checkTwoCopies(t, []*testNode{a, b}, keys)

	c := startTuned(t, "c", 2, quick, a)
	waitSettled(t, a, b, c)
	checkTwoCopies(t, []*testNode{a, b, c}, keys)

	d := startTuned(t, "d", 1, quick, b)
	waitSettled(t, a, b, c, d)
	checkTwoCopies(t, []*testNode{a, b, c, d}, keys)

	if err := a.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkTwoCopies(t, []*testNode{b, c, d}, keys)
	a.stop()
	waitSettled(t, b, c, d)

	b.crash()
	waitSettled(t, c, d)
	checkTwoCopies(t, []*testNode{c, d}, keys)

	if err := c.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		if key := fmt.Sprintf("key:%d", i); d.value(key) != key {
			t.Fatalf("the last node lacks %s", key)
		}
	}
	for _, n := range []*testNode{a, b, c, d} {
		if s := n.Stats(); s.Abandoned > 0 {
			t.Errorf("%s gave up on %d partitions", n.name, s.Abandoned)
		}
	}
}

// Two parts of a cluster that both took writes before they met keep the writes of both, and the newer of the same key, deletions included.
func TestPartsMerge(t *testing.T) {
	const keys = 500
	a, b := startNode(t, "a", 1), startNode(t, "b", 1)
	for i := range keys {
		a.put(fmt.Sprintf("key:%d", 2*i), fmt.Sprintf("key:%d", 2*i))
		b.put(fmt.Sprintf("key:%d", 2*i+1), fmt.Sprintf("key:%d", 2*i+1))
	}
	const deleted = 100 // mostly the only key of their partition: deletions count as something to hand over
	for i := range deleted {
		a.put(fmt.Sprintf("gone:%d", i), "older")
		b.put(fmt.Sprintf("gone:%d", i), "older")
	}
	b.put("both", "older")
	time.Sleep(2 * time.Millisecond) // versions count milliseconds
	a.put("both", "newer")
	for i := range deleted {
		if got := b.do("del", fmt.Sprintf("gone:%d", i)); got != ":1\r\n" {
			t.Fatalf("DEL: %q", got)
		}
	}
	c := startNode(t, "c", 1, a, b)
	waitSettled(t, a, b, c)
	waitFor(t, "all keys to have two copies", func() bool {
		for i := range 2 * keys {
			if key := fmt.Sprintf("key:%d", i); copies([]*testNode{a, b, c}, key, key) != 2 {
				return false
			}
		}
		return copies([]*testNode{a, b, c}, "both", "newer") == 2
	})
	waitFor(t, "what was deleted to be gone", func() bool {
		for i := range deleted {
			for _, n := range []*testNode{a, b, c} {
				if n.value(fmt.Sprintf("gone:%d", i)) != "" {
					return false
				}
			}
		}
		return true
	})
}

// A node that crashed and came back under its name holds nothing and is filled again, whether the others had noticed its
// end (it then gossips from another port) or not.
func TestNewInstanceIsFilledAgain(t *testing.T) {
	for _, samePort := range []bool{false, true} {
		t.Run(fmt.Sprintf("same_port=%v", samePort), func(t *testing.T) {
			nodes := startTunedCluster(t, 3, 1, quick)
			const keys = 300
			for i := range keys {
				key := fmt.Sprintf("key:%d", i)
				nodes[0].do("SET", key, key)
			}
			_, port, err := net.SplitHostPort(nodes[1].gossip)
			if err != nil {
				t.Fatal(err)
			}
			nodes[1].crash()
			nodes[1] = startTuned(t, "b", 1, func(cfg *Config, c *cluster.Config) {
				quick(cfg, c)
				if samePort {
					c.BindPort, _ = strconv.Atoi(port)
				}
			}, nodes[0])
			waitSettled(t, nodes...)
			checkTwoCopies(t, nodes, keys)
		})
	}
}

func (n *testNode) partition(key string) int {
	k := n.store.Key([]byte(key))
	return k.Partition()
}
