package netloop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Accept back-off: the first and the longest pause after accept fails for want of descriptors or memory.
const (
	firstAcceptPause = 5 * time.Millisecond
	maxAcceptPause   = time.Second
)

// Listener accepts connections and runs a handler goroutine for each: the cold path before adoption.
type Listener struct {
	ln     net.Listener
	handle func(context.Context, net.Conn)
	log    *slog.Logger

	failures atomic.Uint64
}

// NewListener makes a Listener over ln, which it owns. handle runs in its own goroutine for each connection, owns it,
// and must end soon after ctx does. The connections are closed by nobody else.
func NewListener(ln net.Listener, log *slog.Logger, handle func(ctx context.Context, nc net.Conn)) *Listener {
	return &Listener{ln: ln, handle: handle, log: log}
}

// Addr is the address listened on.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Close closes a listener that will not be run.
func (l *Listener) Close() error { return l.ln.Close() }

// Failures counts failed accepts, for instance for want of descriptors.
func (l *Listener) Failures() uint64 { return l.failures.Load() }

// Run accepts until ctx ends, then closes the listener and waits for the handlers.
func (l *Listener) Run(ctx context.Context) error {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	stop := context.AfterFunc(ctx, func() { l.ln.Close() })
	defer stop()
	defer l.ln.Close()
	pause := time.Duration(0)
	for {
		nc, err := l.ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept on %s: %w", l.ln.Addr(), err)
			}
			l.failures.Add(1)
			pause = min(max(2*pause, firstAcceptPause), maxAcceptPause)
			l.log.Warn("accept failed, pausing", "address", l.ln.Addr().String(), "pause", pause, "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		handlers.Go(func() { l.handle(ctx, nc) })
	}
}
