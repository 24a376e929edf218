package admin

import (
	"net"
	"time"
)

// Source is what the console shows. Its methods are called by the goroutines of several consoles at once, and what they
// return belongs to the caller.
type Source interface {
	// Version is the program's own, without its name.
	Version() string
	State() State
	// Pools returns a row for each database, user and server. SHOW POOLS adds up those of one database and user.
	Pools() []Pool
	Clients() []Client
	Servers() []Server
	Stats() []Stat
	Databases() []Database
	Users() []User
	Memory() []Memory
	Config() []ConfigRow
	Pins() []Pin
	Statements() []Prepared
	Replicas() []Replica
	Loops() []Loop
	Health() []Health
	DNSHosts() []DNSHost
	// Routes returns a row for each database, side and reason with decisions.
	Routes() []RouteCount
	// Batches returns rows for each database where clients have waited.
	Batches() []BatchCount
	// Members returns a row for each member of the cluster, by name; none without one.
	Members() []Member
	// Route tells what would become of a statement. Its error is for the client.
	Route(RouteQuestion) (RouteAnswer, error)
}

// State is what the pooler has one of.
type State struct {
	Paused    bool // PAUSE without a database
	Suspended bool
	// LoginClients have connected but not logged in yet.
	LoginClients int
}

// Pool is a row of SHOW SERVER_POOLS: the connections of one user to one server for one database. A client that is linked
// to no server and waits for none counts in the pool of the primary.
type Pool struct {
	Database, User string
	Counts

	MaxWait  time.Duration // of the client that waits longest
	PoolMode string        // transaction, session or statement

	Server string // address
	Role   string // of the server: primary, replica or unknown
}

// Counts are a pool's connections by what they do.
type Counts struct {
	ClientsActive  int // linked to a server, or idle
	ClientsWaiting int
	CancelsActive  int // cancel requests that were sent on and not answered yet
	CancelsWaiting int // cancel requests not sent on yet

	ServersActive        int // linked to a client
	ServersActiveCancel  int // carry a cancel request
	ServersBeingCanceled int // free as soon as the cancel requests for them are done
	ServersIdle          int
	ServersUsed          int // idle for so long that a check is due
	ServersTested        int // run a reset or a check
	ServersLogin         int
}

// Conn is what SHOW CLIENTS and SHOW SERVERS have in common.
type Conn struct {
	User, Database string
	Replication    string // none, logical or physical; empty means none
	// State of a client is active, idle, waiting, active_cancel_req, waiting_cancel_req or login; of a server active,
	// idle, used, tested, new, active_cancel or being_canceled. Clients that log in show in SHOW SOCKETS only.
	State       string
	Addr        net.Addr // the other end; nil shows as empty, here and below
	LocalAddr   net.Addr
	ConnectTime time.Time
	RequestTime time.Time     // of the latest request; zero shows as ConnectTime
	Wait        time.Duration // a client's current wait for a server

	CloseNeeded bool   // it is closed as soon as it is free
	ID          uint64 // unique among clients, or among servers; shown as id and, in hexadecimal, as ptr
	Link        uint64 // the ID of the other side's connection that it is linked to, or 0
	RemotePID   uint32

	TLS                string // version and cipher, or empty
	ApplicationName    string
	PreparedStatements int

	FD             int // descriptor, or 0 when it is not known: such a connection is not in SHOW FDS
	Unread, Unsent int // bytes that were received and not dealt with yet; bytes that wait to be sent
}

// Client is a row of SHOW CLIENTS.
type Client struct{ Conn }

// Server is a row of SHOW SERVERS.
type Server struct {
	Conn
	Role       string // primary, replica or unknown
	XactCount  uint64
	QueryCount uint64
}

// Stat is a row of SHOW STATS: one database.
type Stat struct {
	Database string
	Total    Counters // since the start
	// Period is what was added to Total during the latest PeriodLength. The averages come from it; they are 0 if
	// PeriodLength is.
	Period       Counters
	PeriodLength time.Duration
}

// Database is a row of SHOW DATABASES: a database as clients name it. A limit of 0 is none.
type Database struct {
	Name            string
	Host            string // of its primary; several are separated by commas; empty for a Unix socket shows as NULL
	Port            int
	Database        string // its name on the server
	ForceUser       string // the user for server connections, if not the client's own
	PoolSize        int
	MinPoolSize     int
	ReservePoolSize int
	ServerLifetime  time.Duration
	PoolMode        string // empty, shown as NULL, if it has none of its own

	MaxConnections, CurrentConnections             int // to servers
	MaxClientConnections, CurrentClientConnections int

	Paused, Disabled bool
}

// User is a row of SHOW USERS. A limit of 0 is none.
type User struct {
	Name                      string
	PoolSize, ReservePoolSize int    // 0, shown as empty, if it has none of its own
	PoolMode                  string // empty, shown as NULL, if it has none of its own

	MaxConnections, CurrentConnections             int // to servers
	MaxClientConnections, CurrentClientConnections int
}

// Memory is a row of SHOW MEM: one kind of thing, of Size bytes each.
type Memory struct {
	Name             string
	Size, Used, Free int
	Total            int // bytes
}

// ConfigRow is a row of SHOW CONFIG. Whoever makes it masks the secrets in Value and Default: the console shows what it
// gets. Durations are in seconds and switches 0 or 1, as PgBouncer has them.
type ConfigRow struct {
	Key, Value, Default string
	Changeable          bool // by SET or RELOAD
}

// Pin is a row of SHOW PINS: a client that keeps its server beyond the transaction.
type Pin struct {
	ClientID       uint64 // as in SHOW CLIENTS
	User, Database string
	ServerPID      uint32
	Reason         string
	Statement      string // that caused it; shown shortened
	Since          time.Time
}

// Prepared is a row of SHOW STATEMENTS: a statement that clients share.
type Prepared struct {
	Name    string // on the servers
	SQL     string // shown shortened
	Uses    uint64
	Servers int // connections that hold it
	Bytes   int // in this process
}

// Replica is a row of SHOW REPLICAS: a server, and whether reads go there.
type Replica struct {
	Databases string // those that live there, separated by commas
	Server    string // address
	Role      string // primary, replica or unknown
	Usable    bool   // for the reads of a client that has neither written nor read yet
	Reason    string // why not; empty if it is

	Breaker  string // closed, open or half-open
	Failures int    // that the breaker has counted lately
	Opened   uint64 // times that it has opened since the start

	Weight   int
	Backup   bool
	Zone     string
	PoolSize int // of its own; 0, shown as NULL, if it has none

	Reads    int           // that run there or wait for a connection
	Latency  time.Duration // average of the last; 0, shown as NULL, if it is not measured
	Lag      time.Duration // age of what was replayed last; negative, shown as NULL, if unknown
	LagBytes int64         // behind the primary; negative, shown as NULL, if unknown
}

// Loop is a row of SHOW LOOPS: an event loop. The counts are since the start.
type Loop struct {
	ID               int
	Clients, Servers int
	Ticks            uint64
	Events           uint64 // connections that a tick found ready
	Writes           uint64
	BytesIn          uint64
	BytesOut         uint64
	Posts            uint64 // calls from outside of it
	LongestTick      time.Duration
}

// Health is a row of SHOW HEALTH: what the probes of a Postgres server have found.
type Health struct {
	Server    string // address
	Role      string // what it says that it is: primary, replica or unknown
	Primary   bool   // it is the one that takes writes
	State     string // up, down, unknown before the first probe, or fenced: it answers and is used for nothing
	Reason    string // why it is fenced, or what is wrong with it
	Lag       time.Duration
	LagBytes  int64 // of a replica behind its primary, as Lag: negative, shown as NULL, when it is not known
	Timeline  uint32
	SystemID  uint64 // system identifier of the cluster
	LSN       uint64 // flushed, or on a replica replayed
	Version   int    // server_version_num
	CheckedAt time.Time
}

// RouteCount is a row of SHOW ROUTES: how many units of a database's clients were sent to a side for one reason, since the
// start.
type RouteCount struct {
	Database string
	Side     string // primary or replica
	Reason   string
	Count    uint64
}

// BatchCount is a row of SHOW BATCHES: a count of one database since the start. What is "batches", units that were "shared"
// in these, units that were "taken off" them to be run again elsewhere, "surprises" (statements that did what they were not
// thought to do), or units that waited and then were "alone" on their server, for a reason.
type BatchCount struct {
	Database, What, Reason string
	Count                  uint64
}

// RouteQuestion is what EXPLAIN ROUTE asks: where a statement goes that this user sends in this database, outside a
// transaction. Empty names are for the pooler to fill in, if there is but one.
type RouteQuestion struct{ Database, User, SQL string }

// RouteAnswer is the answer.
type RouteAnswer struct {
	Database, User string

	Class, Hint string   // as the text has them
	Flags       []string // what it does besides
	Names       []RouteName

	Route, RouteFrom string // auto, primary or replica for what such a client sends, and what says so
	Side, Reason     string // primary or replica, and what decided it
	Servers          []RouteServer
}

// RouteName is a function that it calls or a relation that it names.
type RouteName struct {
	Kind    string // function or relation
	Name    string
	Verdict string // what is known of it
}

// RouteServer is a server that might run it.
type RouteServer struct {
	Addr  string
	State string // its role and whether it can be used; if not, why
}

// DNSHost is a row of SHOW DNS_HOSTS: a name that servers are reached by.
type DNSHost struct {
	Host  string
	TTL   time.Duration // until it is looked up again; 0: never
	Addrs []string      // those in use
}
