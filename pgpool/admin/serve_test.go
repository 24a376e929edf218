package admin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"go.uber.org/goleak"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeSource shows fixed rows.
type fakeSource struct {
	clients   int // how many; the first is not idle
	reloadErr error
	mu        sync.Mutex
	reloads   int // under mu
}

func (f *fakeSource) Pools() []Pool {
	return []Pool{
		{Database: "shop", User: "app", ClientsActive: 1, ClientsWaiting: 2, CancelsActive: 3, CancelsWaiting: 4, ServersActive: 5,
			ServersActiveCancel: 6, ServersBeingCanceled: 7, ServersIdle: 8, ServersUsed: 9, ServersTested: 10, ServersLogin: 11,
			MaxWait: 12*time.Second + 13*time.Microsecond, PoolMode: "transaction", Server: "10.0.0.1:5432", Role: "primary"},
		{Database: "shop", User: "app", PoolMode: "transaction", Server: "10.0.0.2:5432", Role: "replica"},
	}
}

func (f *fakeSource) Clients() []Client {
	start := time.Date(2026, 11, 21, 8, 30, 0, 999, time.FixedZone("CET", 3600))
	list := []Client{{Conn{User: "app", Database: "shop", State: "active", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 50123},
		LocalAddr: &net.UnixAddr{Name: "/run/.s.PGSQL.6432", Net: "unix"}, ConnectTime: start, RequestTime: start.Add(time.Minute),
		Wait: 1500 * time.Millisecond, CloseNeeded: true, ID: 26, Link: 255, RemotePID: 4711, TLS: "TLSv1.3/TLS_AES_128_GCM_SHA256",
		ApplicationName: "Grüße", PreparedStatements: 3}}}
	for i := len(list); i < f.clients; i++ {
		list = append(list, Client{Conn{User: "app", Database: "shop", State: "idle", ID: uint64(i + 26)}})
	}
	return list
}

func (f *fakeSource) Servers() []Server {
	return []Server{{Conn: Conn{User: "app", Database: "shop", State: "idle", ID: 255}, Role: "replica", XactCount: 1 << 40, QueryCount: 10_000_000}}
}

func (f *fakeSource) Stats() []Stat {
	return []Stat{{Database: "shop",
		Total: Counters{ServerAssignments: 1, Xacts: 2, Queries: 3, Received: 4, Sent: 5, XactTime: 6 * time.Microsecond,
			QueryTime: 7 * time.Microsecond, WaitTime: 8 * time.Microsecond, ClientParses: 9, ServerParses: 10, Binds: 11},
		Period: Counters{ServerAssignments: 120, Xacts: 240, Queries: 360, Received: 480, Sent: 600, XactTime: 240 * 16 * time.Microsecond,
			QueryTime: 360 * 17 * time.Microsecond, WaitTime: 120 * 18 * time.Microsecond, ClientParses: 1140, ServerParses: 1200, Binds: 1260},
		PeriodLength: time.Minute}}
}

func (f *fakeSource) Version() string { return "Outrigger 0.1.0" }

func (f *fakeSource) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reloads++
	return f.reloadErr
}

// listen serves consoles on the loopback, to anyone who asks. All sessions end before the test does.
func listen(t *testing.T, role Role, src Source) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(20 * time.Second))
				if err := login(nc); err != nil {
					t.Error(err)
					return
				}
				if err := Serve(nc, role, src); err != nil {
					t.Error(err)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); sessions.Wait() })
	return l.Addr().(*net.TCPAddr)
}

func login(nc net.Conn) error {
	for {
		st, err := pgwire.ReadStartup(nc)
		if err != nil {
			return fmt.Errorf("read startup: %w", err)
		}
		if st.Kind == pgwire.KindStartup {
			break
		}
		if _, err := nc.Write([]byte{'N'}); err != nil {
			return err
		}
	}
	_, err := nc.Write(pgwire.AppendAuthenticationOk(nil))
	return err
}

func connect(t *testing.T, addr net.Addr, mode string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://ops@%s/pgbouncer?sslmode=disable&default_query_exec_mode=%s", addr, mode))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestPgx(t *testing.T) {
	for _, mode := range []string{"simple_protocol", "exec", "describe_exec", "cache_describe", "cache_statement"} {
		t.Run(mode, func(t *testing.T) {
			src := &fakeSource{}
			conn := connect(t, listen(t, Admin, src), mode)
			ctx := t.Context()
			for range 2 { // the second time from the driver's cache
				rows, err := conn.Query(ctx, "SHOW SERVERS;")
				if err != nil {
					t.Fatal(err)
				}
				got, err := pgx.CollectExactlyOneRow(rows, pgx.RowToMap)
				if err != nil {
					t.Fatal(err)
				}
				if xacts := fmt.Sprint(got["xact_count"]); got["ptr"] != "0xff" || got["id"] != int32(255) || !strings.Contains(xacts, "1099511627776") {
					t.Errorf("got ptr %v, id %v, xact_count %v", got["ptr"], got["id"], xacts)
				}
			}
			for range 2 {
				rows, err := conn.Query(ctx, "show pools")
				if err != nil {
					t.Fatal(err)
				}
				pools, err := pgx.CollectRows(rows, pgx.RowToMap)
				if err != nil || len(pools) != 2 || pools[0]["maxwait_us"] != int32(13) || pools[0]["load_balance_hosts"] != nil || pools[1]["role"] != "replica" {
					t.Errorf("pools %v, error %v", pools, err)
				}
			}
			if tag, err := conn.Exec(ctx, "reload"); err != nil || tag.String() != "RELOAD" || src.reloads != 1 {
				t.Errorf("tag %q, error %v, %d reloads", tag, err, src.reloads)
			}
			if tag, err := conn.Exec(ctx, "SET extra_float_digits = 3"); err != nil || tag.String() != "SET" {
				t.Errorf("tag %q, error %v", tag, err)
			}
			if err := conn.Ping(ctx); err != nil {
				t.Error("ping:", err)
			}
			if tag, err := conn.Exec(ctx, ""); err != nil || tag.String() != "" {
				t.Errorf("empty query: tag %q, error %v", tag, err)
			}
			_, err := conn.Exec(ctx, "SELECT 1")
			pgErr, ok := errors.AsType[*pgconn.PgError](err)
			if !ok || pgErr.Code != "42601" || !strings.Contains(pgErr.Hint, "SHOW HELP") || pgErr.Message != "unknown command: select 1" {
				t.Errorf("got %#v", err)
			}
			var version string
			if err := conn.QueryRow(ctx, "show version").Scan(&version); err != nil || version != src.Version() {
				t.Errorf("after an error: version %q, error %v", version, err)
			}
		})
	}
}

func TestNumericBinary(t *testing.T) {
	types := pgtype.NewMap()
	for _, want := range []uint64{0, 1, 9999, 10_000, 10_001, 100_000_000, 1<<63 - 1} {
		var got int64
		if err := types.Scan(oidNumeric, formatBinary, binaryNumeric(want), &got); err != nil || uint64(got) != want {
			t.Errorf("%d came out as %d, error %v", want, got, err)
		}
	}
}

func TestPsql(t *testing.T) {
	addr := listen(t, Admin, &fakeSource{})
	psql := func(args ...string) string {
		t.Helper()
		args = append([]string{"-X", "-h", "127.0.0.1", "-p", fmt.Sprint(addr.Port), "-U", "ops"}, args...)
		cmd := exec.CommandContext(t.Context(), "psql", append(args, "pgbouncer")...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return string(out) + err.Error() + "\n"
		}
		return string(out)
	}
	var got strings.Builder
	for _, sql := range []string{"show clients", "show servers", "show pools;", "SHOW STATS", "show version", "show help", "reload", "set x = y",
		"show version; begin; commit -- two", "show nonsense", "", "show version; nonsense; reload"} {
		fmt.Fprintf(&got, "-- %s --\n%s", sql, psql("-x", "-c", sql))
	}
	golden(t, "psql.golden", got.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		if i >= len(gotLines) || i >= len(wantLines) || gotLines[i] != wantLines[i] {
			t.Fatalf("%s differs from line %d on; got:\n%s", path, i+1, strings.Join(gotLines[min(i, len(gotLines)):], "\n"))
		}
	}
}
