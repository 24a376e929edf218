// Package sim holds the deterministic simulation of a cluster: whole nodes with their loops, links, movers, stores and
// client sessions run over a network, a gossip and a clock that the test makes up, and a seed decides what goes wrong and
// when. Nothing of a node is imitated. What the clients saw is then held against what a single Redis could have answered.
//
//   - net_test.go: connections that are slow, stop and break
//   - gossip_test.go: who hears when of whom
//   - node_test.go: a node's life, its crashes and restarts
//   - client_test.go: clients and what they saw
//   - check_test.go: what they may have seen
//   - world_test.go, faults_test.go: one history
//   - sim_test.go: many of them
//
// The tests need event loops without a poller of the system: go test -tags portable ./cachenode/sim. A failure prints the
// command that repeats it.
package sim
