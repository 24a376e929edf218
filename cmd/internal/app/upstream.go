package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/cmd/internal/ops"
	"github.com/outrigger-proxy/outrigger/pgpool"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

// upstream tells the pooler what the monitor knows: a pgpool.Upstream.
type upstream struct {
	monitor *health.Monitor
	primary atomic.Int32 // index of the last primary seen; the configured one before the first probe
}

func newUpstream(servers []pgpool.Server, log *slog.Logger) (*upstream, error) {
	u := &upstream{}
	cfg := health.Config{Logger: log.With("component", "health"), OnChange: u.changed}
	byAddr := map[string]*pgpool.Server{}
	for i := range servers {
		cfg.Servers = append(cfg.Servers, servers[i].Addr)
		byAddr[servers[i].Addr] = &servers[i]
	}
	cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return dialServer(ctx, byAddr[addr]) }
	var err error
	if u.monitor, err = health.New(cfg); err != nil {
		return nil, fmt.Errorf("make monitor: %w", err)
	}
	return u, nil
}

// dialServer connects as the pooler does.
func dialServer(ctx context.Context, s *pgpool.Server) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, s.Network, s.Addr)
	if err != nil {
		return nil, err // names the address
	}
	session, err := auth.Login(ctx, conn, auth.LoginParams{
		Credentials: s.Credentials, Database: s.Database, SSLMode: s.SSLMode, TLS: s.TLS, Host: s.Host,
	})
	if err != nil {
		return nil, fmt.Errorf("log in to %s: %w", s.Addr, err)
	}
	return session.Conn, nil
}

func (u *upstream) changed(s *health.Snapshot) {
	if i, ok := s.Primary(); ok {
		u.primary.Store(int32(i))
	}
}

// Primary implements pgpool.Upstream. While there is no primary it is the last one: writes fail there, or find it back.
func (u *upstream) Primary() int { return int(u.primary.Load()) }

// Usable implements pgpool.Upstream.
func (u *upstream) Usable(i int) bool {
	s := &u.monitor.Snapshot().Servers[i]
	return s.Up && s.Role == health.RoleReplica
}

// Floor implements pgpool.Upstream.
func (u *upstream) Floor() uint64 { return uint64(u.monitor.Floor()) }

// Reached implements pgpool.Upstream.
func (u *upstream) Reached(i int, floor uint64) bool {
	return floor == 0 || u.monitor.ReplicaHasReached(i, health.Floor(floor))
}

// servers shows them to the operator's listener.
func (u *upstream) servers() []ops.Upstream {
	snapshot := u.monitor.Snapshot()
	primary := u.Primary()
	current, known := snapshot.Primary()
	var all []ops.Upstream
	for i, s := range snapshot.Servers {
		one := ops.Upstream{Address: s.Addr, Role: "replica", Up: u.Usable(i), LagBytes: -1}
		if i == primary {
			one.Role, one.Up = "primary", known && current == i
		} else if known && one.Up {
			one.LagBytes = int64(snapshot.Servers[current].LSN) - int64(s.ReplayLSN)
			one.LagBytes = max(one.LagBytes, 0) // probes are not taken at one moment
		}
		all = append(all, one)
	}
	return all
}
