package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Prefix says what the cache does for the keys with a prefix.
type Prefix struct {
	Stale        time.Duration
	RefreshAhead time.Duration
	Lease        time.Duration // never 0

	Copies      string // replicated, single or local
	Strong      bool
	Unreachable string   // error or miss
	Colocate    bool     // all keys in one partition
	Tags        []string // patterns

	own own
}

const (
	defaultLease = 5 * time.Second
	maxPrefixes  = 64 // a key that expires is compared with each
)

var (
	copies      = enum("replicated", "single", "local")
	unreachable = enum("error", "miss")
)

var prefixMap = kind{name: "map", hint: `such as {"page:": {stale: 30s, lease: 5s}}`, isMap: true}

// prefixSettings are those of an entry of cache_prefixes.
var prefixSettings = map[string]Setting{
	"stale":         {Name: "stale", kind: duration, field: func(*Config) any { return new(time.Duration) }},
	"refresh_ahead": {Name: "refresh_ahead", kind: duration, field: func(*Config) any { return new(time.Duration) }},
	"lease":         {Name: "lease", kind: positive(duration), field: func(*Config) any { return new(time.Duration) }},
	"copies":        {Name: "copies", kind: copies, field: func(*Config) any { return new(string) }},
	"strong":        {Name: "strong", kind: boolean, field: func(*Config) any { return new(bool) }},
	"unreachable":   {Name: "unreachable", kind: unreachable, field: func(*Config) any { return new(string) }},
	"colocate":      {Name: "colocate", kind: boolean, field: func(*Config) any { return new(bool) }},
	"tags":          {Name: "tags", kind: list, field: func(*Config) any { return new([]string) }},
}

// prefixes reads the map of prefixes. A * at the end of one says nothing more; by itself it is the prefix of all keys.
func (l *loader) prefixes(s Setting, root *yaml.Node, where func(*yaml.Node) string) {
	prefixes := map[string]Prefix{}
	const hint = "such as {stale: 30s, lease: 5s} or {copies: single}"
	known := len(l.problems)
	l.entries(s, root, where, prefixSettings, hint, func(key *yaml.Node, own own) {
		problem := func(message, hint string) {
			l.problem(where(key), s.Name+"."+key.Value, message, hint)
		}
		p := Prefix{
			Stale:        prefixValue(own, "stale", duration, time.Duration(0)),
			RefreshAhead: prefixValue(own, "refresh_ahead", duration, time.Duration(0)),
			Lease:        prefixValue(own, "lease", duration, defaultLease),
			Copies:       prefixValue(own, "copies", copies, "replicated"),
			Strong:       prefixValue(own, "strong", boolean, false),
			Unreachable:  prefixValue(own, "unreachable", unreachable, "error"),
			Colocate:     prefixValue(own, "colocate", boolean, false),
			Tags:         prefixValue(own, "tags", list, []string(nil)),
			own:          own,
		}
		_, lease := own.values["lease"]
		switch {
		case len(l.problems) > known: // of an entry that could not be read, enough was said
		case lease && p.Stale == 0 && p.RefreshAhead == 0:
			problem("has a lease and nothing that gives it", "add stale or refresh_ahead, such as {stale: 30s, lease: 5s}")
		case len(own.values) == 0:
			problem("says nothing", "give it what its keys need, "+hint)
		case p.Colocate && p.Copies == "local":
			problem("is local and has colocate", "keys that never leave a node are together already: drop colocate")
		}
		for _, d := range []time.Duration{p.Stale, p.RefreshAhead, p.Lease} {
			if d%time.Millisecond != 0 {
				problem(fmt.Sprintf("has a time of %v", d), "the cache counts in milliseconds")
			}
		}
		for other := range prefixes {
			if PrefixOf(other) == PrefixOf(key.Value) {
				problem("is the same prefix as "+other, "keep one")
			}
		}
		prefixes[key.Value] = p
		known = len(l.problems)
	})
	if len(prefixes) > maxPrefixes {
		l.problem(where(root), s.Name, fmt.Sprintf("has %d prefixes", len(prefixes)), fmt.Sprintf("at most %d are allowed", maxPrefixes))
	}
	l.config.CachePrefixes = prefixes
}

// PrefixOf is what keys have to begin with for an entry of CachePrefixes.
func PrefixOf(name string) string { return strings.TrimSuffix(name, "*") }

// prefixValue is a value that has been read before without a complaint, or with one.
func prefixValue[T any](o own, name string, k kind, without T) T {
	v := without
	if texts := o.values[name]; len(texts) > 0 {
		_ = k.read(texts, &v)
	}
	return v
}

// Prefixes lists the names of CachePrefixes in order.
func (c *Config) Prefixes() []string { return slices.Sorted(maps.Keys(c.CachePrefixes)) }
