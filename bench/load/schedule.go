package load

import (
	"math/rand/v2"
	"time"
)

// schedule gives the moments when requests of independent users come, so many a second on average: a Poisson process, the
// same one for everybody.
func schedule(rate float64, d time.Duration) []time.Duration {
	random := rand.New(rand.NewPCG(1, 2))
	all := make([]time.Duration, 0, int(rate*d.Seconds()*1.1))
	for at := 0.0; ; {
		at += random.ExpFloat64() / rate
		due := time.Duration(at * float64(time.Second))
		if due >= d {
			return all
		}
		all = append(all, due)
	}
}

// book is the account of an open loop. A request that is due waits for a free client, and its latency counts from when it
// was due, not from when it was sent: a server that stands still makes all wait who come meanwhile, and a generator that
// only measures what it could send would count one of them (coordinated omission). Times are since the start.
type book struct {
	// Constant.
	arrivals []time.Duration // when requests are due; nil: whenever a client is free, until end
	end      time.Duration   // no request is due from here on
	warm     time.Duration   // latencies of requests due before it are not kept

	asked     int             // requests that were given to a client
	due       []time.Duration // of each client's request; nothing: it has none
	idle      ring            // clients without one; who waits longest is next, so that all take turns
	alive     int             // clients
	answered  int             // requests, of all that were due
	latencies []time.Duration
	last      time.Duration // the latest answer that was kept
}

const nothing = time.Duration(-1)

func newBook(clients int, arrivals []time.Duration, end, warm time.Duration) *book {
	b := &book{arrivals: arrivals, end: end, warm: warm, due: make([]time.Duration, clients), alive: clients,
		idle: ring{clients: make([]int32, clients)}, latencies: make([]time.Duration, 0, len(arrivals))}
	for i := range clients {
		b.due[i] = nothing
		b.idle.push(int32(i))
	}
	return b
}

// ask gives the client that has to send a request now, if one is due and somebody is free.
func (b *book) ask(now time.Duration) (client int32, ok bool) {
	due := now
	switch {
	case b.idle.n == 0:
		return 0, false
	case b.arrivals == nil:
		if now >= b.end {
			return 0, false
		}
	case b.asked == len(b.arrivals) || b.arrivals[b.asked] > now:
		return 0, false
	default:
		due = b.arrivals[b.asked]
	}
	b.asked++
	client = b.idle.pop()
	b.due[client] = due
	return client, true
}

// answer notes the end of a client's request; one that was refused counts as not answered.
func (b *book) answer(client int32, now time.Duration, good bool) {
	due := b.due[client]
	b.due[client] = nothing
	b.idle.push(client)
	if !good {
		return
	}
	b.answered++
	if due >= b.warm {
		b.latencies, b.last = append(b.latencies, now-due), now
	}
}

// lose notes that a client is gone, with its request. One that has none stays: the next request that it gets is lost with it.
func (b *book) lose(client int32) {
	if b.due[client] != nothing {
		b.due[client] = nothing
		b.alive--
	}
}

// wait tells how long nobody has to send anything; negative: until the next answer.
func (b *book) wait(now time.Duration) time.Duration {
	if b.arrivals == nil || b.idle.n == 0 || b.asked == len(b.arrivals) {
		return -1
	}
	return max(0, b.arrivals[b.asked]-now)
}

// done tells whether all requests have ended, or none can any more.
func (b *book) done(now time.Duration) bool {
	pending := b.alive - b.idle.n
	over := b.arrivals == nil && now >= b.end || b.arrivals != nil && b.asked == len(b.arrivals)
	return b.alive == 0 || over && pending == 0
}

// owed is how many requests were due in all.
func (b *book) owed() int { return max(b.asked, len(b.arrivals)) }

// ring is a queue of clients, each of which is in it once at most.
type ring struct {
	clients []int32
	first   int
	n       int
}

func (r *ring) push(c int32) {
	r.clients[(r.first+r.n)%len(r.clients)] = c
	r.n++
}

func (r *ring) pop() int32 {
	c := r.clients[r.first]
	r.first, r.n = (r.first+1)%len(r.clients), r.n-1
	return c
}
