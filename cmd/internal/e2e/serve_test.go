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
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func TestServeTheCacheAlone(t *testing.T) {
	t.Parallel()
	s := serve(t, "alone", nil)
	s.ready(t, 1)
	if err := s.says("primary_url is not set: serving the cache alone"); err != nil {
		t.Error(err)
	}
	if _, r, err := askReport("http://" + s.http); err != nil || r.Primary.Status != "off" || r.Cache.Status != "ok" {
		t.Errorf("health: %+v, %v", r, err)
	}
	if err := cacheClient(t, s.cache).Set(t.Context(), "a", "b", 0).Err(); err != nil {
		t.Error(err)
	}
	if conn, err := pgx.Connect(t.Context(), "postgres://postgres@"+s.pg+"/postgres?sslmode=disable"); err == nil {
		_ = conn.Close(t.Context())
		t.Error("it takes Postgres clients")
	}
	s.signal(t, syscall.SIGTERM)
	s.exit(t, 0, 20*time.Second)
}

// Health and metrics of nodes that have worked.
func TestOperatorsView(t *testing.T) {
	t.Parallel()
	for i, base := range shared.each("OUTRIGGER_NODES_HTTP_URLS") {
		conn := connect(t, shared.each("OUTRIGGER_NODES_DATABASE_URLS")[i])
		one[int](t, conn, "select 1")
		if err := cacheClient(t, shared.each("OUTRIGGER_NODES_REDIS_URLS")[i]).Set(t.Context(), "seen", "x", 0).Err(); err != nil {
			t.Error(err)
		}
		if code, body, err := get(base + "/health/live"); err != nil || code != http.StatusOK || strings.TrimSpace(body) != `{"status":"ok"}` {
			t.Errorf("live: %d %s, %v", code, body, err)
		}
		eventually(t, "health", func() error {
			code, r, err := askReport(base)
			if err == nil && (code != http.StatusOK || r.Status != "ok" || r.Primary.Status != "ok" || r.Cache.Status != "ok" || len(r.Cluster.Members) != 3) {
				err = fmt.Errorf("%d %+v", code, r)
			}
			return err
		})
		_, body, err := get(base + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		problems, err := promlint.New(strings.NewReader(body)).Lint()
		if err != nil {
			t.Errorf("the metrics do not parse: %v", err)
		}
		for _, p := range problems {
			if strings.HasPrefix(p.Metric, "outrigger_") {
				t.Errorf("%s: %s", p.Metric, p.Text)
			}
		}
		for _, series := range []string{
			`outrigger_build_info{version=`, `outrigger_server_up{role="primary",`, `outrigger_server_up{role="replica",`,
			`outrigger_server_lag_bytes{role="replica",`, `outrigger_server_lag_seconds{role="replica",`, `outrigger_server_timeline{role="primary",`,
			`outrigger_server_fenced{role="replica",`, `outrigger_pool_servers{`, `outrigger_pool_clients{`, `outrigger_pool_max_wait_seconds{`,
			`outrigger_database_queries_total{database="postgres"} `, `outrigger_route_decisions_total{database="postgres",`, "outrigger_cache_commands_total ", "outrigger_cache_memory_bytes ",
			"outrigger_cluster_members 3\n", "outrigger_cache_ready 1\n", "process_resident_memory_bytes ", "go_goroutines ",
		} {
			if !strings.Contains(body, "\n"+series) {
				t.Errorf("node %d has no series %s in\n%s", i, series, body)
			}
		}
		if code, _, err := get(base + "/nothing"); err != nil || code != http.StatusNotFound {
			t.Errorf("an unknown path: %d, %v", code, err)
		}
	}
}

// SIGTERM: no new clients, but a transaction under way commits. SIGHUP before that: a bad file changes nothing.
func TestServeReloadAndDrain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(tempDir(t), "outrigger.yaml")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := "primary_url: " + shared.get("PRIMARY_URL") + "\nreplica_urls: " + shared.get("REPLICA_URLS") + "\nadmin_users: postgres\n"
	write(base + "default_pool_size: 3\n")
	s := serve(t, "drained", nil, "--config="+file)
	s.ready(t, 1)
	url := "postgres://postgres@" + s.pg + "/postgres?sslmode=disable"
	idle, busy := connect(t, url), connect(t, url)
	mustExec(t, busy, "create table drained (n int)")

	write(base + "default_pool_size: many\npool_mod: x\n")
	s.signal(t, syscall.SIGHUP)
	eventually(t, "refused reload", func() error { return s.says("reload refused", "default_pool_size", "pool_mod", file) })
	if strings.Contains(s.said(), "msg=reloaded") {
		t.Errorf("a bad file was taken over:\n%s", s.said())
	}
	if got := one[int](t, idle, "select 1"); got != 1 {
		t.Errorf("got %d after the refused reload", got)
	}
	write(base + "default_pool_size: 4\n")
	s.signal(t, syscall.SIGHUP)
	eventually(t, "reload", func() error { return s.says("msg=reloaded") })

	tx, err := busy.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "insert into drained values (1)"); err != nil {
		t.Fatal(err)
	}
	s.signal(t, syscall.SIGTERM)
	eventually(t, "it says that it drains", func() error {
		code, r, err := askReport("http://" + s.http)
		if err == nil && (code != http.StatusServiceUnavailable || r.Status != "draining") {
			err = fmt.Errorf("%d %+v", code, r)
		}
		return err
	})
	eventually(t, "new clients are turned away", func() error {
		conn, err := pgx.Connect(t.Context(), url)
		if err == nil {
			_ = conn.Close(t.Context())
			return errors.New("they are served")
		}
		return nil
	})
	if _, err := tx.Exec(t.Context(), "insert into drained values (2)"); err != nil {
		t.Errorf("within the transaction, while draining: %v", err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Errorf("commit while draining: %v", err)
	}
	s.exit(t, 0, 30*time.Second)
	for name, conn := range map[string]*pgx.Conn{"idle": idle, "busy": busy} {
		if err := conn.Ping(context.Background()); err == nil {
			t.Errorf("the %s client is still served", name)
		}
	}
	if got := one[int](t, connect(t, shared.get("PRIMARY_URL")), "select sum(n) from drained"); got != 3 {
		t.Errorf("the transaction left %d, want 3", got)
	}
}
