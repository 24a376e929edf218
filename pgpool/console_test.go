package pgpool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// console connects to the console as a user.
func (p *testPooler) console(t *testing.T, database, user, query string) (*pgx.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	c, err := pgx.Connect(ctx, fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable%s", user, p.addr, database, query))
	if err == nil {
		t.Cleanup(func() { c.Close(context.Background()) })
	}
	return c, err
}

// show returns the rows of a SHOW.
func show(t *testing.T, c *pgx.Conn, what string) []map[string]any {
	t.Helper()
	rows, err := c.Query(context.Background(), "show "+what)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		t.Fatalf("show %s: %v", what, err)
	}
	return list
}

// TestConsoleShowsThePooler compares rows of the console with clients whose doings are known.
func TestConsoleShowsThePooler(t *testing.T) {
	p := start(t, 2, func(c *Config) {
		c.Tuning.Policy = func(database, user string) Policy {
			policy := c.Tuning.Defaults
			policy.PoolSize, policy.MaxDBClients = 7, 70
			return policy
		}
	})
	ctx := context.Background()
	busy, idle := p.connect(t, "&application_name=busy"), p.connect(t, "")
	tx, err := busy.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "select 1"); err != nil { // a BEGIN by itself holds no server
		t.Fatal(err)
	}
	defer tx.Rollback(ctx)
	if _, err := idle.Exec(ctx, "select 1"); err != nil {
		t.Fatal(err)
	}
	// What a JDBC driver sends at start-up, and both names.
	c, err := p.console(t, "pgbouncer", "postgres", "&extra_float_digits=2&options=-c%20geqo%3Doff")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.console(t, "outrigger", "postgres", ""); err != nil {
		t.Fatal(err)
	}
	want := func(what string, rows []map[string]any, column, values string) {
		t.Helper()
		var got []string
		for _, r := range rows {
			got = append(got, fmt.Sprint(r[column]))
		}
		if strings.Join(got, " ") != values {
			t.Errorf("show %s: %s is %q, want %q", what, column, got, values)
		}
	}
	pools := show(t, c, "pools")
	want("pools", pools, "database", "postgres")
	want("pools", pools, "cl_active", "2")
	want("pools", pools, "sv_active", "1")
	databases := show(t, c, "databases")
	want("databases", databases, "name", "postgres")
	want("databases", databases, "pool_size", "7")
	want("databases", databases, "current_client_connections", "2")
	want("databases", databases, "max_client_connections", "70")
	want("databases", databases, "force_user", "postgres")
	if n := databases[0]["current_connections"].(int32); n < 1 || n > 7 {
		t.Errorf("%d connections to servers", n)
	}
	users := show(t, c, "users")
	want("users", users, "name", "postgres")
	want("users", users, "current_client_connections", "2")
	clients := show(t, c, "clients")
	if len(clients) != 2 {
		t.Errorf("%d clients", len(clients))
	}
	for _, cl := range clients {
		busy := cl["application_name"] == "busy"
		if linked := cl["link"] != ""; linked != busy || (cl["state"] == "active") != busy || (cl["state"] == "idle") == busy {
			t.Errorf("busy %v: %v", busy, cl)
		}
	}
	want("loops", show(t, c, "loops"), "loop", "0 1")
	for _, r := range show(t, c, "lists") {
		if r["list"] == "used_clients" && r["items"] != int32(2) {
			t.Errorf("show lists: %v", r)
		}
	}
	for _, r := range show(t, c, "help") {
		if name, ok := strings.CutPrefix(r["command"].(string), "SHOW "); ok {
			show(t, c, name)
		}
	}
	// A cancel request with the key that the console gave out hits nobody.
	if err := c.PgConn().CancelRequest(ctx); err != nil {
		t.Error("cancel:", err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Error(err)
	}
	show(t, c, "version")
}

// What the console says of a connection is what the two ends of it say.
func TestConsoleShowsSockets(t *testing.T) {
	p := start(t, 1, nil)
	c := p.connect(t, "")
	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	var serverPort int
	if err := tx.QueryRow(t.Context(), "select inet_server_port()").Scan(&serverPort); err != nil {
		t.Fatal(err)
	}
	console, err := p.console(t, "pgbouncer", "postgres", "")
	if err != nil {
		t.Fatal(err)
	}
	at := func(host, port any) string { return net.JoinHostPort(fmt.Sprint(host), fmt.Sprint(port)) }
	client, server := show(t, console, "clients")[0], show(t, console, "servers")[0]
	own := c.PgConn().Conn()
	if from, to := at(client["addr"], client["port"]), at(client["local_addr"], client["local_port"]); from != own.LocalAddr().String() || to != p.addr {
		t.Errorf("client from %s to %s, is %s to %s", from, to, own.LocalAddr(), p.addr)
	}
	if to := at(server["addr"], server["port"]); to != pg.Addr(0) || fmt.Sprint(server["port"]) != fmt.Sprint(serverPort) {
		t.Errorf("server %s, is %s", to, pg.Addr(0))
	}
	var known bool
	admin := direct(t, 0)
	if err := admin.QueryRow(t.Context(), "select exists (select from pg_stat_activity where client_port = $1)", server["local_port"]).Scan(&known); err != nil || !known {
		t.Errorf("server connection from %v: %v, %v", server["local_port"], known, err)
	}
	if client["tls"] != "" || server["tls"] != "" {
		t.Errorf("TLS %q, %q", client["tls"], server["tls"])
	}
	linked := make(map[any]any)
	for _, fd := range show(t, console, "fds") {
		linked[fd["fd"]] = fd["link"]
		if path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%v", fd["fd"])); err == nil && !strings.HasPrefix(path, "socket:") {
			t.Errorf("descriptor %v is %s", fd["fd"], path)
		}
	}
	for fd, other := range linked {
		if runtime.GOOS == "linux" && (len(linked) != 2 || linked[other] != fd) {
			t.Errorf("descriptors %v", linked)
		}
	}
	if runtime.GOOS == "linux" && len(linked) == 0 {
		t.Error("no descriptors")
	}
}

func TestConsoleIsForItsUsers(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.StatsUsers = []string{"watcher"} })
	_, err := p.console(t, "pgbouncer", "stranger", "")
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "28000" || !strings.Contains(e.Hint, "stats_users") {
		t.Errorf("a stranger gets %v", err)
	}
	c, err := p.console(t, "pgbouncer", "watcher", "")
	if err != nil {
		t.Fatal(err)
	}
	show(t, c, "stats")
	for _, sql := range []string{"reload", "pause", "kill_client 1", "set query_timeout = 1", "show fds"} {
		_, err := c.Exec(context.Background(), sql)
		if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "42501" {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestConsoleOverTLS comes by psql, with a password.
func TestConsoleOverTLS(t *testing.T) {
	e := startEncrypted(t)
	p := e.start(t, e.server(t, "require", "127.0.0.1", serverPassword, nil))
	psql := func(password, sql string) (string, error) {
		u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", password), Host: p.addr, Path: "/pgbouncer", RawQuery: "sslmode=require"}
		cmd := exec.CommandContext(t.Context(), "psql", "-XAtc", sql, u.String())
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PGCONNECT_TIMEOUT=20")
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if out, err := psql(clientPassword, "show version"); err != nil || out != "PgBouncer 1.25.2 (Outrigger test)" {
		t.Errorf("%s, %v", out, err)
	}
	if out, err := psql("wrong", "show version"); err == nil || !strings.Contains(out, "password authentication failed") {
		t.Errorf("with a wrong password: %s, %v", out, err)
	}
}
