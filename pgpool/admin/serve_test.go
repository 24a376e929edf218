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

// fake shows fixed rows, and notes what it is asked to do.
type fake struct {
	clients    int           // how many; the first is not idle
	err        error         // of every deed
	paused     chan struct{} // if not nil, PAUSE and WAIT_CLOSE wait for it
	onShutdown func()

	mu    sync.Mutex
	deeds []string // under mu
	state State    // under mu
}

func (f *fake) did(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deeds = append(f.deeds, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fake) log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.deeds, " ")
}

func (f *fake) wait(ctx context.Context, deed string) error {
	if f.paused == nil {
		return f.did("%s", deed)
	}
	f.did("%s…", deed)
	select {
	case <-f.paused:
		return f.did("%s", deed)
	case <-ctx.Done():
		f.did("left %s", deed)
		return ctx.Err()
	}
}

func (f *fake) Pause(ctx context.Context, db string) error { return f.wait(ctx, "pause("+db+")") }
func (f *fake) WaitClose(ctx context.Context, db string) error {
	return f.wait(ctx, "wait_close("+db+")")
}
func (f *fake) Resume(db string) error       { return f.did("resume(%s)", db) }
func (f *fake) Disable(db string) error      { return f.did("disable(%s)", db) }
func (f *fake) Enable(db string) error       { return f.did("enable(%s)", db) }
func (f *fake) Reconnect(db string) error    { return f.did("reconnect(%s)", db) }
func (f *fake) Kill(db string) error         { return f.did("kill(%s)", db) }
func (f *fake) KillClient(id uint64) error   { return f.did("kill_client(%d)", id) }
func (f *fake) Reload() error                { return f.did("reload()") }
func (f *fake) Set(name, value string) error { return f.did("set(%s, %s)", name, value) }

func (f *fake) Suspend(context.Context) error {
	f.mu.Lock()
	f.state.Suspended = true
	f.mu.Unlock()
	return f.did("suspend()")
}

func (f *fake) Shutdown(mode ShutdownMode) error {
	if f.onShutdown != nil {
		f.onShutdown()
	}
	return f.did("shutdown(%d)", mode)
}

func (f *fake) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

func (f *fake) Pools() []Pool {
	return []Pool{
		{Database: "shop", User: "app", Counts: Counts{ClientsActive: 1, ClientsWaiting: 2, CancelsActive: 3, CancelsWaiting: 4, ServersActive: 5,
			ServersActiveCancel: 6, ServersBeingCanceled: 7, ServersIdle: 8, ServersUsed: 9, ServersTested: 10, ServersLogin: 11},
			MaxWait: 12*time.Second + 13*time.Microsecond, PoolMode: "transaction", Server: "10.0.0.1:5432", Role: "primary"},
		{Database: "shop", User: "app", Counts: Counts{ClientsActive: 100, ServersIdle: 100}, PoolMode: "transaction", Server: "10.0.0.2:5432", Role: "replica"},
		{Database: "shop", User: "batch", PoolMode: "session", Server: "10.0.0.1:5432", Role: "primary"},
	}
}

func (f *fake) Clients() []Client {
	start := time.Date(2026, 11, 21, 8, 30, 0, 999, time.FixedZone("CET", 3600))
	list := []Client{{Conn{User: "app", Database: "shop", State: "active", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 50123},
		LocalAddr: &net.UnixAddr{Name: "/run/.s.PGSQL.6432", Net: "unix"}, ConnectTime: start, RequestTime: start.Add(time.Minute),
		Wait: 1500 * time.Millisecond, CloseNeeded: true, ID: 26, Link: 255, RemotePID: 4711, TLS: "TLSv1.3/TLS_AES_128_GCM_SHA256",
		ApplicationName: "Grüße", PreparedStatements: 3, FD: 11, Unread: 5, Unsent: 6}}}
	for i := len(list); i < f.clients; i++ {
		list = append(list, Client{Conn{User: "app", Database: "shop", State: "idle", ID: uint64(i + 26)}})
	}
	return append(list, Client{Conn{State: "login", ConnectTime: start, FD: 13}})
}

func (f *fake) Servers() []Server {
	return []Server{{Conn: Conn{User: "app", Database: "shop", State: "idle", ID: 255, Link: 26, FD: 12, ConnectTime: time.Unix(0, 0)},
		Role: "replica", XactCount: 1 << 40, QueryCount: 10_000_000}}
}

func (f *fake) Stats() []Stat {
	return []Stat{{Database: "shop",
		Total: Counters{ServerAssignments: 1, Xacts: 2, Queries: 3, Received: 4, Sent: 5, XactTime: 6 * time.Microsecond,
			QueryTime: 7 * time.Microsecond, WaitTime: 8 * time.Microsecond, ClientParses: 9, ServerParses: 10, Binds: 11},
		Period: Counters{ServerAssignments: 120, Xacts: 240, Queries: 360, Received: 480, Sent: 600, XactTime: 240 * 16 * time.Microsecond,
			QueryTime: 360 * 17 * time.Microsecond, WaitTime: 120 * 18 * time.Microsecond, ClientParses: 1140, ServerParses: 1200, Binds: 1260},
		PeriodLength: time.Minute},
		{Database: "stock", Total: Counters{Xacts: 1000}, Period: Counters{Xacts: 60}, PeriodLength: time.Minute}}
}

func (f *fake) Databases() []Database {
	return []Database{
		{Name: "shop", Host: "10.0.0.1", Port: 5432, Database: "shop_v2", ForceUser: "app", PoolSize: 20, MinPoolSize: 1, ReservePoolSize: 2,
			ServerLifetime: time.Hour, PoolMode: "transaction", MaxConnections: 50, CurrentConnections: 3, MaxClientConnections: 500,
			CurrentClientConnections: 4, Paused: true},
		{Name: "stock", Port: 5432, Database: "stock", PoolSize: 20, Disabled: true},
	}
}

func (f *fake) Users() []User {
	return []User{{Name: "app", PoolSize: 7, ReservePoolSize: 1, PoolMode: "session", MaxConnections: 8, CurrentConnections: 2, MaxClientConnections: 9,
		CurrentClientConnections: 3}, {Name: "batch"}}
}

func (f *fake) Memory() []Memory {
	return []Memory{{Name: "client", Size: 512, Used: 10, Free: 2, Total: 6144}}
}

func (f *fake) Config() []ConfigRow {
	return []ConfigRow{{Key: "max_client_conn", Value: "200", Default: "10000", Changeable: true},
		{Key: "max_user_connections", Value: "0", Default: "0", Changeable: true}, {Key: "pg_listen", Value: "127.0.0.1:6432", Default: "127.0.0.1:6432"}}
}

func (f *fake) Pins() []Pin {
	return []Pin{{ClientID: 26, User: "app", Database: "shop", ServerPID: 4711, Reason: "temporary table", Statement: "create temp table\n  t (id int)",
		Since: time.Date(2026, 11, 21, 7, 32, 0, 0, time.UTC)}}
}

func (f *fake) Statements() []Prepared {
	return []Prepared{{Name: "outrigger_1", SQL: "select " + strings.Repeat("x, ", 100), Uses: 1 << 33, Servers: 2, Bytes: 700}}
}

func (f *fake) Loops() []Loop {
	return []Loop{{ID: 0, Clients: 4, Servers: 3, Ticks: 1 << 34, Events: 1 << 35, Writes: 7, BytesIn: 8, BytesOut: 9, Posts: 10, LongestTick: 11 * time.Millisecond}}
}

func (f *fake) Health() []Health {
	return []Health{
		{Server: "10.0.0.1:5432", Role: "primary", State: "fenced", Reason: "old primary", Lag: -1, LagBytes: -1, Timeline: 1, SystemID: 1 << 62,
			LSN: 1<<32 + 255, Version: 150008, CheckedAt: time.Date(2026, 11, 21, 7, 32, 0, 0, time.UTC)},
		{Server: "10.0.0.2:5432", Role: "replica", State: "up", Lag: 1500 * time.Millisecond, LagBytes: 4096},
	}
}

func (f *fake) Routes() []RouteCount {
	return []RouteCount{{Database: "shop", Side: "primary", Reason: "write", Count: 1 << 34}, {Database: "shop", Side: "replica", Reason: "read", Count: 7}}
}

func (f *fake) Batches() []BatchCount {
	return []BatchCount{{Database: "shop", What: "batches", Count: 1 << 34}, {Database: "shop", What: "alone", Reason: "slow", Count: 7}}
}

func (f *fake) Members() []Member {
	return []Member{
		{Name: "a", State: "active", Self: true, Zone: "z1", Gossip: "10.0.0.1:7946", Peers: "10.0.0.1:7947", Redis: "10.0.0.1:6379", Version: 2,
			Since: time.Date(2026, 11, 21, 7, 32, 0, 0, time.UTC), Owned: 2048, Backed: 2000, Epoch: 1<<64 - 1, Mean: 2048},
		{Name: "b", State: "leaving", Gossip: "10.0.0.2:7946", Peers: "10.0.0.2:7947", Version: 1},
	}
}

func (f *fake) Route(q RouteQuestion) (RouteAnswer, error) {
	f.did("route(%s, %s, %s)", q.User, q.Database, q.SQL)
	return RouteAnswer{Database: "shop", User: "app", Class: "read", Hint: "replica", Flags: []string{"copy", "sequence"}, Names: []RouteName{{"function", "lower", "only reads"}, {"relation", "public.t", "only reads"}},
		Route: "auto", RouteFrom: "default", Side: "replica", Reason: "hint", Servers: []RouteServer{{"10.0.0.1:5432", "primary"},
			{"10.0.0.2:5432", "replica, usable"}, {"10.0.0.3:5432", "replica, not usable: down"}}}, nil
}

func (f *fake) DNSHosts() []DNSHost {
	return []DNSHost{{Host: "replicas.shop", TTL: 14900 * time.Millisecond, Addrs: []string{"10.0.0.2", "10.0.0.3"}}}
}

func (f *fake) Replicas() []Replica {
	return []Replica{
		{Databases: "shop,stock", Server: "10.0.0.1:5432", Role: "primary", Reason: "primary", Breaker: "closed", Weight: 1, Lag: -1, LagBytes: -1},
		{Databases: "shop,stock", Server: "10.0.0.2:5432", Role: "replica", Usable: true, Breaker: "half-open", Failures: 2, Opened: 3, Weight: 4,
			Backup: true, Zone: "eu-1a", PoolSize: 5, Reads: 6, Latency: 700 * time.Microsecond, Lag: 8 * time.Millisecond, LagBytes: 9},
	}
}

func (f *fake) Version() string { return "0.1.0" }

// listen serves consoles on the loopback, to anyone who asks. All sessions end before the test does.
func listen(t *testing.T, role Role, f *fake) *net.TCPAddr {
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
				if err := Serve(t.Context(), nc, role, f, f); err != nil {
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
			f := &fake{}
			conn := connect(t, listen(t, Admin, f), mode)
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
				if err != nil || len(pools) != 2 || pools[0]["maxwait_us"] != int32(13) || pools[0]["load_balance_hosts"] != nil || pools[0]["cl_active"] != int32(101) {
					t.Errorf("pools %v, error %v", pools, err)
				}
			}
			rows, err := conn.Query(ctx, "show loops")
			if err != nil {
				t.Fatal(err)
			}
			if loop, err := pgx.CollectExactlyOneRow(rows, pgx.RowToMap); err != nil || loop["events"] != int64(1<<35) || loop["longest_tick_us"] != int64(11_000) {
				t.Errorf("loop %v, error %v", loop, err)
			}
			for sql, want := range map[string]string{"reload": "RELOAD", "SET extra_float_digits = 3": "SET", "SET query_timeout = '5'": "SET query_timeout=5",
				"pause shop": "PAUSE"} {
				if tag, err := conn.Exec(ctx, sql); err != nil || tag.String() != want {
					t.Errorf("%s: tag %q, error %v", sql, tag, err)
				}
			}
			for _, deed := range []string{"reload()", "set(query_timeout, 5)", "pause(shop)"} {
				if !strings.Contains(f.log(), deed) {
					t.Errorf("did %q, not %s", f.log(), deed)
				}
			}
			tx, err := conn.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if status := conn.PgConn().TxStatus(); status != pgwire.InBlock {
				t.Errorf("after BEGIN: status %c", status)
			}
			if err := tx.Commit(ctx); err != nil || conn.PgConn().TxStatus() != pgwire.Idle {
				t.Errorf("commit: %v, status %c", err, conn.PgConn().TxStatus())
			}
			if err := conn.Ping(ctx); err != nil {
				t.Error("ping:", err)
			}
			if tag, err := conn.Exec(ctx, ""); err != nil || tag.String() != "" {
				t.Errorf("empty query: tag %q, error %v", tag, err)
			}
			_, err = conn.Exec(ctx, "SELECT 1")
			pgErr, ok := errors.AsType[*pgconn.PgError](err)
			if !ok || pgErr.Code != "42601" || !strings.Contains(pgErr.Hint, "SHOW HELP") || pgErr.Message != "unknown command: SELECT 1" {
				t.Errorf("got %#v", err)
			}
			var version string
			if err := conn.QueryRow(ctx, "show version").Scan(&version); err != nil || version != "PgBouncer 1.25.2 (Outrigger 0.1.0)" {
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
	addr := listen(t, Admin, &fake{})
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
	statements := []string{"reload", "pause", "kill_client 26", "set x = 'y z'", "set client_encoding to 'UTF8'", "show version; begin; commit -- two",
		"show nonsense", "disable", "pause outrigger", "", "show version; nonsense; reload", "show timezone", "show transaction isolation level"}
	for _, c := range commands() {
		if c.help != "" && len(c.fields) > 0 {
			statements = append(statements, c.sample())
		}
	}
	for _, sql := range statements {
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
