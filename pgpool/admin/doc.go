// Package admin is the console of the pooler: PgBouncer 1.25's commands, asked over the Postgres protocol in place of
// SQL. Names, order and types of the columns are PgBouncer's, so that its dashboards, exporters and habits carry over;
// what PgBouncer does not have is in commands of its own, or in columns after PgBouncer's.
//
//	source.go      what the console shows: implemented by the pooler
//	counters.go    sums, and what was added to them
//	control.go     what the console does: implemented by the pooler
//	serve.go       a session, and the simple protocol
//	extended.go    the extended protocol
//	message.go     messages from the client
//	sql.go         statements cut into tokens
//	commands.go    the command table, and how a statement finds its row
//	session.go     what drivers say to any server; parameters that they ask for
//	show.go        SHOW: columns, and how values become text
//	show_pools.go  SHOW POOLS, DATABASES, USERS, LISTS, …
//	show_conns.go  SHOW CLIENTS, SERVERS, SOCKETS, FDS
//	show_stats.go  SHOW STATS, STATS_TOTALS, STATS_AVERAGES, TOTALS
//	show_own.go    SHOW PINS, STATEMENTS, LOOPS, REPLICAS, SERVER_POOLS
//	show_members.go  SHOW MEMBERS, RING
//	route.go       SHOW ROUTES, SHOW BATCHES, EXPLAIN ROUTE
//	row.go         rows on the wire
//
// A session has two goroutines: one reads, so that a client that leaves is noticed while a command waits; the other
// answers. There is no lock.
package admin
