package pgpool

import (
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/health"
)

// Probes log in as the latest reload says, as after a change of password.
func TestAReloadReachesTheWatcher(t *testing.T) {
	wrong := testServer(t, 0)
	wrong.Database = "no_such_database"
	var watcher *Watcher
	var tuning Tuning
	p := start(t, 1, func(c *Config) {
		c.Tuning.Databases = fallback(wrong)
		c.Roles = func(servers []Server) (_ Roles, err error) {
			watcher, err = newWatcher(servers, health.Config{Interval: 50 * time.Millisecond, TroubleInterval: 20 * time.Millisecond})
			return watcher, err
		}
		tuning = c.Tuning
	})
	tuning.Databases = fallback(testServer(t, 0))
	if err := p.Reload(tuning); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a probe to succeed", func() bool { return watcher.Snapshot().Servers[0].Up })
}

// probe_interval holds, also after a reload.
func TestProbeInterval(t *testing.T) {
	var tuning Tuning
	p := start(t, 1, func(c *Config) {
		c.Roles = nil
		c.Tuning.ProbeInterval = time.Hour
		tuning = c.Tuning
	})
	watcher := p.Watchers()[0]
	probed := func() time.Time { return watcher.Snapshot().Servers[0].CheckedAt }
	waitFor(t, "the first probe", func() bool { return !probed().IsZero() })
	tuning.ProbeInterval = 10 * time.Millisecond
	if err := p.Reload(tuning); err != nil {
		t.Fatal(err)
	}
	for range 50 { // by default that takes longer than a test may
		last := probed()
		waitFor(t, "another probe", func() bool { return probed().After(last) })
	}
}
