package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Prefix says what the cache does for the keys with a prefix. One of Stale and RefreshAhead is more than 0.
type Prefix struct {
	Stale        time.Duration
	RefreshAhead time.Duration
	Lease        time.Duration // never 0

	own own
}

const (
	defaultLease = 5 * time.Second
	maxPrefixes  = 64 // a key that expires is compared with each
)

var prefixMap = kind{name: "map", hint: `such as {"page:": {stale: 30s, lease: 5s}}`, isMap: true}

// prefixSettings are those of an entry of cache_prefixes.
var prefixSettings = map[string]Setting{
	"stale":         {Name: "stale", kind: duration, field: func(*Config) any { return new(time.Duration) }},
	"refresh_ahead": {Name: "refresh_ahead", kind: duration, field: func(*Config) any { return new(time.Duration) }},
	"lease":         {Name: "lease", kind: positive(duration), field: func(*Config) any { return new(time.Duration) }},
}

// prefixes reads the map of prefixes. A * at the end of one says nothing more; by itself it is the prefix of all keys.
func (l *loader) prefixes(s Setting, root *yaml.Node, where func(*yaml.Node) string) {
	prefixes := map[string]Prefix{}
	const hint = "such as {stale: 30s, lease: 5s}"
	known := len(l.problems)
	l.entries(s, root, where, prefixSettings, hint, func(key *yaml.Node, own own) {
		problem := func(message, hint string) {
			l.problem(where(key), s.Name+"."+key.Value, message, hint)
		}
		p := Prefix{Stale: own.duration("stale", 0), RefreshAhead: own.duration("refresh_ahead", 0), Lease: own.duration("lease", defaultLease), own: own}
		if p.Stale == 0 && p.RefreshAhead == 0 && len(l.problems) == known { // of an entry that could not be read, enough was said
			problem("says nothing", "give it stale or refresh_ahead, "+hint)
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

// duration is a value that has been read before without a complaint, or with one.
func (o own) duration(name string, without time.Duration) time.Duration {
	d := without
	if texts := o.values[name]; len(texts) > 0 {
		_ = duration.read(texts, &d)
	}
	return d
}

// Prefixes lists the names of CachePrefixes in order.
func (c *Config) Prefixes() []string { return slices.Sorted(maps.Keys(c.CachePrefixes)) }
