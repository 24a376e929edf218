package admin

import (
	"slices"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// reason is why the console refuses something.
type reason uint8

const (
	unknownCommand reason = iota
	wrongArguments
	unterminatedComment
	unterminatedString
	severalCommands
	forbidden
	noDatabase
	severalDatabases
	ownDatabase
	alreadyPaused
	notPaused
	databaseNotPaused
	noClient
	reloadFailed
	setFailed
	commandFailed
	noFunctions
	statementExists
	noStatement
	portalExists
	noPortal
	nameTooLong
	tooManyStatements
	unknownFormat
	resultFormats
	boundParameters
	malformed
	messageTooLong
	unknownMessage
)

const (
	seeHelp      = "SHOW HELP lists the commands."
	seeDatabases = "SHOW DATABASES lists them."
	seePaused    = "SHOW DATABASES says which databases are paused."
)

// reasons holds what the console's users are told. docs/errors.md is written from it.
var reasons = [...]pgwire.Kind{
	unknownCommand: {Code: "42601", Message: "unknown command: %[1]s", Hint: seeHelp, When: "What the console does not know."},
	wrongArguments: {Code: "42601", Message: "%[1]s takes %[2]s", Hint: seeHelp, When: "A command with too few, too many or other arguments."},
	unterminatedComment: {Code: "42601", Message: "unterminated comment", Hint: seeHelp,
		When: "`/*` without `*/`."},
	unterminatedString: {Code: "42601", Message: "unterminated quoted string", Hint: seeHelp, When: "A quote that is not closed."},
	severalCommands: {Code: "42601", Message: "cannot insert multiple commands into a prepared statement", Hint: seeHelp,
		When: "Several commands in one Parse."},
	forbidden: {Code: "42501", Message: "permission denied: %[1]s is for %[2]s", Hint: "List the user in %[2]s.",
		When: "A command that the user may not run."},
	noDatabase: {Code: "3D000", Message: "no such database: %[1]s", Hint: seeDatabases, When: "A command names a database that is neither configured nor in use."},
	severalDatabases: {Code: "42601", Message: "there is more than one database", Hint: "Say which: EXPLAIN ROUTE FOR <user>@<database> <statement>.",
		When: "EXPLAIN ROUTE without FOR, and more than one database is configured or in use."},
	ownDatabase: {Code: "42809", Message: "cannot %[1]s the console's own database: %[2]s", When: "A command names `outrigger` or `pgbouncer`."},
	alreadyPaused: {Code: "55000", Message: "already suspended/paused", Hint: "RESUME ends it.",
		When: "PAUSE, KILL or SUSPEND of what is paused or suspended."},
	notPaused:         {Code: "55000", Message: "pooler is not paused/suspended", Hint: seePaused, When: "RESUME without PAUSE."},
	databaseNotPaused: {Code: "55000", Message: "database %[1]s is not paused", Hint: seePaused, When: "RESUME of a database that is not paused by itself."},
	noClient: {Code: "42704", Message: "client not found", Detail: "No client has the id %[1]d.", Hint: "SHOW CLIENTS lists them.",
		When: "KILL_CLIENT for one that has left."},
	reloadFailed: {Code: "F0000", Message: "RELOAD failed: %[1]v", Detail: "The configuration from before is still in use.",
		When: "RELOAD of a configuration with mistakes; the message names all of them."},
	setFailed: {Code: "22023", Message: "SET failed: %[1]v", Hint: "SHOW CONFIG lists the settings.",
		When: "SET of a setting that does not exist, takes a restart, or does not take the value."},
	commandFailed:   {Code: "XX000", Message: "%[1]v", When: "A command failed for another reason, such as that the sidecar is stopping."},
	noFunctions:     {Code: "0A000", Message: "the console has no functions to call", When: "A FunctionCall."},
	statementExists: {Code: "42P05", Message: "prepared statement %[1]q already exists", When: "A Parse with a name that is taken."},
	noStatement:     {Code: "26000", Message: "prepared statement %[1]q does not exist", When: "A Bind or Describe of a statement that is not there."},
	portalExists:    {Code: "42P03", Message: "cursor %[1]q already exists", When: "A Bind with a name that is taken."},
	noPortal:        {Code: "34000", Message: "portal %[1]q does not exist", When: "An Execute or Describe of a portal that is not there."},
	nameTooLong:     {Code: "42622", Message: "name is longer than %[1]d bytes", When: "The name of a statement or portal."},
	tooManyStatements: {Code: "54000", Message: "more than %[1]d prepared statements or portals",
		When: "A session on the console prepares that many and closes none."},
	unknownFormat: {Code: "22023", Message: "unsupported format code: %[1]d", When: "A Bind that wants neither text nor binary."},
	resultFormats: {Code: "08P01", Message: "bind message has %[1]d result formats but the command has %[2]d columns",
		When: "A Bind that does not fit its command."},
	boundParameters: {Code: "08P01", Message: "bind message supplies %[1]d parameters, but console commands have none", When: "A Bind with parameters."},
	malformed:       {Code: "08P01", Message: "message to the console is malformed", When: "A message that does not parse. The connection ends."},
	messageTooLong: {Code: "08P01", Message: "invalid length of a message to the console; the most is %[1]d bytes",
		When: "A message that announces more. The connection ends."},
	unknownMessage: {Code: "08P01", Message: "invalid message type %[1]d on the console", When: "A message that the protocol does not know. The connection ends."},
}

// with returns the error that a user of the console is told.
func (r reason) with(args ...any) *pgwire.Error { return reasons[r].With(args...) }

// Errors lists what users of the console are told.
func Errors() []pgwire.Kind { return slices.Clone(reasons[:]) }
