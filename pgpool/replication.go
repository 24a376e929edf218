package pgpool

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A replication connection is of one client for its whole life: it gets a server connection of its own, outside of the
// pools and their limits, and bytes go through as they are. Goroutines carry it; there are few.

// replication is what a client may ask for in the startup parameter of that name.
type replication byte

const (
	noReplication replication = iota
	physical
	logical // "database": replication commands and SQL
)

// replicationMode reads the parameter as ProcessStartupPacket does (backend_startup.c; parse_bool in bool.c).
func replicationMode(value string) (replication, error) {
	switch v := strings.ToLower(value); {
	case value == "database":
		return logical, nil
	case v == "":
		return noReplication, nil
	case v == "1" || v == "on" || strings.HasPrefix("true", v) || strings.HasPrefix("yes", v):
		return physical, nil
	case v == "0" || v == "of" || v == "off" || strings.HasPrefix("false", v) || strings.HasPrefix("no", v):
		return noReplication, nil
	}
	return noReplication, badReplication.with(value)
}

// relay passes the bytes of a replication connection on.
type relay struct {
	p              *Pooler
	policy         *Policy
	key            cancelKey
	client, server net.Conn
	session        auth.Session
	to             *Server
}

// replicate serves a client that has shown who it is until it leaves, its server does, or the pooler ends.
func (a *arrival) replicate(database string, policy *Policy, credentials *auth.Credentials) error {
	r := &relay{p: a.p, policy: policy, client: a.nc}
	if err := r.dial(a, database, credentials); err != nil {
		return err
	}
	defer r.server.Close()
	a.p.register(&r.key, r, a.version)
	defer a.p.unregister(&r.key)
	if _, err := r.client.Write(greeting(r.session.Params, &r.key)); err != nil {
		return err
	}
	a.settle()
	return r.run(a.run, a.t.MaxPacket)
}

// dial logs in to the primary with the client's own startup parameters.
func (r *relay) dial(a *arrival, database string, credentials *auth.Credentials) error {
	d, ok := a.t.database(database)
	if !ok {
		return noSuchDatabase.with(database)
	}
	r.p.mu.Lock()
	up := r.p.upstreams[upstreamKey(d.Servers)]
	r.p.mu.Unlock()
	if up == nil { // a reload has come in between
		return noSuchDatabase.with(database)
	}
	r.to = up.server(up.primary())
	switch {
	case !a.t.AsClient:
		credentials = r.to.Credentials
	case credentials == nil:
		return noCredentials.with(a.first.User())
	}
	settings, err := a.parameters()
	if err != nil {
		return err
	}
	settings = append(settings, pgwire.Param{Name: "replication", Value: a.first.Get("replication")})
	ctx, cancel := context.WithTimeout(a.ctx, a.t.ServerConnect)
	defer cancel()
	if r.session, err = r.to.dial(ctx, credentials, d.Name, settings...); err != nil {
		if a.ctx.Err() != nil {
			return err
		}
		return connectError(err)
	}
	r.server = r.session.Conn
	r.to = r.to.at(r.server.RemoteAddr())
	return nil
}

// run returns when both directions have ended.
func (r *relay) run(ctx context.Context, limit int64) error {
	past := time.Unix(1, 0)
	stop := context.AfterFunc(ctx, func() {
		r.server.SetDeadline(past)
		r.client.SetDeadline(time.Now().Add(lingerTime))
	})
	defer stop()
	var upwards error
	var up sync.WaitGroup
	up.Go(func() {
		_, upwards = relayMessages(r.server, r.client, limit)
		r.server.SetDeadline(past)                            // nobody is left to hear what it says
		r.client.SetWriteDeadline(time.Now().Add(lingerTime)) // nor perhaps to read what it has said
	})
	whole, err := relayMessages(r.client, r.server, pgwire.MaxFrame)
	r.client.SetReadDeadline(past)
	r.server.SetWriteDeadline(past) // it may have ended only what it says, and read nothing
	up.Wait()
	tooLarge, refused := errors.AsType[*pgwire.Error](upwards)
	switch {
	case !whole: // no error fits into the middle of a message
	case ctx.Err() != nil:
		return shuttingDown.with()
	case refused:
		return tooLarge
	case errors.Is(err, io.EOF): // the server has said why
		linger(r.client)
	case !errors.Is(err, os.ErrDeadlineExceeded): // or else the client has left
		return sessionLost.with(err, "a connection that is passed through")
	}
	return io.EOF
}

func (r *relay) process() *process { return &process{r.to.id, r.session.PID} }

// cancelQuery cancels what the server does for the client.
func (r *relay) cancelQuery(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.policy.CancelWait)
	defer cancel()
	always := func() bool { return true }
	if err := r.p.sendCancel(ctx, r.to, r.session.PID, r.session.Key, always); err != nil {
		r.p.log.Warn("cancel request failed", "server", r.to.Addr, "error", err)
	}
}

// relayBuffer is what one direction holds at most, in bytes.
const relayBuffer = 32 << 10

// relayMessages copies until from ends or something fails. whole tells whether what to has got ends with a message. Nothing
// of what was read together with a message that is too large is passed on.
func relayMessages(to, from net.Conn, limit int64) (whole bool, err error) {
	b := make([]byte, relayBuffer)
	var f framing
	for {
		n, err := from.Read(b)
		if n > 0 {
			before := f.between()
			if !f.pass(b[:n], limit) {
				return before, errPacket(f.head[:], limit)
			}
			if _, err := to.Write(b[:n]); err != nil {
				return false, err
			}
		}
		if err != nil {
			return f.between(), err
		}
	}
}

// framing follows where messages begin and end in a stream.
type framing struct {
	head [pgwire.HeaderLen]byte
	have int // bytes of head
	left int // bytes still to come of the message
}

// between tells whether a message has just ended.
func (f *framing) between() bool { return f.have == 0 && f.left == 0 }

// pass follows b. It reports false at a length that no message can have or that is over limit.
func (f *framing) pass(b []byte, limit int64) bool {
	for len(b) > 0 {
		if f.left > 0 {
			n := min(f.left, len(b))
			f.left -= n
			b = b[n:]
			continue
		}
		n := copy(f.head[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have < len(f.head) {
			return true
		}
		f.have = 0
		_, size, ok := pgwire.Header(f.head[:])
		if !ok || int64(size) > limit {
			return false
		}
		f.left = size - len(f.head)
	}
	return true
}
