//go:build portable || !linux

package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	oneSeed   = flag.Uint64("sim.seed", 0, "play this history only, and print it")
	histories = flag.Int("sim.histories", 50, "how many histories to play")
	soak      = flag.Duration("sim.for", 0, "play histories for so long, from a seed of the clock")
	survey    = flag.Bool("sim.survey", false, "go on after a failure, and tell only what is wrong")
	frames    = flag.Bool("sim.frames", false, "print every piece of data as well")
)

func TestMain(m *testing.M) {
	flag.Parse()
	// One goroutine at a time, in an order that is always the same: the collector runs between histories.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	os.Exit(m.Run())
}

// play runs the history of a seed and returns it, finished.
func play(t *testing.T, seed uint64, frames bool) (w *world) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		w = newWorld(seed, frames)
		w.run()
	})
	return w
}

// verdict says what is wrong with a history; "" for nothing.
func (w *world) verdict() string {
	problems := slices.Clone(w.failures)
	wrong := check(w.history)
	for _, key := range slices.Sorted(maps.Keys(wrong)) {
		o := wrong[key]
		problems = append(problems, fmt.Sprintf("no single Redis answers as the clients saw it: at %v, client %s, %s %s %s",
			time.Duration(o.ret), o.client, o.kind, key, o.arg))
	}
	return strings.Join(problems, "\n")
}

// story is the trace, without what concerns other keys than those that the verdict names.
func (w *world) story(verdict string) string {
	var b strings.Builder
	for _, l := range w.lines {
		if len(l.keys) > 0 && *oneSeed == 0 && !slices.ContainsFunc(l.keys, func(key string) bool { return strings.Contains(verdict, key) }) {
			continue
		}
		fmt.Fprintf(&b, "%14s  %-8s %s\n", l.at, l.who, l.what)
	}
	return b.String()
}

func TestHistories(t *testing.T) {
	if *oneSeed != 0 {
		w := play(t, *oneSeed, *frames)
		verdict := w.verdict()
		fmt.Printf("%s%d operations, digest %016x\n", w.story(verdict), len(w.history), w.digest)
		if verdict != "" {
			t.Error(verdict)
		}
		return
	}
	first, count := uint64(1), *histories
	end := time.Time{}
	if *soak > 0 {
		first, count, end = uint64(time.Now().UnixNano()), 1<<62, time.Now().Add(*soak)
	}
	began, ops, played := time.Now(), 0, 0
	for i := range count {
		if i%8 == 7 {
			runtime.GC()
		}
		if !end.IsZero() && time.Now().After(end) {
			break
		}
		seed := first + uint64(i)
		w := play(t, seed, false)
		ops += len(w.history)
		played++
		if verdict := w.verdict(); verdict != "" {
			if *survey {
				t.Errorf("seed %d, %s: %s", seed, strings.Join(w.kinds, ", "), verdict)
				continue
			}
			t.Errorf("history of seed %d:\n%s%s\nto repeat it: go test -tags portable ./cachenode/sim -run TestHistories -sim.seed %d",
				seed, w.story(verdict), verdict, seed)
			break
		}
	}
	t.Logf("%d histories, %d operations, %v each", played, ops, time.Since(began)/time.Duration(max(1, played)))
}

// A seed is worth nothing if it does not repeat what it did, to the last byte.
func TestSeedRepeats(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, 5} {
		first := play(t, seed, true)
		for range 19 {
			again := play(t, seed, true)
			if again.digest == first.digest {
				continue
			}
			for i, l := range first.lines {
				if i >= len(again.lines) || again.lines[i].what != l.what || again.lines[i].at != l.at {
					t.Errorf("seed %d: line %d is %v %s %s, and then %v", seed, i, l.at, l.who, l.what, again.lines[min(i, len(again.lines)-1)])
					break
				}
			}
			t.Fatalf("seed %d: digest %016x, and then %016x", seed, first.digest, again.digest)
		}
		runtime.GC()
	}
}
