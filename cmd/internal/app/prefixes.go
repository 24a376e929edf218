package app

import (
	"github.com/outrigger-proxy/outrigger/cachenode"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
)

// followPrefixes has the cache go by cache_prefixes, now and after each reload.
func (a *App) followPrefixes(node *cachenode.Node) {
	node.Store().SetRules(prefixRules(a.config))
	a.reloads = append(a.reloads, func(cfg *config.Config) error {
		node.Store().SetRules(prefixRules(cfg))
		return nil
	})
}

func prefixRules(cfg *config.Config) (rules []store.Rule) {
	for _, name := range cfg.Prefixes() {
		p := cfg.CachePrefixes[name]
		rules = append(rules, store.Rule{Prefix: config.PrefixOf(name), Stale: p.Stale, RefreshAhead: p.RefreshAhead, Lease: p.Lease})
	}
	return rules
}
