package pgpool

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// serve takes a connection from accept to the event loop: the cold path. local tells that the listener is on loopback or
// on a Unix socket.
func (p *Pooler) serve(ctx context.Context, nc net.Conn, local bool) {
	t := p.tuning.Load()
	if t.ClientLogin > 0 {
		nc.SetDeadline(time.Now().Add(t.ClientLogin))
	}
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := p.login(ctx, nc, t, local)
	if err == nil {
		return // adopted, or served to its end
	}
	if e, ok := errors.AsType[*pgwire.Error](err); ok {
		own := *e
		own.Severity = "FATAL"
		conn.Write(pgwire.AppendErrorResponse(nil, &own)) // it may be gone; nothing more can be done for it
		p.log.Info("client refused", "client", nc.RemoteAddr().String(), "error", err)
	} else if !errors.Is(err, io.EOF) {
		p.log.Info("client login failed", "client", nc.RemoteAddr().String(), "error", err)
	}
	conn.Close()
}

// login returns the connection to close, with the TLS that was put around it, and why; nil when it is no longer ours.
func (p *Pooler) login(ctx context.Context, nc net.Conn, t *Tuning, local bool) (net.Conn, error) {
	nc, st, err := p.startup(nc, t)
	if err != nil {
		return nc, err
	}
	if st.Kind == pgwire.KindCancelRequest {
		p.cancel(ctx, st.PID, st.Key)
		return nc, io.EOF
	}
	if st.Version > pgwire.Version30 || len(st.ProtocolOptions) > 0 {
		if _, err := nc.Write(pgwire.AppendNegotiateProtocolVersion(nil, pgwire.Version30, st.ProtocolOptions)); err != nil {
			return nc, err
		}
	}
	if n := p.nclients.Add(1); t.MaxClients > 0 && n > int64(t.MaxClients) {
		p.nclients.Add(-1)
		return nc, errTooMany("clients", "max_client_conn", t.MaxClients)
	}
	owned := false
	defer func() {
		if !owned {
			p.nclients.Add(-1)
		}
	}()
	user := st.User()
	database := st.Get("database")
	who := auth.Client{Conn: nc, User: user, Database: database, Local: local, Certificate: auth.ShownCertificate(t.ClientTLS)}
	if admin.IsConsole(database) {
		return nc, p.console(ctx, who, t)
	}
	if database == "" {
		database = user
		if d, ok := t.Databases["*"]; ok {
			database = d.Servers[0].Database
		}
		who.Database = database
	}
	set, err := startSettings(&st, t.IgnoreStartup)
	if err != nil {
		return nc, err
	}
	credentials, err := t.Clients.Authenticate(ctx, who)
	if err != nil {
		return nc, err
	}
	if p.disabled(database) {
		return nc, errDisabled(database)
	}
	policy := p.policyOf(database, user)
	if err := p.enter(database, user, policy); err != nil {
		return nc, err
	}
	defer func() {
		if !owned {
			p.exit(database, user)
		}
	}()
	w := p.workers[p.turns.Add(1)%uint64(len(p.workers))]
	shared, err := p.shared(ctx, w, database, user, credentials)
	if err != nil {
		return nc, connectError(err)
	}
	set = p.intern(set)
	c := &client{user: unique.Make(user).Value(), policy: policy, startSet: set, set: set, connectedAt: time.Now().Unix()}
	p.register(c)
	if _, err := nc.Write(welcome(*shared.welcome.Load(), c)); err != nil {
		p.unregister(c)
		return nc, err
	}
	if err := w.loop.Adopt(nc, func(conn *netloop.Conn) netloop.Handler { return w.adopt(c, shared, conn) }); err != nil {
		p.unregister(c)
		return nc, err
	}
	owned = true
	return nil, nil
}

// startup reads first packets until there is one that is no request for encryption.
func (p *Pooler) startup(nc net.Conn, t *Tuning) (net.Conn, pgwire.Startup, error) {
	askedTLS, askedGSS := false, false
	for {
		st, err := pgwire.ReadStartup(nc)
		if err != nil {
			return nc, st, err
		}
		switch {
		case st.Kind == pgwire.KindSSLRequest && !askedTLS:
			askedTLS = true
			answer := byte('N')
			if t.ClientTLS != nil {
				answer = 'S'
			}
			if _, err := nc.Write([]byte{answer}); err != nil {
				return nc, st, err
			}
			if t.ClientTLS != nil {
				session := netloop.TLSServer(nc, t.ClientTLS)
				if err := session.Handshake(); err != nil {
					return nc, st, fmt.Errorf("TLS handshake: %w", err)
				}
				nc = session
			}
		case st.Kind == pgwire.KindGSSENCRequest && !askedGSS:
			askedGSS = true
			if _, err := nc.Write([]byte{'N'}); err != nil {
				return nc, st, err
			}
		case st.Kind == pgwire.KindCancelRequest:
			return nc, st, nil
		case st.Kind != pgwire.KindStartup:
			return nc, st, &pgwire.Error{Code: "08P01", Message: "encryption was asked for twice"}
		default:
			if _, encrypted := nc.(*tls.Conn); t.RequireTLS && !encrypted {
				return nc, st, &pgwire.Error{Code: "28000", Message: "this pooler takes only encrypted connections",
					Hint: "Use sslmode=require, or set client_tls_sslmode to allow."}
			}
			return nc, st, nil
		}
	}
}

// startSettings turns startup parameters into what the session starts with.
func startSettings(st *pgwire.Startup, ignored []string) (*settings, error) {
	var list []setting
	add := func(name, value string) {
		if !slices.ContainsFunc(ignored, func(s string) bool { return strings.EqualFold(s, name) }) {
			list = append(list, setting{name: name, value: value})
		}
	}
	for _, v := range st.Params {
		switch v.Name {
		case "user", "database":
		case "replication":
			if v.Value != "" && v.Value != "0" && v.Value != "false" && v.Value != "off" {
				return nil, &pgwire.Error{Code: "0A000", Message: "replication connections cannot go through the pooler",
					Hint: "Connect to the primary directly."}
			}
		case "options":
			opts, err := pgwire.ParseOptions(v.Value)
			if err != nil {
				return nil, err
			}
			for _, o := range opts {
				add(o.Name, o.Value)
			}
		default:
			add(v.Name, v.Value)
		}
	}
	return newSettings(list), nil
}

// maxInterned bounds the start settings that are remembered for sharing.
const maxInterned = 1024

// intern returns the settings that an earlier client with equal ones has, so that clients of one application share them.
func (p *Pooler) intern(s *settings) *settings {
	if s == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if same := p.interned[s.key]; same != nil {
		return same
	}
	if len(p.interned) >= maxInterned {
		clear(p.interned)
	}
	p.interned[s.key] = s
	return s
}

// welcome is what follows AuthenticationOk: what the servers report, with the client's own settings in place.
func welcome(reported map[string]string, c *client) []byte {
	var b []byte
	names := make([]string, 0, len(reported))
	for name := range reported {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value := reported[name]
		if own, ok := c.startSet.find(name); ok {
			value = own.value
		} else if name == "application_name" {
			value = ""
		}
		b = pgwire.AppendParameterStatus(b, name, value)
	}
	b = pgwire.AppendBackendKeyData(b, c.pid, binary.BigEndian.AppendUint32(nil, c.secret))
	return pgwire.AppendReadyForQuery(b, pgwire.Idle)
}

// console serves the admin console until the client leaves.
func (p *Pooler) console(ctx context.Context, who auth.Client, t *Tuning) error {
	nc, user, role := who.Conn, who.User, admin.NoRole
	switch {
	case slices.Contains(t.AdminUsers, user):
		role = admin.Admin
	case slices.Contains(t.StatsUsers, user):
		role = admin.Stats
	}
	if _, err := t.Clients.Authenticate(ctx, who); err != nil {
		return err
	}
	if role == admin.NoRole {
		return &pgwire.Error{Code: "28000", Message: fmt.Sprintf("user %q may not use the console", user), Hint: "List it in admin_users or stats_users."}
	}
	p.consoles.Add(1)
	defer p.consoles.Add(-1)
	nc.SetDeadline(time.Time{})
	if err := admin.Serve(ctx, nc, role, consoleSource{p}, consoleControl{p}); err != nil {
		return err
	}
	return io.EOF
}

// unregister forgets a client's key.
func (p *Pooler) unregister(c *client) {
	p.mu.Lock()
	delete(p.keys, c.pid)
	p.mu.Unlock()
}
