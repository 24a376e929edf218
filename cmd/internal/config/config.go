package config

import (
	"crypto/tls"
	"io/fs"
	"slices"
	"strconv"
	"time"
)

// Config is the whole configuration, with defaults filled in and validated. It is not changed after Load.
type Config struct {
	// Servers. Load makes Databases whole: it has each database's servers, and "*" when PrimaryURL is set.
	PrimaryURL  string
	ReplicaURLs []string
	Databases   map[string]Database
	Users       map[string]User

	// Listening for Postgres clients
	PGListen    []string // host:port; may be empty when there is a socket
	PGSocketDir string   // empty: no Unix socket
	ReusePort   bool

	// Pool holds the settings that databases and users may have their own of; see PoolFor.
	Pool          Pool
	MaxClientConn int

	// Server connections
	AsClient             bool // log in to servers as the client's user
	ServerConnectTimeout time.Duration
	ServerLoginRetry     time.Duration
	ServerCheckDelay     time.Duration
	ServerCheckQuery     string // EmptyQuery: a query without a statement; "": none
	ServerRoundRobin     bool

	// Reads and writes
	ApplicationRoutes []string // name=route
	ProbeInterval     time.Duration
	BreakerFailures   int
	BreakerTimeout    time.Duration
	DNSMaxTTL         time.Duration // 0: never

	// Who may come in
	ClientAuth     string // trust, scram-sha-256, md5, cert, peer; empty: by listener, see AuthFor
	AuthFile       string
	AuthQuery      string // empty: auth's default query; see LooksUpUsers
	AuthUser       string // empty: the URL's user
	AdminUsers     []string
	StatsUsers     []string
	AllowInsecure  bool
	ClientTLS      TLS
	ServerTLS      TLS
	MaxPacketSize  int64 // bytes
	IgnoreStartup  []string
	AppNameAddHost bool // application_name_add_host

	// Cache
	Cache                   bool
	CacheListen             string // host:port; empty: the socket alone
	CacheSocket             string // absolute path; empty: none
	CacheSocketMode         string // octal; see SocketMode
	CacheTLS                TLS    // its SSLMode is not used: TLS is on when there is a certificate
	CachePasswordFile       string
	CacheUsers              []string // a name and rules each
	CacheMaxClients         int
	CacheClientIdleTimeout  time.Duration // 0: never
	CacheOutputBufferLimits []string      // class, hard limit, soft limit, seconds each
	CacheScriptTimeLimit    time.Duration
	CacheSnapshot           string // path
	CacheDebug              bool   // allow DEBUG
	CachePrefixes           map[string]Prefix
	MaxMemory               int64 // bytes; never 0 after Load
	MaxMemoryPolicy         string
	NearCacheMemory         int64 // bytes; 0: none
	NearCacheMaxStaleness   time.Duration

	// Cluster
	Join           []string // host:port of any members
	GossipListen   string
	PeerListen     string
	AdvertiseAddr  string // host that other members reach us at; empty: derived from the listen address
	ClusterName    string
	ClusterKeyFile string
	MinMembers     int    // that a node must see to write; 0: any
	NodeName       string // never empty after Load
	Zone           string

	// Process
	HTTPListen   string
	Loops        int // event loops, for both halves; never 0 after Load
	DrainTimeout time.Duration
	LogLevel     string
	LogFormat    string

	origins map[string]string // setting name, or path such as databases.app.pool_mode → where its value comes from; absent: default
}

// Pool is what a pool, its servers and its clients are governed by. 0 stands for "no limit" and "never" where not said
// otherwise.
type Pool struct {
	Mode               string // transaction, session, statement
	DefaultPoolSize    int    // per (database, user, server); at least 1
	MinPoolSize        int
	ReservePoolSize    int
	ReservePoolTimeout time.Duration

	MaxDBConnections         int
	MaxUserConnections       int
	MaxDBClientConnections   int
	MaxUserClientConnections int

	QueryWaitTimeout       time.Duration
	QueryWaitNotify        time.Duration
	QueryTimeout           time.Duration
	IdleTransactionTimeout time.Duration
	TransactionTimeout     time.Duration
	ClientIdleTimeout      time.Duration
	ClientLoginTimeout     time.Duration // the global one holds until the start-up packet is there
	CancelWaitTimeout      time.Duration

	ServerLifetime    time.Duration
	ServerIdleTimeout time.Duration
	ServerResetQuery  string // "": none
	ConnectQuery      string // "": none

	MaxPreparedStatements int // per server connection; at least 1

	Batching      string // auto, off
	BatchMax      int
	BatchMaxTime  time.Duration
	BatchMaxReply int64

	Route               string // auto, primary, replica
	ReadsUntilWrite     bool
	ReadFunctions       []string // name or schema.name
	WriteFunctions      []string
	PrimaryRelations    []string // name or schema.name, perhaps with a * at the end
	ReplicaRelations    []string
	Consistency         string // session, eventual, token, cluster
	LoadBalance         string // least_connections, round_robin, latency
	ReadsWithoutReplica string // primary, error
	MaxReplicaLag       time.Duration
	MaxReplicaLagBytes  int64
	FailoverWait        time.Duration // 0: do not wait
}

// EmptyQuery is the server_check_query that asks for a query without a statement.
const EmptyQuery = "<empty>"

// TLS is one side's TLS settings, with PgBouncer's names and values.
type TLS struct {
	SSLMode   string // disable, allow, prefer, require, verify-ca, verify-full
	KeyFile   string
	CertFile  string
	CAFile    string
	Protocols []string // tlsv1.0 … tlsv1.3, without gaps, rising; never empty after Load
}

var tlsVersions = map[string]uint16{"tlsv1.0": tls.VersionTLS10, "tlsv1.1": tls.VersionTLS11, "tlsv1.2": tls.VersionTLS12, "tlsv1.3": tls.VersionTLS13}

// Versions are the lowest and the highest protocol version allowed, as crypto/tls numbers them.
func (t TLS) Versions() (lowest, highest uint16) {
	if len(t.Protocols) == 0 { // not by Load
		return tls.VersionTLS12, tls.VersionTLS13
	}
	return tlsVersions[t.Protocols[0]], tlsVersions[t.Protocols[len(t.Protocols)-1]]
}

// SocketMode is CacheSocketMode as the system takes it.
func (c *Config) SocketMode() fs.FileMode {
	mode, _ := strconv.ParseUint(c.CacheSocketMode, 8, 32) // Load has checked it
	return fs.FileMode(mode)
}

// Pooler tells whether there is a Postgres server to pool.
func (c *Config) Pooler() bool { return len(c.Databases) > 0 }

// LooksUpUsers tells whether users that auth_file does not name are looked up in the database.
func (c *Config) LooksUpUsers() bool { return c.AuthQuery != "" || c.AuthUser != "" }

// Origin says where a value comes from: a file and line, a variable or a flag; empty for the default. Besides settings it
// knows what databases and users hold, as databases.app.primary_url.
func (c *Config) Origin(setting string) string { return c.origins[setting] }

// Changed lists the settings whose values differ between two configurations, in the table's order.
func Changed(a, b *Config) []Setting {
	return slices.DeleteFunc(Settings(), func(s Setting) bool { return s.text(a) == s.text(b) })
}
