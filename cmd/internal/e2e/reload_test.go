package e2e

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
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// busy are clients that never stop, each in transactions, with a setting of its own and prepared statements.
type busy struct {
	done  atomic.Int64              // transactions
	ports [4]atomic.Pointer[string] // of the server that had each client's last transaction
	end   context.CancelFunc
	all   sync.WaitGroup
}

func startBusy(t *testing.T, url string) *busy {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &busy{end: cancel}
	t.Cleanup(b.stop)
	for i := range b.ports {
		conn := connect(t, url)
		mine := fmt.Sprintf("client %d", i)
		mustExec(t, conn, "set app.mine = '"+mine+"'")
		b.all.Go(func() {
			for ctx.Err() == nil {
				port, err := transact(conn, mine)
				if err != nil {
					t.Errorf("%s: %v", mine, err)
					return
				}
				b.ports[i].Store(&port)
				b.done.Add(1)
			}
		})
	}
	return b
}

// transact returns the port of the server that had the transaction.
func transact(conn *pgx.Conn, mine string) (port string, err error) {
	ctx := context.Background() // a client is not interrupted, or it would be the test that drops it
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for i := range 2 {
			var name, where string
			if err := tx.QueryRow(ctx, "select current_setting('app.mine'), current_setting('port'), pg_sleep(0.002)").Scan(&name, &where, nil); err != nil {
				return err
			}
			if name != mine || i > 0 && where != port {
				return fmt.Errorf("it is %q, on port %s after %s", name, where, port)
			}
			port = where
		}
		return nil
	})
	return port, err
}

func (b *busy) stop() {
	b.end()
	b.all.Wait()
}

// progress waits until n more transactions are done.
func (b *busy) progress(t *testing.T, n int64) {
	t.Helper()
	goal := b.done.Load() + n
	eventually(t, "transactions go on", func() error {
		if got := b.done.Load(); got < goal && !t.Failed() {
			return fmt.Errorf("%d of %d", got, goal)
		}
		return nil
	})
}

// writePair writes a certificate that signs itself, and its key.
func writePair(t *testing.T, certFile, keyFile, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	rewrite(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// shownName is the name in the certificate that the sidecar shows.
func (s *sidecar) shownName(t *testing.T) string {
	t.Helper()
	conn := connect(t, strings.Replace(s.url("postgres"), "sslmode=disable", "sslmode=require", 1))
	defer conn.Close(context.Background())
	return conn.PgConn().Conn().(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
}

// Everything that may change does, with SIGHUP and on the console, while clients work: none of them is dropped, and bad
// files change nothing.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	second, err := devpg.Start(t.Context(), devpg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := second.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, by := range []string{"SIGHUP", "RELOAD"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			testReload(t, by == "RELOAD", shared.get("PRIMARY_URL"), second.PrimaryURL())
		})
	}
}

func testReload(t *testing.T, onConsole bool, first, second string) {
	dir := tempDir(t)
	file, cert, key := filepath.Join(dir, "outrigger.yaml"), filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	writePair(t, cert, key, "first")
	content := func(primary, size, more string) string {
		return "primary_url: " + primary + "\nadmin_users: postgres\nclient_tls_sslmode: allow\nclient_tls_cert_file: " + cert +
			"\nclient_tls_key_file: " + key + "\ndefault_pool_size: " + size + "\n" + more
	}
	rewrite(t, file, content(first, "4", ""))
	s := serve(t, "reloaded", nil, "--config="+file)
	s.ready(t, 1)
	clients := startBusy(t, s.url("postgres"))
	secure := startBusy(t, strings.Replace(s.url("postgres"), "sslmode=disable", "sslmode=require", 1))
	work := func() {
		t.Helper()
		clients.progress(t, 20)
		secure.progress(t, 20)
	}
	work()
	console := connect(t, s.url("outrigger"))
	times := func(text string) int { return strings.Count(s.said(), text) }
	reload := func() {
		t.Helper()
		before := times("msg=reloaded")
		if onConsole {
			if err := command(console, "RELOAD"); err != nil {
				t.Fatal(err)
			}
		} else {
			s.signal(t, syscall.SIGHUP)
		}
		eventually(t, "reload", func() error {
			if times("msg=reloaded") == before {
				return errors.New(s.said())
			}
			return nil
		})
		work()
	}
	// refused wants all of want in the log, and in the console's answer.
	refused := func(want ...string) {
		t.Helper()
		before, done := times("reload refused"), times("msg=reloaded")
		if onConsole {
			told, ok := errors.AsType[*pgconn.PgError](command(console, "RELOAD"))
			if !ok || told.Code != "F0000" || told.Detail == "" {
				t.Fatalf("RELOAD of a bad file: %+v", told)
			}
			for _, text := range want {
				if !strings.Contains(told.Message, text) {
					t.Errorf("RELOAD of a bad file says %q, without %q", told.Message, text)
				}
			}
		} else {
			s.signal(t, syscall.SIGHUP)
		}
		eventually(t, "refused reload", func() error {
			if times("reload refused") == before {
				return errors.New(s.said())
			}
			return s.says(want...)
		})
		if times("msg=reloaded") != done {
			t.Errorf("a bad file was taken over:\n%s", s.said())
		}
		wantCell(t, console, "show config", "default_pool_size", "value", "4")
		wantCell(t, console, "show databases", "postgres", "pool_size", "4")
		work()
	}

	rewrite(t, file, content(second, "7", "pool_mod: session\nquery_timeout: soon\n"))
	refused(file+":7", "pool_mode?", file+":8", "query_timeout")
	rewrite(t, file, content(second, "7", ""))
	rewrite(t, cert, "no certificate")
	refused("client_tls_cert_file", "certificate")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	refused(file, "no such file")
	writePair(t, cert, key, "first")

	rewrite(t, file, content(first, "2", ""))
	reload()
	wantCell(t, console, "show databases", "postgres", "pool_size", "2")
	rewrite(t, file, content(first, "6", ""))
	reload()
	wantCell(t, console, "show databases", "postgres", "pool_size", "6")

	if conn, err := pgx.Connect(t.Context(), s.url("added")); err == nil {
		_ = conn.Close(t.Context())
		t.Error("a database that nobody has configured takes clients")
	}
	databases := "databases:\n  added:\n    primary_url: " + second + "\n    dbname: postgres\n    pool_size: 3\n"
	users := "users:\n  postgres:\n    pool_size: 5\n"
	rewrite(t, file, content(first, "6", databases+users))
	reload()
	added := connect(t, s.url("added"))
	if there, want := one[string](t, added, "select current_setting('port')"), one[string](t, connect(t, second), "select current_setting('port')"); there != want {
		t.Errorf("the new database is on port %s, want %s", there, want)
	}
	wantCell(t, console, "show databases", "added", "pool_size", "3")
	wantCell(t, console, "show users", "postgres", "pool_size", "5")

	if got := s.shownName(t); got != "first" {
		t.Errorf("the certificate is of %q", got)
	}
	writePair(t, cert, key, "second")
	reload()
	if got := s.shownName(t); got != "second" {
		t.Errorf("the certificate is of %q after the reload", got)
	}

	rewrite(t, file, content(second, "6", databases+users))
	reload()
	want := one[string](t, connect(t, second), "select current_setting('port')")
	eventually(t, "all clients are on the new primary", func() error {
		for _, b := range []*busy{clients, secure} {
			for i := range b.ports {
				if port := *b.ports[i].Load(); port != want {
					return fmt.Errorf("client %d is on port %s, want %s", i, port, want)
				}
			}
		}
		return nil
	})
	work()
	clients.stop()
	secure.stop()
	s.stop(t)
}

// A sidecar does not become a pooler, nor cease to be one, by a reload: it says so instead of doing nothing.
func TestReloadKeepsTheHalves(t *testing.T) {
	t.Parallel()
	without, with := "default_pool_size: 4\n", "primary_url: "+shared.get("PRIMARY_URL")+"\n"
	for _, tt := range []struct{ name, before, after string }{{"gaining", without, with}, {"losing", with, without}} {
		file := configFile(t, tt.before)
		s := serve(t, tt.name, nil, "--config="+file)
		s.ready(t, 1)
		rewrite(t, file, tt.after)
		s.signal(t, syscall.SIGHUP)
		eventually(t, "refusal", func() error { return s.says("reload refused", "primary_url", "restart it") })
		if tt.before == with {
			one[int](t, connect(t, s.url("postgres")), "select 1")
		}
		s.stop(t)
	}
}
