package scenario

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/report"
)

func start(s Sizes) Scenario {
	size := report.Figure{Name: "size of the program", Unit: "MB", AtMost: 40}
	ready := report.Figure{Name: "start to the first answer", Unit: "ms", AtMost: 200}
	base := report.Figure{Name: "resident memory after the start", Unit: "MiB", AtMost: 30}
	return Scenario{Name: "start", Figures: []report.Figure{size, ready, base}, run: func(ctx context.Context, p Pooler, v *Values) error {
		info, err := os.Stat(p.Program)
		if err != nil {
			return fmt.Errorf("look at the program: %w", err)
		}
		v.set(size, float64(info.Size())/1e6)
		var times, memory []float64
		for range s.Starts {
			err := started(ctx, p, contender.Options{}, func(c Process) error {
				bytes, err := c.Memory()
				times, memory = append(times, c.Ready().Seconds()*1e3), append(memory, mebibytes(bytes))
				return err
			})
			if err != nil {
				return err
			}
		}
		v.say("ms to start: %.1f; MiB: %.1f", times, memory)
		v.set(ready, median(times))
		v.set(base, median(memory))
		return nil
	}}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
