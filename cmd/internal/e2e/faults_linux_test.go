package e2e

import (
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A cluster is cut in two: both parts go on alone. When they meet again nobody has lost what he wrote last, on whichever
// side, and all nodes say the same.
func TestPartitionAndHeal(t *testing.T) {
	t.Parallel()
	nw := newNetwork(t, 5)
	f := newRemoteFleet(t, nw.hosts)
	f.startAll(t)
	most, few := f[:3], f[3:]
	tr := startTraffic(t, f, 10, 20*time.Millisecond)
	tr.progress(t, 300)
	tr.phase.Store(1)
	tr.set(t, breaking)
	for _, n := range f { // who asks for a key of the other part hears that its owner is gone
		tr.expect(n, true)
	}
	nw.set(cut, most.hosts(), few.hosts())
	nw.set(cut, few.hosts(), most.hosts())
	for _, part := range []fleet{most, few} {
		eventually(t, "each part goes on", func() error { return part.met(t.Context()) })
	}
	for _, n := range f {
		tr.expect(n, false)
	}
	tr.set(t, apart)
	tr.progress(t, 300)
	tr.set(t, breaking) // what is pushed now may meet a list of the other part before ours has arrived there
	nw.heal()
	f.settle(t)
	tr.set(t, whole)
	tr.progress(t, 300)
	tr.stop()
	tr.noSurprise(t, tr.actors)
	for _, n := range f {
		tr.verify(t, n, "after a partition")
	}
	tr.report(t)
	f.stop(t)
}

// What one node says to another, or to all, gets lost, while it hears all that is said.
func TestOneWayLoss(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		deaf int // of four others
	}{{"to one", 1}, {"to all", 4}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nw := newNetwork(t, 5)
			f := newRemoteFleet(t, nw.hosts)
			f.startAll(t)
			tr := startTraffic(t, f, 10, 20*time.Millisecond)
			tr.progress(t, 300)
			tr.phase.Store(1)
			if tt.deaf > 1 { // they do not hear that the node is alive
				tr.set(t, breaking)
			}
			for _, n := range f {
				tr.expect(n, true)
			}
			nw.set(cut, f[:1].hosts(), f[1:1+tt.deaf].hosts())
			time.Sleep(5 * time.Second) // long enough to be taken for dead
			tr.progress(t, 100)
			nw.heal()
			f.settle(t)
			tr.recover(t, f)
			tr.set(t, whole)
			tr.progress(t, 300)
			tr.stop()
			tr.noSurprise(t, tr.actors)
			for _, n := range f {
				tr.verify(t, n, "after one-way loss")
			}
			tr.report(t)
			f.stop(t)
		})
	}
}

// A node is stopped for long enough to be taken for dead, and goes on as if nothing had happened. Nothing that it holds, or
// was about to do, comes back over what has happened meanwhile.
func TestStoppedNodeReturns(t *testing.T) {
	t.Parallel()
	away := 5 * time.Second
	if *soak {
		away = 30 * time.Second
	}
	f := newFleet(t, 4)
	f.startAll(t)
	tr := startTraffic(t, f, 16, 10*time.Millisecond)
	tr.progress(t, 500)
	tr.phase.Store(1)
	victim := f[0]
	for _, n := range f {
		tr.expect(n, true)
	}
	stopped := time.Now()
	victim.signal(t, syscall.SIGSTOP)
	rest := f.without(victim)
	eventually(t, "the others go on", func() error { return rest.met(t.Context()) })
	for _, n := range rest {
		tr.expect(n, false)
	}
	tr.progress(t, 300)
	time.Sleep(time.Until(stopped.Add(away)))
	tr.set(t, breaking) // until it hears that it was away, it says what it knows
	victim.signal(t, syscall.SIGCONT)
	f.settle(t)
	tr.expect(victim, false)
	tr.set(t, whole)
	tr.progress(t, 300)
	tr.stop()
	tr.noSurprise(t, tr.actors)
	for _, n := range f {
		tr.verify(t, n, "after a node was stopped")
	}
	tr.report(t)
	f.stop(t)
}

// A node that ends, in whatever way, and starts again on another machine under its name is the same member.
func TestAddressChangesOnRestart(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			nw := newNetwork(t, 4)
			f := newRemoteFleet(t, nw.hosts[:3])
			f.startAll(t)
			tr := startTraffic(t, f, 6, 20*time.Millisecond)
			tr.progress(t, 300)
			tr.phase.Store(1)
			for _, n := range f {
				tr.expect(n, true)
			}
			mover := f[1]
			mover.signal(t, sig)
			<-mover.ended
			mover.moveTo(nw.hosts[3])
			mover.start(t)
			begin := time.Now()
			f.settle(t)
			t.Logf("agreed %v after the start", time.Since(begin).Round(time.Millisecond))
			for _, n := range f {
				tr.expect(n, false)
			}
			tr.progress(t, 300)
			tr.stop()
			tr.noSurprise(t, tr.actors)
			for _, n := range f {
				tr.verify(t, n, "after a change of address")
			}
			tr.report(t)
			f.stop(t)
		})
	}
}

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
	f.stop(t)
}
