package report

import (
	"encoding/csv"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3, 1}},
		{[]float64{4, 1}, Spread{2.5, 1, 4, 2}},
		{[]float64{9, 1, 2}, Spread{2, 1, 9, 3}},
		{[]float64{5, 1, 100, 2}, Spread{3.5, 1, 100, 4}},
	} {
		if got := spreadOf(tt.values); got != tt.want {
			t.Errorf("got %v, want %v", got, tt.want)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name             string
		median, min, max float64
		more, less       verdict // when more is better, when less is
	}{
		{"far above", 2, 1.5, 3, notWorse, lost},
		{"far below", 0.5, 0.4, 0.9, lost, notWorse},
		{"above, rounds disagree", 1.1, 0.9, 1.3, notWorse, maybeLost},
		{"below, rounds disagree", 0.9, 0.8, 1.2, maybeLost, notWorse},
		{"reads 1.00", 0.996, 0.9, 0.997, notWorse, notWorse},
		{"reads 1.00 from above", 1.004, 1.003, 1.1, notWorse, notWorse},
		{"one", 1, 1, 1, notWorse, notWorse},
	} {
		s := Spread{Median: tt.median, Min: tt.min, Max: tt.max, N: 3}
		if got := judge(s, true); got != tt.more {
			t.Errorf("%s, more is better: %v, want %v", tt.name, got, tt.more)
		}
		if got := judge(s, false); got != tt.less {
			t.Errorf("%s, less is better: %v, want %v", tt.name, got, tt.less)
		}
	}
	if got := judge(Spread{}, true); got != notWorse {
		t.Errorf("nothing measured: %v", got)
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{0.1234: "0.123", 1.234: "1.23", 12.34: "12.3", 999.4: "999.4", 1000: "1,000", 61234.5: "61,234", 1234567: "1,234,567"} {
		if got := figure(Spread{Median: v, N: 1}); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if got := figure(Spread{}); got != "–" {
		t.Errorf("nothing: %s", got)
	}
}

// A ratio is taken within a round: a slow round hits both sides and leaves it as it is.
func TestRatioIsPaired(t *testing.T) {
	var p Page
	p.Ours = "us"
	for round, speed := range map[int]float64{1: 1, 2: 0.1, 3: 3} {
		p.Runs = append(p.Runs,
			Run{Round: round, Workload: "w", Contender: "us", Operations: 1, Rate: 2000 * speed},
			Run{Round: round, Workload: "w", Contender: "them", Operations: 1, Rate: 1000 * speed})
	}
	p.Runs = append(p.Runs, Run{Round: 4, Workload: "w", Contender: "us", Operations: 1, Rate: 1}) // their round 4 is missing
	c := p.compare("w", "them", "w", metrics()[0])
	if c.ratio.N != 3 || math.Abs(c.ratio.Min-2) > 1e-9 || math.Abs(c.ratio.Max-2) > 1e-9 {
		t.Errorf("ratio %+v, want 2 in three rounds", c.ratio)
	}
	if c.ours.N != 4 || c.ours.Min != 1 {
		t.Errorf("ours %+v", c.ours)
	}
}

// example has a win, a loss, a doubtful loss, failures and gaps.
func example() *Page {
	p := &Page{
		Title: "Outrigger 0123abc, 2026-01-02, quick", Ours: "outrigger", Baseline: "direct", Apart: []Apart{{"direct", "Without any."}, {"nobody", "No runs."}},
		Workloads: []string{"select clients=16", "select clients=64", "tpc-b", "prepared", "GET"},
		Targets: []Target{
			{Workload: "select clients=16", Metric: CPU, Against: "pgbouncer", Bound: 1},
			{Workload: "select clients=64", Metric: Rate, Against: "pgbouncer", Bound: 1.05},
			{Workload: "select clients=64", Metric: P99, Against: "pgbouncer", Bound: 1},
			{Workload: "select clients=16", Metric: AddedLatency, Against: "pgbouncer", Bound: 1},
			{Workload: "tpc-b", Metric: Rate, Against: "pgbouncer", Bound: 0.5},
			{Workload: "prepared", Metric: Rate, Against: "pgbouncer", Bound: 1, Cannot: true},
			{Workload: "select clients=64", Metric: Rate, Against: "outrigger", Of: "select clients=16", Bound: 0.5},
		},
		Figures: []Figure{{Name: "start", Unit: "ms", AtMost: 200}, {Name: "load 1", Unit: "/s", Better: More, NoGoal: true},
			{Name: "p99 2", Unit: "ms", Better: Neither, NoGoal: true}, {Name: "p99 1", Unit: "ms", NoGoal: true}, {Name: "growth", Unit: "MiB", AtMost: 4}, {Name: "duration", Unit: "s", NoGoal: true},
			{Name: "errors"}, {Name: "broken", AtMost: 1}, {Name: "nothing", AtMost: 1}},
		Readings: []Reading{
			{"start", "pgbouncer", 1, 20, ""}, {"start", "pgbouncer", 2, 400, ""}, {"start", "pgbouncer", 3, 40, ""}, {"start", "outrigger", 1, 90, ""}, {"start", "outrigger", 2, 300, ""}, {"start", "outrigger", 3, 110, ""},
			{"growth", "outrigger", 1, 4.01, ""}, {"growth", "pgbouncer", 1, 0, ""}, {"duration", "outrigger", 1, 2.5, ""}, {"errors", "outrigger", 1, 0, ""}, {"errors", "pgbouncer", 1, 3, ""},
			{"broken", "outrigger", 1, 0, "not done\nafter 5m"}, {"broken", "outrigger", 2, 0, ""},
			{"load 1", "pgbouncer", 1, 10_000, ""}, {"load 2", "pgbouncer", 1, 16_000, ""}, {"load 3", "pgbouncer", 1, 19_000, ""},
			{"p99 1", "pgbouncer", 1, 1.5, ""}, {"p99 2", "pgbouncer", 1, 4, ""}, {"p99 3", "pgbouncer", 1, 150, ""},
			{"load 1", "outrigger", 1, 20_000, ""}, {"load 2", "outrigger", 1, 32_000, ""}, {"load 3", "outrigger", 1, 0, "not done"},
			{"p99 1", "outrigger", 1, 0.7, ""}, {"p99 2", "outrigger", 1, 3, ""},
		},
		Curves: []Curve{{File: "curve.svg", Title: "Latency <under load>", X: "offered", Y: "p99 in ms", Points: []CurvePoint{{"load 1", "p99 1"}, {"load 2", "p99 2"}, {"load 3", "p99 3"}}}},
		Notes:  []string{"not run: prepared on pgbouncer: too\nold"},
		Facts:  []Fact{{"processors", "2 × Example"}, {"only workloads like", "`a|b`"}},
	}
	add := func(round int, workload, contender string, rate float64, p99, cpu time.Duration) {
		p.Runs = append(p.Runs, Run{Round: round, Workload: workload, Contender: contender, Operations: 1000, Rate: rate,
			Average: p99 / 4, P50: p99 / 5, P95: p99 / 2, P99: p99, P999: 2 * p99, CPU: cpu * 1000, ServerCPU: time.Duration(1e12 / rate), Memory: 9 << 20, Servers: 4})
	}
	const us, ms = time.Microsecond, time.Millisecond
	for round := 1; round <= 3; round++ {
		slow := float64(round)
		for _, w := range []string{"select clients=16", "select clients=64", "tpc-b", "prepared"} {
			add(round, w, "direct", 40_000/slow, ms, 0)
		}
		add(round, "select clients=16", "pgbouncer", 30_000/slow, 2*ms, 14*us)
		add(round, "select clients=16", "outrigger", 60_000/slow, 1*ms, 7*us)
		add(round, "select clients=64", "pgbouncer", 30_000/slow, 2*ms, 14*us)
		add(round, "select clients=64", "outrigger", 32_000/slow, time.Duration(5-round)*ms, 13*us)
		add(round, "tpc-b", "pgbouncer", 900/slow, 40*ms, 100*us)
		add(round, "tpc-b", "outrigger", 800/slow, 50*ms, 90*us)
		add(round, "prepared", "outrigger", 50_000/slow, ms, 6*us)
		add(round, "GET", "redis-server", 400_000/slow, 2*ms, 2*us)
	}
	p.Runs = append(p.Runs,
		Run{Round: 1, Workload: "GET", Contender: "outrigger", Err: "redis-benchmark: exit status 1: \nError"},
		Run{Round: 2, Workload: "GET", Contender: "outrigger", Err: "redis-benchmark: exit status 1: Error"},
		Run{Round: 3, Workload: "tpc-b", Contender: "outrigger", Operations: 10, Failed: 4, Rate: 1e9, CPU: 1})
	return p
}

func TestMarkdown(t *testing.T) {
	for _, tt := range []struct {
		golden string
		page   *Page
	}{
		{"report.golden.md", example()},
		{"empty.golden.md", &Page{Title: "Nothing", Ours: "outrigger", Baseline: "direct"}},
	} {
		var b strings.Builder
		if err := tt.page.Markdown(&b); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", tt.golden)
		if *update {
			if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("%s differs (-update writes it):\n%s", tt.golden, b.String())
		}
	}
}

func TestCharts(t *testing.T) {
	charts := example().Charts()
	if len(charts) != 4 {
		t.Errorf("%d charts", len(charts))
	}
	for _, c := range charts {
		path := filepath.Join("testdata", strings.Replace(c.File, ".svg", ".golden.svg", 1))
		if *update {
			if err := os.WriteFile(path, []byte(c.SVG), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if c.SVG != string(want) {
			t.Errorf("%s differs (-update writes it):\n%s", path, c.SVG)
		}
		if strings.Contains(c.SVG, "%!") || !strings.Contains(c.SVG, "pgbouncer") {
			t.Errorf("%s is not what was drawn", c.File)
		}
		decoder := xml.NewDecoder(strings.NewReader(c.SVG))
		for err = nil; err == nil; {
			_, err = decoder.Token()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", c.File, err)
		}
	}
	if charts := (&Page{Ours: "outrigger", Curves: []Curve{{Title: "Nothing"}}}).Charts(); len(charts) != 0 {
		t.Errorf("charts of nothing: %v", charts)
	}
}

// Of figures, too, lost ones come first: the wrong way in the median of the repetitions, or something where they have nothing.
func TestLostFigures(t *testing.T) {
	var got []string
	for _, m := range example().figureMatches() {
		got = append(got, fmt.Sprintf("%s %d", m.figure.Name, m.verdict))
	}
	want := []string{fmt.Sprintf("growth %d", lost), fmt.Sprintf("start %d", maybeLost), fmt.Sprintf("load 1 %d", notWorse),
		fmt.Sprintf("p99 2 %d", notWorse), fmt.Sprintf("p99 1 %d", notWorse), fmt.Sprintf("duration %d", notWorse), fmt.Sprintf("errors %d", notWorse),
		fmt.Sprintf("broken %d", notWorse)}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for _, tt := range [][3]float64{{6, 3, 2}, {0, 0, 1}, {0, 5, 0}, {1, 0, math.Inf(1)}} {
		if got := quotient(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%v / %v: %v", tt[0], tt[1], got)
		}
	}
}

func TestNiceStep(t *testing.T) {
	for most, want := range map[float64]float64{10: 1, 19: 2, 20: 2, 32_000: 5000, 99_999: 10_000, 1: 0.1} {
		if got := niceStep(most); math.Abs(got-want) > 1e-9*want {
			t.Errorf("up to %v: steps of %v, want %v", most, got, want)
		}
	}
}

// What the golden shows must not be an accident: losses first, doubtful ones next, failures out of the numbers.
func TestLossesComeFirst(t *testing.T) {
	p := example()
	rows := p.matches([]string{"pgbouncer", "redis-server"})
	var order []string
	for _, r := range rows {
		order = append(order, r.workload)
	}
	if got := strings.Join(order, ", "); got != "tpc-b, GET, select clients=64, select clients=16" {
		t.Errorf("order: %s", got)
	}
	for i, want := range []verdict{failed, failed, maybeLost, notWorse} {
		if got := rows[i].worst(); got != want {
			t.Errorf("%s: verdict %v, want %v", rows[i].workload, got, want)
		}
	}
	if rows := p.matches([]string{"direct"}); rows[0].workload != "tpc-b" || rows[1].worst() != lost {
		t.Errorf("against direct: %+v", rows)
	}
	if p.Failures() != 5 {
		t.Errorf("%d failures, want 5", p.Failures())
	}
	if s := rows[0].by[0].ours; s.Max >= 1e9 {
		t.Errorf("a run with failed operations counts: %+v", s)
	}
}

// Missed targets come first; a target whose runs failed is missed, and one without numbers is not met.
func TestTargets(t *testing.T) {
	got := map[string]goal{}
	var order []goal
	for _, r := range example().targetRows() {
		if r.against != "pgbouncer" && r.against != "" { // of a figure that nobody else has
			r.what += " of " + r.against
		}
		got[r.what] = r.goal
		order = append(order, r.goal)
	}
	want := map[string]goal{
		"select clients=16: cpu": met, "select clients=16: added latency": unmeasured, // faster than direct: noise
		"select clients=64: rate": met, "select clients=64: rate of select clients=16": met, "select clients=64: p99": missed, "tpc-b: rate": missed, "prepared: rate": unmeasured,
		"start": met, "growth": missed, "errors": met, "broken": missed, "nothing": unmeasured,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if !slices.IsSorted(order) {
		t.Errorf("order: %v", order)
	}
}

// What a proxy adds is its time less the direct one's in the same round.
func TestAddedLatency(t *testing.T) {
	p := &Page{Ours: "us", Baseline: "direct"}
	for round, rates := range map[int][3]float64{1: {20_000, 10_000, 12_500}, 2: {10_000, 5_000, 2_500}} {
		for i, name := range []string{"direct", "us", "them"} {
			p.Runs = append(p.Runs, Run{Round: round, Workload: "w", Contender: name, Operations: 1, Rate: rates[i]})
		}
	}
	c := p.compare("w", "them", "w", metricNamed(AddedLatency)) // 50 against 30 µs; 100 against 300
	if c.ratio.N != 2 || math.Abs(c.ratio.Max-5./3) > 1e-9 || math.Abs(c.ratio.Min-1./3) > 1e-9 {
		t.Errorf("%+v", c)
	}
}

func TestCSV(t *testing.T) {
	p := example()
	var b strings.Builder
	if err := p.CSV(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1+len(p.Runs) {
		t.Fatalf("%d rows for %d runs", len(rows), len(p.Runs))
	}
	if got := strings.Join(rows[5], ";"); got != "1;select clients=16;pgbouncer;1000;0;30000.0;0.500;0.400;1.000;2.000;4.000;14.000;33.333;9437184;4;" {
		t.Errorf("a row: %s", got)
	}
	b.Reset()
	if err := p.FiguresCSV(&b); err != nil || !strings.Contains(b.String(), "\n2,start,outrigger,300,ms,\n") || strings.Count(b.String(), "outrigger") != 13 {
		t.Errorf("%v:\n%s", err, b.String())
	}
	if err := p.FiguresCSV(full{}); err == nil {
		t.Error("a full disk goes unnoticed")
	}
	if err := p.CSV(full{}); err == nil {
		t.Error("a full disk goes unnoticed")
	}
	if err := p.Markdown(full{}); err == nil {
		t.Error("a full disk goes unnoticed")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// Who beats us, and by how much: LRU first of all, and the best, who may be known from elsewhere.
func TestHits(t *testing.T) {
	p := Page{Ours: "us", Hits: []Hits{
		{"web", 100, "us", 50, ""}, {"web", 100, "LRU", 40, ""}, {"web", 100, "them", 49, ""},
		{"web", 1000, "us", 60, ""}, {"web", 1000, "LRU", 60.5, ""}, {"web", 1000, "them", 61, ""}, {"web", 1000, "ARC", 70, "a paper"},
		{"disk", 100, "us", 5, ""}, {"disk", 100, "LRU", 0, ""}, {"disk", 100, "them", 7, ""},
	}}
	for policy, want := range map[string]float64{"LRU": 0.5, "": 10, "them": 1} {
		if got := p.BehindHits("web", policy); math.Abs(got-want) > 1e-9 {
			t.Errorf("behind %q: %v, want %v", policy, got, want)
		}
	}
	if got := p.BehindHits("disk", "LRU"); got != 0 {
		t.Errorf("behind LRU, which is behind: %v", got)
	}
	var rows []string
	for line := range strings.Lines(p.hitTable()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"| lost | trace | entries | us | LRU | them | published | behind LRU | behind the best |",
		"|----------|-------|--------:|------:|------:|------:|-----------------:|-----------:|----------------:|",
		"| | web | 100 | 50.00 | 40.00 | 49.00 | | | |",
		"| **LRU** | web | 1,000 | 60.00 | 60.50 | 61.00 | 70 ARC (a paper) | 0.50 | 10.00 |",
		"| **best** | disk | 100 | 5.00 | 0.00 | 7.00 | | | 2.00 |",
	}
	if !slices.Equal(rows, want) {
		t.Errorf("%s", strings.Join(rows, "\n"))
	}
	if svg := p.hitBars("hits"); !strings.Contains(svg, "web, 1000 entries") || strings.Contains(svg, "ARC") {
		t.Errorf("%s", svg)
	}
	if svg := (&Page{}).hitBars("hits"); svg != "" {
		t.Errorf("a chart of nothing: %s", svg)
	}
}

// A figure may have another's value as its bound, and a target another contender for ours.
func TestRelativeTargets(t *testing.T) {
	p := Page{Ours: "us", Figures: []Figure{{Name: "memory", AtMost: 1, Of: "them"}, {Name: "alone", AtMost: 1, Of: "them"}},
		Readings: []Reading{{"memory", "us", 1, 90, ""}, {"memory", "them", 1, 100, ""}, {"memory", "others", 1, 10, ""}, {"alone", "us", 1, 1, ""}},
		Targets:  []Target{{Workload: "w", Who: "two", Metric: Rate, Against: "us", Bound: 1}},
		Runs: []Run{{Round: 1, Workload: "w", Contender: "us", Operations: 1, Rate: 100}, {Round: 1, Workload: "w", Contender: "two", Operations: 1, Rate: 90},
			{Round: 1, Workload: "w", Contender: "them", Operations: 1, Rate: 10}}}
	var got []string
	for _, r := range p.targetRows() {
		got = append(got, r.goal.String()+" "+r.what+" "+r.measured+" "+r.target+" "+r.against)
	}
	want := []string{"**missed** two, w: rate 0.90 (0.90 .. 0.90)× ≥ 1.00× us", "not measured alone –× ≤ 1.00× them", "met memory 0.90 (0.90 .. 0.90)× ≤ 1.00× them"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
