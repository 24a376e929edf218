package report

import (
	"fmt"
	"math"
	"strings"
)

// Curve is a line for each contender through the medians of figures.
type Curve struct {
	File   string // ends in .svg
	Title  string
	X, Y   string // what the axes show
	Points []CurvePoint
}

// CurvePoint names the figures of a point.
type CurvePoint struct{ X, Y string }

// lines draws a curve of each contender, over a linear x and a logarithmic y: latencies near the most that is possible are
// of another order.
func (p *Page) lines(c Curve) string {
	const left, top, width, height = 70.0, 60.0, 640.0, 360.0
	type point struct{ x, y float64 }
	var names []string
	curves := map[string][]point{}
	mostX, leastY, mostY := 0.0, math.Inf(1), 0.0
	for _, name := range p.readers() {
		for _, at := range c.Points {
			x, _ := p.readings(at.X, name)
			y, _ := p.readings(at.Y, name)
			if x.N == 0 || y.N == 0 || y.Median <= 0 {
				continue
			}
			curves[name] = append(curves[name], point{x.Median, y.Median})
			mostX, leastY, mostY = max(mostX, x.Median), min(leastY, y.Median), max(mostY, y.Median)
		}
		if curves[name] != nil {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	stepX := niceStep(mostX)
	endX := stepX * math.Ceil(mostX/stepX)
	low, high := math.Floor(math.Log10(leastY)), math.Ceil(math.Log10(mostY))
	high = max(high, low+1)
	placeX := func(x float64) float64 { return left + width*x/endX }
	placeY := func(y float64) float64 { return top + height*(high-math.Log10(y))/(high-low) }

	var d drawing
	d.text(10, 1.5*lineHeight, "start", c.Title)
	for x := 0.0; x <= endX; x += stepX {
		d.line(placeX(x), top, placeX(x), top+height, "#dddddd")
		d.text(placeX(x), top+height+lineHeight, "middle", figure(Spread{Median: x, N: 1}))
	}
	for power := low; power <= high; power++ {
		y := math.Pow(10, power)
		d.line(left, placeY(y), left+width, placeY(y), "#dddddd")
		d.text(left-6, placeY(y)+4, "end", figure(Spread{Median: y, N: 1}))
	}
	d.text(left+width/2, top+height+2.5*lineHeight, "middle", c.X)
	d.text(10, top-8, "start", c.Y)
	for i, name := range names {
		var path []string
		for _, at := range curves[name] {
			path = append(path, fmt.Sprintf("%.1f,%.1f", placeX(at.x), placeY(at.y)))
			fmt.Fprintf(&d, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", placeX(at.x), placeY(at.y), p.colour(name))
		}
		fmt.Fprintf(&d, "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", strings.Join(path, " "), p.colour(name))
		y := top + float64(i)*lineHeight
		d.rect(left+width+20, y, 12, 12, p.colour(name))
		d.text(left+width+38, y+11, "start", name)
	}
	return d.whole(c.Title, top+height+3.5*lineHeight)
}

// niceStep divides an axis from 0 to most into four to ten parts of a round number.
func niceStep(most float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(most)))
	for _, factor := range []float64{0.1, 0.2, 0.5} {
		if most/(power*factor) <= 10 {
			return power * factor
		}
	}
	return power
}
