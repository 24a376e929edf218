// Package pgpool is the Postgres half of the sidecar: a transaction pooler that sends reads to replicas and writes to the
// primary.
//
// # A query's way
//
// client.go takes what a client sends and gathers a unit: a Query, or extended messages up to Sync. rewrite.go scans and
// classifies it; route.go chooses a pool; pool.go lends a server or queues the client. rewrite.go and effect.go then pass
// the messages on, under the server's names for statements, and expect.go notes each answer owed. answer.go settles what
// the server says with that queue, and passes it on. When nothing is owed and both are between units, server.go gives the
// server back.
//
// # Files
//
//	pooler.go    Config, New, Listen, Run, Drain, Reload
//	policy.go    Tuning: what a reload may change; Policy: what a database or user may have of its own
//	group.go     databases, users and where they live: upstreams, and what the workers share of them
//	limits.go    how many clients and connections there may be
//	sockets.go   addresses to listen on
//	login.go     clients, from accept to the event loop: the cold path
//	startup.go   their first packets, and TLS
//	welcome.go   their startup parameters, and what ends a login
//	starts.go    what a server says of startup parameters
//	errors.go    what clients are told
//	replication.go  connections that are passed through whole
//	upstream.go  servers: URLs, dialling, cancel requests
//	decision.go  on which side a unit runs, and why
//	rules.go     hints, outrigger.route, and who else says where a unit runs
//	routesetting.go  SET and SHOW outrigger.route
//	functions.go what the functions and relations of a statement say of that
//	names.go     which functions and relations the database has
//	route.go     the server for a unit
//	balance.go   which replica
//	consistency.go  what a read must see
//	floors.go    what siblings have written
//	places.go    where servers are whose hosts are names
//	resolve.go   looking these up
//	await.go     reads that wait for a replica
//	token.go     SHOW and SET outrigger.token: what a read must see, from session to session
//	watcher.go   who is primary, and which replicas have caught up
//	roles.go     what becomes of connections when that changes
//	worker.go    what one event loop owns; timeouts, drain
//	balance.go   which replica a read goes to
//	breaker.go   servers that fail are left alone for a while
//	refuse.go    reads that no replica can take
//	pool.go      connections to one server for one database and user
//	batch.go     waiting clients share a server in one write
//	lanes.go     how many servers do so
//	shape.go     how statements that differ in literals alone have run
//	waitlist.go  the queue of clients
//	lend.go      a worker with free servers helps one without
//	client.go    a client's session
//	send.go      its messages, as they go to a server, and which of them must wait
//	single.go    units of one statement that are answered here
//	deferred.go  transactions that have begun here
//	readonly.go  transactions on replicas
//	reported.go  SHOW of what is known
//	aborted.go   transactions that have failed and have no server
//	pin.go       why it keeps a server
//	rewrite.go   messages that the pooler looks into
//	effect.go    what a statement leaves in the session: carried, looked for, or pinned
//	trace.go     what a text may leave
//	check.go     asking a server what was left, before it changes hands
//	sequence.go  currval and lastval
//	catalog.go   the database's functions that leave something
//	replan.go    plans that are out of date
//	server.go    a server connection, and when it may change hands
//	answer.go    a server's answers, as they come in
//	reply.go     what each of them means, and what the client gets of it
//	undo.go      what a failure takes back
//	rerun.go     what is run again elsewhere
//	lost.go      what the loss of a server means for its client
//	aborted.go   transactions whose server was lost
//	failover_wait.go  while there is no primary
//	expect.go    the queue of answers owed
//	statement.go texts and what is known of them; what a server has prepared
//	settings.go  run-time parameters that follow a client
//	listen.go    LISTEN: a client's side, and what it is told when
//	listener.go  LISTEN: the connection that listens for all clients of a database and user
//	notify.go    NOTIFY: whom a notification is from, and when its sender hears it
//	cancel.go    cancel requests
//	cancelkey.go the keys that they carry
//	packet.go    the largest message of a client
//	pids.go      sessions by process id
//	deadline.go  timeouts
//	orphan.go    servers whose clients have left in mid-query
//	console.go   what the admin console and the metrics show
//	console_names.go   its rows for databases and users
//	console_replicas.go  its rows for servers
//	console_batches.go  SHOW BATCHES
//	console_period.go  its averages
//	console_health.go  what the probes have found
//	console_routes.go  SHOW ROUTES, EXPLAIN ROUTE
//	control.go   what the admin console does: PAUSE, RESUME, KILL, …
//
// Below are classify (reads and writes), auth (logging in, both ways), health (probes and log positions), admin (the
// console) and devpg (throwaway servers for tests).
//
// # Lock order
//
// Clients, servers, pools and workers belong to one event loop and have no lock. Pooler.first.mu comes before Pooler.mu;
// neither is held across I/O, and a loop takes only Pooler.mu, to register and forget cancel keys. breaker.mu is held for
// a few instructions, and nothing is taken behind it.
package pgpool
