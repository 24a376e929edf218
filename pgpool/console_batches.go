package pgpool

import (
	"cmp"
	"slices"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
)

func (n *batchCounts) add(o *batchCounts) {
	n.batches += o.batches
	n.units += o.units
	n.taken += o.taken
	n.surprises += o.surprises
	for why, count := range o.alone {
		n.alone[why] += count
	}
}

// Batches returns rows for each database where clients have waited.
func (c consoleSource) Batches() []admin.BatchCount {
	var out []admin.BatchCount
	for database, n := range c.p.counts() {
		b := &n.batched
		rows := []admin.BatchCount{{What: "batches", Count: b.batches}, {What: "shared", Count: b.units}, {What: "taken off", Count: b.taken},
			{What: "surprises", Count: b.surprises}}
		for why, count := range b.alone {
			rows = append(rows, admin.BatchCount{What: "alone", Reason: solo(why).String(), Count: count})
		}
		for _, row := range rows {
			if row.Database = database; row.Count > 0 {
				out = append(out, row)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b admin.BatchCount) int { return cmp.Compare(a.Database, b.Database) })
	return out
}
