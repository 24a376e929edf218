package main

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outrigger-proxy/outrigger/bench/contender"
	"github.com/outrigger-proxy/outrigger/bench/report"
	"github.com/outrigger-proxy/outrigger/bench/scenario"
)

// page puts together what the report says.
func (b *bench) page() (*report.Page, error) {
	loadAfter, err := loadAverage()
	if err != nil {
		return nil, err
	}
	mode := "full"
	if b.opts.quick {
		mode = "quick"
	}
	p := &report.Page{
		Title:    fmt.Sprintf("Outrigger %s, %s, %s", b.tree.commit, b.begin.Format(time.DateOnly), mode),
		Ours:     contender.Outrigger,
		Baseline: contender.Direct,
		Apart: []report.Apart{
			{Contender: contender.Direct, Note: "What any proxy costs, and what a pool gives when there are more clients than processors."},
			{Contender: contender.HAProxy, Note: "What a proxy costs that only relays bytes. Each of its clients has a server of its own."},
			{Contender: contender.Unbatched, Note: "The same program when every unit has a server to itself: what sharing gives or costs."},
		},
		Runs:     b.runs,
		Targets:  b.targets(),
		Figures:  b.hitFigures,
		Readings: b.readings,
		Hits:     b.hits,
		Notes:    b.notes,
	}
	for _, c := range b.contenders {
		if c.Loops > 1 {
			p.Apart = append(p.Apart, report.Apart{Contender: c.Name, Note: "The same cache on more event loops: what more processors give it."})
		}
	}
	for _, w := range b.workloads {
		p.Workloads = append(p.Workloads, w.Name)
	}
	for _, s := range b.scenarios {
		p.Figures = append(p.Figures, s.Figures...)
	}
	if !b.opts.split {
		p.Curves = []report.Curve{scenario.Curve()}
	}
	p.Facts = append(machine(),
		report.Fact{Name: "load average", Value: fmt.Sprintf("%.2f before, with this program %.2f after", b.loadBefore, loadAfter)},
		report.Fact{Name: "Go", Value: runtime.Version()},
		report.Fact{Name: "began, took", Value: fmt.Sprintf("%s, %v", b.begin.Format(time.RFC3339), time.Since(b.begin).Round(time.Second))})
	for _, c := range b.contenders {
		value := c.Version
		if c.Settings != "" {
			value += "; " + c.Settings
		}
		p.Facts = append(p.Facts, report.Fact{Name: c.Label(), Value: value})
	}
	settings := []string{"fsync=off"} // devpg's own
	given := postgresSettings()
	for _, name := range slices.Sorted(maps.Keys(given)) {
		settings = append(settings, name+"="+given[name])
	}
	p.Facts = append(p.Facts, report.Fact{Name: "PostgreSQL's settings", Value: strings.Join(settings, " ")})
	p.Facts = append(p.Facts, b.tools...)
	p.Facts = append(p.Facts, report.Fact{Name: "scenarios", Value: fmt.Sprintf("%d of each, with processes of their own; %d starts in each", b.opts.plan().repetitions, b.opts.plan().sizes.Starts)})
	if only := b.opts.only.String(); only != "" {
		p.Facts = append(p.Facts, report.Fact{Name: "only workloads like", Value: "`" + only + "`"})
	}
	return p, nil
}

// machine describes what everything runs on; all of it shares one machine.
func machine() []report.Fact {
	var uts unix.Utsname
	kernel := "unknown"
	if unix.Uname(&uts) == nil {
		kernel = unix.ByteSliceToString(uts.Sysname[:]) + " " + unix.ByteSliceToString(uts.Release[:]) + " " + unix.ByteSliceToString(uts.Machine[:])
	}
	return []report.Fact{
		{Name: "processors", Value: fmt.Sprintf("%d × %s", runtime.NumCPU(), procField("/proc/cpuinfo", "model name"))},
		{Name: "memory", Value: procField("/proc/meminfo", "MemTotal")},
		{Name: "kernel", Value: kernel},
	}
}

// procField finds "name : value" in a file of /proc.
func procField(path, name string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// loadAverage tells how many processes wanted to run in the last minute.
func loadAverage() (float64, error) {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, fmt.Errorf("read load average: %w", err)
	}
	one, _, _ := strings.Cut(string(b), " ")
	load, err := strconv.ParseFloat(one, 64)
	if err != nil {
		return 0, fmt.Errorf("read load average: %w", err)
	}
	return load, nil
}
