package cachenode

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// What is handed over keeps to the pace, which falls while the process is out of processor time, and rises again.
func TestPace(t *testing.T) {
	held := int64(7)
	p := newPacer(func() int64 { return held })
	now := time.Now()
	// send sends as much as it may until some time has passed, and tells how many bytes.
	send := func(d time.Duration, throttled bool) (bytes int) {
		for end := now.Add(d); now.Before(end); bytes += handoffBytes {
			if throttled {
				held++
			}
			if wait := p.take(now, handoffBytes); wait > 0 {
				now = now.Add(wait)
			}
		}
		return bytes
	}
	if got := send(4*time.Second, false); got < 4*paceMost*9/10 || got > 4*paceMost*11/10 {
		t.Errorf("%d bytes in 4 s", got)
	}
	send(4*time.Second, true)
	if got := send(4*time.Second, true); got > 5*paceLeast {
		t.Errorf("%d bytes in 4 s out of processor time", got)
	}
	send(8*time.Second, false)
	if got := send(time.Second, false); got < paceMost*8/10 {
		t.Errorf("%d bytes in a second after that", got)
	}
	if wait := p.take(now, 1<<40); wait > paceBehind {
		t.Errorf("a large entry is waited for %v", wait)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errLost)
	if err := p.wait(ctx, 1); !errors.Is(err, errLost) {
		t.Errorf("waiting ended with %v", err)
	}
}

// Of several partitions, what was read comes before what was not, and everything comes once.
func TestHottestFirst(t *testing.T) {
	n := lonelyNode(t, 0, store.AllKeysS3FIFO)
	var all []int
	const keys = 3000
	for i := range keys {
		key := fmt.Sprint("k", i)
		n.do(0, "set "+key+" v")
		if i%10 == 0 {
			n.do(0, "get "+key)
		}
	}
	for p := range store.Partitions {
		if n.store.CountPartition(p) > 0 {
			all = append(all, p)
		}
	}
	h := &handover{n: n, pl: n.placement.Load(), place: nobody}
	var order []string
	h.deliver = func(entry []byte) error {
		var e peer.Entry
		if _, err := peer.NextEntry(entry, &e); err != nil {
			t.Fatal(err)
		}
		order = append(order, string(e.Key))
		return nil
	}
	sorted, err := h.sendHot(all)
	if err != nil {
		t.Fatal(err)
	}
	hot := len(order)
	if hot != keys/10 || len(sorted) != len(all) {
		t.Errorf("%d are sent first, of %d of %d partitions", hot, len(sorted), len(all))
	}
	for _, p := range sorted {
		if err := h.send(p); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for _, key := range order {
		if seen[key] {
			t.Fatalf("%s comes twice", key)
		}
		seen[key] = true
	}
	if len(seen) != keys {
		t.Errorf("%d keys of %d are sent", len(seen), keys)
	}
}
