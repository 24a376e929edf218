package pgpool

import "fmt"

// Balance says how a replica is chosen among those that can take a read.
type Balance uint8

// The ways to choose.
const (
	LeastConnections Balance = iota
	RoundRobin
	Latency // the faster of two that chance picks
)

var balanceNames = [...]string{LeastConnections: "least_connections", RoundRobin: "round_robin", Latency: "latency"}

func (b Balance) String() string { return balanceNames[b] }

// ParseBalance reads the name of a way to choose.
func ParseBalance(s string) (Balance, error) {
	for b, name := range balanceNames {
		if s == name {
			return Balance(b), nil
		}
	}
	return 0, fmt.Errorf("unknown load_balance %q: use least_connections, round_robin or latency", s)
}
