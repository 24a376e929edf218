package pgpool

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

// Watcher asks the servers who they are and how far they have come. It is the Roles of a real upstream.
type Watcher struct {
	monitor *health.Monitor
	primary atomic.Int32             // index of the last primary seen; the configured one before the first probe
	servers atomic.Pointer[[]Server] // how they are logged in to; a reload may change it
}

// NewWatcher makes a Watcher; Run runs it. Servers are reached as the pooler reaches them.
func NewWatcher(servers []Server, log *slog.Logger) (*Watcher, error) {
	return newWatcher(servers, health.Config{Logger: log})
}

func newWatcher(servers []Server, cfg health.Config) (*Watcher, error) {
	u := &Watcher{}
	u.servers.Store(&servers)
	for i := range servers {
		cfg.Servers = append(cfg.Servers, servers[i].Addr)
	}
	cfg.OnChange = u.changed
	cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		servers := *u.servers.Load()
		s := &servers[slices.IndexFunc(servers, func(s Server) bool { return s.Addr == addr })]
		session, err := s.dial(ctx, s.Credentials, s.Database)
		return session.Conn, err
	}
	var err error
	if u.monitor, err = health.New(cfg); err != nil {
		return nil, fmt.Errorf("make monitor: %w", err)
	}
	return u, nil
}

// Run watches until ctx ends.
func (u *Watcher) Run(ctx context.Context) error { return u.monitor.Run(ctx) }

// Snapshot returns what is known now.
func (u *Watcher) Snapshot() *health.Snapshot { return u.monitor.Snapshot() }

func (u *Watcher) changed(s *health.Snapshot) {
	if i, ok := s.Primary(); ok {
		u.primary.Store(int32(i))
	}
}

// Primary implements Roles. While there is no primary it is the last one: writes fail there, or find it back.
func (u *Watcher) Primary() int { return int(u.primary.Load()) }

// maxReplicaLag is how far, in time, a replica may be behind before reads avoid it.
const maxReplicaLag = 10 * time.Second

// Usable implements Roles: the server is up, follows the primary that is known, and not too far behind.
func (u *Watcher) Usable(i int) bool {
	snapshot := u.monitor.Snapshot()
	s, p := &snapshot.Servers[i], &snapshot.Servers[u.Primary()]
	return s.Up && s.Role == health.RoleReplica && s.SystemID == p.SystemID && s.Lag <= maxReplicaLag
}

// Floor implements Roles. Without replicas nobody asks for it, and nothing needs to be sampled.
func (u *Watcher) Floor() uint64 {
	if len(u.monitor.Snapshot().Servers) == 1 {
		return 0
	}
	return uint64(u.monitor.Floor())
}

// Reached implements Roles.
func (u *Watcher) Reached(i int, floor uint64) bool {
	return floor == 0 || u.monitor.ReplicaHasReached(i, health.Floor(floor))
}
