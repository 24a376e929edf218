package pgpool

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Consistency cluster: a read sees what was written through any sidecar. Who writes finds out where the primary's log ends
// behind that, as it does for its own clients, and tells the others: a floor of the database, which each of them keeps as the
// highest it has heard. Whoever carries the messages says with See and Blind whether all siblings can be heard. While one
// cannot, nobody knows what it has written, and reads go to the primary.
//
// Nothing of this costs anything as long as nobody reads by floors, here or at a sibling.

const (
	// maxFloors bounds the databases with floors. Reads of others go to the primary.
	maxFloors = 1024
	// floorsUsed is for how long after the last read by floors they are kept up, and floorsAsked after a sibling's last
	// question: it may have missed one of ours.
	floorsUsed  = time.Minute
	floorsAsked = 10 * time.Second
	// floorGlance is after how long it is looked whether a position is known that somebody waits for, longestGlance after how
	// long when it has not been for a while.
	floorGlance   = time.Millisecond
	longestGlance = 16 * time.Millisecond
)

// Floors knows how far databases have been written through this sidecar and its siblings. It is the FloorSource of a sidecar
// in a cluster. Run runs it.
type Floors struct {
	// Constant.
	wake    chan struct{} // one slot: a database was written
	changed chan struct{} // one slot: there is something to tell

	// Atomic.
	active atomic.Bool // writes are noted
	used   atomic.Bool // since it was last looked
	blind  atomic.Bool // a sibling may have written what we do not know of
	table  atomic.Pointer[map[string]*databaseFloor]

	mu      sync.Mutex
	usedAt  time.Time
	askedAt time.Time
}

// databaseFloor is the floor of one database.
type databaseFloor struct {
	// Atomic.
	written atomic.Bool              // since its last mark
	at      atomic.Pointer[Position] // what reads must see; nil while that is not known
	roles   atomic.Pointer[Roles]    // of its servers; nil where only siblings have spoken of it

	// Under Floors.mu.
	mark uint64   // a floor of its Roles, whose position is not known yet; 0: none
	own  Position // how far it was written through this sidecar; the zero Position: not known to be
	told Position // and through others
}

// NewFloors makes floors that nobody uses yet.
func NewFloors() *Floors {
	f := &Floors{wake: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
	f.table.Store(&map[string]*databaseFloor{})
	f.blind.Store(true)
	return f
}

// Floor implements FloorSource.
func (f *Floors) Floor(database string, roles Roles) Position {
	if !f.used.Load() {
		f.used.Store(true)
		notify(f.wake)
	}
	if f.blind.Load() {
		return nowhereYet
	}
	d := (*f.table.Load())[database]
	if d == nil {
		d = f.add(database)
		if d == nil {
			return nowhereYet
		}
	}
	if at := d.at.Load(); at != nil {
		return *at
	}
	f.note(d, roles)
	return nowhereYet
}

// Wrote implements FloorSource.
func (f *Floors) Wrote(database string, roles Roles) {
	if !f.active.Load() {
		return
	}
	d := (*f.table.Load())[database]
	if d == nil {
		d = f.add(database)
	}
	if d != nil {
		f.note(d, roles)
	}
}

// note has it found out how far the database has been written now.
func (f *Floors) note(d *databaseFloor, roles Roles) {
	at := d.roles.Load()
	moved := at == nil || *at != roles
	if moved {
		now := roles // not &roles, which would be allocated at each call
		d.roles.Store(&now)
	}
	if !d.written.Swap(true) || moved {
		notify(f.wake)
	}
}

// add makes the floor of a database, nil if there are too many.
func (f *Floors) add(database string) *databaseFloor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.addLocked(database)
}

func (f *Floors) addLocked(database string) *databaseFloor {
	old := *f.table.Load()
	if d := old[database]; d != nil || len(old) >= maxFloors {
		return d
	}
	next := maps.Clone(old)
	d := &databaseFloor{}
	next[database] = d
	f.table.Store(&next)
	return d
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run finds out positions until ctx ends.
func (f *Floors) Run(ctx context.Context) error {
	timer := time.NewTimer(floorsAsked)
	defer timer.Stop()
	glance := floorGlance
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
			glance = floorGlance
		case <-timer.C:
		}
		wait := floorsAsked / 4
		if f.look() {
			wait, glance = glance, min(2*glance, longestGlance)
		}
		timer.Reset(wait)
	}
}

// look marks what was written and takes over the positions that have become known. It tells whether some have not.
func (f *Floors) look() (pending bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.used.Swap(false) {
		f.usedAt = now
	}
	f.stayActive(now)
	news := false
	for _, d := range *f.table.Load() {
		roles := d.roles.Load()
		if roles == nil {
			continue
		}
		if d.mark == 0 && d.written.Swap(false) {
			d.mark = (*roles).Mark()
			(*roles).Want(d.mark)
		}
		if d.mark == 0 {
			continue
		}
		at, known := (*roles).Position(d.mark)
		if !known {
			pending = true
			continue
		}
		d.mark = 0
		d.own = later(d.own, at)
		at = later(d.own, d.told)
		d.at.Store(&at)
		news = true
		if d.written.Load() { // again, since the mark
			notify(f.wake)
		}
	}
	if news {
		notify(f.changed)
	}
	return pending
}

// stayActive begins and ends the noting of writes. What was noted before a gap says nothing of what was written in it.
func (f *Floors) stayActive(now time.Time) {
	active := now.Sub(f.usedAt) < floorsUsed || now.Sub(f.askedAt) < floorsAsked
	if active == f.active.Load() {
		return
	}
	f.blind.Store(true)
	if active {
		f.table.Store(&map[string]*databaseFloor{})
	}
	f.active.Store(active)
	notify(f.changed)
}

// later returns which of two positions is further. What another timeline has comes after what there was. Positions of two
// database clusters cannot be compared: then reads go to the primary for as long as floors are in use.
func later(a, b Position) Position {
	switch {
	case a.LSN == 0:
		return b
	case b.LSN == 0:
		return a
	case a.System != b.System:
		return nowhereYet
	case a.Timeline > b.Timeline || a.Timeline == b.Timeline && a.LSN > b.LSN:
		return a
	}
	return b
}

// Active tells whether siblings are to be asked.
func (f *Floors) Active() bool { return f.active.Load() }

// Changed has a token when there is something new to tell siblings.
func (f *Floors) Changed() <-chan struct{} { return f.changed }

// Blind says that a sibling cannot be heard: until See reads go to the primary.
func (f *Floors) Blind() { f.blind.Store(true) }

// Seeing tells whether all siblings can be heard.
func (f *Floors) Seeing() bool { return !f.blind.Load() }

// See says that all siblings note what they write, and are heard. What they have written before is seen by a floor of our
// own for each database, as is what one has written that is gone.
func (f *Floors) See() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range *f.table.Load() {
		d.mark, d.own, d.told = 0, Position{}, Position{}
		d.at.Store(nil)
		d.written.Store(true)
	}
	f.blind.Store(false)
	notify(f.wake)
}

// floorsMessage is what siblings tell each other.
type floorsMessage struct {
	Reads  bool // the sender's clients read by floors: the receiver has to note what it writes
	Floors map[string]Position
}

// Tell returns what siblings should know, as MessagePack.
func (f *Floors) Tell() []byte {
	f.mu.Lock()
	m := floorsMessage{Reads: time.Since(f.usedAt) < floorsUsed, Floors: map[string]Position{}}
	for name, d := range *f.table.Load() {
		if d.own.LSN != 0 {
			m.Floors[name] = d.own
		}
	}
	f.mu.Unlock()
	b, err := msgpack.Marshal(&m)
	if err != nil {
		panic("pgpool: encode floors: " + err.Error()) // numbers and strings
	}
	return b
}

// Hear takes in what a sibling has told. It has been active since, if it reads or we have asked it.
func (f *Floors) Hear(b []byte) error {
	var m floorsMessage
	if err := msgpack.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("decode floors of a sibling: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.Reads {
		f.askedAt = time.Now()
		f.stayActive(f.askedAt)
	}
	for name, at := range m.Floors {
		d := f.addLocked(name)
		if d == nil {
			continue
		}
		d.told = later(d.told, at)
		if known := d.at.Load(); known != nil { // or it waits for a floor of our own, which says what was written before
			at = later(*known, at)
			d.at.Store(&at)
		}
	}
	return nil
}
