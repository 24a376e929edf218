package config

import "strings"

// Setting is a row of the table.
type Setting struct {
	Name    string
	Group   string
	Default string // as it would stand in the file; several of a list are separated by commas
	Help    string // one sentence without a period; also the flag's usage

	Env    []string // more environment variables that set it, besides OUTRIGGER_<NAME>
	traits traits

	kind  kind
	field func(*Config) any // pointer to the field; within Config.Pool when databases or users may have their own
}

// traits say when and where a setting holds.
type traits uint8

const (
	reload      traits = 1 << iota // a reload applies it; otherwise it takes a restart
	perDatabase                    // an entry of databases may have its own
	perUser                        // an entry of users may have its own
)

// EnvName is the environment variable that sets it.
func (s Setting) EnvName() string { return "OUTRIGGER_" + strings.ToUpper(s.Name) }

// FlagName is its flag, without the dashes.
func (s Setting) FlagName() string { return strings.ReplaceAll(s.Name, "_", "-") }

// Reloadable tells whether a reload applies it; otherwise it takes a restart.
func (s Setting) Reloadable() bool { return s.traits&reload != 0 }

// PerDatabase tells whether an entry of databases may have its own.
func (s Setting) PerDatabase() bool { return s.traits&perDatabase != 0 }

// PerUser tells whether an entry of users may have its own.
func (s Setting) PerUser() bool { return s.traits&perUser != 0 }

// shortNames are other names of settings, inside databases and users alone. They are PgBouncer's.
var shortNames = map[string]string{"pool_size": "default_pool_size"}

var (
	sslModes = enum("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
	policies = enum("noeviction", "allkeys-s3fifo", "allkeys-lru", "allkeys-lfu", "allkeys-random",
		"volatile-s3fifo", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl")
)

// Settings returns the table. Names are a contract: files, variables, flags and scripts rely on them.
func Settings() []Setting {
	const (
		servers, listening, pools, limits, auth, tls = "Servers", "Listening", "Pools", "Limits", "Who may come in", "TLS"
		splitting                                    = "Reads and writes"
		connections, timeouts, statements            = "Server connections", "Timeouts", "Statements and start-up"
		cache, cluster, process                      = "Cache", "Cluster", "Process"

		database = reload | perDatabase
		user     = reload | perUser
		both     = reload | perDatabase | perUser
	)
	return []Setting{
		{"primary_url", servers, "", "Postgres URL of the primary, or of several hosts any of which may be; its user and password are used for server connections unless as_client is on (without a password, the one that auth_file has for the user); without it the node serves the cache alone", []string{"PRIMARY_DB_URL"}, reload, pgURL, func(c *Config) any { return &c.PrimaryURL }},
		{"replica_urls", servers, "", "Postgres URLs of the replicas that take reads; their parameters weight=, backup=, zone= and pool_size= say how many", []string{"READ_REPLICA_URL"}, reload, pgURLs, func(c *Config) any { return &c.ReplicaURLs }},
		{"databases", servers, "", "map of a client's database to its own primary_url, replica_urls, dbname on the servers, and pool settings; * is the fallback, which primary_url fills", nil, reload, databaseMap, func(c *Config) any { return &c.Databases }},
		{"users", servers, "", "map of a user to the user's own pool settings, which come before the database's", nil, reload, userMap, func(c *Config) any { return &c.Users }},
		{"as_client", servers, "off", "log in to the servers as the client's user instead of the URL's; a reload changes it for new logins only", nil, reload, boolean, func(c *Config) any { return &c.AsClient }},

		{"pg_listen", listening, "127.0.0.1:6432", "where Postgres clients connect, one or several addresses; empty for the socket alone", nil, 0, addrs, func(c *Config) any { return &c.PGListen }},
		{"pg_socket_dir", listening, "", "directory of the Unix socket .s.PGSQL.PORT, with the port of the first pg_listen", nil, 0, dir, func(c *Config) any { return &c.PGSocketDir }},
		{"so_reuseport", listening, "off", "let several processes listen on the same pg_listen, as for an upgrade", nil, 0, boolean, func(c *Config) any { return &c.ReusePort }},

		{"pool_mode", pools, "transaction", "when a server connection goes back to the pool: with the session, after each transaction, or after each statement", nil, both, enum("session", "transaction", "statement"), func(c *Config) any { return &c.Pool.Mode }},
		{"default_pool_size", pools, "20", "server connections per database, user and server; pool_size inside databases and users", nil, both, count(1, maxConnections), func(c *Config) any { return &c.Pool.DefaultPoolSize }},
		{"min_pool_size", pools, "0", "server connections kept open, also without work", nil, both, count(0, maxConnections), func(c *Config) any { return &c.Pool.MinPoolSize }},
		{"reserve_pool_size", pools, "0", "server connections more, once a client has waited reserve_pool_timeout", nil, both, count(0, maxConnections), func(c *Config) any { return &c.Pool.ReservePoolSize }},
		{"reserve_pool_timeout", pools, "5s", "wait after which the reserve is used; 0 for never", nil, both, duration, func(c *Config) any { return &c.Pool.ReservePoolTimeout }},

		{"batching", pools, "auto", "auto: when all servers of a pool are busy, plain reads that are known to be short share one, in one write; off: each has one to itself", nil, both, enum("auto", "off"), func(c *Config) any { return &c.Pool.Batching }},
		{"batch_max", pools, "16", "most units that share a server", nil, both, count(1, 256), func(c *Config) any { return &c.Pool.BatchMax }},
		{"batch_max_time", pools, "2ms", "what takes a server longer, when that is not busy, does not share one", nil, both, positive(duration), func(c *Config) any { return &c.Pool.BatchMaxTime }},
		{"batch_max_reply", pools, "16KiB", "nor does what has longer answers", nil, both, size(1, 1<<20), func(c *Config) any { return &c.Pool.BatchMaxReply }},

		{"route", splitting, "auto", "where units go: auto decides by what they do, primary keeps all there, replica sends there what a replica can run, and begins sessions read-only", nil, both, routes, func(c *Config) any { return &c.Pool.Route }},
		{"application_routes", splitting, "", "routes by application_name, which come before those of users and databases; a name may end with *", nil, reload, routeList, func(c *Config) any { return &c.ApplicationRoutes }},
		{"reads_until_write", splitting, "off", "send the reads of a READ COMMITTED transaction to a replica until it first does something else", nil, both, boolean, func(c *Config) any { return &c.Pool.ReadsUntilWrite }},
		{"read_functions", splitting, "", "functions that only read, name or schema.name, whatever the catalog says of them", nil, database, list, func(c *Config) any { return &c.Pool.ReadFunctions }},
		{"write_functions", splitting, "", "functions that write or depend on the primary, name or schema.name, whatever the catalog says of them", nil, database, list, func(c *Config) any { return &c.Pool.WriteFunctions }},
		{"primary_relations", splitting, "", "tables and views that are read on the primary, name or schema.name; a name may end with *", nil, database, list, func(c *Config) any { return &c.Pool.PrimaryRelations }},
		{"replica_relations", splitting, "", "tables and views that are read on replicas although they tell of the server that is asked, as pg_stat_* do, or hide what writes", nil, database, list, func(c *Config) any { return &c.Pool.ReplicaRelations }},
		{"consistency", splitting, "session", "what a read must see: session, all that its session has written and read; token, what outrigger.token says; cluster, all that was written through this cluster; eventual, whatever a replica has", nil, both, enum("session", "eventual", "token", "cluster"), func(c *Config) any { return &c.Pool.Consistency }},
		{"load_balance", splitting, "least_connections", "which replica a read goes to: least_connections, round_robin, or latency, the faster of two by chance", nil, database, enum("least_connections", "round_robin", "latency"), func(c *Config) any { return &c.Pool.LoadBalance }},
		{"reads_without_replica", splitting, "primary", "where reads go while no replica can take them: primary, or error", nil, both, enum("primary", "error"), func(c *Config) any { return &c.Pool.ReadsWithoutReplica }},
		{"max_replica_lag", splitting, "10s", "a replica further behind gets no reads until it has caught up to half of that; 0 for no limit", nil, database, duration, func(c *Config) any { return &c.Pool.MaxReplicaLag }},
		{"max_replica_lag_bytes", splitting, "0", "the same in bytes of WAL; 0 for no limit", nil, database, size(0, 1<<62), func(c *Config) any { return &c.Pool.MaxReplicaLagBytes }},
		{"failover_wait", splitting, "30s", "longest wait for a primary while there is none, for what needs one; 0 fails at once", nil, both, duration, func(c *Config) any { return &c.Pool.FailoverWait }},
		{"probe_interval", splitting, "1s", "time between looks at each server's role and lag; a fifth of that in trouble", nil, reload, positive(duration), func(c *Config) any { return &c.ProbeInterval }},
		{"breaker_failures", splitting, "5", "failures of a server within 10s after which reads avoid it", nil, reload, count(1, 1_000_000), func(c *Config) any { return &c.BreakerFailures }},
		{"breaker_timeout", splitting, "5s", "time after which such a server is tried again, doubling up to 60s", nil, reload, positive(duration), func(c *Config) any { return &c.BreakerTimeout }},
		{"dns_max_ttl", splitting, "15s", "time after which the names of servers are looked up again, 0 for never; the addresses of a name in replica_urls, up to 8, are as many replicas", nil, reload, duration, func(c *Config) any { return &c.DNSMaxTTL }},

		{"max_client_conn", limits, "10000", "client connections at once; more are refused with 53300, as by every limit", nil, reload, count(1, 10_000_000), func(c *Config) any { return &c.MaxClientConn }},
		{"max_db_connections", limits, "0", "server connections per database; 0 for no limit", nil, database, count(0, maxConnections), func(c *Config) any { return &c.Pool.MaxDBConnections }},
		{"max_user_connections", limits, "0", "server connections per user; 0 for no limit", nil, user, count(0, maxConnections), func(c *Config) any { return &c.Pool.MaxUserConnections }},
		{"max_db_client_connections", limits, "0", "client connections per database; 0 for no limit", nil, database, count(0, 10_000_000), func(c *Config) any { return &c.Pool.MaxDBClientConnections }},
		{"max_user_client_connections", limits, "0", "client connections per user; 0 for no limit", nil, user, count(0, 10_000_000), func(c *Config) any { return &c.Pool.MaxUserClientConnections }},
		{"max_packet_size", limits, "1GiB", "longest message; a longer one is refused with 08P01 and the connection closed", nil, reload, size(64<<10, 1<<31-1), func(c *Config) any { return &c.MaxPacketSize }},

		{"client_auth", auth, "", "how clients log in: trust, scram-sha-256, md5, cert, peer (sockets); default trust on loopback and sockets, else scram-sha-256", nil, reload, optional(enum("trust", "scram-sha-256", "md5", "cert", "peer")), func(c *Config) any { return &c.ClientAuth }},
		{"auth_file", auth, "", "users and their passwords or secrets, in the format of PgBouncer's userlist.txt", nil, reload, file, func(c *Config) any { return &c.AuthFile }},
		{"auth_query", auth, "", "SQL that looks up users that auth_file does not name, the name as $1; default with auth_user: from pg_authid, honouring VALID UNTIL", nil, reload, text, func(c *Config) any { return &c.AuthQuery }},
		{"auth_user", auth, "", "who runs auth_query, with a password from auth_file; default the user of primary_url", nil, reload, text, func(c *Config) any { return &c.AuthUser }},
		{"admin_users", auth, "", "users who may run every console command", nil, reload, list, func(c *Config) any { return &c.AdminUsers }},
		{"stats_users", auth, "", "users who may run the console's SHOW commands", nil, reload, list, func(c *Config) any { return &c.StatsUsers }},
		{"allow_insecure", auth, "off", "accept trust, a cache without a password, and members without cluster_key_file on addresses that others reach", nil, reload, boolean, func(c *Config) any { return &c.AllowInsecure }},

		{"client_tls_sslmode", tls, "disable", "TLS for clients: disable, allow, prefer, require, verify-ca, verify-full", nil, reload, sslModes, func(c *Config) any { return &c.ClientTLS.SSLMode }},
		{"client_tls_key_file", tls, "", "private key shown to clients", nil, reload, file, func(c *Config) any { return &c.ClientTLS.KeyFile }},
		{"client_tls_cert_file", tls, "", "certificate shown to clients", nil, reload, file, func(c *Config) any { return &c.ClientTLS.CertFile }},
		{"client_tls_ca_file", tls, "", "authorities that sign clients' certificates", nil, reload, file, func(c *Config) any { return &c.ClientTLS.CAFile }},
		{"client_tls_protocols", tls, "secure", "versions for clients: tlsv1.0 to tlsv1.3, secure (from tlsv1.2) or all", nil, reload, protocols, func(c *Config) any { return &c.ClientTLS.Protocols }},
		{"server_tls_sslmode", tls, "prefer", "TLS to the servers: disable, allow, prefer, require, verify-ca, verify-full; sslmode in a URL comes first", nil, reload, sslModes, func(c *Config) any { return &c.ServerTLS.SSLMode }},
		{"server_tls_key_file", tls, "", "private key shown to the servers", nil, reload, file, func(c *Config) any { return &c.ServerTLS.KeyFile }},
		{"server_tls_cert_file", tls, "", "certificate shown to the servers", nil, reload, file, func(c *Config) any { return &c.ServerTLS.CertFile }},
		{"server_tls_ca_file", tls, "", "authorities that sign the servers' certificates", nil, reload, file, func(c *Config) any { return &c.ServerTLS.CAFile }},
		{"server_tls_protocols", tls, "secure", "versions to the servers: tlsv1.0 to tlsv1.3, secure (from tlsv1.2) or all", nil, reload, protocols, func(c *Config) any { return &c.ServerTLS.Protocols }},

		{"server_lifetime", connections, "3600s", "a server connection older than this is closed when it is free, ±10 %; 0 for never", nil, database, duration, func(c *Config) any { return &c.Pool.ServerLifetime }},
		{"server_idle_timeout", connections, "600s", "a server connection free for this long is closed, ±10 %; 0 for never", nil, database, duration, func(c *Config) any { return &c.Pool.ServerIdleTimeout }},
		{"server_connect_timeout", connections, "15s", "longest time to connect and log in to a server", nil, reload, duration, func(c *Config) any { return &c.ServerConnectTimeout }},
		{"server_login_retry", connections, "1s", "pause after a failed login to a server, growing to 15s", nil, reload, duration, func(c *Config) any { return &c.ServerLoginRetry }},
		{"server_check_delay", connections, "30s", "a server connection free for longer is checked with server_check_query before use", nil, reload, duration, func(c *Config) any { return &c.ServerCheckDelay }},
		{"server_check_query", connections, "", "query of that check; `<empty>` for one without a statement; empty for none: whether the server has hung up is seen without", nil, reload, text, func(c *Config) any { return &c.ServerCheckQuery }},
		{"server_round_robin", connections, "off", "use server connections in turn instead of the last used first", nil, reload, boolean, func(c *Config) any { return &c.ServerRoundRobin }},
		{"server_reset_query", connections, "DISCARD ALL", "run on a server connection that a session gives back in session mode, besides DISCARD ALL, which always runs", nil, database, text, func(c *Config) any { return &c.Pool.ServerResetQuery }},
		{"connect_query", connections, "", "run on every new server connection", nil, database, text, func(c *Config) any { return &c.Pool.ConnectQuery }},

		{"query_wait_timeout", timeouts, "120s", "longest wait for a server connection; 0 waits for ever", nil, both, duration, func(c *Config) any { return &c.Pool.QueryWaitTimeout }},
		{"query_wait_notify", timeouts, "5s", "a client that has waited this long for a server connection is told so by a NOTICE; 0 for never", nil, both, duration, func(c *Config) any { return &c.Pool.QueryWaitNotify }},
		{"query_timeout", timeouts, "0", "a query that runs longer is cancelled; 0 for never", nil, both, duration, func(c *Config) any { return &c.Pool.QueryTimeout }},
		{"idle_transaction_timeout", timeouts, "0", "longest idle time inside a transaction; 0 for no limit", nil, both, duration, func(c *Config) any { return &c.Pool.IdleTransactionTimeout }},
		{"transaction_timeout", timeouts, "0", "longest transaction; 0 for no limit", nil, both, duration, func(c *Config) any { return &c.Pool.TransactionTimeout }},
		{"client_idle_timeout", timeouts, "0", "a client idle for longer is closed; 0 for never", nil, both, duration, func(c *Config) any { return &c.Pool.ClientIdleTimeout }},
		{"client_login_timeout", timeouts, "60s", "a client that has not logged in by then is closed", nil, both, duration, func(c *Config) any { return &c.Pool.ClientLoginTimeout }},
		{"cancel_wait_timeout", timeouts, "10s", "longest time that a cancel request may take", nil, both, duration, func(c *Config) any { return &c.Pool.CancelWaitTimeout }},

		{"max_prepared_statements", statements, "500", "prepared statements kept on each server connection", nil, database, count(1, 1_000_000), func(c *Config) any { return &c.Pool.MaxPreparedStatements }},
		{"ignore_startup_parameters", statements, "", "start-up parameters that are dropped instead of applied", nil, reload, list, func(c *Config) any { return &c.IgnoreStartup }},
		{"application_name_add_host", statements, "off", "add the client's address to its application_name", nil, reload, boolean, func(c *Config) any { return &c.AppNameAddHost }},

		{"cache", cache, "on", "serve the cache", nil, 0, boolean, func(c *Config) any { return &c.Cache }},
		{"cache_listen", cache, "127.0.0.1:6379", "where Redis clients connect; empty for cache_socket alone", nil, 0, optional(addr), func(c *Config) any { return &c.CacheListen }},
		{"cache_socket", cache, "", "path of a Unix socket where Redis clients connect, besides cache_listen and without TLS", nil, 0, socketPath, func(c *Config) any { return &c.CacheSocket }},
		{"cache_socket_mode", cache, "0777", "permissions of cache_socket in octal: who of this machine may connect", nil, 0, fileMode, func(c *Config) any { return &c.CacheSocketMode }},
		{"cache_tls_key_file", cache, "", "private key of cache_tls_cert_file", nil, reload, file, func(c *Config) any { return &c.CacheTLS.KeyFile }},
		{"cache_tls_cert_file", cache, "", "certificate shown to Redis clients; with it cache_listen takes TLS only (rediss://)", nil, reload, file, func(c *Config) any { return &c.CacheTLS.CertFile }},
		{"cache_tls_ca_file", cache, "", "authorities that sign Redis clients' certificates; with it clients must show one", nil, reload, file, func(c *Config) any { return &c.CacheTLS.CAFile }},
		{"cache_tls_protocols", cache, "secure", "versions for Redis clients: tlsv1.0 to tlsv1.3, secure (from tlsv1.2) or all", nil, reload, protocols, func(c *Config) any { return &c.CacheTLS.Protocols }},
		{"cache_password_file", cache, "", "file with the password that AUTH and HELLO ask for; white space around it does not count", nil, reload, file, func(c *Config) any { return &c.CachePasswordFile }},
		{"cache_users", cache, "", "users of the cache besides default, each a name and rules as ACL SETUSER takes them, the password as #<its SHA-256>: app on #… ~app:* +@all -@dangerous", nil, reload, list, func(c *Config) any { return &c.CacheUsers }},
		{"cache_max_clients", cache, "10000", "Redis clients at once; more are refused", nil, reload, count(1, 10_000_000), func(c *Config) any { return &c.CacheMaxClients }},
		{"cache_client_idle_timeout", cache, "0", "a Redis client idle for longer is closed, unless it waits for a key or listens to messages; 0 for never", nil, reload, duration, func(c *Config) any { return &c.CacheClientIdleTimeout }},
		{"cache_output_buffer_limits", cache, "normal 1gb 256mb 60, pubsub 32mb 8mb 60", "how much may wait for a Redis client that reads slowly before it is closed: class, hard limit, soft limit and the seconds that this may be passed, 0 for no limit, as Redis's client-output-buffer-limit", nil, reload, list, func(c *Config) any { return &c.CacheOutputBufferLimits }},
		{"cache_script_time_limit", cache, "5s", "a script that runs longer is ended", nil, reload, positive(duration), func(c *Config) any { return &c.CacheScriptTimeLimit }},
		{"cache_snapshot", cache, "", "file that the cache is written to on a clean stop, and read from and removed at the next start; a damaged one is renamed, and the cache begins empty", nil, 0, fileToWrite, func(c *Config) any { return &c.CacheSnapshot }},
		{"cache_prefixes", cache, "", "map of prefixes of keys to rules, of which the longest prefix's counts. What GET does when keys come to their end: stale, how long one reader at a time gets nil and the others the value of before; refresh_ahead, how long before the end one gets nil; lease (5s), how long until the next one does. Where keys are: copies, replicated (at two nodes), single (at their owner) or local (each node its own); colocate, all of them together. How they are read: strong, always at their owner; unreachable, error or miss when the owner is. tags, which they have by their names. Copies local, colocate and tags take a restart", nil, reload, prefixMap, func(c *Config) any { return &c.CachePrefixes }},
		{"cache_debug", cache, "off", "allow the part of DEBUG that test suites of Redis clients need", nil, 0, boolean, func(c *Config) any { return &c.CacheDebug }},
		{"max_memory", cache, "", "bytes that this node's share of the cache may take, overhead included; default a quarter of the memory that the process may have, by its cgroup or the machine, at most 1GiB", nil, 0, optional(size(1<<20, 1<<62)), func(c *Config) any { return &c.MaxMemory }},
		{"max_memory_policy", cache, "allkeys-s3fifo", "what goes when max_memory is reached: allkeys-s3fifo, the least useful of all keys; volatile-s3fifo, of those with a time to live; volatile-ttl, what expires next; noeviction, nothing: writes are refused. Redis's -lru, -lfu and -random mean -s3fifo", nil, 0, policies, func(c *Config) any { return &c.MaxMemoryPolicy }},
		{"near_cache_memory", cache, "32MiB", "bytes of max_memory, at most an eighth of it, for copies of keys that other members own and clients here read often; 0 keeps none", nil, 0, size(0, 1<<62), func(c *Config) any { return &c.NearCacheMemory }},
		{"near_cache_max_staleness", cache, "500ms", "how old what clients here read from such a copy may be; what they write through this node they see at once", nil, 0, positive(duration), func(c *Config) any { return &c.NearCacheMaxStaleness }},

		{"join", cluster, "", "where other members gossip: host or host:port, whose addresses are all tried, or srv+NAME for the SRV records of NAME (_SERVICE._udp.NAME is one as it is); looked up again for ever; none for a member that others find", nil, 0, members, func(c *Config) any { return &c.Join }},
		{"gossip_listen", cluster, "127.0.0.1:7946", "where members gossip, UDP and TCP", nil, 0, addr, func(c *Config) any { return &c.GossipListen }},
		{"peer_listen", cluster, "127.0.0.1:7947", "where members send each other cache commands", nil, 0, addr, func(c *Config) any { return &c.PeerListen }},
		{"advertise_addr", cluster, "", "IP address at which other members reach this one; default the listen addresses", nil, 0, text, func(c *Config) any { return &c.AdvertiseAddr }},
		{"cluster_name", cluster, "outrigger", "members of another name are refused", nil, 0, text, func(c *Config) any { return &c.ClusterName }},
		{"cluster_key_file", cluster, "", "file with the keys that members share, one a line: the first encrypts gossip and what members send each other, the others are accepted; without it both listeners are for loopback", nil, reload, file, func(c *Config) any { return &c.ClusterKeyFile }},
		{"min_members", cluster, "0", "a node that sees fewer members, itself included, refuses writes to the cache; 0 for never", nil, 0, count(0, 10_000), func(c *Config) any { return &c.MinMembers }},
		{"node_name", cluster, "", "unique in the cluster, and best the same after a restart; default the host name, with the gossip port when it is not 7946, and something random when the host has no name of its own", []string{"POD_NAME"}, 0, text, func(c *Config) any { return &c.NodeName }},
		{"zone", cluster, "", "availability zone of this node, told to the other members; replicas in it come first", nil, 0, text, func(c *Config) any { return &c.Zone }},

		{"http_listen", process, "127.0.0.1:7948", "where /health/live, /health/ready, /status and /metrics are; off for none", nil, 0, addrOrOff, func(c *Config) any { return &c.HTTPListen }},
		{"loops", process, "0", "event loops; 0 is half of GOMAXPROCS, at least one", nil, 0, count(0, 1024), func(c *Config) any { return &c.Loops }},
		{"drain_timeout", process, "25s", "longest wait for clients and hand-off after SIGTERM", nil, reload, duration, func(c *Config) any { return &c.DrainTimeout }},
		{"log_level", process, "info", "debug, info, warn or error", nil, reload, enum("debug", "info", "warn", "error"), func(c *Config) any { return &c.LogLevel }},
		{"log_format", process, "text", "text or json", nil, 0, enum("text", "json"), func(c *Config) any { return &c.LogFormat }},
	}
}

// maxConnections bounds what can be asked of a server; PostgreSQL's own MAX_BACKENDS is 2^18-1.
const maxConnections = 100_000
