package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/outrigger-proxy/outrigger/bench/hitratio"
	"github.com/outrigger-proxy/outrigger/bench/report"
)

// hitRatios is what -only has to match.
const hitRatios = "hit ratios"

// takeHits plays the traces: drawn ones, and those of TRACES. No clock is looked at, so a busy machine changes nothing.
func (b *bench) takeHits(ctx context.Context) error {
	if b.opts.split || !b.opts.only.MatchString(hitRatios) {
		return nil
	}
	plan := b.opts.plan()
	traces := hitratio.Generated(plan.drawn)
	for _, path := range b.traces {
		t, err := hitratio.Read(ctx, path)
		if err != nil {
			return err
		}
		if len(t.Keys) > plan.accesses {
			b.note(fmt.Sprintf("of the trace %s only the first %d accesses are played, of %d", t.Name, plan.accesses, len(t.Keys)))
			t.Cut(plan.accesses)
		}
		traces = append(traces, t)
	}
	for _, t := range traces {
		results, err := hitratio.Play(ctx, t)
		if err != nil {
			return err
		}
		for _, r := range results {
			b.hits = append(b.hits, report.Hits{Trace: r.Trace, Size: r.Size, Policy: r.Policy, Percent: r.Ratio})
		}
		for _, size := range t.Sizes {
			if best, policy, source, ok := hitratio.Published(t.Name, size); ok {
				b.hits = append(b.hits, report.Hits{Trace: t.Name, Size: size, Policy: policy, Percent: best, Source: source})
			}
		}
		b.say("%s: %d accesses played in caches of %d entries", t.Name, len(t.Keys), t.Sizes)
		b.judgeHits(t)
	}
	return nil
}

// judgeHits makes figures of what is asked for: LRU is beaten everywhere, and the best is near where lookups are like those
// of an application.
func (b *bench) judgeHits(t hitratio.Trace) {
	page := report.Page{Ours: hitratio.Ours, Hits: b.hits}
	add := func(name, policy string, most float64) {
		f := report.Figure{Name: fmt.Sprintf("hits of %s: most behind %s, in caches of %d to %d entries", t.Name, name, t.Sizes[0], slices.Max(t.Sizes)), Unit: "points", AtMost: most}
		b.hitFigures = append(b.hitFigures, f)
		b.readings = append(b.readings, report.Reading{Figure: f.Name, Contender: page.Ours, Round: 1, Value: page.BehindHits(t.Name, policy)})
	}
	add(hitratio.LRU, hitratio.LRU, 0)
	if t.Lookups {
		add("the best", "", 1)
	}
}
