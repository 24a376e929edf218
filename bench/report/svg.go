package report

import (
	"fmt"
	"html"
	"slices"
	"strings"
)

// Chart is a picture that belongs to a page.
type Chart struct{ File, Title, SVG string }

// Charts are the pictures for which there are numbers.
func (p *Page) Charts() []Chart {
	var all []Chart
	for _, bars := range []struct{ file, title, metric string }{
		{"rate.svg", "Operations per second, more is better", Rate},
		{"cpu.svg", "CPU time of the contender per operation in µs, less is better", CPU},
		{"postgres.svg", "CPU time of PostgreSQL per operation in µs, less is better", ServerCPU},
	} {
		if svg := p.bars(bars.title, metricNamed(bars.metric)); svg != "" {
			all = append(all, Chart{bars.file, bars.title, svg})
		}
	}
	const hits = "Hits in percent of the accesses, more is better"
	if svg := p.hitBars(hits); svg != "" {
		all = append(all, Chart{"hits.svg", hits, svg})
	}
	for _, c := range p.Curves {
		if svg := p.lines(c); svg != "" {
			all = append(all, Chart{c.File, c.Title, svg})
		}
	}
	return all
}

// palette is for contenders in the order of the page; they are told apart by name too.
var palette = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#f0e442"}

func (p *Page) colour(contender string) string {
	names := append(p.contenders(), p.readers()...) // who has no runs has readings
	return palette[slices.Index(names, contender)%len(palette)]
}

const (
	chartWidth = 900
	lineHeight = 16
)

// drawing is an SVG that grows.
type drawing struct{ strings.Builder }

func (d *drawing) rect(x, y, width, height float64, colour string) {
	fmt.Fprintf(d, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, y, width, height, colour)
}

func (d *drawing) line(x1, y1, x2, y2 float64, colour string) {
	fmt.Fprintf(d, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1, y1, x2, y2, colour)
}

// text is anchored at its start, middle or end.
func (d *drawing) text(x, y float64, anchor, s string) {
	fmt.Fprintf(d, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, html.EscapeString(s))
}

// whole closes the picture; it is as wide as all of them.
func (d *drawing) whole(title string, height float64) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" font-family="sans-serif" font-size="12">
<title>%s</title>
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, chartWidth, height, html.EscapeString(title), d.String())
}
