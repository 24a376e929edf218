// Package app puts the sidecar together: configuration, the Postgres half, the cache half, the membership, the operator's
// listener. It is the only place that knows them all.
//
// Parts start in the order of what they need: event loops, gossip, cache, pools, HTTP. They stop in the opposite one; on
// SIGTERM clients finish and the cache's share is handed over before that.
//
// # Files
//
//	app.go       Options, Run: parts, signals, drain
//	part.go      one part: run, stop, failure
//	postgres.go  the Postgres half from the configuration
//	upstream.go  the servers' state for the operator's listener
//	cache.go     the cache half and the membership from the configuration
//	cacheclients.go: who may use the cache, by which doors, within which limits; what a reload changes of it
//	members.go   the members for console and operator
//	siblings.go  what poolers of different sidecars say to each other
//	floors.go    what they have written: consistency cluster
//	clusterkey.go: the key that members share, and its rotation
//	tls.go       the two TLS sides from the configuration
//	keyfile.go   files with secrets
//	log.go       the logger from the configuration
package app
