package pgpool

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
)

// statPeriod is the least time that averages are over. It is PgBouncer's stats_period.
const statPeriod = time.Minute

// history remembers totals of the past, for averages. It is kept by those who ask: the averages that one gets are over
// the last one or two periods, or since somebody last asked when that is longer.
type history struct {
	mu           sync.Mutex
	older, newer map[string]admin.Counters // under mu
	olderAt      time.Time                 // under mu; newer, too
	newerAt      time.Time
}

// rows makes rows of totals. Databases that were not there before began at 0, and so did all when the pooler started.
func (h *history) rows(totals map[string]admin.Counters, now, started time.Time) []admin.Stat {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.olderAt.IsZero() {
		h.olderAt, h.newerAt = started, started
	}
	if now.Sub(h.newerAt) >= statPeriod {
		h.older, h.olderAt = h.newer, h.newerAt
		h.newer, h.newerAt = totals, now
	}
	var out []admin.Stat
	for _, database := range slices.Sorted(maps.Keys(totals)) {
		total := totals[database]
		out = append(out, admin.Stat{Database: database, Total: total, Period: total.Since(h.older[database]), PeriodLength: now.Sub(h.olderAt)})
	}
	return out
}
