package ring

import (
	"flag"
	"slices"
	"testing"
	"time"
)

var simulate = flag.Bool("ring.simulate", false, "print balance, movement and time of rings of 3 to 1,000 members, as in docs/scaling.md")

// The table of docs/scaling.md.
func TestSimulation(t *testing.T) {
	if !*simulate {
		t.Skip("only with -ring.simulate: it takes a minute")
	}
	for _, n := range []int{3, 5, 10, 20, 50, 100, 200, 500, 1000} {
		const seeds = 12
		least, most, moved, worst := 9., 0., 0., 0.
		for seed := range uint64(seeds) {
			all := podNames(seed, n+1)
			before, after := owners(all[:n]), owners(all)
			owned, changed := make([]int, n), 0
			for p := range Partitions {
				owned[before[p]]++
				if before[p] != after[p] {
					changed++
				}
			}
			mean := float64(Partitions) / float64(n)
			least, most = min(least, float64(slices.Min(owned))/mean), max(most, float64(slices.Max(owned))/mean)
			share := float64(changed) * float64(n+1) / Partitions
			moved, worst = moved+share/seeds, max(worst, share)
		}
		begin := time.Now()
		New(podNames(0, n))
		t.Logf("%4d members own %.2f to %.2f of the mean; a join moves %.2f shares, at most %.2f; a ring takes %v",
			n, least, most, moved, worst, time.Since(begin).Round(time.Millisecond))
	}
}
