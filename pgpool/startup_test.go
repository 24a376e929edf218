package pgpool

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// startupPacket asks for protocol 3.0; more are names and values of further parameters.
func startupPacket(more ...string) []byte {
	params := []pgwire.Param{{Name: "user", Value: "postgres"}, {Name: "database", Value: "postgres"}}
	for i := 0; i < len(more); i += 2 {
		params = append(params, pgwire.Param{Name: more[i], Value: more[i+1]})
	}
	return pgwire.AppendStartup(nil, pgwire.Version30, params)
}

func sslRequest() []byte    { return pgwire.AppendSSLRequest(nil) }
func gssencRequest() []byte { return []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30} }

// selfSigned makes a certificate that a server on loopback can show.
func selfSigned(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// startTLS runs a pooler that offers TLS.
func startTLS(t *testing.T, change func(*Config)) *testPooler {
	t.Helper()
	cert := selfSigned(t, "first")
	return start(t, 1, func(c *Config) {
		c.Tuning.ClientTLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		if change != nil {
			change(c)
		}
	})
}

// rest reads to the end of a connection.
func rest(t *testing.T, nc net.Conn) []byte {
	t.Helper()
	b, err := io.ReadAll(nc)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("connection ended by %v", err)
	}
	return b
}

// fatal returns the one error that b is; nil if it is something else.
func fatal(b []byte) *pgwire.Error {
	if len(b) < pgwire.HeaderLen || b[0] != pgwire.ErrorResponse || len(b) != 1+int(binary.BigEndian.Uint32(b[1:])) {
		return nil
	}
	return pgwire.ParseError(b[pgwire.HeaderLen:])
}

func TestOddFirstPackets(t *testing.T) {
	length := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	sends := func(b ...[]byte) [][]byte { return b }
	plain, encrypted := start(t, 1, nil), startTLS(t, nil)
	soon := func(c *Config) {
		c.Tuning.ClientLogin = time.Second
		c.Tuning.Defaults.ClientLogin = c.Tuning.ClientLogin
	}
	hasty, hastyTLS := start(t, 1, soon), startTLS(t, soon)
	for _, tc := range []struct {
		name    string
		p       *testPooler
		sends   [][]byte
		answers string // a byte for each request for encryption that is answered
		code    string // of the error that ends it, "" for a quiet end
		says    string // part of its message
	}{
		{"length 0", plain, sends(length(0)), "", "08P01", "length"},
		{"length 3", plain, sends(length(3)), "", "08P01", "length"},
		{"length 7", plain, sends(length(7)), "", "08P01", "length"},
		{"length 10001", plain, sends(length(10001)), "", "08P01", "length"},
		{"length 2^31", plain, sends(length(1 << 31)), "", "08P01", "length"},
		{"length 2^32-1", plain, sends(length(1<<32 - 1)), "", "08P01", "length"},
		{"SSLRequest twice", plain, sends(sslRequest(), sslRequest()), "N", "08P01", "twice"},
		{"GSSENCRequest twice", plain, sends(gssencRequest(), gssencRequest()), "N", "08P01", "twice"},
		{"SSL, GSS, SSL", plain, sends(sslRequest(), gssencRequest(), sslRequest()), "NN", "08P01", "twice"},
		{"GSS, SSL, GSS", plain, sends(gssencRequest(), sslRequest(), gssencRequest()), "NN", "08P01", "twice"},
		{"startup sent with SSLRequest", plain, sends(append(sslRequest(), startupPacket()...)), "", "08P01", "unencrypted data"},
		{"startup sent with SSLRequest to TLS", encrypted, sends(append(sslRequest(), startupPacket()...)), "", "08P01", "unencrypted data"},
		{"a byte sent with SSLRequest to TLS", encrypted, sends(append(sslRequest(), 0x16)), "", "08P01", "unencrypted data"},
		{"startup sent with GSSENCRequest", plain, sends(append(gssencRequest(), startupPacket()...)), "", "08P01", "unencrypted data"},
		{"startup in plain after S", encrypted, sends(sslRequest(), startupPacket()), "S", "", ""},
		{"silence after S", hastyTLS, sends(sslRequest()), "S", "", ""},
		{"half a handshake", hastyTLS, sends([]byte{recordHandshake, 3, 1, 0, 200, 1}), "", "", ""},
		{"version 2", plain, sends(append(length(8), 0, 2, 0, 0)), "", "0A000", "protocol 2.0"},
		{"version 4", plain, sends(append(length(8), 0, 4, 0, 0)), "", "0A000", "protocol 4.0"},
		{"no user", plain, sends(pgwire.AppendStartup(nil, pgwire.Version30, nil)), "", "28000", "no PostgreSQL user"},
		{"options without a name", plain, sends(startupPacket("options", "-c=")), "", "42601", "invalid setting name"},
		{"options without a value", plain, sends(startupPacket("options", "-c work_mem")), "", "42601", "requires a value"},
		{"replication=maybe", plain, sends(startupPacket("replication", "maybe")), "", "22023", "replication"},
		{"silence", hasty, nil, "", "", ""},
		{"half a packet, then silence", hasty, sends(startupPacket()[:20]), "", "08P01", "client_login_timeout"},
		{"half a length, then silence", hasty, sends(startupPacket()[:2]), "", "08P01", "client_login_timeout"},
		{"half a packet after SSLRequest, then silence", hasty, sends(sslRequest(), startupPacket()[:20]), "N", "08P01", "client_login_timeout"},
		{"cancel of nobody", plain, sends(pgwire.AppendCancelRequest(nil, 12345, []byte{1, 2, 3, 4})), "", "", ""},
		{"cancel without a key", plain, sends(pgwire.AppendCancelRequest(nil, 12345, nil)), "", "08P01", "cancel"},
		{"cancel with a long key", plain, sends(pgwire.AppendCancelRequest(nil, 12345, make([]byte, 257))), "", "08P01", "cancel"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			nc := tc.p.dialRaw(t)
			for i, b := range tc.sends {
				if _, err := nc.Write(b); err != nil {
					t.Fatal(err)
				}
				if i < len(tc.answers) {
					var answer [1]byte
					if _, err := io.ReadFull(nc, answer[:]); err != nil || answer[0] != tc.answers[i] {
						t.Fatalf("answer to the request for encryption: %q, %v; want %c", answer, err, tc.answers[i])
					}
				}
			}
			last := rest(t, nc)
			nc.Close()
			if e := fatal(last); tc.code != "" && (e == nil || !e.Fatal() || e.Code != tc.code || !strings.Contains(e.Message, tc.says)) {
				t.Errorf("ended with %q %v, want %s %q", last, e, tc.code, tc.says)
			} else if tc.code == "" && e != nil {
				t.Errorf("ended with %v, want nothing", e)
			}
		})
	}
	t.Cleanup(func() { // when all are through
		for _, p := range []*testPooler{plain, encrypted, hasty, hastyTLS} {
			waitFor(t, "them to be forgotten", func() bool { return p.nclients.Load() == 0 && p.arrivals.Load() == 0 })
		}
	})
}

func TestHTTPOnThePostgresPort(t *testing.T) {
	p := start(t, 1, nil)
	client := &http.Client{Timeout: deadline, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		r, err := http.NewRequest(method, "http://"+p.addr+"/health", strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusBadRequest || method != "HEAD" && !strings.Contains(string(body), "PostgreSQL port") {
			t.Errorf("%s: %s, %q, %v", method, res.Status, body, err)
		}
	}
}

func TestTLSToAPortWithoutIt(t *testing.T) {
	p := start(t, 1, nil)
	session := tls.Client(p.dialRaw(t), &tls.Config{InsecureSkipVerify: true})
	err := session.Handshake()
	if alert, ok := errors.AsType[tls.AlertError](err); !ok {
		if e, ok := errors.AsType[*net.OpError](err); !ok || !strings.Contains(e.Error(), "handshake failure") {
			t.Errorf("%T %v, want the alert handshake_failure", err, err)
		}
	} else if !strings.Contains(alert.Error(), "handshake failure") {
		t.Error(err)
	}
}

// Who connects and leaves, or connects and is silent, costs nobody anything, and only so many may.
func TestPortScanners(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.MaxClients = 1 })
	for range 50 {
		nc := p.dialRaw(t)
		nc.Close()
	}
	last := p.dialRaw(t) // comes behind all of them
	if _, err := last.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, last)
	waitFor(t, "them to be forgotten", func() bool { return p.arrivals.Load() == 0 })
	var silent []net.Conn
	for range spareArrivals + 1 {
		silent = append(silent, p.dialRaw(t))
	}
	waitFor(t, "them to be there", func() bool { return p.arrivals.Load() == spareArrivals+1 })
	if b := rest(t, p.dialRaw(t)); len(b) > 0 {
		t.Errorf("one too many was told %q", b)
	}
	silent[0].Close()
	waitFor(t, "one to be forgotten", func() bool { return p.arrivals.Load() <= spareArrivals })
	p.connect(t, "")
}

// A StartupMessage is believed once (CVE-2026-107350).
func TestSecondStartupMessage(t *testing.T) {
	p := startPassword(t, nil)
	t.Run("in the middle of authentication", func(t *testing.T) {
		nc := p.dialRaw(t)
		if _, err := nc.Write(startupPacket()); err != nil {
			t.Fatal(err)
		}
		w := &wire{nc: nc, params: map[string]string{}, me: -1, patience: patience}
		if m, err := w.read(); err != nil || m.typ != pgwire.Authentication {
			t.Fatalf("%v, %v", m, err)
		}
		if _, err := nc.Write(startupPacket("user", "other")); err != nil {
			t.Fatal(err)
		}
		if e := fatal(rest(t, nc)); e == nil || e.Code != "08P01" {
			t.Errorf("ended with %v", e)
		}
	})
	t.Run("after the login", func(t *testing.T) {
		trusting := start(t, 1, nil)
		w, err := wireTo(trusting.addr, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		defer w.nc.Close()
		if _, err := w.nc.Write(startupPacket()); err != nil {
			t.Fatal(err)
		}
		if e := fatal(rest(t, w.nc)); e == nil || e.Code != "08P01" {
			t.Errorf("ended with %v", e)
		}
	})
}

// startPassword runs a pooler that asks its clients for a password.
func startPassword(t *testing.T, change func(*Config)) *testPooler {
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
		c.Tuning.Clients = clients
		if change != nil {
			change(c)
		}
	})
}

func TestOddAuthentication(t *testing.T) {
	p := startPassword(t, nil)
	hasty := startPassword(t, func(c *Config) {
		c.Tuning.ClientLogin = time.Second
		c.Tuning.Defaults.ClientLogin = c.Tuning.ClientLogin
	})
	header := func(typ byte, n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{typ}, n) }
	for _, tc := range []struct {
		name string
		send []byte
		says string
	}{
		{"65,536 bytes", header('p', 65536+4), ""},
		{"2^31 bytes", header('p', 1<<31), ""},
		{"length 0", header('p', 0), ""},
		{"a query", query("select 1").encode(), ""},
		{"no mechanism", header('p', 4), ""},
		{"silence", nil, "client_login_timeout"},
		{"half a message", header('p', 50), "client_login_timeout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := p
			if tc.says != "" {
				p = hasty
			}
			nc := p.dialRaw(t)
			if _, err := nc.Write(startupPacket()); err != nil {
				t.Fatal(err)
			}
			w := &wire{nc: nc, params: map[string]string{}, me: -1, patience: patience}
			if m, err := w.read(); err != nil || m.typ != pgwire.Authentication {
				t.Fatalf("%v, %v", m, err)
			}
			if _, err := nc.Write(tc.send); err != nil {
				t.Fatal(err)
			}
			if e := fatal(rest(t, nc)); e == nil || e.Code != "08P01" || !e.Fatal() || !strings.Contains(e.Message, tc.says) {
				t.Errorf("ended with %v", e)
			}
			nc.Close()
			waitFor(t, "it to be forgotten", func() bool { return p.nclients.Load() == 0 })
		})
	}
}

func TestDirectTLS(t *testing.T) {
	p := startTLS(t, func(c *Config) { c.Tuning.RequireTLS = true })
	ctx := context.Background()
	for _, negotiation := range []string{"direct", "postgres"} {
		cfg, err := pgx.ParseConfig("postgres://postgres@" + p.addr + "/postgres?sslmode=require&sslnegotiation=" + negotiation)
		if err != nil {
			t.Fatal(err)
		}
		c, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			t.Fatalf("%s: %v", negotiation, err)
		}
		var n int
		if err := c.QueryRow(ctx, "select 5").Scan(&n); err != nil || n != 5 {
			t.Errorf("%s: %d, %v", negotiation, n, err)
		}
		c.Close(ctx)
	}
	handshake := func(protocols ...string) (*tls.Conn, error) {
		session := tls.Client(p.dialRaw(t), &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
		return session, session.Handshake()
	}
	if _, err := handshake("h2"); err == nil {
		t.Error("a client of HTTP/2 was welcome")
	}
	session, err := handshake()
	if err != nil {
		t.Fatal(err)
	}
	if e := fatal(rest(t, session)); e == nil || e.Code != "08P01" || !strings.Contains(e.Message, "ALPN") {
		t.Errorf("without ALPN: ended with %v", e)
	}
	for _, again := range [][]byte{sslRequest(), gssencRequest()} {
		if session, err = handshake(alpnPostgres); err != nil {
			t.Fatal(err)
		}
		if _, err := session.Write(again); err != nil {
			t.Fatal(err)
		}
		if e := fatal(rest(t, session)); e == nil || e.Code != "08P01" {
			t.Errorf("encryption within encryption: ended with %v", e)
		}
	}
}

func TestCertificateIsReplacedByReload(t *testing.T) {
	p := startTLS(t, nil)
	shown := func() string {
		session := tls.Client(p.dialRaw(t), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpnPostgres}})
		if err := session.Handshake(); err != nil {
			t.Fatal(err)
		}
		return session.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if name := shown(); name != "first" {
		t.Errorf("certificate of %q", name)
	}
	cfg, err := pgx.ParseConfig("postgres://postgres@" + p.addr + "/postgres?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	before, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close(ctx)
	tuning := *p.tuning.Load()
	tuning.ClientTLS = &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "second")}}
	if err := p.Reload(tuning); err != nil {
		t.Fatal(err)
	}
	if name := shown(); name != "second" {
		t.Errorf("certificate of %q after the reload", name)
	}
	if _, err := before.Exec(ctx, "select 1"); err != nil {
		t.Errorf("a client from before the reload: %v", err)
	}
}

// loginMessages logs in with a startup packet and returns the messages up to the first ReadyForQuery.
func (p *testPooler) loginMessages(t *testing.T, packet []byte) (net.Conn, []message) {
	t.Helper()
	nc := p.dialRaw(t)
	if _, err := nc.Write(packet); err != nil {
		t.Fatal(err)
	}
	w := &wire{nc: nc, params: map[string]string{}, me: -1, patience: patience}
	var all []message
	for {
		m, err := w.read()
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, m); m.typ == pgwire.ReadyForQuery || m.typ == pgwire.ErrorResponse {
			return nc, all
		}
	}
}

func TestProtocolVersions(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.NodeID = 0x3edc })
	names := []pgwire.Param{{Name: "user", Value: "postgres"}, {Name: "database", Value: "postgres"}}
	grease := append(names, pgwire.Param{Name: "_pq_.test_protocol_negotiation", Value: ""}, pgwire.Param{Name: "_pq_.other", Value: "1"})
	for _, tc := range []struct {
		name    string
		asked   uint32
		params  []pgwire.Param
		told    []byte // the body of NegotiateProtocolVersion, nil for none
		keySize int
	}{
		{"3.0", pgwire.Version30, names, nil, 4},
		{"3.2", pgwire.Version32, names, nil, 32},
		{"3.0 and options", pgwire.Version30, grease, []byte("\x00\x03\x00\x00\x00\x00\x00\x02_pq_.test_protocol_negotiation\x00_pq_.other\x00"), 4},
		{"3.2 and options", pgwire.Version32, grease, []byte("\x00\x03\x00\x02\x00\x00\x00\x02_pq_.test_protocol_negotiation\x00_pq_.other\x00"), 32},
		{"3.9999", 3<<16 | 9999, grease, []byte("\x00\x03\x00\x02\x00\x00\x00\x02_pq_.test_protocol_negotiation\x00_pq_.other\x00"), 32},
		{"3.3", 3<<16 | 3, names, []byte("\x00\x03\x00\x02\x00\x00\x00\x00"), 32},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, all := p.loginMessages(t, pgwire.AppendStartup(nil, tc.asked, tc.params))
			if all[0].typ == 'v' {
				if !bytes.Equal(all[0].body, tc.told) {
					t.Errorf("told %q, want %q", all[0].body, tc.told)
				}
				all = all[1:]
			} else if tc.told != nil {
				t.Error("told nothing")
			}
			if all[0].typ != pgwire.Authentication {
				t.Errorf("begins with %v", all[0])
			}
			for _, m := range all {
				switch m.typ {
				case 'v':
					t.Errorf("told again %v", m)
				case pgwire.BackendKeyData:
					pid := binary.BigEndian.Uint32(m.body)
					if len(m.body) != 4+tc.keySize || int32(pid) < firstPID || (pid-firstPID)>>serialBits != 0x3edc {
						t.Errorf("key % x", m.body)
					}
				}
			}
			if last := all[len(all)-1]; last.typ != pgwire.ReadyForQuery {
				t.Errorf("ends with %v", last)
			}
		})
	}
}
