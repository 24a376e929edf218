package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
)

// row is a line of the table in docs/regress.md: | `suite/test` | why |.
var row = regexp.MustCompile("(?m)^\\| `([a-z]+/[a-z0-9_-]+)` \\| (.+?) \\|$")

// readExplained returns why tests fail through the pooler, by suite/test.
func readExplained(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the explained differences: %w", err)
	}
	return parseExplained(string(text)), nil
}

func parseExplained(text string) map[string]string {
	explained := make(map[string]string)
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		explained[m[1]] = m[2]
	}
	return explained
}
