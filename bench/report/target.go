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
	Metric   string // Rate, CPU, P99, AddedLatency
	Against  string
	Of       string  // workload of Against; empty: the same
	Bound    float64 // at least for Rate, at most for the others
	Cannot   bool    // Against cannot run the workload
}

// Figure is a number that a scenario takes of each contender. The target is for ours; the others' are for comparison.
type Figure struct {
	Name   string
	Unit   string
	AtMost float64 // target
	NoGoal bool    // there is no target: AtMost means nothing
}

// Reading is a figure of one contender, taken once.
type Reading struct {
	Figure    string
	Contender string
	Round     int // from 1
	Value     float64
	Err       string // why there is no number
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
	c := p.compare(t.Workload, t.Against, cmp.Or(t.Of, t.Workload), m)
	row := targetRow{what: t.Workload + ": " + t.Metric, against: cmp.Or(t.Of, t.Against), measured: ratio(c.ratio) + "×", ours: value(c.ours, m.unit), by: value(c.theirs, m.unit)}
	if t.Cannot {
		row.by = "cannot"
	}
	sign := "≤"
	if m.higher {
		sign = "≥"
	}
	row.target = fmt.Sprintf("%s %.2f×", sign, t.Bound)
	switch _, failures := p.count(t.Workload, p.Ours); {
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
	row := targetRow{what: f.Name, measured: value(ours, f.Unit), ours: value(ours, f.Unit), against: strings.Join(p.otherReaders(), ", "), by: p.othersReadings(f),
		target: "≤ " + value(Spread{Median: f.AtMost, N: 1}, f.Unit)}
	switch {
	case failures > 0:
		row.goal, row.measured = missed, fmt.Sprintf("%d failures", failures)
	case ours.N == 0:
		row.goal = unmeasured
	case within(ours.Median, f.AtMost, false):
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

// readings sums up a contender's readings of a figure, and counts those that failed.
func (p *Page) readings(figure, contender string) (s Spread, failures int) {
	var values []float64
	for _, r := range p.Readings {
		switch {
		case r.Figure != figure || r.Contender != contender:
		case r.Err != "":
			failures++
		default:
			values = append(values, r.Value)
		}
	}
	return spreadOf(values), failures
}

// readers are the contenders with readings, by first appearance.
func (p *Page) readers() []string {
	var names []string
	for _, r := range p.Readings {
		if !slices.Contains(names, r.Contender) {
			names = append(names, r.Contender)
		}
	}
	return names
}

// otherReaders are the contenders with readings but ours.
func (p *Page) otherReaders() []string {
	return slices.DeleteFunc(p.readers(), func(name string) bool { return name == p.Ours })
}

// othersReadings gives the rivals' medians of a figure.
func (p *Page) othersReadings(f Figure) string {
	var cells []string
	for _, name := range p.otherReaders() {
		s, _ := p.readings(f.Name, name)
		cells = append(cells, value(s, f.Unit))
	}
	return strings.Join(cells, ", ")
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

// figureTable has every reading, also of figures without a target.
func (p *Page) figureTable() string {
	var rows [][]string
	for _, f := range p.Figures {
		for _, name := range p.readers() {
			s, _ := p.readings(f.Name, name)
			if s.N == 0 {
				continue
			}
			rows = append(rows, []string{f.Name, name, value(s, f.Unit),
				figure(Spread{Median: s.Min, N: 1}) + " .. " + figure(Spread{Median: s.Max, N: 1}), fmt.Sprint(s.N)})
		}
	}
	return table([]string{"figure", "contender", "median", "extremes", "times"}, 2, rows)
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
