package pgpool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// admin connects to the console.
func (p *testPooler) admin(t *testing.T) *pgx.Conn {
	t.Helper()
	c, err := p.connectAs(t, "postgres", "outrigger")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func command(t *testing.T, c *pgx.Conn, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if _, err := c.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Clients under load notice neither PAUSE nor RECONNECT but by waiting, and each of their increments is there at the end.
func TestPauseAndReconnectUnderLoadLoseNothing(t *testing.T) {
	watch := direct(t, 0)
	ctx := context.Background()
	command(t, watch, "drop table if exists paused; create table paused (n int)")
	p := start(t, 2, func(c *Config) { c.Tuning.Defaults.PoolSize = 3 })
	stop := make(chan struct{})
	var working sync.WaitGroup
	done := make([]int, 10)
	for i := range done {
		c := p.connect(t, simple)
		working.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				tx, err := c.Begin(ctx)
				if err == nil {
					_, err = tx.Exec(ctx, "insert into paused values (1)")
				}
				if err == nil {
					err = tx.Commit(ctx)
				}
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				done[i]++
			}
		})
	}
	console := p.admin(t)
	for range 5 {
		command(t, console, "pause")
		if pids := p.pids(t); len(pids) != 0 {
			t.Errorf("paused with connections %d", pids)
		}
		command(t, console, "resume")
		command(t, console, "reconnect")
		command(t, console, "wait_close")
		command(t, console, "suspend")
		command(t, console, "resume")
		command(t, console, "pause postgres")
		command(t, console, "resume postgres")
	}
	close(stop)
	working.Wait()
	want := 0
	for _, n := range done {
		want += n
	}
	var got int
	if err := watch.QueryRow(ctx, "select count(*) from paused").Scan(&got); err != nil || got != want || got == 0 {
		t.Errorf("%d rows, %d were committed (%v)", got, want, err)
	}
}

func TestPauseWaitsForTransactions(t *testing.T) {
	p := start(t, 1, nil)
	c := p.connect(t, simple)
	command(t, c, "begin; select 1")
	paused := make(chan struct{})
	console := p.admin(t)
	go func() {
		command(t, console, "pause")
		close(paused)
	}()
	waitFor(t, "the pause to begin", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.switches[""].paused
	})
	command(t, c, "select 1")
	select {
	case <-paused:
		t.Error("paused in the middle of a transaction")
	default:
	}
	command(t, c, "commit")
	<-paused
	answered := make(chan struct{})
	go func() {
		command(t, c, "select 1")
		close(answered)
	}()
	waitFor(t, "the client to wait", func() bool { return waiting(t, p) == 1 })
	command(t, console, "resume")
	<-answered
}

func TestConsoleRefusals(t *testing.T) {
	p := start(t, 1, nil)
	ask(t, p.connect(t, simple), "select 'known'")
	console := p.admin(t)
	for _, tc := range []struct{ sql, code string }{
		{"resume", "55000"},
		{"resume postgres", "55000"},
		{"pause nowhere", "3D000"},
		{"kill nowhere", "3D000"},
		{"kill_client 123456789", "42704"},
	} {
		_, err := console.Exec(context.Background(), tc.sql)
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != tc.code {
			t.Errorf("%s: %v, want %s", tc.sql, err, tc.code)
		}
	}
}

func TestDisableRefusesNewClientsOnly(t *testing.T) {
	p := start(t, 1, nil)
	c := p.connect(t, simple)
	ask(t, c, "select 'in'")
	console := p.admin(t)
	command(t, console, "disable postgres")
	_, err := p.connectAs(t, "postgres", "postgres")
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != "55000" {
		t.Errorf("a new client of a disabled database: %v", err)
	}
	ask(t, c, "select 'still in'")
	command(t, console, "enable postgres")
	if _, err := p.connectAs(t, "postgres", "postgres"); err != nil {
		t.Error(err)
	}
}

func TestKill(t *testing.T) {
	p := start(t, 2, nil)
	gone := func(c *pgx.Conn) {
		t.Helper()
		_, err := c.Exec(context.Background(), "select 1")
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != "57P01" {
			t.Errorf("a killed client: %v", err)
		}
	}
	one, other := p.connect(t, simple), p.connect(t, simple)
	ask(t, one, "select 'one'")
	command(t, other, "begin; select 1")
	console := p.admin(t)
	var id uint64
	p.each(func(w *worker) {
		for c := range w.clients {
			if c.server == nil {
				id = uint64(c.pid)
			}
		}
	})
	command(t, console, fmt.Sprintf("kill_client %d", id))
	gone(one)
	command(t, other, "select 1")
	command(t, console, "kill postgres")
	gone(other)
	waitFor(t, "servers to close", func() bool { return len(p.pids(t)) == 0 })
	command(t, console, "resume postgres")
	ask(t, p.connect(t, simple), "select 'new'")
}

func TestPinsAndStatementsAreShown(t *testing.T) {
	p := start(t, 1, nil)
	c := p.connect(t, "")
	command(t, c, "create temporary table pinned (n int)")
	if _, err := c.Prepare(context.Background(), "named", "select 42 as the_answer"); err != nil {
		t.Fatal(err)
	}
	pins := p.Console().Pins()
	if len(pins) != 1 || pins[0].Reason != pinTemp.String() || pins[0].Statement != "create temporary table pinned (n int)" || pins[0].ServerPID == 0 {
		t.Errorf("pins %+v", pins)
	}
	found := false
	for _, s := range p.Console().Statements() {
		found = found || s.SQL == "select 42 as the_answer" && s.Servers == 1
	}
	if !found {
		t.Errorf("statements %+v", p.Console().Statements())
	}
}
