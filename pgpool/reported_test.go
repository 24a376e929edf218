package pgpool

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// SHOW of what servers report is answered here, byte for byte as a server would, and by a server whenever it is not certain.
func TestShowIsAnsweredHere(t *testing.T) {
	direct, pooled := differentialDatabases(t, 1)
	p := startKnown(t, 1, nil)
	for _, settings := range [][]string{nil, {"TimeZone", "Asia/Tokyo", "client_encoding", "LATIN1"}} {
		d, err := newDiffer(p, direct, pooled, whole, settings...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := d.step(step{query("select 1")}); diff != "" { // the database's settings are known with its first server
			t.Fatal(diff)
		}
		ran := func() (n uint64) {
			for _, of := range p.counts(t) {
				n += of
			}
			return n
		}
		ask := func(here bool, s step) {
			t.Helper()
			before := ran()
			if diff := d.step(s); diff != "" {
				t.Error(diff)
			}
			if after := ran(); (after == before) != here {
				t.Errorf("%v: %d queries were run by servers", s, after-before)
			}
		}
		var knownHere bool
		waitFor(t, "the catalog of the database to be known", func() bool {
			if diff := d.step(step{query("select 1")}); diff != "" {
				t.Fatal(diff)
			}
			p.on(t, 0, func(w *worker) {
				for g := range w.groups {
					if known := g.catalog.Load(); g.key.database == pooled {
						knownHere = !known.unsure() && !known.outOfDate(w.loop.Now())
					}
				}
			})
			return knownHere
		})
		changed := func(name string) bool { return slices.Contains(settings, name) }
		for name, here := range map[string]bool{"server_version": true, "SERVER_ENCODING": true, "integer_datetimes": true,
			"TimeZone": !changed("TimeZone"), "time zone": !changed("TimeZone"), "DateStyle": true, `"DateStyle"`: false, "client_encoding": !changed("client_encoding"),
			"standard_conforming_strings": true, "intervalstyle": true,
			"work_mem": false, "application_name": false, "is_superuser": false, "in_hot_standby": false, "session_authorization": false,
			"transaction_isolation": false, "nowhere": false, "all": false} {
			if name == "all" {
				continue // the process's own
			}
			sql := "show " + name
			ask(here, step{query(sql)})
			ask(here, append(run(sql), syncs))
			ask(here, step{parse("", sql), describe('S', ""), bind("", ""), describe('P', ""), execute("", 0), syncs})
			ask(here, step{parse("", sql), message{'B', append(cstrings("", ""), 0, 0, 0, 0, 0, 1, 0, 1)}, describe('P', ""), execute("", 0), syncs})
			ask(false, step{parse("", sql), message{'B', append(cstrings("", ""), 0, 0, 0, 0, 0, 2, 0, 1, 0, 0)}, describe('P', ""), execute("", 0), syncs})
			ask(false, step{query(sql + "; select 1")})
		}
		// In a transaction as outside of it; behind a SET by a server, until that is taken back.
		ask(true, step{query("begin"), query("show server_version"), query("show datestyle"), query("commit")})
		ask(false, step{query("set datestyle = 'German'")})
		ask(false, step{query("show datestyle")})
		ask(false, step{query("set datestyle = 'German'"), query("show datestyle")})
		ask(false, step{query("begin"), query("set timezone = 'UTC'"), query("show timezone"), query("rollback")})
		ask(false, step{query("discard all")})
		ask(true, step{query("show datestyle")})
		ask(false, step{query("select set_config('datestyle', 'German', false)")})
		ask(false, step{query("show datestyle")})
		d.close()
	}
}

// When two servers have said different things, neither is passed off as the other's.
func TestShowWhenServersDiffer(t *testing.T) {
	p := start(t, 1, nil)
	c := p.connect(t, "")
	simply(t, c, "select 1")
	before, _ := p.totals()
	p.on(t, 0, func(w *worker) {
		for g := range w.groups {
			old := *g.welcome.Load()
			other := map[string]string{"server_version": "1.0"}
			for name, value := range old {
				if other[name] == "" {
					other[name] = value
				}
			}
			g.welcome.Store(&other)
		}
		for _, g := range w.groups { // the next login says something else
			g.pools[0].retireFree()
		}
	})
	simply(t, c, "select 1")
	var said, is string
	if err := c.QueryRow(context.Background(), "show server_version").Scan(&said); err != nil {
		t.Fatal(err)
	}
	if err := directTo(t, "postgres").QueryRow(context.Background(), "show server_version").Scan(&is); err != nil {
		t.Fatal(err)
	}
	if said != is {
		t.Errorf("%s instead of %s", said, is)
	}
	if after, _ := p.totals(); after == before {
		t.Error(fmt.Sprint("nothing is counted: ", after))
	}
}
