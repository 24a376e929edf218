package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// url is where a user finds a database of the sidecar.
func (s *sidecar) url(database string) string {
	return "postgres://postgres@" + s.pg + "/" + database + "?sslmode=disable"
}

// cellOf returns what SHOW has in a column of the row that is called name in the first.
func cellOf(console *pgx.Conn, show, name, column string) (string, error) {
	results, err := console.PgConn().Exec(context.Background(), show).ReadAll()
	if err != nil {
		return "", err
	}
	for _, row := range results[0].Rows {
		if string(row[0]) != name {
			continue
		}
		for i, field := range results[0].FieldDescriptions {
			if field.Name == column {
				return string(row[i]), nil
			}
		}
	}
	return "", fmt.Errorf("%s has no %s of %s", show, column, name)
}

func wantCell(t *testing.T, console *pgx.Conn, show, name, column, want string) {
	t.Helper()
	if got, err := cellOf(console, show, name, column); err != nil || got != want {
		t.Errorf("%s: %s of %s is %q, %v; want %q", show, column, name, got, err, want)
	}
}

// command runs a console command in the simple protocol.
func command(console *pgx.Conn, sql string) error {
	_, err := console.PgConn().Exec(context.Background(), sql).ReadAll()
	return err
}

// refusesNew returns nil once nobody is let in.
func (s *sidecar) refusesNew(t *testing.T) func() error {
	return func() error {
		conn, err := pgx.Connect(t.Context(), s.url("postgres"))
		if err == nil {
			_ = conn.Close(t.Context())
			return errors.New("new clients are served")
		}
		return nil
	}
}

func (s *sidecar) saysThatItDrains(t *testing.T) {
	t.Helper()
	if code, r, err := askReport("http://" + s.http); err != nil || code != http.StatusServiceUnavailable || r.Status != "draining" {
		t.Errorf("health: %d %+v, %v", code, r, err)
	}
}

func configFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(tempDir(t), "outrigger.yaml")
	rewrite(t, file, content)
	return file
}

func rewrite(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConsoleSet(t *testing.T) {
	t.Parallel()
	file := configFile(t, "primary_url: "+shared.get("PRIMARY_URL")+"\nadmin_users: postgres\ndefault_pool_size: 5\n")
	s := serve(t, "set", nil, "--config="+file)
	s.ready(t, 1)
	one[int](t, connect(t, s.url("postgres")), "select 1") // a database in use is one that SHOW DATABASES lists
	console := connect(t, s.url("outrigger"))
	sizes := func(size, reserve string) {
		t.Helper()
		wantCell(t, console, "show config", "default_pool_size", "value", size)
		wantCell(t, console, "show databases", "postgres", "pool_size", size)
		wantCell(t, console, "show config", "reserve_pool_size", "value", reserve)
		wantCell(t, console, "show databases", "postgres", "reserve_pool_size", reserve)
	}
	sizes("5", "0")
	for _, sql := range []string{"SET default_pool_size = 3", "set Reserve_Pool_Size to '2'"} {
		if err := command(console, sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	sizes("3", "2")
	for _, tt := range []struct{ sql, want string }{
		{"SET default_pool_sise = 4", "did you mean default_pool_size?"},
		{"SET pg_listen = '127.0.0.1:1'", "pg_listen: cannot be changed while the sidecar runs"},
		{"SET default_pool_size = many", "default_pool_size"},
		{"SET client_tls_sslmode = require", "client_tls_cert_file"}, // what only the settings together show
	} {
		err := command(console, tt.sql)
		if told, ok := errors.AsType[*pgconn.PgError](err); !ok || told.Code != "22023" || !strings.Contains(told.Message, tt.want) || told.Hint == "" {
			t.Errorf("%s: %v, want 22023 with %q", tt.sql, err, tt.want)
		}
	}
	sizes("3", "2")
	if err := command(console, "RELOAD"); err != nil {
		t.Error(err)
	}
	sizes("5", "0")
	s.stop(t)
}

// stop ends a sidecar that is not wanted any more.
func (s *sidecar) stop(t *testing.T) {
	t.Helper()
	s.signal(t, os.Interrupt)
	s.exit(t, 0, 20*time.Second)
}

func TestConsoleShutdown(t *testing.T) {
	t.Parallel()
	begun := func(t *testing.T) (s *sidecar, console, busy *pgx.Conn, tx pgx.Tx) {
		s = serve(t, "ending", []string{"PRIMARY_DB_URL=" + shared.get("PRIMARY_URL"), "OUTRIGGER_ADMIN_USERS=postgres", "OUTRIGGER_DRAIN_TIMEOUT=1s"})
		s.ready(t, 1)
		console, busy = connect(t, s.url("outrigger")), connect(t, s.url("postgres"))
		tx, err := busy.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "select 1"); err != nil {
			t.Fatal(err)
		}
		return s, console, busy, tx
	}
	t.Run("now", func(t *testing.T) {
		t.Parallel()
		s, console, _, tx := begun(t)
		if err := command(console, "SHUTDOWN"); err == nil {
			t.Error("an answer came before the end")
		}
		s.exit(t, 0, 10*time.Second)
		if _, err := tx.Exec(t.Context(), "select 1"); err == nil {
			t.Error("the transaction goes on")
		}
	})
	t.Run("wait for servers", func(t *testing.T) {
		t.Parallel()
		s, console, busy, tx := begun(t)
		idle := connect(t, s.url("postgres"))
		if err := command(console, "SHUTDOWN WAIT_FOR_SERVERS"); err != nil {
			t.Error(err)
		}
		eventually(t, "new clients are refused", s.refusesNew(t))
		eventually(t, "the idle client is told to go", func() error {
			if _, err := idle.Exec(t.Context(), "select 1"); err != nil {
				return nil
			}
			return errors.New("it is served")
		})
		s.saysThatItDrains(t)
		if _, err := tx.Exec(t.Context(), "select pg_sleep(1.5)"); err != nil { // longer than drain_timeout
			t.Errorf("in the transaction: %v", err)
		}
		if !s.running() {
			t.Error("it has not waited for the transaction")
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Errorf("commit: %v", err)
		}
		s.exit(t, 0, 20*time.Second)
		if err := busy.Ping(t.Context()); err == nil {
			t.Error("the client that committed is served")
		}
	})
	t.Run("wait for clients", func(t *testing.T) {
		t.Parallel()
		s, console, busy, tx := begun(t)
		if err := command(console, "SHUTDOWN WAIT_FOR_CLIENTS"); err != nil {
			t.Error(err)
		}
		eventually(t, "new clients are refused", s.refusesNew(t))
		s.saysThatItDrains(t)
		if err := tx.Commit(t.Context()); err != nil {
			t.Errorf("commit: %v", err)
		}
		for range 30 { // many looks at whether the clients have left, and longer than drain_timeout
			if _, err := busy.Exec(t.Context(), "select pg_sleep(0.05)"); err != nil {
				t.Fatalf("the client that is waited for: %v", err)
			}
		}
		if !s.running() {
			t.Error("it has not waited for the client")
		}
		if err := busy.Close(t.Context()); err != nil {
			t.Error(err)
		}
		s.exit(t, 0, 20*time.Second) // though the console is still open
	})
	t.Run("SIGTERM ends the wait", func(t *testing.T) {
		t.Parallel()
		for _, what := range []string{"SERVERS", "CLIENTS"} {
			s, console, _, tx := begun(t)
			if err := command(console, "SHUTDOWN WAIT_FOR_"+what); err != nil {
				t.Error(err)
			}
			eventually(t, "new clients are refused", s.refusesNew(t))
			s.signal(t, syscall.SIGTERM)
			s.exit(t, 0, 20*time.Second)
			if _, err := tx.Exec(t.Context(), "select 1"); err == nil {
				t.Error("the transaction goes on")
			}
		}
	})
}
