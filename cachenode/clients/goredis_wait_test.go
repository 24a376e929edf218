package clients

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// blocked waits until so many clients wait for keys.
func blocked(t *testing.T, c *redis.Client, count int) {
	t.Helper()
	eventually(t, "clients wait", func() bool {
		info, err := c.InfoMap(t.Context(), "clients").Result()
		return err == nil && info["Clients"]["blocked_clients"] == strconv.Itoa(count)
	})
}

func TestBlockingCommands(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ server, c *redis.Client) {
		ctx := t.Context()
		type popped struct {
			from, what string
			err        error
		}
		heard := make(chan popped, 3)
		// Those who came first are served first.
		for i := range 3 {
			go func() {
				got, err := c.BLPop(ctx, 20*time.Second, "a", "b").Result()
				if err != nil || len(got) != 2 {
					got = make([]string, 2)
				}
				heard <- popped{got[0], got[1] + " to " + strconv.Itoa(i), err}
			}()
			blocked(t, c, i+1)
		}
		for i := range 3 {
			want(t, int64(1))(c.RPush(ctx, "b", i).Result())
			if got := <-heard; got != (popped{"b", strconv.Itoa(i) + " to " + strconv.Itoa(i), nil}) {
				t.Errorf("turn %d: %+v", i, got)
			}
		}
		if err := c.BLPop(ctx, 50*time.Millisecond, "a").Err(); !errors.Is(err, redis.Nil) {
			t.Errorf("nothing came: %v", err)
		}

		var waiting sync.WaitGroup
		waiting.Go(func() { want(t, "x")(c.BLMove(ctx, "from", "to", "LEFT", "RIGHT", 20*time.Second).Result()) })
		waiting.Go(func() {
			key, all, err := c.BLMPop(ctx, 20*time.Second, "LEFT", 2, "none", "to").Result()
			if err != nil || key != "to" || !slices.Equal(all, []string{"x"}) {
				t.Errorf("BLMPOP: %s %v, %v", key, all, err)
			}
		})
		waiting.Go(func() {
			got, err := c.BZPopMin(ctx, 20*time.Second, "z").Result()
			if err != nil || got.Key != "z" || got.Member != "m" || got.Score != 3 {
				t.Errorf("BZPOPMIN: %v, %v", got, err)
			}
		})
		waiting.Go(func() {
			key, got, err := c.BZMPop(ctx, 20*time.Second, "max", 1, "z2").Result()
			if err != nil || key != "z2" || len(got) != 1 || got[0].Score != 4 {
				t.Errorf("BZMPOP: %s %v, %v", key, got, err)
			}
		})
		blocked(t, c, 4)
		want(t, int64(1))(c.RPush(ctx, "from", "x").Result())
		want(t, int64(1))(c.ZAdd(ctx, "z", redis.Z{Score: 3, Member: "m"}).Result())
		want(t, int64(1))(c.ZAdd(ctx, "z2", redis.Z{Score: 4, Member: "m"}).Result())
		waiting.Wait()

		// Who is let go takes nothing from others.
		waiting.Go(func() {
			if err := c.BLPop(ctx, 20*time.Second, "c").Err(); !redis.HasErrorPrefix(err, "UNBLOCKED") {
				t.Errorf("let go: %v", err)
			}
		})
		blocked(t, c, 1)
		want(t, int64(1))(c.ClientUnblockWithError(ctx, waitingClient(t, c)).Result())
		waiting.Wait()
		want(t, int64(1))(c.RPush(ctx, "c", "for others").Result())
		want(t, "for others")(c.LPop(ctx, "c").Result())
	})
}

// waitingClient is the id of a client that waits for keys.
func waitingClient(t *testing.T, c *redis.Client) (id int64) {
	t.Helper()
	list, err := c.ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(list) {
		if strings.Contains(line, " flags=b ") {
			fmt.Sscanf(line, "id=%d ", &id)
		}
	}
	return id
}

func TestStreamGroups(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ server, c *redis.Client) {
		ctx := t.Context()
		want(t, "OK")(c.XGroupCreateMkStream(ctx, "s", "g", "$").Result())
		// Three consumers, each entry to one of them.
		const entries = 60
		var mu sync.Mutex
		seen := map[string]int{}
		var working sync.WaitGroup
		for i := range 3 {
			working.Go(func() {
				consumer := strconv.Itoa(i)
				for {
					got, err := c.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: consumer, Streams: []string{"s", ">"}, Count: 5, Block: 20 * time.Second}).Result()
					if err != nil {
						t.Error(err)
						return
					}
					for _, m := range got[0].Messages {
						if m.Values["n"] == "end" {
							return
						}
						mu.Lock()
						seen[m.Values["n"].(string)]++
						mu.Unlock()
						if err := c.XAck(ctx, "s", "g", m.ID).Err(); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		for i := range entries {
			if err := c.XAdd(ctx, &redis.XAddArgs{Stream: "s", Values: map[string]any{"n": i}}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		// One end a consumer, one after the other: who has read one is gone.
		for left := 3; left > 0; left-- {
			if err := c.XAdd(ctx, &redis.XAddArgs{Stream: "s", Values: map[string]any{"n": "end"}}).Err(); err != nil {
				t.Fatal(err)
			}
			blocked(t, c, left-1)
		}
		working.Wait()
		for i := range entries {
			if seen[strconv.Itoa(i)] != 1 {
				t.Errorf("entry %d came %d times", i, seen[strconv.Itoa(i)])
			}
		}
		// What nobody acknowledged goes to another.
		pending, err := c.XPending(ctx, "s", "g").Result()
		if err != nil || pending.Count != 3 {
			t.Errorf("XPENDING: %+v, %v", pending, err)
		}
		claimed, _, err := c.XAutoClaim(ctx, &redis.XAutoClaimArgs{Stream: "s", Group: "g", Consumer: "heir", Start: "0"}).Result()
		if err != nil || len(claimed) != 3 {
			t.Errorf("XAUTOCLAIM: %v, %v", claimed, err)
		}
		if info, err := c.XInfoStreamFull(ctx, "s", 2).Result(); err != nil || info.Length != entries+3 || len(info.Groups) != 1 {
			t.Errorf("XINFO STREAM FULL: %+v, %v", info, err)
		}
		if groups, err := c.XInfoGroups(ctx, "s").Result(); err != nil || groups[0].Pending != 3 || groups[0].Lag != 0 {
			t.Errorf("XINFO GROUPS: %+v, %v", groups, err)
		}
	})
}

func TestPubSub(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ server, c *redis.Client) {
		ctx := t.Context()
		sub := c.Subscribe(ctx, "news")
		defer sub.Close()
		if err := sub.PSubscribe(ctx, "n?ws"); err != nil {
			t.Fatal(err)
		}
		inbox := sub.Channel()
		shard := c.SSubscribe(ctx, "shard")
		defer shard.Close()
		shardInbox := shard.Channel()
		eventually(t, "the subscriptions", func() bool {
			return c.PubSubNumSub(ctx, "news").Val()["news"] == 1 && c.PubSubNumPat(ctx).Val() == 1 && c.PubSubShardNumSub(ctx, "shard").Val()["shard"] == 1
		})
		hear := func(inbox <-chan *redis.Message) (pattern, text string) {
			select {
			case m := <-inbox:
				return m.Pattern, m.Payload
			case <-time.After(patience):
				t.Fatal("no message")
				return "", ""
			}
		}
		both := func(expected string) {
			heard := map[string]string{}
			for range 2 {
				pattern, text := hear(inbox)
				heard[pattern] = text
			}
			if heard[""] != expected || heard["n?ws"] != expected {
				t.Errorf("heard %v, want %q twice", heard, expected)
			}
		}
		want(t, int64(2))(c.Publish(ctx, "news", "one").Result())
		both("one")
		want(t, int64(1))(c.SPublish(ctx, "shard", "two").Result())
		if _, text := hear(shardInbox); text != "two" {
			t.Errorf("the shard's subscriber hears %q", text)
		}
		if channels := c.PubSubChannels(ctx, "*").Val(); !slices.Equal(channels, []string{"news"}) {
			t.Errorf("PUBSUB CHANNELS: %v", channels)
		}
		// A lost connection comes back, and with it the subscriptions.
		if n, err := c.ClientKillByFilter(ctx, "TYPE", "pubsub").Result(); err != nil || n != 2 {
			t.Errorf("CLIENT KILL: %d, %v", n, err)
		}
		heard := map[string]bool{}
		eventually(t, "both hear again", func() bool {
			if err := c.Publish(ctx, "news", "three").Err(); err != nil {
				t.Fatal(err)
			}
			for len(inbox) > 0 {
				heard[(<-inbox).Pattern] = true
			}
			return len(heard) == 2
		})
	})
}

// The client's own cache answers until the server says that a key has changed.
func TestClientSideCache(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx := t.Context()
	cached := connect(t, &redis.Options{Addr: s.addr, Protocol: 3, ClientSideCacheConfig: &redis.ClientSideCacheConfig{}})
	other := s.client(t, 3)
	gets := func() string {
		info, err := other.InfoMap(ctx, "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		return info["Commandstats"]["cmdstat_get"]
	}
	want(t, "OK")(other.Set(ctx, "k", "1", 0).Result())
	eventually(t, "it answers itself", func() bool {
		want(t, "1")(cached.Get(ctx, "k").Result())
		before := gets()
		want(t, "1")(cached.Get(ctx, "k").Result())
		return gets() == before
	})
	for _, change := range []struct {
		what string
		do   func() error
		want string
	}{
		{"set", func() error { return other.Set(ctx, "k", "2", 0).Err() }, "2"},
		{"set by itself", func() error { return cached.Set(ctx, "k", "3", 0).Err() }, "3"},
		{"expired", func() error { return other.PExpire(ctx, "k", 20*time.Millisecond).Err() }, ""},
		{"set again", func() error { return other.Set(ctx, "k", "4", 0).Err() }, "4"},
		{"flushed", func() error { return other.FlushAll(ctx).Err() }, ""},
	} {
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the key is "+change.what, func() bool { return cached.Get(ctx, "k").Val() == change.want })
	}
}

func TestKeyspaceNotifications(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ server, c *redis.Client) {
		ctx := t.Context()
		want(t, "OK")(c.ConfigSet(ctx, "notify-keyspace-events", "KEA").Result())
		sub := c.PSubscribe(ctx, "__key*@0__:*")
		defer sub.Close()
		inbox := sub.Channel()
		eventually(t, "the subscription", func() bool { return c.PubSubNumPat(ctx).Val() == 1 })
		want(t, "OK")(c.Set(ctx, "k", "v", 20*time.Millisecond).Result())
		for _, expected := range []string{
			"__keyspace@0__:k set", "__keyevent@0__:set k", "__keyspace@0__:k expire", "__keyevent@0__:expire k", "__keyspace@0__:k expired", "__keyevent@0__:expired k",
		} {
			select {
			case m := <-inbox:
				if got := m.Channel + " " + m.Payload; got != expected {
					t.Errorf("heard %q, want %q", got, expected)
				}
			case <-time.After(patience):
				t.Fatalf("no %q", expected)
			}
		}
	})
}
