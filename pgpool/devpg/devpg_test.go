package devpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startCluster(t *testing.T, opts Options) *Cluster {
	t.Helper()
	begin := time.Now()
	c, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started %d servers in %v", c.Len(), time.Since(begin).Round(time.Millisecond))
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec1(t *testing.T, url, sql string) {
	t.Helper()
	if _, err := connect(t, url).Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// eventually runs f until it returns nil, and fails with its last error after ten seconds.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func waitCount(t *testing.T, url string, want int) {
	t.Helper()
	eventually(t, "replication", func() error {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		var n int
		if err := conn.QueryRow(t.Context(), "select count(*) from t").Scan(&n); err != nil {
			return err
		}
		if n != want {
			return fmt.Errorf("%d rows, want %d", n, want)
		}
		return nil
	})
}

func TestReplicationKillPromote(t *testing.T) {
	c := startCluster(t, Options{Replicas: 2})
	exec1(t, c.PrimaryURL(), "create table t as select 1")
	replicas := c.ReplicaURLs()
	if err := c.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range c.Len() {
		if n, err := c.Psql(t.Context(), i, "select count(*) from t"); err != nil || n != "1" {
			t.Errorf("server %d has %q rows, %v", i, n, err)
		}
	}
	if _, err := c.Psql(t.Context(), 0, "select nonsense"); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a wrong query gives %v", err)
	}
	if len(replicas) != 2 {
		t.Fatalf("replica URLs %v, want 2", replicas)
	}
	for _, url := range replicas {
		waitCount(t, url, 1)
	}
	var readOnly *pgconn.PgError
	if _, err := connect(t, replicas[0]).Exec(t.Context(), "insert into t values (9)"); !errors.As(err, &readOnly) || readOnly.Code != "25006" {
		t.Fatalf("write on a replica: %v, want SQLSTATE 25006", err)
	}

	old := c.PrimaryURL()
	victim := connect(t, old)
	c.Kill(0)
	if c.Running(0) {
		t.Fatal("killed server still runs")
	}
	if _, err := victim.Exec(t.Context(), "select 1"); err == nil {
		t.Fatal("a connection to a killed server still answers")
	}
	if err := c.Promote(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if c.PrimaryURL() == old {
		t.Fatal("PrimaryURL still names the killed server")
	}
	exec1(t, c.PrimaryURL(), "insert into t values (2)")
	waitCount(t, c.URL(2), 2) // the other replica follows the new primary

	if err := c.StartNode(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if c.URL(0) != old {
		t.Fatalf("restarted server is at %s, was at %s", c.URL(0), old)
	}
	waitCount(t, old, 1) // and did not get what was written meanwhile
}

func TestStopNodeTellsClients(t *testing.T) {
	c := startCluster(t, Options{})
	conn := connect(t, c.PrimaryURL())
	asked := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "select pg_sleep(60)")
		asked <- err
	}()
	watcher := connect(t, c.PrimaryURL())
	eventually(t, "query runs", func() error {
		var n int
		if err := watcher.QueryRow(t.Context(), "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'").Scan(&n); err != nil {
			return err
		}
		if n != 1 {
			return errors.New("not yet")
		}
		return nil
	})
	c.StopNode(0)
	var pgErr *pgconn.PgError
	if err := <-asked; !errors.As(err, &pgErr) || pgErr.Code != "57P01" {
		t.Fatalf("client of a stopped server got %v, want SQLSTATE 57P01", err)
	}
}

func TestScramOverTLS(t *testing.T) {
	c := startCluster(t, Options{Replicas: 1, Auth: "scram-sha-256", Password: "s3cret", TLS: true, Settings: map[string]string{"work_mem": "5MB"}})
	for _, url := range append(c.ReplicaURLs(), c.PrimaryURL()) {
		conn := connect(t, url+"&sslrootcert="+c.CAFile())
		var tls bool
		var workMem string
		row := conn.QueryRow(t.Context(), "select ssl, current_setting('work_mem') from pg_stat_ssl where pid = pg_backend_pid()")
		if err := row.Scan(&tls, &workMem); err != nil {
			t.Fatal(err)
		}
		if !tls || workMem != "5MB" {
			t.Errorf("ssl %v, work_mem %s; want true, 5MB", tls, workMem)
		}
	}
	wrong, err := pgx.ParseConfig(c.PrimaryURL())
	if err != nil {
		t.Fatal(err)
	}
	wrong.Password = "wrong"
	conn, err := pgx.ConnectConfig(t.Context(), wrong)
	if err == nil {
		_ = conn.Close(context.Background())
		t.Fatal("a wrong password was accepted")
	}
}

func TestStopRemovesEverything(t *testing.T) {
	c := startCluster(t, Options{Replicas: 1})
	pids := []int{c.nodes[0].child.Pid(), c.nodes[1].child.Pid()}
	c.Kill(0) // a crashed server must not hinder the rest
	for range 2 {
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(c.SocketDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory is still there: %v", err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
	if err := c.StartNode(t.Context(), 0); err == nil {
		t.Error("a stopped cluster started a server")
	}
}

func TestStartFailureCleansUp(t *testing.T) {
	base := t.TempDir()
	for _, dir := range []string{base, filepath.Dir(base)} {
		if err := os.Chmod(dir, 0o755); err != nil { // for the servers' user
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", base)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := Start(ctx, Options{}); err == nil {
		_ = c.Stop()
		t.Fatal("start under a cancelled context succeeded")
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTempDirThatOthersCannotReach(t *testing.T) {
	private := filepath.Join(t.TempDir(), "private")
	inside := filepath.Join(private, "inside")
	if err := os.MkdirAll(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	if openToAll(inside) || !openToAll("/tmp") {
		t.Errorf("openToAll: inside a private directory %v, /tmp %v", openToAll(inside), openToAll("/tmp"))
	}
}

func TestSweepTakesOnlyTheAbandoned(t *testing.T) {
	base := t.TempDir()
	t.Setenv("TMPDIR", base)
	live, err := newTempDir(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer live.remove()
	abandoned := filepath.Join(base, dirPrefix+"abandoned")
	young := filepath.Join(base, dirPrefix+"young")
	for _, dir := range []string{abandoned, young} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Hour)
	for _, dir := range []string{abandoned, live.path} {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	sweep(base)
	for dir, kept := range map[string]bool{abandoned: false, young: true, live.path: true} {
		if _, err := os.Stat(dir); (err == nil) != kept {
			t.Errorf("%s: stat says %v, want kept=%v", filepath.Base(dir), err, kept)
		}
	}
}

func TestChildEndsBySignalThenByKill(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"obedient", "echo ready; exec sleep 60"},
		{"stubborn", "trap '' TERM; echo ready; while :; do sleep 1; done"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", tt.script)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			child, err := StartChild(cmd)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 16)); err != nil {
				t.Fatal(err)
			}
			if !child.Running() || child.Err() != nil {
				t.Fatal("child should run")
			}
			child.Stop(syscall.SIGTERM, 100*time.Millisecond)
			if child.Running() || child.Err() == nil {
				t.Errorf("after Stop: running %v, err %v", child.Running(), child.Err())
			}
		})
	}
	if _, err := StartChild(exec.Command("/nonexistent/program")); err == nil {
		t.Error("a program that does not exist started")
	}
}

func TestMajorVersion(t *testing.T) {
	for dir, want := range map[string]int{
		"/usr/lib/postgresql/15/bin":             15,
		"/usr/lib/postgresql/9.6/bin":            9,
		"/usr/pgsql-17/bin":                      17,
		"/opt/homebrew/opt/postgresql@16/bin":    16,
		"/usr/local/pgsql/bin":                   0,
		"/usr/local/opt/postgresql@14/bin/extra": 14,
	} {
		if got := majorVersion(dir); got != want {
			t.Errorf("majorVersion(%q) = %d, want %d", dir, got, want)
		}
	}
}
