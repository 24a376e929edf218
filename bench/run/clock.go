package main

import (
	"errors"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/contender"
)

// usage is what a run cost.
type usage struct {
	CPU     time.Duration // of the contender; 0: it has no process
	Servers time.Duration // CPU time of PostgreSQL's processes
	Memory  int64         // the contender's most, resident, in bytes; 0: it has no process
	Busy    int           // server connections on which something ran
}

// clock watches a contender and the servers during a run. CPU time is sampled, so that the time in which the generator's
// clients logged in can be left out: a thousand logins cost as much as ten thousand queries.
type clock struct {
	c     *contender.Contender
	pg    *contender.Postgres // nil: nobody asks for the servers
	begin time.Time
	quit  chan struct{}
	done  chan struct{}

	// Of the sampling goroutine until done is closed.
	own, servers []sample
	memory       int64
	busy         int
	err          error
}

type sample struct {
	at  time.Duration // since begin
	cpu time.Duration
}

const (
	// clockInterval is a step of the kernel's counters. Those of many processes are read less often, or that would cost them.
	clockInterval = 10 * time.Millisecond
	// glances are rare: the servers are many processes, and counting their connections is a query.
	glanceInterval = 200 * time.Millisecond
)

func startClock(c *contender.Contender, pg *contender.Postgres) *clock {
	k := &clock{c: c, pg: pg, begin: time.Now(), quit: make(chan struct{}), done: make(chan struct{})}
	k.take()
	k.glance()
	go func() {
		defer close(k.done)
		tick, glance := time.NewTicker(clockInterval*time.Duration(k.c.Processes())), time.NewTicker(glanceInterval)
		defer tick.Stop()
		defer glance.Stop()
		for k.err == nil {
			select {
			case <-k.quit:
				k.take()
				k.glance()
				return
			case <-tick.C:
				k.take()
			case <-glance.C:
				k.glance()
			}
		}
	}()
	return k
}

func (k *clock) take() {
	cpu, err := k.c.CPU()
	switch {
	case errors.Is(err, contender.ErrNoProcess):
	case err != nil:
		k.err = errors.Join(k.err, err)
	default:
		k.own = append(k.own, sample{time.Since(k.begin), cpu})
	}
}

func (k *clock) glance() {
	if bytes, err := k.c.Memory(); err == nil {
		k.memory = max(k.memory, bytes)
	}
	if k.pg == nil {
		return
	}
	cpu, err := k.pg.CPU()
	at := time.Since(k.begin)
	busy, busyErr := k.pg.Busy(k.begin)
	if k.err = errors.Join(k.err, err, busyErr); k.err == nil {
		k.servers, k.busy = append(k.servers, sample{at, cpu}), max(k.busy, busy)
	}
}

// stop returns what was used; CPU time from the given moment, or just before it, until now.
func (k *clock) stop(from time.Duration) (usage, error) {
	close(k.quit)
	<-k.done
	return usage{CPU: since(k.own, from), Servers: since(k.servers, from), Memory: k.memory, Busy: k.busy}, k.err
}

func since(samples []sample, from time.Duration) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	first := samples[0]
	for _, s := range samples {
		if s.at <= from {
			first = s
		}
	}
	return samples[len(samples)-1].cpu - first.cpu
}
