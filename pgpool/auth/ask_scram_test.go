package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// libpq refuses to go on without channel binding when told so: this is PLUS.
func TestLibpqBindsToTheChannel(t *testing.T) {
	server := issue(t, pkix.Name{CommonName: "localhost"}, nil, nil)
	d := openDoor(t, newAuthenticator(t), &tls.Config{Certificates: []tls.Certificate{server}})
	for _, tt := range []struct{ params, password, want string }{
		{"user=dora sslmode=require channel_binding=require", "pencil", ""},
		{"user=ann sslmode=require channel_binding=require", "opensesame", ""},
		{"user=ann sslmode=require channel_binding=prefer", "opensesame", ""},
		{"user=ann sslmode=require channel_binding=disable", "opensesame", ""},
		{"user=ann sslmode=disable channel_binding=prefer", "opensesame", ""},
		{"user=ann sslmode=disable channel_binding=require", "opensesame", "channel binding required"},
		{"user=dora sslmode=require channel_binding=require", "wrong", `password authentication failed for user "dora"`},
		{"user=stranger sslmode=require channel_binding=require", "x", `password authentication failed for user "stranger"`},
	} {
		out, err := d.psql(t, tt.password, tt.params)
		if (err == nil) != (tt.want == "") || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v: %s", tt.params, err, out)
		}
	}
}

// Certificates without a hash of their own get no binding, and clients get in without.
func TestNoBindingNoPlus(t *testing.T) {
	a := newAuthenticator(t)
	server := issue(t, pkix.Name{CommonName: "localhost"}, nil, nil)
	several := &tls.Config{Certificates: []tls.Certificate{server, server}}
	if ShownCertificate(several) != nil || ShownCertificate(nil) != nil {
		t.Fatal("which certificate is shown cannot be known")
	}
	if ShownCertificate(&tls.Config{Certificates: []tls.Certificate{{Certificate: server.Certificate}}}).Equal(server.Leaf) == false {
		t.Fatal("a certificate without its leaf is not parsed")
	}
	d := openDoor(t, a, several)
	if out, err := d.psql(t, "opensesame", "user=ann sslmode=require channel_binding=prefer"); err != nil {
		t.Fatal(out)
	}
	if out, err := d.psql(t, "opensesame", "user=ann sslmode=require channel_binding=require"); err == nil {
		t.Fatal(out)
	}
}

// overTLS connects a hand-made client to Authenticate.
func overTLS(t *testing.T, a *Authenticator, user string) (client *tls.Conn, result <-chan error) {
	t.Helper()
	server := issue(t, pkix.Name{CommonName: "localhost"}, nil, nil)
	ours, theirs := net.Pipe()
	cfg := &tls.Config{Certificates: []tls.Certificate{server}}
	done := make(chan error, 1)
	for _, c := range []net.Conn{ours, theirs} {
		c.SetDeadline(time.Now().Add(10 * time.Second))
		t.Cleanup(func() { c.Close() })
	}
	go func() {
		session := tls.Server(theirs, cfg)
		_, err := a.Authenticate(context.Background(), Client{Conn: session, User: user, Certificate: ShownCertificate(cfg)})
		done <- err
		theirs.Close()
	}()
	return tls.Client(ours, &tls.Config{InsecureSkipVerify: true}), done
}

// What the client says of channel binding is held against what it was offered.
func TestDowngradesAreRefused(t *testing.T) {
	const proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	b64 := base64.StdEncoding.EncodeToString
	for _, tt := range []struct {
		name, mechanism, gs2 string
		binding              string // c= of the last message; empty: it ends before
		code, want           string
	}{
		{"offer taken off the list", mechanismSCRAM, "y,,", "", "28000", "negotiation error"},
		{"plus without binding", mechanismPlus, "n,,", "", "08P01", "malformed"},
		{"plus and y", mechanismPlus, "y,,", "", "08P01", "malformed"},
		{"binding without plus", mechanismSCRAM, "p=tls-server-end-point,,", "", "08P01", "malformed"},
		{"another type", mechanismPlus, "p=tls-unique,,", "", "08P01", "unsupported SCRAM channel-binding type"},
		{"no type at all", mechanismPlus, "p=,,", "", "08P01", "unsupported"},
		{"another certificate", mechanismPlus, "p=tls-server-end-point,,", b64([]byte("p=tls-server-end-point,," + strings.Repeat("x", 32))),
			"28000", "channel binding check failed"},
		{"no hash", mechanismPlus, "p=tls-server-end-point,,", b64([]byte("p=tls-server-end-point,,")), "28000", "channel binding check failed"},
		{"header of another flag", mechanismSCRAM, "n,,", "eSws", "08P01", "malformed"},
	} {
		for _, user := range []string{"ann", "stranger"} {
			t.Run(tt.name+"/"+user, func(t *testing.T) {
				client, result := overTLS(t, newAuthenticator(t), user)
				_, offer, err := readMessage(client)
				if err != nil || string(offer[4:]) != "SCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00\x00" {
					t.Fatalf("offered %q, %v", offer, err)
				}
				client.Write(initialResponse(tt.mechanism, tt.gs2+"n=,r=abc"))
				if tt.binding != "" {
					_, challenge, err := readMessage(client)
					if err != nil {
						t.Fatal(err)
					}
					nonce, _, _ := strings.Cut(string(challenge[4:]), ",")
					client.Write(appendMessage(nil, 'p', []byte("c="+tt.binding+","+nonce+",p="+proof)))
				}
				if err := <-result; code(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %v, want %s %s", err, tt.code, tt.want)
				}
			})
		}
	}
}

// A wrong password and a user that does not exist bring the same messages, to the byte but for what is random.
func TestSameMessagesForStrangers(t *testing.T) {
	asked := func(t *testing.T, a *Authenticator, user string) (shape []string) {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			ours.SetDeadline(time.Now().Add(10 * time.Second))
			Login(context.Background(), ours, LoginParams{Credentials: NewCredentials(user, "wrong")})
		}()
		defer func() { <-done }()
		defer theirs.Close()
		if _, err := pgwire.ReadStartup(theirs); err != nil {
			t.Fatal(err)
		}
		_, err := a.Authenticate(t.Context(), Client{Conn: recorder{theirs, &shape}, User: user})
		if code(err) != "28P01" {
			t.Fatal(err)
		}
		return shape
	}
	users := `"scram" "` + verifierOfPencil + `"` + "\n" + `"plain" "opensesame"` + "\n" + `"md5" "md5` + strings.Repeat("0", 32) + `"` + "\n" + `"empty" ""`
	for _, tt := range []struct {
		method Method
		users  []string
	}{{SCRAMSHA256, []string{"scram", "plain", "md5", "empty"}}, {MD5, []string{"plain", "md5", "empty"}}} {
		a := mustNew(t, Config{Method: tt.method, Users: mustUsers(t, users)})
		want := strings.Join(asked(t, a, "stranger"), " ")
		for _, user := range tt.users {
			if got := strings.Join(asked(t, a, user), " "); got != want {
				t.Errorf("method %d: %s: messages %s, a stranger's are %s", tt.method, user, got, want)
			}
		}
	}
}

// recorder notes type and length of each message that is sent.
type recorder struct {
	net.Conn
	shape *[]string
}

func (r recorder) Write(b []byte) (int, error) {
	*r.shape = append(*r.shape, string(b[0])+base64.StdEncoding.EncodeToString(b[1:9]))
	return r.Conn.Write(b)
}

func TestZeroConfigLetsNobodyIn(t *testing.T) {
	a := mustNew(t, Config{})
	for _, local := range []bool{false, true} {
		_, err := a.Authenticate(t.Context(), Client{Conn: cannedConn{Reader: io.LimitReader(strings.NewReader(""), 0)}, User: "ann", Local: local})
		if err == nil {
			t.Fatal("let in")
		}
	}
}

// Local clients may have a method of their own.
func TestLocalMethod(t *testing.T) {
	a := mustNew(t, Config{LocalMethod: Trust, Users: mustUsers(t, `"ann" "opensesame"`)})
	for _, local := range []bool{false, true} {
		d := openDoor(t, a, nil, local)
		out, err := d.psql(t, "wrong", "user=ann")
		if (err == nil) != local {
			t.Fatalf("local %v: %s", local, out)
		}
		if got := d.last(t).credentials; local && (got == nil || got.secret.text != "opensesame") {
			t.Fatal("a trusted user's password is known and was not returned")
		}
		if out, err := d.psql(t, "", "user=stranger"); (err == nil) != local {
			t.Fatalf("local %v: %s", local, out)
		}
		if got := d.last(t).credentials; got != nil {
			t.Fatal("credentials of a stranger")
		}
	}
}
