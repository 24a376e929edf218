package hitratio

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
)

// Generated are the traces that need no files: popularity by Zipf's law over so many keys, and a loop that is longer than
// the caches, which LRU never hits.
func Generated(accesses int) []Trace {
	const skew = 0.99
	keys := max(accesses/4, 1000)
	loop := max(accesses/20, 1000)
	return []Trace{
		{Name: fmt.Sprintf("zipf %.2f", skew), Keys: zipf(skew, keys, accesses), Lookups: true, Sizes: shares(keys, 1000, 100, 20, 10)},
		{Name: "a loop", Keys: around(loop, accesses), Sizes: shares(loop, 4, 2)},
	}
}

// shares of a number of keys make sizes of caches, ascending when the shares fall.
func shares(keys int, of ...int) []int {
	var all []int
	for _, share := range of {
		if n := round(keys / share); n >= leastSize {
			all = append(all, n)
		}
	}
	return all
}

// zipf draws keys, of which the one of rank r comes in proportion to r^-skew. It draws the same ones each time.
func zipf(skew float64, keys, accesses int) []uint64 {
	sums := make([]float64, keys)
	total := 0.0
	for i := range sums {
		total += math.Pow(float64(i+1), -skew)
		sums[i] = total
	}
	random := rand.New(rand.NewPCG(5, 6))
	all := make([]uint64, accesses)
	for i := range all {
		all[i] = uint64(sort.SearchFloat64s(sums, random.Float64()*total))
	}
	return all
}

// around goes through as many keys again and again.
func around(keys, accesses int) []uint64 {
	all := make([]uint64, accesses)
	for i := range all {
		all[i] = uint64(i % keys)
	}
	return all
}
