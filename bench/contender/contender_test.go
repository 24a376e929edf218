package contender

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrigger-proxy/outrigger/bench/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseStat(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     time.Duration
		err      string
	}{
		{"plain", "77 (redis-server) S 1 77 77 0 -1 4194560 900 0 0 0 123 45 0 0 20 0 5 0 1000", 1680 * time.Millisecond, ""},
		{"a name to confuse", "77 (a) R 9 (9 9) S 1 77 77 0 -1 4194560 900 0 0 0 1 2 7 7 20 0 5 0 1000", 30 * time.Millisecond, ""},
		{"short", "77 (redis-server) S 1 77", 0, "no field 14"},
		{"a word", "77 (redis-server) S 1 77 77 0 -1 4194560 900 0 0 0 x 45 0", 0, "field 14"},
		{"nothing", "", 0, "no field 14"},
	} {
		got, err := parseStat(tt.in, utime, stime)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}

func TestParseStatOfEndedChildren(t *testing.T) {
	got, err := parseStat("77 (postgres) S 1 77 77 0 -1 4194560 900 0 0 0 1 2 30 400 20 0 5 0 1000", utime, stime, cutime, cstime)
	if err != nil || got != 4330*time.Millisecond {
		t.Errorf("%v, %v", got, err)
	}
}

func TestParseStatus(t *testing.T) {
	got, err := parseStatus("Name:\tx\nVmHWM:\t    9000 kB\nVmRSS:\t    8900 kB\nRssAnon:\t 1 kB\n")
	if err != nil || got != 8900<<10 {
		t.Errorf("%d, %v", got, err)
	}
	for _, in := range []string{"", "VmRSS:\tmany kB\n", "VmRSS:\t12\n"} {
		if _, err := parseStatus(in); err == nil {
			t.Errorf("%q has a resident size", in)
		}
	}
}

func TestVersions(t *testing.T) {
	for line, want := range map[string]bool{
		"PgBouncer 1.18.0": false, "PgBouncer 1.20.1": false, "PgBouncer 1.21.0": true, "PgBouncer 1.25.2": true,
		"PgBouncer 2.0": true, "PgBouncer 0.99": false, "PgBouncer 1.26.0-dev": true, "something else": true,
	} {
		if got := atLeast(line, preparedSince); got != want {
			t.Errorf("%s keeps prepared statements: %v, want %v", line, got, want)
		}
		c := Contender{cannot: withoutPrepared(line)}
		if why := c.Cannot(load.Workload{Prepared: true}); (why == "") != want || !want && !strings.HasPrefix(why, line) {
			t.Errorf("%s cannot run prepared statements: %q", line, why)
		}
		if why := c.Cannot(load.Workload{}); why != "" {
			t.Errorf("%s cannot run the rest: %q", line, why)
		}
	}
}

func TestPgBouncerINI(t *testing.T) {
	got, err := pgbouncerINI("127.0.0.1:5432", "127.0.0.1:6432", "", 20, false)
	if err != nil {
		t.Fatal(err)
	}
	want := `[databases]
postgres = host=127.0.0.1 port=5432 dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = 6432
unix_socket_dir =
listen_backlog = 4096
pool_mode = transaction
default_pool_size = 20
max_client_conn = 11000
log_connections = 0
log_disconnections = 0
`
	anybody := "auth_type = any\n"
	if got != want+anybody {
		t.Errorf("got:\n%s", got)
	}
	if got, err = pgbouncerINI("127.0.0.1:5432", "127.0.0.1:6432", "/users", 20, true); err != nil || got != want+"auth_type = scram-sha-256\nauth_file = /users\nmax_prepared_statements = 200\n" {
		t.Errorf("with prepared statements: %v\n%s", err, got)
	}
	if _, err := pgbouncerINI("nowhere", "127.0.0.1:6432", "", 20, false); err == nil {
		t.Error("a server without a port was taken")
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	program, text := filepath.Join(dir, "program"), filepath.Join(dir, "text")
	for path, mode := range map[string]os.FileMode{program: 0o755, text: 0o644} {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := Find(program, "rival", "rival"); err != nil || got != program {
		t.Errorf("asked for: %s, %v", got, err)
	}
	if got, err := Find("", "no-such-rival", "rival", text, program); err != nil || got != program {
		t.Errorf("in its place: %s, %v", got, err)
	}
	_, err := Find("", "no-such-rival", "rival-package", text)
	var missing *Missing
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "apt-get install rival-package") {
		t.Errorf("nowhere: %v", err)
	}
	// One that was asked for by path is not left out in silence.
	if _, err := Find(filepath.Join(dir, "wrong"), "rival", "rival"); err == nil || errors.As(err, &missing) {
		t.Errorf("a wrong path: %v", err)
	}
}

func TestHeeds(t *testing.T) {
	program := script(t, `echo "primary_url: $OUTRIGGER_PRIMARY_URL"; echo 'batching: "off" # from OUTRIGGER_BATCHING'; echo 'pool_size: 20'`)
	for variable, want := range map[string]bool{
		"OUTRIGGER_BATCHING=off": true, "OUTRIGGER_BATCHING=auto": false, "OUTRIGGER_POOL_SIZE=20": true, "OUTRIGGER_NOTHING=off": false,
	} {
		if got := Heeds(t.Context(), program, variable); got != want {
			t.Errorf("%s: %v, want %v", variable, got, want)
		}
	}
	if Heeds(t.Context(), script(t, "echo 'batching: off'; exit 1"), "OUTRIGGER_BATCHING=off") {
		t.Error("a program that refuses heeds it")
	}
}

// script writes a program.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestServices(t *testing.T) {
	for _, tt := range []struct {
		o       Options
		service load.Service
		servers int
		logins  bool
	}{
		{Options{}, load.Pooler, 20, false}, {Options{Service: load.SmallPool}, load.SmallPool, 4, false}, {Options{Service: load.Logins}, load.Logins, 20, true},
	} {
		if o := tt.o; o.service() != tt.service || o.poolSize() != tt.servers || o.logins() != tt.logins {
			t.Errorf("%+v: %s, %d servers, logins %v", o, o.service(), o.poolSize(), o.logins())
		}
	}
	for service, want := range map[load.Service]string{load.Pooler: "rival", load.SmallPool: "rival (pooler with 4 servers)"} {
		c := Contender{Name: "rival", addrs: map[load.Service]string{service: "x"}}
		if got := c.Label(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestRedisStartsAndEnds(t *testing.T) {
	program, err := Find("", "redis-server", "redis-server")
	if err != nil {
		t.Fatal(err)
	}
	c, err := StartRedis(t.Context(), program, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	if c.Addr(load.Cache) == "" || c.Addr(load.Pooler) != "" || !strings.Contains(c.Version, "Redis") || c.Cannot(load.Workload{}) != "" {
		t.Errorf("%+v", c)
	}
	before, err := c.CPU()
	if err != nil {
		t.Fatal(err)
	}
	w := load.RedisBenchmark{Program: "redis-benchmark", Clients: 10, Size: 10, Keys: 10}.Commands("SET", "SET", 16, 200_000)
	if _, err := w.Run(t.Context(), c.Addr(load.Cache)); err != nil {
		t.Fatal(err)
	}
	after, err := c.CPU()
	if err != nil || after <= before {
		t.Errorf("CPU time %v before 200,000 commands, %v after, %v", before, after, err)
	}
	if bytes, err := c.Memory(); err != nil || bytes < 1<<20 {
		t.Errorf("memory %d, %v", bytes, err)
	}
	if !strings.Contains(c.Log(), "Ready to accept connections") {
		t.Errorf("log: %s", c.Log())
	}
	pid := c.process.child.Pid()
	c.Stop()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
	if _, err := c.CPU(); err == nil {
		t.Error("an ended process has CPU time")
	}
}

func TestMemcachedStartsAndEnds(t *testing.T) {
	program, err := Find("", "memcached", "memcached")
	if err != nil {
		t.Fatal(err)
	}
	c, err := StartMemcached(t.Context(), program, t.TempDir(), Options{Memory: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	if !strings.Contains(c.Version, "memcached") || !strings.Contains(c.Settings, "-m 1024") || c.Cannot(load.Workload{}) != "" || c.Cannot(load.Workload{RESP: true}) == "" {
		t.Errorf("%+v", c)
	}
	l := load.CacheLoop{Clients: 2, Pipeline: 4, Sets: 50, Keys: 1000, Size: 100, Duration: 200 * time.Millisecond}
	if o, err := l.Workload("some").Run(t.Context(), c.Addr(load.Cache)); err != nil || o.Failed > 0 || o.Operations == 0 {
		t.Errorf("%+v, %v", o, err)
	}
}

// What does not start tells what it said, and leaves nothing behind.
func TestStartFailures(t *testing.T) {
	tried := 0
	shell := func(script string, ready func(context.Context, []string) error) recipe {
		return recipe{name: "rival", log: filepath.Join(t.TempDir(), "log"), ports: 1, ready: ready, command: func([]string) (*exec.Cmd, error) {
			tried++
			return exec.Command("sh", "-c", script), nil
		}}
	}
	never := func(context.Context, []string) error { return errors.New("not yet") }
	for _, tt := range []struct {
		name, script, want string
		tries              int
	}{
		{"ends", "echo no such setting; exit 3", "no such setting", 1},
		{"loses its port", "echo bind: Address already in use; exit 1", "already in use", portAttempts},
	} {
		tried = 0
		_, _, err := shell(tt.script, never).start(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "start rival") || tried != tt.tries {
			t.Errorf("%s: %d tries, %v", tt.name, tried, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopping := func(context.Context, []string) error { cancel(); return errors.New("not yet") }
	if _, _, err := shell("sleep 60", stopping).start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestDirectHasNoProcess(t *testing.T) {
	c := &Contender{Name: Direct}
	if _, err := c.CPU(); !errors.Is(err, ErrNoProcess) {
		t.Errorf("CPU: %v", err)
	}
	if _, err := c.Memory(); !errors.Is(err, ErrNoProcess) {
		t.Errorf("memory: %v", err)
	}
	c.Stop()
}
