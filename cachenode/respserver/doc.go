// Package respserver carries the sessions of Redis clients on event loops: it cuts commands out of what they send, keeps
// their replies in order, and answers itself what concerns only the connection. What concerns keys goes to a Backend.
//
//	server.go      Server: configuration, loops, who is connected
//	backend.go     Backend, Request and Slot: the contract with whoever executes commands
//	session.go     a session: bytes in, commands, bytes out, in order
//	lookahead.go   a pipeline's next commands, read before they are executed
//	block.go       sessions whose command waits for a key
//	door.go        TLS: handshakes, and who speaks it where it is not expected
//	limits.go      what may wait for clients that read slowly
//	housekeep.go   clients that are idle for too long
//	connection.go  HELLO, AUTH, PING, SELECT, RESET …
//	client.go      CLIENT
//	clustercmd.go  CLUSTER
//	multi.go       MULTI, EXEC, WATCH
//	introspect.go  COMMAND
//	info.go        INFO
//	pubsub.go      SUBSCRIBE, PUBLISH and their relatives; who listens to what
//	notify.go      events on keys as messages
//	removals.go    keys that expire or are evicted
//	tracking.go    CLIENT TRACKING: clients that cache values hear of changes
//	acl.go         ACL, and whether a session may run a command
//	config.go      CONFIG
//	account.go     what clients take, charged to the budget
//	stats.go       how often and how long commands ran
//	errorstats.go  how often clients were told errors
//	slowlog.go     SLOWLOG, LATENCY
//	memory.go      MEMORY
//	purge.go       MEMORY PURGE, away from the loops
//	monitor.go     MONITOR
//	pause.go       CLIENT PAUSE
//	debug.go       DEBUG, for test suites
//	refused.go     commands of Redis that there are not, and why
//	local.go       Local, a Backend that is one store and nothing else
//
// # Who may touch what
//
// A session belongs to its loop. The server's list of sessions, the hub of subscriptions, the table of tracked keys, the users,
// the slow log, the log of refusals and the purger are shared by the loops, each under a mutex of its own; none is held while
// anything else is locked, called or written. Only trackers.telling is: the backend is told under it, which must not come back.
package respserver
