package report

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Figure is a number that a scenario takes of each contender. The target is for ours; the others' are for comparison.
type Figure struct {
	Name   string
	Unit   string
	Better Better
	AtMost float64 // target
	Of     string  // the contender of whose value in the same repetition AtMost is a multiple; empty: AtMost has the unit
	NoGoal bool    // there is no target: AtMost means nothing
}

// Better says which of two values of a figure wins.
type Better int

// The ways of a figure.
const (
	Less Better = iota
	More
	Neither
)

// Reading is a figure of one contender, taken once.
type Reading struct {
	Figure    string
	Contender string
	Round     int // from 1
	Value     float64
	Err       string // why there is no number
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

// otherReaders are the contenders with readings of a figure but ours.
func (p *Page) otherReaders(figure string) []string {
	return slices.DeleteFunc(p.readers(), func(name string) bool {
		return name == p.Ours || !slices.ContainsFunc(p.Readings, func(r Reading) bool { return r.Figure == figure && r.Contender == name })
	})
}

// othersReadings gives the rivals' medians of a figure.
func (p *Page) othersReadings(f Figure) string {
	var cells []string
	for _, name := range p.otherReaders(f.Name) {
		s, _ := p.readings(f.Name, name)
		cells = append(cells, value(s, f.Unit))
	}
	return strings.Join(cells, ", ")
}

// figureMatch is a figure of ours against another's; other is empty when nobody else has it.
type figureMatch struct {
	figure       Figure
	other        string
	ours, theirs Spread
	ratio        Spread // of ours to theirs, within each repetition
	verdict      verdict
}

// figureMatches are all figures with readings: lost ones first, then those of which the repetitions disagree.
func (p *Page) figureMatches() []figureMatch {
	var all []figureMatch
	for _, f := range p.Figures {
		ours, _ := p.readings(f.Name, p.Ours)
		others := p.otherReaders(f.Name)
		if len(others) == 0 {
			others = []string{""}
		}
		for _, other := range others {
			theirs, _ := p.readings(f.Name, other)
			m := figureMatch{figure: f, other: other, ours: ours, theirs: theirs, ratio: p.figureRatio(f, other)}
			if f.Better != Neither {
				m.verdict = judge(m.ratio, f.Better == More)
			}
			if ours.N > 0 || theirs.N > 0 {
				all = append(all, m)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b figureMatch) int { return cmp.Compare(b.verdict, a.verdict) })
	return all
}

func (p *Page) figureRatio(f Figure, other string) Spread {
	var ratios []float64
	for _, a := range p.Readings {
		for _, b := range p.Readings {
			if a.Figure == f.Name && b.Figure == f.Name && a.Contender == p.Ours && b.Contender == other && a.Round == b.Round && a.Err == "" && b.Err == "" {
				ratios = append(ratios, quotient(a.Value, b.Value))
			}
		}
	}
	return spreadOf(ratios)
}

// quotient takes nothing to nothing as the same.
func quotient(a, b float64) float64 {
	switch {
	case b != 0:
		return a / b
	case a == 0:
		return 1
	}
	return math.Inf(1)
}

// figureTable has every figure, also those without a target.
func (p *Page) figureTable() string {
	var rows [][]string
	for _, m := range p.figureMatches() {
		mark := ""
		switch m.verdict {
		case lost:
			mark = "**lost**"
		case maybeLost:
			mark = "**lost?**"
		case notWorse, failed: // failures are among the targets
		}
		rows = append(rows, []string{mark, m.figure.Name, value(m.ours, m.figure.Unit), extremes(m.ours), cmp.Or(m.other, "–"),
			value(m.theirs, m.figure.Unit), extremes(m.theirs), ratio(m.ratio)})
	}
	return table([]string{"lost", "figure", "ours", "extremes", "against", "theirs", "extremes", "ratio"}, 2, rows)
}

// extremes are told where there is more than one number.
func extremes(s Spread) string {
	if s.N < 2 {
		return ""
	}
	return figure(Spread{Median: s.Min, N: 1}) + " .. " + figure(Spread{Median: s.Max, N: 1})
}
