package cachenode

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cluster"
)

// Nodes that have what they should have leave each other alone.
func TestNothingIsSentAtRest(t *testing.T) {
	t.Parallel()
	var dials atomic.Int64
	nodes := startTunedCluster(t, 3, 1, func(cfg *Config, _ *cluster.Config) {
		cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			dials.Add(1)
			return dialTCP(ctx, addr)
		}
	})
	for i := range 100 {
		nodes[0].do("SET", fmt.Sprint("key:", i), "v")
	}
	// The last passes that have anything to say end within a moment; from then on two sweeps pass in silence.
	var before int64
	var since time.Time
	waitFor(t, "nodes to fall silent", func() bool {
		if now := dials.Load(); now != before {
			before, since = now, time.Now()
		}
		return time.Since(since) > 2*sweepEvery+sweepEvery/2
	})
	for _, n := range nodes {
		if s := n.Stats(); s.Missing > 0 {
			t.Errorf("%s lacks %d partitions", n.name, s.Missing)
		}
	}
}
