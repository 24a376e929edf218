package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// OpenLoop is pgbench's read, as a load whose requests come when they are due, whether or not earlier ones are answered.
type OpenLoop struct {
	Clients  int           // connected all the time; a request that is due takes who has been free longest
	Rate     float64       // requests per second; 0: each client asks again as soon as it is answered
	Duration time.Duration // in which requests are due
	Warm     time.Duration // latencies of its first part are not counted
	Rows     int           // of pgbench_accounts
}

// Opened is what came of an open loop.
type Opened struct {
	Due    int     // requests
	Failed int     // of them, those that were refused, or not answered in time
	Rate   float64 // answers per second
	Percentiles
	CPU  time.Duration // of the generator
	Took time.Duration
}

// openGrace is how long answers may be waited for when no more requests are due.
const openGrace = 5 * time.Second

// connectingAtOnce is how many of the clients log in at a time.
const connectingAtOnce = 64

// Run connects the clients and asks on the server at addr.
func (l OpenLoop) Run(ctx context.Context, addr string, credentials *auth.Credentials) (Opened, error) {
	clients := make([]*Client, l.Clients)
	defer func() {
		for _, c := range clients {
			if c != nil {
				c.Close()
			}
		}
	}()
	if _, err := each(ctx, l.Clients, connectingAtOnce, func(i int) (err error) {
		ctx, cancel := context.WithTimeout(ctx, crowdLimit)
		defer cancel()
		clients[i], err = Connect(ctx, addr, credentials)
		return err
	}); err != nil {
		return Opened{}, err
	}
	conns := make([]net.Conn, len(clients))
	for i, c := range clients {
		if c.r.Buffered() > 0 {
			return Opened{}, errors.New("a client was told what it did not ask for")
		}
		conns[i] = c.conn
	}
	return plan{l.Rate, l.Duration, l.Warm}.run(ctx, conns, newQuestions(l.Rows))
}

// dialogue is what the clients of an open loop ask, and how they know the ends of answers.
type dialogue interface {
	// next gives a request, valid until the next one.
	next() []byte
	// listener follows what one client gets.
	listener() listener
}

// listener takes a server's bytes in whatever pieces they come. It tells how many answers a piece completes, and whether one
// of them was a refusal.
type listener interface {
	feed(b []byte) (ready int, failed bool, err error)
}

// plan is when requests are due.
type plan struct {
	rate     float64 // a second; 0: each client asks again as soon as it is answered
	duration time.Duration
	warm     time.Duration
}

// run has the clients ask. It takes the connections over: they are closed afterwards.
func (p plan) run(ctx context.Context, conns []net.Conn, d dialogue) (Opened, error) {
	var arrivals []time.Duration
	if p.rate > 0 {
		arrivals = schedule(p.rate, p.duration)
	}
	b := newBook(len(conns), arrivals, p.duration, p.warm)
	cpu, took, err := converse(ctx, conns, d, b)
	if err != nil {
		return Opened{}, err
	}
	o := Opened{Due: b.owed(), Failed: b.owed() - b.answered, CPU: cpu, Took: took}
	if len(b.latencies) == 0 {
		return o, fmt.Errorf("of %d requests none was answered", o.Due)
	}
	if counted := b.last - p.warm; counted > 0 {
		o.Rate = float64(len(b.latencies)) / counted.Seconds()
	}
	o.Percentiles, err = percentilesOf(b.latencies)
	return o, err
}

// errSent says that a request did not fit into the socket, which has been empty.
var errSent = errors.New("a request was not sent at once")

// questions writes pgbench's select-only, each with a row of its own.
type questions struct {
	random *rand.Rand
	rows   int
	text   []byte
}

func newQuestions(rows int) *questions {
	return &questions{random: rand.New(rand.NewPCG(3, 4)), rows: max(rows, 1)}
}

func (q *questions) listener() listener { return new(replies) }

// next gives a Query message, valid until the next one.
func (q *questions) next() []byte {
	const before, after = "SELECT abalance FROM pgbench_accounts WHERE aid = ", ";"
	q.text = append(q.text[:0], before...)
	q.text = append(strconv.AppendInt(q.text, int64(1+q.random.IntN(q.rows)), 10), after...)
	sql := len(q.text)
	q.text = append(pgwire.AppendHeader(q.text, pgwire.Query, sql+1), q.text[:sql]...)
	q.text = append(q.text, 0)
	return q.text[sql:]
}
