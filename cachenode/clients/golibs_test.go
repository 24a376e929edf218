package clients

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"
)

func TestRedislock(t *testing.T) {
	eachProtocol(t, func(t *testing.T, s server, c *redis.Client) {
		ctx := t.Context()
		locker, other := redislock.New(c), redislock.New(s.client(t, 3))
		lock, err := locker.Obtain(ctx, "lock", time.Minute, &redislock.Options{Metadata: "mine"})
		if err != nil || lock.Metadata() != "mine" {
			t.Fatalf("obtain: %v", err)
		}
		if _, err := other.Obtain(ctx, "lock", time.Minute, nil); !errors.Is(err, redislock.ErrNotObtained) {
			t.Errorf("obtain what another has: %v", err)
		}
		// Forgotten scripts are sent again.
		want(t, "OK")(c.ScriptFlush(ctx).Result())
		if err := lock.Refresh(ctx, 2*time.Minute, nil); err != nil {
			t.Errorf("refresh: %v", err)
		}
		if ttl, err := lock.TTL(ctx); err != nil || ttl <= time.Minute {
			t.Errorf("time left: %v, %v", ttl, err)
		}
		if err := lock.Release(ctx); err != nil {
			t.Errorf("release: %v", err)
		}
		if err := lock.Release(ctx); !errors.Is(err, redislock.ErrLockNotHeld) {
			t.Errorf("release twice: %v", err)
		}

		brief, err := other.Obtain(ctx, "lock", 50*time.Millisecond, nil)
		if err != nil {
			t.Fatal(err)
		}
		retry := &redislock.Options{RetryStrategy: redislock.LimitRetry(redislock.LinearBackoff(10*time.Millisecond), 1000)}
		if _, err := locker.Obtain(ctx, "lock", time.Minute, retry); err != nil {
			t.Fatalf("obtain after expiry: %v", err)
		}
		if err := brief.Refresh(ctx, time.Minute, nil); !errors.Is(err, redislock.ErrNotObtained) {
			t.Errorf("refresh what has expired: %v", err)
		}
		if err := brief.Release(ctx); !errors.Is(err, redislock.ErrLockNotHeld) {
			t.Errorf("release what another has: %v", err)
		}

		// One at a time.
		var inside, entered atomic.Int32
		var working sync.WaitGroup
		for range 5 {
			working.Go(func() {
				for range 5 {
					lock, err := locker.Obtain(ctx, "section", time.Minute, retry)
					if err != nil {
						t.Error(err)
						return
					}
					if inside.Add(1) != 1 {
						t.Error("two inside")
					}
					entered.Add(1)
					inside.Add(-1)
					if err := lock.Release(ctx); err != nil {
						t.Error(err)
					}
				}
			})
		}
		working.Wait()
		if entered.Load() != 25 {
			t.Errorf("entered %d times", entered.Load())
		}
	})
}

func TestGoRedisCache(t *testing.T) {
	eachProtocol(t, func(t *testing.T, s server, c *redis.Client) {
		ctx := t.Context()
		type thing struct {
			Name string
			N    int
		}
		plain := cache.New(&cache.Options{Redis: c})
		other := cache.New(&cache.Options{Redis: s.client(t, 2), LocalCache: cache.NewTinyLFU(100, time.Minute), StatsEnabled: true})
		set := func(item cache.Item) {
			t.Helper()
			item.Ctx = ctx
			if err := plain.Set(&item); err != nil {
				t.Fatal(err)
			}
		}
		var got thing
		if err := plain.Get(ctx, "k", &got); !errors.Is(err, cache.ErrCacheMiss) {
			t.Errorf("a miss: %v", err)
		}
		set(cache.Item{Key: "k", Value: thing{"a", 1}, TTL: time.Minute})
		set(cache.Item{Key: "k", Value: thing{"b", 2}, SetNX: true})
		set(cache.Item{Key: "none", Value: thing{"c", 3}, SetXX: true})
		for range 3 {
			if err := other.Get(ctx, "k", &got); err != nil || got != (thing{"a", 1}) {
				t.Errorf("got %+v, %v", got, err)
			}
		}
		if stats := other.Stats(); stats.Misses != 0 || stats.Hits == 0 {
			t.Errorf("stats: %+v", stats)
		}
		if plain.Exists(ctx, "none") || !plain.Exists(ctx, "k") {
			t.Error("what exists is wrong")
		}
		if ttl := c.TTL(ctx, "k").Val(); ttl <= 0 || ttl > time.Minute {
			t.Errorf("TTL: %v", ttl)
		}
		if err := plain.Delete(ctx, "k"); err != nil || plain.Exists(ctx, "k") {
			t.Errorf("delete: %v", err)
		}
		if err := other.GetSkippingLocalCache(ctx, "k", &got); !errors.Is(err, cache.ErrCacheMiss) {
			t.Errorf("deleted: %v", err)
		}

		// Once computes once for all who ask meanwhile, and then not at all.
		var computed atomic.Int32
		ask := func() {
			var got thing
			err := plain.Once(&cache.Item{Ctx: ctx, Key: "once", Value: &got, TTL: time.Minute, Do: func(*cache.Item) (any, error) {
				computed.Add(1)
				return thing{"computed", 7}, nil
			}})
			if err != nil || got != (thing{"computed", 7}) {
				t.Errorf("once: %+v, %v", got, err)
			}
		}
		var asking sync.WaitGroup
		for range 20 {
			asking.Go(ask)
		}
		asking.Wait()
		before := computed.Load()
		ask()
		if computed.Load() != before || before == 0 {
			t.Errorf("computed %d times, then %d", before, computed.Load())
		}
		failed := errors.New("no")
		err := plain.Once(&cache.Item{Ctx: ctx, Key: "failed", Value: &got, Do: func(*cache.Item) (any, error) { return nil, failed }})
		if !errors.Is(err, failed) || plain.Exists(ctx, "failed") {
			t.Errorf("a failure: %v", err)
		}
	})
}

// Locks and caches are one for the whole cluster.
func TestGoLibrariesInACluster(t *testing.T) {
	t.Parallel()
	servers := startCluster(t)
	ctx := t.Context()
	var clients []*redis.Client
	for _, s := range servers {
		clients = append(clients, s.client(t, 3))
	}
	for i := range 30 {
		key := "lock" + string(rune('a'+i))
		lock, err := redislock.Obtain(ctx, clients[i%3], key, time.Minute, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := redislock.Obtain(ctx, clients[(i+1)%3], key, time.Minute, nil); !errors.Is(err, redislock.ErrNotObtained) {
			t.Errorf("%s through another node: %v", key, err)
		}
		if err := lock.Release(ctx); err != nil {
			t.Error(err)
		}
		item := &cache.Item{Ctx: ctx, Key: "cache" + key, Value: i, TTL: time.Minute}
		if err := cache.New(&cache.Options{Redis: clients[i%3]}).Set(item); err != nil {
			t.Error(err)
		}
		var got int
		if err := cache.New(&cache.Options{Redis: clients[(i+2)%3]}).Get(ctx, item.Key, &got); err != nil || got != i {
			t.Errorf("%s through another node: %d, %v", item.Key, got, err)
		}
	}
}
