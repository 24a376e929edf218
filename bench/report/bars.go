package report

// bars draws a metric of each workload and contender. Bars are as long as their share of the longest of the same workload:
// workloads are too different for one scale.
func (p *Page) bars(title string, m metric) string {
	const left, longest, gap = 240.0, 480.0, 10.0
	var d drawing
	y := 1.5 * lineHeight
	d.text(10, y, "start", title)
	empty := true
	for _, w := range p.Workloads {
		type bar struct {
			contender string
			value     Spread
		}
		var all []bar
		most := 0.0
		for _, c := range p.contenders() {
			if s := spreadOf(valuesOf(p.values(w, c, m))); s.N > 0 {
				all = append(all, bar{c, s})
				most = max(most, s.Median)
			}
		}
		if len(all) == 0 || most == 0 {
			continue
		}
		empty = false
		y += gap
		d.text(left-10, y+lineHeight-4, "end", w)
		for _, b := range all {
			length := longest * b.value.Median / most
			d.rect(left, y+2, length, lineHeight-3, p.colour(b.contender))
			d.text(left+length+6, y+lineHeight-4, "start", figure(b.value)+" "+b.contender)
			y += lineHeight
		}
	}
	if empty {
		return ""
	}
	return d.whole(title, y+gap)
}
