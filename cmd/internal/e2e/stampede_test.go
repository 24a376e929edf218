package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A stock client, a popular key, a thousand readers at once: with a rule, one of them has to make the value anew. Rules come
// and go by reloads.
func TestStampede(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	file := filepath.Join(tempDir(t), "outrigger.yaml")
	rules := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("cache_prefixes: "+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rules("{}")
	s := serve(t, "popular", nil, "--config="+file)
	s.ready(t, 1)
	c := cacheClient(t, s.cache)
	expired := func(key string) {
		t.Helper()
		if err := c.Set(ctx, key, "old", time.Millisecond).Err(); err != nil {
			t.Fatal(err)
		}
		eventually(t, key+" expires", func() error {
			if n, err := c.Exists(ctx, key).Result(); err != nil || n != 0 {
				return fmt.Errorf("%d, %w", n, err)
			}
			return nil
		})
	}
	reload := func(times int) {
		t.Helper()
		s.signal(t, syscall.SIGHUP)
		eventually(t, "reload", func() error {
			// Where a rule of "seen:" holds, the second who asks has the value.
			expired("seen:" + fmt.Sprint(times))
			if _, err := c.Get(ctx, "seen:"+fmt.Sprint(times)).Result(); !errors.Is(err, redis.Nil) {
				return fmt.Errorf("the first gets %w", err)
			}
			err := c.Get(ctx, "seen:"+fmt.Sprint(times)).Err()
			if stale := err == nil; stale != (times == 1) {
				return fmt.Errorf("the second gets %w", err)
			}
			return nil
		})
	}
	readers := func() (nils, olds int) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				v, err := c.Get(context.WithoutCancel(ctx), "page:1").Result()
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, redis.Nil):
					nils++
				case err == nil && v == "old":
					olds++
				default:
					t.Errorf("a reader gets %q, %v", v, err)
				}
			})
		}
		all.Wait()
		return nils, olds
	}

	expired("page:1")
	if nils, olds := readers(); nils != 1000 {
		t.Errorf("without a rule: %d got nothing, %d the old value", nils, olds)
	}
	rules(`{"page:": {stale: 1h, lease: 1h}, "seen:": {stale: 1h}}`)
	reload(1)
	expired("page:1")
	if nils, olds := readers(); nils != 1 || olds != 999 {
		t.Errorf("with a rule: %d got nothing, %d the old value", nils, olds)
	}
	if ttl, err := c.PTTL(ctx, "page:1").Result(); err != nil || ttl != -2 {
		t.Errorf("it lives for %v, %v", ttl, err)
	}
	claim, err := c.Do(ctx, "X.GETLEASE", "made:1", 60_000).Slice()
	if err != nil || len(claim) != 3 || claim[0] != "lease" || claim[1] != nil {
		t.Fatalf("%v, %v", claim, err)
	}
	if got, err := c.Do(ctx, "X.SETLEASE", "made:1", claim[2], "v", "EX", 60).Result(); got != "OK" || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	rules("{}")
	reload(2)
	if nils, olds := readers(); nils != 1000 {
		t.Errorf("when the rule is gone: %d got nothing, %d the old value", nils, olds)
	}
	s.signal(t, syscall.SIGTERM)
	s.exit(t, 0, 20*time.Second)
}
