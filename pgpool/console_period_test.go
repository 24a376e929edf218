package pgpool

import (
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
)

// TestAverages asks at various times what a database did that runs 10 transactions a second, and 20 from the third minute on.
func TestAverages(t *testing.T) {
	started := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	xacts := func(at time.Duration) uint64 {
		return uint64(10*at.Seconds() + 10*max(0, at-2*time.Minute).Seconds())
	}
	var h history
	for _, tt := range []struct {
		at, over time.Duration
		xacts    uint64
	}{
		{30 * time.Second, 30 * time.Second, 300},
		{time.Minute, time.Minute, 600},
		{100 * time.Second, 100 * time.Second, 1000},
		{2 * time.Minute, time.Minute, 600}, // the first minute is now the past
		{150 * time.Second, 90 * time.Second, 1200},
		{3 * time.Minute, time.Minute, 1200},
		{10 * time.Minute, 7 * time.Minute, 8400}, // nobody asked for long
		{11 * time.Minute, time.Minute, 1200},
	} {
		rows := h.rows(map[string]admin.Counters{"shop": {Xacts: xacts(tt.at)}}, started.Add(tt.at), started)
		if len(rows) != 1 || rows[0].Total.Xacts != xacts(tt.at) || rows[0].Period.Xacts != tt.xacts || rows[0].PeriodLength != tt.over {
			t.Errorf("after %v: %+v", tt.at, rows)
		}
	}
	// A database that was never seen before, and one whose counts began anew.
	rows := h.rows(map[string]admin.Counters{"new": {Xacts: 5}, "shop": {Xacts: 1}}, started.Add(11*time.Minute+time.Second), started)
	if rows[0].Period.Xacts != 5 || rows[1].Period.Xacts != 0 {
		t.Errorf("%+v", rows)
	}
}
