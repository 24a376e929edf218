package pgbouncer

// rule says what becomes of a setting of the [pgbouncer] section.
type rule struct {
	name string
	// def is PgBouncer's default (1.25, config.md). state says to write it down when the file does not, because ours is
	// another.
	def   string
	state bool

	convert converter // zero: the setting has no equivalent
	to      string    // our name for it; empty: the same

	// advice is what to do instead, said when the value is not one of harmless, nor the default.
	advice   string
	harmless []string
}

const (
	onStderr   = "everything is logged to stderr: redirect it where you want it"
	byManager  = "let the service manager do it"
	goTLS      = "Go's TLS library chooses, from what is secure today"
	notNeeded  = "not needed here"
	ownBuffers = "buffers are sized by the event loop"
)

// rules are all settings of PgBouncer 1.25, those that came after it, and some that went before.
var rules = []rule{
	// Those that listeners, authentication and databases are made of are read by convert.go.
	{name: "listen_addr", convert: composed},
	{name: "listen_port", def: "6432", convert: composed},
	{name: "unix_socket_dir", def: "/tmp", convert: composed},
	{name: "auth_type", def: "md5", convert: composed},
	{name: "auth_user", convert: composed},
	{name: "auth_query", def: defaultQuery, convert: composed},
	{name: "min_pool_size", def: "0", convert: composed},

	{name: "pool_mode", def: "session", state: true, convert: word},
	{name: "max_client_conn", def: "100", state: true, convert: number},
	{name: "default_pool_size", def: "20", convert: number},
	{name: "reserve_pool_size", def: "0", convert: number},
	{name: "reserve_pool_timeout", def: "5", convert: seconds},
	{name: "max_db_connections", def: "0", convert: number},
	{name: "max_user_connections", def: "0", convert: number},
	{name: "max_db_client_connections", def: "0", convert: number},
	{name: "max_user_client_connections", def: "0", convert: number},
	{name: "server_round_robin", def: "0", convert: onOff},
	{name: "ignore_startup_parameters", convert: word},
	{name: "application_name_add_host", def: "0", convert: onOff},
	{name: "max_prepared_statements", def: "200", state: true, convert: statements},
	{name: "auth_file", convert: word},
	{name: "admin_users", convert: word},
	{name: "stats_users", convert: word},
	{name: "server_reset_query", def: "DISCARD ALL", convert: word},
	{name: "server_check_delay", def: "30", convert: seconds},
	{name: "server_check_query", def: "<empty>", convert: word}, // ours, a look at the socket, finds what that finds,
	{name: "server_lifetime", def: "3600", convert: lifetime},
	{name: "server_idle_timeout", def: "600", convert: seconds},
	{name: "server_connect_timeout", def: "15", convert: seconds},
	{name: "server_login_retry", def: "15", state: true, convert: seconds},
	{name: "client_login_timeout", def: "60", convert: seconds},
	{name: "query_wait_notify", def: "5", convert: seconds},
	{name: "query_timeout", def: "0", convert: seconds},
	{name: "query_wait_timeout", def: "120", convert: seconds},
	{name: "cancel_wait_timeout", def: "10", convert: seconds},
	{name: "client_idle_timeout", def: "0", convert: seconds},
	{name: "idle_transaction_timeout", def: "0", convert: seconds},
	{name: "transaction_timeout", def: "0", convert: seconds},
	{name: "max_packet_size", def: "2147483647", state: true, convert: number},
	{name: "so_reuseport", def: "0", convert: onOff},
	{name: "client_tls_sslmode", def: "disable", convert: word},
	{name: "client_tls_key_file", convert: word},
	{name: "client_tls_cert_file", convert: word},
	{name: "client_tls_ca_file", convert: word},
	{name: "client_tls_protocols", def: "secure", convert: word},
	{name: "server_tls_sslmode", def: "prefer", convert: word},
	{name: "server_tls_key_file", convert: word},
	{name: "server_tls_cert_file", convert: word},
	{name: "server_tls_ca_file", convert: word},
	{name: "server_tls_protocols", def: "secure", convert: word},
	{name: "verbose", def: "0", convert: verbosity, to: "log_level"},

	{name: "auth_dbname", advice: "auth_query runs in the client's database: make its function there"},
	{name: "auth_hba_file", advice: "one client_auth holds for all listeners; without it, loopback and sockets are trusted and others give a password"},
	{name: "auth_ident_file", advice: "with cert and peer the certificate's or system's name is the user's name"},
	{name: "auth_ldap_options", advice: "use client_auth: scram-sha-256 with auth_file or auth_query"},
	{name: "autodb_idle_timeout", def: "3600", advice: "pools without servers cost next to nothing and stay"},
	{name: "client_tls13_ciphers", advice: goTLS, harmless: []string{"default", "secure"}},
	{name: "client_tls_ciphers", def: "default", advice: goTLS, harmless: []string{"secure", "fast", "normal"}},
	{name: "client_tls_dheparams", def: "auto", advice: "finite-field Diffie-Hellman is not used", harmless: []string{"none"}},
	{name: "client_tls_ecdhcurve", def: "auto", advice: goTLS},
	{name: "conffile", advice: "the file is named by --config"},
	{name: "disable_pqexec", def: "0", advice: "cannot be had: simple queries are always accepted"},
	{name: "dns_max_ttl", def: "15", advice: "names are looked up for every new server connection, by the system's resolver"},
	{name: "dns_nxdomain_ttl", def: "15", advice: "failed look-ups are not cached; server_login_retry spaces them"},
	{name: "dns_zone_check_period", def: "0", advice: "names are looked up for every new server connection; server_lifetime bounds how long an old address is used"},
	{name: "job_name", def: "pgbouncer", advice: byManager},
	{name: "listen_backlog", def: "128", advice: "the system's maximum is used (net.core.somaxconn)"},
	{name: "log_connections", def: "1", advice: "see SHOW CLIENTS and /metrics; log_level: debug tells more"},
	{name: "log_disconnections", def: "1", advice: "see SHOW CLIENTS and /metrics; log_level: debug tells more"},
	{name: "log_pooler_errors", def: "1", advice: "see /metrics"},
	{name: "log_stats", def: "1", advice: "see SHOW STATS and /metrics", harmless: []string{"0"}},
	{name: "logfile", advice: onStderr},
	{name: "login_notify_message", advice: "cannot be had"},
	{name: "peer_id", def: "0", advice: "not needed: one process uses several processors (loops), and its cancel keys are its own"},
	{name: "pidfile", advice: byManager},
	{name: "pkt_buf", def: "4096", advice: ownBuffers},
	{name: "pool_idle_timeout", def: "0", advice: "pools without servers cost next to nothing and stay"},
	{name: "resolv_conf", advice: "the system's /etc/resolv.conf is used"},
	{name: "sbuf_loopcnt", def: "5", advice: ownBuffers},
	{name: "scram_iterations", def: "4096", advice: "plain passwords of auth_file are salted with PostgreSQL's default, 4096; store SCRAM secrets for more"},
	{name: "server_fast_close", def: "0", advice: "cannot be had: in session mode a server is closed when the session ends; KILL_CLIENT ends one"},
	{name: "server_reset_query_always", def: "0", advice: "not needed: session state follows its client in transaction mode"},
	{name: "server_tls13_ciphers", advice: goTLS, harmless: []string{"default", "secure"}},
	{name: "server_tls_ciphers", def: "default", advice: goTLS, harmless: []string{"secure", "fast", "normal"}},
	{name: "service_name", advice: byManager},
	{name: "stats_period", def: "60", advice: "averages are over one minute"},
	{name: "suspend_timeout", def: "10", advice: "drain_timeout bounds the wait for clients at the end"},
	{name: "syslog", def: "0", advice: onStderr},
	{name: "syslog_facility", def: "daemon", advice: onStderr},
	{name: "syslog_ident", def: "pgbouncer", advice: onStderr},
	{name: "tcp_defer_accept", def: "1", advice: notNeeded, harmless: []string{"0"}},
	{name: "tcp_keepalive", def: "1", advice: "keep-alive is always on"},
	{name: "tcp_keepcnt", def: "0", advice: "keep-alive finds dead peers with settings of its own"},
	{name: "tcp_keepidle", def: "0", advice: "keep-alive finds dead peers with settings of its own"},
	{name: "tcp_keepintvl", def: "0", advice: "keep-alive finds dead peers with settings of its own"},
	{name: "tcp_socket_buffer", def: "0", advice: "the system sizes socket buffers (net.ipv4.tcp_rmem, tcp_wmem)"},
	{name: "tcp_user_timeout", def: "0", advice: "keep-alive finds dead peers with settings of its own"},
	{name: "track_extra_parameters", def: "IntervalStyle", advice: "not needed: every parameter that a client sets follows it"},
	{name: "unix_socket_group", advice: "give the directory pg_socket_dir the group and mode that may connect"},
	{name: "unix_socket_mode", def: "0777", advice: "give the directory pg_socket_dir the group and mode that may connect", harmless: []string{"777"}},
	{name: "user", advice: byManager},

	// Gone before 1.25
	{name: "server_tls_dheparams", def: "auto", advice: goTLS},
	{name: "server_tls_ecdhcurve", def: "auto", advice: goTLS},
}

// databaseKeys are the parameters of a connection string in [databases] that say how its pools are, rather than where
// the database is.
var databaseKeys = map[string]rule{
	"pool_size":                 {convert: number},
	"reserve_pool_size":         {convert: number},
	"reserve_pool":              {convert: number, to: "reserve_pool_size"},
	"max_db_connections":        {convert: number},
	"max_db_client_connections": {convert: number},
	"pool_mode":                 {convert: word},
	"query_wait_timeout":        {convert: seconds},
	"server_lifetime":           {convert: lifetime},
	"connect_query":             {convert: word},
	"min_pool_size":             {convert: composed},
	"auth_user":                 {convert: composed},
	"auth_query":                {convert: composed},

	"auth_dbname":        {advice: "auth_query runs in the client's database: make its function there"},
	"client_encoding":    {advice: "say it in the client's connection, or ALTER DATABASE … SET client_encoding"},
	"datestyle":          {advice: "say it in the client's connection, or ALTER DATABASE … SET datestyle"},
	"timezone":           {advice: "say it in the client's connection, or ALTER DATABASE … SET timezone"},
	"application_name":   {advice: "say it in the client's connection, or ALTER ROLE … SET application_name"},
	"load_balance_hosts": {advice: "the role of each host is found out: writes go to the primary, reads to replicas in turn"},
}

// userKeys are those of [users].
var userKeys = map[string]rule{
	"pool_size":                   {convert: number},
	"reserve_pool_size":           {convert: number},
	"pool_mode":                   {convert: word},
	"max_user_connections":        {convert: number},
	"max_user_client_connections": {convert: number},
	"query_timeout":               {convert: seconds},
	"query_wait_timeout":          {convert: seconds},
	"idle_transaction_timeout":    {convert: seconds},
	"transaction_timeout":         {convert: seconds},
	"client_idle_timeout":         {convert: seconds},
}

// defaultQuery is what both ask without auth_query, but for spelling.
const defaultQuery = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin"
