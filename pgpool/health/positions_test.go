package health

import (
	"sync/atomic"
	"testing"
)

func newPositions() *positions {
	return &positions{primary: -1, replayed: make([]atomic.Uint64, 2), lives: make([]atomic.Uint32, 2)}
}

func TestFloorWaitsForASampleThatBeganAfterIt(t *testing.T) {
	p := newPositions()
	running := p.begin()
	floor := p.started.Load() + 1 // taken while a sample is under way
	p.replayed[1].Store(1000)
	p.complete(running, 10, 0)
	if p.reached(1, floor) {
		t.Fatal("a sample that began before the floor counts")
	}
	p.complete(p.begin(), 20, 0)
	if !p.reached(1, floor) {
		t.Fatal("not reached after the next sample")
	}
	p.replayed[1].Store(19)
	if p.reached(1, floor) {
		t.Fatal("reached although the replica is behind the sample")
	}
	if !p.reached(1, 0) {
		t.Fatal("a client that has not written waits")
	}
}

func TestFloorKeepsItsOwnSample(t *testing.T) {
	p := newPositions()
	floor := p.started.Load() + 1
	for lsn := uint64(10); lsn < 100; lsn += 10 {
		p.complete(p.begin(), lsn, 0)
	}
	p.replayed[1].Store(10)
	if !p.reached(1, floor) {
		t.Fatal("later writes of others move the floor")
	}
	if p.reached(1, floor+1) {
		t.Fatal("a later floor is reached too")
	}
}

func TestFloorOlderThanTheRing(t *testing.T) {
	const last = 3 * sampleRing * sparsely
	p := newPositions()
	for lsn := uint64(1); lsn <= last; lsn++ { // sample n finds n
		p.complete(p.begin(), lsn, 0)
	}
	for _, tc := range []struct{ floor, want uint64 }{
		{last, last},
		{last - sampleRing + 1, last - sampleRing + 1},
		{last - sampleRing, last - sampleRing},         // kept for longer
		{last - sampleRing - 1, last - sampleRing},     // the next that is
		{last - 100*sparsely - 3, last - 100*sparsely}, // so is this
		{last - 255*sparsely, last - 255*sparsely},     // the oldest
		{last - 255*sparsely - 1, last - 255*sparsely}, // as near as we can tell
		{1, last - 255*sparsely},
	} {
		if lsn, known := p.position(tc.floor); !known || lsn != tc.want {
			t.Errorf("floor %d: got %d, %v, want %d", tc.floor, lsn, known, tc.want)
		}
	}
}

func TestFailedSamplesCountAsTheNext(t *testing.T) {
	for _, failed := range []int{1, 10, sampleRing - 1, sampleRing, 3 * sampleRing} {
		p := newPositions()
		p.complete(p.begin(), 5, 0)
		floor := p.started.Load() + 1
		for range failed {
			p.begin()
		}
		p.complete(p.begin(), 50, 0)
		if lsn, known := p.position(floor); !known || lsn != 50 {
			t.Errorf("%d failed: got %d, %v, want 50", failed, lsn, known)
		}
		for range sampleRing { // and when only one in some is remembered
			p.complete(p.begin(), 60, 0)
		}
		if lsn, known := p.position(floor); !known || lsn < 50 || failed > sparsely && failed < 10*sampleRing && lsn != 50 {
			t.Errorf("%d failed, long ago: got %d, %v, want 50", failed, lsn, known)
		}
	}
}

func TestFailoverForgetsTheOldPositions(t *testing.T) {
	p := newPositions()
	floor := p.started.Load() + 1
	p.complete(p.begin(), 900, 0) // written, but lost with the old primary
	p.complete(p.begin(), 800, 1)
	p.replayed[0].Store(800)
	if !p.reached(0, floor) {
		t.Fatal("waits for a position that the new timeline does not have")
	}
	for range 2 * sampleRing {
		p.complete(p.begin(), 800, 1)
	}
	if !p.reached(0, floor) {
		t.Fatal("and still does when only one sample in some is remembered")
	}
}

func TestLateSampleIsDropped(t *testing.T) {
	p := newPositions()
	slow := p.begin()
	p.complete(p.begin(), 20, 0)
	p.complete(slow, 10, 0)
	if lsn, _ := p.position(2); lsn != 20 {
		t.Fatalf("got %d", lsn)
	}
}

func TestReadersDoNotAllocate(t *testing.T) {
	p := newPositions()
	p.complete(p.begin(), 10, 0)
	if n := testing.AllocsPerRun(100, func() {
		p.want(p.started.Load() + 1)
		p.reached(1, 1)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
