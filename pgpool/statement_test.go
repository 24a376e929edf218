package pgpool

import (
	"fmt"
	"testing"

	"github.com/outrigger-proxy/outrigger/pgpool/classify"
)

// Texts that never come again stay out of the table, and others get in with their second coming.
func TestTableKeepsQueriesThatComeAgain(t *testing.T) {
	table := newStatements(&statementNames{})
	query := func(text string) *statement { return table.query([]byte(text + "\x00")) }
	for i := range 3 * sightings {
		if s := query(fmt.Sprintf("select abalance from accounts where aid = %d", i)); !s.decide().read {
			t.Fatal("a select is no read")
		}
	}
	// Two texts of one fingerprint in one slot would be taken for one: 32 bits make that a matter of years.
	if n := len(table.byKey); n > 1 {
		t.Errorf("%d of the texts that came once are kept", n)
	}
	first, second, third := query("select 1"), query("select 1"), query("select 1")
	if first == second || second != third {
		t.Error("the text was not kept when it came again")
	}
	if s := table.find([]byte("select 1\x00\x00\x00"), ""); s == third || s.name == "" {
		t.Error("a Parse got the statement of a Query, which has no name")
	}
}

// The table stays within its budget whatever comes twice.
func TestTableIsBounded(t *testing.T) {
	table := newStatements(&statementNames{})
	text := make([]byte, maxTableText-16)
	for i := range 4 * tableBudget / maxTableText {
		for range 2 {
			table.query(fmt.Appendf(text[:0:0], "select %d, '%s'\x00", i, text))
		}
		if table.bytes > tableBudget {
			t.Fatalf("%d bytes in the table, over its budget of %d", table.bytes, tableBudget)
		}
	}
	if len(table.byKey) < tableBudget/maxTableText/2 {
		t.Errorf("only %d texts are kept", len(table.byKey))
	}
}

// The texts of a benchmark: what classify's calls 200 bytes, as a Query's body and as a Parse's behind the name.
var (
	query200 = []byte(judged200 + "\x00")
	parse200 = []byte(judged200 + "\x00\x00\x01\x00\x00\x00\x19")
)

// filledTable knows many texts, and these.
func filledTable() *statements {
	table := newStatements(&statementNames{})
	for i := range 10_000 {
		table.find(fmt.Appendf(nil, "select %d\x00\x00\x00", i), "")
	}
	for range 2 {
		table.query(query200)
		table.find(parse200, "")
		table.find(parse200, "app, public")
	}
	return &table
}

func TestLookupsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	table := filledTable()
	for name, look := range map[string]func(){
		"query":         func() { table.query(query200) },
		"find":          func() { table.find(parse200, "") },
		"find in scope": func() { table.find(parse200, "app, public") },
		"classify":      func() { classify.Classify(query200[:len(query200)-1]) },
	} {
		if n := testing.AllocsPerRun(100, look); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkLookup is a hit: a text that is known. What a miss adds is package classify's benchmark.
func BenchmarkLookup(b *testing.B) {
	table := filledTable()
	for name, look := range map[string]func(){
		"of=query":         func() { table.query(query200) },
		"of=parse":         func() { table.find(parse200, "") },
		"of=parse/scope=1": func() { table.find(parse200, "app, public") },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				look()
			}
		})
	}
}
