package cachenode

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
)

// Clients wait for keys of any node; whoever writes them serves them, through any node, and the other holder of the key
// learns of both.
func TestWaitingInACluster(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	ctx := t.Context()
	for _, key := range nodes[0].keyOfEach() {
		for j, n := range nodes {
			c := n.client(t, 2)
			var wg sync.WaitGroup
			wg.Go(func() {
				if got, err := c.BLPop(ctx, 0, key).Result(); err != nil || !slices.Equal(got, []string{key, "v"}) {
					t.Errorf("got %q %v", got, err)
				}
			})
			waitFor(t, "the client to wait", func() bool { return awaited(nodes, key) == 1 })
			if got, err := nodes[(j+1)%3].client(t, 2).RPush(ctx, key, "v", "w").Result(); got != 2 || err != nil {
				t.Error(got, err)
			}
			wg.Wait()
			if got := n.client(t, 2).LRange(ctx, key, 0, -1).Val(); !slices.Equal(got, []string{"w"}) {
				t.Errorf("%q is left", got)
			}
			held := 0
			for _, other := range nodes {
				if slices.Equal(other.items(key), []string{"w"}) {
					held++
				}
			}
			if held != 2 {
				t.Errorf("%d nodes hold %s", held, key)
			}
			n.client(t, 2).Del(ctx, key)
		}
	}
}

// What another node sends serves those who wait here.
func TestAppliedEntriesServe(t *testing.T) {
	for _, count := range []int{1, 2} {
		nodes := startCluster(t, count, 1)
		n, key := nodes[0], nodes[0].keyOfEach()[0]
		got := make(chan []string, 2)
		for range 2 {
			go func() { got <- n.client(t, 2).BLPop(context.Background(), 0, key).Val() }()
		}
		waitFor(t, "both to wait", func() bool {
			return strings.Contains(n.client(t, 2).Info(t.Context(), "clients").Val(), "blocked_clients:2\r\n")
		})
		e := store.Entry{Key: []byte(key), Kind: store.KindList, Version: uint64(time.Now().UnixMilli()) << 16, Items: [][]byte{[]byte("a"), []byte("b"), []byte("c")}}
		n.onLoops(t.Context(), func(w *worker) {
			if err := w.apply(w.wire.append(nil, &e)); err != nil {
				t.Error(err)
			}
		})
		if a, b := <-got, <-got; min(a[1], b[1]) != "a" || max(a[1], b[1]) != "b" {
			t.Errorf("%q %q", a, b)
		}
		for _, other := range nodes {
			if left := other.items(key); !slices.Equal(left, []string{"c"}) {
				t.Errorf("%s has %q", other.name, left)
			}
		}
	}
}

// awaited counts those who wait for a key.
func awaited(nodes []*testNode, key string) (count int) {
	for _, n := range nodes {
		n.store.Waiters(func(p int) bool { return p == n.store.Key([]byte(key)).Partition() }, func(*store.Waiter) { count++ })
	}
	return count
}

// items is what a node holds of a list.
func (n *testNode) items(key string) (items []string) {
	var e store.Entry
	if n.store.Entry([]byte(key), time.Now().UnixMilli(), &e) {
		for _, item := range e.Items {
			items = append(items, string(item))
		}
	}
	return items
}

// Who waits for a key that moves to another node waits on there.
func TestWaitingWhileTheRingChanges(t *testing.T) {
	a := startNode(t, "a", 2)
	ctx := t.Context()
	const clients = 20
	replies := make(chan error, clients)
	for i := range clients {
		c := a.client(t, 2)
		go func() { replies <- c.BLPop(ctx, 0, fmt.Sprint("key", i)).Err() }()
	}
	waitFor(t, "all to wait", func() bool {
		return strings.Contains(a.client(t, 2).Info(ctx, "clients").Val(), fmt.Sprintf("blocked_clients:%d\r\n", clients))
	})
	b := startNode(t, "b", 1, a)
	waitSettled(t, a, b)
	moved := 0
	for i := range clients {
		if a.placement.Load().owner[a.store.Key(fmt.Append(nil, "key", i)).Partition()] != self {
			moved++
		}
	}
	if moved == 0 || moved == clients {
		t.Fatal("moved", moved)
	}
	for i := range clients {
		b.client(t, 2).RPush(ctx, fmt.Sprint("key", i), "v")
	}
	for range clients {
		if err := <-replies; err != nil {
			t.Error(err)
		}
	}
}
