package pgpool

import (
	"testing"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
)

const judged200 = `SELECT o.id, o.total, coalesce(c.email, '') AS email FROM orders o JOIN customers c ON c.id = o.customer ` +
	`WHERE o.status = $1 AND o.created_at > now() - interval '7 days' ORDER BY o.id LIMIT 50`

// judgedBy knows a database of some size.
func judgedBy() *knownNames {
	n := &knownNames{functions: map[string]verdict{}, relations: map[string]verdict{}, shadows: true}
	for c := range 26 * 26 {
		name := "t_" + string([]byte{'a' + byte(c/26), 'a' + byte(c%26)})
		worsen(n.relations, "public"+separator+name+"_id_seq", namesSequence)
		worsen(n.functions, "public"+separator+name+"_changed", namesVolatile)
	}
	return n
}

func TestJudgingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	n, p := judgedBy(), &Policy{ReadFunctions: []string{"a", "b.c"}, PrimaryRelations: []string{"log*"}}
	in := &namedLast{}
	for _, sql := range []string{judged200, `select public.t_aa_changed(1), "x"() from public.orders, pg_stat_activity`} {
		st := &statement{body: sql + "\x00"}
		if got := testing.AllocsPerRun(100, func() { in.of = nil; n.judge(in.find(st), p, false) }); got != 0 {
			t.Errorf("%.30q: %v allocations", sql, got)
		}
	}
}

// BenchmarkJudge is a miss: a text that is classified and judged for the first time.
func BenchmarkJudge(b *testing.B) {
	n, p := judgedBy(), &Policy{}
	in, st := &namedLast{}, &statement{body: judged200 + "\x00"}
	b.Run("known=0/size=200B", func(b *testing.B) { // nothing in the database has to be looked for
		text := []byte(judged200)
		b.ReportAllocs()
		for b.Loop() {
			classify.Classify(text)
		}
	})
	b.Run("known=1352/size=200B", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			in.of = nil
			n.judge(in.find(st), p, false)
		}
	})
}
