package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"
)

// FiguresCSV writes every reading of a scenario's figure as a row, for other tools.
func (p *Page) FiguresCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"round", "figure", "contender", "value", "unit", "error"}}
	units := map[string]string{}
	for _, f := range p.Figures {
		units[f.Name] = f.Unit
	}
	for _, r := range p.Readings {
		rows = append(rows, []string{strconv.Itoa(r.Round), r.Figure, r.Contender, strconv.FormatFloat(r.Value, 'f', -1, 64), units[r.Figure], r.Err})
	}
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	return nil
}

// CSV writes every run as a row, for other tools.
func (p *Page) CSV(w io.Writer) error {
	ms := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds()*1e3, 'f', 3, 64) }
	out := csv.NewWriter(w)
	rows := [][]string{{"round", "workload", "contender", "operations", "failed", "rate", "average_ms", "p50_ms", "p95_ms", "p99_ms", "p999_ms",
		"cpu_ms", "postgres_cpu_ms", "memory_bytes", "servers", "error"}}
	for _, r := range p.Runs {
		rows = append(rows, []string{strconv.Itoa(r.Round), r.Workload, r.Contender, strconv.FormatInt(r.Operations, 10), strconv.FormatInt(r.Failed, 10),
			strconv.FormatFloat(r.Rate, 'f', 1, 64), ms(r.Average), ms(r.P50), ms(r.P95), ms(r.P99), ms(r.P999),
			ms(r.CPU), ms(r.ServerCPU), strconv.FormatInt(r.Memory, 10), strconv.Itoa(r.Servers), r.Err})
	}
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write the runs: %w", err)
	}
	return nil
}
