package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Target is what a ratio of the runs should be: ours to another contender's, within a round, median of the rounds.
type Target struct {
	Workload string
	Who      string // whose ratio; empty: ours
	Metric   string // Rate, CPU, P99, AddedLatency
	Against  string
	Of       string  // workload of Against; empty: the same
	Bound    float64 // at least for Rate, at most for the others
	Cannot   bool    // Against cannot run the workload
}

// goal is the outcome of a target.
type goal int

const (
	missed goal = iota
	unmeasured
	met
)

func (g goal) String() string {
	return [...]string{"**missed**", "not measured", "met"}[g]
}

// targetRow is a line of the table of targets.
type targetRow struct {
	goal                                      goal
	what, measured, target, ours, against, by string
}

// targetRows are all targets: missed ones first, then those without numbers, else in their own order.
func (p *Page) targetRows() []targetRow {
	var rows []targetRow
	for _, t := range p.Targets {
		rows = append(rows, p.judgeTarget(t))
	}
	for _, f := range p.Figures {
		if !f.NoGoal {
			rows = append(rows, p.judgeFigure(f))
		}
	}
	slices.SortStableFunc(rows, func(a, b targetRow) int { return cmp.Compare(a.goal, b.goal) })
	return rows
}

func (p *Page) judgeTarget(t Target) targetRow {
	m := metricNamed(t.Metric)
	c := p.compareOf(cmp.Or(t.Who, p.Ours), t.Workload, t.Against, cmp.Or(t.Of, t.Workload), m)
	row := targetRow{what: strings.TrimPrefix(t.Who+", ", ", ") + t.Workload + ": " + t.Metric, against: cmp.Or(t.Of, t.Against), measured: ratio(c.ratio) + "×", ours: value(c.ours, m.unit), by: value(c.theirs, m.unit)}
	if t.Cannot {
		row.by = "cannot"
	}
	sign := "≤"
	if m.higher {
		sign = "≥"
	}
	row.target = fmt.Sprintf("%s %.2f×", sign, t.Bound)
	switch _, failures := p.count(t.Workload, cmp.Or(t.Who, p.Ours)); {
	case failures > 0:
		row.goal, row.measured = missed, fmt.Sprintf("%d failures", failures)
	case c.ratio.N == 0:
		row.goal, row.measured = unmeasured, "–"
	case within(c.ratio.Median, t.Bound, m.higher):
		row.goal = met
	}
	return row
}

func (p *Page) judgeFigure(f Figure) targetRow {
	ours, failures := p.readings(f.Name, p.Ours)
	row := targetRow{what: f.Name, measured: value(ours, f.Unit), ours: value(ours, f.Unit), against: strings.Join(p.otherReaders(f.Name), ", "), by: p.othersReadings(f),
		target: "≤ " + value(Spread{Median: f.AtMost, N: 1}, f.Unit)}
	judged := ours
	if f.Of != "" {
		theirs, _ := p.readings(f.Name, f.Of)
		judged = p.figureRatio(f, f.Of)
		row.against, row.by = f.Of, value(theirs, f.Unit)
		row.measured, row.target = ratio(judged)+"×", fmt.Sprintf("≤ %.2f×", f.AtMost)
	}
	switch {
	case failures > 0:
		row.goal, row.measured = missed, fmt.Sprintf("%d failures", failures)
	case judged.N == 0:
		row.goal = unmeasured
	case within(judged.Median, f.AtMost, false):
		row.goal = met
	}
	return row
}

// within looks at a number as it is printed, with two digits, like judge.
func within(v, bound float64, atLeast bool) bool {
	const half = 0.005
	if atLeast {
		return v >= bound-half
	}
	return v <= bound+half
}

// targetTable begins with the sum.
func targetTable(rows []targetRow) string {
	count := map[goal]int{}
	var cells [][]string
	for _, r := range rows {
		count[r.goal]++
		cells = append(cells, []string{r.goal.String(), r.what, r.measured, r.target, r.ours, r.against, r.by})
	}
	sum := fmt.Sprintf("%d met, %d missed, %d not measured. A ratio (×) is ours to the rival's; its extremes are in brackets.\n\n",
		count[met], count[missed], count[unmeasured])
	return sum + table([]string{"target", "what", "measured", "wanted", "ours", "against", "theirs"}, 2, cells)
}

func value(s Spread, unit string) string {
	if s.N == 0 {
		return "–"
	}
	if unit == "" {
		return figure(s)
	}
	return figure(s) + " " + unit
}
