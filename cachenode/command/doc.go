// Package command holds the table of commands and runs those that work on keys against a store. It knows nothing of
// connections or of other nodes: a command gets its arguments and a time, and appends its reply.
//
//	spec.go       Spec, one row of the table, and how a command is run
//	differences.go in what commands are unlike Redis's
//	event.go      keyspace events
//	context.go    Context: what a running command sees, and the replies that all share
//	block.go      commands that wait for their keys, and who serves them
//	table.go      the table
//	strings.go    GET, SET and what else treats a value as bytes
//	numbers.go    INCR and its kind; floats as Redis computes them
//	keyspace.go   commands on keys whatever they hold: DEL, EXPIRE, TTL, RENAME …
//	scan.go       SCAN, KEYS, HSCAN, SSCAN
//	hashes.go     hashes
//	sets.go       sets
//	later.go      the rows of what has come to strings, hashes and keys since
//	conditional.go SET IFEQ, DELEX, MSETEX: what depends on a value
//	increx.go     INCREX
//	lease.go      X.GETLEASE, X.SETLEASE, and stale values
//	lcs.go        LCS
//	sort.go      SORT
//	streams.go   streams: entries
//	streamread.go XREAD, XREADGROUP
//	streamgroups.go consumer groups
//	streaminfo.go XINFO
//	generic.go    COPY, MOVE, DUMP, RESTORE, OBJECT
//	hashtimes.go  HEXPIRE and its family
//	lists.go      lists
//	listmoves.go  LMOVE, LMPOP and what waits for elements
//	zsettable.go  the rows of sorted sets
//	zsets.go      ZADD, ZSCORE, ZRANK; floats as C reads them
//	zranges.go    ranges of sorted sets by rank, score and member
//	zpops.go      ZPOPMIN and its kind, ZRANDMEMBER, ZSCAN
//	zcombine.go   ZUNION, ZINTER, ZDIFF
//	scripts.go    rows of EVAL and its kind, which package script runs
//	categories.go flags and categories as COMMAND and ACL tell them
//	access.go     what commands do with their keys, for ACL and COMMAND
//	subcommands.go the rows of subcommands
//	memory.go     MEMORY USAGE, and the rows of what operators ask
//	draw.go       random picks
//	setstore.go   SMOVE, SUNIONSTORE and its kind, SINTERCARD
//	bits.go       SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP
//	bitfield.go   BITFIELD
//	hll.go        a HyperLogLog as Redis stores it
//	hyperloglog.go PFADD, PFCOUNT, PFMERGE
//	geohash.go    positions, boxes and distances on a round earth
//	geo.go        GEOADD, GEOPOS, GEODIST, GEOHASH
//	geosearch.go  GEOSEARCH, GEORADIUS
//	glob.go       patterns
//	transaction.go what MULTI queued, as one command
//
// # Blocking
//
// A command that may wait (flag Blocking) looks at its keys first, passing over those for which Context.waits is false, and
// when it has found nothing it calls Context.block and returns:
//
//	until, ok := c.timeoutSeconds(len(c.Args) - 1) // or timeoutMillis; 0 means for ever
//	…
//	for i := range c.keys {
//		if !c.waits(i) {
//			continue // it is being served, and another key is the one that was written
//		}
//		… reply and return if there is something …
//	}
//	c.block(store.KindZSet, until, 0, len(c.keys))
//
// What Tx.Update books as written wakes those who wait for that key and that kind: before the shards are let go their
// commands run again, in the order in which they came, and pop what they find; a key of another kind is left to those who
// wait for that. The arguments are kept as they are when block is called, so one like $ must have been replaced in c.Args by
// what it stands for. Inside Together nothing waits. Exec leaves what waits in Context.Waiter; the session then executes
// nothing until the Waiter has a reply. Context.end, which both Exec and Together go through, serves and tells the others.
//
// Replies and errors are those of Redis 7, byte for byte; a differential test holds them to the real server.
package command
