package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const tree = `primary_url: postgres://app:s3cret@db:5432/app
replica_urls: postgres://app:s3cret@r1/app
pool_mode: transaction
default_pool_size: 20
query_timeout: 10s
databases:
  own:
    primary_url: postgres://own:hunter2@other/real
    pool_size: 5
    pool_mode: session
    query_timeout: 20
  renamed: {dbname: real, replica_urls: []}
  plain:
users:
  report: {query_timeout: 60s, pool_mode: statement}
  nobody: {}
`

func TestDatabases(t *testing.T) {
	top, replica := "postgres://app:s3cret@db:5432/app", "postgres://app:s3cret@r1/app"
	for source, give := range map[string]func() (*Config, error){
		"file": func() (*Config, error) { return load(t, tree, nil) },
		"environment": func() (*Config, error) {
			return load(t, "primary_url: postgres://x@y\ndatabases: {gone: {pool_size: 1}}", []string{"PRIMARY_DB_URL=" + top, "OUTRIGGER_QUERY_TIMEOUT=10",
				"OUTRIGGER_DATABASES={own: {primary_url: 'postgres://own:hunter2@other/real', pool_size: 5, pool_mode: session, query_timeout: 20}, renamed: {dbname: real, replica_urls: []}, plain: }"},
				"users={report: {query_timeout: 60s, pool_mode: statement}, nobody: {}}", "replica-urls="+replica)
		},
	} {
		c, err := give()
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		for _, want := range []Database{
			{Name: "own", DBName: "real", PrimaryURL: "postgres://own:hunter2@other/real"},
			{Name: "renamed", DBName: "real", PrimaryURL: top},
			{Name: "plain", DBName: "plain", PrimaryURL: top, ReplicaURLs: []string{replica}},
			{Name: "*", DBName: "else", PrimaryURL: top, ReplicaURLs: []string{replica}},
		} {
			name := want.Name
			if name == "*" {
				name = "else"
			}
			got, ok := c.Database(name)
			got.own = own{}
			if !ok || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: database %s is %+v, want %+v", source, name, got, want)
			}
		}
		for _, want := range []struct {
			database, user string
			mode           string
			size           int
			timeout        time.Duration
		}{
			{"else", "app", "transaction", 20, 10 * time.Second},
			{"own", "app", "session", 5, 20 * time.Second},
			{"own", "report", "statement", 5, time.Minute},
			{"else", "report", "statement", 20, time.Minute},
			{"plain", "nobody", "transaction", 20, 10 * time.Second},
		} {
			p := c.PoolFor(want.database, want.user)
			if p.Mode != want.mode || p.DefaultPoolSize != want.size || p.QueryTimeout != want.timeout {
				t.Errorf("%s: pool of %s and %s is %s, %d, %v; want %+v", source, want.database, want.user, p.Mode, p.DefaultPoolSize, p.QueryTimeout, want)
			}
		}
		if c.Pool.DefaultPoolSize != 20 {
			t.Error("PoolFor changed the top level")
		}
	}
}

func TestDatabasesAlone(t *testing.T) {
	c, err := load(t, "cache: off\ndatabases: {app: {primary_url: 'postgres://a@b'}}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Database("other"); ok || !c.Pooler() {
		t.Errorf("pooler %v, a database that nobody named %v; want the first alone", c.Pooler(), ok)
	}
	c, err = load(t, "primary_url: postgres://a@top\ndatabases: {'*': {primary_url: 'postgres://a@b', dbname: one}}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := c.Database("other"); d.PrimaryURL != "postgres://a@b" || d.DBName != "one" {
		t.Errorf("a fallback of its own gave %+v", d)
	}
}

func TestBadDatabases(t *testing.T) {
	for _, tt := range []struct {
		file string
		want []string
	}{
		{"databases:\n  app:\n    primary_ulr: x", []string{"outrigger.yaml:3: databases.app.primary_ulr: no such setting (did you mean primary_url?)"}},
		{"databases:\n  app:\n    max_client_conn: 1", []string{"databases.app.max_client_conn: no such setting here (it stands at the top level alone"}},
		{"users:\n  u:\n    max_db_connections: 1", []string{"users.u.max_db_connections: no such setting here (it may stand in databases and"}},
		{"databases:\n  app:\n    frobnicate: 1", []string{"`outrigger help serve` lists"}},
		{"databases:\n  app:\n    pool_size: none", []string{`outrigger.yaml:3: databases.app.pool_size: "none" is not a whole number`}},
		{"databases:\n  app:\n    pool_size: 1\n    default_pool_size: 2", []string{"outrigger.yaml:4: databases.app.default_pool_size: is set twice, first in line 3"}},
		{"databases:\n  app:\n  app:", []string{"outrigger.yaml:3: databases.app: is set twice, first in line 2"}},
		{"databases:\n  app: 5", []string{"outrigger.yaml:2: databases.app: is not a map"}},
		{"databases: [app]", []string{"databases: is not a map (such as {app:"}},
		{"databases:\n  {}: {}", []string{"a key that is no name"}},
		{"databases:\n  app: {pool_mode: {}}", []string{"databases.app.pool_mode: takes a value"}},
		{"databases:\n  app: {pool_mode: ''}", []string{"databases.app.pool_mode: must not be empty"}},
		{"databases:\n  app: {primary_url: x}", []string{"databases.app.primary_url: is not a Postgres URL"}},
		{"databases:\n  pgbouncer: {}", []string{"outrigger.yaml:2: databases.pgbouncer: is the console's name"}},
		{"databases:\n  app: {pool_size: 5}", []string{"outrigger.yaml:2: databases.app: has no primary_url"}},
		{"users:\n  '*': {}", []string{"users.*: is no user"}},
		{"primary_url: " + dsn + "\ndatabases:\n  app: {pool_size: 5, min_pool_size: 6}", []string{"outrigger.yaml:3: databases.app.min_pool_size: is more than the pool size (it may be up to 5)"}},
	} {
		_, err := load(t, tt.file, nil)
		if err == nil {
			t.Errorf("no error from:\n%s", tt.file)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is missing from:\n%v", want, err)
			}
		}
	}
	_, err := load(t, "", []string{"OUTRIGGER_DATABASES={app: {pool_sise: 1}}"}, "users={u: ")
	for _, want := range []string{"OUTRIGGER_DATABASES: databases.app.pool_sise: no such setting (did you mean pool_size?)", "--users: users: is not YAML"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing from:\n%v", want, err)
		}
	}
}

func TestListeners(t *testing.T) {
	dir, userlist := t.TempDir(), write(t, "userlist.txt", `"app" "x"`)
	socket := dir + "/.s.PGSQL.7000"
	for _, tt := range []struct {
		file string
		want map[string]string // listener → how clients log in
	}{
		{"pg_listen: '127.0.0.1:7000, 0.0.0.0:7001'\nauth_file: " + userlist + "\npg_socket_dir: " + dir, map[string]string{"127.0.0.1:7000": "trust", "0.0.0.0:7001": "scram-sha-256", socket: "trust"}},
		{"client_auth: md5\npg_listen: '127.0.0.1:7000'\nauth_user: lookup\npg_socket_dir: " + dir, map[string]string{"127.0.0.1:7000": "md5", socket: "md5"}},
		{"client_auth: peer\npg_listen: '127.0.0.1:7000'\nauth_query: select 1\npg_socket_dir: " + dir, map[string]string{"127.0.0.1:7000": "scram-sha-256", socket: "peer"}},
		{"client_auth: peer\npg_listen: []\npg_socket_dir: " + dir, map[string]string{dir + "/.s.PGSQL.6432": "peer"}},
		{"client_auth: trust\npg_listen: [':7000']\nallow_insecure: on", map[string]string{":7000": "trust"}},
	} {
		c, err := load(t, "primary_url: "+dsn+"\n"+tt.file, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		got := map[string]string{}
		for _, l := range c.PGListeners() {
			got[l] = c.AuthFor(l)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s\nlisteners %v, want %v", tt.file, got, tt.want)
		}
	}
	for file, want := range map[string]string{
		"client_auth: peer\npg_listen: []":                          "pg_listen: must not be empty without pg_socket_dir",
		"client_auth: peer\nauth_file: " + userlist:                 "peer needs pg_socket_dir",
		"client_auth: peer\npg_socket_dir: " + dir:                  "scram-sha-256 needs auth_file or auth_query (its lines are \"user\" \"password or SCRAM secret\"; peer is for sockets",
		"client_auth: cert":                                         "cert needs TLS",
		"client_auth: cert\nclient_tls_sslmode: require":            "cert needs client_tls_ca_file",
		"client_auth: md5":                                          "md5 needs auth_file or auth_query",
		"pg_socket_dir: /nonexistent":                               "pg_socket_dir: cannot read /nonexistent",
		"pg_socket_dir: " + userlist:                                "is no directory",
		"client_tls_protocols: tlsv1.4":                             "is not a protocol version: did you mean tlsv1.",
		"client_tls_protocols: 'tlsv1.0, tlsv1.3'":                  "has a gap",
		"server_tls_protocols: ''":                                  "must not be empty",
		"pg_listen: [0.0.0.0:1, '127.0.0.1:2']\nclient_auth: trust": "trust lets everybody in who reaches 0.0.0.0:1 (",
		"max_packet_size: 3GiB":                                     "more than",
		"query_timeout: ''":                                         "query_timeout: must not be empty (leave it out for the default)",
	} {
		if _, err := load(t, "primary_url: "+dsn+"\n"+file, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngave %v, want %q", file, err, want)
		}
	}
}

func TestProtocols(t *testing.T) {
	for text, want := range map[string][]string{
		"secure": {"tlsv1.2", "tlsv1.3"}, "all": tlsNames, "TLSv1.3": {"tlsv1.3"}, "tlsv1.3,tlsv1.2": {"tlsv1.2", "tlsv1.3"}, "legacy": tlsNames,
	} {
		c, err := load(t, "client_tls_protocols: '"+text+"'", nil)
		if err != nil || !slices.Equal(c.ClientTLS.Protocols, want) {
			t.Errorf("%s: %v, %v", text, c.ClientTLS.Protocols, err)
		}
		if low, high := c.ClientTLS.Versions(); low != tlsVersions[want[0]] || high != 0x304 {
			t.Errorf("%s: versions %x to %x", text, low, high)
		}
	}
}

// What check prints of databases and users reads back, and holds no password.
func TestPrintedDatabasesReadBack(t *testing.T) {
	first, err := load(t, tree+"connect_query: \"select 'a: #b'\\n\"\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	out := first.YAML()
	if strings.Contains(out, "hunter2") || strings.Contains(out, "s3cret") {
		t.Errorf("a password was printed:\n%s", out)
	}
	for s, v := range first.Values {
		if strings.Contains(v, "hunter2") {
			t.Errorf("a password is in the value of %s", s.Name)
		}
	}
	if !strings.Contains(out, "own:xxxxx@other") || !strings.Contains(out, "outrigger.yaml:9") {
		t.Errorf("the database's URL and the place of its pool_size are missing from:\n%s", out)
	}
	second, err := load(t, out, nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	for _, s := range Changed(first, second) {
		if s.masked(first) != s.masked(second) {
			t.Errorf("%s was %s, is %s", s.Name, s.masked(first), s.masked(second))
		}
	}
}

// Databases and users may have what lies in Pool, and all of that is somebody's.
func TestPoolSettings(t *testing.T) {
	var c Config
	pool := reflect.ValueOf(&c.Pool).Elem()
	inPool := map[any]bool{}
	for i := range pool.NumField() {
		inPool[pool.Field(i).Addr().Interface()] = true
	}
	for _, s := range Settings() {
		field := s.field(&c)
		if own := s.PerDatabase() || s.PerUser(); own != inPool[field] {
			t.Errorf("%s: per database or user %v, in Pool %v", s.Name, own, inPool[field])
		}
		delete(inPool, field)
		if (s.PerDatabase() || s.PerUser()) && !s.Reloadable() {
			t.Errorf("%s is not reloadable", s.Name)
		}
	}
	if len(inPool) > 0 {
		t.Errorf("%d fields of Pool have no setting", len(inPool))
	}
	for short, name := range shortNames {
		if !slices.ContainsFunc(Settings(), func(s Setting) bool { return s.Name == name }) {
			t.Errorf("%s stands for %s, which does not exist", short, name)
		}
	}
}

func TestEveryProblemHasItsPlaceAndHint(t *testing.T) {
	var file strings.Builder
	for _, s := range Settings() {
		if s.kind.name != text.name && s.kind.name != list.name {
			file.WriteString(s.Name + ": '\x1f,/nonexistent'\n")
		}
	}
	_, err := load(t, strings.ReplaceAll(file.String(), "\x1f", "%"), []string{"OUTRIGGER_QUERY_TIMEOUTT=1"})
	problems, _ := errors.AsType[Problems](err)
	if len(problems) < 40 {
		t.Fatalf("%d problems: %v", len(problems), err)
	}
	for _, p := range problems {
		if p.Where == "" || p.Hint == "" {
			t.Errorf("no place or hint: %v", p)
		}
	}
}
