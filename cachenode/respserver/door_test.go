package respserver

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	pair := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true})
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate of a template; the first one signs itself.
func (a *authority) sign(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.NotAfter = big.NewInt(1), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) server() tls.Certificate {
	return a.sign(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
}

// dialTLS connects and shakes hands, as far as the client can tell.
func (n *node) dialTLS(t *testing.T, cfg *tls.Config) (*client, error) {
	t.Helper()
	cfg.ServerName = "127.0.0.1"
	c := n.dial(t)
	session := tls.Client(c.nc, cfg)
	c.nc, c.r = session, bufio.NewReaderSize(session, 1<<20)
	return c, session.Handshake()
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	n := start(t, 2, nil)
	n.tls.Store(&tls.Config{Certificates: []tls.Certificate{a.server()}})
	c, err := n.dialTLS(t, &tls.Config{RootCAs: a.pool})
	if err != nil {
		t.Fatal(err)
	}
	c.want("+PONG\r\n", "PING")
	big := strings.Repeat("v", 1<<20)
	c.want("+OK\r\n", "SET", "k", big)
	c.send(strings.Repeat("GET k\r\nPING\r\n", 5))
	for range 5 {
		if got := c.read(); len(got) < len(big) {
			t.Fatalf("got %.80q", got)
		}
		if got := c.read(); got != "+PONG\r\n" {
			t.Fatalf("got %.80q", got)
		}
	}
	c.want("+OK\r\n", "QUIT")
	if got := c.closed(); got != "" {
		t.Errorf("got %q behind the end", got)
	}
	if _, err := n.dialTLS(t, &tls.Config{RootCAs: newAuthority(t).pool}); err == nil {
		t.Error("a client that does not know the authority goes on")
	}
}

func TestClientCertificates(t *testing.T) {
	var log journal
	a, stranger := newAuthority(t), newAuthority(t)
	n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.Logger = log.logger() })
	n.tls.Store(&tls.Config{Certificates: []tls.Certificate{a.server()}, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert})
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	c, err := n.dialTLS(t, &tls.Config{RootCAs: a.pool, Certificates: []tls.Certificate{a.sign(&x509.Certificate{ExtKeyUsage: usage})}})
	if err != nil {
		t.Fatal(err)
	}
	c.want("+PONG\r\n", "PING")
	foreign := stranger.sign(&x509.Certificate{ExtKeyUsage: usage})
	for name, cfg := range map[string]*tls.Config{
		"none": {},
		"of another authority": {GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &foreign, nil
		}},
	} {
		cfg.RootCAs = a.pool
		c, err := n.dialTLS(t, cfg)
		if err == nil { // with TLS 1.3 a client learns of it when it reads
			_, err = c.nc.Read(make([]byte, 1))
		}
		if err == nil || !strings.Contains(err.Error(), "remote error: tls") {
			t.Errorf("with a certificate, %s: %v", name, err)
		}
	}
	if got := n.Clients(); got != 1 {
		t.Errorf("%d clients", got)
	}
	eventually(t, "the log tells", func() bool { return log.has("refused a client") && log.has("TLS handshake: tls: ") })
}

// Who does not speak what the port does is told in what it speaks.
func TestTLSWhereThereIsNone(t *testing.T) {
	var log journal
	a := newAuthority(t)
	n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.Logger = log.logger() })
	if _, err := n.dialTLS(t, &tls.Config{RootCAs: a.pool}); err == nil || !strings.Contains(err.Error(), "handshake failure") {
		t.Errorf("TLS on a plain port: %v", err)
	}
	eventually(t, "the log tells", func() bool { return log.has("speaks TLS") && log.has("cache_tls_cert_file") })
	n.tls.Store(&tls.Config{Certificates: []tls.Certificate{a.server()}})
	for _, first := range []string{"PING\r\n", "*1\r\n$4\r\nPING\r\n", "GET / HTTP/1.1\r\n\r\n"} {
		c := n.dial(t)
		c.send(first)
		if got := c.closed(); got != plainRefusal {
			t.Errorf("%q on a TLS port: %q", first, got)
		}
	}
	eventually(t, "the log tells", func() bool { return log.has("speaks no TLS") })
	if got := n.Clients(); got != 0 {
		t.Errorf("%d clients", got)
	}
}

func TestHandshakeTakesTooLong(t *testing.T) {
	var log journal
	n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) {
		cfg.Logger, cfg.HandshakeTimeout = log.logger(), 100*time.Millisecond
	})
	n.tls.Store(&tls.Config{Certificates: []tls.Certificate{newAuthority(t).server()}})
	if got := n.dial(t).closed(); got != "" {
		t.Errorf("got %q", got)
	}
	eventually(t, "the log tells", func() bool { return log.has("no TLS handshake within 100ms") })
	eventually(t, "none is under way", func() bool { return n.handshakes.Load() == 0 })
}

// Handshakes count as clients: they are the dearest part of one.
func TestHandshakesAreBounded(t *testing.T) {
	n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.MaxClients = 2 })
	n.tls.Store(&tls.Config{Certificates: []tls.Certificate{newAuthority(t).server()}})
	n.dial(t)
	n.dial(t)
	eventually(t, "two are under way", func() bool { return n.handshakes.Load() == 2 })
	if got := n.dial(t).closed(); got != "" {
		t.Errorf("one more than maxclients got %q", got)
	}
	if got := n.refused.Load(); got != 1 {
		t.Errorf("%d were refused", got)
	}
}
