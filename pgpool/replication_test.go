package pgpool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// program runs one of PostgreSQL's programs against the pooler until it ends.
func (p *testPooler) program(t *testing.T, name string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*deadline)
	t.Cleanup(cancel)
	host, port, _ := strings.Cut(p.addr, ":")
	args = append(args, "-h", host, "-p", port, "-U", "postgres", "-w")
	cmd := exec.CommandContext(ctx, filepath.Join(pg.BinDir(), name), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// replicates connects a client with replication set to value.
func (p *testPooler) replicates(t *testing.T, value string) *pgconn.PgConn {
	t.Helper()
	c, err := pgconn.Connect(context.Background(), p.url("&replication="+value))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func TestReplicationMode(t *testing.T) {
	for value, want := range map[string]replication{"": noReplication, "true": physical, "TRUE": physical, "t": physical, "yes": physical, "y": physical,
		"on": physical, "1": physical, "database": logical, "false": noReplication, "f": noReplication, "no": noReplication, "off": noReplication,
		"of": noReplication, "0": noReplication} {
		if got, err := replicationMode(value); got != want || err != nil {
			t.Errorf("%q: %v, %v, want %v", value, got, err, want)
		}
	}
	for _, value := range []string{"o", "2", "maybe", "truee", "Database"} {
		if _, err := replicationMode(value); err == nil {
			t.Errorf("%q was taken", value)
		}
	}
}

// Every kind of replication connection, from the programs that come with PostgreSQL.
func TestReplicationGoesThrough(t *testing.T) {
	p := start(t, 1, nil)
	ctx := context.Background()
	writer := direct(t, 0)
	t.Run("pg_basebackup", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "backup")
		cmd, out := p.program(t, "pg_basebackup", "-D", dir, "-X", "stream", "-c", "fast", "--no-sync")
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		check := exec.Command(filepath.Join(pg.BinDir(), "pg_verifybackup"), dir)
		if said, err := check.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, said)
		}
	})
	t.Run("pg_receivewal", func(t *testing.T) {
		dir := t.TempDir()
		cmd, out := p.program(t, "pg_receivewal", "-D", dir, "--no-sync", "--no-loop", "-v")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "a whole segment", func() bool {
			if _, err := writer.Exec(ctx, "select pg_logical_emit_message(false, 'filling', repeat('x', 100000)), pg_switch_wal()"); err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if !strings.HasSuffix(e.Name(), ".partial") {
					return true
				}
			}
			return false
		})
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("pg_recvlogical", func(t *testing.T) {
		if _, err := writer.Exec(ctx, "create table replicated(v text)"); err != nil {
			t.Fatal(err)
		}
		defer writer.Exec(ctx, "drop table replicated")
		cmd, out := p.program(t, "pg_recvlogical", "-d", "postgres", "--slot=through", "--create-slot", "-P", "test_decoding")
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		file := filepath.Join(t.TempDir(), "changes")
		cmd, out = p.program(t, "pg_recvlogical", "-d", "postgres", "--slot=through", "--start", "-f", file, "--no-loop", "--fsync-interval=0", "--status-interval=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		const rows = 2000
		for i := range rows {
			if _, err := writer.Exec(ctx, "insert into replicated values ($1)", fmt.Sprintf("row %d %s", i, strings.Repeat("y", 500))); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(t, "all rows", func() bool {
			got, _ := os.ReadFile(file)
			return bytes.Count(got, []byte("INSERT")) >= rows
		})
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			if !bytes.Contains(got, fmt.Appendf(nil, "'row %d y", i)) {
				t.Fatalf("row %d is missing", i)
			}
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		cmd, out = p.program(t, "pg_recvlogical", "-d", "postgres", "--slot=through", "--drop-slot")
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	})
	waitFor(t, "them to be forgotten", func() bool { return p.nclients.Load() == 0 && len(p.holders()) == 0 })
}

// holders are the process ids that have keys.
func (p *testPooler) holders() (pids []uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pid := range p.keys {
		pids = append(pids, pid)
	}
	return pids
}

func TestReplicationConnectionIsTheClientsOwn(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.MaxClients = 2; c.Tuning.Defaults.PoolSize = 1 })
	ctx := context.Background()
	c := p.replicates(t, "database&application_name=mine")
	if n := p.nclients.Load(); n != 1 {
		t.Errorf("%d clients", n)
	}
	one := func(sql string) (string, error) {
		res, err := c.Exec(ctx, sql).ReadAll()
		if err != nil {
			return "", err
		}
		last := res[len(res)-1]
		return string(last.Rows[0][0]), nil
	}
	for _, tc := range []struct{ sql, want string }{
		{"show application_name", "mine"},
		{"select backend_type from pg_stat_activity where pid = pg_backend_pid()", "walsender"},
	} {
		if got, err := one(tc.sql); err != nil || got != tc.want {
			t.Errorf("%s: %q, %v, want %q", tc.sql, got, err, tc.want)
		}
	}
	if system, err := one("IDENTIFY_SYSTEM"); err != nil || system == "" {
		t.Errorf("IDENTIFY_SYSTEM: %q, %v", system, err)
	}
	// It takes no place in the pool.
	other := p.connect(t, "")
	if _, err := other.Exec(ctx, "select 1"); err != nil {
		t.Error(err)
	}
	if _, err := pgconn.Connect(ctx, p.url("&replication=true")); !hasCode(err, "53300") {
		t.Errorf("beyond max_client_conn: %v", err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := c.Exec(ctx, "select pg_sleep(60)").ReadAll()
		failed <- err
	}()
	waitFor(t, "the query to run", func() bool {
		var n int
		err := other.QueryRow(ctx, "select count(*) from pg_stat_activity where application_name = 'mine' and state = 'active' and wait_event = 'PgSleep'").Scan(&n)
		return err == nil && n == 1
	})
	if err := c.CancelRequest(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !hasCode(err, "57014") {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := one("select 1"); err != nil {
		t.Error(err)
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	waitFor(t, "its server to be gone", func() bool {
		var n int
		err := other.QueryRow(ctx, "select count(*) from pg_stat_activity where application_name = 'mine'").Scan(&n)
		return err == nil && n == 0 && p.nclients.Load() == 1
	})
}

func TestReplicationEnds(t *testing.T) {
	ctx := context.Background()
	t.Run("with its server", func(t *testing.T) {
		p := start(t, 1, nil)
		c := p.replicates(t, "database&application_name=ends")
		if _, err := direct(t, 0).Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ends'"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Exec(ctx, "select 1").ReadAll(); !hasCode(err, "57P01") {
			t.Errorf("%v, want the server's own last words", err)
		}
	})
	t.Run("with the pooler", func(t *testing.T) {
		p := start(t, 1, nil)
		nc, _ := p.loginMessages(t, startupPacket("replication", "database"))
		p.halt()
		if e := fatal(rest(t, nc)); e == nil || e.Code != "57P01" || !e.Fatal() {
			t.Errorf("ended with %v", e)
		}
		nc.Close()
		waitFor(t, "it to be forgotten", func() bool { return p.nclients.Load() == 0 })
	})
	t.Run("with a message that is too large", func(t *testing.T) {
		p := start(t, 1, func(c *Config) { c.Tuning.MaxPacket = 1 << 16 })
		nc, _ := p.loginMessages(t, startupPacket("replication", "database"))
		if _, err := nc.Write(pgwire.AppendHeader(nil, pgwire.Query, 1<<16)); err != nil {
			t.Fatal(err)
		}
		if e := fatal(rest(t, nc)); e == nil || e.Code != "08P01" || !strings.Contains(e.Message, "max_packet_size") {
			t.Errorf("ended with %v", e)
		}
	})
	t.Run("before it begins", func(t *testing.T) {
		p := start(t, 1, nil)
		if _, err := pgconn.Connect(ctx, strings.Replace(p.url("&replication=database"), "/postgres?", "/nowhere?", 1)); !hasCode(err, "3D000") {
			t.Errorf("unknown database: %v", err)
		}
		_, err := pgconn.Connect(ctx, p.url("&replication=maybe"))
		if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "22023" {
			t.Errorf("replication=maybe: %v", err)
		}
	})
}

// mute is a connection whose other side has ended what it says, and reads nothing.
type mute struct {
	net.Conn
	ended chan struct{}
}

func (m mute) Read([]byte) (int, error) {
	<-m.ended
	return 0, io.EOF
}

// A side that has ended what it says, but reads nothing, does not hold the other's connection.
func TestRelayEndsWhenNobodyReads(t *testing.T) {
	for _, who := range []string{"client", "server"} {
		t.Run(who, func(t *testing.T) {
			silent, _ := net.Pipe()
			speaker, ours := net.Pipe()
			defer silent.Close()
			defer speaker.Close()
			ended := mute{silent, make(chan struct{})}
			r := &relay{client: ended, server: ours}
			if who == "server" {
				r = &relay{client: ours, server: ended}
			}
			done := make(chan error, 1)
			go func() { done <- r.run(context.Background(), pgwire.MaxFrame) }()
			speaker.Write(pgwire.AppendQuery(nil, "select 1")) // returns when the relay has it
			close(ended.ended)
			select {
			case <-done:
			case <-time.After(deadline):
				t.Error("it goes on for ever")
			}
		})
	}
}

func FuzzFraming(f *testing.F) {
	whole := pgwire.AppendReadyForQuery(pgwire.AppendQuery(nil, "select 1"), pgwire.Idle)
	f.Add(whole, 3)
	f.Add(whole[:7], 1)
	f.Add([]byte{'Q', 0, 0, 0, 3, 0}, 2)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var pieces, once framing
		ok := once.pass(b, 1<<20)
		cut = 1 + max(0, cut)%max(1, len(b)+1)
		same := true
		for rest := b; len(rest) > 0 && same; {
			n := min(cut, len(rest))
			same = pieces.pass(rest[:n], 1<<20)
			rest = rest[n:]
		}
		if same != ok || ok && pieces.between() != once.between() {
			t.Fatalf("%q in pieces of %d: %v %v, whole: %v %v", b, cut, same, pieces, ok, once)
		}
	})
}
