package health

import (
	"math"
	"time"
)

// Role is what a server says it is.
type Role uint8

// The roles. A server that was never reached is RoleUnknown.
const (
	RoleUnknown Role = iota
	RolePrimary
	RoleReplica
)

// String returns the role as SHOW prints it.
func (r Role) String() string { return [...]string{"unknown", "primary", "replica"}[r] }

// UnknownLag is the lag in time of a replica that has not told how old the last transaction is that it has replayed.
const UnknownLag = time.Duration(math.MaxInt64)

// Server is what is known about one server. After a failed probe it keeps what the last good one said, with Up false.
type Server struct {
	Addr      string // empty: there is none in this place now
	Up        bool
	Role      Role
	Fence     Fence // why it is used for nothing, although it is up
	Timeline  uint32
	SystemID  uint64
	Version   int           // server_version_num
	LSN       uint64        // flushed on the primary, received on a replica
	ReplayLSN uint64        // on a replica
	Lag       time.Duration // of a replica: how much earlier the primary was where this one is now
	LagBytes  int64         // of a replica: what the primary had written and it had not replayed
	LastError error         // of the last probe, nil if it was good
	CheckedAt time.Time     // end of the last probe; zero before the first

	refused   bool          // the last probe was answered, by an error
	replayAge time.Duration // age of the last replayed transaction, by the server's clock; UnknownLag if there is none
	shown     time.Time     // the primary was last known to be where the replica is now
	held      time.Duration // Lag, with slack: see hold
	heldBytes int64         // LagBytes, likewise
	place     int           // counts the addresses that this server has had
}

// Within tells whether reads may go to the server: it is up, a replica of the primary's, and behind by no more than the
// limits, of which 0 is none. Once it was over a limit it comes back at half of that.
func (s *Server) Within(lag time.Duration, bytes int64) bool {
	return s.Up && s.Role == RoleReplica && s.Fence == NotFenced && (lag <= 0 || s.held <= lag) && (bytes <= 0 || s.heldBytes <= bytes)
}

// Position is a point in the log of a primary.
type Position struct {
	System   uint64 // system identifier; 0: of whatever primary there is
	Timeline uint32
	LSN      uint64 // bytes since 0/0
}

// Snapshot is the state of all servers at one moment, in the order of Config.Servers. It never changes.
type Snapshot struct {
	Servers []Server

	primary int // index of the last one, 0 before the first
	ok      bool
	present int
}

// Primary returns the index of the server that takes writes. While ok is false there is none, and the index is that of
// the last.
func (s *Snapshot) Primary() (index int, ok bool) { return s.primary, s.ok }

// Present is how many servers have an address.
func (s *Snapshot) Present() int { return s.present }
