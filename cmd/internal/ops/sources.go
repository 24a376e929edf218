package ops

import "time"

// Pooler is the Postgres half. Its methods are called at each request, by any goroutine.
type Pooler interface {
	PoolStats() PoolStats
}

// PoolStats is a snapshot of the pooler.
type PoolStats struct {
	MaxClients int
	Clients    int // logged in
	Logins     int // logging in
	Pinned     int // clients that keep their server between transactions

	AcceptFailures uint64
	Pools          []Pool
	Databases      []Database
	Routes         []Route
	Batches        []Batch
	Servers        []Upstream
}

// Pool is the connections to one server for one database and user, as they are now.
type Pool struct {
	Database, User, Server, Role string

	ClientsActive, ClientsWaiting            int // with a server or idle; waiting for one
	ServersActive, ServersIdle, ServersLogin int
	MaxWait                                  time.Duration // of the client that waits longest
}

// Database counts since the start.
type Database struct {
	Name string

	Assignments, Transactions, Queries uint64
	Received, Sent                     uint64 // bytes from and to clients
	TransactionTime, QueryTime         time.Duration
	WaitTime                           time.Duration
	ClientParses, ServerParses, Binds  uint64 // of named statements
}

// Route counts, since the start, what was sent to one side for one reason.
type Route struct {
	Database, Side, Reason string
	Decisions              uint64
}

// Batch counts, since the start, what shared a server and what did not.
type Batch struct {
	Database, What, Reason string
	Count                  uint64
}

// Upstream is one Postgres server.
type Upstream struct {
	Address  string
	Role     string // "primary", "replica"
	Up       bool   // it answers, and is not fenced
	Fenced   bool   // it answers, and is used for nothing: an old primary, another cluster's, on another timeline
	Lag      time.Duration
	LagBytes int64 // of a replica behind its primary, as Lag; negative: unknown
	Timeline uint32

	Breaker string // closed, open or half-open
	Opened  uint64 // times that the breaker has opened since the start
	Reads   int    // that run on a replica or wait for a connection
}

// Cache is the cache half.
type Cache interface {
	CacheStats() CacheStats
}

// CacheStats is a snapshot of this node's share of the cache.
type CacheStats struct {
	Ready   bool // joined, and what it owns has arrived
	Clients int
	Keys    int64
	Bytes   int64
	Budget  int64

	Owned, Missing int // partitions: owned; not arrived yet

	Hits, Misses, Evicted, Expired uint64
	Stale, Leases                  uint64
	Commands, Forwarded            uint64 // from clients; of those, sent on to another member
	NearHits                       uint64 // of those, answered from copies of another member's keys
	NearDropped, NearLost          uint64 // copies whose keys had changed, and times that all of a member's were dropped
	NearCopies                     int
	NearBytes                      int64 // besides Bytes
}

// Cluster is the membership.
type Cluster interface {
	ClusterStats() ClusterStats
}

// ClusterStats is a snapshot of the membership as this node sees it.
type ClusterStats struct {
	Name    string
	Node    string
	Members []Member
	Epoch   uint64 // of the ring
	Alone   error  // why it has found nobody of those that it is to join
}

// Member is a sidecar of the cluster.
type Member struct {
	Name    string    `json:"name"`
	State   string    `json:"state"` // active, leaving
	Zone    string    `json:"zone,omitempty"`
	Gossip  string    `json:"gossip"` // addresses
	Peers   string    `json:"peers"`
	Redis   string    `json:"redis,omitempty"` // where others reach its cache
	Version int       `json:"version"`         // of the peer protocol
	Since   time.Time `json:"since"`
	Owned   int       `json:"owned"`  // partitions
	Backed  int       `json:"backed"` // partitions of which it has the second copy
}

// Sources are the halves; nil for one that this node does not run.
type Sources struct {
	Pooler  Pooler
	Cache   Cache
	Cluster Cluster

	Draining func() bool // nil: never
}
