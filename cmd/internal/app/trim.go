package app

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	// trimEvery is how often the number of clients is looked at.
	trimEvery = 2 * time.Second
	// trimCrowd is by how many clients it must have changed for memory to be given back.
	trimCrowd = 500
)

// trimmer gives memory back to the system once a crowd of clients has come or gone: what logging in takes is garbage then,
// which Go would keep until the heap has grown by as much again, and idle clients never make it grow.
type trimmer struct {
	clients func() int
	free    func()

	freed int // clients, when memory was given back last
	seen  int // at the last look
}

func newTrimmer(clients func() int) *trimmer {
	return &trimmer{clients: clients, free: debug.FreeOSMemory}
}

// run looks until ctx ends.
func (t *trimmer) run(ctx context.Context) error {
	ticker := time.NewTicker(trimEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			t.look()
		}
	}
}

// look gives memory back if a crowd has come or gone, and stands still.
func (t *trimmer) look() {
	n := t.clients()
	calm := abs(n-t.seen) < trimCrowd/10
	t.seen = n
	if calm && abs(n-t.freed) >= trimCrowd {
		t.freed = n
		t.free()
	}
}

func abs(n int) int { return max(n, -n) }
