package app

import (
	"slices"
	"strings"

	"github.com/outrigger-proxy/outrigger/cachenode"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
)

// followPrefixes has the cache go by cache_prefixes, now and after each reload.
func (a *App) followPrefixes(node *cachenode.Node) {
	node.SetRules(prefixRules(a.config))
	a.reloads = append(a.reloads, func(cfg *config.Config) error {
		node.SetRules(prefixRules(cfg))
		return nil
	})
}

func prefixRules(cfg *config.Config) (rules []store.Rule) {
	for _, name := range cfg.Prefixes() {
		p := cfg.CachePrefixes[name]
		rule := store.Rule{
			Prefix: config.PrefixOf(name),
			Stale:  p.Stale, RefreshAhead: p.RefreshAhead, Lease: p.Lease,
			Single: p.Copies == "single", Strong: p.Strong, Miss: p.Unreachable == "miss",
		}
		for _, text := range p.Tags {
			tag, _ := store.ParseTagPattern(text) // checkTags has complained
			rule.Tags = append(rule.Tags, tag)
		}
		rules = append(rules, rule)
	}
	return rules
}

// prefixLayout says where keys live by cache_prefixes.
func prefixLayout(cfg *config.Config) *store.Layout {
	homes := map[string]store.Home{}
	for _, name := range cfg.Prefixes() {
		home := store.Spread
		switch p := cfg.CachePrefixes[name]; {
		case p.Copies == "local":
			home = store.Here
		case p.Colocate:
			home = store.Together
		}
		homes[config.PrefixOf(name)] = home
	}
	return store.NewLayout(homes)
}

// checkTags says what is wrong with the tags of cache_prefixes.
func checkTags(cfg *config.Config) (problems config.Problems) {
	for _, name := range cfg.Prefixes() {
		for _, text := range cfg.CachePrefixes[name].Tags {
			_, err := store.ParseTagPattern(text)
			problems = add(problems, cfg, "cache_prefixes", err)
		}
	}
	return problems
}

// tagRules are the rules as far as they bind keys to tags.
func tagRules(cfg *config.Config) (rules []string) {
	tagged := slices.ContainsFunc(cfg.Prefixes(), func(name string) bool { return len(cfg.CachePrefixes[name].Tags) > 0 })
	if !tagged {
		return nil
	}
	for _, name := range cfg.Prefixes() {
		rules = append(rules, config.PrefixOf(name), strings.Join(cfg.CachePrefixes[name].Tags, ","))
	}
	return rules
}

// checkPrefixes refuses a reload that would move keys, or take tags from some: what was invalidated would be back.
func checkPrefixes(now, next *config.Config) error {
	if !now.Cache {
		return nil
	}
	if !slices.Equal(tagRules(now), tagRules(next)) {
		return config.Problems{{Where: next.Origin("cache_prefixes"), Setting: "cache_prefixes",
			Message: "keys cannot lose or change their tags while the sidecar runs: what was invalidated would be found again",
			Hint:    "restart it; where there are tags, any change of the prefixes takes that"}}
	}
	if prefixLayout(now).Hash() == prefixLayout(next).Hash() {
		return nil
	}
	return config.Problems{{Where: next.Origin("cache_prefixes"), Setting: "cache_prefixes",
		Message: "keys cannot move while the sidecar runs, which a change of colocate or of copies: local would have them do",
		Hint:    "restart it, one node after the other; keys of these prefixes may be missing until all have the same"}}
}
