package admin

import (
	"errors"
	"reflect"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

func TestSplit(t *testing.T) {
	tests := []struct {
		sql  string
		want [][]string
	}{
		{"", nil},
		{" \n;;\t;", nil},
		{"-- ping", nil},
		{"/* a */ /* ; */", nil},
		{"SHOW Pools", [][]string{{"SHOW", "Pools"}}},
		{"show pools;show stats", [][]string{{"show", "pools"}, {"show", "stats"}}},
		{"show -- x\npools", [][]string{{"show", "pools"}}},
		{"show/**/pools", [][]string{{"show", "pools"}}},
		{"set a='B;''c'", [][]string{{"set", "a", "=", "B;'c"}}},
		{`set "A""b" = ''`, [][]string{{"set", `A"b`, "=", ""}}},
		{"a.b-1", [][]string{{"a", ".", "b", "-", "1"}}},
		{"größe", [][]string{{"größe"}}},
		{"show x; explain route select 'a' /* b */; c ;", [][]string{{"show", "x"}, {"explain", "route", "select 'a' /* b */; c ;"}}},
		{"explain route '", [][]string{{"explain", "route", "'"}}},
		{"explain route", [][]string{{"explain", "route"}}},
		{"explain route;", [][]string{{"explain", "route", ";"}}},
	}
	for _, tt := range tests {
		statements, err := split(tt.sql)
		var got [][]string
		for _, tokens := range statements {
			var texts []string
			for _, tok := range tokens {
				texts = append(texts, tok.text)
			}
			got = append(got, texts)
		}
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %q, error %v, want %q", tt.sql, got, err, tt.want)
		}
	}
	for _, sql := range []string{"'", "set a = 'b", `"`, "'''", "/*", "show /* pools", "show /*/"} {
		_, err := split(sql)
		if e, ok := errors.AsType[*pgwire.Error](err); !ok || e.Code != "42601" {
			t.Errorf("%q: error %v", sql, err)
		}
	}
}

// FuzzFind wants that every text is cut and looked up without a panic, that each token is where it says, and that a
// statement is found again when it stands alone.
func FuzzFind(f *testing.F) {
	for _, sql := range []string{"show pools; pause \"a\"\"b\"", "set x = 'it''s' /* c */", "kill_client 12 -- x\n;", "set a to b c", "'", "\xff\xfe", "explain route for a@b select 1; -- x"} {
		f.Add(sql)
	}
	table := commands()
	f.Fuzz(func(t *testing.T, sql string) {
		statements, err := split(sql)
		if err != nil {
			return
		}
		for _, tokens := range statements {
			last := 0
			for _, tok := range tokens {
				if tok.start < last || tok.end <= tok.start || tok.end > len(sql) {
					t.Fatalf("token %+v overlaps what comes before", tok)
				}
				last = tok.end
				if tok.quote == 0 && tok.text != sql[tok.start:tok.end] {
					t.Fatalf("token %+v is not what is there", tok)
				}
			}
			r, err := find(table, sql, tokens)
			alone := sql[tokens[0].start:last]
			again, errAgain := split(alone)
			if errAgain != nil || len(again) != 1 {
				t.Fatalf("%q alone: %v, %v", alone, again, errAgain)
			}
			r2, err2 := find(table, alone, again[0])
			if r != r2 || (err == nil) != (err2 == nil) {
				t.Fatalf("%q alone: %+v, %v; before: %+v, %v", alone, r2, err2, r, err)
			}
		}
	})
}
