package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// A query of a real server ends by a cancel request, encrypted or not.
func TestCancelReachesPostgres(t *testing.T) {
	for _, mode := range []SSLMode{SSLDisable, SSLRequire} {
		p := LoginParams{Credentials: NewCredentials("postgres", "top secret"), SSLMode: mode}
		s, err := dial(t, p)
		if err != nil {
			t.Fatal(err)
		}
		s.Conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := s.Conn.Write(appendMessage(nil, 'Q', []byte("select pg_sleep(60)\x00"))); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, "select count(*) = 1 from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'")
		conn, err := net.Dial("tcp", pg.Addr(0))
		if err != nil {
			t.Fatal(err)
		}
		if err := Cancel(t.Context(), conn, p, s.PID, s.Key); err != nil {
			t.Fatal(err)
		}
		for {
			kind, body, err := readMessage(s.Conn)
			if err != nil {
				t.Fatal(err)
			}
			if kind == 'E' {
				if e := pgwire.ParseError(body); e.Code != "57014" {
					t.Fatal(e)
				}
				break
			}
		}
		if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the connection is left open: %v", err)
		}
	}
}

// waitUntil waits until a query of one boolean is true.
func waitUntil(t *testing.T, sql string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		out, err := pg.Psql(t.Context(), 0, sql)
		if err != nil {
			t.Fatal(err)
		}
		if out == "t" {
			return
		}
	}
	t.Fatalf("never true: %s", sql)
}

// cancelTo sends a cancel request to a server that does what it likes.
func cancelTo(t *testing.T, mode SSLMode, limit time.Duration, server func(net.Conn)) error {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		server(theirs)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := Cancel(ctx, ours, LoginParams{SSLMode: mode}, 4711, []byte("a secret key"))
	<-done
	return err
}

// The key is as good as a password for its query: it goes out only after the handshake.
func TestCancelKeyIsEncrypted(t *testing.T) {
	cert := issue(t, pkix.Name{CommonName: "localhost"}, nil, nil)
	err := cancelTo(t, SSLRequire, 10*time.Second, func(conn net.Conn) {
		if s, err := pgwire.ReadStartup(conn); err != nil || s.Kind != pgwire.KindSSLRequest {
			t.Errorf("first packet %+v, %v", s, err)
			return
		}
		conn.Write([]byte("S"))
		session := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
		s, err := pgwire.ReadStartup(session)
		if err != nil || s.Kind != pgwire.KindCancelRequest || s.PID != 4711 || !bytes.Equal(s.Key, []byte("a secret key")) {
			t.Errorf("got %+v, %v", s, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	err = cancelTo(t, SSLRequire, 10*time.Second, func(conn net.Conn) {
		pgwire.ReadStartup(conn)
		conn.Write([]byte("N"))
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Error("something is sent to a server without TLS")
		}
	})
	if err == nil || !strings.Contains(err.Error(), "does not offer") {
		t.Fatalf("got %v", err)
	}
}

func TestCancelOfOddServers(t *testing.T) {
	err := cancelTo(t, SSLDisable, 10*time.Second, func(conn net.Conn) {
		pgwire.ReadStartup(conn)
		conn.Write([]byte("E"))
	})
	if err == nil || !strings.Contains(err.Error(), "must not") {
		t.Fatalf("an answer: %v", err)
	}
	for _, mode := range []SSLMode{SSLDisable, SSLRequire} { // silent before the handshake and after the request
		err = cancelTo(t, mode, 50*time.Millisecond, func(conn net.Conn) {
			pgwire.ReadStartup(conn)
			conn.Read(make([]byte, 1))
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("silence: %v", err)
		}
	}
}
