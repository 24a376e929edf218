package health

import "time"

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

// Server is what is known about one server. After a failed probe it keeps what the last good one said, with Up false.
type Server struct {
	Addr      string
	Up        bool
	Role      Role
	Timeline  uint32
	SystemID  uint64
	Version   int           // server_version_num
	LSN       uint64        // written on the primary, received on a replica
	ReplayLSN uint64        // on a replica
	Lag       time.Duration // age of the last replayed transaction; 0 when all that was received is replayed
	LastError error         // of the last probe, nil if it was good
	CheckedAt time.Time     // end of the last probe; zero before the first
}

// Snapshot is the state of all servers at one moment, in the order of Config.Servers. It never changes.
type Snapshot struct {
	Servers []Server

	primary int // index, -1 if there is none
}

// Primary returns the index of the server that takes writes: the one that is up, not in recovery, and has the highest
// timeline. A primary with a lower timeline than one seen before is an old one that has come back; it is never chosen.
func (s *Snapshot) Primary() (index int, ok bool) { return s.primary, s.primary >= 0 }

// fence remembers the last primary, to tell an old one that comes back.
type fence struct {
	systemID uint64
	timeline uint32
}

// choosePrimary finds the primary among servers and moves the fence.
func (f *fence) choosePrimary(servers []Server) int {
	best := -1
	for i, s := range servers {
		if !s.Up || s.Role != RolePrimary || (s.SystemID == f.systemID && s.Timeline < f.timeline) {
			continue
		}
		if best < 0 || s.Timeline > servers[best].Timeline {
			best = i
		}
	}
	if best >= 0 {
		*f = fence{servers[best].SystemID, servers[best].Timeline}
	}
	return best
}
