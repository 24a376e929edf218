package health

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

// Config configures a Monitor. Zero fields mean the defaults named here.
type Config struct {
	Servers []string // addresses, for Dial and for people

	// Dial connects to a server and logs in: what it returns is ready for queries, with nothing unread.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	Interval        time.Duration // between probes; 1s
	TroubleInterval time.Duration // between probes while the server is down or there is no primary; 200ms
	Timeout         time.Duration // of a dial, and of one question; 2s
	SampleInterval  time.Duration // between samples while somebody waits; 5ms
	Logger          *slog.Logger  // none

	// OnChange is told when a server came or went or changed its role, in the goroutine that noticed. It must not block.
	OnChange func(*Snapshot)
}

// A replica that does not get there, because replay is paused or it is far behind, is asked less often.
const (
	patience     = 200 // samples
	slowSampling = 20  // times the interval
)

// Monitor watches servers. Its methods may be called from any goroutine and do not block.
type Monitor struct {
	// Constant after New.
	cfg  Config
	wake []chan struct{} // by server, one slot: there is somebody who waits

	snapshot  atomic.Pointer[Snapshot]
	positions positions

	mu      sync.Mutex
	servers []Server
	fence   fence
}

// New returns a Monitor that knows nothing yet.
func New(cfg Config) (*Monitor, error) {
	if cfg.Dial == nil || len(cfg.Servers) == 0 {
		return nil, errors.New("health monitor needs servers and a dial function")
	}
	setDefault(&cfg.Interval, time.Second)
	setDefault(&cfg.TroubleInterval, 200*time.Millisecond)
	setDefault(&cfg.Timeout, 2*time.Second)
	setDefault(&cfg.SampleInterval, 5*time.Millisecond)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Monitor{cfg: cfg}
	for _, addr := range cfg.Servers {
		m.servers = append(m.servers, Server{Addr: addr})
		m.wake = append(m.wake, make(chan struct{}, 1))
	}
	m.positions.replayed = make([]atomic.Uint64, len(cfg.Servers))
	m.positions.primary = -1
	m.publishLocked()
	return m, nil
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Snapshot returns what is known now.
func (m *Monitor) Snapshot() *Snapshot { return m.snapshot.Load() }

// Floor is taken after a commit has returned. Reads that must see it may go to a replica once ReplicaHasReached.
func (m *Monitor) Floor() Floor {
	floor := m.positions.started.Load() + 1
	if m.positions.want(floor) {
		for _, ch := range m.wake {
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}
	return Floor(floor)
}

// ReplicaHasReached tells whether the server with this index has replayed what was committed before floor was taken.
func (m *Monitor) ReplicaHasReached(server int, floor Floor) bool {
	return m.positions.reached(server, uint64(floor))
}

// Run watches until ctx ends, and returns nil then.
func (m *Monitor) Run(ctx context.Context) error {
	var watching sync.WaitGroup
	for i := range m.cfg.Servers {
		watching.Go(func() {
			w := watcher{m: m, index: i}
			w.run(ctx)
		})
	}
	watching.Wait()
	return nil
}

// watcher is the goroutine of one server.
type watcher struct {
	m     *Monitor
	index int

	link     *link
	unlink   func() bool // ends the closing of link by the context
	inVain   int         // samples since the replica was where somebody waits for it
	nextTime time.Time   // of the next probe
}

func (w *watcher) run(ctx context.Context) {
	defer w.drop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.m.wake[w.index]:
		case <-timer.C:
		}
		if !time.Now().Before(w.nextTime) {
			w.probe(ctx)
			w.nextTime = time.Now().Add(w.interval())
		}
		pause := time.Until(w.nextTime)
		if w.sample() {
			every := w.m.cfg.SampleInterval
			if w.inVain > patience {
				every *= slowSampling
			}
			// Slept through, not waited for in the select above: a new floor does not shorten the interval.
			if !sleep(ctx, min(pause, every)) {
				return
			}
			pause = 0
		}
		timer.Reset(pause)
	}
}

// sleep waits for d and tells whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// interval is the time to the next probe.
func (w *watcher) interval() time.Duration {
	s := w.m.Snapshot()
	if _, ok := s.Primary(); !ok || !s.Servers[w.index].Up {
		return w.m.cfg.TroubleInterval
	}
	return w.m.cfg.Interval
}

// probe asks the server how it is and enters the answer. A connection that was good before gets a second chance with a
// new one: the server may have restarted.
func (w *watcher) probe(ctx context.Context) {
	hadLink := w.link != nil
	s, err := w.ask(ctx)
	if err != nil && hadLink && ctx.Err() == nil {
		s, err = w.ask(ctx)
	}
	if ctx.Err() == nil {
		w.m.enter(ctx, w.index, s, err)
	}
}

func (w *watcher) ask(ctx context.Context) (Server, error) {
	if w.link == nil {
		dialing, cancel := context.WithTimeout(ctx, w.m.cfg.Timeout)
		defer cancel()
		conn, err := w.m.cfg.Dial(dialing, w.m.cfg.Servers[w.index])
		if err != nil {
			return Server{}, fmt.Errorf("dial %s: %w", w.m.cfg.Servers[w.index], err)
		}
		w.link = newLink(conn)
		w.unlink = context.AfterFunc(ctx, func() { conn.Close() })
	}
	s, err := w.link.probe(w.m.cfg.Timeout)
	if err != nil {
		w.drop()
		return Server{}, fmt.Errorf("probe %s: %w", w.m.cfg.Servers[w.index], err)
	}
	return s, nil
}

// drop closes the connection.
func (w *watcher) drop() {
	if w.link != nil {
		w.unlink()
		w.link.conn.Close()
		w.link = nil
	}
}

// sample asks for the position that somebody waits for, if somebody does and the server is up, and tells whether it is
// to go on.
func (w *watcher) sample() (more bool) {
	p := &w.m.positions
	wanted := p.wanted.Load()
	if w.link == nil || wanted == 0 {
		return false
	}
	s := w.m.Snapshot()
	if primary, ok := s.Primary(); ok && primary == w.index {
		if p.done.Load() >= wanted {
			return false
		}
		n := p.begin()
		lsn, err := w.link.position(insertSQL, w.m.cfg.Timeout)
		if err != nil {
			w.fail()
			return false
		}
		w.m.completeSample(n, lsn, w.index)
		return true // so that the next sample keeps its distance
	}
	if s.Servers[w.index].Role != RoleReplica || p.reached(w.index, wanted) {
		w.inVain = 0
		return false
	}
	lsn, err := w.link.position(replaySQL, w.m.cfg.Timeout)
	if err != nil {
		w.fail()
		return false
	}
	w.inVain++
	p.replayed[w.index].Store(lsn)
	return true
}

// fail lets a probe find out soon what is wrong.
func (w *watcher) fail() {
	w.drop()
	w.nextTime = time.Now().Add(w.m.cfg.TroubleInterval)
}

// completeSample enters a sample, unless another server has become the primary while it was taken.
func (m *Monitor) completeSample(n, lsn uint64, server int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if primary, ok := m.Snapshot().Primary(); ok && primary == server {
		m.positions.complete(n, lsn, server)
	}
}

// enter takes the outcome of a probe and publishes it.
func (m *Monitor) enter(ctx context.Context, index int, s Server, err error) {
	m.mu.Lock()
	old := m.servers[index]
	if err != nil {
		s = old
		s.Up, s.LastError = false, err
	}
	s.Addr, s.CheckedAt = old.Addr, time.Now()
	m.servers[index] = s
	replayed := uint64(0) // unknown, unless
	if s.Up && s.Role == RoleReplica {
		replayed = s.ReplayLSN
	}
	m.positions.replayed[index].Store(replayed)
	before := m.Snapshot().primary
	snapshot := m.publishLocked()
	m.mu.Unlock()

	if s.Up == old.Up && s.Role == old.Role && snapshot.primary == before && !old.CheckedAt.IsZero() {
		return
	}
	logger, level := m.cfg.Logger, slog.LevelInfo
	if !s.Up {
		logger, level = logger.With("error", err), slog.LevelWarn
	}
	logger.Log(ctx, level, "server state changed", "server", s.Addr, "up", s.Up, "role", s.Role.String(), "timeline", s.Timeline)
	if m.cfg.OnChange != nil {
		m.cfg.OnChange(snapshot)
	}
}

// publishLocked makes the state of the servers the snapshot.
func (m *Monitor) publishLocked() *Snapshot {
	s := &Snapshot{Servers: append([]Server(nil), m.servers...)}
	s.primary = m.fence.choosePrimary(s.Servers)
	m.snapshot.Store(s)
	return s
}
