package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// door is a listener that lets clients in by an Authenticator, and answers every query with nothing.
type door struct {
	auth  *Authenticator
	tls   *tls.Config // nil: no TLS
	local bool
	addr  string

	mu      sync.Mutex
	outcome []outcome
}

type outcome struct {
	credentials *Credentials
	err         error
}

// openDoor opens a door on loopback. Clients are not local unless a fourth argument says so.
func openDoor(t *testing.T, a *Authenticator, cfg *tls.Config, local ...bool) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return openDoorAt(t, l, a, cfg, len(local) > 0 && local[0])
}

func openDoorAt(t *testing.T, l net.Listener, a *Authenticator, cfg *tls.Config, local bool) *door {
	d := &door{auth: a, tls: cfg, local: local, addr: l.Addr().String()}
	var running sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				d.serve(conn)
			})
		}
	})
	return d
}

func (d *door) serve(conn net.Conn) {
	s, err := pgwire.ReadStartup(conn)
	for err == nil && s.Kind != pgwire.KindStartup {
		if s.Kind == pgwire.KindSSLRequest && d.tls != nil {
			conn.Write([]byte("S"))
			conn = tls.Server(conn, d.tls)
		} else if _, err = conn.Write([]byte("N")); err != nil {
			return
		}
		s, err = pgwire.ReadStartup(conn)
	}
	if err != nil {
		return // the client did not like us, or is done
	}
	credentials, err := d.auth.Authenticate(context.Background(), Client{Conn: conn, User: s.User(), Database: s.Get("database"),
		Local: d.local, Certificate: ShownCertificate(d.tls)})
	d.mu.Lock()
	d.outcome = append(d.outcome, outcome{credentials, err})
	d.mu.Unlock()
	if err != nil {
		if e, ok := errors.AsType[*pgwire.Error](err); ok {
			conn.Write(pgwire.AppendErrorResponse(nil, e))
		}
		return
	}
	conn.Write(pgwire.AppendReadyForQuery(pgwire.AppendParameterStatus(nil, "client_encoding", "UTF8"), 'I'))
	for {
		kind, _, err := readMessage(conn)
		if err != nil || kind == 'X' {
			return
		}
		conn.Write(pgwire.AppendReadyForQuery(appendMessage(nil, 'I'), 'I'))
	}
}

// last is what came of the last client.
func (d *door) last(t *testing.T) outcome {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.outcome) == 0 {
		t.Fatal("nobody came")
	}
	return d.outcome[len(d.outcome)-1]
}

// psql is a client with libpq. params is a connection string without host and port.
func (d *door) psql(t *testing.T, password, params string) (output string, err error) {
	t.Helper()
	host, port, err := net.SplitHostPort(d.addr)
	if err != nil { // the path of a Unix socket
		host, port, _ = strings.Cut(d.addr, "/.s.PGSQL.")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(pg.BinDir(), "psql"), "-X", "-w", "-c", "select 1", "host="+host+" port="+port+" dbname=x gssencmode=disable "+params)
	cmd.Env = []string{"PGPASSWORD=" + password, "LC_ALL=C", "HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// issue makes a certificate, signed by itself if by is nil.
func issue(t testing.TB, subject pkix.Name, by *tls.Certificate, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: by == nil, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	if change != nil {
		change(template)
	}
	parent, signer := template, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// save writes a certificate and its key where libpq finds them.
func save(t *testing.T, c tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func poolOf(certs ...tls.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c.Leaf)
	}
	return pool
}

// code is the SQLSTATE that a client is told, or nothing.
func code(err error) string {
	if e, ok := errors.AsType[*pgwire.Error](err); ok {
		return e.Code
	}
	return ""
}

func mustNew(t testing.TB, cfg Config) *Authenticator {
	t.Helper()
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustUsers(t testing.TB, list string) Users {
	t.Helper()
	users, err := ParseUsers(strings.NewReader(list))
	if err != nil {
		t.Fatal(err)
	}
	return users
}
