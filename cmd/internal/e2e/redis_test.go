package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Whatever redis-cli does through one node, it finds through every other.
func TestRedisCLI(t *testing.T) {
	t.Parallel()
	nodes := shared.each("OUTRIGGER_NODES_REDIS_URLS")
	cli := func(url, command string) string {
		t.Helper()
		return strings.TrimSpace(shared.sh(t, "redis-cli -u "+url+" "+command))
	}
	var keys []string
	for i, url := range nodes {
		key := "cli:" + strconv.Itoa(i)
		keys = append(keys, key)
		for _, try := range []struct{ command, want string }{
			{"set " + key + " value" + key, "OK"},
			{"hset h" + key + " a 1 b 2", "2"},
			{"sadd s" + key + " x y z", "3"},
			{"-3 incrby n" + key + " 41", "41"},
			{"getx " + key, "ERR unknown command"},
			{"hincrby " + key + " a 1", "WRONGTYPE"},
		} {
			if got := cli(url, try.command); !strings.HasPrefix(got, try.want) {
				t.Errorf("%s through node %d: %q, want %q", try.command, i, got, try.want)
			}
		}
	}
	for i, url := range nodes {
		for _, key := range keys {
			for command, want := range map[string]string{
				"get " + key:          "value" + key,
				"hget h" + key + " b": "2",
				"scard s" + key:       "3",
				"get n" + key:         "41",
				"ttl " + key:          "-1",
			} {
				if got := cli(url, command); got != want {
					t.Errorf("%s through node %d: %q, want %q", command, i, got, want)
				}
			}
		}
		scanned := strings.Fields(cli(url, "--scan --pattern 'cli:*'"))
		slices.Sort(scanned)
		if !slices.Equal(slices.Compact(scanned), keys) {
			t.Errorf("a scan through node %d finds %v, want %v", i, scanned, keys)
		}
		if got := cli(url, "mget "+strings.Join(keys, " ")+" cli:none"); got != "valuecli:0\nvaluecli:1\nvaluecli:2" {
			t.Errorf("mget through node %d: %q", i, got)
		}
	}
	if got := cli(nodes[1], "del "+strings.Join(keys, " ")); got != "3" {
		t.Errorf("del of the 3 keys: %s", got)
	}
	if got := cli(nodes[2], "exists "+strings.Join(keys, " ")); got != "0" {
		t.Errorf("%s keys are left", got)
	}
}

func TestGoRedis(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{2, 3} {
		t.Run("RESP"+strconv.Itoa(protocol), func(t *testing.T) {
			var nodes []*redis.Client
			for _, url := range shared.each("OUTRIGGER_NODES_REDIS_URLS") {
				c := redis.NewClient(&redis.Options{Addr: strings.TrimPrefix(url, "redis://"), Protocol: protocol, MaxRetries: -1})
				t.Cleanup(func() { _ = c.Close() })
				nodes = append(nodes, c)
			}
			prefix := fmt.Sprintf("go%d:", protocol)
			t.Run("keys", func(t *testing.T) { everyNodeSeesKeys(t, nodes, prefix) })
			t.Run("counters", func(t *testing.T) { everyNodeCounts(t, nodes, prefix) })
			t.Run("expiry", func(t *testing.T) { everyNodeExpires(t, nodes, prefix) })
			t.Run("messages", func(t *testing.T) { everyNodeHears(t, nodes, prefix) })
		})
	}
}

func everyNodeSeesKeys(t *testing.T, nodes []*redis.Client, prefix string) {
	const keys = 300
	ctx := t.Context()
	name := func(i int) string { return prefix + strconv.Itoa(i) }
	var names []string
	var pairs []any
	for i := range keys {
		names = append(names, name(i))
		pairs = append(pairs, name(i), "old")
	}
	if err := nodes[0].MSet(ctx, pairs...).Err(); err != nil {
		t.Fatal(err)
	}
	// Each is written through another node than it is read through.
	for n, node := range nodes {
		pipe := node.Pipeline()
		for i := n; i < keys; i += len(nodes) {
			pipe.Set(ctx, name(i), i, 0)
			pipe.HSet(ctx, name(i)+":h", "field", i, "other", "x")
			pipe.SAdd(ctx, name(i)+":s", "a", i)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for n, node := range nodes {
		got, err := node.MGet(ctx, names...).Result()
		if err != nil || len(got) != keys {
			t.Fatalf("mget through node %d: %d values, %v", n, len(got), err)
		}
		pipe := node.Pipeline()
		for i := range keys {
			if got[i] != strconv.Itoa(i) {
				t.Errorf("%s through node %d is %v", name(i), n, got[i])
			}
			pipe.HGetAll(ctx, name(i)+":h")
			pipe.SMembers(ctx, name(i)+":s")
		}
		replies, err := pipe.Exec(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range keys {
			hash := replies[2*i].(*redis.MapStringStringCmd).Val()
			set := replies[2*i+1].(*redis.StringSliceCmd).Val()
			slices.Sort(set)
			if len(hash) != 2 || hash["field"] != strconv.Itoa(i) || !slices.Equal(set, []string{strconv.Itoa(i), "a"}) {
				t.Errorf("%s through node %d: %v and %v", name(i), n, hash, set)
			}
		}
		seen := map[string]bool{}
		for iter := node.Scan(ctx, 0, prefix+"*:h", 50).Iterator(); iter.Next(ctx); {
			seen[iter.Val()] = true
		}
		if len(seen) != keys {
			t.Errorf("a scan through node %d finds %d hashes, want %d", n, len(seen), keys)
		}
	}
	if n, err := nodes[1].Del(ctx, names...).Result(); err != nil || n != keys {
		t.Errorf("del of %d keys: %d, %v", keys, n, err)
	}
	if n, err := nodes[2].Exists(ctx, names...).Result(); err != nil || n != 0 {
		t.Errorf("%d keys exist after del, %v", n, err)
	}
}

// Increments through all nodes at once: each is counted once, and none is told the same number as another.
func everyNodeCounts(t *testing.T, nodes []*redis.Client, prefix string) {
	const each = 200
	key := prefix + "counter"
	told := make(chan int64, each*len(nodes))
	failed := make(chan error, len(nodes))
	for _, node := range nodes {
		go func() {
			for range each {
				n, err := node.Incr(t.Context(), key).Result()
				if err != nil {
					failed <- err
					return
				}
				told <- n
			}
			failed <- nil
		}()
	}
	for range nodes {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	close(told)
	seen := map[int64]bool{}
	for n := range told {
		if seen[n] {
			t.Errorf("%d was told twice", n)
		}
		seen[n] = true
	}
	for n, node := range nodes {
		if got, err := node.Get(t.Context(), key).Int(); err != nil || got != each*len(nodes) {
			t.Errorf("counter through node %d: %d, %v; want %d", n, got, err, each*len(nodes))
		}
	}
}

func everyNodeExpires(t *testing.T, nodes []*redis.Client, prefix string) {
	ctx := t.Context()
	const life = 400 * time.Millisecond
	key := prefix + "brief"
	begin := time.Now()
	if err := nodes[0].Set(ctx, key, "x", life).Err(); err != nil {
		t.Fatal(err)
	}
	for n, node := range nodes {
		ttl, err := node.PTTL(ctx, key).Result()
		if err != nil || ttl > life || ttl <= 0 && time.Since(begin) < life {
			t.Errorf("ttl through node %d: %v, %v", n, ttl, err)
		}
	}
	for n, node := range nodes {
		eventually(t, "expiry", func() error {
			asked := time.Now()
			err := node.Get(ctx, key).Err()
			switch {
			case err == nil && asked.Sub(begin) > life+time.Second:
				t.Fatalf("node %d still has it after %v", n, time.Since(begin))
			case err == nil:
				return errors.New("not yet")
			case !errors.Is(err, redis.Nil):
				return err
			case time.Since(begin) < life-10*time.Millisecond: // clocks in milliseconds
				t.Fatalf("node %d lost it after %v", n, time.Since(begin))
			}
			return nil
		})
	}
}

// A message published through any node reaches the subscribers of all.
func everyNodeHears(t *testing.T, nodes []*redis.Client, prefix string) {
	ctx := t.Context()
	var inboxes []<-chan *redis.Message
	for _, node := range nodes {
		sub := node.Subscribe(ctx, prefix+"news")
		t.Cleanup(func() { _ = sub.Close() })
		if _, err := sub.Receive(ctx); err != nil { // the confirmation
			t.Fatal(err)
		}
		inboxes = append(inboxes, sub.Channel())
	}
	for from, node := range nodes {
		text := "from " + strconv.Itoa(from)
		if err := node.Publish(ctx, prefix+"news", text).Err(); err != nil {
			t.Fatal(err)
		}
		for to, inbox := range inboxes {
			select {
			case m := <-inbox:
				if m.Payload != text {
					t.Errorf("node %d hears %q, want %q", to, m.Payload, text)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("node %d has not heard %q", to, text)
			}
		}
	}
}
