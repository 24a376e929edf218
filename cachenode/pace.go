package cachenode

import (
	"context"
	"sync"
	"time"
)

const (
	// Handing over takes no more than this in the background, in bytes per second of this node, to all peers together: a
	// gigabyte in a quarter of a minute. What a client waits for is pulled, which is not bounded.
	paceMost  = 64 << 20
	paceLeast = 1 << 20 // while the kernel holds the process back
	// paceEntry is what an entry counts for at least: small ones cost time and not bytes.
	paceEntry = 256
	// paceLook is how often it is asked whether the kernel holds the process back.
	paceLook = 100 * time.Millisecond
	// paceAhead is how much may be sent at once after a pause, as time; paceBehind is the longest that one frame is waited for.
	paceAhead  = 50 * time.Millisecond
	paceBehind = time.Second
)

// pacer bounds how fast partitions are handed over. The pace is halved each time that the process was out of processor time
// (its control group's quota), and grows by a tenth each time that it was not: moving leaves that to the clients.
type pacer struct {
	throttled func() int64 // how often the process was held back so far

	mu     sync.Mutex
	rate   int64     // bytes per second
	paid   time.Time // when what was sent so far is paid for
	looked time.Time
	known  int64 // what throttled has said
}

func newPacer(throttled func() int64) *pacer {
	return &pacer{throttled: throttled, rate: paceMost, known: throttled()}
}

// wait returns when size bytes more may be sent, or ctx ends.
func (p *pacer) wait(ctx context.Context, size int) error {
	timer := time.NewTimer(p.take(time.Now(), size))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// take books size bytes and tells how long to wait for them.
func (p *pacer) take(now time.Time, size int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.looked) >= paceLook {
		total := p.throttled()
		if total > p.known {
			p.rate = max(p.rate/2, paceLeast)
		} else {
			p.rate = min(p.rate+p.rate/10, paceMost)
		}
		p.looked, p.known = now, total
	}
	if earliest := now.Add(-paceAhead); p.paid.Before(earliest) {
		p.paid = earliest
	}
	p.paid = p.paid.Add(time.Duration(float64(size) / float64(p.rate) * float64(time.Second)))
	if latest := now.Add(paceBehind); p.paid.After(latest) {
		p.paid = latest
	}
	return p.paid.Sub(now)
}
