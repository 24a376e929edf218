// Package pgbouncer turns a pgbouncer.ini into Outrigger's YAML, for `outrigger check --pgbouncer`. What has no equivalent
// is named, with what to do instead.
//
// # Files
//
//	ini.go      lines, %include, connection strings
//	table.go    what becomes of each of PgBouncer's settings
//	value.go    how a value is turned into ours
//	convert.go  the settings that stand for themselves; the result
//	compose.go  listeners, URLs and log-in, which are made of several
package pgbouncer
