package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// script is a server that reads the startup packet and then does what it likes.
type script func(conn net.Conn)

// sends is a script that sends b whatever comes.
func sends(b ...[]byte) script {
	return func(conn net.Conn) { conn.Write(bytes.Join(b, nil)) }
}

// challenges is a script that starts SCRAM and answers with challenge, in which NONCE stands for the client's nonce,
// and then with more messages.
func challenges(challenge string, more ...[]byte) script {
	return func(conn net.Conn) {
		conn.Write(appendAuth(nil, authSASL, mechanismSCRAM+"\x00\x00"))
		_, body, err := readMessage(conn)
		if err != nil {
			return
		}
		_, nonce, _ := strings.Cut(string(body), "r=")
		conn.Write(appendAuth(nil, authSASLContinue, strings.Replace(challenge, "NONCE", nonce, 1)))
		for _, m := range more {
			if _, _, err := readMessage(conn); err != nil {
				return
			}
			conn.Write(m)
		}
	}
}

func TestHostileServers(t *testing.T) {
	ok := appendAuth(nil, authOK, "")
	const salt = "s=W22ZaJ0SNY7soEsUEjb6gQ=="
	signature := "v=" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	tests := []struct {
		name   string
		script script
		want   string // part of the error
	}{
		{"closes", sends(), "EOF"},
		{"half a message", sends([]byte{'R', 0, 0}), "unexpected EOF"},
		{"garbage", sends([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")), "invalid message length"},
		{"length 3", sends([]byte{'R', 0, 0, 0, 3}), "invalid message length"},
		{"length 2^32-1", sends([]byte{'R', 0xff, 0xff, 0xff, 0xff}), "invalid message length"},
		{"authentication without a code", sends([]byte{'R', 0, 0, 0, 5, 0}), "malformed authentication"},
		{"ready at once", sends(pgwire.AppendReadyForQuery(nil, 'I')), "before authentication"},
		{"authentication twice", sends(ok, ok), "after it was complete"},
		{"ready in a transaction", sends(ok, pgwire.AppendReadyForQuery(nil, 'T')), "status"},
		{"key too short", sends(ok, appendMessage(nil, 'K', []byte("1234567"))), "BackendKeyData"},
		{"key too long", sends(ok, appendMessage(nil, 'K', make([]byte, 261))), "BackendKeyData"},
		{"odd parameter", sends(ok, appendMessage(nil, 'S', []byte("name\x00value"))), "ParameterStatus"},
		{"a row", sends(ok, appendMessage(nil, 'D', []byte{0, 0})), "unexpected message"},
		{"endless notices", func(conn net.Conn) {
			notice := pgwire.AppendNotice(nil, &pgwire.Error{Message: strings.Repeat("x", 60000)})
			for err := error(nil); err == nil; {
				_, err = conn.Write(notice)
			}
		}, "is not ready"},
		{"error without a code", sends(appendMessage(nil, 'E', []byte("Mgo away\x00\x00"))), "go away"},
		{"error without anything", sends(appendMessage(nil, 'E', nil)), "error without a message"},
		{"gssapi", sends(appendAuth(nil, 7, "")), "GSSAPI authentication, which is not supported"},
		{"sspi", sends(appendAuth(nil, 9, "")), "SSPI authentication, which is not supported"},
		{"unknown method", sends(appendAuth(nil, 4711, "")), "method 4711, which is not supported"},
		{"clear text", sends(appendAuth(nil, authCleartext, "")), "clear text over a connection without TLS"},
		{"md5 without a salt", sends(appendAuth(nil, authMD5, "abc")), "malformed MD5"},
		{"other mechanisms", sends(appendAuth(nil, authSASL, "OAUTHBEARER\x00X\x00\x00")), "OAUTHBEARER"},
		{"no mechanisms", sends(appendAuth(nil, authSASL, "")), "SASL mechanisms []"},
		{"challenge unasked", sends(appendAuth(nil, authSASLContinue, "r=x")), "without a SASL request"},
		{"outcome unasked", sends(appendAuth(nil, authSASLFinal, "v=x")), "without a SASL request"},
		{"iterations 2^31", challenges("r=NONCEx," + salt + ",i=2147483648"), "iterations"},
		{"iterations 2^64", challenges("r=NONCEx," + salt + ",i=18446744073709551616"), "iterations"},
		{"iterations over the cap", challenges("r=NONCEx," + salt + ",i=100001"), "iterations"},
		{"iterations 0", challenges("r=NONCEx," + salt + ",i=0"), "iterations"},
		{"iterations -1", challenges("r=NONCEx," + salt + ",i=-1"), "iterations"},
		{"iterations absent", challenges("r=NONCEx," + salt), "malformed SCRAM"},
		{"salt absent", challenges("r=NONCEx,i=4096"), "malformed SCRAM"},
		{"salt empty", challenges("r=NONCEx,s=,i=4096"), "salt"},
		{"salt not base64", challenges("r=NONCEx,s=!!,i=4096"), "SCRAM challenge"},
		{"nonce absent", challenges(salt + ",i=4096"), "malformed SCRAM"},
		{"nonce of another", challenges("r=other," + salt + ",i=4096"), "nonce"},
		{"giant nonce", challenges("r=NONCE" + strings.Repeat("x", 60000) + "," + salt + ",i=4096"), "nonce"},
		{"empty challenge", challenges(""), "malformed SCRAM"},
		{"no signature", challenges("r=NONCEx,"+salt+",i=4096", ok), "without proving"},
		{"wrong signature", challenges("r=NONCEx,"+salt+",i=4096", appendAuth(nil, authSASLFinal, signature)), "signature"},
		{"empty signature", challenges("r=NONCEx,"+salt+",i=4096", appendAuth(nil, authSASLFinal, "")), "signature"},
		{"clear text after SCRAM began", challenges("r=NONCEx,"+salt+",i=4096", appendAuth(nil, authCleartext, "")), "in the middle of SCRAM"},
		{"second challenge", challenges("r=NONCEx,"+salt+",i=4096", appendAuth(nil, authSASLContinue, "r=x")), "second SCRAM"},
		{"signature first", func(conn net.Conn) {
			conn.Write(appendAuth(nil, authSASL, mechanismSCRAM+"\x00\x00"))
			readMessage(conn)
			conn.Write(appendAuth(nil, authSASLFinal, signature))
		}, "before the challenge"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := loginTo(t, tt.script, 10*time.Second)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q in it", err, tt.want)
			}
			if errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %v, want an answer before the deadline", err)
			}
		})
	}
}

// loginTo logs in to a script, which ends when the connection does.
func loginTo(t *testing.T, server script, limit time.Duration) error {
	t.Helper()
	return loginAs(t, NewCredentials("ann", "secret"), server, limit)
}

func loginAs(t *testing.T, c *Credentials, server script, limit time.Duration) error {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		if _, err := pgwire.ReadStartup(theirs); err == nil {
			server(theirs)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s, err := Login(ctx, ours, LoginParams{Credentials: c})
	if err == nil {
		s.Conn.Close()
	}
	if _, err := ours.Write([]byte("x")); !errors.Is(err, net.ErrClosed) && err == nil {
		t.Error("the connection is still open")
	}
	<-done
	return err
}

func TestSilentServerMeetsTheDeadline(t *testing.T) {
	silence := func(first []byte) script {
		return func(conn net.Conn) {
			conn.Write(first)
			var b [1]byte
			conn.Read(b[:]) // until the other side gives up
		}
	}
	for name, first := range map[string][]byte{"at once": nil, "in a message": {'R', 0, 0, 0}, "after the header": {'R', 0, 0, 0, 8}} {
		err := loginTo(t, silence(first), 50*time.Millisecond)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want a deadline", name, err)
		}
	}
}

func TestSSLAnswers(t *testing.T) {
	for _, tt := range []struct {
		answer string
		mode   SSLMode
		want   string
	}{
		{"N", SSLRequire, "does not offer"}, {"N", SSLVerifyFull, "does not offer"}, {"E", SSLPrefer, "neither"},
		{"Sgarbage", SSLPrefer, "TLS handshake"},
	} {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			pgwire.ReadStartup(theirs)
			go theirs.Write([]byte(tt.answer))
			io.Copy(io.Discard, theirs) // until Login gives up
			theirs.Close()
		}()
		_, err := Login(t.Context(), ours, LoginParams{Credentials: NewCredentials("ann", ""), SSLMode: tt.mode})
		<-done
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q in it", tt.answer, err, tt.want)
		}
	}
}

func TestMD5Response(t *testing.T) {
	// Both from the same password: md5(md5("secret" + "ann") + salt).
	want, err := NewCredentials("ann", "secret").md5Response([]byte("salt"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := NewCredentials("ann", "md5"+md5Hex("secret", "ann")).md5Response([]byte("salt"))
	if err != nil || got != want || !isMD5(got) {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
	if _, err := NewCredentials("ann", "").md5Response([]byte("salt")); err == nil {
		t.Fatal("answered without a password")
	}
}

func TestDerivedKeysStayBounded(t *testing.T) {
	c := NewCredentials("ann", "secret")
	first, _ := c.scramClient()
	c.keepClient("s=a,i=1")
	if again, _ := c.scramClient(); again != first {
		t.Fatal("keys forgotten although the salt is the same")
	}
	c.keepClient("s=a,i=1")
	c.keepClient("s=b,i=1")
	if again, _ := c.scramClient(); again == first {
		t.Fatal("keys kept for a second salt")
	}
}

// dial connects to the test cluster.
func dial(t *testing.T, p LoginParams) (Session, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := net.Dial("tcp", pg.Addr(0))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Login(ctx, conn, p)
	if err == nil {
		t.Cleanup(func() { s.Conn.Close() })
	}
	return s, err
}

// runSQL runs one statement and fails the test if the server does not like it.
func runSQL(t *testing.T, s Session, sql string) {
	t.Helper()
	s.Conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := s.Conn.Write(appendMessage(nil, 'Q', []byte(sql), []byte{0})); err != nil {
		t.Fatal(err)
	}
	for {
		kind, body, err := readMessage(s.Conn)
		if err != nil {
			t.Fatal(err)
		}
		if kind == 'E' {
			t.Fatalf("%s: %v", sql, pgwire.ParseError(body))
		}
		if kind == 'Z' {
			return
		}
	}
}

func TestLoginToPostgres(t *testing.T) {
	admin, err := dial(t, LoginParams{Credentials: NewCredentials("postgres", "top secret")})
	if err != nil {
		t.Fatal(err)
	}
	if admin.PID == 0 || len(admin.Key) != 4 || admin.Params["server_version"] == "" {
		t.Fatalf("got %+v", admin)
	}
	runSQL(t, admin, `set password_encryption = 'scram-sha-256'; create role scrammy login password 'opensesame';
		create role umlaut login password 'p`+"\u00e4"+`ss'; create role locked login;
		set password_encryption = 'md5'; create role hashed login password 'opensesame'`)

	tests := []struct {
		name, user, password string
		code                 string // SQLSTATE of the server, or
		want                 string // part of our error
	}{
		{"scram", "scrammy", "opensesame", "", ""},
		{"scram not ascii", "umlaut", "p\u00e4ss", "", ""},
		{"scram wrong password", "scrammy", "wrong", "28P01", ""},
		{"scram no password", "scrammy", "", "", "none is configured"},
		{"scram hash only", "scrammy", "md5" + strings.Repeat("0", 32), "", "only a hash"},
		{"md5", "hashed", "opensesame", "", ""},
		{"md5 hash only", "hashed", "md5" + md5Hex("opensesame", "hashed"), "", ""},
		{"md5 wrong password", "hashed", "wrong", "28P01", ""},
		{"no such user", "stranger", "x", "28P01", ""},
		{"no stored password", "locked", "x", "28P01", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := dial(t, LoginParams{Credentials: NewCredentials(tt.user, tt.password), Database: "postgres",
				Settings: []pgwire.Param{{Name: "application_name", Value: "a b"}}})
			switch {
			case tt.code != "":
				if e, ok := errors.AsType[*pgwire.Error](err); !ok || e.Code != tt.code {
					t.Fatalf("got %v, want %s", err, tt.code)
				}
			case tt.want != "":
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %v, want %q in it", err, tt.want)
				}
			case err != nil:
				t.Fatal(err)
			default:
				runSQL(t, s, "select 1")
				if s.Params["application_name"] != "a b" {
					t.Fatalf("application_name %q", s.Params["application_name"])
				}
			}
		})
	}
	t.Run("no such database", func(t *testing.T) {
		_, err := dial(t, LoginParams{Credentials: NewCredentials("scrammy", "opensesame"), Database: "absent"})
		if e, ok := errors.AsType[*pgwire.Error](err); !ok || e.Code != "3D000" {
			t.Fatalf("got %v", err)
		}
	})
}

func TestLoginOverSocketByTrust(t *testing.T) {
	_, port, _ := net.SplitHostPort(pg.Addr(0))
	conn, err := net.Dial("unix", pg.SocketDir()+"/.s.PGSQL."+port)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Login(t.Context(), conn, LoginParams{Credentials: NewCredentials("postgres", ""), SSLMode: SSLRequire})
	if err != nil {
		t.Fatal(err)
	}
	runSQL(t, s, "select 1")
	s.Conn.Close()
}

func TestLoginOverTLS(t *testing.T) {
	pem, err := os.ReadFile(pg.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	trusted := certPool(t, pem)
	tests := []struct {
		name string
		mode SSLMode
		ca   bool
		host string
		ok   bool
	}{
		{"prefer", SSLPrefer, false, "", true},
		{"require", SSLRequire, false, "", true},
		{"require with roots", SSLRequire, true, "elsewhere", true},
		{"verify-ca", SSLVerifyCA, true, "elsewhere", true},
		{"verify-ca unknown authority", SSLVerifyCA, false, "localhost", false},
		{"verify-full", SSLVerifyFull, true, "localhost", true},
		{"verify-full other name", SSLVerifyFull, true, "elsewhere", false},
		{"verify-full no name", SSLVerifyFull, true, "", false},
		{"verify-full unknown authority", SSLVerifyFull, false, "localhost", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := LoginParams{Credentials: NewCredentials("postgres", "top secret"), SSLMode: tt.mode, Host: tt.host}
			if tt.ca {
				p.TLS = trusted
			}
			s, err := dial(t, p)
			if (err == nil) != tt.ok {
				t.Fatalf("got %v, want success %v", err, tt.ok)
			}
			if err == nil {
				if s.Conn == nil || !isTLS(s.Conn) {
					t.Fatalf("connection is a %T", s.Conn)
				}
				runSQL(t, s, "select 1")
			}
		})
	}
}

func TestParseNames(t *testing.T) {
	for s, want := range map[string]SSLMode{"disable": SSLDisable, "allow": SSLPrefer, "prefer": SSLPrefer,
		"require": SSLRequire, "verify-ca": SSLVerifyCA, "verify-full": SSLVerifyFull} {
		if got, err := ParseSSLMode(s); err != nil || got != want {
			t.Errorf("%s: got %d, %v", s, got, err)
		}
	}
	if _, err := ParseSSLMode("maybe"); err == nil {
		t.Error("sslmode maybe is accepted")
	}
	for s, want := range map[string]Method{"trust": Trust, "scram-sha-256": SCRAMSHA256, "md5": MD5,
		"cert": Cert, "peer": Peer} {
		if got, err := ParseMethod(s); err != nil || got != want {
			t.Errorf("%s: got %d, %v", s, got, err)
		}
	}
	if _, err := ParseMethod("ident"); err == nil {
		t.Error("method ident is accepted")
	}
}

func FuzzLogin(f *testing.F) {
	f.Add([]byte("R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I"))
	f.Add([]byte("R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00R\x00\x00\x00\x1c\x00\x00\x00\x0br=x,s=YQ==,i=4096"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := dialogue{conn: discardConn{}, p: &LoginParams{Credentials: NewCredentials("ann", "secret")},
			session: Session{Params: map[string]string{}}}
		r := bytes.NewReader(b)
		for {
			kind, body, err := readMessage(r)
			if err != nil {
				return
			}
			ready, err := d.message(t.Context(), kind, body)
			if err != nil {
				return
			}
			if ready && !d.authenticated {
				t.Fatal("ready without authentication")
			}
		}
	})
}

// discardConn takes everything and has nothing to say.
type discardConn struct{ net.Conn }

func (discardConn) Write(b []byte) (int, error) { return len(b), nil }

func certPool(t *testing.T, pem []byte) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in the file")
	}
	return &tls.Config{RootCAs: pool}
}

func isTLS(c net.Conn) bool {
	_, ok := c.(*tls.Conn)
	return ok
}
