package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with the configuration. It never holds a secret.
type Problem struct {
	Where   string // file:line, variable, flag; empty when it is in no one place
	Setting string // empty for a file that cannot be read
	Message string
	Hint    string // what to do; may be empty
}

func (p Problem) String() string {
	var b strings.Builder
	if p.Where != "" {
		b.WriteString(p.Where + ": ")
	}
	if p.Setting != "" {
		b.WriteString(p.Setting + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		fmt.Fprintf(&b, " (%s)", p.Hint)
	}
	return b.String()
}

// Problems is the error that Load returns: everything that is wrong, not just the first thing.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, 0, len(ps)+1)
	if len(ps) == 1 {
		lines = append(lines, "1 problem in the configuration:")
	} else {
		lines = append(lines, fmt.Sprintf("%d problems in the configuration:", len(ps)))
	}
	for _, p := range ps {
		lines = append(lines, "  "+p.String())
	}
	return strings.Join(lines, "\n")
}

// Distinct drops repetitions: a file that two parts read is wrong once.
func (ps Problems) Distinct() Problems {
	var kept Problems
	for _, p := range ps {
		if !slices.Contains(kept, p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// Similar returns the known name that name is probably meant to be.
func Similar(name string, known []string) (string, bool) {
	best, edits := nearest(name, known)
	return best, edits <= max(2, len(name)/3)
}

// nearest returns the known name closest to name, and how many edits away it is.
func nearest(name string, known []string) (best string, edits int) {
	edits = len(name) + 1
	for _, k := range known {
		// As many edits as one is longer; also what keeps a name of a megabyte from taking seconds.
		if len(name)-len(k) > len(k) {
			continue
		}
		if d := distance(name, k); d < edits {
			best, edits = k, d
		}
	}
	return best, edits
}

// distance is Levenshtein's, over bytes: names are ASCII.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
