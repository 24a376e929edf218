package admin

import (
	"net"
	"time"
)

// Source is what the console shows and does. Its methods are called by the goroutines of several consoles at once, and
// what they return belongs to the caller.
type Source interface {
	Pools() []Pool
	Clients() []Client
	Servers() []Server
	Stats() []Stat
	// Version is the line that SHOW VERSION answers.
	Version() string
	// Reload reads the configuration again. An error means that the old one is still in use.
	Reload() error
}

// Pool is a row of SHOW POOLS: the connections to one server for one database.
type Pool struct {
	Database, User string

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

	MaxWait  time.Duration // of the client that waits longest
	PoolMode string        // transaction or session

	Server string // address
	Role   string // of the server: primary, replica or unknown
}

// Conn is what SHOW CLIENTS and SHOW SERVERS have in common.
type Conn struct {
	User, Database string
	State          string   // clients: active, idle, waiting; servers: active, idle, used, tested, new
	Addr           net.Addr // the other end; nil shows as empty, here and below
	LocalAddr      net.Addr
	ConnectTime    time.Time
	RequestTime    time.Time     // of the latest request; zero shows as empty
	Wait           time.Duration // a client's current wait for a server

	CloseNeeded bool   // it is closed as soon as it is free
	ID          uint64 // unique among clients, or among servers; shown as id and, in hexadecimal, as ptr
	Link        uint64 // the ID of the other side's connection that it is linked to, or 0
	RemotePID   uint32

	TLS                string // version and cipher, or empty
	ApplicationName    string
	PreparedStatements int
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
	// Period is what was added to Total during the latest complete period of PeriodLength. The averages come from it;
	// they are 0 if PeriodLength is.
	Period       Counters
	PeriodLength time.Duration
}

// Counters are sums over one database.
type Counters struct {
	ServerAssignments uint64 // times that a client was given a server
	Xacts, Queries    uint64
	Received, Sent    uint64 // bytes, from and to clients

	XactTime, QueryTime time.Duration // servers were busy with transactions, with queries
	WaitTime            time.Duration // clients waited for a server

	ClientParses, ServerParses, Binds uint64 // of named prepared statements
}
