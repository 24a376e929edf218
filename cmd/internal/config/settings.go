package config

import "strings"

// Setting is a row of the table.
type Setting struct {
	Name    string
	Group   string
	Default string // as it would stand in the file; several of a list are separated by commas
	Help    string // one sentence without a period; also the flag's usage

	Env        []string // more environment variables that set it, besides OUTRIGGER_<NAME>
	Reloadable bool     // a reload applies it; otherwise it takes a restart

	kind  kind
	field func(*Config) any // pointer to the field
}

// EnvName is the environment variable that sets it.
func (s Setting) EnvName() string { return "OUTRIGGER_" + strings.ToUpper(s.Name) }

// FlagName is its flag, without the dashes.
func (s Setting) FlagName() string { return strings.ReplaceAll(s.Name, "_", "-") }

const (
	groupPostgres = "Postgres"
	groupCache    = "Cache"
	groupCluster  = "Cluster"
	groupProcess  = "Process"
)

var (
	sslModes = enum("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
	policies = enum("noeviction", "allkeys-s3fifo", "allkeys-lru", "allkeys-lfu", "allkeys-random",
		"volatile-s3fifo", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl")
)

// Settings returns the table. Names are a contract: files, variables, flags and scripts rely on them.
func Settings() []Setting {
	const (
		pg, cache, cluster, process = groupPostgres, groupCache, groupCluster, groupProcess
		reload                      = true
	)
	return []Setting{
		{"primary_url", pg, "", "Postgres URL of the primary, whose user and password are used for server connections; without it the node serves the cache alone", []string{"PRIMARY_DB_URL"}, false, pgURL, func(c *Config) any { return &c.PrimaryURL }},
		{"replica_urls", pg, "", "Postgres URLs of the replicas that take reads", []string{"READ_REPLICA_URL"}, false, pgURLs, func(c *Config) any { return &c.ReplicaURLs }},
		{"pg_listen", pg, "127.0.0.1:6432", "where Postgres clients connect, one or several addresses", nil, false, addrs, func(c *Config) any { return &c.PGListen }},
		{"pool_mode", pg, "transaction", "when a server connection goes back to the pool: after each transaction, or with the session", nil, reload, enum("transaction", "session"), func(c *Config) any { return &c.PoolMode }},
		{"default_pool_size", pg, "20", "server connections per database and server", nil, reload, count(1, 100_000), func(c *Config) any { return &c.DefaultPoolSize }},
		{"max_client_conn", pg, "10000", "client connections at once; more are refused with 53300", nil, reload, count(1, 10_000_000), func(c *Config) any { return &c.MaxClientConn }},
		{"client_auth", pg, "", "how clients log in: trust or scram-sha-256; default trust on loopback, else scram-sha-256", nil, reload, enum("trust", "scram-sha-256"), func(c *Config) any { return &c.ClientAuth }},
		{"auth_file", pg, "", "users and their passwords or SCRAM secrets, in the format of PgBouncer's userlist.txt", nil, reload, file, func(c *Config) any { return &c.AuthFile }},
		{"client_tls_sslmode", pg, "disable", "TLS for clients: disable, allow, prefer, require, verify-ca, verify-full", nil, reload, sslModes, func(c *Config) any { return &c.ClientTLS.SSLMode }},
		{"client_tls_key_file", pg, "", "private key shown to clients", nil, reload, file, func(c *Config) any { return &c.ClientTLS.KeyFile }},
		{"client_tls_cert_file", pg, "", "certificate shown to clients", nil, reload, file, func(c *Config) any { return &c.ClientTLS.CertFile }},
		{"client_tls_ca_file", pg, "", "authorities that sign clients' certificates", nil, reload, file, func(c *Config) any { return &c.ClientTLS.CAFile }},
		{"server_tls_sslmode", pg, "prefer", "TLS to the servers: disable, allow, prefer, require, verify-ca, verify-full; sslmode in a URL comes first", nil, false, sslModes, func(c *Config) any { return &c.ServerTLS.SSLMode }},
		{"server_tls_key_file", pg, "", "private key shown to the servers", nil, false, file, func(c *Config) any { return &c.ServerTLS.KeyFile }},
		{"server_tls_cert_file", pg, "", "certificate shown to the servers", nil, false, file, func(c *Config) any { return &c.ServerTLS.CertFile }},
		{"server_tls_ca_file", pg, "", "authorities that sign the servers' certificates", nil, false, file, func(c *Config) any { return &c.ServerTLS.CAFile }},
		{"query_wait_timeout", pg, "120s", "longest wait for a server connection; 0 waits for ever", nil, reload, duration, func(c *Config) any { return &c.QueryWaitTimeout }},
		{"client_login_timeout", pg, "60s", "a client that has not logged in by then is closed", nil, reload, duration, func(c *Config) any { return &c.ClientLoginTimeout }},
		{"server_lifetime", pg, "3600s", "a server connection older than this is closed when it is free", nil, reload, duration, func(c *Config) any { return &c.ServerLifetime }},
		{"server_idle_timeout", pg, "600s", "a server connection free for this long is closed", nil, reload, duration, func(c *Config) any { return &c.ServerIdleTimeout }},
		{"server_connect_timeout", pg, "15s", "longest time to connect and log in to a server", nil, reload, duration, func(c *Config) any { return &c.ServerConnectTimeout }},
		{"server_login_retry", pg, "1s", "pause after a failed login to a server", nil, reload, duration, func(c *Config) any { return &c.ServerLoginRetry }},
		{"max_prepared_statements", pg, "500", "prepared statements kept on each server connection", nil, reload, count(1, 1_000_000), func(c *Config) any { return &c.MaxPreparedStatements }},
		{"ignore_startup_parameters", pg, "", "start-up parameters that are dropped instead of applied", nil, reload, list, func(c *Config) any { return &c.IgnoreStartupParameters }},
		{"admin_users", pg, "", "users who may run every console command", nil, reload, list, func(c *Config) any { return &c.AdminUsers }},
		{"stats_users", pg, "", "users who may run the console's SHOW commands", nil, reload, list, func(c *Config) any { return &c.StatsUsers }},

		{"cache", cache, "on", "serve the cache", nil, false, boolean, func(c *Config) any { return &c.Cache }},
		{"cache_listen", cache, "127.0.0.1:6379", "where Redis clients connect", nil, false, addr, func(c *Config) any { return &c.CacheListen }},
		{"cache_password_file", cache, "", "file with the password that AUTH and HELLO ask for", nil, false, file, func(c *Config) any { return &c.CachePasswordFile }},
		{"max_memory", cache, "256MiB", "bytes that this node's share of the cache may take, overhead included", nil, false, size(1 << 20), func(c *Config) any { return &c.MaxMemory }},
		{"max_memory_policy", cache, "allkeys-s3fifo", "what goes when max_memory is reached: noeviction, allkeys-s3fifo, volatile-s3fifo; Redis's names mean the nearest of these", nil, false, policies, func(c *Config) any { return &c.MaxMemoryPolicy }},

		{"join", cluster, "", "gossip addresses of any members of the cluster, host or host:port; none starts a new one", nil, false, members, func(c *Config) any { return &c.Join }},
		{"gossip_listen", cluster, "127.0.0.1:7946", "where members gossip, UDP and TCP", nil, false, addr, func(c *Config) any { return &c.GossipListen }},
		{"peer_listen", cluster, "127.0.0.1:7947", "where members send each other cache commands", nil, false, addr, func(c *Config) any { return &c.PeerListen }},
		{"advertise_addr", cluster, "", "IP address at which other members reach this one; default the listen addresses", nil, false, text, func(c *Config) any { return &c.AdvertiseAddr }},
		{"cluster_name", cluster, "outrigger", "members of another name are refused", nil, false, text, func(c *Config) any { return &c.ClusterName }},
		{"cluster_key_file", cluster, "", "file with the key that members share", nil, false, file, func(c *Config) any { return &c.ClusterKeyFile }},
		{"node_name", cluster, "", "unique in the cluster; default the host name, and the gossip port when it is not 7946", nil, false, text, func(c *Config) any { return &c.NodeName }},
		{"zone", cluster, "", "availability zone of this node, told to the other members", nil, false, text, func(c *Config) any { return &c.Zone }},

		{"http_listen", process, "127.0.0.1:7948", "where /health/live, /health/ready and /metrics are; off for none", nil, false, addrOrOff, func(c *Config) any { return &c.HTTPListen }},
		{"loops", process, "0", "event loops; 0 is half of GOMAXPROCS, at least one", nil, false, count(0, 1024), func(c *Config) any { return &c.Loops }},
		{"drain_timeout", process, "25s", "longest wait for clients and hand-off after SIGTERM", nil, reload, duration, func(c *Config) any { return &c.DrainTimeout }},
		{"allow_insecure", process, "off", "accept trust and a cache without a password on addresses that others reach", nil, false, boolean, func(c *Config) any { return &c.AllowInsecure }},
		{"log_level", process, "info", "debug, info, warn or error", nil, reload, enum("debug", "info", "warn", "error"), func(c *Config) any { return &c.LogLevel }},
		{"log_format", process, "text", "text or json", nil, false, enum("text", "json"), func(c *Config) any { return &c.LogFormat }},
	}
}
