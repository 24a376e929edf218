package app

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
	"github.com/outrigger-proxy/outrigger/cmd/internal/ops"
	"github.com/outrigger-proxy/outrigger/pgpool"
	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// planPostgres is what the configuration says about the Postgres half, with all files read. previous lets clients in
// until now; nil at the start.
func planPostgres(cfg *config.Config, previous *auth.Authenticator) (tuning pgpool.Tuning, problems config.Problems) {
	tls, requireTLS, err := clientTLS(cfg.ClientTLS)
	problems = add(problems, cfg, "client_tls_cert_file", err)
	var users auth.Users
	if cfg.AuthFile != "" {
		users, err = auth.LoadUsers(cfg.AuthFile)
		problems = add(problems, cfg, "auth_file", err)
	}
	databases, more := planDatabases(cfg, users)
	problems = append(problems, more...)
	clients, more := newAuthenticator(cfg, users, databases, previous)
	problems = append(problems, more...)
	return pgpool.Tuning{
		Databases:     databases,
		Policy:        func(database, user string) pgpool.Policy { return policy(cfg.PoolFor(database, user)) },
		MaxClients:    cfg.MaxClientConn,
		ClientLogin:   cfg.Pool.ClientLoginTimeout,
		ServerConnect: cfg.ServerConnectTimeout,
		LoginRetry:    cfg.ServerLoginRetry,
		CheckDelay:    cfg.ServerCheckDelay,
		CheckQuery:    checkQuery(cfg.ServerCheckQuery),
		RoundRobin:    cfg.ServerRoundRobin,
		AsClient:      cfg.AsClient,
		AddHost:       cfg.AppNameAddHost,
		MaxPacket:     cfg.MaxPacketSize,
		IgnoreStartup: cfg.IgnoreStartup,
		AdminUsers:    cfg.AdminUsers,
		StatsUsers:    cfg.StatsUsers,
		Clients:       clients,
		ClientTLS:     tls,
		RequireTLS:    requireTLS,

		Zone:              cfg.Zone,
		ApplicationRoutes: applicationRoutes(cfg.ApplicationRoutes),
		ProbeInterval:     cfg.ProbeInterval,
		BreakerFailures:   cfg.BreakerFailures,
		BreakerTimeout:    cfg.BreakerTimeout,
		DNSMaxTTL:         cfg.DNSMaxTTL,
	}, problems
}

// applicationRoutes returns what the entries name=route say; the last of several for one name wins.
func applicationRoutes(entries []string) map[string]pgpool.Route {
	routes := make(map[string]pgpool.Route, len(entries))
	for _, e := range entries {
		i := strings.LastIndexByte(e, '=')
		routes[e[:i]], _ = pgpool.ParseRoute(e[i+1:])
	}
	return routes
}

// checkQuery returns the SQL of server_check_query.
func checkQuery(s string) string {
	if s == config.EmptyQuery {
		return ";"
	}
	return s
}

func policy(c config.Pool) pgpool.Policy {
	// One of their names each: the configuration has been validated.
	mode, _ := pgpool.ParseMode(c.Mode)
	route, _ := pgpool.ParseRoute(c.Route)
	consistency, _ := pgpool.ParseConsistency(c.Consistency)
	balance, _ := pgpool.ParseBalance(c.LoadBalance)
	batching, _ := pgpool.ParseBatching(c.Batching)
	return pgpool.Policy{
		Mode:             mode,
		MaxDBClients:     c.MaxDBClientConnections,
		MaxUserClients:   c.MaxUserClientConnections,
		QueryWait:        c.QueryWaitTimeout,
		QueryWaitNotify:  c.QueryWaitNotify,
		QueryTimeout:     c.QueryTimeout,
		IdleTransaction:  c.IdleTransactionTimeout,
		Transaction:      c.TransactionTimeout,
		ClientIdle:       c.ClientIdleTimeout,
		ClientLogin:      c.ClientLoginTimeout,
		CancelWait:       c.CancelWaitTimeout,
		PoolSize:         c.DefaultPoolSize,
		MinPoolSize:      c.MinPoolSize,
		ReservePoolSize:  c.ReservePoolSize,
		ReservePoolDelay: c.ReservePoolTimeout,
		MaxDBServers:     c.MaxDBConnections,
		MaxUserServers:   c.MaxUserConnections,
		MaxPrepared:      c.MaxPreparedStatements,
		ServerLifetime:   c.ServerLifetime,
		ServerIdle:       c.ServerIdleTimeout,
		ResetQuery:       resetQuery(c.ServerResetQuery),
		ConnectQuery:     c.ConnectQuery,

		Batching:      batching,
		BatchMax:      c.BatchMax,
		BatchMaxTime:  c.BatchMaxTime,
		BatchMaxReply: c.BatchMaxReply,

		Route:              route,
		ReadsUntilWrite:    c.ReadsUntilWrite,
		ReadFunctions:      c.ReadFunctions,
		WriteFunctions:     c.WriteFunctions,
		PrimaryRelations:   c.PrimaryRelations,
		ReplicaRelations:   c.ReplicaRelations,
		Consistency:        consistency,
		Balance:            balance,
		RefuseReads:        c.ReadsWithoutReplica == "error",
		MaxReplicaLag:      c.MaxReplicaLag,
		MaxReplicaLagBytes: c.MaxReplicaLagBytes,
		FailoverWait:       c.FailoverWait,
	}
}

// resetQuery returns what is to run besides DISCARD ALL, which always does.
func resetQuery(s string) string {
	if strings.EqualFold(strings.TrimRight(s, "; "), "discard all") {
		return ""
	}
	return s
}

// planDatabases reads the URLs. A URL without a password takes its user's from users, as PgBouncer's user= does.
func planDatabases(cfg *config.Config, users auth.Users) (databases map[string]pgpool.Database, problems config.Problems) {
	serverTLS, err := baseTLS(cfg.ServerTLS)
	problems = add(problems, cfg, "server_tls_cert_file", err)
	mode, err := auth.ParseSSLMode(cfg.ServerTLS.SSLMode)
	problems = add(problems, cfg, "server_tls_sslmode", err)
	databases = make(map[string]pgpool.Database)
	for _, name := range slices.Sorted(maps.Keys(cfg.Databases)) {
		d := cfg.Databases[name]
		planned := pgpool.Database{Name: d.DBName}
		primaries := pgwire.SplitHosts(d.PrimaryURL)
		for i, u := range append(primaries, d.ReplicaURLs...) {
			server, err := pgpool.ParseURL(u)
			if err != nil {
				problems = add(problems, cfg, urlSetting(cfg, name, i >= len(primaries)), err)
				continue
			}
			if !namesSSLMode(u) {
				server.SSLMode = mode
			}
			if user := server.Credentials.User(); !namesPassword(u) {
				if secret, ok := users[user]; ok {
					server.Credentials = secret.Credentials(user)
				}
			}
			server.TLS = serverTLS
			server.Spread = i >= len(primaries)
			planned.Servers = append(planned.Servers, server)
		}
		databases[name] = planned
	}
	return databases, problems
}

// urlSetting names the setting that a URL of a database comes from.
func urlSetting(cfg *config.Config, database string, replica bool) string {
	setting := "primary_url"
	if replica {
		setting = "replica_urls"
	}
	if own := "databases." + database + "." + setting; cfg.Origin(own) != "" {
		return own
	}
	return setting
}

// namesSSLMode tells whether a URL says for itself how its server is to be reached.
func namesSSLMode(s string) bool {
	u, err := pgwire.ParseURL(s)
	return err == nil && u.Query().Has("sslmode")
}

func namesPassword(s string) bool {
	u, err := pgwire.ParseURL(s)
	if err != nil {
		return false
	}
	_, ok := u.User.Password()
	return ok || u.Query().Has("password")
}

func newAuthenticator(cfg *config.Config, users auth.Users, databases map[string]pgpool.Database, previous *auth.Authenticator) (clients *auth.Authenticator, problems config.Problems) {
	method, err := auth.ParseMethod(cfg.AuthFor("0.0.0.0:0"))
	problems = add(problems, cfg, "client_auth", err)
	local, err := auth.ParseMethod(localAuth(cfg))
	problems = add(problems, cfg, "client_auth", err)
	c := auth.Config{Method: method, LocalMethod: local, Users: users, Previous: previous}
	if cfg.LooksUpUsers() {
		c.Query = &auth.QueryConfig{SQL: cfg.AuthQuery, Dial: dialAuthUser(databases, cfg.AuthUser, users)}
	}
	if cfg.ClusterKeyFile != "" {
		keys, err := readKeys(cfg.ClusterKeyFile)
		problems = add(problems, cfg, "cluster_key_file", err)
		if len(keys) > 0 {
			// All sidecars of a cluster answer alike about users that do not exist.
			seed := sha256.Sum256(append([]byte("outrigger mock salt "), keys[0]...))
			c.MockKey = seed[:]
		}
	}
	clients, err = auth.New(c)
	return clients, add(problems, cfg, "auth_file", err)
}

// localAuth is how clients of the socket log in, or else those of loopback.
func localAuth(cfg *config.Config) string {
	if socket := cfg.PGSocket(); socket != "" {
		return cfg.AuthFor(socket)
	}
	return cfg.AuthFor("127.0.0.1:0")
}

// dialAuthUser logs in as auth_user to the server of a client's database.
func dialAuthUser(databases map[string]pgpool.Database, user string, users auth.Users) func(context.Context, string) (auth.Session, error) {
	var credentials *auth.Credentials
	if secret, ok := users[user]; ok {
		credentials = secret.Credentials(user)
	}
	return func(ctx context.Context, name string) (auth.Session, error) {
		d, ok := databases[name]
		if !ok {
			if d, ok = databases["*"]; !ok {
				return auth.Session{}, pgpool.NoSuchDatabase(name)
			}
		}
		if d.Name == "" {
			d.Name = d.Servers[0].Database // not the client's: it may not exist
		}
		as := credentials
		if as == nil {
			as = d.Servers[0].Credentials
		}
		return d.Dial(ctx, as)
	}
}

// buildPostgres opens the pooler's doors.
func (a *App) buildPostgres(sources *ops.Sources) error {
	var shown atomic.Pointer[config.Config]
	shown.Store(a.config)
	p := &part{name: "pgpool"}
	var shutdown func(admin.ShutdownMode) error
	cfg := pgpool.Config{
		Loops:     a.loops,
		NodeID:    nodeID(a.config.NodeName),
		Listen:    a.config.PGListeners(),
		ReusePort: a.config.ReusePort,
		Tuning:    a.tuning,
		Logger:    a.log.With("component", "pgpool"),
		Version:   a.version,
		Reload:    a.askReload,
		Set:       a.askSet,
		Settings:  func() []admin.ConfigRow { return settingRows(shown.Load()) },
		Shutdown:  func(mode admin.ShutdownMode) error { return shutdown(mode) },
	}
	if a.siblings != nil {
		cfg.Siblings = a.siblings
		cfg.Members = func() []admin.Member { return memberRows(a.siblings.members.View()) }
		floors := pgpool.NewFloors()
		cfg.Floors = floors
		exchange := a.siblings.exchange(floors)
		a.parts = append(a.parts, &part{name: "floors", run: floors.Run}, &part{name: "floor exchange", run: exchange.run})
	}
	pooler, err := pgpool.New(cfg)
	if err != nil {
		return fmt.Errorf("make pooler: %w", err)
	}
	if a.siblings != nil {
		a.siblings.answerCancel(pooler)
	}
	if err := pooler.Listen(); err != nil {
		return taken("pg_listen", err)
	}
	p.run, p.close = pooler.Run, func() error { pooler.Close(); return nil }
	shutdown = a.shutdown(pooler, p)
	p.drain = func(ctx context.Context) error {
		defer close(a.transacted)
		p.halt() // no new clients; those that are there finish
		return pooler.Drain(ctx)
	}
	a.parts = append(a.parts, p, &part{name: "trimmer", run: newTrimmer(pooler.ClientCount).run})
	sources.Pooler = poolerSource{pooler: pooler, maxClients: func() int { return shown.Load().MaxClientConn }}
	a.reloads = append(a.reloads, func(cfg *config.Config) error {
		tuning, problems := planPostgres(cfg, a.clients)
		if len(problems) > 0 {
			return problems
		}
		a.clients = tuning.Clients
		if err := pooler.Reload(tuning); err != nil {
			return err
		}
		shown.Store(cfg)
		return nil
	})
	return nil
}

// poolerSource shows the pooler to the operator's listener.
type poolerSource struct {
	pooler     *pgpool.Pooler
	maxClients func() int
}

// PoolStats implements ops.Pooler.
func (s poolerSource) PoolStats() ops.PoolStats {
	console := s.pooler.Console()
	state := console.State()
	stats := ops.PoolStats{MaxClients: s.maxClients(), Clients: s.pooler.ClientCount() - state.LoginClients, Logins: state.LoginClients,
		Pinned: len(console.Pins()), AcceptFailures: s.pooler.AcceptFailures(), Servers: upstreams(s.pooler.Watchers())}
	addStandings(stats.Servers, console.Replicas())
	stats.Pools = pools(console.Pools())
	for _, d := range console.Stats() {
		stats.Databases = append(stats.Databases, ops.Database{
			Name: d.Database, Assignments: d.Total.ServerAssignments, Transactions: d.Total.Xacts, Queries: d.Total.Queries,
			Received: d.Total.Received, Sent: d.Total.Sent, TransactionTime: d.Total.XactTime, QueryTime: d.Total.QueryTime, WaitTime: d.Total.WaitTime,
			ClientParses: d.Total.ClientParses, ServerParses: d.Total.ServerParses, Binds: d.Total.Binds,
		})
	}
	for _, r := range console.Routes() {
		stats.Routes = append(stats.Routes, ops.Route{Database: r.Database, Side: r.Side, Reason: r.Reason, Decisions: r.Count})
	}
	for _, b := range console.Batches() {
		stats.Batches = append(stats.Batches, ops.Batch{Database: b.Database, What: b.What, Reason: b.Reason, Count: b.Count})
	}
	return stats
}

// pools adds up rows with the same labels: a server may be listed twice, as one of primary_url's hosts and in replica_urls,
// and Prometheus would show no metrics at all.
func pools(rows []admin.Pool) (all []ops.Pool) {
	at := make(map[[4]string]int)
	for _, p := range rows {
		labels := [4]string{p.Database, p.User, p.Server, p.Role}
		i, again := at[labels]
		if !again {
			i, at[labels] = len(all), len(all)
			all = append(all, ops.Pool{Database: p.Database, User: p.User, Server: p.Server, Role: p.Role})
		}
		sum := &all[i]
		sum.ClientsActive += p.ClientsActive
		sum.ClientsWaiting += p.ClientsWaiting
		sum.ServersActive += p.ServersActive
		sum.ServersIdle += p.ServersIdle
		sum.ServersLogin += p.ServersLogin
		sum.MaxWait = max(sum.MaxWait, p.MaxWait)
	}
	return all
}
