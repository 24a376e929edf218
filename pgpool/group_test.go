package pgpool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
)

// connectAs connects a client as user to database, until the test ends.
func (p *testPooler) connectAs(t testing.TB, user, database string) (*pgx.Conn, error) {
	t.Helper()
	c, err := pgx.Connect(context.Background(), fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable%s", user, p.addr, database, simple))
	if err == nil {
		t.Cleanup(func() { c.Close(context.Background()) })
	}
	return c, err
}

// scratch makes a database that is dropped at the end of the test.
func scratch(t *testing.T, name string) {
	t.Helper()
	c := direct(t, 0)
	if _, err := c.Exec(context.Background(), "create database "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		own, err := pgx.Connect(context.Background(), pg.URL(0))
		if err != nil {
			t.Error(err)
			return
		}
		defer own.Close(context.Background())
		if _, err := own.Exec(context.Background(), "drop database "+name+" with (force)"); err != nil {
			t.Error(err)
		}
	})
}

func ask(t *testing.T, c *pgx.Conn, sql string) (answer string) {
	t.Helper()
	if err := c.QueryRow(context.Background(), sql).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

func TestDatabasesHaveNamesOfTheirOwn(t *testing.T) {
	scratch(t, "named_db")
	p := start(t, 1, func(c *Config) {
		c.Tuning.Databases = map[string]Database{"app": {Name: "named_db", Servers: []Server{testServer(t, 0)}}}
	})
	c, err := p.connectAs(t, "postgres", "app")
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, c, "select current_database()"); got != "named_db" {
		t.Errorf("app is %q on the server", got)
	}
	_, err = p.connectAs(t, "postgres", "postgres")
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != "3D000" {
		t.Errorf("a name that is not configured: %v", err)
	}
}

// A reload takes a database elsewhere while its clients work, and nobody notices.
func TestReloadMovesADatabase(t *testing.T) {
	scratch(t, "moved_a")
	scratch(t, "moved_b")
	at := func(name string) map[string]Database {
		return map[string]Database{"app": {Name: name, Servers: []Server{testServer(t, 0)}}}
	}
	var tuning Tuning
	p := start(t, 2, func(c *Config) {
		c.Tuning.Databases = at("moved_a")
		c.Tuning.Defaults.PoolSize = 3
		tuning = c.Tuning
	})
	stop := make(chan struct{})
	var working sync.WaitGroup
	for range 8 {
		c, err := p.connectAs(t, "postgres", "app")
		if err != nil {
			t.Fatal(err)
		}
		working.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var name string
				if err := c.QueryRow(context.Background(), "select current_database()").Scan(&name); err != nil {
					t.Errorf("while it moved: %v", err)
					return
				}
			}
		})
	}
	held, err := p.connectAs(t, "postgres", "app")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.Exec(context.Background(), "begin; select 1"); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"moved_b", "moved_a", "moved_b"} {
		tuning.Databases = at(name)
		if err := p.Reload(tuning); err != nil {
			t.Fatal(err)
		}
		fresh, err := p.connectAs(t, "postgres", "app")
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "clients to be at "+name, func() bool { return ask(t, fresh, "select current_database()") == name })
		if got := ask(t, held, "select current_database()"); got != "moved_a" {
			t.Errorf("reload %d: a transaction went on in %s", i, got)
		}
	}
	if _, err := held.Exec(context.Background(), "commit"); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, held, "select current_database()"); got != "moved_b" {
		t.Errorf("after its transaction the client is at %s", got)
	}
	close(stop)
	working.Wait()
	waitFor(t, "what was left behind to go", func() bool {
		n := 0
		for i := range p.workers {
			p.on(t, i, func(w *worker) { n += len(w.groups) })
		}
		return n <= len(p.workers)
	})
}

func TestReloadChangesThePoolSizeWithoutDroppingAnyone(t *testing.T) {
	var tuning Tuning
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.PoolSize = 1; tuning = c.Tuning })
	a, b := p.connect(t, simple), p.connect(t, simple)
	ctx := context.Background()
	begin := func(c *pgx.Conn) {
		if _, err := c.Exec(ctx, "begin; select 1"); err != nil {
			t.Error(err)
		}
	}
	begin(a)
	done := make(chan struct{})
	go func() { begin(b); close(done) }()
	waitFor(t, "b to wait", func() bool { return waiting(t, p) == 1 })
	tuning.Defaults.PoolSize = 2
	if err := p.Reload(tuning); err != nil {
		t.Fatal(err)
	}
	<-done
	tuning.Defaults.PoolSize = 1
	if err := p.Reload(tuning); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*pgx.Conn{a, b} {
		if _, err := c.Exec(ctx, "commit"); err != nil {
			t.Errorf("commit after the pool shrank: %v", err)
		}
	}
	waitFor(t, "one connection", func() bool { return len(p.pids(t)) == 1 })
}

func waiting(t *testing.T, p *testPooler) (n int) {
	for i := range p.workers {
		p.on(t, i, func(w *worker) {
			for _, g := range w.groups {
				for _, pl := range g.pools {
					n += pl.waiting.n
				}
			}
		})
	}
	return n
}

func TestLimitsOnClients(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		defaults := c.Tuning.Defaults
		c.Tuning.MaxClients = 4
		c.Tuning.Policy = func(database, user string) Policy {
			own := defaults
			if database == "template1" {
				own.MaxDBClients = 1
			}
			if user == "postgres" {
				own.MaxUserClients = 2
			}
			return own
		}
	})
	refused := func(user, database, setting string) {
		t.Helper()
		_, err := p.connectAs(t, user, database)
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != "53300" || !strings.Contains(e.Detail, setting) {
			t.Errorf("%s in %s: %v, want 53300 about %s", user, database, err, setting)
		}
	}
	enter := func(user, database string) *pgx.Conn {
		t.Helper()
		c, err := p.connectAs(t, user, database)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := enter("postgres", "template1")
	refused("other", "template1", "max_db_client_connections")
	enter("postgres", "postgres")
	refused("postgres", "postgres", "max_user_client_connections")
	enter("a", "postgres")
	enter("b", "postgres")
	refused("c", "postgres", "max_client_conn")
	first.Close(context.Background())
	waitFor(t, "the place to be free", func() bool {
		c, err := p.connectAs(t, "postgres", "template1")
		return err == nil && c != nil
	})
}

// The pools of one database share max_db_connections: a pool at work takes the place of another's idle connection.
func TestMaxDBConnectionsAcrossUsers(t *testing.T) {
	server := testServer(t, 0)
	p := start(t, 2, func(c *Config) {
		c.Tuning.Databases = fallback(server)
		c.Tuning.Defaults.MaxDBServers = 2
	})
	// Pools of several users: what as_client makes, without its passwords.
	tuning := *p.tuning.Load()
	tuning.AsClient = true
	p.tuning.Store(&tuning)
	for i := range 6 {
		if _, err := p.shared(context.Background(), p.workers[i%2], "postgres", fmt.Sprintf("user%d", i), server.Credentials); err != nil {
			t.Fatal(err)
		}
		if n := len(p.pids(t)); n > 2 {
			t.Fatalf("%d connections, limit is 2", n)
		}
	}
	if n := len(p.pids(t)); n > 2 {
		t.Errorf("%d connections, limit is 2", n)
	}
}

func TestReserveServersComeAndGo(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		c.Tuning.Defaults.PoolSize = 1
		c.Tuning.Defaults.ReservePoolSize = 1
		c.Tuning.Defaults.ReservePoolDelay = 100 * time.Millisecond
	})
	ctx := context.Background()
	a, b := p.connect(t, simple), p.connect(t, simple)
	for _, c := range []*pgx.Conn{a, b} { // b waits for the reserve
		if _, err := c.Exec(ctx, "begin; select 1"); err != nil {
			t.Fatal(err)
		}
	}
	third := p.connect(t, simple)
	done := make(chan error, 1)
	go func() { _, err := third.Exec(ctx, "select 1"); done <- err }()
	waitFor(t, "the third to wait", func() bool { return waiting(t, p) == 1 })
	if n := len(p.pids(t)); n != 2 {
		t.Errorf("%d connections, want 2: the pool's and the reserve", n)
	}
	for _, c := range []*pgx.Conn{a, b} {
		if _, err := c.Exec(ctx, "commit"); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the reserve to go", func() bool { return len(p.pids(t)) == 1 })
}

func TestMinPoolSizeIsThereBeforeTheFirstClient(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		c.Tuning.Defaults.MinPoolSize = 3
		c.Tuning.Defaults.ServerIdle = 50 * time.Millisecond
		c.Tuning.Defaults.ClientIdle = time.Hour
	})
	waitFor(t, "three connections", func() bool { return len(p.pids(t)) == 3 })
	ask(t, p.connect(t, simple), "select 'here'")
	if n := len(p.pids(t)); n != 3 {
		t.Errorf("%d connections after a query", n)
	}
}

func TestConnectQueryRunsOnceForEachServer(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.ConnectQuery = "set application_name to 'prepared for use'" })
	c := p.connect(t, simple)
	if got := ask(t, c, "select application_name from pg_stat_activity where query like '%stat_activity%' and state = 'active'"); got != "prepared for use" {
		t.Errorf("application_name is %q", got)
	}
	bad := start(t, 1, func(c *Config) { c.Tuning.Defaults.ConnectQuery = "select broken" })
	if _, err := bad.connect(t, simple).Exec(context.Background(), "select 1"); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("with a connect_query that fails: %v", err)
	}
}

func TestAServerIsCheckedBeforeUse(t *testing.T) {
	watch := direct(t, 0)
	ctx := context.Background()
	if _, err := watch.Exec(ctx, "create sequence if not exists server_checks"); err != nil {
		t.Fatal(err)
	}
	p := start(t, 1, func(c *Config) {
		c.Tuning.Defaults.PoolSize = 1
		c.Tuning.CheckQuery = "select nextval('server_checks')"
		c.Tuning.CheckDelay = time.Minute
	})
	checks := func() (n int) {
		t.Helper()
		if err := watch.QueryRow(ctx, "select last_value + is_called::int from server_checks").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	c := p.connect(t, simple)
	ask(t, c, "select 'one'")
	before := checks()
	ask(t, c, "select 'two'")
	if n := checks(); n != before {
		t.Errorf("%d checks of a server that was just used", n-before)
	}
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			for _, s := range g.pools[0].free {
				s.lastUsed = s.lastUsed.Add(-2 * time.Minute)
			}
		}
	})
	ask(t, c, "select 'three'")
	if n := checks(); n != before+1 {
		t.Errorf("%d checks of a server that was free for long, want 1", n-before)
	}
}

func TestStatementModeRefusesTransactions(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.Mode = StatementMode })
	c := p.connect(t, simple)
	ask(t, c, "select 'fine'")
	_, err := c.Exec(context.Background(), "begin; select 1")
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != "0A000" {
		// The answer to BEGIN may be read before the refusal.
		_, err = c.Exec(context.Background(), "select 1")
		if !errors.As(err, &e) || e.Code != "0A000" {
			t.Errorf("a transaction: %v", err)
		}
	}
	p.settled(t, 0)
}

// A server that does not answer the check query does not keep its place in the pool.
func TestAServerThatDoesNotAnswerItsCheckIsReplaced(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		c.Tuning.Defaults.PoolSize = 1
		c.Tuning.Defaults.QueryWait = 10 * time.Second
		c.Tuning.ServerConnect = time.Second
		c.Tuning.CheckQuery = "select pg_sleep(60)"
	})
	c := p.connect(t, simple)
	command(t, c, "select 1")
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			for _, s := range g.pools[0].free {
				s.lastUsed = s.lastUsed.Add(-time.Minute)
			}
		}
	})
	command(t, c, "select 1")
}

// Servers that nobody uses go, but those of min_pool_size stay, the same ones.
func TestIdleServersGoDownToMinPoolSize(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.Defaults.MinPoolSize = 2 })
	waitFor(t, "two connections", func() bool { return len(p.pids(t)) == 2 })
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			pl := g.pools[0]
			policy := *g.shared.policy.Load()
			policy.MinPoolSize, policy.ServerIdle = 1, time.Minute
			g.shared.policy.Store(&policy)
			pl.expire(w.loop.Now().Add(2 * time.Minute))
			if len(pl.free) != 1 {
				t.Errorf("%d servers are left", len(pl.free))
			}
		}
	})
}

func TestReloadWithoutADatabaseEndsItsClients(t *testing.T) {
	var tuning Tuning
	p := start(t, 2, func(c *Config) {
		server := testServer(t, 0)
		c.Tuning.Databases = map[string]Database{"a": {Name: "postgres", Servers: []Server{server}}, "b": {Name: "postgres", Servers: []Server{server}}}
		tuning = c.Tuning
	})
	connect := func(database string) *pgx.Conn {
		c, err := p.connectAs(t, "postgres", database)
		if err != nil {
			t.Fatal(err)
		}
		ask(t, c, "select 'here'")
		return c
	}
	idle, busy, stays := connect("a"), connect("a"), connect("b")
	command(t, busy, "begin; select 1")
	tuning.Databases = map[string]Database{"b": tuning.Databases["b"]}
	if err := p.Reload(tuning); err != nil {
		t.Fatal(err)
	}
	expectEnd := func(c *pgx.Conn, sql string) {
		t.Helper()
		_, err := c.Exec(context.Background(), sql)
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != "57P01" {
			t.Errorf("%s: %v, want 57P01", sql, err)
		}
	}
	p.each(func(*worker) {}) // the loops have heard of it
	expectEnd(idle, "select 1")
	command(t, busy, "select 1")
	command(t, busy, "commit")
	expectEnd(busy, "select 1")
	ask(t, stays, "select 'still here'")
	waitFor(t, "its servers to close", func() bool { return len(p.pids(t)) == 1 })
}

// Users who log in as themselves leave nothing behind when they and their connections are gone, but for what was counted.
// A client who is there keeps what is known for it.
func TestUnusedGroupsAreGivenUp(t *testing.T) {
	admin := direct(t, 0)
	users := auth.Users{}
	for i := range 6 {
		name := fmt.Sprintf("passer%d", i)
		mustExec(t, admin, "drop role if exists "+name+"; create role "+name+" login")
		var err error
		if users[name], err = auth.ParseSecret("secret"); err != nil {
			t.Fatal(err)
		}
	}
	clients, err := auth.New(auth.Config{Users: users})
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, 2, func(c *Config) {
		c.Tuning.AsClient, c.Tuning.Clients = true, clients
		c.Tuning.Defaults.ServerIdle = 10 * time.Millisecond
		c.Tuning.Defaults.MinPoolSize = 1
	})
	groups := func() int {
		p.mu.Lock()
		n := len(p.groups)
		p.mu.Unlock()
		p.each(func(w *worker) { n += len(w.groups) })
		return n
	}
	login := func(user string) *pgx.Conn {
		t.Helper()
		c, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://%s:secret@%s/postgres?sslmode=disable", user, p.addr))
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, c, "select 1")
		return c
	}
	staying := login("passer0")
	defer staying.Close(context.Background())
	const rounds = 2
	for range rounds {
		for i := 1; i < 6; i++ {
			login(fmt.Sprintf("passer%d", i)).Close(context.Background())
		}
		waitFor(t, "groups to be given up", func() bool { n := groups(); return n == 2 || n == 3 })
	}
	mustExec(t, staying, "select 1")
	if s := p.Console().Stats(); len(s) != 1 || s[0].Total.Queries != 5*rounds+2 {
		t.Errorf("counted %+v", s)
	}
}
