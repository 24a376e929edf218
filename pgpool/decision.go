// HOT PATH

package pgpool

import (
	"fmt"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
)

// Route says where units go, as far as that can be chosen.
type Route uint8

// The routes.
const (
	RouteAuto    Route = iota // by what they do
	RoutePrimary              // all to the primary
	RouteReplica              // what a replica can run goes there
)

var routeNames = [...]string{RouteAuto: "auto", RoutePrimary: "primary", RouteReplica: "replica"}

func (r Route) String() string { return routeNames[r] }

// ParseRoute reads a route's name.
func ParseRoute(s string) (Route, error) {
	for r, name := range routeNames {
		if s == name {
			return Route(r), nil
		}
	}
	return 0, fmt.Errorf("unknown route %q: use auto, primary or replica", s)
}

// decision is on which side a unit runs, and why.
type decision struct {
	read bool // a replica may run it
	why  routeReason
}

// routeReason is why a unit goes where it goes. SHOW ROUTES counts them.
type routeReason uint8

// The reasons, first those for a replica.
const (
	forRead routeReason = iota
	forReadOnly
	forReplicaHint
	forReplicaRoute

	forAlone // there is no replica
	forWrite
	forLock
	forSession
	forTransaction
	forIsolation // its session is serializable, which no replica can be
	forCopy
	forListen
	forUnknown
	forPin      // the client keeps its server
	forHint     // a comment asks for the primary
	forRoute    // a rule does
	forFunction // it calls what may write
	forRelation // it reads what only the primary has
	forRefusal  // a replica has refused it as a write
	forFloor    // no replica has come as far as the client
	forLoss     // no replica can take it
	routeReasons
)

var routeReasonNames = [routeReasons]string{
	forRead: "read", forReadOnly: "read-only transaction", forReplicaHint: "replica hint", forReplicaRoute: "replica route",
	forAlone: "no replicas", forWrite: "write", forLock: "lock", forSession: "session", forTransaction: "transaction",
	forIsolation: "serializable",
	forCopy:      "copy", forListen: "listen", forUnknown: "unknown", forPin: "pinned", forHint: "primary hint", forRoute: "primary route",
	forFunction: "function", forRelation: "relation", forRefusal: "refused by a replica", forFloor: "behind",
	forLoss: "no usable replica",
}

func (r routeReason) String() string { return routeReasonNames[r] }

// classReasons are why statements of a class run on the primary.
var classReasons = [...]routeReason{
	classify.Read: forRead, classify.CopyOut: forCopy, classify.BeginReadOnly: forTransaction, classify.Savepoint: forTransaction,
	classify.Commit: forTransaction, classify.Rollback: forTransaction, classify.Begin: forTransaction, classify.Listen: forListen,
	classify.Session: forSession, classify.CopyIn: forCopy, classify.Lock: forLock, classify.Write: forWrite, classify.Unknown: forUnknown,
}

// decide says where a statement may run. What comes first wins.
func (c *client) decide(st *statement) decision {
	if why, ok := c.asksForPrimary(st); ok {
		return decision{why: why}
	}
	if st.token != nil {
		return decision{why: forSession}
	}
	if st.primaryOnly {
		return decision{why: forRefusal}
	}
	if why, ok := c.asksForReplica(st); ok {
		return decision{true, why}
	}
	return c.byNames(st, st.decide())
}

// decide says where a statement may run by what it is.
func (s *statement) decide() decision {
	if s.class.Class == classify.Read || s.class.Class == classify.CopyOut && classify.CopiesQuery(textOf([]byte(s.body)), &s.class) {
		return decision{true, forRead}
	}
	return decision{why: classReasons[s.class.Class]}
}
