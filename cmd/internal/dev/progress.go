package dev

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress tells what goes on: a step's name when it starts, a dot each second, its duration at the end.
type progress struct {
	w io.Writer

	begin time.Time // of the current step; zero: none
	stop  chan struct{}
	dots  sync.WaitGroup
}

// step ends the current step and starts the next.
func (p *progress) step(name string) {
	p.done()
	fmt.Fprintf(p.w, "  %-24s", name)
	p.begin, p.stop = time.Now(), make(chan struct{})
	p.dots.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				fmt.Fprint(p.w, ".")
			}
		}
	})
}

// done ends the current step, if any.
func (p *progress) done() {
	if p.begin.IsZero() {
		return
	}
	close(p.stop)
	p.dots.Wait()
	fmt.Fprintf(p.w, " %.1f s\n", time.Since(p.begin).Seconds())
	p.begin = time.Time{}
}
