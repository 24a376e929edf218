// Package netloop is the event loop that carries every ready connection: accept and handshakes happen in goroutines,
// then a connection is adopted by a Loop and from then on owns no goroutine and, while idle, no buffer.
//
// # A tick
//
// A Loop is one goroutine, which has an OS thread for itself in all but name. Each tick it
//
//  1. reads every ready socket into one shared buffer and hands the bytes to the connection's Handler,
//  2. runs what other goroutines posted to its mailbox, and the timers that are due,
//  3. calls the dispatch hooks (OnDispatch), which hand waiting work out,
//  4. writes each connection that has something to say, once.
//
// Step 4 being last is what makes batches: to a server, to a peer, to a client that pipelines.
//
// # Rules for handlers
//
//   - Everything on a Conn is for its loop's goroutine only. Others use Loop.Post.
//   - Nothing may block, sleep, log per message or allocate per message.
//   - The bytes given to Handler.Data are valid only during that call.
//   - Back-pressure goes one way: a handler that feeds connection B from connection A pauses reading A while
//     B.Congested, and resumes in B's Handler.Drained.
//
// # Files
//
//	loop.go            the Loop: tick, mailbox, hooks, stop
//	conn.go            the Conn: read side, out-queue, water marks, close
//	tls.go             crypto/tls over memory, on the loop
//	timer.go           deadlines: a heap of intrusive timers
//	buffers.go         size-classed buffers, lent to connections while they need them
//	socket.go          listening and dialling: keep-alive, SO_REUSEPORT, Unix sockets
//	listener.go        accept loop in a goroutine, backs off when descriptors run out
//	poller_linux.go    epoll
//	poller_portable.go goroutines that imitate it, for development elsewhere and as a differential test
package netloop
