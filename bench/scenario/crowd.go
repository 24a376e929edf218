package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/report"
)

// atOnce is how many clients of a crowd log in, or ask, at a time.
const atOnce = 64

// crowd lets clients connect and run a query, weighs the pooler when a few and when most of them are idle, adds the rest,
// and asks all of them again: who was dropped meanwhile cannot answer.
func crowd(s Sizes) Scenario {
	each := func(n int) report.Figure {
		return report.Figure{Name: fmt.Sprintf("resident memory for each of %d idle clients", n), Unit: "bytes", AtMost: 1024}
	}
	var figures []report.Figure
	var steps []int
	if s.Few > 0 {
		few := each(s.Few)
		few.NoGoal = true // what a process takes by itself is still a large part
		figures, steps = append(figures, few), append(steps, s.Few)
	}
	figures, steps = append(figures, each(s.Idle)), append(steps, s.Idle)
	errorsOf := report.Figure{Name: fmt.Sprintf("errors of %d clients that connect, ask, hold and ask again", s.Held)}
	connecting := report.Figure{Name: fmt.Sprintf("time for %d clients to connect and ask", s.Held), Unit: "s", NoGoal: true}
	asking := report.Figure{Name: fmt.Sprintf("time for %d held clients to ask again", s.Held), Unit: "s", NoGoal: true}
	return Scenario{Name: "crowd", Figures: append(figures, errorsOf, connecting, asking), run: func(ctx context.Context, p Pooler, v *Values) error {
		return started(ctx, p, contender.Options{}, func(c Process) error {
			base, err := c.Memory()
			if err != nil {
				return err
			}
			all := load.NewCrowd(c.Addr(load.Pooler), credentials())
			defer all.Close()
			var took time.Duration
			var firstErr error
			failed := 0
			join := func(upTo int) { // as many as that in all
				begin := time.Now()
				n, err := all.Join(ctx, upTo-all.Len()-failed, atOnce, "select 1")
				took, failed, firstErr = took+time.Since(begin), failed+n, errors.Join(firstErr, err)
			}
			for i, clients := range steps {
				join(clients)
				if err := weigh(ctx, c, s.Settle, func(at time.Duration, bytes int64) {
					v.say("%v after the last of %d: %.1f MiB, %.1f before the first", at, all.Len(), mebibytes(bytes), mebibytes(base))
					if all.Len() > 0 {
						v.set(figures[i], float64(bytes-base)/float64(all.Len()))
					}
				}); err != nil {
					return err
				}
			}
			join(s.Held)
			v.set(connecting, took.Seconds())

			begin := time.Now()
			silent, err := all.Query(ctx, atOnce, "select 1")
			v.set(asking, time.Since(begin).Seconds())
			v.set(errorsOf, float64(failed+silent))
			if err := errors.Join(firstErr, err); err != nil {
				v.say("%v", err)
			}
			return ctx.Err()
		})
	}}
}

// weigh reports the resident memory at once and when the time is up: the last value counts.
func weigh(ctx context.Context, c Process, settle time.Duration, report func(time.Duration, int64)) error {
	for _, at := range []time.Duration{0, settle} {
		select {
		case <-time.After(at):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		bytes, err := c.Memory()
		if err != nil {
			return err
		}
		report(at, bytes)
	}
	return nil
}
