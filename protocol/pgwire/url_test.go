package pgwire

import (
	"slices"
	"testing"
)

func TestParseURL(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://u:p@host:5433/db?sslmode=disable":       "postgres://u:p@host:5433/db?sslmode=disable",
		"postgres://u@%2Fvar%2Frun%2Fpostgresql/db":         "postgres://u@/db?host=%2Fvar%2Frun%2Fpostgresql",
		"postgresql://u:p%40q@%2ftmp:5433/db?sslmode=allow": "postgresql://u:p%40q@/db?host=%2Ftmp&port=5433&sslmode=allow",
		"postgres://%2Ftmp":                                 "postgres:?host=%2Ftmp",
		"postgres://u@%2Ftmp%zz/db":                         "",
		"postgres://u@%2Ftmp/%zz":                           "",
		"postgres://u@ho%2Fst/db":                           "",
		"":                                                  "",
	} {
		u, err := ParseURL(in)
		switch {
		case err != nil && want == "":
		case err != nil:
			t.Errorf("%s: %v", in, err)
		case u.String() != want:
			t.Errorf("%s: got %s, want %s", in, u, want)
		}
	}
}

func TestSplitHosts(t *testing.T) {
	for in, want := range map[string][]string{
		"":                            {""},
		"postgres://u:p@host/db":      {"postgres://u:p@host/db"},
		"postgres://u:p%2Cq@a:1,b/db": {"postgres://u:p%2Cq@a:1/db", "postgres://u:p%2Cq@b/db"},
		"postgres://a,b:2?x=1,2":      {"postgres://a?x=1,2", "postgres://b:2?x=1,2"},
		"postgres://u@[::1]:1,[::2]":  {"postgres://u@[::1]:1", "postgres://u@[::2]"},
		"postgres:///db?host=a,b":     {"postgres:///db?host=a,b"},
	} {
		if got := SplitHosts(in); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}
