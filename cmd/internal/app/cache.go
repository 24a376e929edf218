package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode"
	"github.com/outrigger-proxy/outrigger/cachenode/pressure"
	"github.com/outrigger-proxy/outrigger/cachenode/respserver"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
	"github.com/outrigger-proxy/outrigger/cmd/internal/ops"
)

// cachePlan is what the configuration says about the cache half and the membership, with all files read.
type cachePlan struct {
	cluster cluster.Config
	policy  store.Policy
	clients cacheClients
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
		Details:       cluster.Details{RESPAddr: reachedAt(cfg.CacheListen, cfg.AdvertiseAddr), Rules: prefixLayout(cfg).Hash()},
	}}
	var err error
	plan.policy, err = store.ParsePolicy(cfg.MaxMemoryPolicy)
	problems = add(problems, cfg, "max_memory_policy", err)
	problems = append(problems, checkTags(cfg)...)
	clients, more := planCacheClients(cfg)
	plan.clients = clients
	problems = append(problems, more...)
	plan.cluster.Keys, err = planKeys(cfg)
	problems = add(problems, cfg, "cluster_key_file", err)
	return plan, problems
}

// reachedAt is where others reach a listener, without a host where that is the address by which they know us. It is empty when
// they do not: on loopback.
func reachedAt(listen, advertise string) string {
	host, port := splitAddr(listen)
	ip := net.ParseIP(host)
	switch {
	case listen == "" || host == "localhost" || ip != nil && ip.IsLoopback():
		return ""
	case advertise != "":
		host = advertise
	case ip != nil && ip.IsUnspecified():
		host = ""
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// topology is what cluster-aware clients see of the members.
func topology(members *cluster.Cluster) func() respserver.Topology {
	return func() respserver.Topology {
		view := members.View()
		t := respserver.Topology{Epoch: view.Epoch, Self: view.Self}
		for i := range view.Members {
			m := &view.Members[i]
			t.Nodes = append(t.Nodes, respserver.TopologyNode{Name: m.Name, Addr: m.RESPAddr, Active: m.State == cluster.Active,
				Since: int64(m.Instance / uint64(time.Millisecond))})
		}
		return t
	}
}

// splitAddr takes an address of the configuration apart, which has checked it.
func splitAddr(addr string) (host string, port int) {
	host, text, _ := net.SplitHostPort(addr)
	port, _ = strconv.Atoi(text)
	return host, port
}

// buildCache makes the membership, the node and its clients' server, and opens their doors.
func (a *App) buildCache(sources *ops.Sources) error {
	plan := a.cachePlan
	plan.cluster.Logger = a.log
	members, err := cluster.New(plan.cluster)
	if err != nil {
		return err
	}
	peers, err := net.Listen("tcp", a.config.PeerListen)
	if err != nil {
		return taken("peer_listen", fmt.Errorf("listen for peers: %w", err))
	}
	// From here on the part closes what was opened, also when the rest fails.
	member := &part{name: "cluster", run: members.Run, abort: members.Close}
	cache := &part{name: "cachenode", close: func() error { return closeOnce(peers) }}
	a.parts = append(a.parts, member, cache)
	cfg := cachenode.Config{
		Cluster:  members,
		Peers:    peers,
		Loops:    a.loops,
		MaxBytes: a.config.MaxMemory,
		Policy:   plan.policy,
		Layout:   prefixLayout(a.config),

		MinMembers: a.config.MinMembers,

		NearBytes:     min(a.config.NearCacheMemory, a.config.MaxMemory/8),
		NearStaleness: a.config.NearCacheMaxStaleness,

		Logger: a.log,

		ScriptTimeLimit: a.config.CacheScriptTimeLimit,
	}
	if plan.cluster.Keys != nil {
		cfg.TLS = plan.cluster.Keys.TLS
	}
	node, err := cachenode.New(cfg)
	if err != nil {
		return fmt.Errorf("make cache node: %w", err)
	}
	cache.run = node.Run
	a.node = node
	a.siblings = &siblings{members: members, node: node, log: a.log.With("component", "siblings")}
	a.followPrefixes(node)
	a.followKeys(members)
	governor := pressure.NewGovernor(pressure.Own(), node.Store(), a.log.With("component", "pressure"))
	a.parts = append(a.parts, &part{name: "pressure", run: governor.Run})

	server, doors, err := a.cacheServer(node, topology(members))
	a.parts = append(a.parts, doors...)
	if err != nil {
		return err
	}
	// The application may use the cache to its last transaction: clients are served until everything is handed over and
	// the pooler's have finished.
	cache.drain = func(ctx context.Context) error {
		err := node.Leave(ctx)
		if a.config.Pooler() {
			select {
			case <-a.transacted:
			case <-ctx.Done():
			}
		}
		for _, d := range doors {
			d.halt()
		}
		return errors.Join(err, server.Drain(ctx))
	}
	sources.Cluster = clusterSource{members}
	sources.Cache = cacheSource{node: node, server: server, budget: a.config.MaxMemory}
	return nil
}

// warmUp gives the cache what it had at the last clean stop. Without it the cache begins empty, which is no reason not to
// begin.
func (a *App) warmUp() {
	if a.node == nil || a.config.CacheSnapshot == "" {
		return
	}
	if _, err := a.node.LoadSnapshot(a.config.CacheSnapshot); err != nil {
		a.log.Error("cache snapshot not used", "error", err)
	}
}

// keepWarm writes what the cache has for the next start. All parts have stopped.
func (a *App) keepWarm() {
	if a.node == nil || a.config.CacheSnapshot == "" {
		return
	}
	if _, err := a.node.SaveSnapshot(a.config.CacheSnapshot); err != nil {
		a.log.Error("cache snapshot not written", "error", err)
	}
}

// clusterSource shows the membership to the operator's listener.
type clusterSource struct{ members *cluster.Cluster }

// ClusterStats implements ops.Cluster.
func (s clusterSource) ClusterStats() ops.ClusterStats {
	view := s.members.View()
	stats := ops.ClusterStats{Name: s.members.Name(), Node: view.Me().Name, Epoch: view.Epoch, Alone: s.members.Alone()}
	stats.Members = memberStats(view)
	return stats
}

// cacheSource shows the cache to the operator's listener.
type cacheSource struct {
	node   *cachenode.Node
	server *respserver.Server
	budget int64
}

// CacheStats implements ops.Cache.
func (s cacheSource) CacheStats() ops.CacheStats {
	stats := s.node.Stats()
	return ops.CacheStats{
		Ready:     s.node.Ready() == nil,
		Clients:   s.server.Clients(),
		Commands:  s.server.Commands(),
		Keys:      int64(stats.Keys),
		Bytes:     stats.Bytes,
		Budget:    s.budget,
		Hits:      stats.Hits,
		Misses:    stats.Misses,
		Evicted:   stats.Evicted,
		Expired:   stats.Expired,
		Stale:     stats.Stale,
		Leases:    stats.Leases,
		Forwarded: stats.Forwarded,

		NearHits:    stats.NearHits,
		NearDropped: stats.NearDropped,
		NearLost:    stats.NearLost,
		NearCopies:  stats.NearCopies,
		NearBytes:   stats.NearBytes,

		Owned:   stats.Owned,
		Missing: stats.Missing,
	}
}
