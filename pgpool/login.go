package pgpool

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
	"unique"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// arrival is a client between accept and the event loop: the cold path. It belongs to its goroutine.
type arrival struct {
	p       *Pooler
	t       *Tuning // for the whole of the login
	nc      net.Conn
	local   bool // the listener is on loopback or on a Unix socket
	first   pgwire.Startup
	version uint32          // of the protocol, as negotiated
	run     context.Context // ends with the pooler
	ctx     context.Context // ends at client_login_timeout, too; the connection's deadline follows
	settle  func()          // ends the login: no deadline from now on

	begun  time.Time
	timer  *time.Timer // client_login_timeout
	cancel context.CancelCauseFunc
}

// limit gives the login so long from its beginning; 0 is no limit.
func (a *arrival) limit(d time.Duration) {
	if a.timer != nil {
		a.timer.Stop()
	}
	if d > 0 {
		a.timer = time.AfterFunc(time.Until(a.begun.Add(d)), func() { a.cancel(loginTooSlow.with(d)) })
	}
}

// serve takes a connection from accept to the event loop. local tells that the listener is on loopback or on a Unix
// socket.
func (p *Pooler) serve(run context.Context, nc net.Conn, local bool) {
	ctx, cancel := context.WithCancelCause(run)
	defer cancel(nil)
	a := &arrival{p: p, t: p.tuning.Load(), nc: nc, local: local, run: run, ctx: ctx, cancel: cancel, begun: time.Now()}
	a.limit(a.t.ClientLogin)
	stop := context.AfterFunc(a.ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	arrivals := p.arrivals.Add(1)
	a.settle = sync.OnceFunc(func() {
		stop()
		a.limit(0)
		nc.SetDeadline(time.Time{})
		p.arrivals.Add(-1)
	})
	defer a.settle()
	if a.t.MaxClients > 0 && arrivals > int64(a.t.MaxClients+spareArrivals) {
		nc.Close() // before a byte is read: an answer would cost more than they are worth
		return
	}
	if err := a.login(); err != nil {
		a.turnAway(err)
	}
}

// spareArrivals is how many connections may be logging in at once, besides max_client_conn: cancel requests come while
// all clients are there.
const spareArrivals = 100

// login returns nil when the connection is no longer ours.
func (a *arrival) login() error {
	if err := a.startup(); err != nil {
		return err
	}
	p, t, st := a.p, a.t, &a.first
	if st.Kind == pgwire.KindCancelRequest {
		p.cancel(a.ctx, st.PID, st.Key)
		return io.EOF
	}
	version, answer := pgwire.Negotiate(st)
	if answer != nil {
		if _, err := a.nc.Write(answer); err != nil {
			return err
		}
	}
	a.version = version
	if n := p.nclients.Add(1); t.MaxClients > 0 && n > int64(t.MaxClients) {
		p.nclients.Add(-1)
		return tooManyClients.with("clients", "max_client_conn", t.MaxClients)
	}
	owned := false
	defer func() {
		if !owned {
			p.nclients.Add(-1)
		}
	}()
	user := st.User()
	database := st.Get("database")
	who := auth.Client{Conn: a.nc, User: user, Database: database, Local: a.local, Certificate: auth.ShownCertificate(t.ClientTLS)}
	if admin.IsConsole(database) {
		return a.console(who)
	}
	if database == "" {
		database = user
		if d, ok := t.Databases["*"]; ok {
			database = d.Servers[0].Database
		}
		who.Database = database
	}
	mode, err := replicationMode(st.Get("replication"))
	if err != nil {
		return err
	}
	policy := p.policyOf(database, user)
	a.limit(policy.ClientLogin)
	set, err := a.startSettings()
	if err != nil {
		return err
	}
	route, _ := t.sessionRoute(set, policy)
	if route == RouteReplica {
		set = asStandby(set)
	}
	credentials, err := t.Clients.Authenticate(a.ctx, who)
	if err != nil {
		return err
	}
	if p.disabled(database) {
		return databaseDisabled.with(database)
	}
	if err := p.enter(database, user, policy); err != nil {
		return err
	}
	defer func() {
		if !owned {
			p.exit(database, user)
		}
	}()
	if mode != noReplication {
		return a.replicate(database, policy, credentials)
	}
	w := p.workers[p.turns.Add(1)%uint64(len(p.workers))]
	shared, err := p.shared(a.ctx, w, database, user, credentials)
	if err != nil {
		return connectError(err)
	}
	defer func() {
		if !owned {
			shared.users.Add(-1)
		}
	}()
	reported, err := p.reported(a.ctx, shared, set)
	if err != nil {
		return err
	}
	reportStandby(reported, route == RouteReplica)
	if !t.AddHost { // with it, no two are equal
		set = p.intern(set)
	}
	c := &client{user: unique.Make(user), policy: policy, startSet: set, set: set, connectedAt: uint32(time.Now().Unix())}
	p.register(&c.cancelKey, c, a.version)
	_, err = a.nc.Write(greeting(reported, &c.cancelKey))
	if err == nil {
		a.settle() // the loop knows no deadlines
		err = w.loop.Adopt(a.nc, func(conn *netloop.Conn) netloop.Handler { return w.adopt(c, shared, conn) })
	}
	if err != nil {
		p.unregister(&c.cancelKey)
		return err
	}
	owned = true
	return nil
}

// console serves the admin console until the client leaves.
func (a *arrival) console(who auth.Client) error {
	nc, user, role := who.Conn, who.User, admin.NoRole
	switch {
	case slices.Contains(a.t.AdminUsers, user):
		role = admin.Admin
	case slices.Contains(a.t.StatsUsers, user):
		role = admin.Stats
	}
	if _, err := a.t.Clients.Authenticate(a.ctx, who); err != nil {
		return err
	}
	if role == admin.NoRole {
		return consoleForbidden.with(user)
	}
	a.p.consoles.Add(1)
	defer a.p.consoles.Add(-1)
	a.settle()
	if err := admin.Serve(a.run, nc, role, consoleSource{a.p}, consoleControl{a.p}); err != nil {
		return err
	}
	return io.EOF
}

// turnAway says why, as far as the other side understands it, and closes.
func (a *arrival) turnAway(err error) {
	level, words := slog.LevelDebug, []byte(nil)
	e, told := errors.AsType[*pgwire.Error](err)
	if cause := context.Cause(a.ctx); cause != nil && !told {
		if e, told = errors.AsType[*pgwire.Error](cause); !told {
			e, told = shuttingDown.with(), true // the pooler's end has no other cause
		}
	}
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, errNoByte) || errors.Is(err, errHandshake): // it would not understand
	case errors.Is(err, errNotForTLS):
		words = tlsRefusal
	case errors.Is(err, pgwire.ErrHTTP):
		words = []byte(httpRefusal)
	case told:
		if a.first.User() != "" { // a Postgres client, and perhaps somebody's trouble
			level = slog.LevelInfo
		}
		own := *e
		own.Severity = "FATAL"
		words = pgwire.AppendErrorResponse(nil, &own)
	}
	log := a.p.log
	if user := a.first.User(); user != "" {
		log = log.With("user", user, "database", a.first.Database())
	}
	log.Log(context.Background(), level, "client refused", "client", addressOf(a.nc.RemoteAddr()), "error", err)
	dismiss(a.nc, words)
}

// A client that is turned away has this long to take what it is told, and may send this much meanwhile.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// dismiss says the last words and closes when the other side has, or should have, read them: closing a socket that holds
// unread bytes resets the connection, and what was said may be lost.
func dismiss(nc net.Conn, words []byte) {
	defer nc.Close()
	if len(words) == 0 {
		return
	}
	nc.SetDeadline(time.Now().Add(lingerTime))
	if _, err := nc.Write(words); err != nil {
		return
	}
	linger(nc)
}

// linger waits until the other side has closed, for a while.
func linger(nc net.Conn) {
	nc.SetDeadline(time.Now().Add(lingerTime))
	if half, ok := nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		io.CopyN(io.Discard, nc, lingerBytes) // however it ends, it is the end
	}
}
