package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// output collects what a running command prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// running is a command line that has not ended yet.
type running struct {
	signals        chan os.Signal
	stdout, stderr output
	code           chan int
}

func begin(t *testing.T, environ []string, args ...string) *running {
	t.Helper()
	r := &running{signals: make(chan os.Signal, 8), code: make(chan int, 1)}
	go func() {
		r.code <- run(args, &environment{environ: environ, signals: r.signals, stdout: &r.stdout, stderr: &r.stderr, version: "v-test"})
	}()
	return r
}

// end waits for the exit code.
func (r *running) end(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case code := <-r.code:
		return code
	case <-time.After(limit):
		t.Fatalf("still running after %v:\n%s%s", limit, r.stdout.String(), r.stderr.String())
		return -1
	}
}

// eventually runs f until it returns nil, and fails with its last error when the time is up.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// freeAddrs finds n loopback addresses that nobody listens on.
func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// get asks an HTTP address.
func get(url string) (code int, body string, err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestServe(t *testing.T) {
	servers, err := devpg.Start(t.Context(), devpg.Options{Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := servers.Stop(); err != nil {
			t.Error(err)
		}
	})
	addrs := freeAddrs(t, 5)
	file := write(t, "outrigger.yaml", "default_pool_size: 3\nadmin_users: postgres\n")
	environ := []string{
		"OUTRIGGER_CONFIG=" + file, "PRIMARY_DB_URL=" + servers.PrimaryURL(), "READ_REPLICA_URL=" + strings.Join(servers.ReplicaURLs(), ","),
		"OUTRIGGER_PG_LISTEN=" + addrs[0], "OUTRIGGER_CACHE_LISTEN=" + addrs[1], "OUTRIGGER_GOSSIP_LISTEN=" + addrs[2],
		"OUTRIGGER_PEER_LISTEN=" + addrs[3], "OUTRIGGER_HTTP_LISTEN=" + addrs[4],
	}
	url := "postgres://postgres@" + addrs[0] + "/postgres?sslmode=disable"
	ready := func() error {
		code, body, err := get("http://" + addrs[4] + "/health/ready")
		if err == nil && code != http.StatusOK {
			err = errors.New(body)
		}
		return err
	}

	r := begin(t, environ, "serve")
	eventually(t, "ready", ready)

	// A second one on the same addresses fails, and says why.
	second := begin(t, environ, "serve")
	if code := second.end(t, 10*time.Second); code != exitFailure || !strings.Contains(second.stderr.String(), "address already in use (another process has it: end that one, or set peer_listen)") {
		t.Errorf("a second sidecar ended with %d:\n%s", code, second.stderr.String())
	}

	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	var one int
	if err := conn.QueryRow(t.Context(), "select 1").Scan(&one); err != nil || one != 1 {
		t.Fatalf("select 1: %d, %v", one, err)
	}
	cache := redis.NewClient(&redis.Options{Addr: addrs[1]})
	if err := cache.Set(t.Context(), "a", "b", 0).Err(); err != nil {
		t.Error(err)
	}
	_ = cache.Close()
	if _, body, err := get("http://" + addrs[4] + "/metrics"); err != nil || !strings.Contains(body, `outrigger_server_up{role="replica"`) ||
		!strings.Contains(body, `outrigger_database_queries_total{database="postgres"}`) ||
		!strings.Contains(body, "outrigger_cache_keys 1\n") {
		t.Errorf("metrics: %v\n%s", err, body)
	}

	// A bad file changes nothing; a good one is taken over.
	if err := os.WriteFile(file, []byte("default_pool_size: none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGHUP
	eventually(t, "refused reload", func() error { return logged(r, "reload refused", "default_pool_size") })
	if err := os.WriteFile(file, []byte("default_pool_size: 4\nzone: b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGHUP
	eventually(t, "reload", func() error { return logged(r, "setting takes a restart", "setting=zone", "msg=reloaded") })

	// SIGTERM: a transaction under way ends first, then its client is told.
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "create table drained as select 1"); err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGTERM
	eventually(t, "not ready while draining", func() error {
		code, body, err := get("http://" + addrs[4] + "/health/ready")
		if err == nil && (code != http.StatusServiceUnavailable || !strings.Contains(body, "draining")) {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
	if err := tx.Commit(t.Context()); err != nil {
		t.Errorf("commit while draining: %v", err)
	}
	if code := r.end(t, 20*time.Second); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, r.stderr.String())
	}
	var told *pgconn.PgError
	if _, err := conn.Exec(context.Background(), "select 1"); err == nil || errors.As(err, &told) && told.Code != "57P01" {
		t.Errorf("a query after the drain: %v", err)
	}
	_ = conn.Close(context.Background())
	if got, err := servers.Psql(t.Context(), 0, "select count(*) from drained"); err != nil || got != "1" {
		t.Errorf("what was committed while draining: %q, %v", got, err)
	}
}

// logged tells whether r has logged all texts.
func logged(r *running, texts ...string) error {
	for _, text := range texts {
		if !strings.Contains(r.stderr.String(), text) {
			return fmt.Errorf("%q is missing from the log:\n%s", text, r.stderr.String())
		}
	}
	return nil
}

func TestServeTheCacheAlone(t *testing.T) {
	addrs := freeAddrs(t, 4)
	r := begin(t, nil, "serve", "--cache-listen="+addrs[0], "--gossip-listen="+addrs[1], "--peer-listen="+addrs[2], "--http-listen="+addrs[3])
	eventually(t, "ready", func() error {
		code, body, err := get("http://" + addrs[3] + "/health/ready")
		if err == nil && (code != http.StatusOK || !strings.Contains(body, `"primary":{"status":"off"}`)) {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
	if err := logged(r, "primary_url is not set: serving the cache alone"); err != nil {
		t.Error(err)
	}
	r.signals <- os.Interrupt
	if code := r.end(t, 5*time.Second); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, r.stderr.String())
	}
}

// devEnviron lets `outrigger dev` start this test binary as its sidecars, and gives it a place of its own for what it leaves.
func devEnviron(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil { // PostgreSQL's user goes through it
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(left) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return append(os.Environ(), runAsMain+"=1")
}

func gone(pid int) error {
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("process %d is still there: %v", pid, err)
	}
	return nil
}

func TestDevExec(t *testing.T) {
	script := strings.Join([]string{
		`test "$(psql -Atc 'select count(*) from pgbench_accounts')" = 100000 || exit 10`,
		`test "$(psql -At "$DATABASE_URL" -c 'select 1')" = 1 || exit 11`,
		`test "$(psql -At "$PRIMARY_URL" -c 'select pg_is_in_recovery()')" = f || exit 12`,
		`test "$(psql -At "$REPLICA_URLS" -c 'select pg_is_in_recovery()')" = t || exit 13`,
		`test -n "$PGHOST" -a -n "$PGPORT" -a "$PGUSER" = postgres -a "$PGDATABASE" = postgres -a -n "$REDIS_URL" || exit 14`,
		`pgbench -n -S -M prepared -c 4 -t 20 >/dev/null 2>&1 || exit 15`,
		`psql -At -d outrigger -c 'show servers' | grep -q '|replica|' || exit 16`,
		`echo pids=$OUTRIGGER_NODES_PIDS`,
		`kill -9 ${OUTRIGGER_NODES_PIDS##*,}`, // a crash of its own child
		`exit 7`,
	}, "\n")
	r := begin(t, devEnviron(t), "dev", "--nodes=2", "--scale=1", "--exec", script)
	if code := r.end(t, 90*time.Second); code != 7 {
		t.Errorf("exit code %d, want the script's 7:\n%s%s", code, r.stdout.String(), r.stderr.String())
	}
	line, _, _ := strings.Cut(r.stdout.String(), "\n")
	pids := strings.Split(strings.TrimPrefix(line, "pids="), ",")
	if len(pids) != 2 {
		t.Fatalf("stdout, which belongs to the command, is %q", r.stdout.String())
	}
	for _, p := range pids {
		pid, err := strconv.Atoi(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := gone(pid); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(r.stderr.String(), "pgbench -i") {
		t.Errorf("no progress on stderr:\n%s", r.stderr.String())
	}
}

func TestDevEndsBySignal(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			r := begin(t, devEnviron(t), "dev", "--nodes=1", "--replicas=0", "--scale=0")
			eventually(t, "welcome", func() error {
				if !strings.Contains(r.stdout.String(), "Ctrl-C ends") {
					return errors.New("no welcome yet:\n" + r.stdout.String())
				}
				return nil
			})
			said := r.stdout.String()
			match := regexp.MustCompile(`SQL +(\S+)`).FindStringSubmatch(said)
			if match == nil {
				t.Fatalf("no URL in:\n%s", said)
			}
			conn, err := pgx.Connect(t.Context(), match[1])
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close(t.Context())
			pid := regexp.MustCompile(`pid (\d+)`).FindStringSubmatch(said)
			if pid == nil {
				t.Fatalf("no pid in:\n%s", said)
			}
			r.signals <- sig
			if code := r.end(t, 20*time.Second); code != exitOK {
				t.Errorf("exit code %d:\n%s", code, r.stderr.String())
			}
			n, err := strconv.Atoi(pid[1])
			if err != nil {
				t.Fatal(err)
			}
			if err := gone(n); err != nil {
				t.Error(err)
			}
		})
	}
}

// What one node has acknowledged, every node knows: also after one is killed, and after one leaves in an orderly way.
func TestDevCacheOutlivesItsNodes(t *testing.T) {
	r := begin(t, devEnviron(t), "dev", "--nodes=3", "--replicas=0", "--scale=0")
	eventually(t, "welcome", func() error {
		if !strings.Contains(r.stdout.String(), "Ctrl-C ends") {
			return errors.New("no welcome yet:\n" + r.stdout.String() + r.stderr.String())
		}
		return nil
	})
	urls := regexp.MustCompile(`cache +(redis://\S+)`).FindAllStringSubmatch(r.stdout.String(), -1)
	pids := regexp.MustCompile(`sidecar\d \(pid (\d+)\)`).FindAllStringSubmatch(r.stdout.String(), -1)
	if len(urls) != 3 || len(pids) != 3 {
		t.Fatalf("want 3 sidecars in:\n%s", r.stdout.String())
	}
	var nodes []*redis.Client
	for _, u := range urls {
		opts, err := redis.ParseURL(u[1])
		if err != nil {
			t.Fatal(err)
		}
		node := redis.NewClient(opts)
		defer node.Close()
		nodes = append(nodes, node)
	}
	const keys = 1000
	key := func(i int) string { return "key:" + strconv.Itoa(i) }
	for i := range keys {
		if err := nodes[i%3].Set(t.Context(), key(i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	check := func(node int, when string) {
		t.Helper()
		eventually(t, when, func() error {
			for i := range keys {
				// An error is a moment's; a value that is missing or wrong is a loss.
				switch got, err := nodes[node].Get(t.Context(), key(i)).Result(); {
				case errors.Is(err, redis.Nil) || err == nil && got != strconv.Itoa(i):
					t.Fatalf("%s: %s is %q, %v", when, key(i), got, err)
				case err != nil:
					return err
				}
			}
			return nil
		})
	}
	for node := range nodes {
		check(node, fmt.Sprintf("from node %d", node))
	}
	end := func(node int, sig syscall.Signal) {
		t.Helper()
		pid, err := strconv.Atoi(pids[node][1])
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
		eventually(t, "end of node", func() error { return gone(pid) })
	}
	end(0, syscall.SIGKILL)
	check(1, "after node 0 was killed")
	check(2, "after node 0 was killed")
	end(1, syscall.SIGTERM)
	check(2, "after node 1 has left")
	r.signals <- os.Interrupt
	if code := r.end(t, 20*time.Second); code != exitOK {
		t.Errorf("exit code %d:\n%s%s", code, r.stdout.String(), r.stderr.String())
	}
}

func TestDevSignalEndsTheCommand(t *testing.T) {
	r := begin(t, devEnviron(t), "dev", "--nodes=1", "--replicas=0", "--scale=0", "--exec", "echo started; sleep 60 & wait")
	eventually(t, "command starts", func() error {
		if !strings.Contains(r.stdout.String(), "started") {
			return errors.New(r.stderr.String())
		}
		return nil
	})
	r.signals <- syscall.SIGTERM
	if code := r.end(t, 20*time.Second); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d, want 143:\n%s", code, r.stderr.String())
	}
}

func TestDevSidecarThatCannotStart(t *testing.T) {
	environ := append(devEnviron(t), "OUTRIGGER_POOL_MODE=nonsense")
	r := begin(t, environ, "dev", "--nodes=1", "--replicas=0", "--scale=0", "--exec", "true")
	if code := r.end(t, 30*time.Second); code != exitFailure || !strings.Contains(r.stderr.String(), "OUTRIGGER_POOL_MODE: pool_mode") {
		t.Errorf("exit code %d, want 1 and the sidecar's complaint:\n%s", code, r.stderr.String())
	}
}
