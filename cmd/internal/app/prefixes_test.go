package app

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
)

// A reload that would move keys, or untag them, is refused with what to do; other changes of the rules are taken.
func TestReloadOfPrefixes(t *testing.T) {
	for _, tt := range []struct {
		name, before, after string
		want                string // of the error; empty: taken
	}{
		{"colocate is set", `{}`, `{"bull:": {colocate: on}}`, "keys cannot move while the sidecar runs"},
		{"colocate is dropped", `{"bull:": {colocate: on}}`, `{"bull:": {stale: 1s}}`, "keys cannot move while the sidecar runs"},
		{"colocate of another prefix", `{"bull:": {colocate: on}}`, `{"bull": {colocate: on}}`, "keys cannot move while the sidecar runs"},
		{"an exception in colocate", `{"bull:": {colocate: on}}`, `{"bull:": {colocate: on}, "bull:x:": {stale: 1s}}`, "keys cannot move while the sidecar runs"},
		{"local is set", `{"own:": {copies: single}}`, `{"own:": {copies: local}}`, "keys cannot move while the sidecar runs"},
		{"local is dropped", `{"own:": {copies: local}}`, `{}`, "keys cannot move while the sidecar runs"},
		{"tags are set", `{"user:": {stale: 1s}}`, `{"user:": {tags: ["u{1}"]}}`, "keys cannot lose or change their tags while the sidecar runs"},
		{"tags are changed", `{"user:": {tags: ["u{1}"]}}`, `{"user:": {tags: ["u{2}"]}}`, "keys cannot lose or change their tags while the sidecar runs"},
		{"tags are dropped", `{"user:": {tags: ["u{1}"]}}`, `{}`, "keys cannot lose or change their tags while the sidecar runs"},
		{"an exception in tags", `{"user:": {tags: [u]}}`, `{"user:": {tags: [u]}, "user:x:": {stale: 1s}}`, "any change of the prefixes takes that"},
		{"a bad tag", `{}`, `{"user:": {tags: ["u{name}"]}}`, "{1} to {9}"},
		{"copies", `{"s:": {copies: single}}`, `{"s:": {copies: replicated}, "t:": {copies: single}}`, ""},
		{"what reads get", `{"bull:": {colocate: on}}`, `{"bull:": {colocate: on, strong: on, unreachable: miss}}`, ""},
		{"times with tags", `{"user:": {tags: [u]}}`, `{"user:": {tags: [u], stale: 1s}}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules := func(text string) *config.Config {
				return load(t, "OUTRIGGER_CACHE_LISTEN=127.0.0.1:0", "OUTRIGGER_CACHE_PREFIXES="+text)
			}
			after := func(...config.Given) (*config.Config, error) { return rules(tt.after), nil }
			a, err := New(Options{Config: rules(tt.before), LogTo: io.Discard, Load: after})
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.tryReload(nil)
			if tt.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			problems, ok := errors.AsType[config.Problems](err)
			if !ok || len(problems) != 1 || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want one problem, with %q", err, tt.want)
			}
			if p := problems[0]; p.Setting != "cache_prefixes" || p.Where != "OUTRIGGER_CACHE_PREFIXES" {
				t.Errorf("%+v does not say where it comes from", p)
			}
			if tt.name != "a bad tag" && !strings.Contains(problems[0].Hint, "restart it") {
				t.Errorf("%+v does not say what to do", problems[0])
			}
		})
	}
}

// Tags that cannot be are all told before a sidecar starts, with the setting they come from.
func TestBadTags(t *testing.T) {
	for _, tt := range []struct{ tags, want string }{
		{`["u{0}"]`, "{1} to {9}"},
		{`["u{10}"]`, "{1} to {9}"},
		{`["u{1"]`, "{1} to {9}"},
		{`["u1}"]`, "{1} to {9}"},
		{`["{}"]`, "{1} to {9}"},
		{`["` + strings.Repeat("x", 1000) + `"]`, "must have 1 to"},
		{`["{a}", "{b}"]`, `tag "{b}"`},
	} {
		err := Check(load(t, `OUTRIGGER_CACHE_PREFIXES={"user:": {tags: `+tt.tags+`}}`))
		problems, ok := errors.AsType[config.Problems](err)
		if !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40s: %v, want %q", tt.tags, err, tt.want)
			continue
		}
		for _, p := range problems {
			if p.Setting != "cache_prefixes" || p.Where != "OUTRIGGER_CACHE_PREFIXES" {
				t.Errorf("%.40s: %+v does not say where it comes from", tt.tags, p)
			}
		}
	}
}
