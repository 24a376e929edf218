package pressure

import (
	"context"
	"log/slog"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Cache is what gives way. *store.Store is one.
type Cache interface {
	// Used is the number of bytes in use.
	Used() int64
	// SetCeiling lowers what may be used to n bytes, whatever the cache's own bound, and evicts down to it; 0 for no ceiling.
	SetCeiling(n int64)
}

const (
	lookEvery = 500 * time.Millisecond

	// A cache shrinks by a tenth at each look that finds memory short, down to a sixteenth of what it had, and may grow by as
	// much at each that finds plenty. In between it stays as it is, so that it does not swing.
	step    = 10
	lowest  = 16
	least   = 1 << 20 // bytes that a cache may have in any case: one that was all but empty must not refuse all that is written
	shortAt = 0.95    // of the limit used
	plenty  = 0.85
	// stalledAt is the share of time in which the group's tasks wait for memory: the kernel is busy finding some.
	stalledAt = 0.10
	calm      = 0.01
	// liveAt is the share of the runtime's own limit that is alive: beyond it the collector does little else than collect.
	liveAt = 0.90
)

// Governor lowers the ceiling of a cache while memory is short, and lifts it again.
type Governor struct {
	group *Group
	cache Cache
	log   *slog.Logger

	live  func() float64 // of the runtime's limit
	free  func()         // gives what was evicted back to the system
	least int64          // the lowest ceiling
	had   int64          // bytes in use when memory became short
	above int64          // the ceiling; 0: none
}

// NewGovernor makes one that Run has to drive.
func NewGovernor(group *Group, cache Cache, log *slog.Logger) *Governor {
	return &Governor{group: group, cache: cache, log: log, live: liveShare, free: debug.FreeOSMemory, least: least}
}

// Run looks at the memory until ctx ends, and returns nil.
func (g *Governor) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			g.look()
		}
	}
}

// look does one step.
func (g *Governor) look() {
	usage, stalled, live := g.group.Usage(), g.group.Stalled(), g.live()
	switch {
	case usage >= shortAt || stalled >= stalledAt || live >= liveAt:
		used := g.cache.Used()
		if g.above == 0 {
			g.had = used
			g.log.Warn("memory is short: the cache gives way", "used", used, "limit_used", usage, "stalled", stalled, "heap_limit_used", live)
		}
		g.above = max(g.had/lowest, used-used/step, g.least)
		g.cache.SetCeiling(g.above)
		if g.above < used {
			g.free() // what is evicted is garbage first: usage falls once it is collected
		}
	case g.above != 0 && usage < plenty && stalled < calm && live < plenty:
		if g.above += g.above/step + 1; g.above > g.had {
			g.log.Info("memory is no longer short: the cache grows again")
			g.above = 0
		}
		g.cache.SetCeiling(g.above)
	}
}

// liveShare is the part of the runtime's memory limit that the last collection has found alive.
func liveShare() float64 {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return 0
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return float64(sample[0].Value.Uint64()) / float64(limit)
}

// HeapLimit is what the runtime's memory limit (GOMEMLIMIT) should be where the process may use limit bytes: the rest is for what
// the runtime does not count, and for the time that it takes to collect.
func HeapLimit(limit int64) int64 { return limit - max(limit/10, min(64<<20, limit/4)) }
