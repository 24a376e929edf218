package cachenode

import (
	"strings"
	"testing"
	"time"
)

// What a stopped process was asked is not executed when it goes on: it would come after what others have done since.
func TestStoppedProcessForgetsWhatItWasAsked(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, 1)
	a, b := nodes[0], nodes[1]
	key := a.place(t, b, a)
	if got := a.do("set", key, "1"); got != "+OK\r\n" {
		t.Fatalf("SET: %q", got)
	}
	resume := b.stall()
	defer resume()
	reply := make(chan string, 1)
	go func() { reply <- a.do("set", key, "old") }()
	waitFor(t, "the command to be on its way", func() bool { return a.Stats().Forwarded >= 2 })
	b.stalls.Add(1)
	resume()
	if got := <-reply; !strings.HasPrefix(got, "-TRYAGAIN ") {
		t.Errorf("SET to a stopped process: %q", got)
	}
	if got := b.do("get", key); got != "$1\r\n1\r\n" {
		t.Errorf("GET afterwards: %q", got)
	}
	if got := a.do("incr", key); got != ":2\r\n" {
		t.Errorf("INCR over a new connection: %q", got)
	}
}

// A beat that is late is a stall, and whoever looks first sees it.
func TestLateBeatIsAStall(t *testing.T) {
	n := startNode(t, "a", 1).Node
	waitFor(t, "the first beat", func() bool { return n.lastBeat.Load() != 0 })
	before := n.stalls.Load()
	n.lastBeat.Add(-int64(time.Hour))
	n.workers[0].loop.Post(func() { n.workers[0].stalled() })
	waitFor(t, "the stall to be seen", func() bool { return n.stalls.Load() > before && n.late() < time.Minute })
}
