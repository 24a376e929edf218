package admin

import (
	"slices"
	"strings"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// command is a row of the command table. Authorisation and SHOW HELP are derived from it.
type command struct {
	name string // the words it starts with, in lower case
	open bool   // any words may follow
	role Role   // the least that may run it
	help string // one line; the command is not listed without
	tag  string // of CommandComplete

	notice *pgwire.Error // sent along, if any
	fields []field       // of the rows that run returns; none: run returns no rows
	run    func(src Source) ([]row, error)
}

// show returns a command that lists rows.
func show[T any](what, help string, columns []column[T], list func(Source) []T) command {
	c := command{name: "show " + what, role: Stats, help: help, tag: "SHOW"}
	for _, col := range columns {
		c.fields = append(c.fields, col.field)
	}
	c.run = func(src Source) ([]row, error) {
		items := list(src)
		rows := make([]row, len(items))
		for i := range items {
			for _, col := range columns {
				rows[i] = append(rows[i], col.value(&items[i]))
			}
		}
		return rows, nil
	}
	return c
}

// accept returns a command that does nothing: drivers send it on every connection, whatever the server is.
func accept(name, tag string) command {
	return command{name: name, open: true, role: Stats, help: "Accepted for the sake of drivers; does nothing.", tag: tag,
		run: func(Source) ([]row, error) { return nil, nil }}
}

// commands returns the command table.
func commands() []command {
	var list []command
	set := accept("set", "SET")
	set.notice = &pgwire.Error{Message: "SET has no effect on the console", Hint: "Change the configuration, then RELOAD."}
	list = []command{
		show("help", "This list.", helpColumns(), func(Source) []command {
			return slices.DeleteFunc(slices.Clone(list), func(c command) bool { return c.help == "" })
		}),
		show("clients", "Connections of applications.", clientColumns(), Source.Clients),
		show("pools", "Counts of connections for each database and server.", poolColumns(), Source.Pools),
		show("servers", "Connections to servers.", serverColumns(), Source.Servers),
		show("stats", "What each database did, since the start and on average over the latest period.", statColumns(), Source.Stats),
		show("version", "Version of the pooler.", textColumns("version"), func(src Source) []string { return []string{src.Version()} }),
		{name: "reload", role: Admin, help: "Read the configuration again.", tag: "RELOAD", run: reload},
		set,
		accept("reset", "RESET"),
		accept("discard", "DISCARD ALL"),
		accept("begin", "BEGIN"),
		accept("start transaction", "BEGIN"),
		accept("commit", "COMMIT"),
		accept("end", "COMMIT"),
		accept("rollback", "ROLLBACK"),
		accept("abort", "ROLLBACK"),
	}
	for _, p := range parameters() {
		c := show(strings.ToLower(p.Name), "", textColumns(p.Name), func(Source) []string { return []string{p.Value} })
		list = append(list, c)
	}
	return list
}

func reload(src Source) ([]row, error) {
	if err := src.Reload(); err != nil {
		return nil, &pgwire.Error{Code: "F0000", Message: "reload: " + err.Error(), Detail: "The configuration from before is still in use."}
	}
	return nil, nil
}

// parameters are what the console reports as a server would. Drivers want most of them, and PgBouncer has them too.
func parameters() []pgwire.Param {
	return []pgwire.Param{
		{Name: "server_version", Value: "1.25/outrigger"}, // the PgBouncer whose console this resembles
		{Name: "server_encoding", Value: "UTF8"},
		{Name: "client_encoding", Value: "UTF8"},
		{Name: "DateStyle", Value: "ISO"},
		{Name: "TimeZone", Value: "GMT"},
		{Name: "integer_datetimes", Value: "on"},
		{Name: "standard_conforming_strings", Value: "on"},
		{Name: "is_superuser", Value: "on"},
	}
}

// find returns the command that the words of a statement name.
func find(table []command, words []string) (*command, error) {
	for i := range table {
		c := &table[i]
		name := strings.Fields(c.name)
		if len(words) >= len(name) && slices.Equal(words[:len(name)], name) && (c.open || len(words) == len(name)) {
			return c, nil
		}
	}
	said := []rune(strings.ToValidUTF8(strings.Join(words, " "), "?"))
	return nil, syntaxError("unknown command: " + string(said[:min(len(said), 80)]))
}

// authorise refuses what role may not run.
func (c *command) authorise(role Role) error {
	if role >= c.role {
		return nil
	}
	return &pgwire.Error{Code: "42501", Message: "permission denied: " + strings.ToUpper(c.name) + " is for " + c.role.setting()}
}

// setting names the setting that lists the users who have the role.
func (r Role) setting() string {
	if r == Admin {
		return "admin_users"
	}
	return "stats_users and admin_users"
}
