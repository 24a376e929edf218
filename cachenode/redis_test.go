package cachenode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// client connects go-redis to a node.
func (n *testNode) client(t *testing.T, proto int) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: n.addr, Protocol: proto, MaxRetries: -1, PoolSize: 4})
	t.Cleanup(func() { c.Close() })
	return c
}

// must fails the test when a command fails.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// One Redis is seen through any node, by RESP2 and RESP3, whoever owns the keys.
func TestClientsSeeOneRedis(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	ctx := t.Context()
	for _, proto := range []int{2, 3} {
		var clients []*redis.Client
		for _, n := range nodes {
			clients = append(clients, n.client(t, proto))
		}
		str, num, all := must[string](t), must[int64](t), must[[]any](t)
		for i := range 60 {
			key := fmt.Sprintf("r%d:%d", proto, i)
			writer, reader := clients[i%3], clients[(i+1)%3]
			str(writer.Set(ctx, key, i, time.Minute).Result())
			if got := str(reader.Get(ctx, key).Result()); got != fmt.Sprint(i) {
				t.Fatalf("GET %s: %q", key, got)
			}
			if got := num(reader.IncrBy(ctx, key, 5).Result()); got != int64(i+5) {
				t.Fatalf("INCRBY %s: %d", key, got)
			}
			if ttl := must[time.Duration](t)(clients[(i+2)%3].TTL(ctx, key).Result()); ttl < 50*time.Second || ttl > time.Minute {
				t.Fatalf("TTL %s: %v", key, ttl)
			}
			num(writer.HSet(ctx, "h:"+key, "a", 1, "b", 2).Result())
			if got := must[map[string]string](t)(reader.HGetAll(ctx, "h:"+key).Result()); len(got) != 2 || got["b"] != "2" {
				t.Fatalf("HGETALL h:%s: %v", key, got)
			}
			num(writer.SAdd(ctx, "s:"+key, "x", "y").Result())
			if got := num(reader.SCard(ctx, "s:"+key).Result()); got != 2 {
				t.Fatalf("SCARD s:%s: %d", key, got)
			}
			if _, err := reader.Get(ctx, "missing:"+key).Result(); !errors.Is(err, redis.Nil) {
				t.Fatalf("GET of a missing key: %v", err)
			}
			if err := reader.Incr(ctx, "h:"+key).Err(); err == nil || !redis.HasErrorPrefix(err, "WRONGTYPE") {
				t.Fatalf("INCR of a hash: %v", err)
			}
		}
		var keys []string
		var want []any
		for i := range 60 {
			keys = append(keys, fmt.Sprintf("r%d:%d", proto, i))
			want = append(want, fmt.Sprint(i+5))
		}
		if got := all(clients[2].MGet(ctx, keys...).Result()); !slices.Equal(got, want) {
			t.Errorf("MGET: %v", got)
		}
		var found []string
		for it := clients[1].Scan(ctx, 0, fmt.Sprintf("r%d:*", proto), 20).Iterator(); it.Next(ctx); {
			found = append(found, it.Val())
		}
		slices.Sort(found)
		if found = slices.Compact(found); len(found) != 60 {
			t.Errorf("SCAN finds %d keys", len(found))
		}
		if got := num(clients[0].DBSize(ctx).Result()); got != 180 {
			t.Errorf("DBSIZE: %d", got)
		}
		if got := num(clients[1].Del(ctx, keys...).Result()); got != 60 {
			t.Errorf("DEL: %d", got)
		}
		str(clients[2].FlushAll(ctx).Result())
		if got := num(clients[0].DBSize(ctx).Result()); got != 0 {
			t.Errorf("DBSIZE after FLUSHALL: %d", got)
		}
	}
}

// The replies of a pipeline come in the order of its commands, though its keys are everywhere.
func TestPipelinesKeepOrder(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	for _, n := range nodes {
		c := n.client(t, 3)
		pipe := c.Pipeline()
		var replies []*redis.StringCmd
		const commands = 3000
		for i := range commands {
			key := fmt.Sprintf("k%d", i%500)
			pipe.Set(t.Context(), key, i, 0)
			replies = append(replies, pipe.Get(t.Context(), key))
			if i%50 == 0 {
				pipe.MGet(t.Context(), "k1", "k2", "k3", "k4")
			}
		}
		if _, err := pipe.Exec(t.Context()); err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
		for i, reply := range replies {
			if reply.Val() != fmt.Sprint(i) {
				t.Fatalf("%s: reply %d is %q, %v", n.name, i, reply.Val(), reply.Err())
			}
		}
	}
}

func TestSubscribersHearAllNodes(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var subs []*redis.PubSub
	for i, n := range nodes {
		sub := n.client(t, 2+i%2).Subscribe(ctx, "news")
		defer sub.Close()
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		subs = append(subs, sub)
	}
	const messages = 100
	publisher := nodes[0].client(t, 3)
	for i := range messages {
		if err := publisher.Publish(ctx, "news", i).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for at, sub := range subs {
		for i := range messages {
			m, err := sub.ReceiveMessage(ctx)
			if err != nil {
				t.Fatalf("subscriber at %s, message %d: %v", nodes[at].name, i, err)
			}
			if m.Payload != fmt.Sprint(i) {
				t.Fatalf("subscriber at %s hears %q as message %d", nodes[at].name, m.Payload, i)
			}
		}
	}
}

// A node without a cluster serves too, and never asks anybody.
func TestNodeAlone(t *testing.T) {
	n := startTuned(t, "alone", 1, func(cfg *Config, _ *cluster.Config) { cfg.Peers = nil })
	c := n.client(t, 3)
	for i := range 100 {
		if err := c.Set(t.Context(), fmt.Sprintf("k%d", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.MGet(t.Context(), "k1", "k99", "k100").Val(); !slices.Equal(got, []any{"1", "99", nil}) {
		t.Errorf("MGET: %v", got)
	}
	var found int
	for it := c.Scan(t.Context(), 0, "", 10).Iterator(); it.Next(t.Context()); found++ {
	}
	if found != 100 {
		t.Errorf("SCAN finds %d keys", found)
	}
	if err := n.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if s := n.Stats(); s.Keys != 100 || s.Owned != ring.Partitions || s.Replicated != 0 || s.Forwarded != 0 {
		t.Errorf("stats %+v", s)
	}
	if err := n.Leave(t.Context()); err != nil {
		t.Errorf("Leave: %v", err)
	}
}
