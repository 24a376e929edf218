package pgpool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

const (
	serverPassword = "the servers' p@ss/word" // needs quoting in a URL
	clientPassword = "the clients' own"
)

// encrypted is a cluster that takes only passwords, over TLS if one likes.
type encrypted struct {
	*devpg.Cluster
	roots *x509.CertPool
	cert  tls.Certificate // good for the pooler too
}

func startEncrypted(t *testing.T) *encrypted {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	c, err := devpg.Start(ctx, devpg.Options{Auth: "scram-sha-256", Password: serverPassword, TLS: true, MaxConnections: 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	pem, err := os.ReadFile(c.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in the cluster's file")
	}
	cert, err := tls.LoadX509KeyPair(c.CAFile(), filepath.Join(filepath.Dir(c.CAFile()), "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	return &encrypted{c, roots, cert}
}

// server is how the pooler reaches the cluster.
func (e *encrypted) server(t *testing.T, mode, host, password string, roots *x509.CertPool) Server {
	t.Helper()
	_, port, _ := strings.Cut(e.Addr(0), ":")
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", password), Host: host + ":" + port, Path: "/postgres",
		RawQuery: "sslmode=" + mode}
	s, err := ParseURL(u.String())
	if err != nil {
		t.Fatal(err)
	}
	s.TLS = &tls.Config{RootCAs: roots}
	return s
}

// start runs a pooler that asks its clients for a password and takes them only over TLS.
func (e *encrypted) start(t *testing.T, server Server) *testPooler {
	t.Helper()
	secret, err := auth.ParseSecret(clientPassword)
	if err != nil {
		t.Fatal(err)
	}
	clients, err := auth.New(auth.Config{Method: auth.SCRAMSHA256, Users: auth.Users{"postgres": secret}})
	if err != nil {
		t.Fatal(err)
	}
	return start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(server)
		c.Tuning.Defaults.PoolSize = 2
		c.Tuning.Clients = clients
		c.Tuning.ClientTLS = &tls.Config{Certificates: []tls.Certificate{e.cert}}
		c.Tuning.RequireTLS = true
	})
}

// connectTo connects with the password; mode is the client's sslmode.
func (e *encrypted) connectTo(t *testing.T, p *testPooler, mode, password string) (*pgx.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", password), Host: p.addr, Path: "/postgres",
		RawQuery: url.Values{"sslmode": {mode}, "sslrootcert": {e.CAFile()}}.Encode()}
	if mode == "disable" {
		u.RawQuery = "sslmode=disable"
	}
	c, err := pgx.Connect(ctx, u.String())
	if err == nil {
		t.Cleanup(func() { c.Close(context.Background()) })
	}
	return c, err
}

func TestTLSAndPasswordsOnBothSides(t *testing.T) {
	e := startEncrypted(t)
	ctx := context.Background()
	for _, tc := range []struct {
		name, mode, host string
		roots            *x509.CertPool
		encrypted        bool
		refused          string // part of the error at login
	}{
		{"disable", "disable", "127.0.0.1", nil, false, ""},
		{"require", "require", "127.0.0.1", nil, true, ""},
		{"verify-ca", "verify-ca", "127.0.0.1", e.roots, true, ""},
		{"verify-full", "verify-full", "127.0.0.1", e.roots, true, ""},
		{"verify-full by name", "verify-full", "localhost", e.roots, true, ""},
		{"verify-full with an unknown authority", "verify-full", "127.0.0.1", x509.NewCertPool(), true, "unknown authority"},
		{"verify-full with another name", "verify-full", "ip6-localhost", e.roots, true, "certificate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := e.server(t, tc.mode, tc.host, serverPassword, tc.roots)
			if tc.host == "ip6-localhost" { // the name need not resolve to the address
				server.Addr = e.Addr(0)
			}
			p := e.start(t, server)
			c, err := e.connectTo(t, p, "require", clientPassword)
			if tc.refused != "" {
				e, ok := errors.AsType[*pgconn.PgError](err)
				if !ok || e.Code != "08001" || !strings.Contains(e.Detail, tc.refused) {
					t.Fatalf("login: %v, %+v", err, e)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var ssl bool
			var with string
			err = c.QueryRow(ctx, "select ssl, coalesce(version || '/' || cipher, '') from pg_stat_ssl where pid = pg_backend_pid()").Scan(&ssl, &with)
			if err != nil || ssl != tc.encrypted {
				t.Errorf("encrypted %v, %v; want %v", ssl, err, tc.encrypted)
			}
			if shown := p.Console().Servers()[0].TLS; shown != with {
				t.Errorf("the console shows %q, is %q", shown, with)
			}
			if shown := p.Console().Clients()[0].TLS; !strings.HasPrefix(shown, "TLSv1.3/TLS_") {
				t.Errorf("the console shows %q of a client", shown)
			}
		})
	}
	t.Run("wrong server password", func(t *testing.T) {
		p := e.start(t, e.server(t, "require", "127.0.0.1", "no", nil))
		if _, err := e.connectTo(t, p, "require", clientPassword); !hasCode(err, "28P01") {
			t.Errorf("login: %v", err)
		}
	})
	p := e.start(t, e.server(t, "verify-full", "127.0.0.1", serverPassword, e.roots))
	t.Run("clients", func(t *testing.T) {
		for _, tc := range []struct{ mode, password, code string }{
			{"require", clientPassword, ""},
			{"verify-full", clientPassword, ""},
			{"prefer", clientPassword, ""},
			{"require", "no", "28P01"},
			{"require", serverPassword, "28P01"}, // the servers' password opens nothing here
			{"disable", clientPassword, "28000"},
		} {
			_, err := e.connectTo(t, p, tc.mode, tc.password)
			if tc.code == "" && err != nil || tc.code != "" && !hasCode(err, tc.code) {
				t.Errorf("sslmode %s, password %q: %v, want %q", tc.mode, tc.password, err, tc.code)
			}
		}
	})
	t.Run("3 MB both ways", func(t *testing.T) { e.testLarge(t, p) })
	t.Run("cancel", func(t *testing.T) { e.testCancel(t, p) })
}

func (e *encrypted) testLarge(t *testing.T, p *testPooler) {
	c, err := e.connectTo(t, p, "verify-full", clientPassword)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("0123456789abcdef", 3<<16) // 3 MB
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
		var got string
		if err := c.QueryRow(context.Background(), "select $1::text", mode, want).Scan(&got); err != nil || got != want {
			t.Errorf("%v: %d bytes back, %v", mode, len(got), err)
		}
	}
}

// testCancel cancels over TLS too: pgx asks for it as it did for the session.
func (e *encrypted) testCancel(t *testing.T, p *testPooler) {
	c, err := e.connectTo(t, p, "verify-full", clientPassword)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := c.Exec(ctx, "select pg_sleep(60)")
		failed <- err
	}()
	waitFor(t, "the query to run", func() bool {
		running := false
		p.on(t, 0, func(w *worker) {
			for c := range w.clients {
				running = running || c.server != nil && c.server.owed.n > 0
			}
		})
		return running
	})
	began := time.Now()
	if err := c.PgConn().CancelRequest(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !hasCode(err, "57014") {
		t.Fatal(err)
	}
	t.Logf("cancelled after %v", time.Since(began))
	var n int
	if err := c.QueryRow(ctx, "select 5").Scan(&n); err != nil || n != 5 {
		t.Errorf("afterwards: %d, %v", n, err)
	}
}
