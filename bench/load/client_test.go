package load

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

const password = "secret"

// startServers gives a server that asks for SCRAM, and its tables.
func startServers(t *testing.T) (*devpg.Cluster, *auth.Credentials) {
	t.Helper()
	servers, err := devpg.Start(t.Context(), devpg.Options{Auth: "scram-sha-256", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := servers.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := servers.Pgbench(t.Context(), "-i", "-q", "-s", "1"); err != nil {
		t.Fatal(err)
	}
	return servers, auth.NewCredentials(devpg.User, password)
}

func TestClients(t *testing.T) {
	servers, credentials := startServers(t)
	addr := servers.Addr(0)

	t.Run("crowd", func(t *testing.T) {
		c := NewCrowd(addr, credentials)
		defer c.Close()
		if failed, err := c.Join(t.Context(), 20, 5, "select 1"); failed != 0 || err != nil || c.Len() != 20 {
			t.Fatalf("%d failed, %d joined: %v", failed, c.Len(), err)
		}
		if failed, err := c.Query(t.Context(), 5, "select pg_terminate_backend(pg_backend_pid()) where random() < 2"); failed != 20 || err == nil {
			t.Errorf("%d of 20 killed sessions failed: %v", failed, err)
		}
		c.Close()
		if failed, err := c.Join(t.Context(), 3, 3, "select 1/0"); failed != 3 || c.Len() != 0 || !strings.Contains(err.Error(), "division by zero") {
			t.Errorf("%d of 3 failed, %d joined: %v", failed, c.Len(), err)
		}
		stranger := NewCrowd(addr, auth.NewCredentials(devpg.User, "wrong"))
		if failed, err := stranger.Join(t.Context(), 2, 2, ""); failed != 2 || !strings.Contains(err.Error(), "2 of 2") {
			t.Errorf("wrong password: %d failed, %v", failed, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if failed, err := c.Join(ctx, 2, 2, ""); failed != 2 || !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %d failed, %v", failed, err)
		}
	})

	t.Run("slow reader", func(t *testing.T) {
		c := connect(t, addr, credentials)
		var after time.Duration
		begin := time.Now()
		p := Phases{Slow: 200 * time.Millisecond, Rate: 1 << 20, SlowDone: func() { after = time.Since(begin) }}
		if err := c.ReadSlowly(t.Context(), 4<<20, p, time.Minute); err != nil || after < p.Slow {
			t.Errorf("slow for %v, want %v: %v", after, p.Slow, err)
		}
		if err := c.Query("select 1", time.Minute); err != nil {
			t.Errorf("the session afterwards: %v", err)
		}
		p.Rate = 1 << 30
		if err := c.ReadSlowly(t.Context(), 128<<10, p, time.Minute); err == nil {
			t.Error("a result that ends in the slow phase is no error")
		}
	})

	t.Run("copy", func(t *testing.T) {
		c := connect(t, addr, credentials)
		if err := c.CopyIn(1<<20, time.Minute); err == nil || !strings.Contains(err.Error(), `"sink" does not exist`) {
			t.Errorf("without the table: %v", err)
		}
		c = connect(t, addr, credentials)
		if _, err := servers.Psql(t.Context(), 0, "create table sink (line text)"); err != nil {
			t.Fatal(err)
		}
		if err := c.CopyIn(1<<20, time.Minute); err != nil {
			t.Error(err)
		}
		if err := c.Query("select 1", time.Minute); err != nil {
			t.Errorf("the session afterwards: %v", err)
		}
		if n, err := servers.Psql(t.Context(), 0, "select count(*) from sink"); err != nil || n != "0" {
			t.Errorf("%s rows were written: %v", n, err)
		}
	})

	t.Run("value", func(t *testing.T) {
		c := connect(t, addr, credentials)
		for sql, want := range map[string]string{"select 42, 7": "42", "select * from generate_series(1, 3)": "1", "select ''": ""} {
			if got, err := c.Value(sql, time.Minute); err != nil || got != want {
				t.Errorf("%s: %q, %v", sql, got, err)
			}
		}
		for _, sql := range []string{"select null", "select 1 where false", "select 1/0", "select"} {
			if got, err := c.Value(sql, time.Minute); err == nil {
				t.Errorf("%s: %q", sql, got)
			}
		}
	})

	t.Run("open loop", func(t *testing.T) {
		l := OpenLoop{Clients: 8, Rate: 500, Duration: time.Second, Rows: 100_000}
		o, err := l.Run(t.Context(), addr, credentials)
		if err != nil || o.Failed != 0 || o.Due < 300 || o.Due > 700 {
			t.Errorf("%+v, %v", o, err)
		}
	})

	t.Run("interrupt", func(t *testing.T) {
		c := connect(t, addr, credentials)
		c.Interrupt()
		if err := c.Query("select 1", time.Minute); err == nil {
			t.Error("an interrupted session goes on")
		}
	})

	t.Run("probe", func(t *testing.T) {
		p := Probe{Pgbench: Pgbench{Program: filepath.Join(servers.BinDir(), "pgbench"), User: devpg.User, Password: password, Database: devpg.Database, Seconds: 2},
			Clients: 2, Rate: 200}
		begin := time.Now()
		l, o, err := p.Run(t.Context(), addr)
		if err != nil {
			t.Fatalf("%v; it said:\n%s", err, o.Output)
		}
		if p99, err := l.P99(begin, time.Now()); err != nil || p99 <= 0 || p99 > time.Minute {
			t.Errorf("p99 %v, %v", p99, err)
		}
		if _, err := l.P99(begin.Add(-time.Hour), begin); err == nil {
			t.Error("a time without transactions has a percentile")
		}
		p.Password = "wrong"
		if _, _, err := p.Run(t.Context(), addr); err == nil {
			t.Error("a wrong password was taken")
		}
	})
}

func connect(t *testing.T, addr string, credentials *auth.Credentials) *Client {
	t.Helper()
	c, err := Connect(t.Context(), addr, credentials)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
