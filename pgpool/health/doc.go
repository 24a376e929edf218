// Package health watches the servers of one upstream: which of them is up, which is the primary, how far the others
// have replayed. The servers are asked themselves, so that a failover needs nobody to tell us.
//
// A goroutine per server owns a connection of its own. It probes once per interval, and while somebody waits for a write
// to arrive at the replicas it samples write and replay positions between the probes. Others read an immutable Snapshot
// and a few atomics; nothing that an event loop calls here blocks.
//
// # Lock order
//
// Monitor.mu before positions.mu; no I/O under either.
//
// # Files
//
//	monitor.go    Config, Monitor, the goroutine of a server
//	snapshot.go   what is known: servers, roles, the primary
//	fence.go      who is the primary, and who is not to be used
//	lag.go        how far replicas are behind
//	probe.go      the connection and the questions
//	positions.go  read your writes: floors, samples, replayed positions
package health
