package contender

import (
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
	// Until it shows, however coarse the kernel counts.
	const work = "select count(*) from generate_series(1, 1000000)"
	for deadline := time.Now().Add(time.Minute); ; {
		if err := client.Query(work, time.Minute); err != nil {
			t.Fatal(err)
		}
		after, err := pg.CPU()
		if err != nil {
			t.Fatal(err)
		}
		if after > before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("CPU time %v before a minute of queries, %v after", before, after)
		}
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
		n, err := pg.Busy(begin)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d busy, %v", n, err)
		}
		if n == 0 {
			break
		}
	}
	if after, err := pg.CPU(); err != nil || after <= before {
		t.Errorf("CPU time %v before, %v when the server had ended, %v", before, after, err)
	}

	program, err := Find("", "haproxy", "haproxy", "/usr/sbin/haproxy")
	if err != nil {
		t.Skip(err) // it is the benchmark's, not the tests'
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
