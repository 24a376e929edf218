package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/load"
	"github.com/outrigger-proxy/outrigger/bench/report"
)

// Caches are the scenarios of caches; that of a large heap only if one is asked for.
func Caches(s Sizes) []Scenario {
	all := []Scenario{storing(s)}
	if s.Heap > 0 {
		all = append(all, collecting(s))
	}
	return all
}

// settled is as many keys as make a process itself a small part of its memory.
const settled = 1_000_000

// storing fills a cache, and weighs it.
func storing(s Sizes) Scenario {
	const keyAndValue = 20 + 100
	name := fmt.Sprintf("resident memory with %d keys of 20 bytes and values of 100", s.Stored)
	whole := report.Figure{Name: name, Unit: "MiB", AtMost: 1, Of: contender.Redis, NoGoal: s.Stored < settled}
	each := report.Figure{Name: name + ": growth for each, besides its 120 bytes", Unit: "bytes", NoGoal: true}
	return Scenario{Name: "storing", Once: true, Cache: true, Figures: []report.Figure{whole, each}, run: func(ctx context.Context, p Pooler, v *Values) error {
		room := int64(s.Stored) * keyAndValue * 4 // far more than any of them needs: nothing is evicted
		return started(ctx, p, contender.Options{Service: load.Cache, Memory: max(room, 64<<20)}, func(c Process) error {
			base, err := c.Memory()
			if err != nil {
				return err
			}
			l := load.CacheLoop{Keys: s.Stored, Size: 100}
			if err := l.Fill(ctx, c.Addr(load.Cache)); err != nil {
				return err
			}
			return weigh(ctx, c, s.Settle, func(at time.Duration, bytes int64) {
				v.say("%v after the last key: %.1f MiB, %.1f before the first", at, mebibytes(bytes), mebibytes(base))
				v.set(whole, mebibytes(bytes))
				v.set(each, float64(bytes-base)/float64(s.Stored)-keyAndValue)
			})
		})
	}}
}

// What is read and written while the heap is collected.
const (
	heapValue   = 1000   // bytes
	heapVary    = 400    // a value that is written again has another size, and leaves garbage
	heapReads   = 10_000 // a second
	heapWrites  = 20_000
	heapClients = 16
)

// collecting holds a large heap and reads from it at a steady rate, while writes make garbage of other values. Go collects
// whenever a twentieth of the heap is garbage: many times more often than it would by itself.
func collecting(s Sizes) Scenario {
	name := fmt.Sprintf("reads while %.1f GiB of strings are collected", float64(s.Heap)/(1<<30))
	p999 := report.Figure{Name: name + ": p99.9", Unit: "ms", AtMost: 2}
	p99 := report.Figure{Name: name + ": p99", Unit: "ms", NoGoal: true}
	times := report.Figure{Name: name + ": collections", Better: report.Neither, NoGoal: true}
	return Scenario{Name: "collecting", Once: true, Cache: true, Figures: []report.Figure{p999, p99, times}, run: func(ctx context.Context, p Pooler, v *Values) error {
		o := contender.Options{Service: load.Cache, Memory: s.Heap * 2, Env: []string{"GOGC=5", "GODEBUG=gctrace=1"}}
		return started(ctx, p, o, func(c Process) error {
			fill := load.CacheLoop{Keys: int(s.Heap / heapValue), Size: heapValue}
			if err := fill.Fill(ctx, c.Addr(load.Cache)); err != nil {
				return err
			}
			before := len(traced(c.Log()))
			read, write := fill, fill
			read.Clients, read.Pipeline, read.Rate, read.Duration, read.Warm = heapClients, 1, heapReads, s.Collected, s.Collected/10
			write.Clients, write.Pipeline, write.Rate, write.Duration = heapClients, 16, heapWrites, s.Collected
			write.Sets, write.Vary = 100, heapVary
			writing := make(chan error, 1)
			go func() {
				_, err := write.Run(ctx, c.Addr(load.Cache))
				writing <- err
			}()
			got, err := read.Run(ctx, c.Addr(load.Cache))
			if err := errors.Join(err, <-writing); err != nil {
				return err
			}
			collections := traced(c.Log())[before:]
			v.say("reads: %+v\ncollections meanwhile:\n%s", got, strings.Join(collections, ""))
			if got.Failed > 0 {
				return fmt.Errorf("%d of %d reads failed", got.Failed, got.Due)
			}
			v.set(p999, milliseconds(got.P999))
			v.set(p99, milliseconds(got.P99))
			v.set(times, float64(len(collections)))
			return nil
		})
	}}
}

// traced are the lines of a log in which Go tells of a collection.
func traced(log string) []string {
	var lines []string
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "gc ") {
			lines = append(lines, line)
		}
	}
	return lines
}
