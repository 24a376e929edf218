package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/bench/report"
)

// keep writes the result files and returns their directory. Results of a commit are a record, beside earlier ones; those
// of changed code cannot be repeated and go to scratch.
func keep(t tree, begin time.Time, page *report.Page, raw string) (string, error) {
	parent := filepath.Join(t.root, "bench", "results")
	if t.changed {
		parent = filepath.Join(parent, "scratch")
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("create directory for results: %w", err)
	}
	name := begin.Format(time.DateOnly) + "-" + t.commit
	dir := filepath.Join(parent, name)
	for i := 2; ; i++ {
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			break
		}
		if !os.IsExist(err) {
			return "", fmt.Errorf("create directory for results: %w", err)
		}
		dir = filepath.Join(parent, fmt.Sprintf("%s-%d", name, i))
	}
	var md, csv, figures strings.Builder
	if err := page.Markdown(&md); err != nil {
		return "", err
	}
	if err := page.CSV(&csv); err != nil {
		return "", err
	}
	if err := page.FiguresCSV(&figures); err != nil {
		return "", err
	}
	files := map[string]string{"report.md": md.String(), "runs.csv": csv.String(), "figures.csv": figures.String(), "raw.txt": raw}
	for _, c := range page.Charts() {
		files[c.File] = c.SVG
	}
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			return "", fmt.Errorf("write results: %w", err)
		}
	}
	return dir, nil
}
