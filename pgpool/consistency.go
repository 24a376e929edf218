// HOT PATH

package pgpool

import (
	"fmt"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

// Consistency says what a read on a replica must see.
type Consistency uint8

// The consistencies.
const (
	ConsistencySession  Consistency = iota // what its session has written and read before
	ConsistencyEventual                    // whatever the replica has
	ConsistencyToken                       // what the session's token names
	ConsistencyCluster                     // what was written through any member
)

var consistencyNames = [...]string{ConsistencySession: "session", ConsistencyEventual: "eventual", ConsistencyToken: "token", ConsistencyCluster: "cluster"}

func (c Consistency) String() string { return consistencyNames[c] }

// ParseConsistency reads a consistency's name.
func ParseConsistency(s string) (Consistency, error) {
	for c, name := range consistencyNames {
		if s == name {
			return Consistency(c), nil
		}
	}
	return 0, fmt.Errorf("unknown consistency %q: use session, eventual, token or cluster", s)
}

// A session never reads the past. What it has written, or seen on the primary, is a floor: replicas must have come as far
// before it reads there. What it has seen on a replica is there the next time too, because a replica only goes forward; so
// it reads there again, and nothing needs to be asked. When it goes elsewhere, what it has seen becomes a floor, which is
// taken on the primary: whatever a replica shows has been there before.
//
// A floor is the number of a sample (health/positions.go). Where it is not known whether a replica has come as far, the
// primary is read.

// floor is a point in the primary's log.
type floor = uint64

// Position is a point in the log of a primary, as a token names it.
type Position = health.Position

// FloorSource knows what others have written who reach the same servers in other ways: consistency cluster.
type FloorSource interface {
	// Floor returns the point up to which reads of a database must see everything; the zero Position asks for nothing.
	// Event loops call it for each read: it must not block or allocate. roles are those of the database's servers.
	Floor(database string, roles Roles) Position
	// Wrote is told of each transaction that may have written in a database, when it has been committed. Event loops call it.
	Wrote(database string, roles Roles)
}

// reading is what a client has come to see, and where.
type reading struct {
	floor   floor  // of what it has written, and seen on the primary
	replica uint16 // index, plus one, of the one that it has read since; 0: none
	life    uint16 // of that replica
	patient uint32 // in clients' time: no read waits for a replica before
	settled uint32 // in clients' time: it stays with its replica until then
	asked   bool   // it has asked for something that a replica could answer since it wrote
	inVain  uint8  // times in a row that one has, up to mostInVain
	awaits  bool   // its read waits for a replica: see await.go
}

const (
	// afterWrite is for how long after a write reads that no replica can take yet go to the primary at once. Reads that come
	// later than that, each right behind the one before, wait for a replica instead: each read of the primary sees more than
	// the replicas have, and would send the next one to the primary too.
	afterWrite = 50 * time.Millisecond
	// stay is for how long a client reads one replica before it may look for another with less to do.
	stay = time.Second
)

// clientsTime is a clock in milliseconds that goes round. Only differences mean something.
func (w *worker) clientsTime() uint32 { return uint32(w.loop.Now().UnixMilli()) }

// past tells whether the clock has come to at.
func (r *reading) past(now, at uint32) bool { return int32(now-at) >= 0 }

// sessionFloor tells whether what the session does decides what its reads must see.
func (c *client) sessionFloor() bool {
	return c.policy.Consistency == ConsistencySession || c.policy.Consistency == ConsistencyCluster
}

// raiseFloor has the client's next reads see everything that was committed before now. It is called when the client has
// been answered by the primary, or has been told otherwise of what is there.
func (c *client) raiseFloor() {
	if !c.sessionFloor() || len(c.group.pools) == 1 {
		return
	}
	roles := c.group.shared.up.roles
	c.floor, c.replica = roles.Floor(), 0
	if c.asked {
		roles.Want(c.floor) // it will ask again
	}
}

// answeredByPrimary is called at the end of each transaction there.
func (c *client) answeredByPrimary(wrote bool) {
	c.raiseFloor()
	if wrote {
		c.tellOthers()
		c.asked = false
		if at := c.w.clientsTime() + uint32(afterWrite/time.Millisecond); c.past(at, c.patient) {
			c.patient = at
		}
	}
}

// tellOthers has siblings' reads see what was committed before now, where they ask for that.
func (c *client) tellOthers() {
	if floors := c.w.pooler.cfg.Floors; floors != nil {
		floors.Wrote(c.group.shared.name, c.group.shared.up.roles)
	}
}

// ownReplica returns the index of the replica that the client has read last, if it still shows what the client has seen
// there, or -1.
func (c *client) ownReplica() int {
	if c.replica == 0 || !c.sessionFloor() {
		return -1
	}
	roles, i := c.group.shared.up.roles, int(c.replica)-1
	if i >= len(c.group.pools) || uint16(roles.Life(i)) != c.life || c.group.shared.up.primary() == i {
		c.raiseFloor()
		return -1
	}
	return i
}

// readsAt notes which replica the client reads next.
func (c *client) readsAt(p *pool) {
	if c.sessionFloor() {
		c.replica, c.life = uint16(p.index)+1, uint16(p.group.shared.up.roles.Life(p.index))
	}
}

// mayReadAt tells whether the replica that was chosen for the client still is the one that it was.
func (c *client) mayReadAt(p *pool) bool {
	return !c.sessionFloor() || int(c.replica) == p.index+1 && c.life == uint16(p.group.shared.up.roles.Life(p.index))
}

// shows tells whether the pool's server shows the client all that it must see.
func (p *pool) shows(c *client) bool {
	roles := p.group.shared.up.roles
	switch c.policy.Consistency {
	case ConsistencyEventual:
		return true
	case ConsistencyCluster:
		if floors := p.w.pooler.cfg.Floors; floors != nil {
			if at := floors.Floor(p.group.shared.name, roles); at.LSN != 0 && !roles.ReachedPosition(p.index, at) {
				return false
			}
		}
	}
	if c.set != nil && c.set.token != nil && !roles.ReachedPosition(p.index, *c.set.token) {
		return false
	}
	return roles.Reached(p.index, c.floor)
}

// wantFloor has the servers asked how far they are, after no replica was far enough.
func (c *client) wantFloor() {
	roles := c.group.shared.up.roles
	if c.floor == 0 || c.policy.Consistency == ConsistencyCluster || c.set != nil && c.set.token != nil {
		roles.Want(roles.Floor()) // a position is known when a later sample is
		return
	}
	roles.Want(c.floor)
}

// looksAround tells whether a client that has a replica of its own may leave it for another now.
func (c *client) looksAround() bool {
	now := c.w.clientsTime()
	if !c.past(now, c.settled) {
		return false
	}
	c.settled = now + uint32(stay/time.Millisecond)
	return true
}
