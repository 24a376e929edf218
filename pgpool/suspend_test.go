package pgpool

import (
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// SUSPEND ends although a client that was too slow reads on: its server is not read again before RESUME.
func TestSuspendStopsWhatBackPressureHasStopped(t *testing.T) {
	p := start(t, 1, nil)
	slow, err := p.connect(t, simple).PgConn().Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Conn.Close()
	slow.Conn.SetDeadline(time.Now().Add(deadline))
	if _, err := slow.Conn.Write(pgwire.AppendQuery(nil, "select repeat('x', 1000) from generate_series(1, 100000)")); err != nil {
		t.Fatal(err)
	}
	paused := func() (stopped bool) {
		p.on(t, 0, func(w *worker) {
			for _, g := range w.groups {
				for s := range g.pools[0].all {
					stopped = stopped || s.paused
				}
			}
		})
		return stopped
	}
	waitFor(t, "back-pressure", paused)
	console := p.admin(t)
	suspended := make(chan struct{})
	go func() {
		command(t, console, "suspend")
		close(suspended)
	}()
	waitFor(t, "the suspend to begin", p.suspended.Load)
	total, b := make(chan int, 1), make([]byte, 64<<10)
	go func() {
		n := 0
		for {
			k, err := slow.Conn.Read(b)
			n += k
			if err != nil || string(b[max(0, k-6):k]) == string(readyIdle) {
				total <- n
				return
			}
		}
	}()
	<-suspended
	select {
	case n := <-total:
		t.Fatalf("%d bytes came while suspended", n)
	case <-time.After(time.Second): // what is not to come has time to
	}
	command(t, console, "resume")
	if n := <-total; n < 100_000_000 {
		t.Errorf("%d bytes after all", n)
	}
}

// A client whose server was too slow for what it sends is not read again before RESUME either.
func TestSuspendStopsAClientThatWasHeldBack(t *testing.T) {
	p := start(t, 1, nil)
	c, console := p.connect(t, simple), p.admin(t)
	command(t, c, "select 1")
	onClient := func(do func(*client)) {
		p.on(t, 0, func(w *worker) {
			for c := range w.clients {
				do(c)
			}
		})
	}
	onClient((*client).stall)
	command(t, console, "suspend")
	onClient((*client).readOn)
	before := p.passedOn(t)
	answered := make(chan error, 1)
	go func() {
		_, err := c.Exec(t.Context(), "select 1")
		answered <- err
	}()
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) { // what is not to come has time to
		if p.passedOn(t) != before {
			t.Fatal("it was read while suspended")
		}
	}
	command(t, console, "resume")
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
