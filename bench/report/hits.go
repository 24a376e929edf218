package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Hits is how often one policy of eviction had what a trace asked for.
type Hits struct {
	Trace   string
	Size    int // entries of the cache
	Policy  string
	Percent float64
	Source  string // who has published it; empty: measured in this run
}

// hitCase is a trace against caches of one size.
type hitCase struct {
	trace string
	size  int
}

// hitCases are in the order in which they were measured.
func (p *Page) hitCases() []hitCase {
	var all []hitCase
	for _, h := range p.Hits {
		if c := (hitCase{h.Trace, h.Size}); !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// hitPolicies are those that were measured, by first appearance.
func (p *Page) hitPolicies() []string {
	var all []string
	for _, h := range p.Hits {
		if h.Source == "" && !slices.Contains(all, h.Policy) {
			all = append(all, h.Policy)
		}
	}
	return all
}

// BehindHits tells by how many points ours is behind a policy, at the size where it is the most; policy "" is the best of
// all, published ones included. It is 0 where ours leads at every size.
func (p *Page) BehindHits(trace, policy string) float64 {
	most := 0.0
	for _, c := range p.hitCases() {
		if c.trace == trace {
			most = max(most, p.behind(c, policy))
		}
	}
	return most
}

func (p *Page) behind(c hitCase, policy string) float64 {
	ours, best := 0.0, 0.0
	for _, h := range p.Hits {
		switch {
		case h.Trace != c.trace || h.Size != c.size:
		case h.Policy == p.Ours:
			ours = h.Percent
		case policy == "" || h.Policy == policy:
			best = max(best, h.Percent)
		}
	}
	return best - ours
}

// floor is the policy that is to be beaten everywhere.
const floor = "LRU"

func (p *Page) hitTable() string {
	policies := p.hitPolicies()
	header := []string{"lost", "trace", "entries"}
	header = append(append(header, policies...), "published", "behind "+floor, "behind the best")
	var rows [][]string
	for _, c := range p.hitCases() {
		cells, known := make([]string, len(policies)), ""
		for _, h := range p.Hits {
			if h.Trace != c.trace || h.Size != c.size {
				continue
			}
			if h.Source != "" {
				known = fmt.Sprintf("%.0f %s (%s)", h.Percent, h.Policy, h.Source)
				continue
			}
			cells[slices.Index(policies, h.Policy)] = fmt.Sprintf("%.2f", h.Percent)
		}
		mark, points := "", make([]string, 2)
		for i, policy := range []string{floor, ""} {
			if by := p.behind(c, policy); by >= 0.005 {
				points[i] = fmt.Sprintf("%.2f", by)
				mark = cmp.Or(mark, "**"+cmp.Or(policy, "best")+"**")
			}
		}
		rows = append(rows, append(append([]string{mark, c.trace, strings.TrimSuffix(figure(Spread{Median: float64(c.size), N: 1}), ".0")}, cells...), known, points[0], points[1]))
	}
	return table(header, 2, rows)
}

// hitBars draws them as the rates are drawn: a case for a workload, a policy for a contender.
func (p *Page) hitBars(title string) string {
	percent := metric{"hits", "%", true, func(_ *Page, r Run) (float64, bool) { return r.Rate, true }}
	drawn := Page{Ours: p.Ours}
	for _, c := range p.hitCases() {
		drawn.Workloads = append(drawn.Workloads, c.name())
	}
	for _, h := range p.Hits {
		if h.Source == "" {
			drawn.Runs = append(drawn.Runs, Run{Workload: hitCase{h.Trace, h.Size}.name(), Contender: h.Policy, Rate: h.Percent})
		}
	}
	return drawn.bars(title, percent)
}

func (c hitCase) name() string { return fmt.Sprintf("%s, %d entries", c.trace, c.size) }
