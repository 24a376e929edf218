package config

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const dsn = "postgres://app:s3cret@db:5432/app"

// write puts content into a file and returns its path.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load reads a file's content, variables, and flags given as name=value.
func load(t testing.TB, content string, environ []string, args ...string) (*Config, error) {
	t.Helper()
	src := Sources{Environ: environ, Flags: Flags()}
	if content != "" {
		src.File = write(t, "outrigger.yaml", content)
	}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		i := slices.IndexFunc(src.Flags, func(f *Flag) bool { return f.Name() == name })
		if i < 0 {
			t.Fatalf("no flag --%s", name)
		}
		if err := src.Flags[i].Set(value); err != nil {
			t.Fatal(err)
		}
	}
	return Load(src)
}

func TestDefaults(t *testing.T) {
	c, err := load(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"pg_listen": "127.0.0.1:6432", "cache_listen": "127.0.0.1:6379", "gossip_listen": "127.0.0.1:7946", "peer_listen": "127.0.0.1:7947",
		"http_listen": "127.0.0.1:7948", "pool_mode": "transaction", "default_pool_size": "20", "max_client_conn": "10000",
		"client_auth": "", "cancel_wait_timeout": "10s", "query_wait_notify": "5s", "max_packet_size": "1GiB", "min_pool_size": "0",
		"reserve_pool_timeout": "5s", "server_check_delay": "30s", "server_reset_query": "DISCARD ALL", "client_tls_protocols": "tlsv1.2,tlsv1.3",
		"query_wait_timeout": "120s", "server_lifetime": "3600s", "server_idle_timeout": "600s",
		"server_connect_timeout": "15s", "server_login_retry": "1s", "client_login_timeout": "60s", "max_prepared_statements": "500",
		"drain_timeout": "25s", "cache": "on", "allow_insecure": "off",
	} {
		for s, got := range c.Values {
			if s.Name == name && got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}
	if c.Loops < 1 || c.NodeName == "" {
		t.Errorf("loops %d, node name %q: want both derived", c.Loops, c.NodeName)
	}
	if len(c.Warnings()) != 1 {
		t.Errorf("warnings %q, want the one about serving the cache alone", c.Warnings())
	}
}

// Who names a service to join and leaves the listeners where they are is told.
func TestWarningOfUnreachableGossip(t *testing.T) {
	for _, tt := range []struct {
		file string
		warn bool
	}{
		{"join: [localhost:1, 127.0.0.1:2, '[::1]:3']", false},
		{"join: [127.0.0.1:2, outrigger.default.svc]", true},
		{"join: 10.0.0.1:7946", true},
		{"join: srv+cache.example", true},
		{"join: 10.0.0.1:7946\ngossip_listen: 0.0.0.0:7946\npeer_listen: 0.0.0.0:7947\nallow_insecure: on", false},
		{"join: 10.0.0.1:7946\ncache: off\nprimary_url: postgres://u@p/d", false},
	} {
		c, err := load(t, tt.file, nil)
		if err != nil {
			t.Fatalf("%s: %v", tt.file, err)
		}
		if got := strings.Contains(strings.Join(c.Warnings(), "\n"), "gossip_listen is 127.0.0.1:7946"); got != tt.warn {
			t.Errorf("%s: warned %v: %q", tt.file, got, c.Warnings())
		}
	}
}

func TestGood(t *testing.T) {
	userlist := write(t, "userlist.txt", `"app" "x"`)
	tests := []struct {
		name    string
		file    string
		environ []string
		args    []string
		field   func(*Config) any
		want    any
	}{
		{"file", "primary_url: " + dsn, nil, nil, func(c *Config) any { return c.PrimaryURL }, dsn},
		{"environment over file", "zone: a", []string{"OUTRIGGER_ZONE=b"}, nil, func(c *Config) any { return c.Zone }, "b"},
		{"flag over environment", "zone: a", []string{"OUTRIGGER_ZONE=b"}, []string{"zone=c"}, func(c *Config) any { return c.Zone }, "c"},
		{"last variable wins", "", []string{"OUTRIGGER_ZONE=a", "OUTRIGGER_ZONE=b"}, nil, func(c *Config) any { return c.Zone }, "b"},
		{"alias", "", []string{"PRIMARY_DB_URL=" + dsn}, nil, func(c *Config) any { return c.PrimaryURL }, dsn},
		{"name over alias", "", []string{"OUTRIGGER_PRIMARY_URL=" + dsn, "PRIMARY_DB_URL=postgres://x@y"}, nil, func(c *Config) any { return c.PrimaryURL }, dsn},
		{"alias of a list", "primary_url: " + dsn, []string{"READ_REPLICA_URL=postgres://a@b,postgres://c@d"}, nil,
			func(c *Config) any { return c.ReplicaURLs }, []string{"postgres://a@b", "postgres://c@d"}},
		{"list in one line", "admin_users: a, b,", nil, nil, func(c *Config) any { return c.AdminUsers }, []string{"a", "b"}},
		{"list of lines", "admin_users:\n- a\n- b", nil, nil, func(c *Config) any { return c.AdminUsers }, []string{"a", "b"}},
		{"flag repeated", "", nil, []string{"admin-users=a", "admin-users=b"}, func(c *Config) any { return c.AdminUsers }, []string{"a", "b"}},
		{"empty list over a list", "admin_users: a", nil, []string{"admin-users="}, func(c *Config) any { return c.AdminUsers }, []string(nil)},
		{"several addresses", "pg_listen: '127.0.0.1:1, [::1]:1'", nil, nil, func(c *Config) any { return c.PGListen }, []string{"127.0.0.1:1", "[::1]:1"}},
		{"join without a port", "join: [pods.example, 10.0.0.1:7000, '::1']", nil, nil, func(c *Config) any { return c.Join },
			[]string{"pods.example:7946", "10.0.0.1:7000", "[::1]:7946"}},
		{"bare seconds", "server_lifetime: 90", nil, nil, func(c *Config) any { return c.Pool.ServerLifetime }, 90 * time.Second},
		{"fractional seconds", "server_lifetime: 0.25", nil, nil, func(c *Config) any { return c.Pool.ServerLifetime }, 250 * time.Millisecond},
		{"milliseconds", "server_lifetime: 500ms", nil, nil, func(c *Config) any { return c.Pool.ServerLifetime }, 500 * time.Millisecond},
		{"never", "query_wait_timeout: 0", nil, nil, func(c *Config) any { return c.Pool.QueryWaitTimeout }, time.Duration(0)},
		{"MiB", "max_memory: 64MiB", nil, nil, func(c *Config) any { return c.MaxMemory }, int64(64 << 20)},
		{"gb", "max_memory: 2 gb", nil, nil, func(c *Config) any { return c.MaxMemory }, int64(2 << 30)},
		{"bytes", "max_memory: 2000000", nil, nil, func(c *Config) any { return c.MaxMemory }, int64(2000000)},
		{"yes", "allow_insecure: yes", nil, nil, func(c *Config) any { return c.AllowInsecure }, true},
		{"false", "cache: false\nprimary_url: " + dsn, nil, nil, func(c *Config) any { return c.Cache }, false},
		{"http off", "http_listen: off", nil, nil, func(c *Config) any { return c.HTTPListen }, ""},
		{"empty file", "# nothing yet\n", nil, nil, func(c *Config) any { return c.Pool.Mode }, "transaction"},
		{"null leaves it empty", "zone:", nil, nil, func(c *Config) any { return c.Zone }, ""},
		{"yaml alias", "pg_listen: &a 127.0.0.1:1\nzone: *a", nil, nil, func(c *Config) any { return c.Zone }, "127.0.0.1:1"},
		{"scram by default off loopback", "pg_listen: 0.0.0.0:6432\nprimary_url: " + dsn + "\nauth_file: " + userlist, nil, nil,
			func(c *Config) any { return c.AuthFor("0.0.0.0:6432") }, "scram-sha-256"},
		{"insecure by wish", "pg_listen: 0.0.0.0:6432\nclient_auth: trust\nallow_insecure: on\ncache_listen: :6379\nprimary_url: " + dsn, nil, nil,
			func(c *Config) any { return c.ClientAuth }, "trust"},
		{"node name of a pod", "", []string{"POD_NAME=web-1"}, nil, func(c *Config) any { return c.NodeName }, "web-1"},
		{"node name that is given", "", []string{"POD_NAME=web-1", "OUTRIGGER_NODE_NAME=n"}, nil, func(c *Config) any { return c.NodeName }, "n"},
		{"node name when the port tells nothing", "gossip_listen: 127.0.0.1:0", nil, nil, func(c *Config) any { return len(c.NodeName) > len("-12345678") }, true},
		{"join by SRV", "join: [srv+cache.example, _gossip._udp.cache.example]", nil, nil,
			func(c *Config) any { return strings.Join(c.Join, " ") }, "srv+cache.example _gossip._udp.cache.example"},
		{"members without a key by wish", "gossip_listen: 0.0.0.0:7946\npeer_listen: 0.0.0.0:7947\nallow_insecure: on", nil, nil,
			func(c *Config) any { return c.PeerListen }, "0.0.0.0:7947"},
		{"members with a key", "gossip_listen: 0.0.0.0:7946\npeer_listen: 0.0.0.0:7947\ncluster_key_file: /etc/hostname", nil, nil,
			func(c *Config) any { return c.PeerListen }, "0.0.0.0:7947"},
		{"node name tells ports apart", "gossip_listen: 127.0.0.1:7999", nil, nil,
			func(c *Config) any { return strings.HasSuffix(c.NodeName, "-7999") }, true},
		{"kubernetes' own variables", "", []string{"OUTRIGGER_SERVICE_HOST=10.0.0.1", "OUTRIGGER_PORT_6432_TCP=tcp://10.0.0.1:6432"}, nil,
			func(c *Config) any { return c.Zone }, ""},
		{"socket alone", "cache_listen: ''\ncache_socket: /tmp/outrigger-none.sock", nil, nil, func(c *Config) any { return c.CacheSocket }, "/tmp/outrigger-none.sock"},
		{"socket's mode", "cache_socket_mode: 770", nil, nil, func(c *Config) any { return c.SocketMode() }, fs.FileMode(0o770)},
		{"free ports do not collide", "pg_listen: 127.0.0.1:0\ncache_listen: 127.0.0.1:0\nprimary_url: " + dsn, nil, nil,
			func(c *Config) any { return c.CacheListen }, "127.0.0.1:0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := load(t, tt.file, tt.environ, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.field(c); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
		})
	}
}

func TestBad(t *testing.T) {
	tests := []struct {
		name    string
		file    string
		environ []string
		args    []string
		want    []string // each in the message
	}{
		{"unknown key", "primary_ulr: x", nil, nil, []string{"outrigger.yaml:1: primary_ulr: no such setting (did you mean primary_url?)"}},
		{"unknown key like none", "frobnicate: x", nil, nil, []string{"outrigger.yaml:1", "lists the settings"}},
		{"near variable", "", []string{"OUTRIGGER_PRIMARY_ULR=x"}, nil, []string{"OUTRIGGER_PRIMARY_ULR: no such setting", "OUTRIGGER_PRIMARY_URL?"}},
		{"set twice", "zone: a\nzone: b", nil, nil, []string{"outrigger.yaml:2", "first in line 1"}},
		{"not YAML", "zone: [a", nil, nil, []string{"is not YAML"}},
		{"tab", "zone: a\n\tcache: off", nil, nil, []string{"outrigger.yaml:", "is not YAML"}},
		{"a list", "- zone", nil, nil, []string{"outrigger.yaml:1", "is not a map"}},
		{"two documents", "zone: a\n---\nzone: b", nil, nil, []string{"more than one YAML document"}},
		{"map for a value", "zone: {a: b}", nil, nil, []string{"outrigger.yaml:1: zone: takes a value"}},
		{"list for a value", "zone: [a, b]", nil, nil, []string{"takes one value, not a list"}},
		{"bad duration", "", nil, []string{"drain-timeout=soon"}, []string{`--drain-timeout: drain_timeout: "soon" is not a duration (such as 30s, 500ms`}},
		{"negative duration", "drain_timeout: -1", nil, nil, []string{"out of range"}},
		{"endless duration", "drain_timeout: 1e300", nil, nil, []string{"out of range"}},
		{"bad number", "", []string{"OUTRIGGER_DEFAULT_POOL_SIZE=many"}, nil, []string{`OUTRIGGER_DEFAULT_POOL_SIZE: default_pool_size: "many" is not a whole number (from 1 to `}},
		{"zero pool", "default_pool_size: 0", nil, nil, []string{`"0" is out of range (from 1 to `}},
		{"bad size", "max_memory: lots", nil, nil, []string{"is not a size"}},
		{"small size", "max_memory: 1KiB", nil, nil, []string{"less than 1MiB"}},
		{"overflowing size", "max_memory: 9999999999TiB", nil, nil, []string{"is not a size"}},
		{"bad switch", "cache: maybe", nil, nil, []string{"not on or off"}},
		{"bad name", "pool_mode: transactional", nil, nil, []string{"not a value that is known: did you mean transaction?", "one of session, transaction, statement"}},
		{"bad address", "pg_listen: localhost", nil, nil, []string{"not host:port"}},
		{"bad port", "pg_listen: localhost:99999", nil, nil, []string{"no port from 0 to 65535"}},
		{"missing file", "auth_file: /nonexistent/userlist.txt", nil, nil, []string{"auth_file: cannot read /nonexistent/userlist.txt: no such file"}},
		{"directory", "auth_file: /", nil, nil, []string{"/ is a directory"}},
		{"nothing to serve", "cache: off", nil, nil, []string{"nothing to serve", "PRIMARY_DB_URL"}},
		{"replicas alone", "replica_urls: " + dsn, nil, nil, []string{"replica_urls: needs primary_url"}},
		{"trust for everybody", "pg_listen: 0.0.0.0:6432\nclient_auth: trust\nprimary_url: " + dsn, nil, nil, []string{"outrigger.yaml:2: client_auth", "0.0.0.0:6432", "allow_insecure"}},
		{"trust by a host name", "pg_listen: db.example:6432\nclient_auth: trust\nprimary_url: " + dsn, nil, nil, []string{"db.example:6432"}},
		{"scram without users", "client_auth: scram-sha-256\nprimary_url: " + dsn, nil, nil, []string{"needs auth_file or auth_query"}},
		{"scram by default without users", "pg_listen: :6432\nprimary_url: " + dsn, nil, nil, []string{"needs auth_file or auth_query", "not on loopback"}},
		{"cache without a door", "cache_listen: ''", nil, nil, []string{"outrigger.yaml:1: cache_listen: must not be empty without cache_socket"}},
		{"cache socket nowhere", "cache_socket: /nonexistent/redis.sock", nil, nil, []string{"cache_socket: cannot read /nonexistent: no such file"}},
		{"cache socket with a long path", "cache_socket: /tmp/" + strings.Repeat("x", 110), nil, nil, []string{"too long for a socket's path", "107"}},
		{"cache socket in the place of a directory", "cache_socket: /tmp", nil, nil, []string{"/tmp is a directory"}},
		{"cache socket's mode", "cache_socket_mode: u=rw", nil, nil, []string{`"u=rw" is not an octal number up to 0777 (such as 0770)`}},
		{"cache socket's sticky mode", "cache_socket_mode: 01777", nil, nil, []string{"not an octal number up to 0777"}},
		{"cache certificate without key", "cache_tls_cert_file: /etc/hostname", nil, nil, []string{"cache_tls_cert_file: a certificate and its key go together", "cache_tls_key_file"}},
		{"cache authorities alone", "cache_tls_ca_file: /etc/hostname", nil, nil, []string{"cache_tls_ca_file: needs a certificate of our own"}},
		{"cache certificate for nobody", "cache_listen: ''\ncache_socket: /tmp/outrigger-none.sock\ncache_tls_cert_file: /etc/hostname\ncache_tls_key_file: /etc/hostname", nil, nil,
			[]string{"cache_tls_cert_file: is for cache_listen, which is empty"}},
		{"cache without clients", "cache_max_clients: 0", nil, nil, []string{"cache_max_clients: ", "from 1 to"}},
		{"scripts without time", "cache_script_time_limit: 0", nil, nil, []string{"cache_script_time_limit: must be more than 0"}},
		{"cache idle for ever so long", "cache_client_idle_timeout: 5 minutes", nil, nil, []string{`"5 minutes" is not a duration (such as 30s`}},
		{"TLS without certificate", "client_tls_sslmode: require", nil, nil, []string{"client_tls_sslmode: require needs a certificate"}},
		{"certificate without key", "server_tls_cert_file: /etc/hostname", nil, nil, []string{"go together"}},
		{"verify without authorities", "client_tls_sslmode: verify-full", nil, nil, []string{"verify-full needs client_tls_ca_file"}},
		{"listeners collide", "cache_listen: 127.0.0.1:7946", nil, nil, []string{"127.0.0.1:7946 is taken by cache_listen"}},
		{"gossip on a name", "gossip_listen: pod-1:7946", nil, nil, []string{"gossip_listen: ", "IP address"}},
		{"gossip without a key", "gossip_listen: 0.0.0.0:7946\npeer_listen: 0.0.0.0:7947", nil, nil,
			[]string{"gossip_listen: everybody who reaches 0.0.0.0:7946 could join", "peer_listen: everybody", "openssl rand -base64 32", "allow_insecure"}},
		{"peers that cannot be reached", "gossip_listen: 10.0.0.1:7946\nallow_insecure: on", nil, nil, []string{"peer_listen: members that gossip with 10.0.0.1:7946 cannot reach 127.0.0.1:7947"}},
		{"join by nonsense SRV", "join: 'srv+a:1'", nil, nil, []string{"join: ", "is not srv+NAME"}},
		{"join nonsense", "join: 'a b'", nil, nil, []string{"join: ", "not a host or host:port"}},
		{"advertised name", "advertise_addr: pod-1", nil, nil, []string{"is not an IP address"}},
		{"empty where needed", "pg_listen: ''", nil, nil, []string{"pg_listen: must not be empty without pg_socket_dir"}},
		{"no scheme", "primary_url: db:5432", nil, nil, []string{"is not a Postgres URL", "such as postgres://"}},
		{"no host", "primary_url: postgres:///app", nil, nil, []string{"names no host"}},
		{"port out of range", "primary_url: postgres://u@db:65536/app", nil, nil, []string{"has no port from 1 to 65535"}},
		{"parameter port out of range", "primary_url: postgres://u@/app?host=/tmp&port=0", nil, nil, []string{"has no port from 1 to 65535"}},
		{"no user", "primary_url: postgres://db/app", nil, nil, []string{"names no user"}},
		{"unknown sslmode", "primary_url: " + dsn + "?sslmode=maybe", nil, nil, []string{"unknown sslmode"}},
		{"all at once", "zone: [a, b]\ncache: maybe\nfrob: 1\n", []string{"OUTRIGGER_LOOPS=x"}, []string{"drain-timeout=y"},
			[]string{"5 problems", "outrigger.yaml:1", "outrigger.yaml:2", "outrigger.yaml:3", "OUTRIGGER_LOOPS", "--drain-timeout"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.file, tt.environ, tt.args...)
			if !IsProblems(err) {
				t.Fatalf("got %v, want problems", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing from:\n%v", want, err)
				}
			}
		})
	}
}

func TestOneMistakeIsOneProblem(t *testing.T) {
	for _, content := range []string{"primary_url: nonsense", "pg_listen: x", "cache_listen: x", "client_tls_cert_file: /nonexistent", "max_memory: x"} {
		_, err := load(t, content, nil)
		if ps, _ := errors.AsType[Problems](err); len(ps) != 1 {
			t.Errorf("%s: %d problems, want 1:\n%v", content, len(ps), err)
		}
	}
}

func TestMissingFile(t *testing.T) {
	for _, src := range []Sources{{File: "/nonexistent/o.yaml"}, {Environ: []string{"OUTRIGGER_CONFIG=/nonexistent/o.yaml"}}} {
		if _, err := Load(src); !IsProblems(err) || !strings.Contains(err.Error(), "/nonexistent/o.yaml: cannot be read: no such file") {
			t.Errorf("got %v", err)
		}
	}
}

// Passwords with characters that should have been escaped break URLs in many places; none may be quoted in a message.
func TestPasswordsAreNeverPrinted(t *testing.T) {
	const secret = "hunter2"
	for _, bad := range []string{
		"postgres://app:" + secret + "/x@db:5432/app", "postgres://app:x/" + secret + "@db/app", "postgres://app:" + secret + "%zz@db/app",
		"postgres://app:x#" + secret + "@db/app", "postgres://app:x?" + secret + "@db/app", "postgres://app: " + secret + "@db/app\x7f",
		"mysql://app:" + secret + "@db/app", "app:" + secret + "@db", secret, "postgres://app:[" + secret + "@db/app",
		"postgres://db/app?password=" + secret, "postgres://app@db/app?password=" + secret + "&sslmode=" + secret,
		"postgres://app@db/app?password=%zz" + secret,
	} {
		for source, load := range map[string]func() (*Config, error){
			"file":        func() (*Config, error) { return load(t, "primary_url: '"+bad+"'", nil) },
			"raw file":    func() (*Config, error) { return load(t, "primary_url: @"+bad, nil) },
			"environment": func() (*Config, error) { return load(t, "", []string{"OUTRIGGER_REPLICA_URLS=" + bad}) },
		} {
			if _, err := load(); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%s %q: error %v", source, bad, err)
			}
		}
	}
	comma, err := load(t, "primary_url: postgres://app:x,"+secret+"@db/app\ndatabases: {a: {primary_url: 'postgres://app:x,"+secret+"@db/app'}}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if out := comma.YAML(); strings.Contains(out, secret) {
		t.Errorf("half a password in:\n%s", out)
	}
	good := "postgres://app:" + secret + "@db/app,postgres://app@db/app?password=" + secret
	c, err := load(t, "primary_url: postgres://app:"+secret+"@db/app", []string{"OUTRIGGER_REPLICA_URLS=" + good})
	if err != nil {
		t.Fatal(err)
	}
	if out := c.YAML(); strings.Contains(out, secret) || strings.Count(out, "xxxxx") != 3 {
		t.Errorf("printed configuration should mask 3 passwords:\n%s", out)
	}
}

// What check prints is a configuration: read again, it gives the same one.
func TestPrintedConfigurationReadsBack(t *testing.T) {
	first, err := load(t, "zone: 'a: b # c'\nhttp_listen: off\nserver_login_retry: 1500ms\nadmin_users: [a, b]\nmax_memory: 2000000", []string{"PRIMARY_DB_URL=postgres://app@db/app"}, "pg-listen=127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	out := first.YAML()
	for _, want := range []string{"from PRIMARY_DB_URL", "from --pg-listen", "outrigger.yaml:1", "# Cluster"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing from:\n%s", want, out)
		}
	}
	second, err := load(t, out, nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if changed := Changed(first, second); len(changed) != 0 {
		t.Errorf("changed: %v", changed)
	}
}

func TestChanged(t *testing.T) {
	a, errA := load(t, "zone: a\ndrain_timeout: 60", nil)
	b, errB := load(t, "zone: b\ndrain_timeout: 1m", nil)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if changed := Changed(a, b); len(changed) != 1 || changed[0].Name != "zone" || changed[0].Reloadable() {
		t.Errorf("changed %v, want zone alone, which takes a restart", changed)
	}
}

func TestTable(t *testing.T) {
	seen := map[any]string{}
	var c Config
	for _, s := range Settings() {
		if first, again := seen[s.field(&c)]; again {
			t.Errorf("%s and %s share a field", first, s.Name)
		}
		seen[s.field(&c)] = s.Name
		if s.Help == "" || strings.HasSuffix(s.Help, ".") || s.Name != strings.ToLower(s.Name) || s.Group == "" {
			t.Errorf("%+v: want a lowercase name, a group, and help without a period", s)
		}
		_ = s.text(&c) // panics on a type it does not know
	}
	for _, f := range Flags() {
		if f.Type() == "" || f.Usage() == "" || strings.Contains(f.Name(), "_") {
			t.Errorf("flag %+v", f)
		}
	}
}

var update = flag.Bool("update", false, "write the table of settings into README.md")

func TestReadmeHasTheTable(t *testing.T) {
	const path, begin, end = "../../../README.md", "-update` -->\n\n", "\n\n<!-- end of settings -->"
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(readme), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatal("README.md has lost the marks around its table of settings")
	}
	want := before + begin + strings.TrimSpace(Markdown()) + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(readme) != want {
		t.Error("README.md's table of settings is out of date: go test ./cmd/internal/config -update")
	}
}

// What an administrator sets comes after all other sources, and is told what is wrong as they are.
func TestSet(t *testing.T) {
	src := Sources{File: write(t, "outrigger.yaml", "default_pool_size: 4\n"), Environ: []string{"OUTRIGGER_MIN_POOL_SIZE=1"},
		Set: []Given{{"default_pool_size", "3"}, {"min_pool_size", "2"}}}
	c, err := Load(src)
	if err != nil || c.Pool.DefaultPoolSize != 3 || c.Pool.MinPoolSize != 2 || c.Origin("min_pool_size") != "SET" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, tc := range []struct{ name, value, want string }{
		{"default_pool_sice", "3", "did you mean default_pool_size?"},
		{"zzz", "3", "SHOW CONFIG lists the settings"},
		{"pg_listen", "127.0.0.1:1", "cannot be changed while the sidecar runs"},
		{"default_pool_size", "many", "SET: default_pool_size"},
	} {
		src.Set = []Given{{tc.name, tc.value}}
		if _, err := Load(src); !IsProblems(err) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s = %s: %v", tc.name, tc.value, err)
		}
	}
}
