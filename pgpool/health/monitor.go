package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Config configures a Monitor. Zero fields mean the defaults named here.
type Config struct {
	Servers []string // addresses, for people; see Move

	// Dial connects to the server with an index in Servers, and logs in: what it returns is ready for queries, with
	// nothing unread.
	Dial func(ctx context.Context, server int) (net.Conn, error)

	Interval        time.Duration // between probes; 1s
	TroubleInterval time.Duration // between probes while the server is down or there is no primary, if that is less; 200ms
	Timeout         time.Duration // of a dial, and of one question; 2s
	SampleInterval  time.Duration // between samples while somebody waits; 5ms
	Logger          *slog.Logger  // none

	// OnChange is told when a server came or went, changed its role or was fenced, in the goroutine that noticed. It must
	// not block.
	OnChange func(*Snapshot)
}

// doubtInterval is the least time between two probes of a server, however often it is doubted.
const doubtInterval = 20 * time.Millisecond

// A replica that does not get there, because replay is paused or it is far behind, is asked less often.
const (
	patience     = 200 // samples
	slowSampling = 20  // times the interval
)

// errNoServer is what Confirm says of a place that no server has.
var errNoServer = errors.New("there is no such server now")

// Monitor watches servers. Its methods may be called from any goroutine and do not block.
type Monitor struct {
	// Constant after New.
	cfg  Config
	wake []chan struct{} // by server, one slot: there is somebody who waits, or doubts

	// Atomic.
	interval  atomic.Int64
	doubted   []atomic.Bool // by server: it is to be probed now
	snapshot  atomic.Pointer[Snapshot]
	positions positions

	mu      sync.Mutex
	servers []Server
	judge   judge
	trail   trail
	asked   [][]chan error // by server: who waits for the end of a probe that has not begun
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
	m := &Monitor{cfg: cfg, doubted: make([]atomic.Bool, len(cfg.Servers))}
	m.interval.Store(int64(cfg.Interval))
	for _, addr := range cfg.Servers {
		m.servers = append(m.servers, Server{Addr: addr})
		m.wake = append(m.wake, make(chan struct{}, 1))
	}
	m.asked = make([][]chan error, len(cfg.Servers))
	m.positions.replayed = make([]atomic.Uint64, len(cfg.Servers))
	m.positions.lives = make([]atomic.Uint32, len(cfg.Servers))
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

// Floor is taken after a commit has returned. Reads that must see it may go to a replica once ReplicaHasReached. Nothing
// is asked of the servers for it until somebody wants it, or the primary is probed anyway.
func (m *Monitor) Floor() Floor { return Floor(m.positions.take()) }

// Want has the servers asked until a floor is reached.
func (m *Monitor) Want(floor Floor) {
	if m.positions.want(uint64(floor)) {
		for i := range m.wake {
			m.rouse(i)
		}
	}
}

func (m *Monitor) rouse(server int) {
	select {
	case m.wake[server] <- struct{}{}:
	default:
	}
}

// Doubt has a server probed now: it has said or done what does not fit to what is known of it.
func (m *Monitor) Doubt(server int) {
	if !m.doubted[server].Swap(true) {
		m.rouse(server)
	}
}

// SetInterval changes the time between probes, from now on.
func (m *Monitor) SetInterval(d time.Duration) {
	if m.interval.Swap(int64(d)) == int64(d) {
		return
	}
	for i := range m.doubted {
		m.Doubt(i)
	}
}

// Move says that a server is somewhere else now, and what its address there is: empty if there is no server in this place
// any more. What was known of it is forgotten.
func (m *Monitor) Move(server int, addr string) {
	m.mu.Lock()
	m.servers[server] = Server{Addr: addr, place: m.servers[server].place + 1}
	m.positions.replayed[server].Store(0)
	m.publishLocked()
	m.mu.Unlock()
	m.Doubt(server)
}

// Accept has the servers judged anew if all that answer are another cluster's, as after pg_upgrade. Somebody has to say so:
// it might be a stranger who has got the address.
func (m *Monitor) Accept() {
	m.mu.Lock()
	defer m.mu.Unlock()
	strangers := 0
	for i := range m.servers {
		switch s := &m.servers[i]; {
		case s.Up && s.Fence == OtherCluster:
			strangers++
		case s.Up:
			return
		}
	}
	if strangers == 0 {
		return
	}
	m.judge = judge{primary: m.judge.primary}
	m.trail.n = 0
	for i := range m.servers {
		m.servers[i].CheckedAt = time.Time{}
		m.Doubt(i)
	}
	m.publishLocked()
}

// Position returns where in which log the primary's end was behind what was committed before floor was taken, once a sample
// has told.
func (m *Monitor) Position(floor Floor) (at Position, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.Snapshot()
	i, ok := s.Primary()
	lsn, sampled := m.positions.position(uint64(floor))
	if !ok || !sampled || !m.positions.isOf(i) {
		return Position{}, false
	}
	return Position{System: s.Servers[i].SystemID, Timeline: s.Servers[i].Timeline, LSN: lsn}, true
}

// ReplicaHasReached tells whether the server with this index has replayed what was committed before floor was taken.
func (m *Monitor) ReplicaHasReached(server int, floor Floor) bool {
	return m.positions.reached(server, uint64(floor))
}

// ReplicaHasReplayed tells whether the server with this index has replayed up to a position in the primary's log, in bytes
// since 0/0.
func (m *Monitor) ReplicaHasReplayed(server int, lsn uint64) bool {
	return m.positions.replayed[server].Load() >= lsn
}

// Life is how often the server may have been started, as far as is known: what one life has replayed the next may have to
// replay again.
func (m *Monitor) Life(server int) uint32 { return m.positions.lives[server].Load() }

// Confirm waits until the server has been asked again. What is known then is no older than the call: Life and
// ReplicaHasReached hold for any connection made before. It blocks.
func (m *Monitor) Confirm(ctx context.Context, server int) error {
	answer := make(chan error, 1)
	m.mu.Lock()
	m.asked[server] = append(m.asked[server], answer)
	m.mu.Unlock()
	m.rouse(server)
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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
	place    int         // that link leads to
	inVain   int         // samples since the replica was where somebody waits for it
	probed   time.Time   // end of the last probe
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
		if w.m.doubted[w.index].Swap(false) {
			w.nextTime = w.probed.Add(doubtInterval)
		}
		if !time.Now().Before(w.nextTime) || w.m.isAsked(w.index) {
			w.probe(ctx)
			w.probed = time.Now()
			w.nextTime = w.probed.Add(w.interval())
			w.m.Want(Floor(w.m.positions.taken.Load())) // nobody's is left open for longer
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
	every := time.Duration(w.m.interval.Load())
	s := w.m.Snapshot()
	if _, ok := s.Primary(); !ok || !s.Servers[w.index].Up && s.Servers[w.index].Addr != "" {
		every = min(every, w.m.cfg.TroubleInterval)
	}
	return every
}

// probe asks the server how it is and enters the answer. A connection that was good before gets a second chance with a
// new one, as the server may have restarted; but one that hangs does not, and nobody waits for that twice.
func (w *watcher) probe(ctx context.Context) {
	w.m.mu.Lock()
	waiting := w.m.asked[w.index]
	w.m.asked[w.index] = nil
	w.m.mu.Unlock()
	now := w.m.Snapshot().Servers[w.index]
	if now.place != w.place {
		w.drop()
		w.place = now.place
	}
	if now.Addr == "" {
		answer(waiting, errNoServer)
		return
	}
	hadLink := w.link != nil
	asked := time.Now()
	s, err := w.ask(ctx)
	if err != nil && hadLink && ctx.Err() == nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		asked = time.Now()
		s, err = w.ask(ctx)
	}
	if ctx.Err() == nil {
		s.place = w.place
		w.m.enter(ctx, w.index, s, asked, err)
	}
	answer(waiting, err)
}

// answer tells those who have waited for a probe how it went.
func answer(waiting []chan error, err error) {
	for _, w := range waiting {
		w <- err
	}
}

// isAsked tells whether somebody waits for a probe.
func (m *Monitor) isAsked(server int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.asked[server]) > 0
}

func (w *watcher) ask(ctx context.Context) (Server, error) {
	if w.link == nil {
		dialing, cancel := context.WithTimeout(ctx, w.m.cfg.Timeout)
		defer cancel()
		conn, err := w.m.cfg.Dial(dialing, w.index)
		if err != nil {
			return Server{}, fmt.Errorf("dial: %w", err)
		}
		w.m.positions.restarted(w.index)
		w.link = newLink(conn)
		w.unlink = context.AfterFunc(ctx, func() { conn.Close() })
	}
	s, err := w.link.probe(w.m.cfg.Timeout)
	if err != nil {
		w.drop()
		return Server{}, fmt.Errorf("probe: %w", err)
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
	if now := &s.Servers[w.index]; now.Role != RoleReplica || now.Fence != NotFenced || p.reached(w.index, wanted) {
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

// enter takes the outcome of a probe and publishes it. asked is when the question was sent.
func (m *Monitor) enter(ctx context.Context, index int, s Server, asked time.Time, err error) {
	m.mu.Lock()
	old := m.servers[index]
	if s.place != old.place {
		m.mu.Unlock()
		return
	}
	s = old.after(s, err)
	m.servers[index] = s
	before := m.Snapshot()
	now := m.publishLocked()
	switch {
	case !s.Up:
	case now.ok && now.primary == index:
		m.trail.add(s.LSN, asked)
	case s.Role == RoleReplica:
		m.trail.measure(&m.servers[index], !old.Up || old.Role != RoleReplica)
		now = m.publishLocked()
	}
	s = now.Servers[index]
	replayed := uint64(0) // unknown, unless
	if s.Up && s.Role == RoleReplica && s.Fence == NotFenced {
		replayed = s.ReplayLSN
	}
	m.positions.replayed[index].Store(replayed)
	m.mu.Unlock()

	rival := s.Fence == SecondPrimary && before.Servers[index].Fence != SecondPrimary
	if rival || before.ok != now.ok || before.primary != now.primary {
		m.doubtOthers(index)
	}
	m.report(ctx, before, now)
}

// after returns what is known when a probe has said s of a server, or has failed.
func (old Server) after(s Server, err error) Server {
	if err != nil {
		s = old
		s.Up, s.LastError = false, err
		e, answered := errors.AsType[*pgwire.Error](err)
		s.refused = answered && !strings.HasPrefix(e.Code, "57P0")
		if s.refused && old.Up && old.Role == RolePrimary {
			s.Up = true // it is there, and has not let us look: as without a connection to spare (53300)
		}
	}
	if s.Role == RoleReplica && old.Role == RoleReplica && old.Up && s.SystemID == old.SystemID {
		// A replica without a receiver tells what its control file knows, which may be an earlier timeline.
		s.Timeline = max(s.Timeline, old.Timeline)
	}
	s.Addr, s.CheckedAt, s.place = old.Addr, time.Now(), old.place
	s.shown, s.held, s.heldBytes = old.shown, old.held, old.heldBytes
	return s
}

// doubtOthers has the other servers probed: one of them may know more.
func (m *Monitor) doubtOthers(than int) {
	for i := range m.doubted {
		if i != than {
			m.Doubt(i)
		}
	}
}

// report tells what has changed from one snapshot to the next: one server's state, and what follows from it for others.
func (m *Monitor) report(ctx context.Context, before, now *Snapshot) {
	changed := before.ok != now.ok || before.primary != now.primary
	for i := range now.Servers {
		s, old := &now.Servers[i], &before.Servers[i]
		if s.Up == old.Up && s.Role == old.Role && s.Fence == old.Fence && (old.CheckedAt.IsZero() == s.CheckedAt.IsZero()) {
			continue
		}
		changed = true
		logger, level := m.cfg.Logger, slog.LevelInfo
		if !s.Up {
			logger, level = logger.With("error", s.LastError), slog.LevelWarn
		}
		if s.Fence > Unproven {
			logger, level = logger.With("fenced", s.Fence.String(), "system_identifier", s.SystemID), slog.LevelWarn
		}
		logger.Log(ctx, level, "server state changed", "server", s.Addr, "up", s.Up, "role", s.Role.String(), "timeline", s.Timeline)
	}
	if changed && m.cfg.OnChange != nil {
		m.cfg.OnChange(now)
	}
}

// publishLocked judges the servers and makes their state the snapshot.
func (m *Monitor) publishLocked() *Snapshot {
	ok := m.judge.pass(m.servers)
	s := &Snapshot{Servers: append([]Server(nil), m.servers...), ok: ok, primary: m.judge.primary}
	for i := range s.Servers {
		if s.Servers[i].Addr != "" {
			s.present++
		}
	}
	m.snapshot.Store(s)
	return s
}
