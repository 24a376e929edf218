package cachenode

import (
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// maxStrangers is how many connections may be on their way through a handshake at once.
	maxStrangers = 256
	// refusalEvery is how often a refusal is worth a line in the log.
	refusalEvery = time.Second
)

// lobby holds the connections whose other side has not said yet, or not proved, who it is. When it is full, the one that has
// been there for longest makes room: a member is through in milliseconds, so those who only hold a place lose it to them.
type lobby struct {
	mu      sync.Mutex
	waiting []net.Conn // the first has been here for longest
	told    time.Time  // of the last refusal, in the log
	untold  int        // refusals since
}

// enter lets nc in.
func (l *lobby) enter(nc net.Conn) {
	l.mu.Lock()
	var oldest net.Conn
	if len(l.waiting) >= maxStrangers {
		oldest = l.waiting[0]
		l.waiting = slices.Delete(l.waiting, 0, 1)
	}
	l.waiting = append(l.waiting, nc)
	l.mu.Unlock()
	if oldest != nil {
		oldest.Close() // its handshake fails
	}
}

// leave is for one that has become known, or has been refused. It may be called again.
func (l *lobby) leave(nc net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiting, nc); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
}

// refuse logs a refusal, but not each of many.
func (l *lobby) refuse(log *slog.Logger, nc net.Conn, err error) {
	l.mu.Lock()
	now := time.Now()
	if now.Sub(l.told) < refusalEvery {
		l.untold++
		l.mu.Unlock()
		return
	}
	untold := l.untold
	l.told, l.untold = now, 0
	l.mu.Unlock()
	log.Info("refused peer connection", "address", nc.RemoteAddr().String(), "error", err, "skipped", untold)
}
