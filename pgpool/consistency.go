package pgpool

import "fmt"

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
