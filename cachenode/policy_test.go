package cachenode

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// withPolicies gives a node rules: keys that begin with l: are local, with s: single, with t: together.
func withPolicies(cfg *Config, _ *cluster.Config) {
	cfg.Layout = store.NewLayout(map[string]store.Home{"l:": store.Here, "t:": store.Together})
}

var policies = []store.Rule{{Prefix: "s:", Single: true}, {Prefix: "miss:", Miss: true}, {Prefix: "strong:", Strong: true}}

func startWithPolicies(t *testing.T, name string, tune func(*Config, *cluster.Config), join ...*testNode) *testNode {
	t.Helper()
	n := startTuned(t, name, 1, func(cfg *Config, c *cluster.Config) {
		withPolicies(cfg, c)
		tune(cfg, c)
	}, join...)
	n.SetRules(policies)
	return n
}

func startPolicies(t *testing.T, count int, tune func(*Config, *cluster.Config)) (nodes []*testNode) {
	t.Helper()
	for i := range count {
		nodes = append(nodes, startWithPolicies(t, string(rune('a'+i)), tune, nodes...))
	}
	waitSettled(t, nodes...)
	return nodes
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

const null = "$-1\r\n"

func TestCopies(t *testing.T) {
	const keys = 200
	nodes := startPolicies(t, 3, quick)
	a, b, c := nodes[0], nodes[1], nodes[2]
	ownedBy := map[string]string{} // of single keys: the owner
	for i := range keys {
		r, s, l := fmt.Sprintf("r:%d", i), fmt.Sprintf("s:%d", i), fmt.Sprintf("l:%d", i)
		for j, key := range []string{r, s} {
			if got := nodes[(i+j)%3].do("SET", key, key); got != "+OK\r\n" {
				t.Fatalf("SET %s: %q", key, got)
			}
		}
		for _, n := range nodes {
			if got := n.do("SET", l, n.name+l); got != "+OK\r\n" {
				t.Fatalf("SET %s: %q", l, got)
			}
		}
		for _, n := range nodes {
			if n.placement.Load().owner[ring.PartitionOf([]byte(s))] == self {
				ownedBy[s] = n.name
			}
		}
		if got := copies(nodes, r, r); got != 2 {
			t.Errorf("%s has %d copies", r, got)
		}
		if got := copies(nodes, s, s); got != 1 {
			t.Errorf("%s has %d copies", s, got)
		}
	}
	check := func(when string, gone string, alive ...*testNode) {
		t.Helper()
		for i := range keys {
			r, s, l := fmt.Sprintf("r:%d", i), fmt.Sprintf("s:%d", i), fmt.Sprintf("l:%d", i)
			for _, n := range alive {
				want := bulk(s)
				if ownedBy[s] == gone {
					want = null
				}
				for key, want := range map[string]string{r: bulk(r), s: want, l: bulk(n.name + l)} {
					if got := n.do("GET", key); got != want {
						t.Fatalf("%s, GET %s through %s: %q, want %q", when, key, n.name, got, want)
					}
				}
			}
			if got := copies(alive, s, s); got > 1 {
				t.Errorf("%s, %s has %d copies", when, s, got)
			}
		}
	}
	check("at first", "", a, b, c)

	c.crash()
	waitSettled(t, a, b)
	check("after a crash", "c", a, b)

	d := startWithPolicies(t, "d", quick, a)
	waitSettled(t, a, b, d)
	for i := range keys {
		l := fmt.Sprintf("l:%d", i)
		if got := d.do("SET", l, "d"+l); got != "+OK\r\n" {
			t.Fatal(got)
		}
	}
	check("after a join", "c", a, b, d)

	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.stop()
	waitSettled(t, a, d)
	check("after a leave", "c", a, d)
}

// Nothing is lost of single counters that are incremented everywhere while nodes join and leave.
func TestSingleKeysMoveWhole(t *testing.T) {
	nodes := startPolicies(t, 2, quick)
	const counters = 20
	var acknowledged [counters]atomic.Int64
	var unsure [counters]atomic.Int64
	var writers sync.WaitGroup
	var stop atomic.Bool
	write := func(n *testNode, gone *atomic.Bool) {
		writers.Go(func() {
			for i := 0; !stop.Load() && !gone.Load(); i++ {
				at := i % counters
				switch got := n.do("INCR", fmt.Sprintf("s:%d", at)); {
				case strings.HasPrefix(got, ":"):
					acknowledged[at].Add(1)
				default:
					unsure[at].Add(1)
				}
			}
		})
	}
	var never, bLeaves atomic.Bool
	write(nodes[0], &never)
	write(nodes[1], &bLeaves)
	c := startWithPolicies(t, "c", quick, nodes[0])
	write(c, &never)
	waitSettled(t, nodes[0], nodes[1], c)
	bLeaves.Store(true)
	if err := nodes[1].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	nodes[1].stop()
	waitSettled(t, nodes[0], c)
	stop.Store(true)
	writers.Wait()
	for i := range counters {
		var got int64
		fmt.Sscanf(nodes[0].do("INCRBY", fmt.Sprintf("s:%d", i), "0"), ":%d", &got)
		least := acknowledged[i].Load()
		if most := least + unsure[i].Load(); got < least || got > most {
			t.Errorf("s:%d is %d after %d to %d increments", i, got, least, most)
		}
	}
}

// A change of the rules gives single keys their second copy, or takes it away.
func TestRulesChange(t *testing.T) {
	nodes := startPolicies(t, 3, quick)
	for i := range 50 {
		for _, key := range []string{fmt.Sprintf("s:%d", i), fmt.Sprintf("r:%d", i)} {
			nodes[i%3].do("SET", key, key)
		}
	}
	count := func(prefix string, want int) func() bool {
		return func() bool {
			for i := range 50 {
				if key := fmt.Sprintf("%s%d", prefix, i); copies(nodes, key, key) != want {
					return false
				}
			}
			return true
		}
	}
	waitFor(t, "one copy of each single key", count("s:", 1))
	for _, n := range nodes {
		n.SetRules([]store.Rule{{Prefix: "r:", Single: true}})
	}
	waitFor(t, "two copies of what is single no more", count("s:", 2))
	waitFor(t, "one copy of what has become single", count("r:", 1))
}

// Each node's clients see their own local keys among those of the cluster, with every command.
func TestLocalKeys(t *testing.T) {
	nodes := startPolicies(t, 3, quick)
	clients := make([]*redis.Client, 3)
	ctx := t.Context()
	for i, n := range nodes {
		clients[i] = redis.NewClient(&redis.Options{Addr: n.addr})
		defer clients[i].Close()
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 {
		must(clients[i%3].Set(ctx, fmt.Sprintf("k%d", i), i, 0).Err())
	}
	for i, c := range clients {
		for j := range 10 * (i + 1) {
			must(c.Set(ctx, fmt.Sprintf("l:%d", j), nodes[i].name, 0).Err())
		}
		must(c.MSet(ctx, "l:x", 1, "l:y", 2).Err())
		must(c.Eval(ctx, "redis.call('incr', KEYS[1]) return redis.call('rpush', KEYS[2], 'v')", []string{"l:counter", "l:list"}).Err())
		_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Incr(ctx, "l:counter")
			p.RPush(ctx, "l:list", "w")
			return nil
		})
		must(err)
	}
	for i, c := range clients {
		local := 10*(i+1) + 4
		size, err := c.DBSize(ctx).Result()
		must(err)
		keys, err := c.Keys(ctx, "*").Result()
		must(err)
		own, err := c.Keys(ctx, "l:*").Result()
		must(err)
		if int(size) != 60+local || len(keys) != 60+local || len(own) != local {
			t.Errorf("%s counts %d keys, lists %d, %d of them local; want %d with %d", nodes[i].name, size, len(keys), len(own), 60+local, local)
		}
		for _, count := range []int64{1, 7, 100, 10_000} {
			seen := map[string]bool{}
			for cursor := uint64(0); ; {
				var page []string
				page, cursor, err = c.Scan(ctx, cursor, "", count).Result()
				must(err)
				for _, key := range page {
					seen[key] = true
				}
				if cursor == 0 {
					break
				}
			}
			if len(seen) != 60+local {
				t.Errorf("a scan of %d through %s sees %d keys, want %d", count, nodes[i].name, len(seen), 60+local)
			}
		}
		if got := c.Get(ctx, "l:3").Val(); got != nodes[i].name {
			t.Errorf("%s has %q, of another node", nodes[i].name, got)
		}
		if got := c.Get(ctx, "l:counter").Val(); got != "2" {
			t.Errorf("%s counts %s", nodes[i].name, got)
		}
	}
	// They are written to the snapshot, although the others have all the rest.
	path := t.TempDir() + "/snapshot"
	if saved, err := nodes[1].SaveSnapshot(path); err != nil || saved != 24 {
		t.Errorf("%d keys are saved, %v", saved, err)
	}
	fresh := startWithPolicies(t, "x", quick)
	if loaded, err := fresh.LoadSnapshot(path); err != nil || loaded != 24 || fresh.do("GET", "l:3") != bulk("b") {
		t.Errorf("%d keys are loaded, %v", loaded, err)
	}
	must(clients[0].FlushAll(ctx).Err())
	for i, c := range clients {
		if size := c.DBSize(ctx).Val(); size != 0 {
			t.Errorf("%s has %d keys after FLUSHALL", nodes[i].name, size)
		}
	}
}

// Colocated keys have one owner, whichever keys they are.
func TestColocatedKeys(t *testing.T) {
	nodes := startPolicies(t, 3, quick)
	var args []string
	for i := range 50 {
		args = append(args, fmt.Sprintf("t:%d:{%d}", i, i))
	}
	script := "for i, k in ipairs(KEYS) do redis.call('incrby', k, i) end return redis.call('mget', unpack(KEYS))"
	for i, n := range nodes {
		got := n.do(append([]string{"EVAL", script, "50"}, args...)...)
		if want := fmt.Sprintf("$%d\r\n%d\r\n", len(fmt.Sprint((i+1)*50)), (i+1)*50); !strings.HasSuffix(got, want) {
			t.Errorf("EVAL through %s: %q", n.name, got)
		}
		if got := n.do("SUNIONSTORE", "t:to", "t:from", fmt.Sprintf("t:also%d", i)); got != ":0\r\n" {
			t.Errorf("SUNIONSTORE through %s: %q", n.name, got)
		}
	}
	if got := nodes[0].do("EVAL", "return 1", "2", "t:1", "u:1"); !strings.HasPrefix(got, "-CROSSSLOT") && got != ":1\r\n" {
		t.Errorf("a key with the prefix and one without: %q", got)
	}
	keys := nodes[0].keyOfEach()
	if got := nodes[0].do("EVAL", "return 1", "2", keys[1], keys[2]); !strings.Contains(got, "HINT: ") || !strings.Contains(got, "colocate") || !strings.Contains(got, "{hash tag}") {
		t.Errorf("the error does not say what to do: %q", got)
	}
}

// Where a rule says so a read of an owner that does not answer finds nothing; a write, and any other read, fails and says why.
func TestUnreachableIsMissing(t *testing.T) {
	nodes := startPolicies(t, 3, func(cfg *Config, _ *cluster.Config) { cfg.PeerTimeout = 300 * time.Millisecond })
	a, b, c := nodes[0], nodes[1], nodes[2]
	key := ""
	for i := 0; ; i++ {
		if key = fmt.Sprintf("miss:%d", i); a.owns(c, key) {
			break
		}
	}
	plain, here := a.place(t, c, b), a.place(t, a, b)
	for _, k := range []string{key, plain, here} {
		if got := a.do("SET", k, "v"); got != "+OK\r\n" {
			t.Fatal(got)
		}
	}
	resume := c.stall()
	for _, tt := range []struct{ command, want string }{
		{"GET " + key, null},
		{"MGET " + key + " " + key, "*2\r\n" + null + null},
		{"HGETALL " + key, "*0\r\n"},
		{"EXISTS " + key, ":0\r\n"},
		{"TTL " + key, ":-2\r\n"},
		{"GET " + plain, "-TRYAGAIN"},
		{"SET " + key + " w", "-TRYAGAIN"},
		{"MGET " + key + " " + plain, "-TRYAGAIN"},
	} {
		if got := a.do(strings.Fields(tt.command)...); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.command, got, tt.want)
		} else if tt.want[0] == '-' && !strings.Contains(got, "HINT") {
			t.Errorf("%s: no hint in %q", tt.command, got)
		}
	}
	if got := a.Stats().Missed; got != 5 {
		t.Errorf("%d reads are counted as missed", got)
	}
	resume()
	waitFor(t, "the owner to answer", func() bool { return a.do("GET", plain) == bulk("v") })
}

// owns tells whether n takes owner for the owner of key.
func (n *testNode) owns(owner *testNode, key string) bool {
	pl := n.placement.Load()
	place := pl.owner[n.store.PartitionOf([]byte(key))]
	return place == self && owner == n || place >= 0 && pl.peers[place].name == owner.name
}

func TestMinMembers(t *testing.T) {
	nodes := startTunedCluster(t, 3, 1, func(cfg *Config, c *cluster.Config) {
		quick(cfg, c)
		cfg.MinMembers = 2
	})
	a := nodes[0]
	client := redis.NewClient(&redis.Options{Addr: a.addr})
	defer client.Close()
	ctx := t.Context()
	if err := client.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	nodes[1].crash()
	waitSettled(t, a, nodes[2])
	if err := client.Set(ctx, "k", "w", 0).Err(); err != nil {
		t.Errorf("two of three do not write: %v", err)
	}
	nodes[2].crash()
	waitFor(t, "a to be alone", func() bool { return len(a.placement.Load().peers) == 0 })
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.HasPrefix(err.Error(), "NOREPLICAS") || !strings.Contains(err.Error(), "HINT: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("SET", client.Set(ctx, "k", "x", 0).Err())
	refused("DEL", client.Del(ctx, "k").Err())
	refused("FLUSHALL", client.FlushAll(ctx).Err())
	refused("a script that writes", client.Eval(ctx, "return redis.call('set', KEYS[1], 'x')", []string{"k"}).Err())
	got, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Get(ctx, "k"); p.Set(ctx, "k", "x", 0); return nil })
	refused("a transaction that writes", err)
	if v := got[0].(*redis.StringCmd).Val(); v != "w" {
		t.Errorf("the read in it gives %q", v)
	}
	if v, err := client.Get(ctx, "k").Result(); v != "w" {
		t.Errorf("a read gives %q, %v", v, err)
	}
	if v, err := client.Eval(ctx, "return redis.call('get', KEYS[1])", []string{"k"}).Text(); v != "w" {
		t.Errorf("a script that reads gives %q, %v", v, err)
	}
	b := startTuned(t, "b", 1, func(cfg *Config, c *cluster.Config) { quick(cfg, c); cfg.MinMembers = 2 }, a)
	waitSettled(t, a, b)
	if err := client.Set(ctx, "k", "y", 0).Err(); err != nil {
		t.Errorf("with a member back: %v", err)
	}
}

// A cluster that is restarted node by node with a new prefix that is colocated, while the keys are written, ends with all of
// them where the new rule says, each with the newest value.
func TestLayoutChangesNodeByNode(t *testing.T) {
	layout := store.NewLayout(map[string]store.Home{"bull:": store.Together})
	with := func(l *store.Layout) func(*Config, *cluster.Config) {
		return func(cfg *Config, c *cluster.Config) {
			quick(cfg, c)
			cfg.Layout, c.Rules = l, l.Hash()
		}
	}
	nodes := startTunedCluster(t, 3, 1, with(nil))
	const keys = 200
	written := make([]int, keys) // the number that was written last
	write := func() {
		for i := range written {
			n := nodes[i%3]
			if got := n.do("SET", fmt.Sprintf("bull:%d", i), fmt.Sprint(written[i]+1)); got != "+OK\r\n" {
				t.Fatalf("SET through %s: %q", n.name, got)
			}
			written[i]++
		}
	}
	write()
	for i, n := range nodes {
		if err := n.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.stop()
		nodes[i] = startTuned(t, n.name, 1, with(layout), nodes[(i+1)%3])
		want := 2 - i
		waitFor(t, "the nodes to see each other", func() bool {
			for _, n := range nodes {
				if len(n.placement.Load().peers) != 2 {
					return false
				}
			}
			return nodes[i].Stats().Misplaced == want && nodes[i].missing(nodes[i].placement.Load()) == 0
		})
		if i < 2 {
			write()
		}
	}
	waitFor(t, "all keys to be where the new layout has them", func() bool {
		for i, want := range written {
			if copies(nodes, fmt.Sprintf("bull:%d", i), fmt.Sprint(want)) != 2 {
				return false
			}
		}
		return true
	})
	waitSettled(t, nodes...)
	args := []string{"EVAL", "return redis.call('mget', unpack(KEYS))", fmt.Sprint(keys)}
	for i := range written {
		args = append(args, fmt.Sprintf("bull:%d", i))
	}
	for _, n := range nodes {
		var want strings.Builder
		for _, v := range written {
			want.WriteString(bulk(fmt.Sprint(v)))
		}
		if got := n.do(args...); got != fmt.Sprintf("*%d\r\n%s", keys, want.String()) {
			t.Errorf("through %s: %.200q", n.name, got)
		}
		if got := n.do("DBSIZE"); got != fmt.Sprintf(":%d\r\n", keys) {
			t.Errorf("%s counts %q keys", n.name, got)
		}
	}
}
