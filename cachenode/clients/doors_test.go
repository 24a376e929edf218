package clients

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
)

// doors are the ways into one server besides plain TCP.
type doors struct {
	tls    string // address
	ca     string // file with the authority of the server's certificate
	socket string // path of the Unix socket
}

// startDoors runs a server with TLS and a Unix socket until the test ends.
func startDoors(t *testing.T) doors {
	t.Helper()
	dir := t.TempDir()
	d := doors{ca: filepath.Join(dir, "cert.pem"), socket: filepath.Join(dir, "s")}
	key := filepath.Join(dir, "key.pem")
	writeCertificate(t, d.ca, key)
	if !*real {
		d.tls = startNodes(t, 1, "--cache-tls-cert-file="+d.ca, "--cache-tls-key-file="+key, "--cache-socket="+d.socket)[0].addr
		return d
	}
	d.tls = freeAddrs(t, 1)[0]
	_, port, _ := net.SplitHostPort(d.tls)
	redistest.Start(t, "--tls-port", port, "--tls-cert-file", d.ca, "--tls-key-file", key, "--tls-auth-clients", "no",
		"--tls-ca-cert-file", d.ca, "--unixsocket", d.socket)
	return d
}

// writeCertificate makes a certificate for 127.0.0.1 that is its own authority.
func writeCertificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDoors(t *testing.T) {
	t.Parallel()
	d := startDoors(t)
	ctx := t.Context()
	authority, err := os.ReadFile(d.ca)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	big := strings.Repeat("x", 1<<20)
	for name, options := range map[string]*redis.Options{
		"TLS":         {Addr: d.tls, MaxRetries: -1, TLSConfig: &tls.Config{RootCAs: trusted}},
		"Unix socket": {Network: "unix", Addr: d.socket, MaxRetries: -1},
	} {
		c := connect(t, options)
		want(t, "OK")(c.Set(ctx, name, big, 0).Result())
		want(t, big)(c.Get(ctx, name).Result())
		pipe := c.Pipeline()
		for i := range 500 {
			pipe.Set(ctx, "k", i, 0)
			pipe.Get(ctx, "k")
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sub := c.Subscribe(ctx, name)
		if _, err := sub.Receive(ctx); err != nil { // the confirmation
			t.Errorf("%s: %v", name, err)
		}
		want(t, int64(1))(c.Publish(ctx, name, big).Result())
		if m, err := sub.ReceiveMessage(ctx); err != nil || m.Payload != big {
			t.Errorf("%s: a message: %v", name, err)
		}
		_ = sub.Close()
	}
	stranger := connect(t, &redis.Options{Addr: d.tls, MaxRetries: -1, TLSConfig: &tls.Config{RootCAs: x509.NewCertPool()}})
	if err := stranger.Ping(ctx).Err(); err == nil {
		t.Error("a client that does not trust the certificate is served")
	}
	if testing.Short() {
		return
	}
	environ := []string{"SERVER_URL=rediss://" + d.tls, "SERVER_CA=" + d.ca, "SERVER_SOCKET=" + d.socket}
	run(t, environ, "node", filepath.Join(packages(t), "doors.js"))
	run(t, environ, debianPython(t), "testdata/python/doors.py")
}
