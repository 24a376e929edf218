package respserver

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

// TestPurge holds a collection up and looks at who is served meanwhile.
func TestPurge(t *testing.T) {
	n := start(t, 1, nil)
	began, goOn := make(chan struct{}, 8), make(chan struct{})
	var running atomic.Int32
	n.purger.mu.Lock()
	n.purger.free = func() {
		if running.Add(1) > 1 {
			t.Error("two at a time")
		}
		began <- struct{}{}
		<-goOn
		running.Add(-1)
	}
	n.purger.mu.Unlock()

	a, b, c := n.dial(t), n.dial(t), n.dial(t)
	a.send("MEMORY PURGE\r\nECHO behind\r\n")
	<-began
	b.want("+PONG\r\n", "PING")
	b.want("+OK\r\n", "MULTI")
	b.want("+QUEUED\r\n", "MEMORY", "PURGE")
	b.want("*1\r\n+OK\r\n", "EXEC")
	before := n.Commands()
	c.send("CLIENT REPLY SKIP\r\nMEMORY PURGE\r\nMEMORY PURGE\r\n")
	eventually(t, "another one asks", func() bool { return n.Commands() >= before+2 })

	goOn <- struct{}{}
	for _, want := range []string{"+OK\r\n", "$6\r\nbehind\r\n"} {
		if got := a.read(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	<-began // shared by b and c
	goOn <- struct{}{}
	<-began // c's second
	goOn <- struct{}{}
	if got := c.read(); got != "+OK\r\n" {
		t.Fatalf("got %q", got)
	}

	// The server's end waits for one whose client has gone.
	a.send("MEMORY PURGE\r\n")
	<-began
	for _, gone := range []*client{a, b, c} {
		gone.nc.Close()
	}
	eventually(t, "all are gone", func() bool { return n.Clients() == 0 })
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Drain(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain while one runs: %v", err)
	}
	goOn <- struct{}{}
	if err := n.Drain(t.Context()); err != nil || running.Load() != 0 {
		t.Errorf("Drain: %v, %d running", err, running.Load())
	}
}
