package auth

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

func newAuthenticator(t testing.TB) *Authenticator {
	t.Helper()
	users, err := ParseUsers(strings.NewReader(`"ann" "opensesame"
"dora" "` + verifierOfPencil + `"
"carl" "md5` + strings.Repeat("0", 32) + `"
"nobody" ""`))
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{Method: SCRAMSHA256, Users: users})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// serve plays a server's part up to ReadyForQuery, and leaves "rest" behind it.
func serve(a *Authenticator, conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	s, err := pgwire.ReadStartup(conn)
	if err == nil && s.Kind == pgwire.KindSSLRequest {
		if _, err = conn.Write([]byte("N")); err == nil {
			s, err = pgwire.ReadStartup(conn)
		}
	}
	if err != nil {
		return err
	}
	if _, err := a.Authenticate(context.Background(), Client{Conn: conn, User: s.User()}); err != nil {
		if e, ok := errors.AsType[*pgwire.Error](err); ok {
			conn.Write(pgwire.AppendErrorResponse(nil, e))
		}
		return err
	}
	b := appendMessage(nil, 'S', []byte("server_version\x0015.0\x00"))
	b = pgwire.AppendNotice(b, &pgwire.Error{Message: "hello"})
	b = appendMessage(b, 'K', []byte("\x00\x00\x00\x07a longer key"))
	b = append(pgwire.AppendReadyForQuery(b, 'I'), "rest"...)
	_, err = conn.Write(b)
	return err
}

// logIn lets Login meet serve over memory.
func logIn(t testing.TB, a *Authenticator, c *Credentials) (s Session, clientErr, serverErr error) {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- serve(a, theirs)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s, clientErr = Login(ctx, ours, LoginParams{Credentials: c, SSLMode: SSLPrefer})
	if clientErr == nil {
		rest := make([]byte, 4)
		if _, err := io.ReadFull(s.Conn, rest); err != nil || string(rest) != "rest" {
			t.Errorf("behind ReadyForQuery: %q, %v", rest, err)
		}
	}
	ours.Close()
	serverErr = <-done
	theirs.Close()
	return s, clientErr, serverErr
}

func TestBothSidesMeet(t *testing.T) {
	a := newAuthenticator(t)
	for _, tt := range []struct{ user, password string }{{"ann", "opensesame"}, {"dora", "pencil"}} {
		c := NewCredentials(tt.user, tt.password)
		for range 2 { // the second time with the derived keys of the first
			s, err, serverErr := logIn(t, a, c)
			if err != nil || serverErr != nil {
				t.Fatalf("%s: %v; server: %v", tt.user, err, serverErr)
			}
			if s.Params["server_version"] != "15.0" || s.PID != 7 || string(s.Key) != "a longer key" {
				t.Fatalf("%s: got %+v", tt.user, s)
			}
		}
	}
}

// A wrong password, a user without one and a user that does not exist look the same to a client.
func TestRefusalsLookTheSame(t *testing.T) {
	a := newAuthenticator(t)
	for _, user := range []string{"ann", "dora", "carl", "nobody", "stranger"} {
		_, err, serverErr := logIn(t, a, NewCredentials(user, "wrong"))
		e, ok := errors.AsType[*pgwire.Error](err)
		if !ok {
			t.Fatalf("%s: got %v (server: %v)", user, err, serverErr)
		}
		want := pgwire.Error{Severity: "FATAL", Code: "28P01", Message: `password authentication failed for user "` + user + `"`}
		if *e != want {
			t.Errorf("%s: got %+v", user, e)
		}
	}
}

func TestMockSaltIsStable(t *testing.T) {
	a := newAuthenticator(t)
	first, second, other := a.mockVerifier("x"), a.mockVerifier("x"), a.mockVerifier("y")
	if first.Salt != second.Salt || first.Salt == other.Salt || len(first.Salt) != 16 || first.Iters != defaultIterations {
		t.Fatalf("got %+v, %+v, %+v", first.KeyFactors, second.KeyFactors, other.KeyFactors)
	}
}

// A reload costs only what has changed, and forgets nothing that has not.
func TestReloadKeepsWhatItCan(t *testing.T) {
	before := mustNew(t, Config{Users: mustUsers(t, `"ann" "opensesame"`+"\n"+`"bob" "x"`+"\n"+`"dora" "`+verifierOfPencil+`"`)})
	after := mustUsers(t, `"ann" "opensesame"`+"\n"+`"bob" "y"`+"\n"+`"dora" "`+verifierOfPencil+`"`)
	for _, tt := range []struct {
		name string
		cfg  Config
		kept string
	}{
		{"same methods", Config{Users: after, Previous: before}, "ann dora"},
		{"other methods", Config{Method: MD5, Users: after, Previous: before}, ""},
		{"other salts", Config{MockKey: []byte("other"), Users: after, Previous: before}, ""},
		{"nothing before", Config{Users: after}, ""},
	} {
		a := mustNew(t, tt.cfg)
		var kept []string
		for _, user := range []string{"ann", "bob", "dora"} {
			if a.users[user] == before.users[user] {
				kept = append(kept, user)
			}
		}
		if got := strings.Join(kept, " "); got != tt.kept {
			t.Errorf("%s: kept %q, want %q", tt.name, got, tt.kept)
		}
	}
	a := mustNew(t, Config{Users: after, Previous: before})
	for user, password := range map[string]string{"ann": "opensesame", "bob": "y", "dora": "pencil"} {
		if _, err, _ := logIn(t, a, NewCredentials(user, password)); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
	if _, err, _ := logIn(t, a, NewCredentials("bob", "x")); code(err) != "28P01" {
		t.Errorf("the old password: %v", err)
	}
}

func TestTrust(t *testing.T) {
	a, err := New(Config{Method: Trust})
	if err != nil {
		t.Fatal(err)
	}
	if _, err, serverErr := logIn(t, a, NewCredentials("anybody", "")); err != nil || serverErr != nil {
		t.Fatal(err, serverErr)
	}
}

// initialResponse frames a client-first-message.
func initialResponse(mechanism, data string) []byte {
	b := append([]byte(mechanism), 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return appendMessage(nil, 'p', b, []byte(data))
}

func TestOddClients(t *testing.T) {
	first := initialResponse("SCRAM-SHA-256", "n,,n=,r=abc")
	final := func(s string) [][]byte { return [][]byte{first, appendMessage(nil, 'p', []byte(s))} }
	const proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	tests := []struct {
		name string
		send [][]byte // NONCE stands for the nonce of the challenge
		code string
	}{
		{"a query", [][]byte{appendMessage(nil, 'Q', []byte("select 1\x00"))}, "08P01"},
		{"length 3", [][]byte{{'p', 0, 0, 0, 3}}, "08P01"},
		{"length 2^31", [][]byte{{'p', 0x80, 0, 0, 0}}, "08P01"},
		{"length 65540", [][]byte{{'p', 0, 1, 0, 4}}, "08P01"},
		{"second startup", [][]byte{pgwire.AppendStartup(nil, pgwire.Version30, nil)}, "08P01"},
		{"no mechanism", [][]byte{appendMessage(nil, 'p', []byte("SCRAM-SHA-256"))}, "08P01"},
		{"unknown mechanism", [][]byte{initialResponse("SCRAM-SHA-256-PLUS", "n,,n=,r=abc")}, "08P01"},
		{"no data", [][]byte{appendMessage(nil, 'p', []byte("SCRAM-SHA-256\x00\xff\xff\xff\xff"))}, "08P01"},
		{"data longer than said", [][]byte{appendMessage(nil, 'p', []byte("SCRAM-SHA-256\x00\x00\x00\x00\x01ab"))}, "08P01"},
		{"empty", [][]byte{initialResponse("SCRAM-SHA-256", "")}, "08P01"},
		{"no nonce", [][]byte{initialResponse("SCRAM-SHA-256", "n,,n=")}, "08P01"},
		{"empty nonce", [][]byte{initialResponse("SCRAM-SHA-256", "n,,n=,r=")}, "08P01"},
		{"no name", [][]byte{initialResponse("SCRAM-SHA-256", "n,,r=abc")}, "08P01"},
		{"another identity", [][]byte{initialResponse("SCRAM-SHA-256", "n,a=bob,n=,r=abc")}, "08P01"},
		{"extension", [][]byte{initialResponse("SCRAM-SHA-256", "n,,m=x,n=,r=abc")}, "08P01"},
		{"channel binding", [][]byte{initialResponse("SCRAM-SHA-256", "p=tls-unique,,n=,r=abc")}, "08P01"},
		{"final empty", final(""), "08P01"},
		{"final without binding", final("r=NONCE,p=" + proof), "08P01"},
		{"final without nonce", final("c=biws,p=" + proof), "08P01"},
		{"final without proof", final("c=biws,r=NONCE"), "08P01"},
		{"final out of order", final("r=NONCE,c=biws,p=" + proof), "08P01"},
		{"final with another nonce", final("c=biws,r=abcdef,p=" + proof), "28P01"},
		{"final with another binding", final("c=eSws,r=NONCE,p=" + proof), "08P01"},
		{"final with a short proof", final("c=biws,r=NONCE,p=AAAA"), "28P01"},
		{"final with an empty proof", final("c=biws,r=NONCE,p="), "28P01"},
		{"final with a wrong proof", final("c=biws,r=NONCE,p=" + proof), "28P01"},
	}
	a := newAuthenticator(t)
	for _, tt := range tests {
		for _, user := range []string{"ann", "stranger"} {
			t.Run(tt.name+"/"+user, func(t *testing.T) {
				ours, theirs := net.Pipe()
				ours.SetDeadline(time.Now().Add(10 * time.Second))
				theirs.SetDeadline(time.Now().Add(10 * time.Second))
				done := make(chan error, 1)
				go func() {
					_, err := a.Authenticate(t.Context(), Client{Conn: theirs, User: user})
					done <- err
					theirs.Close()
				}()
				readMessage(ours) // AuthenticationSASL
				for i, b := range tt.send {
					if i > 0 {
						_, challenge, err := readMessage(ours)
						if err != nil {
							t.Fatal(err)
						}
						nonce, _, _ := strings.Cut(strings.TrimPrefix(string(challenge[4:]), "r="), ",")
						b = appendMessage(nil, 'p', []byte(strings.Replace(string(b[5:]), "NONCE", nonce, 1)))
					}
					// It may have read enough before we are done.
					if _, err := ours.Write(b); err != nil && !errors.Is(err, io.ErrClosedPipe) {
						t.Fatal(err)
					}
				}
				err := <-done
				if e, ok := errors.AsType[*pgwire.Error](err); !ok || e.Code != tt.code {
					t.Fatalf("got %v, want %s", err, tt.code)
				}
				ours.Close()
			})
		}
	}
}

func TestClientGoesAway(t *testing.T) {
	a := newAuthenticator(t)
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := a.Authenticate(t.Context(), Client{Conn: theirs, User: "ann"})
		done <- err
	}()
	readMessage(ours)
	ours.Write([]byte{'p', 0, 0})
	ours.Close()
	err := <-done
	if _, ok := errors.AsType[*pgwire.Error](err); err == nil || ok {
		t.Fatalf("got %v, want a plain error: there is nobody to tell", err)
	}
	theirs.Close()
}

// pgx is a client that is not ours.
func TestPgxLogsIn(t *testing.T) {
	a := newAuthenticator(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(a, conn)
			conn.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, tt := range []struct {
		user, password string
		code           string
	}{{"ann", "opensesame", ""}, {"dora", "pencil", ""}, {"dora", "pen", "28P01"}, {"stranger", "x", "28P01"}} {
		conn, err := pgconn.Connect(ctx, "postgres://"+tt.user+":"+tt.password+"@"+l.Addr().String()+"/x?sslmode=disable")
		if tt.code == "" {
			if err != nil {
				t.Fatalf("%s: %v", tt.user, err)
			}
			conn.Close(ctx)
			continue
		}
		if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != tt.code {
			t.Errorf("%s: got %v, want %s", tt.user, err, tt.code)
		}
	}
}

// Nobody gets in by chance, whatever the method and whoever he says to be.
func FuzzAuthenticate(f *testing.F) {
	f.Add(initialResponse("SCRAM-SHA-256", "n,,n=,r=abc"), []byte("c=biws,r=x,p=AAAA"))
	f.Add(initialResponse("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abc"), []byte("c=biws,r=x,p=AAAA"))
	f.Add([]byte("p\x00\x00\x00\x04"), []byte(""))
	f.Add(appendMessage(nil, 'p', []byte("md5"+strings.Repeat("0", 32)+"\x00")), []byte(""))
	bySCRAM := newAuthenticator(f)
	byMD5 := mustNew(f, Config{Method: MD5, Users: mustUsers(f, `"ann" "opensesame"`+"\n"+`"dora" "`+verifierOfPencil+`"`)})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		in := append(append([]byte{}, first...), appendMessage(nil, 'p', second)...)
		for _, a := range []*Authenticator{bySCRAM, byMD5} {
			for _, user := range []string{"ann", "dora", "stranger"} {
				_, err := a.Authenticate(t.Context(), Client{Conn: cannedConn{Reader: bytes.NewReader(in)}, User: user})
				if err == nil {
					t.Fatal("let in without a password")
				}
			}
		}
	})
}

// What a client says first, with and without channel binding on offer.
func FuzzInitialResponse(f *testing.F) {
	f.Add(initialResponse("SCRAM-SHA-256", "n,,n=,r=abc")[5:], true)
	f.Add(initialResponse("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abc")[5:], true)
	f.Add(initialResponse("SCRAM-SHA-256", "y,,n=,r=abc")[5:], false)
	f.Fuzz(func(t *testing.T, body []byte, plus bool) {
		bound, first, err := parseInitialResponse(body, plus)
		if err != nil || checkFlag(first, bound, plus) != nil {
			return
		}
		if bound != strings.HasPrefix(first, "p=tls-server-end-point,") && !(bound && first == "p=tls-server-end-point") {
			t.Fatalf("bound %v by %q", bound, first)
		}
		if plus && strings.HasPrefix(first, "y,") {
			t.Fatal("a downgrade")
		}
	})
}

// cannedConn says what it was told to and takes everything.
type cannedConn struct {
	discardConn
	io.Reader
}

func (c cannedConn) Read(b []byte) (int, error) { return c.Reader.Read(b) }
