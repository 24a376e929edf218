package pgpool

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

// twins has two databases on one server.
func twins(t *testing.T, c *Config) {
	d := Database{Name: "postgres", Servers: []Server{testServer(t, 0)}}
	c.Tuning.Databases = map[string]Database{"a": d, "b": d}
}

// fourServers makes four clients of a database that have a server each, in a transaction.
func fourServers(t *testing.T, p *testPooler, database string) (clients []*pgx.Conn) {
	t.Helper()
	for range 4 {
		c, err := p.connectAs(t, "postgres", database)
		if err != nil {
			t.Fatal(err)
		}
		command(t, c, "begin; select 1")
		clients = append(clients, c)
	}
	return clients
}

func TestOnePoolGivesUpOneServer(t *testing.T) {
	p := start(t, 2, func(c *Config) {
		twins(t, c)
		c.Tuning.Defaults.MaxUserServers = 4
	})
	for _, c := range fourServers(t, p, "a") {
		command(t, c, "commit")
	}
	b, err := p.connectAs(t, "postgres", "b")
	if err != nil {
		t.Fatal(err)
	}
	ask(t, b, "select 'here'")
	p.each(func(*worker) {}) // whatever else was asked to leave has left
	if n := len(p.pids(t)); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
}

// A server of the same user is of no use to whom the limit of the database stops.
func TestOnlyWhatHelpsIsGivenUp(t *testing.T) {
	p := start(t, 1, func(c *Config) {
		twins(t, c)
		c.Tuning.Defaults.MaxDBServers = 1
	})
	var clients []*pgx.Conn
	for _, database := range []string{"a", "b"} {
		c, err := p.connectAs(t, "postgres", database)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	command(t, clients[0], "begin; select 1")
	second, err := p.connectAs(t, "postgres", "a")
	if err != nil {
		t.Fatal(err)
	}
	before := p.pids(t)
	done := make(chan error, 1)
	go func() { _, err := second.Exec(context.Background(), "select 1"); done <- err }()
	waitFor(t, "a client to wait", func() bool { return waiting(t, p) == 1 })
	p.each(func(*worker) {})
	if after := p.pids(t); len(before) != 2 || len(after) != 2 {
		t.Errorf("connections %v became %v", before, after)
	}
	command(t, clients[0], "commit")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestLoweredLimitsAreReached(t *testing.T) {
	for name, lower := range map[string]func(*Policy){
		"max_db_connections":   func(p *Policy) { p.MaxDBServers = 2 },
		"max_user_connections": func(p *Policy) { p.MaxUserServers = 4 },
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, 2, func(c *Config) { twins(t, c) })
			a, b := fourServers(t, p, "a"), fourServers(t, p, "b")
			for _, c := range [][]*pgx.Conn{a[:3], b[:3]} {
				for _, c := range c {
					command(t, c, "commit")
				}
			}
			tuning := *p.tuning.Load()
			lower(&tuning.Defaults)
			if err := p.Reload(tuning); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the free ones to leave", func() bool { return len(p.pids(t)) == 4 })
			command(t, a[3], "commit")
			command(t, b[3], "commit")
			for _, c := range append(a, b...) {
				ask(t, c, "select 'still here'")
			}
			if n := len(p.pids(t)); n < 2 || n > 4 { // one may have been on its way out when the others were enough
				t.Errorf("%d connections in the end, want no more than 4", n)
			}
		})
	}
}

// A connection beyond a lowered limit that becomes free leaves before anybody else has it: under load it is never free for
// long enough to be found by housekeeping.
func TestServerBeyondALoweredLimitIsNotLentAgain(t *testing.T) {
	p := start(t, 1, nil)
	c := p.connect(t, simple)
	command(t, c, "begin; select 1")
	onPool := func(check func(*pool)) {
		p.on(t, 0, func(w *worker) {
			for _, g := range w.groups {
				check(g.pools[0])
			}
		})
	}
	onPool(func(p *pool) { p.slots.excess.Store(1) })
	command(t, c, "commit")
	onPool(func(p *pool) {
		if len(p.free) > 0 || p.slots.excess.Load() != 0 {
			t.Errorf("%d free, %d to leave", len(p.free), p.slots.excess.Load())
		}
	})
	ask(t, c, "select 'here'")
}
