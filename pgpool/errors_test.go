package pgpool

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

var updateErrors = flag.Bool("update", false, "write docs/errors.md")

// errorTable is a package that makes errors.
type errorTable struct {
	title string
	dir   string
	kinds []pgwire.Kind
}

func errorTables() []errorTable {
	return []errorTable{
		{"The first packet", "../protocol/pgwire", pgwire.Errors()},
		{"Logging in", "auth", auth.Errors()},
		{"Connections and queries", ".", Errors()},
		{"The console", "admin", admin.Errors()},
	}
}

// TestErrorsAreDocumented compares docs/errors.md with the tables in the code.
func TestErrorsAreDocumented(t *testing.T) {
	const path = "../docs/errors.md"
	var b bytes.Buffer
	fmt.Fprint(&b, `# Errors that Outrigger makes

What a Postgres client is told by the pooler itself. Everything else comes from a server, word for word. Written by
`+"`go test ./pgpool -run Documented -update`"+`.
`)
	for _, part := range errorTables() {
		fmt.Fprintf(&b, "\n## %s\n\n| SQLSTATE | message | when | detail and hint |\n|---|---|---|---|\n", part.title)
		for _, k := range part.kinds {
			fmt.Fprintf(&b, "| %s%s | %s | %s | %s |\n", k.Code, ending(k), cell(k.Message), cell(k.When), cell(strings.TrimSpace(k.Detail+" "+k.Hint)))
		}
	}
	if *updateErrors {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	is, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(is, b.Bytes()) {
		t.Errorf("%s is not what the tables say (%v): run go test ./pgpool -run Documented -update", path, err)
	}
}

func ending(k pgwire.Kind) string {
	if k.Severity == "FATAL" {
		return ", FATAL"
	}
	return ""
}

var verb = regexp.MustCompile(`%\[\d\][a-z]`)

// cell shows a format as text of a table.
func cell(format string) string {
	return strings.ReplaceAll(verb.ReplaceAllString(format, "…"), "|", `\|`)
}

// Each row of the tables has what a client and the documentation need.
func TestErrorTable(t *testing.T) {
	for _, table := range errorTables() {
		seen := make(map[string]bool)
		for i, k := range table.kinds {
			if len(k.Code) != 5 || k.Message == "" || !strings.HasSuffix(k.When, ".") {
				t.Errorf("%s, row %d: %+v", table.title, i, k)
			}
			if key := k.Code + k.Message + k.When; seen[key] {
				t.Errorf("%s, row %d is there twice", table.title, i)
			} else {
				seen[key] = true
			}
			for _, text := range []string{k.Message, k.Detail, k.Hint} {
				if strings.Count(text, "%") != len(verb.FindAllString(text, -1)) {
					t.Errorf("%s, row %d: %q has a verb without an index", table.title, i, text)
				}
			}
		}
	}
}
