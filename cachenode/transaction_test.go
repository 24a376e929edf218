package cachenode

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Transactions run at the owner of their keys, whichever node the client is connected to.
func TestTransactionsInACluster(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	ctx := t.Context()
	keys := nodes[0].keyOfEach()
	for i, key := range keys {
		c := nodes[(i+1)%3].client(t, 2+i%2)
		conn := c.Conn()
		defer conn.Close()
		_, err := conn.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, key, 1, 0)
			p.Do(ctx, "PING")
			p.Incr(ctx, key)
			p.Do(ctx, "SELECT", 3)
			p.Set(ctx, key, "other", 0)
			p.Do(ctx, "SELECT", 0)
			p.Get(ctx, key)
			return nil
		})
		// The same key in another database is in another partition: of another node, unless it is chosen well.
		if err != nil && !strings.HasPrefix(err.Error(), "CROSSSLOT") {
			t.Fatal(err)
		}
		var results []redis.Cmder
		if results, err = conn.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, key, 1, 0)
			p.Do(ctx, "PING")
			p.Incr(ctx, key)
			p.Get(ctx, key)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := results[3].(*redis.StringCmd).Val(); got != "2" || results[1].(*redis.Cmd).Val() != "PONG" {
			t.Errorf("transaction on %s: %v", key, results)
		}
	}
	// Keys of several owners.
	c := nodes[0].client(t, 3)
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range keys {
			p.Set(ctx, key, "none", 0)
		}
		return nil
	})
	if err == nil || !strings.HasPrefix(err.Error(), "CROSSSLOT") || !strings.Contains(err.Error(), "hash tag") {
		t.Errorf("keys of several owners: %v", err)
	}
	for _, key := range keys {
		if got := c.Get(ctx, key).Val(); got != "2" {
			t.Errorf("%s is %q after a refused transaction", key, got)
		}
	}
}

// Counters that clients of all nodes change by WATCH, GET, MULTI, SET, EXEC lose nothing.
func TestWatchInACluster(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	keys := nodes[0].keyOfEach()
	const rounds = 40
	var wg sync.WaitGroup
	for _, n := range nodes {
		c := n.client(t, 3)
		for _, key := range keys {
			wg.Go(func() {
				for done := 0; done < rounds; {
					err := c.Watch(context.Background(), func(tx *redis.Tx) error {
						v, err := tx.Get(context.Background(), key).Int()
						if err != nil && !errors.Is(err, redis.Nil) {
							return err
						}
						_, err = tx.TxPipelined(context.Background(), func(p redis.Pipeliner) error {
							p.Set(context.Background(), key, v+1, 0)
							return nil
						})
						return err
					}, key)
					switch {
					case err == nil:
						done++
					case !errors.Is(err, redis.TxFailedErr):
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	for _, key := range keys {
		if got := nodes[0].client(t, 2).Get(t.Context(), key).Val(); got != fmt.Sprint(3*rounds) {
			t.Errorf("%s is %s after %d increments", key, got, 3*rounds)
		}
		if got := copies(nodes, key, fmt.Sprint(3*rounds)); got != 2 {
			t.Errorf("%s has %d copies", key, got)
		}
	}
}
