package keyring

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

var keyA, keyB = bytes.Repeat([]byte("a"), 32), bytes.Repeat([]byte("b"), 16)

func ring(t *testing.T, cluster string, keys ...[]byte) *Keyring {
	t.Helper()
	r, err := New(cluster, "member", keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// shake has two sides shake hands, and returns what each makes of it. The dialling side speaks first, so that it hears of a
// refusal.
func shake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	a.SetDeadline(deadline)
	b.SetDeadline(deadline)
	done := make(chan error, 1)
	go func() {
		defer a.Close()
		s := tls.Server(a, server)
		if err := s.Handshake(); err != nil {
			done <- err
			return
		}
		buf := make([]byte, 5)
		_, err := s.Read(buf)
		if err == nil {
			_, err = s.Write(buf)
		}
		done <- err
	}()
	c := tls.Client(b, client)
	_, clientErr = c.Write([]byte("hello"))
	if clientErr == nil {
		_, clientErr = c.Read(make([]byte, 5))
	}
	b.Close()
	return <-done, clientErr
}

func TestWhoHasAKeyInCommonComesIn(t *testing.T) {
	tests := []struct {
		name           string
		server, client *Keyring
		want           bool
	}{
		{"the same", ring(t, "c", keyA), ring(t, "c", keyA), true},
		{"another", ring(t, "c", keyA), ring(t, "c", keyB), false},
		{"another cluster", ring(t, "c", keyA), ring(t, "d", keyA), false},
		{"rotation: old and added", ring(t, "c", keyA), ring(t, "c", keyA, keyB), true},
		{"rotation: added and used", ring(t, "c", keyA, keyB), ring(t, "c", keyB, keyA), true},
		{"rotation: used and old taken away", ring(t, "c", keyB, keyA), ring(t, "c", keyB), true},
		{"a step left out", ring(t, "c", keyA), ring(t, "c", keyB, keyA), false},
	}
	for _, tt := range tests {
		for _, sides := range [][2]*Keyring{{tt.server, tt.client}, {tt.client, tt.server}} {
			serverErr, clientErr := shake(t, sides[0].TLS(), sides[1].TLS())
			if tt.want && (serverErr != nil || clientErr != nil) || !tt.want && (serverErr == nil || clientErr == nil) {
				t.Errorf("%s: server %v, client %v", tt.name, serverErr, clientErr)
			}
			if !tt.want && !errors.Is(serverErr, errStranger) && !errors.Is(clientErr, errStranger) {
				t.Errorf("%s: server %v, client %v: neither names the key", tt.name, serverErr, clientErr)
			}
		}
	}
}

// Whatever a stranger shows, each side refuses it.
func TestStrangersAreRefused(t *testing.T) {
	r := ring(t, "c", keyA)
	_, foreign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// An authority of the same name, with another key.
	authority, err := selfSigned(foreign)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := issue(authority, foreign, "member")
	if err != nil {
		t.Fatal(err)
	}
	// What goes over the wire in the clear: the certificate of a member, without its private key.
	copied := r.TLS().Certificates[0]
	copied.PrivateKey = forged.PrivateKey
	stranger := func(change func(*tls.Config)) *tls.Config {
		c := r.TLS().Clone()
		c.VerifyConnection, c.Certificates = nil, []tls.Certificate{forged}
		change(c)
		return c
	}
	for name, cfg := range map[string]*tls.Config{
		"forged":             stranger(func(*tls.Config) {}),
		"copied certificate": stranger(func(c *tls.Config) { c.Certificates = []tls.Certificate{copied} }),
		"no certificate":     stranger(func(c *tls.Config) { c.Certificates = nil }),
		"TLS 1.2": stranger(func(c *tls.Config) {
			c.Certificates, c.MinVersion, c.MaxVersion = r.TLS().Certificates, tls.VersionTLS12, tls.VersionTLS12
		}),
		"another protocol": stranger(func(c *tls.Config) { c.Certificates, c.NextProtos = r.TLS().Certificates, []string{"h2"} }),
		"no protocol":      stranger(func(c *tls.Config) { c.Certificates, c.NextProtos = r.TLS().Certificates, nil }),
	} {
		if serverErr, _ := shake(t, r.TLS(), cfg); serverErr == nil {
			t.Errorf("%s: let in by the side that was dialled", name)
		}
		if _, clientErr := shake(t, cfg, r.TLS()); clientErr == nil {
			t.Errorf("%s: let in by the side that has dialled", name)
		}
	}
}

func TestSetChangesWhatIsAccepted(t *testing.T) {
	a, b := ring(t, "c", keyA), ring(t, "c", keyB)
	if err := a.Set([][]byte{keyB}); err != nil {
		t.Fatal(err)
	}
	if s, c := shake(t, a.TLS(), b.TLS()); s != nil || c != nil {
		t.Errorf("with the same keys: %v, %v", s, c)
	}
	if err := a.Set(nil); err == nil {
		t.Error("a ring without keys")
	}
	if got := a.Keys(); len(got) != 1 || !bytes.Equal(got[0], keyB) {
		t.Errorf("a bad set has changed the keys to %q", got)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		text string
		want [][]byte // nil for an error
	}{
		{string(keyA), [][]byte{keyA}},
		{"# new\n" + string(keyB) + "\n\n# old\n  " + string(keyA) + "\t\r\n", [][]byte{keyB, keyA}},
		{"Y2NjY2NjY2NjY2NjY2NjY2NjY2NjY2Nj\n", [][]byte{[]byte("Y2NjY2NjY2NjY2NjY2NjY2NjY2NjY2Nj")}}, // 32 bytes as they are
		{"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=\n", [][]byte{keyA}},
		{"", nil},
		{"# nothing\n", nil},
		{string(keyA) + "\nshort\n", nil},
	}
	for _, tt := range tests {
		got, err := Parse(tt.text)
		if !slices.EqualFunc(got, tt.want, bytes.Equal) || (err == nil) != (tt.want != nil) {
			t.Errorf("%q: %q, %v; want %q", tt.text, got, err, tt.want)
		}
		if err != nil && !strings.Contains(err.Error(), "openssl rand") {
			t.Errorf("%q: %v does not say what to do", tt.text, err)
		}
	}
	for _, keys := range [][][]byte{nil, {keyA, keyB, keyA}, {keyA[:5]}, make([][]byte, maxKeys+1)} {
		if _, err := New("c", "m", keys); err == nil {
			t.Errorf("New takes %q", keys)
		}
	}
}
