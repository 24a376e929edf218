package main

import (
	"errors"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/contender"
)

// clock notes the CPU time of a contender during a run, so that the time in which the generator's clients logged in can be
// left out: a thousand logins cost as much as ten thousand queries.
type clock struct {
	c     *contender.Contender
	begin time.Time
	quit  chan struct{}
	done  chan struct{}

	// Of the sampling goroutine until done is closed.
	samples []sample
	err     error
}

type sample struct {
	at  time.Duration // since begin
	cpu time.Duration
}

// clockInterval is a step of the kernel's counters. Those of many processes are read less often, or that would cost them.
const clockInterval = 10 * time.Millisecond

func startClock(c *contender.Contender) *clock {
	k := &clock{c: c, begin: time.Now(), quit: make(chan struct{}), done: make(chan struct{})}
	k.take()
	go func() {
		defer close(k.done)
		tick := time.NewTicker(clockInterval * time.Duration(k.c.Processes()))
		defer tick.Stop()
		for k.err == nil {
			select {
			case <-k.quit:
				k.take()
				return
			case <-tick.C:
				k.take()
			}
		}
	}()
	return k
}

func (k *clock) take() {
	cpu, err := k.c.CPU()
	if k.err = err; err == nil {
		k.samples = append(k.samples, sample{time.Since(k.begin), cpu})
	}
}

// stop returns the CPU time from the given moment, or just before it, until now.
func (k *clock) stop(from time.Duration) (time.Duration, error) {
	close(k.quit)
	<-k.done
	if k.err != nil {
		return 0, k.err
	}
	return since(k.samples, from)
}

func since(samples []sample, from time.Duration) (time.Duration, error) {
	if len(samples) == 0 {
		return 0, errors.New("no CPU time was read")
	}
	first := samples[0]
	for _, s := range samples {
		if s.at <= from {
			first = s
		}
	}
	return samples[len(samples)-1].cpu - first.cpu, nil
}
