package clients

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// go-redis's ClusterClient knows one node and finds the others; one on loopback it finds alone.
func TestGoRedisClusterClient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		start func(*testing.T) []server
		nodes int32
	}{
		{"reachable", startReachable, 3},
		{"on loopback", startCluster, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			servers := tt.start(t)
			c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{servers[1].addr}, DialTimeout: patience, ReadTimeout: patience})
			defer c.Close()
			ctx := t.Context()
			var nodes atomic.Int32
			if err := c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
				nodes.Add(1)
				return node.Ping(ctx).Err()
			}); err != nil || nodes.Load() != tt.nodes {
				t.Errorf("the client sees %d nodes, %v; want %d", nodes.Load(), err, tt.nodes)
			}
			pipe := c.Pipeline()
			for i := range 300 {
				pipe.Set(ctx, fmt.Sprint("aware:", i), i, 0)
			}
			if _, err := pipe.Exec(ctx); err != nil {
				t.Fatal(err)
			}
			for i := range 300 {
				if v, err := c.Get(ctx, fmt.Sprint("aware:", i)).Int(); err != nil || v != i {
					t.Fatalf("key %d is %d, %v", i, v, err)
				}
			}
			if cmds, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Incr(ctx, "{aware}a")
				p.Incr(ctx, "{aware}b")
				return nil
			}); err != nil || len(cmds) != 2 {
				t.Errorf("a transaction on one slot: %v, %v", cmds, err)
			}
			// Whoever is asked answers, whatever slot it is.
			if n := servers[2].client(t, 3).MGet(ctx, "aware:1", "aware:2", "aware:3").Val(); len(n) != 3 || n[2] != "3" {
				t.Errorf("one of the nodes has %v", n)
			}
		})
	}
}
