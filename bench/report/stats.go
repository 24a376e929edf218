package report

import (
	"math"
	"slices"
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

// metric is a number that runs are compared by.
type metric struct {
	name   string
	higher bool // is better
	of     func(Run) (value float64, ok bool)
}

// metrics are those of the ratio table.
func metrics() []metric {
	return []metric{
		{"rate", true, func(r Run) (float64, bool) { return r.Rate, r.Rate > 0 }},
		{"cpu", false, func(r Run) (float64, bool) {
			return float64(r.CPU.Nanoseconds()) / 1e3 / float64(max(r.Operations, 1)), r.CPU > 0 && r.Operations > 0
		}},
		{"p99", false, func(r Run) (float64, bool) { return r.P99.Seconds() * 1e3, r.P99 > 0 }},
	}
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
