package admin

import (
	"strings"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// consoleVersion is the PgBouncer whose console this is. What scrapes PgBouncer looks for the first version number that
// SHOW VERSION has.
const consoleVersion = "1.25.2"

// parameters are what the console reports as a server would. Drivers want most of them, and PgBouncer has them too.
func parameters() []pgwire.Param {
	return []pgwire.Param{
		{Name: "server_version", Value: consoleVersion + "/bouncer"},
		{Name: "server_encoding", Value: "UTF8"},
		{Name: "client_encoding", Value: "UTF8"},
		{Name: "DateStyle", Value: "ISO"},
		{Name: "TimeZone", Value: "GMT"},
		{Name: "integer_datetimes", Value: "on"},
		{Name: "standard_conforming_strings", Value: "on"},
		{Name: "is_superuser", Value: "on"},
	}
}

// driverSettings are what drivers and tools SET on every connection, whatever the server is.
func driverSettings() []string {
	return []string{"client_encoding", "default_transaction_isolation", "standard_conforming_strings", "datestyle", "timezone", "time zone",
		"extra_float_digits", "application_name", "client_min_messages", "statement_timeout", "lock_timeout",
		"idle_in_transaction_session_timeout", "default_transaction_read_only", "bytea_output", "intervalstyle", "search_path",
		"names", "transaction", "session", "local"}
}

// driverCommands are the rows of the table that have no use here, but that drivers could not do without.
func driverCommands() []command {
	list := []command{
		accept("begin", "BEGIN", pgwire.InBlock),
		accept("start transaction", "START TRANSACTION", pgwire.InBlock),
		accept("commit", "COMMIT", pgwire.Idle),
		accept("end", "COMMIT", pgwire.Idle),
		accept("rollback", "ROLLBACK", pgwire.Idle),
		accept("abort", "ROLLBACK", pgwire.Idle),
		accept("reset", "RESET", 0),
		accept("discard", "DISCARD ALL", 0),
		accept("deallocate", "DEALLOCATE ALL", 0),
	}
	for _, name := range driverSettings() {
		c := accept("set "+name, "SET", 0)
		c.notice = &pgwire.Error{Message: "SET ignored", Detail: "It has no effect on the console."}
		list = append(list, c)
	}
	fixed := func(asked, column, value string) {
		list = append(list, show("show "+asked, "", textColumns(column), func(Source) []string { return []string{value} }))
	}
	for _, p := range parameters() {
		fixed(strings.ToLower(p.Name), p.Name, p.Value)
	}
	fixed("time zone", "TimeZone", "GMT")
	fixed("default_transaction_isolation", "default_transaction_isolation", "read committed")
	fixed("transaction_isolation", "transaction_isolation", "read committed")
	fixed("transaction isolation level", "transaction_isolation", "read committed")
	return list
}

func accept(name, tag string, status byte) command {
	return command{name: name, args: anythingElse, role: Stats, tag: tag, status: status,
		run: func(env, request) ([]row, error) { return nil, nil }}
}
