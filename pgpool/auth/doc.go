// Package auth proves who is who on both sides of the pooler: Authenticator asks a client for proof, Login logs in to a
// server. Both run in the goroutine that owns the connection before an event loop takes it over, and both read to the
// byte: what follows their last message is still in the socket.
//
// Neither side is trusted. Whatever arrives is bounded before it is looked at, and a server may not make us work longer
// than maxIterations allows.
//
// # Files
//
//	secret.go         what userlist.txt knows about a user: a password, an MD5 hash, or a SCRAM verifier
//	userlist.go       the file format, which is PgBouncer's
//	authenticator.go  a client logs in to us
//	login.go          we log in to a server: the order of messages
//	credentials.go    we log in to a server: the answers to its challenges
//	sslmode.go        TLS to a server, by the names that libpq gave its modes
//	message.go        exact reads of bounded messages
package auth
