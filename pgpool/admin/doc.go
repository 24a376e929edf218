// Package admin is the console of the pooler: SHOW and a few other commands, asked over the Postgres protocol in place
// of SQL. Names, order and types of the columns are PgBouncer's, so that its dashboards and habits carry over; columns
// that PgBouncer does not have follow after its own.
//
//	source.go    what the console shows: implemented by the pooler
//	serve.go     a session, and the simple protocol
//	extended.go  the extended protocol
//	message.go   messages from the client
//	sql.go       statements cut into words
//	commands.go  the command table
//	show.go      the columns of each SHOW
//	row.go       rows on the wire
package admin
