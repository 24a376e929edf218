package pgpool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Server says how to reach a Postgres server.
type Server struct {
	Network, Addr string // tcp host:port, or unix and the socket's path
	Host          string // what its certificate must name
	Database      string // for clients that name none
	Credentials   *auth.Credentials
	SSLMode       auth.SSLMode
	TLS           *tls.Config // nil: the system's roots

	// Of a replica.
	Weight   int    // its share of reads, against the others'
	Backup   bool   // it gets reads only while no other can take them
	Zone     string // availability zone
	PoolSize int    // 0: as the policy says
	Spread   bool   // several addresses under its name are several replicas

	// Set by the pooler; see places.go.
	id     string                 // unique among the upstream's servers
	place  *atomic.Pointer[place] // where it is now, if its host is a name; nil inside before the first look
	places int                    // how many places of the name begin with this one
}

// ParseURL reads a Postgres URL: postgres://user:password@host:port/database?sslmode=… (PostgreSQL documentation,
// "Connection URIs"), and weight=, backup=, zone=, pool_size= of its own. Errors never quote the password.
func ParseURL(s string) (Server, error) {
	u, err := pgwire.ParseURL(s)
	if err != nil {
		return Server{}, errors.New("malformed URL: want postgres://user:password@host:port/database")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return Server{}, fmt.Errorf("URL scheme %q: want postgres", u.Scheme)
	}
	q := u.Query()
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = q.Get("host")
	}
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		port = q.Get("port")
	}
	if port == "" {
		port = "5432"
	}
	srv := Server{Network: "tcp", Addr: net.JoinHostPort(host, port), Host: host, Database: strings.TrimPrefix(u.Path, "/")}
	if strings.HasPrefix(host, "/") {
		srv.Network, srv.Addr = "unix", host+"/.s.PGSQL."+port
	}
	user := u.User.Username()
	if user == "" {
		user = q.Get("user")
	}
	if user == "" {
		user = os.Getenv("USER")
	}
	if user == "" {
		return Server{}, errors.New("URL names no user")
	}
	if srv.Database == "" {
		srv.Database = user
	}
	if srv.Database == user && q.Get("dbname") != "" {
		srv.Database = q.Get("dbname")
	}
	password, ok := u.User.Password()
	if !ok {
		password = q.Get("password")
	}
	srv.Credentials = auth.NewCredentials(user, password)
	if mode := q.Get("sslmode"); mode != "" {
		if srv.SSLMode, err = auth.ParseSSLMode(mode); err != nil {
			return Server{}, err
		}
	}
	return srv, srv.share(q)
}

// share reads what a URL says of a server's part among others.
func (s *Server) share(q url.Values) (err error) {
	s.Weight, s.Zone = 1, q.Get("zone")
	for name, field := range map[string]*int{"weight": &s.Weight, "pool_size": &s.PoolSize} {
		if !q.Has(name) {
			continue
		}
		if *field, err = strconv.Atoi(q.Get(name)); err != nil || *field < 1 || *field > maxShare {
			return fmt.Errorf("URL parameter %s=%q: want a number from 1 to %d", name, q.Get(name), maxShare)
		}
	}
	if q.Has("backup") {
		if s.Backup, err = strconv.ParseBool(q.Get("backup")); err != nil {
			return fmt.Errorf("URL parameter backup=%q: want true or false", q.Get("backup"))
		}
	}
	return nil
}

// maxShare bounds weights and pool sizes.
const maxShare = 100_000

// dial connects and logs in, with further startup parameters.
func (s *Server) dial(ctx context.Context, as *auth.Credentials, database string, settings ...pgwire.Param) (auth.Session, error) {
	nc, err := s.connect(ctx)
	if err != nil {
		return auth.Session{}, err // names the address
	}
	params := s.params()
	params.Credentials, params.Database, params.Settings = as, database, settings
	session, err := auth.Login(ctx, nc, params)
	if err != nil {
		return auth.Session{}, fmt.Errorf("server %s: %w", s.label(), err)
	}
	return session, nil
}

// Dial connects to the first server of a database that answers, as the user that it is given; the session is the
// caller's.
func (d Database) Dial(ctx context.Context, as *auth.Credentials) (session auth.Session, err error) {
	for i := range d.Servers {
		if session, err = d.Servers[i].dial(ctx, as, d.Name); err == nil {
			break
		}
	}
	return session, err
}

// params say how to log in.
func (s *Server) params() auth.LoginParams {
	return auth.LoginParams{Credentials: s.Credentials, SSLMode: s.SSLMode, TLS: s.TLS, Host: s.Host, TLSClient: netloop.TLSClient}
}

// dialFor gets a connection for a pool that has reserved it.
func (p *Pooler) dialFor(to *pool) {
	g, index, loop := to.group.shared, to.index, to.w.loop
	epoch := g.epoch.Load()
	failed := func(err error) { loop.Post(func() { to.dialed(err) }) }
	ok := p.task(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, p.tuning.Load().ServerConnect)
		defer cancel()
		session, err := g.connect(ctx, index)
		if err != nil {
			if p.ctx.Err() == nil {
				p.log.Warn("server login failed", "server", g.up.server(index).label(), "database", g.name, "error", err)
			}
			failed(err)
			return
		}
		g.welcome.Store(&session.Params)
		err = loop.Adopt(session.Conn, func(c *netloop.Conn) netloop.Handler {
			to.dialed(nil)
			return to.arrived(c, session, epoch)
		})
		if err != nil && !errors.Is(err, netloop.ErrStopped) {
			failed(err)
		}
	})
	if !ok {
		failed(context.Canceled)
	}
}

// sendCancel asks the server to cancel what its process pid does, and waits until that has had its effect.
func (s *Server) sendCancel(ctx context.Context, pid uint32, key []byte) error {
	nc, err := s.connect(ctx)
	if err != nil {
		return err // names the address
	}
	if err := auth.Cancel(ctx, nc, s.params(), pid, key); err != nil {
		return fmt.Errorf("server %s: %w", s.label(), err)
	}
	return nil
}
