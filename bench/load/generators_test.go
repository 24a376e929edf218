package load

import (
	"bufio"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The parsers must understand what the installed pgbench really prints, in every mode and with more than one log file.
func TestPgbenchForReal(t *testing.T) {
	servers, err := devpg.Start(t.Context(), devpg.Options{})
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
	p := Pgbench{Program: filepath.Join(servers.BinDir(), "pgbench"), User: devpg.User, Database: devpg.Database, Seconds: 1}
	for _, w := range []Workload{
		p.Workload(Transactions{Name: "select", Scripts: []Script{{Builtin: "select-only"}}, Mode: "prepared", Clients: 4, Sample: 0.5}),
		p.Workload(Transactions{Name: "write", Scripts: []Script{{Builtin: "tpcb-like"}}, Mode: "simple", Clients: 1, Sample: 1}),
		p.Workload(Transactions{Name: "both", Scripts: []Script{{Builtin: "select-only", Weight: 9}, {SQL: writeScript}}, Mode: "simple", Clients: 2, Sample: 1}),
		p.Workload(Transactions{Name: "large", Scripts: []Script{{SQL: megabyteScript}}, Mode: "simple", Clients: 1, Sample: 1}),
		p.Workload(Transactions{Name: "connect", Scripts: []Script{{Builtin: "select-only"}}, Mode: "simple", Clients: 2, Reconnect: true}),
	} {
		o, err := w.Run(t.Context(), servers.Addr(0))
		if err != nil {
			t.Fatalf("%v; it said:\n%s", err, o.Output)
		}
		if o.Operations <= 0 || o.Failed != 0 || o.Rate <= 0 || o.Average <= 0 {
			t.Errorf("%s: %+v", w.Name, o)
		}
		if w.Name == "connect" {
			if o.Percentiles != (Percentiles{}) {
				t.Errorf("percentiles without the login: %+v", o.Percentiles)
			}
		} else if o.P50 <= 0 || o.P95 < o.P50 || o.P99 < o.P95 || o.P999 < o.P99 || o.P999 > time.Minute {
			t.Errorf("%s: %+v", w.Name, o.Percentiles)
		}
		if !strings.HasPrefix(o.Command, "pgbench -n -") {
			t.Errorf("command line %q", o.Command)
		}
	}

	if n, err := servers.Psql(t.Context(), 0, "select count(*) > 0 from pgbench_accounts where abalance <> 0"); err != nil || n != "t" {
		t.Errorf("nothing was written: %s, %v", n, err)
	}
	one := Transactions{Scripts: []Script{{Builtin: "select-only"}}, Mode: "simple", Clients: 1, Sample: 1}
	gone := net.JoinHostPort("127.0.0.1", "1")
	if o, err := p.Workload(one).Run(t.Context(), gone); err == nil || !strings.Contains(err.Error(), "pgbench: ") || o.Output == "" {
		t.Errorf("a server that is not there: %v, output %q", err, o.Output)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Workload(one).Run(ctx, servers.Addr(0)); err == nil {
		t.Error("a cancelled run has no error")
	}
}

func redisServer(t *testing.T) (addr string) { return redistest.Start(t) }

// sayServer answers everybody's first line with some text, and ends.
func sayServer(t *testing.T, text string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
			_, _ = io.WriteString(conn, text)
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return l.Addr().String()
}

func TestRedisBenchmarkForReal(t *testing.T) {
	addr := redisServer(t)
	b := RedisBenchmark{Program: "redis-benchmark", Clients: 5, Size: 10, Keys: 100}
	for _, test := range []string{"SET", "GET", "INCR", "HSET", "LPUSH", "ZADD"} {
		o, err := b.Commands("some", test, 4, 2000).Run(t.Context(), addr)
		if err != nil {
			t.Fatalf("%v; it said:\n%s", err, o.Output)
		}
		if o.Operations != 2000 || o.Rate <= 0 || o.P99 <= 0 {
			t.Errorf("%s: %+v", test, o)
		}
	}
}
