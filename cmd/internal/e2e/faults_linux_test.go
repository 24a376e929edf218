package e2e

import (
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A network on which everything takes 100 ms is slow, and nothing else: nobody is taken for dead, and nothing fails.
func TestDelay(t *testing.T) {
	t.Parallel()
	nw := newNetwork(t, 3)
	f := newRemoteFleet(t, nw.hosts)
	f.startAll(t)
	tr := startTraffic(t, f, 12, 20*time.Millisecond)
	tr.progress(t, 300)
	tr.phase.Store(1)
	nw.set(path{delay: 50 * time.Millisecond}, nw.hosts, nw.hosts)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		for _, n := range f {
			if s, err := n.state(t.Context()); err == nil && s.peers != len(f)-1 {
				t.Fatalf("%s sees %d others", n.name, s.peers)
			}
		}
	}
	tr.progress(t, 100)
	nw.heal()
	tr.stop()
	tr.noSurprise(t, tr.actors)
	for _, n := range f {
		tr.verify(t, n, "after a slow time")
	}
	tr.report(t)
	f.stop(t)
}

// Two nodes that started without seeing each other, and were used, become one cluster when they can.
func TestLonersMerge(t *testing.T) {
	t.Parallel()
	nw := newNetwork(t, 2)
	f := newRemoteFleet(t, nw.hosts)
	nw.set(cut, nw.hosts, nw.hosts)
	for _, n := range f {
		n.start(t)
	}
	for _, n := range f {
		n.ready(t)
		c := n.client(t)
		for i := range 100 {
			if err := c.Set(t.Context(), n.name+strconv.Itoa(i), i, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	nw.heal()
	f.settle(t)
	for _, n := range f {
		c := n.client(t)
		for _, by := range f {
			for i := range 100 {
				if got, err := c.Get(t.Context(), by.name+strconv.Itoa(i)).Int(); err != nil || got != i {
					t.Errorf("%s through %s: %d, %v", by.name+strconv.Itoa(i), n.name, got, err)
				}
			}
		}
	}
	f.stop(t)
}

// Twenty nodes that start at once find each other, and agree who owns what.
func TestTwentyNodesAtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 20)
	begin := time.Now()
	for _, n := range f {
		n.start(t)
	}
	f.settle(t)
	t.Logf("20 nodes agree after %v", time.Since(begin).Round(time.Millisecond))
	c := f[7].client(t)
	for i := range 200 {
		if err := c.Set(t.Context(), "k"+strconv.Itoa(i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range f {
		c := n.client(t)
		for i := i; i < 200; i += len(f) {
			if got, err := c.Get(t.Context(), "k"+strconv.Itoa(i)).Int(); err != nil || got != i {
				t.Errorf("k%d through %s: %d, %v", i, n.name, got, err)
			}
		}
	}
	for _, n := range f { // they would hand everything over, again and again
		n.signal(t, syscall.SIGINT)
	}
	for _, n := range f {
		n.exit(t, 0, 40*time.Second)
	}
}
