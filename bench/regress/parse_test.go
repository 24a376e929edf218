package main

import (
	"maps"
	"slices"
	"testing"
)

func TestParseResults(t *testing.T) {
	said := `============== running regression test queries        ==============
test test_setup                   ... ok          171 ms
parallel group (2 tests):  date boolean
     boolean                      ... ok           43 ms
     date                         ... FAILED       51 ms
test guc                          ... FAILED (test process exited with exit code 2)      128 ms
ok 1         - test_setup                                171 ms
not ok 2     + boolean                                    43 ms
`
	want := results{{"test_setup", true}, {"boolean", true}, {"date", false}, {"guc", false}, {"test_setup", true}, {"boolean", false}}
	if got := parseResults(said); !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestParseExplained(t *testing.T) {
	text := "| test | why |\n|---|---|\n| `regress/stats` | because |\n| `isolation/read-only-anomaly` | also \\| so |\n| x | y |\n"
	want := map[string]string{"regress/stats": "because", "isolation/read-only-anomaly": `also \| so`}
	if got := parseExplained(text); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}
