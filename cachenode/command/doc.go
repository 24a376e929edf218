// Package command holds the table of commands and runs those that work on keys against a store. It knows nothing of
// connections or of other nodes: a command gets its arguments and a time, and appends its reply.
//
//	spec.go      Spec, one row of the table, and how a command is run
//	event.go     keyspace events
//	context.go   Context: what a running command sees, and the replies that all share
//	table.go     the table
//	strings.go   GET, SET and what else treats a value as bytes
//	numbers.go   INCR and its kind; floats as Redis computes them
//	keyspace.go  commands on keys whatever they hold: DEL, EXPIRE, TTL, RENAME …
//	scan.go      SCAN, KEYS, HSCAN, SSCAN
//	hashes.go    hashes
//	sets.go      sets
//	glob.go      patterns
//
// Replies and errors are those of Redis 7, byte for byte; a differential test holds them to the real server.
package command
