// Package ops is the operator's HTTP listener: /health/live, /health/ready, /status, /metrics, and /debug/pprof for loopback.
//
// It knows the halves only through the small interfaces in sources.go, so each can be absent.
//
// # Files
//
//	server.go   the listener and its routes
//	health.go   the report behind /health/ready
//	status.go   the one behind /status, for `outrigger status`
//	sources.go  what it asks the halves
//	metrics.go  the table of metrics and their collector
package ops
