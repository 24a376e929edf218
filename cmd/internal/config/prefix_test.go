package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPrefixes(t *testing.T) {
	const file = `cache_prefixes:
  "page:": {stale: 30s}
  "api:*": {stale: 1m, lease: 500ms, refresh_ahead: 10}
  "*": {refresh_ahead: 5s}
  "bull:": {colocate: true, copies: single, strong: on, unreachable: miss, tags: ["a", "b:{1}"]}
`
	for source, give := range map[string]func() (*Config, error){
		"file": func() (*Config, error) { return load(t, file, nil) },
		"environment": func() (*Config, error) {
			return load(t, "", []string{`OUTRIGGER_CACHE_PREFIXES={"page:": {stale: 30s}, "api:*": {stale: 1m, lease: 500ms, refresh_ahead: 10}, "*": {refresh_ahead: 5s}, "bull:": {colocate: true, copies: single, strong: on, unreachable: miss, tags: [a, "b:{1}"]}}`})
		},
	} {
		c, err := give()
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if got := strings.Join(c.Prefixes(), " "); got != "* api:* bull: page:" {
			t.Errorf("%s: %s", source, got)
		}
		for name, want := range map[string]Prefix{
			"page:": {Stale: 30 * time.Second, Lease: 5 * time.Second},
			"api:*": {Stale: time.Minute, RefreshAhead: 10 * time.Second, Lease: 500 * time.Millisecond},
			"*":     {RefreshAhead: 5 * time.Second, Lease: 5 * time.Second},
		} {
			p := c.CachePrefixes[name]
			if p.Stale != want.Stale || p.RefreshAhead != want.RefreshAhead || p.Lease != want.Lease {
				t.Errorf("%s: %s is %+v, want %+v", source, name, p, want)
			}
		}
		if p := c.CachePrefixes["bull:"]; !p.Colocate || p.Copies != "single" || !p.Strong || p.Unreachable != "miss" || !slices.Equal(p.Tags, []string{"a", "b:{1}"}) {
			t.Errorf("%s: bull: is %+v", source, p)
		}
		if p := c.CachePrefixes["page:"]; p.Colocate || p.Copies != "replicated" || p.Strong || p.Unreachable != "error" || p.Tags != nil {
			t.Errorf("%s: page: is %+v", source, p)
		}
		again, err := load(t, c.YAML(), nil)
		if err != nil || len(Changed(c, again)) > 0 {
			t.Errorf("%s: what was printed does not read back: %v\n%s", source, err, c.YAML())
		}
	}
	if PrefixOf("*") != "" || PrefixOf("page:*") != "page:" || PrefixOf("page:") != "page:" {
		t.Error("PrefixOf")
	}
}

func TestWrongPrefixes(t *testing.T) {
	var many strings.Builder
	for i := range maxPrefixes + 1 {
		many.WriteString("\n  p" + strings.Repeat("x", i) + ": {stale: 1s}")
	}
	for _, tt := range []struct{ file, want string }{
		{`{"page:": {stale: 30 parsecs}}`, "such as 30s"},
		{`{"page:": {stall: 30s}}`, "did you mean stale?"},
		{`{"page:": {stale: 30s, lease: 0}}`, "must be more than 0"},
		{`{"page:": {stale: 1us}}`, "milliseconds"},
		{`{"page:": {lease: 5s}}`, "nothing that gives it"},
		{`{"page:": {copies: two}}`, "one of replicated, single, local"},
		{`{"page:": {copies: singel}}`, "did you mean single?"},
		{`{"page:": {unreachable: nil}}`, "one of error, miss"},
		{`{"page:": {colocate: 1s}}`, "on or off"},
		{`{"page:": {colocate: on, copies: local}}`, "drop colocate"},
		{`{"page:": {}}`, "says nothing"},
		{`{"page:": {stale: 30s}, "page:*": {stale: 30s}}`, "is the same prefix as page:"},
		{`page`, "is not a map"},
		{`{"page:": 30s}`, "such as {stale: 30s, lease: 5s}"},
		{many.String(), "at most 64"},
	} {
		_, err := load(t, "cache_prefixes: "+tt.file+"\n", nil)
		if problems, _ := errors.AsType[Problems](err); len(problems) != 1 || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60s: %v, want %q", tt.file, err, tt.want)
		}
	}
}
