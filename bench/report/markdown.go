package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Markdown writes the page. Tables are padded, so that it reads well on a terminal too.
func (p *Page) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", p.Title)
	if n := p.Failures(); n > 0 {
		fmt.Fprintf(&b, "**%d of %d runs failed and are left out of all numbers:**\n\n", n, len(p.Runs)+len(p.Readings))
		for _, line := range p.failureLines() {
			fmt.Fprintf(&b, "- %s\n", line)
		}
		b.WriteString("\n")
	}
	for _, note := range p.Notes {
		fmt.Fprintf(&b, "- %s\n", oneLine(note))
	}
	if len(p.Notes) > 0 {
		b.WriteString("\n")
	}

	if rows := p.targetRows(); len(rows) > 0 {
		b.WriteString("## Targets\n\n")
		b.WriteString(targetTable(rows))
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "## %s against its rivals\n\n", p.Ours)
	b.WriteString("Cells: ours / theirs (medians), then the median of the rounds' ratios ours/theirs and their extremes. More is better for rate,\n" +
		"less for cpu (µs of the process per operation), postgres (µs of PostgreSQL's processes) and p99 (ms). The first column names what\n" +
		"we lose; with ? the rounds disagree.\n\n")
	b.WriteString(p.ratioTable(p.rivals()))
	for _, a := range p.Apart {
		if slices.Contains(p.contenders(), a.Contender) {
			fmt.Fprintf(&b, "\n## %s against %s\n\n%s\n\n", p.Ours, a.Contender, a.Note)
			b.WriteString(p.ratioTable([]string{a.Contender}))
		}
	}
	if charts := p.Charts(); len(charts) > 0 {
		b.WriteString("\n## Charts\n")
		for _, c := range charts {
			fmt.Fprintf(&b, "\n![%s](%s)\n", c.Title, c.File)
		}
	}
	if len(p.Figures) > 0 {
		b.WriteString("\n## Scenarios\n\nMedians over the repetitions, and their extremes; then the median of the repetitions' ratios ours/theirs. What we lose comes\n" +
			"first; with ? the repetitions disagree.\n\n")
		b.WriteString(p.figureTable())
	}
	if len(p.Hits) > 0 {
		b.WriteString("\n## Hit ratios\n\nHits in percent of the accesses, in caches with room for so many entries. What we lose comes with its distance in points:\n" +
			"to LRU, and to the best of all, also of those that others have published for the same trace and size.\n\n")
		b.WriteString(p.hitTable())
	}
	b.WriteString("\n## All numbers\n\nMedians over the rounds, and the rate's extremes. CPU time is in µs per operation, latencies in ms. Memory is the most that the\n" +
		"contender's process held resident, also for what it did before; servers are the connections to PostgreSQL on which something ran.\n\n")
	b.WriteString(p.numberTable())
	b.WriteString("\n## Circumstances\n\n")
	var facts [][]string
	for _, f := range p.Facts {
		facts = append(facts, []string{f.Name, f.Value})
	}
	b.WriteString(table([]string{"what", "value"}, 2, facts))
	_, err := io.WriteString(w, b.String())
	return err
}

// failureLines says once what failed alike in several rounds.
func (p *Page) failureLines() []string {
	var lines []string
	times := map[string]int{}
	for _, r := range p.Runs {
		if r.good() {
			continue
		}
		why := r.Err
		if why == "" {
			why = "operations failed"
		}
		line := fmt.Sprintf("%s on %s: %s", r.Workload, r.Contender, oneLine(why))
		if times[line] == 0 {
			lines = append(lines, line)
		}
		times[line]++
	}
	for _, r := range p.Readings {
		if r.Err != "" {
			line := fmt.Sprintf("%s on %s: %s", r.Figure, r.Contender, oneLine(r.Err))
			if times[line] == 0 {
				lines = append(lines, line)
			}
			times[line]++
		}
	}
	for i, line := range lines {
		lines[i] = fmt.Sprintf("%s (%d×)", line, times[line])
	}
	return lines
}

func (p *Page) ratioTable(others []string) string {
	header := []string{"lost", "workload", "against"}
	for _, m := range metrics() {
		header = append(header, m.name, "ratio")
	}
	var rows [][]string
	for _, match := range p.matches(others) {
		var losses, cells []string
		if match.failures > 0 {
			losses = append(losses, fmt.Sprintf("failed %d/%d", match.failures, match.runs))
		}
		for i, m := range metrics() {
			c := match.by[i]
			switch c.verdict {
			case lost:
				losses = append(losses, m.name)
			case maybeLost:
				losses = append(losses, m.name+"?")
			case notWorse, failed: // failures are the row's, not the metric's
			}
			cells = append(cells, pair(c), ratio(c.ratio))
		}
		mark := strings.Join(losses, " ")
		if mark != "" {
			mark = "**" + mark + "**"
		}
		rows = append(rows, append([]string{mark, match.workload, match.other}, cells...))
	}
	return table(header, 3, rows)
}

func (p *Page) numberTable() string {
	header := []string{"workload", "contender", "rate /s", "extremes"}
	for _, m := range columns() {
		header = append(header, strings.TrimSpace(m.name+" "+m.unit))
	}
	var rows [][]string
	for _, w := range p.Workloads {
		for _, c := range p.contenders() {
			rate := spreadOf(valuesOf(p.values(w, c, metricNamed(Rate))))
			if rate.N == 0 {
				continue
			}
			row := []string{w, c, figure(rate), figure(Spread{Median: rate.Min, N: 1}) + " .. " + figure(Spread{Median: rate.Max, N: 1})}
			for _, m := range columns() {
				row = append(row, figure(spreadOf(valuesOf(p.values(w, c, m)))))
			}
			rows = append(rows, append(row, strconv.Itoa(rate.N)))
		}
	}
	return table(append(header, "rounds"), 2, rows)
}

func pair(c comparison) string { return figure(c.ours) + " / " + figure(c.theirs) }

func ratio(s Spread) string {
	if s.N == 0 {
		return "–"
	}
	return strings.ReplaceAll(fmt.Sprintf("%.2f (%.2f .. %.2f)", s.Median, s.Min, s.Max), "+Inf", "∞") // of something to nothing
}

// figure prints a median with three digits or more, thousands apart.
func figure(s Spread) string {
	v := s.Median
	switch {
	case s.N == 0:
		return "–"
	case v == 0:
		return "0"
	case v < 1:
		return fmt.Sprintf("%.3f", v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 1000:
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// table writes a padded Markdown table; the first left columns are flush left, the others right.
func table(header []string, left int, rows [][]string) string {
	if len(rows) == 0 {
		return "Nothing was measured.\n"
	}
	for _, row := range rows {
		for i, cell := range row {
			row[i] = strings.ReplaceAll(cell, "|", `\|`)
		}
	}
	width := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], 3, utf8.RuneCountInString(cell)) // a rule has at least three characters
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i < left {
				b.WriteString("| " + cell + pad + " ")
			} else {
				b.WriteString("| " + pad + cell + " ")
			}
		}
		b.WriteString("|\n")
	}
	line(header)
	for i := range header {
		if i < left {
			b.WriteString("|" + strings.Repeat("-", width[i]+2))
		} else {
			b.WriteString("|" + strings.Repeat("-", width[i]+1) + ":")
		}
	}
	b.WriteString("|\n")
	for _, row := range rows {
		line(row)
	}
	return b.String()
}

// oneLine keeps a message within its list item.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
