package respserver

import (
	"context"
	"fmt"
	"sync"
)

// purger gives memory back to the system, away from the loops: it takes a whole collection, during which they would serve
// nobody. One runs at a time; all who ask meanwhile share the next, so that whoever is answered asked before it began.
type purger struct {
	mu     sync.Mutex
	free   func() // debug.FreeOSMemory
	wanted bool
	asking []*Slot       // to be resolved by the next one
	done   chan struct{} // closed when the goroutine ends; nil: there is none
}

// purge has it done soon, and then resolves sl unless that is nil.
func (p *purger) purge(sl *Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = true
	if sl != nil {
		p.asking = append(p.asking, sl)
	}
	if p.done == nil {
		p.done = make(chan struct{})
		go p.run(p.done)
	}
}

func (p *purger) run(done chan struct{}) {
	defer close(done)
	for {
		p.mu.Lock()
		if !p.wanted {
			p.done = nil
			p.mu.Unlock()
			return
		}
		free, asking := p.free, p.asking
		p.wanted, p.asking = false, nil
		p.mu.Unlock()
		free()
		for _, sl := range asking {
			sl.session.st.loop.Post(func() { sl.Resolve([]byte("+OK\r\n")) })
		}
	}
}

// wait waits for the goroutine to end, or for the end of ctx, whose error it then returns.
func (p *purger) wait(ctx context.Context) error {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for MEMORY PURGE: %w", ctx.Err())
	}
}

// purgeCommand is MEMORY PURGE. Commands that follow wait for it; in a transaction, which waits for nothing, it is only begun.
func (s *session) purgeCommand() (done bool) {
	if s.st.busy {
		s.st.srv.purger.purge(nil)
		s.ok()
		return true
	}
	s.blocked = s.deferReply()
	s.st.srv.purger.purge(s.blocked)
	return false
}
