package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

// Each of five nodes is asked to end and started again, one after the other when the one before is ready, under load. No
// acknowledged write is lost, no value is wrong, and clients of the nodes that stay see no error.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 5)
	f.startAll(t)
	tr := startTraffic(t, f, 32, 20*time.Millisecond)
	tr.progress(t, 1000)
	tr.phase.Store(1)
	for _, n := range f {
		tr.expect(n, true)
		n.signal(t, syscall.SIGTERM)
		n.exit(t, 0, 40*time.Second)
		n.start(t)
		n.ready(t)
		tr.expect(n, false)
	}
	tr.progress(t, 500)
	tr.stop()
	f.settle(t)
	tr.noSurprise(t, tr.actors)
	for _, n := range f {
		tr.verify(t, n, "after a rolling restart")
	}
	tr.report(t)
	f.end(t, syscall.SIGTERM) // nobody is left to take anything
}

// kill -9 of a node under load, again and again: all that was acknowledged can be read through the others at once, as soon
// as they have noticed.
func TestKilledNode(t *testing.T) {
	t.Parallel()
	kills := 1
	if *soak {
		kills = 10
	}
	f := newFleet(t, 5)
	f.startAll(t)
	tr := startTraffic(t, f, 10, 20*time.Millisecond)
	tr.progress(t, 300)
	tr.phase.Store(1)
	var pauses []time.Duration
	for i := range kills {
		victim := f[i%len(f)]
		rest := f.without(victim)
		for _, n := range f { // what is on its way to the victim may fail
			tr.expect(n, true)
		}
		victim.kill()
		pauses = append(pauses, resume(t, rest[0], time.Now()))
		rest.settle(t)
		tr.recover(t, rest) // who comes back disturbs nobody
		victim.start(t)
		f.settle(t)
		tr.recover(t, fleet{victim})
		tr.progress(t, 100)
	}
	tr.stop()
	tr.noSurprise(t, tr.actors)
	for _, n := range f {
		tr.verify(t, n, "after a node was killed")
	}
	tr.report(t)
	slices.Sort(pauses)
	t.Logf("after %d kills all keys could be read again within %v (median), %v (longest)", kills, pauses[len(pauses)/2], pauses[len(pauses)-1])
	f.stop(t)
}

// resume reads all shared keys through a node at once, each until it is there, and tells how long that took.
func resume(t *testing.T, through *node, since time.Time) time.Duration {
	t.Helper()
	c := through.client(t)
	const (
		readers = 50
		longest = 15 * time.Second // 3 s are promised: beyond is not a busy machine
	)
	failed := make(chan error, readers)
	for r := range readers {
		go func() {
			for i := r; i < sharedKeys; i += readers {
				for {
					got, err := c.Get(t.Context(), sharedKey(i)).Result()
					if err == nil && got == sharedKey(i) {
						break
					}
					if time.Since(since) > longest {
						failed <- fmt.Errorf("%s is %q, %v", sharedKey(i), got, err)
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
			}
			failed <- nil
		}()
	}
	for range readers {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	return time.Since(since).Round(time.Millisecond)
}
