package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// asCluster dials the test cluster as user.
func asCluster(user, password string) func(context.Context, string) (Session, error) {
	c := NewCredentials(user, password)
	return func(ctx context.Context, database string) (Session, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", pg.Addr(0))
		if err != nil {
			return Session{}, err
		}
		return Login(ctx, conn, LoginParams{Credentials: c, Database: "postgres", SSLMode: SSLRequire})
	}
}

// A real server, its own verifiers, and libpq.
func TestQueryFindsUsers(t *testing.T) {
	role(t, "asker", "login superuser password 'ask'")
	role(t, "asked", "login password 'opensesame'")
	role(t, "infinite", "login password 'opensesame' valid until 'infinity'")
	role(t, "tomorrow", "login password 'opensesame' valid until '"+time.Now().Add(24*time.Hour).Format(time.RFC3339)+"'")
	role(t, "yesterday", "login password 'opensesame' valid until '"+time.Now().Add(-24*time.Hour).Format(time.RFC3339)+"'")
	role(t, "never", "login password 'opensesame' valid until '-infinity'")
	role(t, "idle", "nologin password 'opensesame'")
	role(t, "bare", "login")
	role(t, `o'Neil "$1" \; --`, "login password 'opensesame'")
	long := strings.Repeat("n", 63)
	role(t, long, "login password 'opensesame'")
	a := mustNew(t, Config{Users: mustUsers(t, `"filed" "infile"`), Query: &QueryConfig{Dial: asCluster("asker", "ask")}})
	d := openDoor(t, a, nil)
	for _, tt := range []struct {
		user, password string
		ok             bool
	}{
		{"asked", "opensesame", true}, {"asked", "wrong", false}, {"infinite", "opensesame", true}, {"tomorrow", "opensesame", true},
		{"yesterday", "opensesame", false}, {"never", "opensesame", false}, {"idle", "opensesame", false}, {"bare", "opensesame", false},
		{"stranger", "opensesame", false}, {`o'Neil "$1" \; --`, "opensesame", true}, {"asked' or rolname = 'asker", "ask", false},
		{"filed", "infile", true}, {long, "opensesame", true}, {long + "n", "opensesame", false}, {"", "x", false},
	} {
		user := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(tt.user)
		if tt.user == "" {
			continue // libpq would take the system's name
		}
		out, err := d.psql(t, tt.password, "user='"+user+"'")
		if (err == nil) != tt.ok || (!tt.ok && !strings.Contains(out, "password authentication failed")) {
			t.Errorf("%s: %v: %s", tt.user, err, out)
		}
	}
	// Bytes that are no text are nobody, too: the server would not take them as a name.
	_, err := a.find(t.Context(), Client{User: "\xff\xfe", Database: "postgres"})
	if err != nil {
		t.Errorf("a name that is no UTF-8: %v", err)
	}
	// The key learnt from a user found so opens the server.
	if _, err := d.psql(t, "opensesame", "user=asked"); err != nil {
		t.Fatal(err)
	}
	if s, err := dial(t, LoginParams{Credentials: d.last(t).credentials, Database: "postgres"}); err != nil {
		t.Error(err)
	} else {
		runSQL(t, s, "select 1")
	}
}

// Other queries bring other secrets. MD5 hashes and passwords are as good as verifiers, where the method takes them.
func TestQuerySecrets(t *testing.T) {
	role(t, "asker", "login password 'ask'")
	hash := "md5" + md5Hex("opensesame", "hashed")
	const one = `select $1::text, case $1::text when 'plain' then 'opensesame' when 'hashed' then '%s' when 'dora' then '%s' when 'broken' then 'SCRAM-SHA-256$x' when 'empty' then '' end`
	q := &QueryConfig{SQL: fmt.Sprintf(one, hash, verifierOfPencil), Dial: asCluster("asker", "ask")}
	scramDoor := openDoor(t, mustNew(t, Config{Query: q}), nil)
	md5Door := openDoor(t, mustNew(t, Config{Method: MD5, Query: q}), nil)
	for _, tt := range []struct {
		d              *door
		user, password string
		want           string
	}{
		{scramDoor, "plain", "opensesame", ""}, {scramDoor, "plain", "wrong", "password authentication failed"},
		{scramDoor, "dora", "pencil", ""}, {scramDoor, "hashed", "opensesame", "password authentication failed"},
		{scramDoor, "empty", "x", "password authentication failed"}, {scramDoor, "stranger", "x", "password authentication failed"},
		{scramDoor, "broken", "x", "cannot look up users"},
		{md5Door, "plain", "opensesame", ""}, {md5Door, "hashed", "opensesame", ""}, {md5Door, "dora", "pencil", ""},
		{md5Door, "hashed", "wrong", "password authentication failed"}, {md5Door, "stranger", "x", "password authentication failed"},
	} {
		out, err := tt.d.psql(t, tt.password, "user="+tt.user)
		if (err == nil) != (tt.want == "") || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v: %s", tt.user, err, out)
		}
	}
}

// Whatever the operator gets to know, the client does not.
func TestQueryFailures(t *testing.T) {
	role(t, "asker", "login password 'ask'")
	for name, tt := range map[string]struct {
		q    QueryConfig
		want string // in the log
	}{
		"no right to see pg_authid": {QueryConfig{Dial: asCluster("asker", "ask")}, "permission denied"},
		"wrong password":            {QueryConfig{Dial: asCluster("asker", "guess")}, "28P01"},
		"server away":               {QueryConfig{Dial: func(context.Context, string) (Session, error) { return Session{}, errors.New("refused by 10.1.2.3") }}, "10.1.2.3"},
		"syntax":                    {QueryConfig{SQL: "selec $1", Dial: asCluster("asker", "ask")}, "syntax error"},
		"two statements":            {QueryConfig{SQL: "select $1::text; select 2", Dial: asCluster("asker", "ask")}, "multiple commands"},
		"one column":                {QueryConfig{SQL: "select $1::text", Dial: asCluster("asker", "ask")}, "1 columns"},
		"two rows":                  {QueryConfig{SQL: "select $1::text, 'x' from generate_series(1, 1000000)", Dial: asCluster("asker", "ask")}, "more than one row"},
		"no number":                 {QueryConfig{SQL: "select $1::text, 'x', 'soon'", Dial: asCluster("asker", "ask")}, "number of seconds"},
	} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t, mustNew(t, Config{Query: &tt.q}), nil)
			out, err := d.psql(t, "x", "user=somebody")
			if err == nil || !strings.Contains(out, "cannot look up users") || strings.Contains(out, tt.want) {
				t.Errorf("the client is told: %v: %s", err, out)
			}
			if e := d.last(t).err; code(e) != "08006" || !strings.Contains(e.Error(), tt.want) {
				t.Errorf("the operator is told: %v", e)
			}
		})
	}
}

// A client that names a database that does not exist is told so.
func TestQueryInNoDatabase(t *testing.T) {
	role(t, "asker", "login superuser password 'ask'")
	missing := func(ctx context.Context, database string) (Session, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", pg.Addr(0))
		if err != nil {
			return Session{}, err
		}
		return Login(ctx, conn, LoginParams{Credentials: NewCredentials("asker", "ask"), Database: database, SSLMode: SSLRequire})
	}
	d := openDoor(t, mustNew(t, Config{Query: &QueryConfig{Dial: missing}}), nil)
	out, err := d.psql(t, "x", "user=somebody dbname=nowhere")
	if err == nil || !strings.Contains(out, `database "nowhere" does not exist`) {
		t.Errorf("the client is told: %v: %s", err, out)
	}
	if e := d.last(t).err; code(e) != "3D000" {
		t.Errorf("the operator is told: %v", e)
	}
}

// The search path of the role that asks, which somebody may have been able to change, decides nothing.
func TestQuerySearchPathIsFixed(t *testing.T) {
	role(t, "asker", "login superuser password 'ask'")
	if _, err := pg.Psql(t.Context(), 0, `create schema evil; create table evil.pg_authid (rolname name, rolpassword text);
		insert into evil.pg_authid values ('mallory', 'letmein');
		create function evil.now() returns timestamptz language sql as 'select ''infinity''::timestamptz';
		alter role asker set search_path = evil, pg_catalog`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := pg.Psql(context.Background(), 0, "drop schema evil cascade"); err != nil {
			t.Error(err)
		}
	})
	q := &QueryConfig{SQL: "select rolname, rolpassword from pg_authid where rolname = $1", Dial: asCluster("asker", "ask")}
	d := openDoor(t, mustNew(t, Config{Query: q}), nil)
	if out, err := d.psql(t, "letmein", "user=mallory"); err == nil {
		t.Fatal("a table in another schema lets people in", out)
	}
	if out, err := d.psql(t, "ask", "user=asker"); err != nil {
		t.Fatal(out)
	}
}

// directory is a database of users in memory.
type directory struct {
	asked atomic.Int64 // how often

	mu      sync.Mutex
	secrets map[string]string // missing: no such user
	seconds string            // third column; empty: none
	away    error
	pause   time.Duration // before it answers
}

func (d *directory) set(user, secret string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.secrets[user] = secret
}

func (d *directory) dial(ctx context.Context, database string) (Session, error) {
	d.asked.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away != nil {
		return Session{}, d.away
	}
	ours, theirs := net.Pipe()
	go d.answer(theirs, d.pause)
	return Session{Conn: ours}, nil
}

func (d *directory) answer(conn net.Conn, pause time.Duration) {
	defer conn.Close()
	var user string
	for {
		kind, body, err := readMessage(conn)
		if err != nil {
			return
		}
		if kind == 'B' && len(body) > 10 {
			user = string(body[10 : len(body)-2])
		}
		if kind == 'X' {
			break
		}
	}
	time.Sleep(pause)
	d.mu.Lock()
	secret, found := d.secrets[user]
	seconds := d.seconds
	d.mu.Unlock()
	b := appendMessage(appendMessage(nil, '2'), '2')
	if found {
		columns := []string{user, secret}
		if seconds != "" {
			columns = append(columns, seconds)
		}
		b = appendMessage(b, 'D', dataRow(columns...))
	}
	conn.Write(pgwire.AppendReadyForQuery(b, 'I'))
}

func dataRow(columns ...string) []byte {
	b := []byte{0, byte(len(columns))}
	for _, c := range columns {
		b = append(append(b, 0, 0, byte(len(c)>>8), byte(len(c))), c...)
	}
	return b
}

// inDirectory runs test in a bubble of false time.
func inDirectory(t *testing.T, test func(t *testing.T, d *directory, a *Authenticator)) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{secrets: map[string]string{"ann": verifierOfPencil}}
		test(t, d, mustNew(t, Config{MockKey: []byte("key"), Query: &QueryConfig{TTL: time.Minute, Dial: d.dial}}))
	})
}

func (a *Authenticator) mustFind(t *testing.T, user string, renew bool) *account {
	t.Helper()
	acc, err := a.query.find(t.Context(), lookup{"db", user}, renew)
	if err != nil {
		t.Fatal(err)
	}
	return acc
}

func TestQueryCache(t *testing.T) {
	inDirectory(t, func(t *testing.T, d *directory, a *Authenticator) {
		asked := func(what string, n int64) {
			t.Helper()
			if got := d.asked.Load(); got != n {
				t.Fatalf("%s: asked %d times, want %d", what, got, n)
			}
		}
		ann := a.mustFind(t, "ann", false)
		if ann == nil || a.mustFind(t, "bob", false) != nil {
			t.Fatal("ann is there and bob is not")
		}
		asked("first", 2)
		time.Sleep(5 * time.Second)
		a.mustFind(t, "ann", false)
		a.mustFind(t, "bob", false)
		asked("soon after", 2)
		d.set("bob", "opensesame")
		time.Sleep(2 * time.Second)
		if a.mustFind(t, "ann", false); a.mustFind(t, "bob", false) == nil {
			t.Fatal("a new user is unknown for longer than a tenth of the TTL")
		}
		asked("after a tenth of the TTL", 3)
		time.Sleep(time.Minute)
		if a.mustFind(t, "ann", false) != ann {
			t.Fatal("the same secret makes another account: the key it has learnt is lost")
		}
		asked("after the TTL", 4)
		if a.mustFind(t, "ann", true) != ann {
			t.Fatal("renewed")
		}
		asked("renewed at once", 4)
		d.set("ann", "another")
		time.Sleep(2 * time.Second)
		if a.mustFind(t, "ann", false) != ann || a.mustFind(t, "ann", true) == ann {
			t.Fatal("a renewal brings the new secret, and only that")
		}
		asked("renewed", 5)
		if _, err := a.query.find(t.Context(), lookup{"other database", "ann"}, false); err != nil {
			t.Fatal(err)
		}
		asked("for another database", 6)
	})
}

// A secret that ends soon is not kept for longer than that.
func TestQueryHonoursValidUntil(t *testing.T) {
	inDirectory(t, func(t *testing.T, d *directory, a *Authenticator) {
		d.seconds = "2.5"
		a.mustFind(t, "ann", false)
		time.Sleep(2 * time.Second)
		a.mustFind(t, "ann", false)
		d.mu.Lock()
		d.seconds = "-0.5"
		d.mu.Unlock()
		if d.asked.Load() != 1 {
			t.Fatal("asked again while it is valid")
		}
		time.Sleep(time.Second)
		if a.mustFind(t, "ann", false) != nil {
			t.Fatal("used after its end")
		}
	})
}

// A thousand logins of one user ask once, of a thousand users few at a time.
func TestQueryStorm(t *testing.T) {
	inDirectory(t, func(t *testing.T, d *directory, a *Authenticator) {
		d.pause = time.Second
		var logins sync.WaitGroup
		for range 1000 {
			logins.Go(func() {
				if a.mustFind(t, "ann", false) == nil {
					t.Error("not found")
				}
			})
		}
		logins.Wait()
		if got := d.asked.Load(); got != 1 {
			t.Fatalf("asked %d times", got)
		}
		start := time.Now()
		for i := range 40 {
			logins.Go(func() { a.mustFind(t, fmt.Sprint("user ", i), false) })
		}
		logins.Wait()
		if took := time.Since(start); took != 40/maxLookups*time.Second {
			t.Fatalf("40 users took %v: want %d at a time", took, maxLookups)
		}
	})
}

// A failure is told to those who wait for it and then forgotten; one of a client that left is not even told.
func TestQueryFailuresAreNotKept(t *testing.T) {
	inDirectory(t, func(t *testing.T, d *directory, a *Authenticator) {
		d.away = io.ErrUnexpectedEOF
		if _, err := a.query.find(t.Context(), lookup{"db", "ann"}, false); code(err) != "08006" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		d.away = nil
		if a.mustFind(t, "ann", false) == nil {
			t.Fatal("the failure is kept")
		}

		d.pause = time.Second
		ctx, leave := context.WithCancel(t.Context())
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := a.query.find(ctx, lookup{"db", "bob"}, false); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		both.Go(func() {
			if _, err := a.query.find(t.Context(), lookup{"db", "bob"}, false); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		leave()
		both.Wait()

		d.pause = time.Hour // a server that says nothing
		if _, err := a.query.find(t.Context(), lookup{"db", "eve"}, false); code(err) != "08006" || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
	})
}

func TestQueryCacheIsBounded(t *testing.T) {
	q := newQuery(QueryConfig{}, nil)
	now := time.Now()
	done := make(chan struct{})
	close(done)
	for i := range maxEntries {
		q.entries[lookup{user: fmt.Sprint(i)}] = &entry{done: done, until: now.Add(time.Duration(i%2) * time.Hour).Add(-time.Minute)}
	}
	for i := range maxEntries {
		if _, ours := q.entry(lookup{user: fmt.Sprint("new ", i)}, false); !ours {
			t.Fatal("known already")
		}
		if len(q.entries) > maxEntries {
			t.Fatalf("%d entries", len(q.entries))
		}
	}
}

// A password that has changed: MD5 meets the new one at once, SCRAM at the next attempt, because the salt is sent first.
func TestChangedPasswords(t *testing.T) {
	for _, method := range []Method{MD5, SCRAMSHA256} {
		synctest.Test(t, func(t *testing.T) {
			d := &directory{secrets: map[string]string{"ann": "old"}}
			a := mustNew(t, Config{Method: method, Query: &QueryConfig{TTL: time.Hour, Dial: d.dial}})
			try := func(password string) error {
				_, err, _ := logIn(t, a, NewCredentials("ann", password))
				return err
			}
			if err := try("old"); err != nil {
				t.Fatal(err)
			}
			d.set("ann", "new")
			time.Sleep(2 * time.Second)
			first := try("new")
			if wrong := method == SCRAMSHA256; (first != nil) != wrong {
				t.Fatalf("method %d: %v", method, first)
			}
			if err := try("new"); err != nil {
				t.Fatalf("method %d: the second attempt: %v", method, err)
			}
			if err := try("old"); code(err) != "28P01" {
				t.Fatalf("method %d: the old password: %v", method, err)
			}
			asked := d.asked.Load()
			for range 50 {
				if err := try("guess"); code(err) != "28P01" {
					t.Fatal(err)
				}
			}
			if more := d.asked.Load() - asked; more > 1 {
				t.Fatalf("50 wrong passwords in no time ask %d times", more)
			}
		})
	}
}

func FuzzQueryAnswer(f *testing.F) {
	f.Add("ann", dataRow("ann", verifierOfPencil))
	f.Add("ann", dataRow("ann", "md5"+strings.Repeat("0", 32), "3600.5"))
	f.Add("ann", dataRow("ann", "x", "NaN"))
	f.Add("", []byte{0, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, user string, body []byte) {
		found, err := parseRow(body, user)
		if err != nil {
			return
		}
		if found.secret != "" && found.valid <= 0 {
			t.Fatal("a secret that is not valid")
		}
		s, err := ParseSecret(found.secret)
		if err != nil {
			return
		}
		if s.Kind == SecretSCRAM && (len(s.verifier.StoredKey) != 32 || len(s.verifier.ServerKey) != 32 || s.verifier.Iters < 1 || s.verifier.Salt == "") {
			t.Fatal("half a verifier")
		}
	})
}
