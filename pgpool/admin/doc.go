// Package admin is the console of the pooler: SHOW and a few other commands, asked over the Postgres protocol in place
// of SQL. Names, order and types of the columns are PgBouncer's, so that its exporters and dashboards work unchanged.
//
//	source.go    what the console shows: implemented by the pooler
//	serve.go     the protocol: a session from ReadyForQuery to the end
//	commands.go  the command table
//	show.go      rows and columns
package admin
