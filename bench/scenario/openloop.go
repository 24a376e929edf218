package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/report"
)

// levels are the loads offered, in percent of the most that the same pooler can answer.
var levels = []int{50, 80, 95}

// offered is a load and what came of it.
type offered struct{ rate, p50, p99, p999, failed, generator report.Figure }

func offeredAt(percent int) offered {
	figure := func(what, unit string) report.Figure {
		return report.Figure{Name: fmt.Sprintf("open loop at %d %% of that: %s", percent, what), Unit: unit, NoGoal: true}
	}
	o := offered{figure("offered", "/s"), figure("p50", "ms"), figure("p99", "ms"), figure("p99.9", "ms"), figure("failed", "%"),
		figure("the generator's own share of a processor", "%")}
	o.rate.Better, o.generator.Better = report.More, report.Neither
	return o
}

// Curve shows the latency over the load offered.
func Curve() report.Curve {
	c := report.Curve{File: "openloop.svg", Title: "Latency under an offered load (p99)", X: "requests offered per second", Y: "p99 in ms"}
	for _, percent := range levels {
		o := offeredAt(percent)
		c.Points = append(c.Points, report.CurvePoint{X: o.rate.Name, Y: o.p99.Name})
	}
	return c
}

// openLoop finds out how much a pooler answers at most, and how long answers take when requests come at given shares of
// that, whether or not earlier ones are answered.
func openLoop(s Sizes) Scenario {
	most := report.Figure{Name: fmt.Sprintf("open loop: most that is answered to %d clients", s.Asking), Unit: "/s", Better: report.More, NoGoal: true}
	figures := []report.Figure{most}
	for _, percent := range levels {
		o := offeredAt(percent)
		figures = append(figures, o.rate, o.p50, o.p99, o.p999, o.failed, o.generator)
	}
	return Scenario{Name: "open loop", Figures: figures, run: func(ctx context.Context, p Pooler, v *Values) error {
		return started(ctx, p, contender.Options{}, func(c Process) error {
			l := load.OpenLoop{Clients: s.Asking, Duration: s.Open, Warm: s.Open / 4, Rows: s.Rows}
			full, err := l.Run(ctx, c.Addr(load.Pooler), credentials())
			v.say("without a schedule: %+v", full)
			if err != nil {
				return err
			}
			v.set(most, full.Rate)
			for _, percent := range levels {
				l.Rate = full.Rate * float64(percent) / 100
				o, err := l.Run(ctx, c.Addr(load.Pooler), credentials())
				v.say("%.0f/s: %+v", l.Rate, o)
				if err != nil {
					return err
				}
				f := offeredAt(percent)
				v.set(f.rate, l.Rate)
				v.set(f.p50, milliseconds(o.P50))
				v.set(f.p99, milliseconds(o.P99))
				v.set(f.p999, milliseconds(o.P999))
				v.set(f.failed, share(o))
				v.set(f.generator, ownShare(o))
			}
			return nil
		})
	}}
}

// sustained is many clients who ask seldom, for a while: the load that the product's guides describe.
func sustained(s Sizes) Scenario {
	name := fmt.Sprintf("%d clients, %d requests/s for %v", s.Held, s.Requests, s.Sustained)
	failed := report.Figure{Name: name + ": failed", Unit: "%", AtMost: 0.1}
	p99 := report.Figure{Name: name + ": p99", Unit: "ms", AtMost: 12}
	p95 := report.Figure{Name: name + ": p95", Unit: "ms", NoGoal: true}
	answered := report.Figure{Name: name + ": answered", Unit: "/s", Better: report.More, NoGoal: true}
	memory := report.Figure{Name: name + ": resident memory", Unit: "MiB", NoGoal: true}
	generator := report.Figure{Name: name + ": the generator's own share of a processor", Unit: "%", Better: report.Neither, NoGoal: true}
	return Scenario{Name: "sustained", Once: true, Figures: []report.Figure{failed, p99, p95, answered, memory, generator}, run: func(ctx context.Context, p Pooler, v *Values) error {
		return started(ctx, p, contender.Options{}, func(c Process) error {
			const warm = time.Second
			l := load.OpenLoop{Clients: s.Held, Rate: float64(s.Requests), Duration: s.Sustained + warm, Warm: warm, Rows: s.Rows}
			o, err := l.Run(ctx, c.Addr(load.Pooler), credentials())
			v.say("%+v", o)
			if err != nil {
				return err
			}
			bytes, err := c.Memory()
			v.set(failed, share(o))
			v.set(p99, milliseconds(o.P99))
			v.set(p95, milliseconds(o.P95))
			v.set(answered, o.Rate)
			v.set(memory, mebibytes(bytes))
			v.set(generator, ownShare(o))
			return err
		})
	}}
}

// share of the requests that failed, in percent.
func share(o load.Opened) float64 { return 100 * float64(o.Failed) / float64(max(o.Due, 1)) }

// ownShare of a processor that the generator took, in percent.
func ownShare(o load.Opened) float64 { return 100 * o.CPU.Seconds() / o.Took.Seconds() }

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }
