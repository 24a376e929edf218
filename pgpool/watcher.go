package pgpool

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

// Watcher asks the servers who they are and how far they have come. It is the Roles of a real upstream.
type Watcher struct {
	monitor *health.Monitor
	servers atomic.Pointer[[]Server] // how they are logged in to; a reload may change it
	changed atomic.Pointer[func()]   // is called when a server came or went, changed its role or was fenced
	paced   bool                     // by probe_interval
	lookup  lookup
	ttl     atomic.Int64  // dns_max_ttl
	again   atomic.Int64  // when names are looked up again, Unix nanoseconds; 0: never
	retimed chan struct{} // one slot: ttl has changed
	log     *slog.Logger
}

// NewWatcher makes a Watcher; Run runs it. Servers are reached as the pooler reaches them.
func NewWatcher(servers []Server, log *slog.Logger) (*Watcher, error) {
	return newWatcher(servers, health.Config{Logger: log})
}

func newWatcher(servers []Server, cfg health.Config) (*Watcher, error) {
	u := &Watcher{paced: cfg.Interval == 0, lookup: net.DefaultResolver.LookupNetIP, retimed: make(chan struct{}, 1), log: cfg.Logger}
	if u.log == nil {
		u.log = slog.New(slog.DiscardHandler)
	}
	u.servers.Store(&servers)
	for i := range servers {
		label := ""
		if !servers[i].vacant() {
			label = servers[i].label()
		}
		cfg.Servers = append(cfg.Servers, label)
	}
	cfg.OnChange = func(*health.Snapshot) {
		if changed := u.changed.Load(); changed != nil {
			(*changed)()
		}
	}
	cfg.Dial = func(ctx context.Context, i int) (net.Conn, error) {
		s := &(*u.servers.Load())[i]
		session, err := s.dial(ctx, s.Credentials, s.Database)
		return session.Conn, err
	}
	var err error
	if u.monitor, err = health.New(cfg); err != nil {
		return nil, fmt.Errorf("make monitor: %w", err)
	}
	return u, nil
}

// reload changes how the servers are logged in to, and how often they are asked and their names looked up.
func (u *Watcher) reload(servers []Server, t *Tuning) {
	u.servers.Store(&servers)
	if u.paced {
		u.monitor.SetInterval(t.ProbeInterval)
	}
	if u.ttl.Swap(int64(t.DNSMaxTTL)) != int64(t.DNSMaxTTL) {
		select {
		case u.retimed <- struct{}{}:
		default:
		}
	}
}

// Run watches until ctx ends.
func (u *Watcher) Run(ctx context.Context) error {
	var resolving sync.WaitGroup
	defer resolving.Wait()
	if all := names(*u.servers.Load()); len(all) > 0 {
		resolving.Go(func() { u.resolve(ctx, all) })
	}
	return u.monitor.Run(ctx)
}

// Snapshot returns what is known now.
func (u *Watcher) Snapshot() *health.Snapshot { return u.monitor.Snapshot() }

// Primary implements Roles.
func (u *Watcher) Primary() (index int, ok bool) { return u.monitor.Snapshot().Primary() }

// Usable implements Roles.
func (u *Watcher) Usable(i int, limits *Policy) bool {
	return u.monitor.Snapshot().Servers[i].Within(limits.MaxReplicaLag, limits.MaxReplicaLagBytes)
}

// Fenced implements Roles.
func (u *Watcher) Fenced(i int) bool {
	return u.monitor.Snapshot().Servers[i].Fence > health.Unproven
}

// Doubt implements Roles.
func (u *Watcher) Doubt(i int) { u.monitor.Doubt(i) }

// Accept takes another cluster for the one that there was, if nothing else answers.
func (u *Watcher) Accept() { u.monitor.Accept() }

// ReachedPosition implements Roles.
func (u *Watcher) ReachedPosition(i int, at Position) bool {
	s := &u.monitor.Snapshot().Servers[i]
	return (at.System == 0 || at.System == s.SystemID) && at.Timeline <= s.Timeline && u.monitor.ReplicaHasReplayed(i, at.LSN)
}

// Mark implements Roles.
func (u *Watcher) Mark() uint64 { return uint64(u.monitor.Floor()) }

// Position implements Roles.
func (u *Watcher) Position(floor uint64) (Position, bool) {
	return u.monitor.Position(health.Floor(floor))
}

// System implements Roles.
func (u *Watcher) System() uint64 {
	snapshot := u.monitor.Snapshot()
	if i, ok := snapshot.Primary(); ok {
		return snapshot.Servers[i].SystemID
	}
	return 0
}

// Life implements Roles.
func (u *Watcher) Life(i int) uint32 { return u.monitor.Life(i) }

// Confirm implements Roles.
func (u *Watcher) Confirm(ctx context.Context, i int) error { return u.monitor.Confirm(ctx, i) }

// Want implements Roles.
func (u *Watcher) Want(floor uint64) { u.monitor.Want(health.Floor(floor)) }

// Floor implements Roles. Without replicas nobody asks for it, and nothing needs to be sampled.
func (u *Watcher) Floor() uint64 {
	if u.monitor.Snapshot().Present() == 1 {
		return 0
	}
	return uint64(u.monitor.Floor())
}

// Reached implements Roles.
func (u *Watcher) Reached(i int, floor uint64) bool {
	return floor == 0 || u.monitor.ReplicaHasReached(i, health.Floor(floor))
}
