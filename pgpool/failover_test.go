package pgpool

import (
	"context"
	"testing"
	"time"
)

// A transaction that waits for a server while another becomes primary begins there.
func TestAWriteThatWaitsFollowsThePrimary(t *testing.T) {
	roles := &primaryAt{}
	p := start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(testServer(t, 0), testServer(t, 0))
		c.Tuning.Defaults.PoolSize = 1
		c.Roles = func([]Server) (Roles, error) { return roles, nil }
	})
	holder, waiter := p.connect(t, simple), p.connect(t, simple)
	command(t, holder, "begin; select 1")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		for _, sql := range []string{"begin", "create temp table follows ()", "commit"} {
			if _, err := waiter.Exec(ctx, sql); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	waitFor(t, "the second client to wait", func() bool { return waiting(t, p) == 1 })
	roles.index.Store(1)
	command(t, holder, "commit")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Logins that fail together are one failure, and a server that is closed before its first use is none.
func TestFailuresThatComeTogetherAreOne(t *testing.T) {
	p := start(t, 1, func(c *Config) { c.Tuning.LoginRetry = time.Second })
	p.connect(t, simple)
	p.on(t, 0, func(w *worker) {
		for _, g := range w.groups {
			for range 5 {
				g.pools[0].failed(errEnded)
			}
			if got := g.pools[0].retry; got != time.Second {
				t.Errorf("the next attempt is in %v", got)
			}
		}
	})
}
