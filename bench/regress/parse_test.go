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
	text := "# Title\n\n### `regress/stats`\n\nBecause.\n\n```diff\n ask\n-t  \n+f\n```\n\n### `isolation/read-only-anomaly`\n\nNo lines.\n\n" +
		"### `isolation/async-notify`\n\nSo.\n\n```diff\n-a\n```\n"
	want := map[string]string{"regress/stats": " ask\n-t\n+f\n", "isolation/async-notify": "-a\n"}
	if got := parseExplained(text); !maps.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestParseDiffs(t *testing.T) {
	text := "diff -U3 /x/expected/guc.out /x/results/guc.out\n--- /x/expected/guc.out\t2026\n+++ /x/results/guc.out\t2026\n@@ -5,3 +5,3 @@\n ask\n-t  \n+f\n@@ -9,3 +9,3 @@\n--- x\n" +
		"diff -U3 /x/expected/xml_1.out /x/results/xml.out\n--- a\n+++ b\n@@ -1 +1 @@\n-b\n"
	want := map[string]string{"guc": " ask\n-t\n+f\n--- x\n", "xml": "-b\n"}
	if got := parseDiffs(text); !maps.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
