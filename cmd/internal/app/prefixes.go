package app

import (
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

// checkPrefixes refuses a reload that would move keys, or have tags forget some: what was invalidated would be back.
func checkPrefixes(now, next *config.Config) error {
	if !now.Cache || prefixLayout(now).Hash() == prefixLayout(next).Hash() {
		return nil
	}
	return config.Problems{{Where: next.Origin("cache_prefixes"), Setting: "cache_prefixes",
		Message: "keys cannot move while the sidecar runs, which a change of colocate or of copies: local would have them do",
		Hint:    "restart it, one node after the other; keys of these prefixes may be missing until all have the same"}}
}
