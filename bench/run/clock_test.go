package main

import (
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

func TestCPUSince(t *testing.T) {
	ms := time.Millisecond
	samples := []sample{{0, 100 * ms}, {10 * ms, 110 * ms}, {20 * ms, 150 * ms}, {30 * ms, 160 * ms}}
	for from, want := range map[time.Duration]time.Duration{0: 60 * ms, 9 * ms: 60 * ms, 10 * ms: 50 * ms, 25 * ms: 10 * ms, time.Second: 0} {
		if got := since(samples, from); got != want {
			t.Errorf("from %v: %v, want %v", from, got, want)
		}
	}
	if got := since(nil, 0); got != 0 {
		t.Errorf("nothing was read: %v", got)
	}
	if got, err := startClock(contender.OfDirect("", "", 1), nil).stop(0); got != (usage{}) || err != nil {
		t.Errorf("without a process: %+v, %v", got, err)
	}
}

// The clock sees what the servers do meanwhile: their time, and on how many connections.
func TestClockWatchesTheServers(t *testing.T) {
	servers, err := devpg.Start(t.Context(), devpg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := servers.Stop(); err != nil {
			t.Error(err)
		}
	})
	pg, err := contender.OfServers(t.Context(), servers)
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Close()
	all := load.NewCrowd(servers.Addr(0), auth.NewCredentials(contender.User, contender.Password))
	defer all.Close()
	if _, err := all.Join(t.Context(), 3, 3, "select 'before it starts'"); err != nil {
		t.Fatal(err)
	}
	k := startClock(contender.OfDirect(servers.Addr(0), "", 10), pg)
	for range 3 { // long enough for a clock that counts in steps of 10 ms
		if _, err := all.Query(t.Context(), 3, "select count(*) from generate_series(1, 300000)"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := k.stop(0)
	if err != nil || got.Servers < 10*time.Millisecond || got.Busy != 3 || got.CPU != 0 || got.Memory != 0 {
		t.Errorf("%+v, %v; want CPU time of three servers, and nothing of a contender without a process", got, err)
	}

	k = startClock(contender.OfDirect(servers.Addr(0), "", 10), pg)
	if got, err := k.stop(0); err != nil || got.Busy != 0 {
		t.Errorf("nothing happened: %+v, %v", got, err)
	}
}
