package cachenode

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/gossiptest"
)

// Until a node that has just started has found the others, its clients wait: alone it would tell them that there is nothing,
// and what they then write would win against all that the others have.
func TestCommandsWaitUntilTheOthersAreFound(t *testing.T) {
	t.Parallel()
	port := gossiptest.Port(t)
	later := &testNode{gossip: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	n := startTuned(t, "x", 1, func(*Config, *cluster.Config) {}, later)
	reply := make(chan string, 1)
	go func() { reply <- n.do("set", "k", "v") }()
	waitFor(t, "the command to wait", func() bool { return n.waitingCommands() == 1 })
	a := startTuned(t, "a", 1, func(_ *Config, c *cluster.Config) { c.BindPort = port })
	if got := <-reply; got != "+OK\r\n" {
		t.Errorf("SET: %q", got)
	}
	if got := a.do("get", "k"); got != "$1\r\nv\r\n" {
		t.Errorf("GET through the other node: %q", got)
	}
}

// They do not wait for ever, and are told why; and a node that finds nobody serves in the end.
func TestSearchEnds(t *testing.T) {
	t.Parallel()
	nobody := &testNode{gossip: "127.0.0.1:1"}
	n := startTuned(t, "x", 1, func(cfg *Config, _ *cluster.Config) { cfg.BackFillTimeout = time.Hour }, nobody)
	if got := n.do("get", "k"); !strings.HasPrefix(got, "-LOADING ") {
		t.Errorf("GET while nobody is found: %q", got)
	}
	patient := startTuned(t, "y", 1, func(cfg *Config, _ *cluster.Config) { cfg.BackFillTimeout = 100 * time.Millisecond }, nobody)
	if got := patient.do("get", "k"); got != "$-1\r\n" {
		t.Errorf("GET after the search: %q", got)
	}
}

// waitingCommands counts the commands that wait for a node.
func (n *testNode) waitingCommands() (count int) {
	n.onLoops(context.Background(), func(w *worker) { count += len(w.parked) })
	return count
}
