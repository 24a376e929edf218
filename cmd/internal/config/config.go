package config

import "time"

// Config is the whole configuration, with defaults filled in and validated. It is not changed after Load.
type Config struct {
	// Postgres
	PrimaryURL  string   // empty: no pooler
	ReplicaURLs []string // may be empty
	PGListen    []string // host:port

	PoolMode        string // "transaction", "session"
	DefaultPoolSize int    // server connections per (database, user, server)
	MaxClientConn   int

	ClientAuth string // "trust", "scram-sha-256"; never empty after Load
	AuthFile   string
	ClientTLS  TLS
	ServerTLS  TLS

	QueryWaitTimeout     time.Duration // 0: wait for ever
	ClientLoginTimeout   time.Duration
	ServerLifetime       time.Duration
	ServerIdleTimeout    time.Duration
	ServerConnectTimeout time.Duration
	ServerLoginRetry     time.Duration

	MaxPreparedStatements   int // per server connection
	IgnoreStartupParameters []string
	AdminUsers              []string
	StatsUsers              []string

	// Cache
	Cache             bool
	CacheListen       string // host:port
	CachePasswordFile string
	MaxMemory         int64 // bytes
	MaxMemoryPolicy   string

	// Cluster
	Join           []string // host:port of any members
	GossipListen   string
	PeerListen     string
	AdvertiseAddr  string // host that other members reach us at; empty: derived from the listen address
	ClusterName    string
	ClusterKeyFile string
	NodeName       string // never empty after Load
	Zone           string

	// Process
	HTTPListen    string
	Loops         int // event loops per half; never 0 after Load
	DrainTimeout  time.Duration
	AllowInsecure bool
	LogLevel      string
	LogFormat     string

	origins map[string]string // setting name → where its value comes from; absent: default
}

// TLS is one side's TLS settings, with PgBouncer's names and values.
type TLS struct {
	SSLMode  string // disable, allow, prefer, require, verify-ca, verify-full
	KeyFile  string
	CertFile string
	CAFile   string
}

// Origin says where a setting's value comes from: a file and line, a variable or a flag; empty for the default.
func (c *Config) Origin(setting string) string { return c.origins[setting] }

// Changed lists the settings whose values differ between two configurations, in the table's order.
func Changed(a, b *Config) []Setting {
	var changed []Setting
	for _, s := range Settings() {
		if s.text(a) != s.text(b) {
			changed = append(changed, s)
		}
	}
	return changed
}
