package cachenode

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
)

// What a command changes is at its backup before it is acknowledged, whatever the kind of the key: the times of a hash's
// fields and the groups of a stream too. It is the same there when the owner has gone.
func TestKindsHaveTwoCopies(t *testing.T) {
	nodes := startCluster(t, 2, 1)
	client := redis.NewClient(&redis.Options{Addr: nodes[0].addr})
	defer client.Close()
	payload := func(n *testNode, key string) []byte {
		var e store.Entry
		if !n.store.Entry([]byte(key), time.Now().UnixMilli(), &e) {
			return nil
		}
		return store.AppendPayload(nil, &e)
	}
	var keys []string
	for i := range 20 {
		for _, lines := range [][]string{
			{"hset K a 1 b 2 c 3", "hexpire K 1000 FIELDS 2 a b", "hpersist K FIELDS 1 b", "hincrby K a 5"},
			{"xadd K 5-1 f v", "xadd K 5-2 f w", "xgroup CREATE K g 0", "xreadgroup GROUP g c STREAMS K >", "xack K g 5-1", "xdel K 5-1"},
			{"rpush K 3 1 2", "sort K STORE K"},
			{"set K v", "delifeq K x", "increx K2{K} BYINT 5"},
		} {
			key := fmt.Sprintf("%s:%d", strings.Fields(lines[0])[0], i)
			keys = append(keys, key)
			for _, line := range lines {
				var args []any
				for _, word := range strings.Fields(strings.ReplaceAll(line, "K", key)) {
					args = append(args, word)
				}
				if args[1] == key+"2{"+key+"}" {
					keys = append(keys, args[1].(string))
				}
				if err := client.Do(t.Context(), args...).Err(); err != nil {
					t.Fatalf("%q: %v", args, err)
				}
			}
		}
	}
	for _, key := range keys {
		if a, b := payload(nodes[0], key), payload(nodes[1], key); a == nil || !bytes.Equal(a, b) {
			t.Errorf("%s: %q and %q", key, a, b)
		}
	}
}
