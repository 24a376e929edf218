package respserver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// withTopology starts a server that shows what topology returns.
func withTopology(t *testing.T, topology func() Topology) *node {
	return start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.Topology = topology })
}

// slotsOf reads CLUSTER SLOTS: "host:port first-last".
func slotsOf(t *testing.T, c *redis.Client) (ranges []string) {
	t.Helper()
	all, err := c.Do(t.Context(), "cluster", "slots").Slice()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		slots := s.([]any)
		node := slots[2].([]any)
		ranges = append(ranges, fmt.Sprintf("%s:%d %d-%d", node[0], node[1], slots[0], slots[1]))
	}
	return ranges
}

func goRedis(t *testing.T, n *node, protocol int) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: n.addr, Protocol: protocol, MaxRetries: -1})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSlotsAreSpreadOverThoseWhoCanBeReached(t *testing.T) {
	t.Parallel()
	three := []TopologyNode{{Name: "a", Addr: "10.0.0.1:6379", Active: true}, {Name: "b", Addr: "10.0.0.2:6379", Active: true}, {Name: "c", Addr: "cache.example:6379", Active: true}}
	change := func(i int, f func(*TopologyNode)) []TopologyNode {
		nodes := append([]TopologyNode(nil), three...)
		f(&nodes[i])
		return nodes
	}
	for _, tt := range []struct {
		name  string
		nodes []TopologyNode
		self  int
		want  []string // "self" stands for where the client has connected
	}{
		{"all", three, 1, []string{"10.0.0.1:6379 0-5460", "10.0.0.2:6379 5461-10921", "cache.example:6379 10922-16383"}},
		{"one is leaving", change(0, func(n *TopologyNode) { n.Active = false }), 1, []string{"10.0.0.2:6379 0-8191", "cache.example:6379 8192-16383"}},
		{"one is on loopback", change(2, func(n *TopologyNode) { n.Addr = "" }), 0, []string{"10.0.0.1:6379 0-8191", "10.0.0.2:6379 8192-16383"}},
		{"this one is on loopback", change(1, func(n *TopologyNode) { n.Addr = "" }), 1, []string{"self 0-16383"}},
		{"alone, and leaving", []TopologyNode{{Name: "a", Addr: "10.0.0.1:6379"}}, 0, []string{"10.0.0.1:6379 0-16383"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := withTopology(t, func() Topology { return Topology{Epoch: 1<<64 - 1, Nodes: tt.nodes, Self: tt.self} })
			for _, protocol := range []int{2, 3} {
				c := goRedis(t, n, protocol)
				want := strings.ReplaceAll(fmt.Sprint(tt.want), "self", n.addr)
				if got := fmt.Sprint(slotsOf(t, c)); got != want {
					t.Errorf("RESP%d: slots are at %s, want %s", protocol, got, want)
				}
				shards, err := c.ClusterShards(t.Context()).Result()
				if err != nil {
					t.Fatal(err)
				}
				var all []string
				for _, s := range shards {
					all = append(all, fmt.Sprintf("%s:%d %d-%d", s.Nodes[0].Endpoint, s.Nodes[0].Port, s.Slots[0].Start, s.Slots[0].End))
				}
				if got := fmt.Sprint(all); got != want {
					t.Errorf("RESP%d: shards are %s, want %s", protocol, got, want)
				}
				text, err := c.ClusterNodes(t.Context()).Result()
				if err != nil || strings.Count(text, "\n") != len(tt.nodes) || strings.Count(text, "myself,master") != 1 {
					t.Errorf("RESP%d: %d nodes are\n%s%v", protocol, len(tt.nodes), text, err)
				}
				id, err := c.ClusterMyID(t.Context()).Result()
				if err != nil || len(id) != 40 || !strings.Contains(text, id) {
					t.Errorf("RESP%d: my id is %q, %v", protocol, id, err)
				}
				info, err := c.ClusterInfo(t.Context()).Result()
				if err != nil || !strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r\ncluster_size:%d\r\n", len(tt.nodes), len(tt.want))) {
					t.Errorf("RESP%d: CLUSTER INFO says\n%s%v", protocol, info, err)
				}
			}
		})
	}
}

// A client that would confine itself is not told of a cluster.
func TestStackExchangeSeesNoCluster(t *testing.T) {
	t.Parallel()
	c := withTopology(t, nil).dial(t)
	if got := c.do("CLUSTER", "NODES"); !strings.Contains(got, "myself,master") {
		t.Errorf("a client without a name is told %q", got)
	}
	c.want("+OK\r\n", "CLIENT", "SETINFO", "lib-name", "SE.Redis")
	c.want("-ERR This instance has cluster support disabled\r\n", "CLUSTER", "NODES")
}

// Slots are those that Redis computes.
func TestKeySlot(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int{"": 0, "123456789": 0x31c3, "{user1000}.following": keySlot([]byte("user1000")), "foo{}{bar}": keySlot([]byte("foo{}{bar}")),
		"foo{{bar}}zap": keySlot([]byte("{bar")), "foo{bar}{zap}": keySlot([]byte("bar")), "open{": keySlot([]byte("open{"))} {
		if got := keySlot([]byte(key)); got != want {
			t.Errorf("slot of %q is %d, want %d", key, got, want)
		}
	}
	if keySlot([]byte("foo{}{bar}")) == keySlot([]byte("bar")) {
		t.Error("an empty tag counts")
	}
	// As the documentation of CLUSTER KEYSLOT has them.
	c := goRedis(t, withTopology(t, nil), 3)
	for key, want := range map[string]int64{"somekey": 11058, "foo{hash_tag}": 2515, "bar{hash_tag}": 2515, "foo": 12182, "bar": 5061, "hello": 866} {
		if got, err := c.ClusterKeySlot(t.Context(), key).Result(); err != nil || got != want {
			t.Errorf("slot of %q is %d, %v; want %d", key, got, err, want)
		}
	}
}
