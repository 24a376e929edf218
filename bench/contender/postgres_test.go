package contender

import (
	"strconv"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

func TestHAProxyCfg(t *testing.T) {
	got := haproxyCfg("127.0.0.1:5432", "127.0.0.1:6432", 64)
	want := `global
  maxconn 65
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen postgres
  bind 127.0.0.1:6432 backlog 4096
  server primary 127.0.0.1:5432
`
	if got != want {
		t.Errorf("got:\n%s", got)
	}
}

// A relay, and what the servers behind it tell of themselves.
func TestHAProxyAndPostgres(t *testing.T) {
	servers, err := devpg.Start(t.Context(), devpg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := servers.Stop(); err != nil {
			t.Error(err)
		}
	})
	pg, err := OfServers(t.Context(), servers)
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Close()
	before, err := pg.CPU()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if n, err := pg.Busy(begin); err != nil || n != 0 {
		t.Errorf("%d connections are busy before there are any: %v", n, err)
	}
	client, err := load.Connect(t.Context(), servers.Addr(0), auth.NewCredentials(User, Password))
	if err != nil {
		t.Fatal(err)
	}
	text, err := client.Value("select pg_backend_pid()", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	backend, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	// So much that rounding does not matter: the kernel counts in steps of 10 ms.
	const enough, rounding = 300 * time.Millisecond, 50 * time.Millisecond
	var own time.Duration
	for deadline := time.Now().Add(time.Minute); own < enough; {
		if err := client.Query("select count(*) from generate_series(1, 1000000)", time.Minute); err != nil {
			t.Fatal(err)
		}
		if own, err = cpuTime(backend); err != nil || time.Now().After(deadline) {
			t.Fatalf("the backend has used %v: %v", own, err)
		}
	}
	if after, err := pg.CPU(); err != nil || after < before+own-rounding {
		t.Errorf("CPU time %v before, %v after a backend took %v: %v", before, after, own, err)
	}
	if n, err := pg.Busy(begin); err != nil || n != 1 {
		t.Errorf("%d busy connections, want 1: %v", n, err)
	}
	if n, err := pg.Busy(time.Now().Add(time.Hour)); err != nil || n != 0 {
		t.Errorf("%d connections will be busy in an hour: %v", n, err)
	}
	client.Close()
	// The time of a server that has ended stays in the sum.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		_, err := cpuTime(backend)
		if err != nil && ended(err) {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the backend is still there: %v", err)
		}
	}
	if after, err := pg.CPU(); err != nil || after < before+own-rounding {
		t.Errorf("CPU time %v before, %v when a backend that took %v had ended: %v", before, after, own, err)
	}
	if n, err := pg.Busy(begin); err != nil || n != 0 {
		t.Errorf("%d busy connections, want none: %v", n, err)
	}

	program, err := Find("", "haproxy", "haproxy", "/usr/sbin/haproxy")
	if err != nil {
		t.Fatal(err)
	}
	c, err := StartHAProxy(t.Context(), program, t.TempDir(), servers.Addr(0), 16)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	if why := c.Cannot(load.Workload{Clients: 17}); why == "" || c.Cannot(load.Workload{Clients: 16}) != "" {
		t.Errorf("17 clients: %q, 16: %q", why, c.Cannot(load.Workload{Clients: 16}))
	}
	if bytes, err := c.Memory(); err != nil || bytes < 1<<20 {
		t.Errorf("memory %d, %v", bytes, err)
	}
}
