package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/xdg-go/scram"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// The example of RFC 7677 section 3.
func TestClientKeyOfTheRFC(t *testing.T) {
	const first, challenge = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	const final = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	v, ok := parseVerifier(strings.TrimPrefix(verifierOfPencil, mechanismSCRAM+"$"))
	if !ok {
		t.Fatal("verifier")
	}
	key := clientKey(v.StoredKey, first, challenge, final)
	if stored := sha256.Sum256(key); !bytes.Equal(stored[:], v.StoredKey) {
		t.Fatal("the hash of the key is not the StoredKey")
	}
	k := newKeyConversation(&v, key, scram.ChannelBinding{}, "n")
	k.Step("")
	k.nonce, k.bare = "rOprNGfwEbeRWgbNEkqO", "n=user,r=rOprNGfwEbeRWgbNEkqO"
	if got, err := k.Step(challenge); err != nil || got != final {
		t.Fatalf("got %q, %v, want %q", got, err, final)
	}
	if _, err := k.Step("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="); err != nil {
		t.Fatal(err)
	}
}

func TestClientKeyOfNonsense(t *testing.T) {
	for _, final := range []string{"", "c=biws", "c=biws,r=x,p=", "c=biws,r=x,p=!!", "c=biws,r=x,p=AAAA"} {
		if key := clientKey(nil, "n,,n=,r=x", "r=xy", final); key != nil {
			t.Errorf("%q: got a key", final)
		}
	}
}

// role makes a role on the cluster and returns what pg_authid holds for it.
func role(t *testing.T, name, options string) (secret string) {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, pg.URL(0))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	quoted := pgx.Identifier{name}.Sanitize()
	if _, err := conn.Exec(ctx, "set password_encryption = 'scram-sha-256'; drop role if exists "+quoted+"; create role "+quoted+" "+options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := pg.Psql(context.Background(), 0, "drop role if exists "+quoted); err != nil {
			t.Error(err)
		}
	})
	var stored *string
	if err := conn.QueryRow(ctx, "select rolpassword from pg_authid where rolname = $1", name).Scan(&stored); err != nil {
		t.Fatal(err)
	}
	if stored == nil {
		return ""
	}
	return *stored
}

// A client logs in to us with its password, and we to PostgreSQL with what we have learnt from that: its verifier is all
// that was ever written down.
func TestPassThrough(t *testing.T) {
	secret := role(t, "passer", "login password 'opensesame'")
	if !strings.HasPrefix(secret, "SCRAM-SHA-256$") {
		t.Fatal("no verifier")
	}
	a := mustNew(t, Config{Users: mustUsers(t, `"passer" "`+secret+`"`)})
	server := &tls.Config{Certificates: []tls.Certificate{issue(t, pkix.Name{CommonName: "localhost"}, nil, nil)}}
	plain, encrypted := openDoor(t, a, nil), openDoor(t, a, server)

	before := a.users["passer"].credentials
	if _, err := dial(t, LoginParams{Credentials: before, Database: "postgres"}); !errors.Is(err, errNoKey) {
		t.Fatalf("before the client came: %v", err)
	}
	if out, err := plain.psql(t, "wrong", "user=passer"); err == nil || before.clientKey != nil {
		t.Fatalf("a key from a wrong password: %s", out)
	}
	for _, d := range []*door{plain, encrypted} {
		before.learn(nil)
		params := "user=passer sslmode=disable"
		if d == encrypted {
			params = "user=passer sslmode=require channel_binding=require"
		}
		if out, err := d.psql(t, "opensesame", params); err != nil {
			t.Fatal(out)
		}
		c := d.last(t).credentials
		if c != before {
			t.Fatal("the credentials are not those of the secret")
		}
		for _, mode := range []SSLMode{SSLDisable, SSLRequire} {
			s, err := dial(t, LoginParams{Credentials: c, Database: "postgres", SSLMode: mode})
			if err != nil {
				t.Fatalf("mode %d: %v", mode, err)
			}
			runSQL(t, s, "do $$ begin if current_user <> 'passer' then raise 'somebody else'; end if; end $$")
		}
	}
}

// A password that was changed to the same text has another salt.
func TestPassThroughToAnotherVerifier(t *testing.T) {
	old := role(t, "changer", "login password 'opensesame'")
	role(t, "changer", "login password 'opensesame'")
	d := openDoor(t, mustNew(t, Config{Users: mustUsers(t, `"changer" "`+old+`"`)}), nil)
	if out, err := d.psql(t, "opensesame", "user=changer"); err != nil {
		t.Fatal(out)
	}
	_, err := dial(t, LoginParams{Credentials: d.last(t).credentials, Database: "postgres"})
	if !errors.Is(err, errOtherVerifier) || strings.Contains(err.Error(), old[15:30]) {
		t.Fatalf("got %v", err)
	}
}

// Whoever sits between us and the server has another certificate, and the server notices: this proves that logins to
// servers do bind.
func TestServerLoginBindsToTheChannel(t *testing.T) {
	secret := role(t, "bound", "login password 'opensesame'")
	parsed, _ := ParseSecret(secret)
	d := openDoor(t, mustNew(t, Config{Users: Users{"bound": parsed}}), nil)
	if out, err := d.psql(t, "opensesame", "user=bound"); err != nil {
		t.Fatal(out)
	}
	byKey := d.last(t).credentials

	middle := middleman(t)
	for name, c := range map[string]*Credentials{"password": NewCredentials("bound", "opensesame"), "key": byKey} {
		conn, err := net.Dial("tcp", middle)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Login(t.Context(), conn, LoginParams{Credentials: c, Database: "postgres", SSLMode: SSLRequire})
		e, ok := errors.AsType[*pgwire.Error](err)
		if !ok || !strings.Contains(e.Message, "channel binding check failed") {
			t.Errorf("by %s: got %v", name, err)
		}
		if _, err := dial(t, LoginParams{Credentials: c, Database: "postgres", SSLMode: SSLRequire}); err != nil {
			t.Errorf("by %s, directly: %v", name, err)
		}
	}
}

// middleman ends TLS with a certificate of its own and goes on to the cluster by TLS.
func middleman(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{issue(t, pkix.Name{CommonName: "localhost"}, nil, nil)}}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); running.Wait() })
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer in.Close()
				if _, err := pgwire.ReadStartup(in); err != nil {
					return
				}
				in.Write([]byte("S"))
				session := tls.Server(in, cfg)
				raw, err := net.Dial("tcp", pg.Addr(0))
				if err != nil {
					return
				}
				defer raw.Close()
				out, err := negotiateTLS(t.Context(), raw, &LoginParams{SSLMode: SSLRequire})
				if err != nil {
					return
				}
				running.Go(func() { copyUntilEnd(session, out); in.Close() })
				copyUntilEnd(out, session)
			})
		}
	})
	return l.Addr().String()
}

func copyUntilEnd(to, from net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// What a server does wrong, done to a client that has a key and no password.
func TestHostileServersMeetAKey(t *testing.T) {
	const salt = "s=W22ZaJ0SNY7soEsUEjb6gQ=="
	signature := "v=" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	ok := appendAuth(nil, authOK, "")
	for _, tt := range []struct {
		name   string
		script script
		want   string
	}{
		{"other salt", challenges("r=NONCEx,s=AAAA,i=4096"), errOtherVerifier.Error()},
		{"other iterations", challenges("r=NONCEx," + salt + ",i=4097"), errOtherVerifier.Error()},
		{"iterations over the cap", challenges("r=NONCEx," + salt + ",i=100001"), "iterations"},
		{"nonce of another", challenges("r=other," + salt + ",i=4096"), "nonce"},
		{"nonce not extended", challenges("r=NONCE," + salt + ",i=4096"), "nonce"},
		{"empty challenge", challenges(""), "malformed SCRAM"},
		{"no signature", challenges("r=NONCEx,"+salt+",i=4096", ok), "without proving"},
		{"wrong signature", challenges("r=NONCEx,"+salt+",i=4096", appendAuth(nil, authSASLFinal, signature)), "signature"},
		{"empty signature", challenges("r=NONCEx,"+salt+",i=4096", appendAuth(nil, authSASLFinal, "")), "signature"},
		{"signature of nothing", challenges("r=NONCEx,"+salt+",i=4096", appendAuth(nil, authSASLFinal, "v=")), "signature"},
		{"two signatures", challenges("r=NONCEx,"+salt+",i=4096", bytes.Join([][]byte{appendAuth(nil, authSASLFinal, signature), ok}, nil)), "signature"},
		{"MD5", sends(appendAuth(nil, authMD5, "salt")), "only a hash"},
		{"clear text", sends(appendAuth(nil, authCleartext, "")), "clear text"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parsed, _ := ParseSecret(verifierOfPencil)
			c := parsed.Credentials("dora")
			c.learn(make([]byte, 32))
			if err := loginAs(t, c, tt.script, 10*time.Second); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

// A server's challenge to a client that has a key, and its signature. NONCE stands for the client's nonce.
func FuzzKeyConversation(f *testing.F) {
	f.Add("r=NONCEx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "v=AAAA")
	f.Add("r=NONCEx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,x=y", "")
	f.Add("r=NONCEx,s=AAAA,i=1", "v=") // an empty signature is not that of a proof which was never made
	secret, err := ParseSecret(verifierOfPencil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, challenge, final string) {
		c := secret.Credentials("dora")
		c.learn(make([]byte, 32))
		x, err := c.newExchange([]byte(mechanismSCRAM+"\x00\x00"), scram.ChannelBinding{})
		if err != nil {
			t.Fatal(err)
		}
		first, err := x.initialResponse()
		if err != nil {
			t.Fatal(err)
		}
		_, nonce, _ := strings.Cut(string(first), "r=")
		proof, err := x.answer(t.Context(), []byte(strings.Replace(challenge, "NONCE", nonce, 1)))
		if err == nil && !strings.HasPrefix(proof, "c=biws,r="+nonce) {
			t.Fatalf("proof %q", proof)
		}
		if x.finish([]byte(final)) == nil {
			t.Fatal("a server has proven what it does not know")
		}
	})
}
