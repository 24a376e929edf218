package health

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Confirm answers with what is so now, and a server that may have been started again has another life, in which nothing is
// known to be replayed.
func TestConfirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.lsn.Store(1000)
		f.replayed.Store(1000)
		m, err := New(Config{Servers: []string{"0", "1"}, Dial: f.dial})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(1500 * time.Millisecond)
		life := m.Life(1)
		if !m.ReplicaHasReplayed(1, 1000) || m.ReplicaHasReplayed(1, 1001) {
			t.Fatal("the position is not known")
		}
		probes, begin := f.probes.Load(), time.Now()
		if err := m.Confirm(ctx, 1); err != nil {
			t.Fatal(err)
		}
		if f.probes.Load() != probes+1 || time.Since(begin) > 100*time.Millisecond || m.Life(1) != life {
			t.Fatalf("%d probes in %v, life %d after %d", f.probes.Load()-probes, time.Since(begin), m.Life(1), life)
		}

		f.down.Store(true)
		if err := m.Confirm(ctx, 1); err == nil || m.ReplicaHasReplayed(1, 1) {
			t.Fatalf("a server that is down: %v", err)
		}
		f.replayed.Store(900) // it has crashed, and begins further back
		f.down.Store(false)
		if err := m.Confirm(ctx, 1); err != nil {
			t.Fatal(err)
		}
		if m.Life(1) == life || m.ReplicaHasReplayed(1, 901) || !m.ReplicaHasReplayed(1, 900) {
			t.Fatalf("life %d after %d, replayed %d", m.Life(1), life, m.positions.replayed[1].Load())
		}

		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := m.Confirm(ctx, 1); err == nil {
			t.Fatal("confirmed by nobody")
		}
		f.serving.Wait()
	})
}
