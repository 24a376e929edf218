package pgpool

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// log is a primary's log of which a test moves the end.
type log struct {
	alone
	mu    sync.Mutex
	at    Position
	marks []Position // by mark, from 1 on
	held  bool       // no position becomes known
}

func (l *log) write(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at.LSN += n
}

func (l *log) hold(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = held
}

func (l *log) Mark() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks = append(l.marks, l.at)
	return uint64(len(l.marks))
}

func (l *log) Position(mark uint64) (Position, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held {
		return Position{}, false
	}
	return l.marks[mark-1], true
}

// sidecars are floors that run, and tell each other what they have to tell whenever a test says so.
func sidecars(t *testing.T, count int) []*Floors {
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	var all []*Floors
	for range count {
		f := NewFloors()
		all = append(all, f)
		running.Go(func() {
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	return all
}

func talk(t *testing.T, from, to *Floors) {
	t.Helper()
	if err := to.Hear(from.Tell()); err != nil {
		t.Fatal(err)
	}
}

// floorIs waits until reads of a database must see what is at lsn, and no more.
func floorIs(t *testing.T, f *Floors, roles Roles, lsn uint64) {
	t.Helper()
	waitFor(t, fmt.Sprintf("a floor of %d", lsn), func() bool { return f.Floor("app", roles).LSN == lsn })
}

func TestFloorsSpread(t *testing.T) {
	primary := &log{at: Position{System: 7, Timeline: 1, LSN: 100}}
	f := sidecars(t, 2)
	a, b := f[0], f[1]
	a.Wrote("app", primary) // nobody has asked for that
	if len(*a.table.Load()) != 0 {
		t.Error("a write is noted that nobody reads by")
	}
	if at := b.Floor("app", primary); at != nowhereYet {
		t.Errorf("reads may go where %+v is, before anybody was heard", at)
	}
	waitFor(t, "floors to be in use", b.Active)
	talk(t, b, a)
	if !a.Active() {
		t.Error("a sibling of one who reads by floors does not note what it writes")
	}
	talk(t, a, b)
	b.See()
	floorIs(t, b, primary, 100) // what was written before, by whomever

	primary.write(10)
	a.Wrote("app", primary)
	<-a.Changed()
	waitFor(t, "news", func() bool { talk(t, a, b); return b.Floor("app", primary).LSN == 110 })

	// What is heard twice, or late, lowers nothing.
	late := a.Tell()
	primary.write(10)
	b.Wrote("app", primary)
	floorIs(t, b, primary, 120)
	if err := b.Hear(late); err != nil {
		t.Fatal(err)
	}
	floorIs(t, b, primary, 120)

	b.Blind()
	if at := b.Floor("app", primary); at != nowhereYet {
		t.Errorf("reads may go where %+v is, while a sibling is not heard", at)
	}
	primary.hold(true)
	primary.write(5) // through the one that was not heard
	b.See()
	if err := b.Hear(late); err != nil {
		t.Fatal(err)
	}
	if at := b.Floor("app", primary); at != nowhereYet {
		t.Errorf("reads may go where %+v is, before it is known what was written meanwhile", at)
	}
	primary.hold(false)
	floorIs(t, b, primary, 125)

	// A new timeline begins where the old one ended, or before that.
	primary.mu.Lock()
	primary.at = Position{System: 7, Timeline: 2, LSN: 90}
	primary.mu.Unlock()
	b.Wrote("app", primary)
	floorIs(t, b, primary, 90)
}

func TestFloorsOfTwoClustersAreNotCompared(t *testing.T) {
	one, other := &log{at: Position{System: 1, Timeline: 1, LSN: 100}}, &log{at: Position{System: 2, Timeline: 1, LSN: 5}}
	f := sidecars(t, 2)
	a, b := f[0], f[1]
	a.Floor("app", one)
	b.Floor("app", other)
	waitFor(t, "floors to be in use", func() bool { return a.Active() && b.Active() })
	a.See()
	b.See()
	floorIs(t, a, one, 100)
	floorIs(t, b, other, 5)
	talk(t, a, b)
	floorIs(t, b, other, nowhereYet.LSN)
	talk(t, b, b)
	floorIs(t, b, other, nowhereYet.LSN)
}

// However many databases there are, floors are kept of so many; the others' reads go to the primary.
func TestFloorsAreBounded(t *testing.T) {
	primary := &log{at: Position{System: 7, Timeline: 1, LSN: 100}}
	f := sidecars(t, 1)[0]
	f.Floor("app", primary)
	waitFor(t, "floors to be in use", f.Active)
	f.See()
	floorIs(t, f, primary, 100)
	for i := range 2 * maxFloors {
		f.Wrote(fmt.Sprintf("database %d", i), primary)
	}
	if n := len(*f.table.Load()); n != maxFloors {
		t.Errorf("floors of %d databases, want %d", n, maxFloors)
	}
	if at := f.Floor("one more", primary); at != nowhereYet {
		t.Errorf("reads of a database without a floor may go where %+v is", at)
	}
	floorIs(t, f, primary, 100)
	if err := f.Hear([]byte{0xc1}); err == nil {
		t.Error("what is no message was understood")
	}
}

// What was noted before floors fell out of use says nothing of what was written since.
func TestFloorsAreForgottenWithoutUse(t *testing.T) {
	primary := &log{at: Position{System: 7, Timeline: 1, LSN: 100}}
	f := sidecars(t, 1)[0]
	f.Floor("app", primary)
	waitFor(t, "floors to be in use", f.Active)
	f.See()
	floorIs(t, f, primary, 100)
	f.mu.Lock()
	f.used.Store(false)
	f.stayActive(time.Now().Add(floorsUsed + floorsAsked))
	f.mu.Unlock()
	if f.Active() || f.Seeing() {
		t.Error("floors are kept that nobody uses")
	}
	primary.write(1)
	f.Wrote("app", primary)
	f.mu.Lock()
	f.usedAt = time.Now()
	f.stayActive(f.usedAt)
	f.mu.Unlock()
	f.See()
	floorIs(t, f, primary, 101)
}

func TestFloorAllocatesNothing(t *testing.T) {
	primary := &log{at: Position{System: 7, Timeline: 1, LSN: 100}}
	f := sidecars(t, 1)[0]
	f.Floor("app", primary)
	waitFor(t, "floors to be in use", f.Active)
	f.See()
	floorIs(t, f, primary, 100)
	if n := testing.AllocsPerRun(100, func() { f.Floor("app", primary) }); n >= 1 {
		t.Errorf("a read's floor allocates %v times", n)
	}
}
