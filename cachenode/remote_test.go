package cachenode

import (
	"slices"
	"testing"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// startWithout runs a cluster of which one node owns everything and the other, which is returned, nothing.
func startWithout(t *testing.T) *testNode {
	t.Helper()
	nodes := startCluster(t, 2, 2)
	n := nodes[1]
	if err := n.cluster.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		waitFor(t, "the node to own nothing", func() bool {
			pl := n.placement.Load()
			nodes[0].do(append([]string{"EXISTS"}, everyKey...)...) // by which it hears that the other has the same ring
			for p := range pl.owner {
				if n.complete[p].Load() != n.settled(pl, p) {
					return false
				}
			}
			return slices.Contains([]int{0, ring.Partitions}, n.Stats().Owned)
		})
	}
	return n
}

// alone tells whether a command needs a node that is alone, as docs/commands.md or the protocol say.
func (p *twins) alone(args []string) bool {
	args = lower(args)
	switch args[0] {
	case "wait", "move":
		return true
	case "copy", "sort", "sort_ro": // of other databases, by other keys
		return len(args) > 3
	case "script", "keys", "dbsize", "flushall", "flushdb", "scan", "randomkey":
		return p.way != "plain"
	}
	return false
}

// TestEveryCommandThroughANodeWithoutKeys is TestEveryCommandAgainstRedis with every key at another node.
func TestEveryCommandThroughANodeWithoutKeys(t *testing.T) {
	compareWithRedis(t, startWithout(t).addr, 10, true)
}
