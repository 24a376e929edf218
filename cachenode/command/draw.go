package command

import "math/rand/v2"

// maxDraw bounds the repetitions that a negative count may ask for: the reply would not fit into memory.
const maxDraw = 10 << 20

// drawn picks from n things at random: count different ones, or -count with repetitions.
func drawn(n int, count int64) []int {
	switch {
	case n == 0 || count == 0:
		return nil
	case count < 0:
		picks := make([]int, min(-count, maxDraw))
		for i := range picks {
			picks[i] = rand.IntN(n)
		}
		return picks
	case count < int64(n)/3:
		return drawnFew(n, int(count))
	}
	return rand.Perm(n)[:min(count, int64(n))]
}

// drawnFew picks count of many more, so that a second draw of the same is rare.
func drawnFew(n, count int) []int {
	seen, picks := make(map[int]struct{}, count), make([]int, 0, count)
	for len(picks) < count {
		i := rand.IntN(n)
		if _, again := seen[i]; !again {
			seen[i] = struct{}{}
			picks = append(picks, i)
		}
	}
	return picks
}
