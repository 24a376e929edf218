// Package respserver carries the sessions of Redis clients on event loops: it cuts commands out of what they send, keeps
// their replies in order, and answers itself what concerns only the connection. What concerns keys goes to a Backend.
//
//	server.go      Server: configuration, loops, who is connected
//	backend.go     Backend, Request and Slot: the contract with whoever executes commands
//	session.go     a session: bytes in, commands, bytes out, in order
//	block.go       sessions whose command waits for a key
//	connection.go  HELLO, AUTH, PING, SELECT, RESET …
//	client.go      CLIENT
//	multi.go       MULTI, EXEC, WATCH
//	introspect.go  COMMAND, CONFIG
//	info.go        INFO
//	pubsub.go      SUBSCRIBE, PUBLISH and their relatives; who listens to what
//	notify.go      events on keys as messages
//	removals.go    keys that expire or are evicted
//	tracking.go    CLIENT TRACKING: clients that cache values hear of changes
//	local.go       Local, a Backend that is one store and nothing else
//
// # Who may touch what
//
// A session belongs to its loop. The server's list of sessions and the hub of subscriptions are shared by the loops, each
// under a mutex of its own; neither is held while anything else is locked, called or written.
package respserver
