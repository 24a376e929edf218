package pgpool

import (
	"slices"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// reason is why the pooler itself refuses something.
type reason uint8

const (
	violation reason = iota
	packetTooLarge
	loginTooSlow
	encryptionTwice
	encryptionMissing
	encryptionForestalled
	directTLSWithoutALPN
	noSuchDatabase
	databaseDisabled
	databaseRemoved
	tooManyClients
	consoleForbidden
	badReplication
	noCredentials
	serverUnreachable
	serverLost
	sessionLost
	transactionLost
	savepointLost
	primaryAway
	serverRestore
	noServerWithinLimits
	noReplica
	waitedTooLong
	queryTooLong
	queryStubborn
	transactionTooLong
	transactionIdle
	clientIdle
	cancelledInQueue
	transactionAborted
	onReplicaOnly
	statementModeOnly
	tooManyChannels
	inboxFull
	listenerLost
	shuttingDown
	killed
	notSettable
	badRoute
	malformedToken
	foreignToken
)

const (
	final     = "FATAL" // the connection ends with it
	version3  = "This port speaks PostgreSQL protocol version 3."
	fromAdmin = "terminating connection due to administrator command"
	tooLong   = "terminating connection due to %[1]s"
	ends      = "%[1]s is %[2]v."
	raise     = "Raise %[1]s for the user or the database if it needs longer."
)

// reasons holds what clients are told. docs/errors.md is written from it.
var reasons = [...]pgwire.Kind{
	violation: {Code: "08P01", Severity: final, Message: "protocol violation: %[1]s", Hint: version3,
		When: "A message that the protocol does not know, or that is malformed."},
	packetTooLarge: {Code: "08P01", Severity: final, Message: "message is larger than max_packet_size",
		Detail: "It announces %[1]d bytes; max_packet_size is %[2]d.", Hint: "Send the data in parts, as with COPY, or raise max_packet_size.",
		When: "A client announces a message longer than `max_packet_size`."},
	loginTooSlow: {Code: "08P01", Severity: final, Message: "terminating connection due to client_login_timeout",
		Detail: "client_login_timeout is %[1]v.", Hint: "Send the startup packet and the password sooner, or raise client_login_timeout.",
		When: "A client has connected and not logged in in time."},
	encryptionTwice: {Code: "08P01", Severity: final, Message: "encryption was asked for twice",
		When: "A second SSLRequest or GSSENCRequest."},
	encryptionMissing: {Code: "28000", Severity: final, Message: "this pooler takes only encrypted connections",
		Hint: "Use sslmode=require, or set client_tls_sslmode to allow.", When: "`client_tls_sslmode` is require or stronger, and the client asks for no TLS."},
	encryptionForestalled: {Code: "08P01", Severity: final, Message: "received unencrypted data after SSL or GSSAPI encryption request",
		Detail: "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
		When:   "Bytes came together with an SSLRequest or GSSENCRequest."},
	directTLSWithoutALPN: {Code: "08P01", Severity: final, Message: "received direct SSL connection request without ALPN protocol negotiation extension",
		Hint: `Offer the protocol "postgresql", or send an SSLRequest first: sslnegotiation=postgres.`,
		When: "TLS from the first byte on, of a client that does not say that it wants PostgreSQL."},
	noSuchDatabase: {Code: "3D000", Severity: final, Message: "no such database: %[1]q",
		Hint: `Add it to databases in the configuration, or an entry "*" for all names.`, When: "`databases` has neither this name nor `*`."},
	databaseDisabled: {Code: "55000", Severity: final, Message: "database %[1]q does not take connections",
		Hint: "An administrator has disabled it on the pooler's console: ENABLE lets clients in again.", When: "DISABLE on the console."},
	databaseRemoved: {Code: "57P01", Severity: final, Message: "terminating connection: database %[1]q is no longer configured",
		Hint: "Connect to another, or add it to databases again.", When: "A reload has taken the database out of `databases`."},
	tooManyClients: {Code: "53300", Severity: final, Message: "too many %[1]s", Detail: "%[2]s is %[3]d.",
		Hint: "Close connections that are not used, or raise %[2]s.",
		When: "`max_client_conn`, `max_db_client_connections` or `max_user_client_connections` is reached."},
	consoleForbidden: {Code: "28000", Severity: final, Message: "user %[1]q may not use the console", Hint: "List it in admin_users or stats_users.",
		When: "A login to the database `outrigger` or `pgbouncer` of somebody else."},
	badReplication: {Code: "22023", Severity: final, Message: `invalid value for parameter "replication": %[1]q`,
		Hint: "Valid values are: false, 0, true, 1, database.", When: "A start-up packet with another value."},
	noCredentials: {Code: "28000", Severity: final, Message: "no credentials to log in to the server as user %[1]q",
		Hint: "With as_client, let clients log in with scram-sha-256, or list the user's password in auth_file.",
		When: "`as_client` is on, and the client's login has shown nothing that a server would accept."},
	serverUnreachable: {Code: "08001", Severity: final, Message: "cannot connect to the database server", Detail: "%[1]v",
		Hint: "Check primary_url and whether the server takes connections.",
		When: "No server connection could be made. What a server itself says of a login is passed on instead."},
	serverLost: {Code: "08006", Message: "server connection was lost", Detail: "%[1]v",
		Hint: "Run it again, a transaction from its beginning. What was in progress may or may not have happened.",
		When: "The connection to the server ended during a transaction or a query. If the server says why, its words stand instead, as an ERROR. The client stays connected."},
	sessionLost: {Code: "08006", Severity: final, Message: "server connection was lost", Detail: "%[1]v. With it went %[2]s.",
		Hint: "Connect again. What was in progress may or may not have happened.",
		When: "The connection to the server ended, and the client had something there that no other server has: see SHOW PINS."},
	transactionLost: {Code: "25P02", Message: "current transaction is aborted, commands ignored until end of transaction block",
		Detail: "Its server connection was lost.", Hint: "Roll back, and run the transaction again.",
		When: "A statement in a transaction whose server connection was lost, after the client has been told so."},
	savepointLost: {Code: "3B001", Message: `savepoint "%[1]s" does not exist`, Detail: "The transaction's server connection was lost.",
		Hint: "Roll back, and run the transaction again.", When: "ROLLBACK TO in a transaction whose server connection was lost."},
	primaryAway: {Code: "57P03", Message: "no server takes writes", Detail: "failover_wait is %[1]v; %[2]v.",
		Hint: "Run it again later, or raise failover_wait if a failover takes longer. Reads go on as long as there is a replica.",
		When: "There was no primary, or it could not be reached, for longer than `failover_wait`. The client stays connected."},
	serverRestore: {Code: "58000", Severity: final, Message: "%[1]s", Detail: "The session's settings could not be restored on a server of the pool. %[2]s",
		When: "A server refused a setting that the session had on another. Code and message are the server's."},
	noServerWithinLimits: {Code: "53300", Severity: final, Message: "no server connection became free for this user and database",
		Detail: "max_db_connections is %[1]d, max_user_connections is %[2]d.",
		Hint:   "Raise the limit, or find the queries that hold the connections: SHOW POOLS on the console.",
		When:   "The first connection for a user had to wait for `max_db_connections` or `max_user_connections`, longer than `server_connect_timeout`."},
	noReplica: {Code: "57P03", Message: "no replica can take this read", Detail: "reads_without_replica is error.",
		Hint: "SHOW REPLICAS on the console says what is wrong with each. Set reads_without_replica to primary to let the primary take reads meanwhile.",
		When: "A read while all replicas are out, with `reads_without_replica` error. The session goes on."},
	waitedTooLong: {Code: "57014", Severity: final, Message: "query_wait_timeout: no server connection became free in %[1]v",
		Hint: "Raise default_pool_size, or find the queries that hold the pool: SHOW POOLS on the console.", When: "A query waited longer than `query_wait_timeout`."},
	queryTooLong: {Code: "57014", Message: "canceling statement due to query_timeout", Detail: "query_timeout is %[2]v.", Hint: raise,
		When: "A query ran longer than `query_timeout` and was cancelled. The session goes on."},
	queryStubborn: {Code: "57014", Severity: final, Message: tooLong, Detail: ends, Hint: raise,
		When: "A query ran longer than `query_timeout`, and was there even `cancel_wait_timeout` after it was cancelled."},
	transactionTooLong: {Code: "25P04", Severity: final, Message: tooLong, Detail: ends, Hint: raise, When: "A transaction took longer than `transaction_timeout`."},
	transactionIdle: {Code: "25P03", Severity: final, Message: tooLong, Detail: ends, Hint: raise,
		When: "A client did nothing in a transaction for longer than `idle_transaction_timeout`."},
	clientIdle: {Code: "57P05", Severity: final, Message: tooLong, Detail: ends, Hint: raise, When: "A client did nothing for longer than `client_idle_timeout`."},
	cancelledInQueue: {Code: "57014", Message: "canceling statement due to user request", Detail: "It was waiting for a server connection and had not begun.",
		When: "A cancel request for a client that waits."},
	transactionAborted: {Code: "25P02", Message: "current transaction is aborted, commands ignored until end of transaction block",
		When: "A statement in a transaction that has failed before it got a server."},
	onReplicaOnly: {Code: "25006", Message: "cannot execute this statement in a read-only transaction that runs on a replica",
		Detail: "What it leaves in the session or locks would be on the replica only, and the transaction cannot go to the primary any more.",
		Hint:   "Begin the transaction with /* outrigger: primary */ BEGIN.",
		When:   "LISTEN, a session's lock, PREPARE and the like in a READ ONLY transaction that has read from a replica and is not READ COMMITTED, or holds a cursor or a savepoint."},
	statementModeOnly: {Code: "0A000", Severity: final, Message: "transaction blocks are not allowed in statement mode",
		Hint: "Set pool_mode to transaction for the database or the user.", When: "BEGIN with `pool_mode` statement."},
	tooManyChannels: {Code: "54000", Message: "too many channels are listened to through the pooler",
		Detail: "All clients of a database and user together may listen to %[1]d, each counted once for each client.",
		Hint:   "Use fewer channels and tell messages apart by their payload.", When: "LISTEN beyond that."},
	inboxFull: {Code: "54000", Severity: final, Message: "too many notifications wait for this client",
		Detail: "They wait while it is in a transaction or does not read.", Hint: "End transactions sooner, and read notifications as they come.",
		When: "A client that listens does not take its notifications."},
	listenerLost: {Code: "08006", Severity: final, Message: "the connection that listens for this client was lost", Detail: "%[1]v",
		Hint: "Connect and LISTEN again. Notifications may have been missed.", When: "The server that a client listens on went away."},
	shuttingDown: {Code: "57P01", Severity: final, Message: fromAdmin, Detail: "The sidecar is shutting down.", Hint: "Connect again.",
		When: "SIGTERM: at the end of the client's transaction, or of `drain_timeout`."},
	killed: {Code: "57P01", Severity: final, Message: fromAdmin, Detail: "It was ended on the pooler's console.", Hint: "Connect again.",
		When: "KILL or KILL_CLIENT on the console."},
	malformedToken: {Code: "22023", Message: "invalid value for parameter \"outrigger.token\"", Hint: "Use a token as SHOW outrigger.token gives it.",
		When: "SET outrigger.token, or the startup parameter, with what is no token."},
	foreignToken: {Code: "22023", Message: "outrigger.token is of another database cluster",
		Detail: "It names a system identifier that the servers of this database do not have.",
		Hint:   "Use tokens only with databases on the servers where they were taken.",
		When:   "SET outrigger.token, or the startup parameter, with a token from elsewhere."},
	notSettable: {Code: "0A000", Message: "settings cannot be changed here", When: "SET on the console of a pooler that runs without a configuration."},
	badRoute: {Code: "22023", Message: `invalid value for parameter "outrigger.route": %[1]q`, Hint: "Available values: auto, primary, replica.",
		When: "`SET outrigger.route`, or the startup parameter, with another value."},
}

// with returns the error that a client is told.
func (r reason) with(args ...any) *pgwire.Error { return reasons[r].With(args...) }

// NoSuchDatabase is what a client is told whose database is not configured.
func NoSuchDatabase(name string) *pgwire.Error { return noSuchDatabase.with(name) }

// Errors lists what clients of this package are told.
func Errors() []pgwire.Kind { return slices.Clone(reasons[:]) }
