package netloop

import "time"

// Timer runs a function on its loop once, at a time set by Reset. The zero cost of an unset timer and the logarithmic one
// of a set one allow a deadline per connection. All methods are for the loop's goroutine only.
type Timer struct {
	loop *Loop
	fn   func()
	at   time.Time // when it is to run
	due  time.Time // when it is looked at: its place in the heap, not after at
	slot int       // index in loop.timers, -1 when not set
}

// NewTimer returns an unset timer that will run fn on l.
func (l *Loop) NewTimer(fn func()) *Timer {
	return &Timer{loop: l, fn: fn, slot: -1}
}

// Reset makes the timer due d from now, whether it was set or not. To put a set timer off, as connections do with every
// message, costs next to nothing: it keeps its place, and is moved when its old time comes.
func (t *Timer) Reset(d time.Duration) {
	t.at = t.loop.now.Add(d)
	h := &t.loop.timers
	switch {
	case t.slot < 0:
		t.due, t.slot = t.at, len(*h)
		*h = append(*h, t)
		h.up(t.slot)
	case t.at.Before(t.due):
		t.due = t.at
		h.up(t.slot)
	}
}

// Stop unsets the timer. Stopping one that is not set does nothing.
func (t *Timer) Stop() {
	if t.slot >= 0 {
		t.loop.timers.remove(t.slot)
	}
}

// Active tells whether the timer is set.
func (t *Timer) Active() bool { return t.slot >= 0 }

// timerHeap is a binary heap by due time whose elements know their place, so that any of them can be moved or removed.
type timerHeap []*Timer

func (h timerHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}

func (h timerHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].due.Before(h[parent].due) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h timerHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1].due.Before(h[child].due) {
			child++
		}
		if !h[child].due.Before(h[i].due) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

func (h *timerHeap) remove(i int) {
	t := (*h)[i]
	last := len(*h) - 1
	if i != last {
		h.swap(i, last)
	}
	(*h)[last] = nil
	*h = (*h)[:last]
	if i != last {
		h.up(i)
		h.down(i)
	}
	t.slot = -1
}

// runTimers runs what is due. Functions may set timers again; the bound on the count makes a tick end even if they set
// them to now.
func (l *Loop) runTimers() {
	for n := len(l.timers); n > 0 && len(l.timers) > 0; {
		t := l.timers[0]
		if t.due.After(l.now) {
			return
		}
		if t.at.After(t.due) {
			t.due = t.at
			l.timers.down(0)
			continue
		}
		l.timers.remove(0)
		t.fn()
		l.finishClosing()
		n--
	}
}
