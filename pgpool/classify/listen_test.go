package classify

import (
	"slices"
	"strings"
	"testing"
)

func TestListenings(t *testing.T) {
	on := func(channel string) Listening { return Listening{Channel: channel} }
	off := func(channel string) Listening { return Listening{Unlisten: true, Channel: channel} }
	long := strings.Repeat("x", 63)
	for _, tc := range []struct {
		sql  string
		want []Listening // nil: not this
	}{
		{"listen a", []Listening{on("a")}},
		{"LISTEN Mixed_1$;", []Listening{on("mixed_1$")}},
		{`listen "Mixed ""one"" é"`, []Listening{on(`Mixed "one" é`)}},
		{"/* why /* nested */ */ listen -- here\n a ; ; listen b", []Listening{on("a"), on("b")}},
		{"unlisten a", []Listening{off("a")}},
		{"unlisten *;", []Listening{off("")}},
		{"unlisten*", []Listening{off("")}},
		{"listen a; unlisten a", []Listening{on("a"), off("a")}},
		{"listen select", []Listening{on("select")}},
		{"listen " + long, []Listening{on(long)}},
		{"listen " + long + "x", nil},
		{"listen é", nil},
		{`listen ""`, nil},
		{`listen "a`, nil},
		{`listen U&"a"`, nil},
		{"listen *", nil},
		{"listen a.b", nil},
		{"listen a b", nil},
		{"listen 'a'", nil},
		{"listen", nil},
		{"unlisten", nil},
		{"listen a; select 1", nil},
		{"listen a /* open", nil},
		{"notify a", nil},
		{"", nil},
		{";", nil},
	} {
		got, ok := Listenings([]byte(tc.sql))
		if ok != (tc.want != nil) || ok && !slices.Equal(got, tc.want) {
			t.Errorf("%q: %+v, %v; want %+v", tc.sql, got, ok, tc.want)
		}
	}
}

// What is read as LISTEN is classified as such, and means the same when it is written out.
func FuzzListenings(f *testing.F) {
	for _, sql := range []string{"listen a", `listen "A""b"; unlisten *`, "unlisten /* x */ b;", `listen U&"x"`} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		list, ok := Listenings([]byte(sql))
		if !ok {
			return
		}
		if r := Classify([]byte(sql)); r.Class != Listen || r.Statements != len(list) {
			t.Fatalf("%q: class %v, %d statements", sql, r.Class, r.Statements)
		}
		var again strings.Builder
		for _, l := range list {
			switch name := `"` + strings.ReplaceAll(l.Channel, `"`, `""`) + `";`; {
			case l.Channel == "":
				again.WriteString("UNLISTEN *;")
			case l.Unlisten:
				again.WriteString("UNLISTEN " + name)
			default:
				again.WriteString("LISTEN " + name)
			}
		}
		if got, ok := Listenings([]byte(again.String())); !ok || !slices.Equal(got, list) {
			t.Fatalf("%q: %+v, written out %q: %+v", sql, list, again.String(), got)
		}
	})
}
