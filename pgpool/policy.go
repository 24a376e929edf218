package pgpool

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Mode says when a server goes back to the pool.
type Mode uint8

// The modes, as PgBouncer names them.
const (
	TransactionMode Mode = iota
	SessionMode
	StatementMode // transactions of several statements are refused
)

var modeNames = [...]string{TransactionMode: "transaction", SessionMode: "session", StatementMode: "statement"}

func (m Mode) String() string { return modeNames[m] }

// ParseMode reads a mode's name.
func ParseMode(s string) (Mode, error) {
	for m, name := range modeNames {
		if s == name {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("unknown pool_mode %q: use transaction, session or statement", s)
}

// Policy is what a database or a user may have of its own. Zero limits and durations mean none, but for PoolSize, which
// is at least 1.
type Policy struct {
	// Of a client.
	Mode            Mode
	MaxDBClients    int // clients of its database
	MaxUserClients  int // clients of its user
	QueryWait       time.Duration
	QueryWaitNotify time.Duration // a client that waits for longer is told so with a NOTICE
	QueryTimeout    time.Duration
	IdleTransaction time.Duration
	Transaction     time.Duration
	ClientIdle      time.Duration
	ClientLogin     time.Duration // from its start-up packet on; until then Tuning.ClientLogin holds
	CancelWait      time.Duration

	// Of a pool, which is for one database, user and server.
	PoolSize         int
	MinPoolSize      int
	ReservePoolSize  int           // more servers when a client has waited for
	ReservePoolDelay time.Duration // this long; 0: never
	MaxDBServers     int           // connections to one server over all pools of the database
	MaxUserServers   int           // connections to one server over all pools of the user
	MaxPrepared      int           // statements kept prepared on each server
	ServerLifetime   time.Duration
	ServerIdle       time.Duration
	ResetQuery       string // after a session, ahead of DISCARD ALL
	ConnectQuery     string // before a new server is used

	// Of units of several clients that share a server.
	Batching      Batching
	BatchMax      int           // units in one write
	BatchMaxTime  time.Duration // what takes a server longer runs by itself
	BatchMaxReply int64         // bytes: what has longer answers does, too

	// Of reads and writes.
	Route              Route
	ReadsUntilWrite    bool     // a READ COMMITTED transaction reads from replicas until it does something else
	ReadFunctions      []string // functions that only read, name or schema.name, whatever the catalog says
	WriteFunctions     []string // functions that do not
	PrimaryRelations   []string // relations that are read on the primary; a name may end with *
	ReplicaRelations   []string // those that are read anywhere, views that tell of the server among them
	Consistency        Consistency
	Balance            Balance
	RefuseReads        bool          // true: reads are refused while no replica can take them; false: the primary takes them
	MaxReplicaLag      time.Duration // a replica further behind gets no reads
	MaxReplicaLagBytes int64
	FailoverWait       time.Duration // longest wait for a primary while there is none
}

// Tuning is what Reload can change.
type Tuning struct {
	// Databases are what clients may name. "*" stands for all others, under the name that the client gives.
	Databases map[string]Database
	// Policy returns what holds for a user in a database; nil means Defaults for everybody.
	Policy   func(database, user string) Policy
	Defaults Policy

	MaxClients    int
	ClientLogin   time.Duration
	ServerConnect time.Duration
	LoginRetry    time.Duration // pause after a failed login to a server; it doubles up to maxLoginRetry
	CheckDelay    time.Duration // a server that was free for longer is checked before it is used
	CheckQuery    string        // how; empty: a look at its socket
	RoundRobin    bool          // use the server that was free for longest, not the one used last
	AsClient      bool          // log in to the servers as the client's user
	AddHost       bool          // add a client's address to its application_name
	MaxPacket     int64         // bytes of a client's message; 0: what PostgreSQL takes, 1 GiB

	Zone              string           // of this node: replicas there come first
	ApplicationRoutes map[string]Route // by application_name, which may end with *
	ProbeInterval     time.Duration
	BreakerFailures   int           // failures after which reads avoid a server
	BreakerTimeout    time.Duration // after which it is tried again
	DNSMaxTTL         time.Duration // after which the names of servers are looked up again; 0: never

	// IgnoreStartup names startup parameters that are dropped.
	IgnoreStartup []string
	// AdminUsers may do everything on the console, StatsUsers may look.
	AdminUsers, StatsUsers []string
	// Clients lets clients in.
	Clients *auth.Authenticator
	// ClientTLS is nil when clients get no TLS; RequireTLS refuses those that do not ask for it.
	ClientTLS  *tls.Config
	RequireTLS bool
}

// Database is what a client's database name means.
type Database struct {
	Name    string   // on the servers; empty: as the client says
	Servers []Server // the primary, first, and its replicas
}

// policy returns what holds for a user in a database.
func (t *Tuning) policy(database, user string) *Policy {
	p := t.Defaults
	if t.Policy != nil {
		p = t.Policy(database, user)
	}
	p.PoolSize = max(1, p.PoolSize)
	if p.CancelWait <= 0 {
		p.CancelWait = 10 * time.Second
	}
	return &p
}

// database returns what a client's database name means.
func (t *Tuning) database(name string) (Database, bool) {
	d, ok := t.Databases[name]
	if !ok {
		d, ok = t.Databases["*"]
	}
	if d.Name == "" {
		d.Name = name
	}
	return d, ok
}

// defaults replaces zero values that would mean no limit where there must be one.
func (t Tuning) withDefaults() *Tuning {
	if t.ServerConnect <= 0 {
		t.ServerConnect = 15 * time.Second
	}
	if t.MaxPacket <= 0 || t.MaxPacket > pgwire.MaxFrame {
		t.MaxPacket = pgwire.MaxFrame
	}
	if t.ProbeInterval <= 0 {
		t.ProbeInterval = time.Second
	}
	if t.BreakerFailures <= 0 {
		t.BreakerFailures = 5
	}
	if t.BreakerTimeout <= 0 {
		t.BreakerTimeout = 5 * time.Second
	}
	t.ClientTLS = forClients(t.ClientTLS)
	return &t
}
