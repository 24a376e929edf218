package load

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	const rate, seconds = 5000, 10
	all := schedule(rate, seconds*time.Second)
	if n := float64(len(all)); math.Abs(n-rate*seconds) > 5*math.Sqrt(rate*seconds) {
		t.Errorf("%v requests, want about %d", n, rate*seconds)
	}
	if !slices.IsSorted(all) || all[len(all)-1] >= seconds*time.Second {
		t.Error("not in order, or behind the end")
	}
	var gaps, squares float64
	for i := 1; i < len(all); i++ {
		gap := (all[i] - all[i-1]).Seconds()
		gaps, squares = gaps+gap, squares+gap*gap
	}
	// Gaps of a Poisson process deviate by as much as their mean.
	if n := float64(len(all) - 1); math.Abs(math.Sqrt(squares/n-gaps*gaps/n/n)/(gaps/n)-1) > 0.05 {
		t.Error("users that do not depend on each other do not come so evenly")
	}
	if !slices.Equal(all, schedule(rate, seconds*time.Second)) {
		t.Error("not the same for everybody")
	}
}

// play runs a book against a server that answers one request after another, each in one millisecond, and stands still for a
// while. It returns what a generator would have measured that counts from the sending, too.
func play(b *book, clients int, stall, until time.Duration) (fromSent []time.Duration) {
	const ms = time.Millisecond
	type request struct {
		client int32
		sent   time.Duration
	}
	var queue []request
	for now := time.Duration(0); !b.done(now); now += ms {
		if len(queue) > 0 && (now < stall || now >= until) {
			b.answer(queue[0].client, now, true)
			fromSent = append(fromSent, now-queue[0].sent)
			queue = queue[1:]
		}
		for c, ok := b.ask(now); ok; c, ok = b.ask(now) {
			queue = append(queue, request{c, now})
		}
	}
	return fromSent
}

// A server that stands still for a second makes a hundred requests late when a hundred a second are due, whoever sends
// them. Counted from the sending it is one for each client: that is what must not be reported.
func TestLatenciesCountFromWhenRequestsWereDue(t *testing.T) {
	const ms = time.Millisecond
	var arrivals []time.Duration
	for i := range 300 {
		arrivals = append(arrivals, time.Duration(i)*10*ms)
	}
	late := func(all []time.Duration) (n int) {
		for _, l := range all {
			if l > 100*ms {
				n++
			}
		}
		return n
	}
	for _, clients := range []int{1, 4} {
		b := newBook(clients, arrivals, 3*time.Second, 0)
		fromSent := play(b, clients, time.Second, 2*time.Second)
		if b.owed() != 300 || b.answered != 300 || len(b.latencies) != 300 || len(fromSent) != 300 {
			t.Fatalf("%d clients: %d due, %d answered, %d and %d latencies", clients, b.owed(), b.answered, len(b.latencies), len(fromSent))
		}
		// The first waits a second, each next one nine milliseconds less: it comes ten later and is answered one later.
		if n := late(b.latencies); n < 100 || n > 102 {
			t.Errorf("%d clients: %d requests are late, want about 100", clients, n)
		}
		if n := late(fromSent); n != clients {
			t.Errorf("%d clients: counted from the sending %d are late, want one for each client", clients, n)
		}
		for i, want := range map[int]time.Duration{0: ms, 99: ms, 100: 1000 * ms, 101: 991 * ms, 110: 910 * ms, 299: ms} {
			if got := b.latencies[i]; got < want-ms || got > want+ms {
				t.Errorf("%d clients: request %d took %v, want %v", clients, i, got, want)
			}
		}
	}
}

func TestBook(t *testing.T) {
	const ms = time.Millisecond
	b := newBook(2, []time.Duration{10 * ms, 20 * ms, 30 * ms, 40 * ms}, 50*ms, 15*ms)
	step := func(now time.Duration, want int32) {
		t.Helper()
		if c, ok := b.ask(now); ok != (want >= 0) || ok && c != want {
			t.Errorf("at %v client %d asks (%v), want %d", now, c, ok, want)
		}
	}
	waits := func(now, want time.Duration) {
		t.Helper()
		if got := b.wait(now); got != want {
			t.Errorf("at %v it waits %v, want %v", now, got, want)
		}
	}
	waits(0, 10*ms)
	step(9*ms, -1)
	step(12*ms, 0)
	waits(12*ms, 8*ms)
	step(20*ms, 1)
	waits(31*ms, -1) // nobody is free
	step(31*ms, -1)
	b.answer(1, 32*ms, true)
	waits(32*ms, 0)
	step(32*ms, 1)
	b.lose(1) // with the third request
	b.lose(1)
	b.answer(0, 45*ms, true) // too early to be kept
	step(45*ms, 0)
	waits(45*ms, -1) // nothing more is due
	if b.done(45 * ms) {
		t.Error("done while one is still to be answered")
	}
	b.answer(0, 47*ms, false)
	if !b.done(47 * ms) {
		t.Error("not done")
	}
	if !slices.Equal(b.latencies, []time.Duration{12 * ms}) || b.answered != 2 || b.owed() != 4 || b.last != 32*ms {
		t.Errorf("latencies %v, %d of %d answered, last %v", b.latencies, b.answered, b.owed(), b.last)
	}

	// A client that is lost while it has nothing to ask takes a request with it.
	b = newBook(1, []time.Duration{ms, 2 * ms}, 3*ms, 0)
	b.lose(0)
	step(ms, 0)
	b.lose(0)
	if !b.done(ms) || b.answered != 0 || b.owed() != 2 {
		t.Errorf("nobody is left: %+v", b)
	}

	// Without a schedule everybody asks again at once, until the end.
	b = newBook(1, nil, 10*ms, 0)
	for now := time.Duration(0); !b.done(now); now += ms {
		step(now, 0)
		step(now, -1)
		waits(now, -1)
		b.answer(0, now, true)
	}
	if b.owed() != 10 || b.answered != 10 {
		t.Errorf("%d of %d answered", b.answered, b.owed())
	}
}

// All take turns: who has been free longest is next.
func TestRing(t *testing.T) {
	r := ring{clients: make([]int32, 3)}
	for i := range int32(3) {
		r.push(i)
	}
	var order []int32
	for range 7 {
		c := r.pop()
		order = append(order, c)
		r.push(c)
	}
	if !slices.Equal(order, []int32{0, 1, 2, 0, 1, 2, 0}) {
		t.Errorf("order %v", order)
	}
}
