// Package report turns the runs of a benchmark into a page: ratios with their spread, losses first, then the numbers
// behind them.
package report

import (
	"cmp"
	"slices"
	"time"
)

// Run is one workload on one contender in one round.
type Run struct {
	Round      int // from 1
	Workload   string
	Contender  string
	Operations int64
	Failed     int64 // of the operations
	Rate       float64
	Average    time.Duration // 0, as below: not measured
	P50        time.Duration
	P95        time.Duration
	P99        time.Duration
	P999       time.Duration
	CPU        time.Duration // that the contender's process used meanwhile
	ServerCPU  time.Duration // that PostgreSQL's processes used
	Memory     int64         // most that the contender's process held resident, in bytes
	Servers    int           // server connections that it used
	Err        string        // why there are no numbers
}

// good tells whether a run counts. One with failed operations does not: an error is answered faster than a query.
func (r Run) good() bool { return r.Err == "" && r.Failed == 0 }

// Fact is a line about the circumstances.
type Fact struct{ Name, Value string }

// Apart is a contender that is no rival: it shows what something costs, and has a table of its own.
type Apart struct{ Contender, Note string }

// Page is all that a report says.
type Page struct {
	Title     string
	Ours      string   // the contender that is compared
	Baseline  string   // what there is without any proxy: AddedLatency is relative to it
	Apart     []Apart  // in order
	Workloads []string // in order
	Runs      []Run
	Targets   []Target  // for ratios of the runs
	Figures   []Figure  // in order
	Readings  []Reading // of the figures
	Curves    []Curve   // of some of the figures
	Hits      []Hits    // of policies of eviction
	Notes     []string  // what was left out and why; what to think of the numbers
	Facts     []Fact
}

// Failures counts the runs and readings that do not count.
func (p *Page) Failures() int {
	n := 0
	for _, r := range p.Readings {
		if r.Err != "" {
			n++
		}
	}
	for _, r := range p.Runs {
		if !r.good() {
			n++
		}
	}
	return n
}

// count gives the runs of a workload on a contender, and those of them that do not count.
func (p *Page) count(workload, contender string) (runs, failures int) {
	for _, r := range p.Runs {
		if r.Workload == workload && r.Contender == contender {
			runs++
			if !r.good() {
				failures++
			}
		}
	}
	return runs, failures
}

// contenders are those that have runs, by first appearance.
func (p *Page) contenders() []string {
	var names []string
	for _, r := range p.Runs {
		if !slices.Contains(names, r.Contender) {
			names = append(names, r.Contender)
		}
	}
	return names
}

// rivals are the contenders but ours and those apart.
func (p *Page) rivals() []string {
	return slices.DeleteFunc(p.contenders(), func(name string) bool {
		return name == p.Ours || slices.ContainsFunc(p.Apart, func(a Apart) bool { return a.Contender == name })
	})
}

// values gives a metric of one workload on one contender by round; only runs that count.
func (p *Page) values(workload, contender string, m metric) map[int]float64 {
	byRound := map[int]float64{}
	for _, r := range p.Runs {
		if r.Workload == workload && r.Contender == contender && r.good() {
			if v, ok := m.of(p, r); ok {
				byRound[r.Round] = v
			}
		}
	}
	return byRound
}

// comparison is a metric of one workload, ours against another's.
type comparison struct {
	ours, theirs Spread
	ratio        Spread // of ours to theirs, within each round
	verdict      verdict
}

// compare takes another's runs of a workload that need not be the same.
func (p *Page) compare(workload, other, theirWorkload string, m metric) comparison {
	return p.compareOf(p.Ours, workload, other, theirWorkload, m)
}

// compareOf compares somebody else as if it were ours.
func (p *Page) compareOf(who, workload, other, theirWorkload string, m metric) comparison {
	ours, theirs := p.values(workload, who, m), p.values(theirWorkload, other, m)
	var ratios []float64
	for round, v := range ours {
		if w, ok := theirs[round]; ok {
			ratios = append(ratios, v/w)
		}
	}
	c := comparison{ours: spreadOf(valuesOf(ours)), theirs: spreadOf(valuesOf(theirs)), ratio: spreadOf(ratios)}
	c.verdict = judge(c.ratio, m.higher)
	return c
}

func valuesOf(byRound map[int]float64) []float64 {
	var all []float64
	for _, v := range byRound {
		all = append(all, v)
	}
	return all
}

// match is a row of the ratio table: one workload against one other.
type match struct {
	workload, other string
	runs, failures  int          // of ours
	by              []comparison // in the order of metrics()
}

// worst is the gravest verdict of the row.
func (m match) worst() verdict {
	if m.failures > 0 {
		return failed
	}
	return slices.MaxFunc(m.by, func(a, b comparison) int { return cmp.Compare(a.verdict, b.verdict) }).verdict
}

// matches are the rows against the named others: failures first, then losses, then doubtful ones, else in the workloads'
// order. There is a row when both were asked, even if nothing came of it.
func (p *Page) matches(others []string) []match {
	var rows []match
	for _, w := range p.Workloads {
		for _, other := range others {
			row := match{workload: w, other: other}
			row.runs, row.failures = p.count(w, p.Ours)
			if theirs, _ := p.count(w, other); row.runs == 0 || theirs == 0 {
				continue
			}
			for _, m := range metrics() {
				row.by = append(row.by, p.compare(w, other, w, m))
			}
			rows = append(rows, row)
		}
	}
	slices.SortStableFunc(rows, func(a, b match) int { return cmp.Compare(b.worst(), a.worst()) })
	return rows
}
