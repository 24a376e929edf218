package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"
)

// CSV writes every run as a row, for other tools.
func (p *Page) CSV(w io.Writer) error {
	ms := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds()*1e3, 'f', 3, 64) }
	out := csv.NewWriter(w)
	rows := [][]string{{"round", "workload", "contender", "operations", "failed", "rate", "average_ms", "p99_ms", "cpu_ms", "error"}}
	for _, r := range p.Runs {
		rows = append(rows, []string{strconv.Itoa(r.Round), r.Workload, r.Contender, strconv.FormatInt(r.Operations, 10), strconv.FormatInt(r.Failed, 10),
			strconv.FormatFloat(r.Rate, 'f', 1, 64), ms(r.Average), ms(r.P99), ms(r.CPU), r.Err})
	}
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write the runs: %w", err)
	}
	return nil
}
