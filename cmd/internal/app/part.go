package app

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
)

// part is something that runs as long as the sidecar does.
type part struct {
	name string
	run  func(context.Context) error // blocks until its context ends

	// drain refuses new work and waits for what is under way, at most until ctx ends. nil: nothing to wait for.
	drain func(ctx context.Context) error
	// close releases what the part holds, after run has returned and also when it was never called. It may be nil.
	close func() error

	// abort makes run return without a word to others. It may be nil.
	abort func()

	cancel  context.CancelFunc // nil before start
	done    chan struct{}
	halting atomic.Bool
}

// start runs p in a goroutine. ended receives p's error, once, when it fails or ends by itself.
func (p *part) start(ended chan<- error) {
	// Not derived from the caller's context: parts stop one after the other.
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		err := p.run(ctx)
		if err == nil && !p.halting.Load() {
			err = errEnded
		}
		if err != nil {
			ended <- fmt.Errorf("%s: %w", p.name, err)
		}
	}()
}

// halt ends run and waits. It may be called again.
func (p *part) halt() {
	p.halting.Store(true)
	if p.cancel != nil {
		p.cancel()
		<-p.done
	}
}

// stop ends p for good; atOnce skips farewells.
func (p *part) stop(atOnce bool) error {
	if atOnce && p.abort != nil && p.cancel != nil {
		p.halting.Store(true)
		p.abort()
		<-p.done
	}
	p.halt()
	if p.close == nil {
		return nil
	}
	if err := p.close(); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	return nil
}

// taken adds to the error of a listener what to do about an address that another process has.
func taken(setting string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w (another process has it: end that one, or set %s)", err, setting)
	}
	return err
}
