package report

import (
	"math"
	"slices"
	"time"
)

// Spread is what the rounds gave for one number.
type Spread struct {
	Median, Min, Max float64
	N                int // rounds; the rest is meaningless when it is 0
}

// spreadOf sums up values; it sorts its argument.
func spreadOf(values []float64) Spread {
	n := len(values)
	if n == 0 {
		return Spread{}
	}
	slices.Sort(values)
	median := values[n/2]
	if n%2 == 0 {
		median = (values[n/2-1] + values[n/2]) / 2
	}
	return Spread{Median: median, Min: values[0], Max: values[n-1], N: n}
}

// Names of the metrics.
const (
	Rate         = "rate"
	CPU          = "cpu"
	ServerCPU    = "postgres"
	P99          = "p99"
	AddedLatency = "added latency"
)

// metric is a number that runs are compared by.
type metric struct {
	name   string
	unit   string
	higher bool // is better
	of     func(*Page, Run) (value float64, ok bool)
}

// metrics are those of the ratio table.
func metrics() []metric {
	return []metric{
		{Rate, "/s", true, func(_ *Page, r Run) (float64, bool) { return r.Rate, r.Rate > 0 }},
		{CPU, "µs", false, func(_ *Page, r Run) (float64, bool) { return perOperation(r.CPU, r) }},
		{ServerCPU, "µs", false, func(_ *Page, r Run) (float64, bool) { return perOperation(r.ServerCPU, r) }},
		{P99, "ms", false, func(_ *Page, r Run) (float64, bool) { return milliseconds(r.P99) }},
	}
}

// columns are those of the table of all numbers, behind the rate.
func columns() []metric {
	all := metrics()
	return []metric{all[1], all[2],
		{"p50", "ms", false, func(_ *Page, r Run) (float64, bool) { return milliseconds(r.P50) }},
		{"p95", "ms", false, func(_ *Page, r Run) (float64, bool) { return milliseconds(r.P95) }},
		all[3],
		{"p99.9", "ms", false, func(_ *Page, r Run) (float64, bool) { return milliseconds(r.P999) }},
		{"memory", "MiB", false, func(_ *Page, r Run) (float64, bool) { return float64(r.Memory) / (1 << 20), r.Memory > 0 }},
		{"servers", "", false, func(_ *Page, r Run) (float64, bool) { return float64(r.Servers), r.Servers > 0 }},
	}
}

func milliseconds(d time.Duration) (float64, bool) { return d.Seconds() * 1e3, d > 0 }

// perOperation gives µs.
func perOperation(d time.Duration, r Run) (float64, bool) {
	return float64(d.Nanoseconds()) / 1e3 / float64(max(r.Operations, 1)), d > 0 && r.Operations > 0
}

// metricNamed finds a metric, also one that has no column in the ratio table.
func metricNamed(name string) metric {
	for _, m := range metrics() {
		if m.name == name {
			return m
		}
	}
	return metric{AddedLatency, "µs", false, addedLatency}
}

// addedLatency is what a run with one client took longer than the baseline's of its round, in µs for each operation. The
// rate tells it finer than the average that generators print.
func addedLatency(p *Page, r Run) (float64, bool) {
	for _, base := range p.Runs {
		if base.Round == r.Round && base.Workload == r.Workload && base.Contender == p.Baseline && base.good() && base.Rate > 0 && r.Rate > 0 {
			added := 1e6/r.Rate - 1e6/base.Rate
			return added, added > 0 // otherwise it was lost in noise, and a ratio would mean nothing
		}
	}
	return 0, false
}

// verdict is the outcome of a comparison.
type verdict int

const (
	notWorse  verdict = iota
	maybeLost         // the median is on the wrong side of 1, the rounds are on both
	lost
	failed // runs of ours did not finish, or with errors
)

// judge looks at a ratio as it is printed, with two digits: what reads 1.00 is no loss.
func judge(ratio Spread, higher bool) verdict {
	rounded := func(x float64) float64 { return math.Round(x * 100) }
	median, best := rounded(ratio.Median), rounded(ratio.Min)
	if higher {
		median, best = -median, -rounded(ratio.Max)
	}
	limit := 100.0
	if higher {
		limit = -100
	}
	switch {
	case ratio.N == 0 || median <= limit:
		return notWorse
	case best <= limit:
		return maybeLost
	default:
		return lost
	}
}
