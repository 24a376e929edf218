package pgbouncer_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
	"github.com/outrigger-proxy/outrigger/cmd/internal/config/pgbouncer"
)

// write puts files into a directory and returns its path. $DIR in them is the directory.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(content, "$DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// convert converts the file pgbouncer.ini among files, and reads the result.
func convert(t testing.TB, files map[string]string) (*pgbouncer.Conversion, *config.Config) {
	t.Helper()
	dir := write(t, files)
	converted, err := pgbouncer.Convert(filepath.Join(dir, "pgbouncer.ini"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "outrigger.yaml")
	if err := os.WriteFile(path, []byte(converted.YAML), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Sources{File: path})
	if err != nil {
		t.Fatalf("%v\nfrom:\n%s", err, converted.YAML)
	}
	return converted, c
}

var everything = map[string]string{
	"users.txt": `"app" "x"`,
	"conf.d/databases.ini": `; connection strings
own = host=/var/run/postgresql user=own password='it''s /@:' dbname=real pool_size=5 min_pool_size=9 reserve_pool=2 connect_query='set x to ''1'''
"my ""db""" = host=10.0.0.1 port = 5433 user=u pool_mode=session max_db_connections=7 max_db_client_connections=8 query_wait_timeout=9 server_lifetime=10
many=host=a,b,::1 user=u application_name=x load_balance_hosts=disable
`,
	"pgbouncer.ini": `# comment
[databases]
%include conf.d/databases.ini
* = host=fallback user=top password=secret pool_size=3
[users]
report = pool_mode=statement pool_size=2 reserve_pool_size=1 max_user_connections=4 max_user_client_connections=5 query_timeout=6 query_wait_timeout=-1 idle_transaction_timeout=7 transaction_timeout=8 client_idle_timeout=9
[peers]
1 = host=/tmp/other
[pgbouncer]
listen_addr = 127.0.0.1, *
listen_port = 6543
unix_socket_dir = $DIR
auth_type = scram-sha-256
auth_file = $DIR/users.txt
auth_user = lookup
auth_query = SELECT * FROM public.lookup($1)
pool_mode = transaction
max_client_conn = 500
default_pool_size = 11
min_pool_size = 1
reserve_pool_size = 3
reserve_pool_timeout = 1.5
max_db_connections = 40
max_user_connections = 41
max_db_client_connections = 42
max_user_client_connections = 43
server_round_robin = 1
ignore_startup_parameters = extra_float_digits, options
application_name_add_host = 1
max_prepared_statements = 300
admin_users = root, boss
stats_users = scraper
server_reset_query = SELECT 1
server_check_delay = 31
server_check_query = select 1
server_lifetime = 1200
server_idle_timeout = 60
server_connect_timeout = 3
server_login_retry = 4
client_login_timeout = 5
query_wait_notify = 6
query_timeout = 7
query_wait_timeout = 8
cancel_wait_timeout = 9
client_idle_timeout = 10
idle_transaction_timeout = 11
transaction_timeout = 12
max_packet_size = 1000000
so_reuseport = 1
client_tls_sslmode = disable
client_tls_protocols = tlsv1.3
server_tls_sslmode = require
server_tls_protocols = all
verbose = 1
pidfile = /run/x.pid
tcp_keepidle = 5
server_tls_ciphers = HIGH
wibble = 1
`,
}

// Everything that a pgbouncer.ini can say arrives where our own loader reads it.
func TestEverything(t *testing.T) {
	converted, c := convert(t, everything)
	for _, want := range []config.Database{
		{Name: "own", DBName: "real", PrimaryURL: "postgres://own:it%27s%20%2F%40%3A@/real?host=%2Fvar%2Frun%2Fpostgresql&port=5432"},
		{Name: `my "db"`, DBName: `my "db"`, PrimaryURL: "postgres://u@10.0.0.1:5433/my%20%22db%22"},
		{Name: "many", DBName: "many", PrimaryURL: "postgres://u@a:5432/many", ReplicaURLs: []string{"postgres://u@b:5432/many", "postgres://u@[::1]:5432/many"}},
		{Name: "*", DBName: "other", PrimaryURL: "postgres://top:secret@fallback:5432/postgres"},
	} {
		name := want.Name
		if name == "*" {
			name = "other"
		}
		got, _ := c.Database(name)
		if got.Name != want.Name || got.DBName != want.DBName || got.PrimaryURL != want.PrimaryURL || !slices.Equal(got.ReplicaURLs, want.ReplicaURLs) {
			t.Errorf("database %s is %+v, want %+v", name, got, want)
		}
	}
	s := time.Second
	top := config.Pool{Mode: "transaction", DefaultPoolSize: 11, MinPoolSize: 1, ReservePoolSize: 3, ReservePoolTimeout: 1500 * time.Millisecond,
		MaxDBConnections: 40, MaxUserConnections: 41, MaxDBClientConnections: 42, MaxUserClientConnections: 43,
		QueryWaitTimeout: 8 * s, QueryWaitNotify: 6 * s, QueryTimeout: 7 * s, IdleTransactionTimeout: 11 * s, TransactionTimeout: 12 * s,
		ClientIdleTimeout: 10 * s, ClientLoginTimeout: 5 * s, CancelWaitTimeout: 9 * s, ServerLifetime: 1200 * s, ServerIdleTimeout: 60 * s,
		ServerResetQuery: "SELECT 1", MaxPreparedStatements: 300,
		Batching: "auto", BatchMax: 16, BatchMaxTime: 2 * time.Millisecond, BatchMaxReply: 16 << 10, Route: "auto", Consistency: "session", LoadBalance: "least_connections",
		ReadsWithoutReplica: "primary", MaxReplicaLag: 10 * s, FailoverWait: 30 * s}
	if !reflect.DeepEqual(c.Pool, top) {
		t.Errorf("the top level is\n%+v, want\n%+v", c.Pool, top)
	}
	own, mine, fallback, report := top, top, top, top
	own.DefaultPoolSize, own.MinPoolSize, own.ReservePoolSize, own.ConnectQuery = 5, 5, 2, "set x to '1'"
	mine.Mode, mine.MaxDBConnections, mine.MaxDBClientConnections, mine.QueryWaitTimeout, mine.ServerLifetime = "session", 7, 8, 9*s, 10*s
	fallback.DefaultPoolSize = 3
	report.Mode, report.DefaultPoolSize, report.ReservePoolSize, report.MaxUserConnections, report.MaxUserClientConnections = "statement", 2, 1, 4, 5
	report.QueryTimeout, report.IdleTransactionTimeout, report.TransactionTimeout, report.ClientIdleTimeout = 6*s, 7*s, 8*s, 9*s
	for _, tt := range []struct {
		database, user string
		want           config.Pool
	}{{"own", "u", own}, {`my "db"`, "u", mine}, {"other", "u", fallback}, {"other", "report", report}} {
		if got := c.PoolFor(tt.database, tt.user); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("pool of %s and %s is\n%+v, want\n%+v", tt.database, tt.user, got, tt.want)
		}
	}
	for name, pair := range map[string][2]any{
		"pg_listen":                 {c.PGListen, []string{"127.0.0.1:6543", ":6543"}},
		"client_auth":               {c.ClientAuth, "scram-sha-256"},
		"auth_user":                 {c.AuthUser, "lookup"},
		"auth_query":                {c.AuthQuery, "SELECT * FROM public.lookup($1)"},
		"max_client_conn":           {c.MaxClientConn, 500},
		"server_round_robin":        {c.ServerRoundRobin, true},
		"ignore_startup_parameters": {c.IgnoreStartup, []string{"extra_float_digits", "options"}},
		"application_name_add_host": {c.AppNameAddHost, true},
		"admin_users":               {c.AdminUsers, []string{"root", "boss"}},
		"stats_users":               {c.StatsUsers, []string{"scraper"}},
		"server_check_delay":        {c.ServerCheckDelay, 31 * s},
		"server_check_query":        {c.ServerCheckQuery, "select 1"},
		"server_connect_timeout":    {c.ServerConnectTimeout, 3 * s},
		"server_login_retry":        {c.ServerLoginRetry, 4 * s},
		"max_packet_size":           {c.MaxPacketSize, int64(1000000)},
		"so_reuseport":              {c.ReusePort, true},
		"client_tls_protocols":      {c.ClientTLS.Protocols, []string{"tlsv1.3"}},
		"server_tls_sslmode":        {c.ServerTLS.SSLMode, "require"},
		"server_tls_protocols":      {c.ServerTLS.Protocols, []string{"tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3"}},
		"log_level":                 {c.LogLevel, "debug"},
		"as_client":                 {c.AsClient, false},
		"cache":                     {c.Cache, false},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s is %v, want %v", name, pair[0], pair[1])
		}
	}
	for _, want := range []string{"peers", "pidfile", "tcp_keepidle", "server_tls_ciphers", "wibble", "many.application_name", "many.load_balance_hosts", "many.host"} {
		if !slices.ContainsFunc(converted.Notes, func(n pgbouncer.Note) bool {
			return n.Setting == want && n.Advice != "" && strings.Contains(n.Where, ".ini:")
		}) {
			t.Errorf("no note about %s in %v", want, converted.Notes)
		}
	}
	for _, n := range converted.Notes {
		if !strings.Contains(converted.YAML, "#   "+n.String()+"\n") {
			t.Errorf("no comment says: %v", n)
		}
		if strings.Contains(n.String(), "secret") {
			t.Errorf("a password in %v", n)
		}
	}
}

// What PgBouncer does by default, ours is told to do.
func TestDefaults(t *testing.T) {
	dir := t.TempDir()
	_, c := convert(t, map[string]string{"users.txt": `"app" "x"`,
		"pgbouncer.ini": "[databases]\napp = host=db user=u\n[pgbouncer]\nunix_socket_dir=" + dir + "\nauth_file = $DIR/users.txt\n"})
	if c.Pool.Mode != "session" || c.MaxClientConn != 100 || c.Pool.MaxPreparedStatements != 200 || c.ServerLoginRetry != 15*time.Second ||
		c.ClientAuth != "md5" || len(c.PGListen) != 0 || c.PGSocket() != dir+"/.s.PGSQL.6432" {
		t.Errorf("got %+v", c)
	}
	if _, ok := c.Database("other"); ok {
		t.Error("a fallback out of nowhere")
	}
}

// as_client stands for connection strings without user=.
func TestClientsLogInThemselves(t *testing.T) {
	converted, c := convert(t, map[string]string{"users.txt": `"app" "x"`, "pgbouncer.ini": `[databases]
app = host=db auth_user=lookup
forced = host=db user=x auth_user=lookup
[pgbouncer]
listen_addr = localhost
auth_file = $DIR/users.txt
`})
	if d, _ := c.Database("app"); !c.AsClient || d.PrimaryURL != "postgres://lookup@db:5432/app" || c.AuthUser != "lookup" {
		t.Errorf("as_client %v, auth_user %q, %+v", c.AsClient, c.AuthUser, d)
	}
	if !slices.ContainsFunc(converted.Notes, func(n pgbouncer.Note) bool { return n.Setting == "forced" && strings.Contains(n.Advice, "as_client") }) {
		t.Errorf("no note about the forced user: %v", converted.Notes)
	}
}

func TestAuthTypes(t *testing.T) {
	for kind, want := range map[string]struct {
		method string
		noted  bool
	}{
		"trust": {"trust", true}, "any": {"trust", true}, "md5": {"md5", false}, "scram-sha-256": {"scram-sha-256", false}, "plain": {"scram-sha-256", true},
		"hba": {"scram-sha-256", true}, "ldap": {"scram-sha-256", true}, "pam": {"scram-sha-256", true},
	} {
		converted, c := convert(t, map[string]string{"users.txt": `"app" "x"`,
			"pgbouncer.ini": "[databases]\n*=host=db user=u password=p\n[pgbouncer]\nlisten_addr=*\nauth_file = $DIR/users.txt\nauth_type=" + kind})
		noted := slices.ContainsFunc(converted.Notes, func(n pgbouncer.Note) bool { return n.Setting == "auth_type" })
		if c.ClientAuth != want.method || noted != want.noted || c.AllowInsecure != (want.method == "trust") {
			t.Errorf("%s gave %s, noted %v, allow_insecure %v", kind, c.ClientAuth, noted, c.AllowInsecure)
		}
	}
}

// Values that we cannot have are taken as the nearest, or left out, with a note; the result still loads.
func TestNotQuiteTheSame(t *testing.T) {
	for line, setting := range map[string]string{
		"max_prepared_statements = 0": "max_prepared_statements", "default_pool_size = 0": "default_pool_size", "server_lifetime = 0": "server_lifetime",
		"min_pool_size = 30": "min_pool_size", "max_client_conn = 99999999999": "max_client_conn", "unix_socket_dir = @abstract": "unix_socket_dir",
		"auth_query = SELECT 1\nauth_user = a": "auth_query", "server_reset_query =": "server_reset_query", "listen_addr =\nlisten_port = 7000": "listen_port",
		"disable_pqexec = 1": "disable_pqexec", "unix_socket_mode = 0700": "unix_socket_mode",
	} {
		converted, _ := convert(t, map[string]string{"users.txt": `"app" "x"`,
			"pgbouncer.ini": "[databases]\napp = host=db user=u\n[pgbouncer]\nlisten_addr = 127.0.0.1\nauth_file = $DIR/users.txt\n" + line + "\n"})
		if !slices.ContainsFunc(converted.Notes, func(n pgbouncer.Note) bool { return n.Setting == setting }) {
			t.Errorf("%s: no note: %v", line, converted.Notes)
		}
	}
}

func TestBad(t *testing.T) {
	long := map[string]string{"pgbouncer.ini": "[pgbouncer]\n%include pgbouncer.ini\n%include pgbouncer.ini\n"}
	for _, tt := range []struct {
		files map[string]string
		want  []string
	}{
		{map[string]string{}, []string{"cannot read ", "pgbouncer.ini: no such file"}},
		{map[string]string{"pgbouncer.ini": "[pgbouncer]\n%include missing.ini\nnonsense\n%frob\n[x\n"},
			[]string{"pgbouncer.ini:2: cannot read", "missing.ini: no such file", "pgbouncer.ini:3: not `key = value`", "pgbouncer.ini:4: %include", "pgbouncer.ini:5: a section"}},
		{map[string]string{"pgbouncer.ini": "[pgbouncer]\n%include sub/one.ini", "sub/one.ini": "x = 1\n%include two.ini", "sub/two.ini": "query_timeout = soon"},
			[]string{"sub/two.ini:1: query_timeout: \"soon\" is not a number of seconds"}},
		{long, []string{"more than 10 files include each other", "more than 1000 files"}},
		{map[string]string{"pgbouncer.ini": "a = 1"}, []string{"before the first [section]"}},
		{map[string]string{"pgbouncer.ini": "[databases]\na = host\nb = host='x\nc = frob=1\nd = host=h port=0 user=u\ne = pool_size=x\nf = host='a/b' user=u\ng = pool_mode=x\nh = password=hunter2 hunter2\n"},
			[]string{":2: a: ", ":3: b: host has no value", ":4: c.frob: is no parameter", ":5: d.port: is no port", ":6: pool_size: ", ":7: f.host: is no host", ":8: pool_mode: ", ":9: h: "}},
		{map[string]string{"pgbouncer.ini": "[pgbouncer]\nlisten_port=x\nauth_type=x\nserver_tls_sslmode=x\nso_reuseport=yes\nmax_client_conn=-\nmin_pool_size=x"},
			[]string{":2: listen_port", ":3: auth_type", ":4: server_tls_sslmode", ":5: so_reuseport", ":6: max_client_conn", ":7: min_pool_size"}},
		{map[string]string{"pgbouncer.ini": "[users]\nu = query_timeout=x\n"}, []string{":2: query_timeout"}},
	} {
		_, err := pgbouncer.Convert(filepath.Join(write(t, tt.files), "pgbouncer.ini"))
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q is missing from:\n%v", want, err)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a password in: %v", err)
		}
	}
}
