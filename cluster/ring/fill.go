package ring

import (
	"math"

	"github.com/cespare/xxhash/v2"
)

// The library bounds what a member owns from above only: of fifty members some would own little more than half of the mean.
// A filler gives those partitions of others, until they own the floor.
type filler struct {
	walks []walk // of each member
	loads []int
}

// walk is an order of all partitions, in which a member looks for ones to take: its own, so that members do not want the
// same ones, and always the same, so that it finds mostly the same ones in a slightly different ring.
type walk struct{ first, step int }

func newFiller(names []string) *filler {
	f := &filler{walks: make([]walk, len(names)), loads: make([]int, len(names))}
	for i, name := range names {
		h := xxhash.Sum64String(name)
		f.walks[i] = walk{int(h % Partitions), int(h>>32)%Partitions | 1} // an odd step meets each of 2^n partitions once
	}
	return f
}

// fill changes owner, in which the member gone, unless it is None, has no partition and gets none. Who gives still has no
// less than the mean.
func (f *filler) fill(owner *[Partitions]int16, gone int) {
	members := len(f.walks)
	if gone != None {
		members--
	}
	if members < 2 || members > floorMembers {
		return
	}
	mean := float64(Partitions) / float64(members)
	least, rich := int(math.Ceil(mean*floor)), int(math.Ceil(mean))
	clear(f.loads)
	for _, m := range owner {
		f.loads[m]++
	}
	for m, w := range f.walks {
		if m == gone {
			continue
		}
		// There is enough to take: who owns more than rich exists while somebody owns less than the floor, unless all others
		// own just that, and then the loop ends with all partitions seen.
		for p, seen := w.first, 0; f.loads[m] < least && seen < Partitions; p, seen = (p+w.step)%Partitions, seen+1 {
			if from := owner[p]; f.loads[from] > rich {
				f.loads[from]--
				f.loads[m]++
				owner[p] = int16(m)
			}
		}
	}
}
