package app

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"

	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
	"github.com/outrigger-proxy/outrigger/cmd/internal/ops"
	"github.com/outrigger-proxy/outrigger/pgpool"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
)

// planPostgres is what the configuration says about the Postgres half, with all files read.
func planPostgres(cfg *config.Config) (tuning pgpool.Tuning, problems config.Problems) {
	defaults, err := policy(cfg)
	problems = add(problems, cfg, "pool_mode", err)
	tls, requireTLS, err := clientTLS(cfg.ClientTLS)
	problems = add(problems, cfg, "client_tls_cert_file", err)
	clients, more := newAuthenticator(cfg)
	problems = append(problems, more...)
	servers, more := planServers(cfg)
	problems = append(problems, more...)
	return pgpool.Tuning{
		Databases:     map[string]pgpool.Database{"*": {Servers: servers}},
		Defaults:      defaults,
		MaxClients:    cfg.MaxClientConn,
		ClientLogin:   cfg.Pool.ClientLoginTimeout,
		ServerConnect: cfg.ServerConnectTimeout,
		LoginRetry:    cfg.ServerLoginRetry,
		IgnoreStartup: cfg.IgnoreStartup,
		AdminUsers:    cfg.AdminUsers,
		StatsUsers:    cfg.StatsUsers,
		Clients:       clients,
		ClientTLS:     tls,
		RequireTLS:    requireTLS,
	}, problems
}

func policy(cfg *config.Config) (pgpool.Policy, error) {
	mode, err := pgpool.ParseMode(cfg.Pool.Mode)
	return pgpool.Policy{
		Mode:           mode,
		QueryWait:      cfg.Pool.QueryWaitTimeout,
		PoolSize:       cfg.Pool.DefaultPoolSize,
		MaxPrepared:    cfg.Pool.MaxPreparedStatements,
		ServerLifetime: cfg.Pool.ServerLifetime,
		ServerIdle:     cfg.Pool.ServerIdleTimeout,
	}, err
}

// planServers reads the URLs.
func planServers(cfg *config.Config) (servers []pgpool.Server, problems config.Problems) {
	serverTLS, err := baseTLS(cfg.ServerTLS)
	problems = add(problems, cfg, "server_tls_cert_file", err)
	mode, err := auth.ParseSSLMode(cfg.ServerTLS.SSLMode)
	problems = add(problems, cfg, "server_tls_sslmode", err)
	for i, u := range append([]string{cfg.PrimaryURL}, cfg.ReplicaURLs...) {
		server, err := pgpool.ParseURL(u)
		if err != nil {
			setting := "primary_url"
			if i > 0 {
				setting = "replica_urls"
			}
			problems = add(problems, cfg, setting, err)
			continue
		}
		if !namesSSLMode(u) {
			server.SSLMode = mode
		}
		server.TLS = serverTLS
		servers = append(servers, server)
	}
	return servers, problems
}

// namesSSLMode tells whether a URL says for itself how its server is to be reached.
func namesSSLMode(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Query().Has("sslmode")
}

func newAuthenticator(cfg *config.Config) (clients *auth.Authenticator, problems config.Problems) {
	method, err := auth.ParseMethod(cfg.AuthFor("0.0.0.0:0"))
	problems = add(problems, cfg, "client_auth", err)
	local, err := auth.ParseMethod(cfg.AuthFor("127.0.0.1:0"))
	problems = add(problems, cfg, "client_auth", err)
	c := auth.Config{Method: method, LocalMethod: local}
	if cfg.AuthFile != "" {
		c.Users, err = auth.LoadUsers(cfg.AuthFile)
		problems = add(problems, cfg, "auth_file", err)
	}
	if cfg.ClusterKeyFile != "" {
		key, err := readKey(cfg.ClusterKeyFile)
		problems = add(problems, cfg, "cluster_key_file", err)
		// All sidecars of a cluster answer alike about users that do not exist.
		seed := sha256.Sum256(append([]byte("outrigger mock salt "), key...))
		c.MockKey = seed[:]
	}
	clients, err = auth.New(c)
	return clients, add(problems, cfg, "auth_file", err)
}

// buildPostgres opens the pooler's doors.
func (a *App) buildPostgres(sources *ops.Sources) error {
	pooler, err := pgpool.New(pgpool.Config{
		Loops:   a.loops,
		Listen:  a.config.PGListen,
		Tuning:  a.tuning,
		Logger:  a.log.With("component", "pgpool"),
		Version: a.version,
		Reload:  a.askReload,
	})
	if err != nil {
		return fmt.Errorf("make pooler: %w", err)
	}
	if err := pooler.Listen(); err != nil {
		return err
	}
	p := &part{name: "pgpool", run: pooler.Run, close: func() error { pooler.Close(); return nil }}
	p.drain = func(ctx context.Context) error {
		p.halt() // no new clients; those that are there finish
		return pooler.Drain(ctx)
	}
	a.parts = append(a.parts, p)
	sources.Pooler = poolerSource{pooler: pooler, maxClients: a.config.MaxClientConn}
	a.reloads = append(a.reloads, func(cfg *config.Config) error {
		tuning, problems := planPostgres(cfg)
		if len(problems) > 0 {
			return problems
		}
		return pooler.Reload(tuning)
	})
	return nil
}

// poolerSource shows the pooler to the operator's listener.
type poolerSource struct {
	pooler     *pgpool.Pooler
	maxClients int
}

// PoolStats implements ops.Pooler.
func (s poolerSource) PoolStats() ops.PoolStats {
	console := s.pooler.Console()
	stats := ops.PoolStats{MaxClients: s.maxClients, Servers: upstreams(s.pooler.Watchers())}
	for _, p := range console.Pools() {
		stats.Pools = append(stats.Pools, ops.Pool{
			Database: p.Database, User: p.User, Server: p.Server, Role: p.Role,
			ClientsActive: p.ClientsActive, ClientsWaiting: p.ClientsWaiting,
			ServersActive: p.ServersActive, ServersIdle: p.ServersIdle, ServersLogin: p.ServersLogin,
			MaxWait: p.MaxWait,
		})
	}
	for _, d := range console.Stats() {
		stats.Databases = append(stats.Databases, ops.Database{
			Name: d.Database, Assignments: d.Total.ServerAssignments, Transactions: d.Total.Xacts, Queries: d.Total.Queries,
			Received: d.Total.Received, Sent: d.Total.Sent, TransactionTime: d.Total.XactTime, WaitTime: d.Total.WaitTime,
		})
	}
	return stats
}
