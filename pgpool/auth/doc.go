// Package auth proves who is who on both sides of the pooler: Authenticator asks a client for proof, Login logs in to a
// server. Both run in the goroutine that owns the connection before an event loop takes it over, and both read to the
// byte: what follows their last message is still in the socket.
//
// Neither side is trusted. Whatever arrives is bounded before it is looked at, a server may not make us work longer than
// maxIterations allows, and keys are computed by few at a time (compute.go). A user that does not exist is asked for the
// same proof, in the same messages and with the same work, as one whose password is wrong.
//
// # Files
//
//	secret.go         what is known about a user: a password, an MD5 hash, or a SCRAM verifier
//	userlist.go       auth_file; the format is PgBouncer's
//	query.go          auth_query: users that the database knows, and a cache of them
//	query_ask.go      auth_query: the question and its answer on the wire
//	authenticator.go  a client logs in to us: the methods, and what comes of them
//	ask_scram.go      SCRAM-SHA-256 and SCRAM-SHA-256-PLUS
//	ask_md5.go        MD5
//	ask_cert.go       client certificates
//	ask_peer_….go     system users behind a Unix socket
//	login.go          we log in to a server: the order of messages
//	credentials.go    we log in to a server: the answers to its challenges
//	passthrough.go    SCRAM with a client's key in place of its password
//	binding.go        what ties a SCRAM exchange to a TLS session
//	sslmode.go        TLS to a server, by the names that libpq gave its modes
//	cancel.go         cancel requests, encrypted like logins
//	compute.go        how many compute at the same time
//	message.go        exact reads of bounded messages
//
// # Locks
//
// query.mu and Credentials.mu are never held together, nor across I/O or a computation.
package auth
