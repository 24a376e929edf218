package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A section of docs/regress.md: a heading with `suite/test`, why it differs, and the difference line by line.
var (
	section  = regexp.MustCompile("(?m)^### `([a-z]+/[a-z0-9_-]+)`\n\n")
	diffText = regexp.MustCompile("(?s)\n```diff\n(.*?)```\n")
)

// readExplained returns the differences that docs/regress.md explains, by suite/test.
func readExplained(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the explained differences: %w", err)
	}
	return parseExplained(string(text)), nil
}

func parseExplained(text string) map[string]string {
	explained := make(map[string]string)
	starts := section.FindAllStringSubmatchIndex(text, -1)
	for i, at := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		if m := diffText.FindStringSubmatch(text[at[1]:end]); m != nil {
			explained[text[at[2]:at[3]]] = trimLines(m[1])
		}
	}
	return explained
}

// readDiffs returns how the results of a run differ from what is expected, by test, without file names and line numbers.
func readDiffs(out string) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(out, "output", "regression.diffs"))
	if err != nil {
		return nil, fmt.Errorf("read the differences: %w", err)
	}
	return parseDiffs(string(text)), nil
}

func parseDiffs(text string) map[string]string {
	diffs := make(map[string]string)
	name := ""
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i < len(lines); i++ {
		switch line := lines[i]; {
		case strings.HasPrefix(line, "diff "):
			name = strings.TrimSuffix(filepath.Base(strings.TrimSpace(line)), ".out")
			i += 2 // the names of the two files
		case !strings.HasPrefix(line, "@@ "):
			diffs[name] += line
		}
	}
	for name, diff := range diffs {
		diffs[name] = trimLines(diff)
	}
	return diffs
}

// trimLines takes off the blanks at the ends of lines, which editors do too.
func trimLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(line, " \t\n") + "\n")
	}
	return b.String()
}
