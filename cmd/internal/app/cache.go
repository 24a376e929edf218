package app

import (
	"errors"
	"net"
	"strconv"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
	"github.com/outrigger-proxy/outrigger/cmd/internal/ops"
)

// cachePlan is what the configuration says about the cache half and the membership, with all files read.
type cachePlan struct {
	cluster  cluster.Config
	policy   store.Policy
	password string // of clients; empty: none
}

func planCache(cfg *config.Config) (plan cachePlan, problems config.Problems) {
	gossipHost, gossipPort := splitAddr(cfg.GossipListen)
	peerHost, peerPort := splitAddr(cfg.PeerListen)
	if cfg.AdvertiseAddr != "" {
		peerHost = cfg.AdvertiseAddr
	}
	plan = cachePlan{cluster: cluster.Config{
		Name:          cfg.NodeName,
		ClusterName:   cfg.ClusterName,
		BindAddr:      gossipHost,
		BindPort:      gossipPort,
		AdvertiseAddr: cfg.AdvertiseAddr,
		PeerAddr:      net.JoinHostPort(peerHost, strconv.Itoa(peerPort)),
		Zone:          cfg.Zone,
		Join:          cfg.Join,
	}}
	var err error
	plan.policy, err = store.ParsePolicy(cfg.MaxMemoryPolicy)
	problems = add(problems, cfg, "max_memory_policy", err)
	if cfg.CachePasswordFile != "" {
		plan.password, err = readSecret(cfg.CachePasswordFile)
		if err == nil && plan.password == "" {
			err = errors.New(cfg.CachePasswordFile + " is empty")
		}
		problems = add(problems, cfg, "cache_password_file", err)
	}
	if cfg.ClusterKeyFile != "" {
		plan.cluster.SecretKey, err = readKey(cfg.ClusterKeyFile)
		problems = add(problems, cfg, "cluster_key_file", err)
	}
	return plan, problems
}

// splitAddr takes an address of the configuration apart, which has checked it.
func splitAddr(addr string) (host string, port int) {
	host, text, _ := net.SplitHostPort(addr)
	port, _ = strconv.Atoi(text)
	return host, port
}

// buildCache makes the membership.
func (a *App) buildCache(sources *ops.Sources) error {
	plan := a.cachePlan
	plan.cluster.Logger = a.log
	members, err := cluster.New(plan.cluster)
	if err != nil {
		return err
	}
	a.parts = append(a.parts, &part{name: "cluster", run: members.Run, abort: members.Close})
	sources.Cluster = clusterSource{members}
	return nil
}

// clusterSource shows the membership to the operator's listener.
type clusterSource struct{ members *cluster.Cluster }

// ClusterStats implements ops.Cluster.
func (s clusterSource) ClusterStats() ops.ClusterStats {
	view := s.members.View()
	stats := ops.ClusterStats{Name: s.members.Name(), Node: view.Me().Name, Epoch: view.Epoch}
	for _, m := range view.Members {
		stats.Members = append(stats.Members, m.Name)
	}
	return stats
}
