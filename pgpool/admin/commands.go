package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// command is a row of the command table. Authorisation and SHOW HELP are derived from it.
type command struct {
	name string // the words it starts with, in lower case
	args arguments
	role Role   // the least that may run it
	help string // one line; the command is not listed without
	tag  string // of CommandComplete

	notice *pgwire.Error // sent along, if any
	status byte          // the transaction status from here on; 0: unchanged
	fields []field       // of the rows that run returns; none: run returns no rows
	run    func(e env, r request) ([]row, error)
}

// arguments says what may follow a command's name.
type arguments uint8

const (
	nothing      arguments = iota
	anyDatabase            // a database, or nothing for all
	oneDatabase            // a database
	clientID               // a number
	assignment             // name = value, or name TO value
	aStatement             // [FOR [user@]database] and SQL for servers
	anythingElse           // what a driver says to any server: ignored
)

// usage is what SHOW HELP puts behind the name.
var usage = [...]string{anyDatabase: " [<database>]", oneDatabase: " <database>", clientID: " <client id>", assignment: " <setting> = <value>",
	aStatement: " [FOR [<user>@]<database>] <statement>"}

// env is what a command works with. ctx ends when the client leaves.
type env struct {
	ctx context.Context
	src Source
	ctl Control
}

// request is a command with its arguments.
type request struct {
	*command
	arg   string // database or setting
	user  string
	value string // of the setting; a statement
	id    uint64 // of the client
}

// completion is the tag of CommandComplete.
func (r request) completion() string {
	if r.args == assignment {
		return fmt.Sprintf("%s %s=%s", r.tag, r.arg, r.value)
	}
	return r.tag
}

// commands returns the command table. The first row that fits a statement is the one.
func commands() []command {
	var list []command
	list = append(list, showHelp(func() []command { return list }))
	list = append(list, showPools()...)
	list = append(list, showConns()...)
	list = append(list, showStats()...)
	list = append(list, showOwn()...)
	list = append(list, showMembers()...)
	list = append(list, explainRoute())
	list = append(list,
		onDatabase("pause", anyDatabase, "Hand out no server; wait until all are free, and close them.",
			func(e env, db string) error { return e.ctl.Pause(e.ctx, db) }),
		onDatabase("resume", anyDatabase, "End PAUSE, KILL or SUSPEND.", func(e env, db string) error { return e.ctl.Resume(db) }),
		onDatabase("disable", oneDatabase, "Refuse new clients.", func(e env, db string) error { return e.ctl.Disable(db) }),
		onDatabase("enable", oneDatabase, "End DISABLE.", func(e env, db string) error { return e.ctl.Enable(db) }),
		onDatabase("reconnect", anyDatabase, "Replace each server connection as it becomes free.",
			func(e env, db string) error { return e.ctl.Reconnect(db) }),
		onDatabase("kill", anyDatabase, "Close all connections of clients and servers now, and pause.",
			func(e env, db string) error { return e.ctl.Kill(db) }),
		onDatabase("wait_close", anyDatabase, "Wait until RECONNECT or RELOAD has replaced all server connections.",
			func(e env, db string) error { return e.ctl.WaitClose(e.ctx, db) }),
		action("kill_client", clientID, "Close the connection of a client.", func(e env, r request) error { return e.ctl.KillClient(r.id) }),
		action("suspend", nothing, "Stop reading; wait until all is sent.", func(e env, _ request) error { return e.ctl.Suspend(e.ctx) }),
		shutdown("shutdown", "End the program now.", ShutdownNow),
		shutdown("shutdown wait_for_servers", "End the program when no server is in use.", ShutdownWaitForServers),
		shutdown("shutdown wait_for_clients", "End the program when all clients have left.", ShutdownWaitForClients),
		action("reload", nothing, "Read the configuration again.", reload),
	)
	list = append(list, driverCommands()...) // with their own forms of SET
	list = append(list, action("set", assignment, "Change a setting until the next RELOAD.", set))
	return list
}

func action(name string, args arguments, help string, do func(e env, r request) error) command {
	tag, _, _ := strings.Cut(strings.ToUpper(name), " ")
	return command{name: name, args: args, role: Admin, help: help, tag: tag,
		run: func(e env, r request) ([]row, error) { return nil, do(e, r) }}
}

func onDatabase(name string, args arguments, help string, do func(e env, database string) error) command {
	return action(name, args, help, func(e env, r request) error {
		if IsConsole(r.arg) {
			return ownDatabase.with(name, r.arg)
		}
		return do(e, r.arg)
	})
}

// shutdown returns a form of SHUTDOWN. Who asks for it now gets no answer: the connection ends with the program, so that
// a script can wait for that.
func shutdown(name, help string, mode ShutdownMode) command {
	return action(name, nothing, help, func(e env, _ request) error {
		err := e.ctl.Shutdown(mode)
		if err == nil && mode == ShutdownNow {
			<-e.ctx.Done()
			return e.ctx.Err()
		}
		return err
	})
}

func reload(e env, _ request) error {
	err := e.ctl.Reload()
	if err == nil {
		return nil
	}
	return reloadFailed.with(err)
}

func set(e env, r request) error {
	err := e.ctl.Set(r.arg, r.value)
	if _, ok := errors.AsType[*pgwire.Error](err); ok || err == nil {
		return err
	}
	return setFailed.with(err)
}

// find returns the command that a statement of sql names, with its arguments.
func find(table []command, sql string, tokens []token) (request, error) {
	for i := range table {
		c := &table[i]
		if rest, ok := c.begins(tokens); ok && (len(rest) == 0 || c.args != nothing) {
			r := request{command: c}
			return r, r.take(sql, rest)
		}
	}
	said := []rune(strings.ToValidUTF8(sql[tokens[0].start:tokens[len(tokens)-1].end], "?"))
	return request{}, unknownCommand.with(string(said[:min(len(said), 80)]))
}

// begins tells whether the statement begins with the command's name, and returns what follows.
func (c *command) begins(tokens []token) ([]token, bool) {
	for word := range strings.FieldsSeq(c.name) {
		if len(tokens) == 0 || !tokens[0].is(word) && !(word == "show" && tokens[0].is("select")) {
			return nil, false // PgBouncer, too, answers SELECT POOLS
		}
		tokens = tokens[1:]
	}
	return tokens, true
}

// take reads the arguments.
func (r *request) take(sql string, rest []token) error {
	wrong := func(what string) error {
		return wrongArguments.with(strings.ToUpper(r.name), what)
	}
	one := len(rest) == 1 && rest[0].name()
	switch r.args {
	case anyDatabase, oneDatabase:
		if !one && (len(rest) > 0 || r.args == oneDatabase) {
			return wrong("the name of a database, in double quotes if it is not one word")
		}
		if one {
			r.arg = rest[0].text
		}
	case clientID:
		var err error
		if one {
			r.id, err = strconv.ParseUint(rest[0].text, 10, 64)
		}
		if !one || err != nil {
			return wrong("the id of a client, as SHOW CLIENTS lists it")
		}
	case assignment:
		if len(rest) < 3 || !rest[0].name() || !rest[1].is("=") && !rest[1].is("to") {
			return wrong("a setting, = or TO, and a value")
		}
		r.arg = strings.ToLower(rest[0].text)
		r.value = rest[2].text
		if len(rest) > 3 {
			r.value = sql[rest[2].start:rest[len(rest)-1].end]
		}
	case aStatement:
		if len(rest) == 1 {
			r.user, r.arg, r.value = addressee(rest[0].text)
		}
		if strings.Trim(r.value, ";"+blanks) == "" {
			return wrong("FOR user@database or nothing, and a statement")
		}
	}
	return nil
}

// authorise refuses what role may not run.
func (c *command) authorise(role Role) error {
	if role >= c.role {
		return nil
	}
	return forbidden.with(strings.ToUpper(c.name), c.role.setting())
}

// setting names the setting that lists the users who have the role.
func (r Role) setting() string {
	if r == Admin {
		return "admin_users"
	}
	return "stats_users or admin_users"
}
