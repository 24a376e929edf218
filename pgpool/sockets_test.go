package pgpool

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// startOn runs a pooler that listens on a Unix socket besides TCP.
func startOn(t *testing.T, path string) *testPooler {
	t.Helper()
	return start(t, 1, func(c *Config) { c.Listen = append(c.Listen, path) })
}

func TestUnixSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, ".s.PGSQL.6432")
	t.Run("while it runs", func(t *testing.T) {
		p := startOn(t, path)
		info, err := os.Stat(path)
		if err != nil || info.Mode() != fs.ModeSocket|0o777 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		psql := exec.Command(filepath.Join(pg.BinDir(), "psql"), "-X", "-w", "-A", "-t", "-h", dir, "-p", "6432", "-U", "postgres", "-d", "postgres",
			"-c", "select 40 + 2", "-c", "show application_name")
		if out, err := psql.CombinedOutput(); err != nil || string(out) != "42\npsql\n" {
			t.Errorf("psql: %q, %v", out, err)
		}
		ctx := context.Background()
		c, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=6432 user=postgres dbname=postgres", dir))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(ctx)
		want := strings.Repeat("z", 3<<20)
		var got string
		if err := c.QueryRow(ctx, "select $1::text", want).Scan(&got); err != nil || got != want {
			t.Errorf("%d bytes back, %v", len(got), err)
		}
		if err := c.PgConn().CancelRequest(ctx); err != nil {
			t.Error(err)
		}
		if _, err := listen(path, false); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("a second one listens: %v", err)
		}
		if _, err := c.Exec(ctx, "select 1"); err != nil {
			t.Errorf("after somebody else tried: %v", err)
		}
		p.settled(t, 1)
	})
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is left behind")
	}
}

func TestSocketOfAProcessThatWasKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".s.PGSQL.6432")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	again, err := listen(path, false)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(path, false); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("in the place of a file: %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file is %q, %v", b, err)
	}
	if _, err := listen(filepath.Join(filepath.Dir(path), "nowhere", "socket"), false); err == nil {
		t.Error("listens in a directory that does not exist")
	}
}

func TestAbstractSocket(t *testing.T) {
	name := fmt.Sprintf("@outrigger-test-%d", os.Getpid())
	p := startOn(t, name)
	if !isLocal(p.Addrs()[1]) {
		t.Error("it is not local")
	}
	nc, err := net.Dial("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write(startupPacket()); err != nil {
		t.Fatal(err)
	}
	w := &wire{nc: nc, params: map[string]string{}, me: -1, patience: patience}
	if m, err := w.read(); err != nil || m.typ != 'R' {
		t.Errorf("%v, %v", m, err)
	}
}

func TestServersOverUnixSockets(t *testing.T) {
	_, port, _ := net.SplitHostPort(pg.Addr(0))
	server, err := ParseURL(fmt.Sprintf("postgres://postgres@%s:%s/postgres", url.PathEscape(pg.SocketDir()), port))
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, 1, func(c *Config) { c.Tuning.Databases = fallback(server) })
	c := p.connect(t, "")
	ctx := context.Background()
	var addr *string
	if err := c.QueryRow(ctx, "select inet_server_addr()::text").Scan(&addr); err != nil || addr != nil {
		t.Errorf("server at %v, %v", addr, err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := c.Exec(ctx, "select pg_sleep(60)")
		failed <- err
	}()
	p.runs(t, "select pg_sleep(60)")
	if err := c.PgConn().CancelRequest(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !hasCode(err, "57014") {
		t.Error(err)
	}
}

// runs waits until a server is at work on sql: before that it ignores a cancel request.
func (p *testPooler) runs(t *testing.T, sql string) {
	t.Helper()
	watch := direct(t, 0)
	waitFor(t, sql+" to run", func() bool {
		var pids []int32 // of this pooler: others may run the same
		for i := range p.workers {
			p.on(t, i, func(w *worker) {
				for _, g := range w.groups {
					for _, pl := range g.pools {
						for s := range pl.all {
							pids = append(pids, int32(s.pid))
						}
					}
				}
			})
		}
		var n int
		if err := watch.QueryRow(context.Background(), "select count(*) from pg_stat_activity where query = $1 and state = 'active' and pid = any($2)", sql, pids).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n > 0
	})
}

// busy counts servers of worker 0 that owe a client an answer.
func (p *testPooler) busy(t *testing.T) (n int) {
	t.Helper()
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			for _, pl := range g.pools {
				for s := range pl.all {
					if s.client != nil && s.owed.n > len(s.inspections) {
						n++
					}
				}
			}
		}
	})
	return n
}
