package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/cachenode"
	"github.com/outrigger-proxy/outrigger/cachenode/acl"
	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/pressure"
	"github.com/outrigger-proxy/outrigger/cachenode/respserver"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
	"github.com/outrigger-proxy/outrigger/cmd/internal/ops"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
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
	_, err = acl.NewUsers(command.NewTable(), "", cfg.CacheUsers)
	problems = add(problems, cfg, "cache_users", err)
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
	node, err := cachenode.New(cachenode.Config{
		Cluster:  members,
		Peers:    peers,
		Loops:    a.loops,
		MaxBytes: a.config.MaxMemory,
		Policy:   plan.policy,
		Logger:   a.log,
	})
	if err != nil {
		return fmt.Errorf("make cache node: %w", err)
	}
	cache.run = node.Run
	a.node = node
	a.followPrefixes(node)
	governor := pressure.NewGovernor(pressure.Own(), node.Store(), a.log.With("component", "pressure"))
	a.parts = append(a.parts, &part{name: "pressure", run: governor.Run})

	server, clients, err := a.cacheServer(node)
	if err != nil {
		return err
	}
	a.parts = append(a.parts, clients)
	// The application may use the cache to its last transaction: clients are served until everything is handed over.
	cache.drain = func(ctx context.Context) error {
		err := node.Leave(ctx)
		clients.halt()
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

// cacheServer makes the server of the cache's clients and the part that accepts them.
func (a *App) cacheServer(node *cachenode.Node) (*respserver.Server, *part, error) {
	log := a.log.With("component", "respserver")
	server, err := respserver.New(respserver.Config{
		Backend: node, Store: node.Store(), Table: node.Table(), Logger: log, Version: a.version, Password: a.cachePlan.password,
		MaxClients: a.config.MaxClientConn, Users: a.config.CacheUsers, Debug: a.config.CacheDebug,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("make cache server: %w", err)
	}
	for _, loop := range a.loops {
		if err := server.Attach(loop); err != nil {
			return nil, nil, fmt.Errorf("make cache server: %w", err)
		}
	}
	ln, err := netloop.Listen(context.Background(), "tcp", a.config.CacheListen, false)
	if err != nil {
		return nil, nil, taken("cache_listen", fmt.Errorf("listen for cache clients: %w", err))
	}
	var turn atomic.Uint64
	listener := netloop.NewListener(ln, log, func(_ context.Context, nc net.Conn) {
		loop := a.loops[turn.Add(1)%uint64(len(a.loops))]
		if err := server.Serve(loop, nc); err != nil && !errors.Is(err, netloop.ErrStopped) {
			log.Warn("client refused", "client", nc.RemoteAddr().String(), "error", err)
		}
	})
	return server, &part{name: "respserver", run: listener.Run, close: func() error { return closeOnce(ln) }}, nil
}

// closeOnce closes a listener that its owner may have closed already.
func closeOnce(l net.Listener) error {
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
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
		Owned:     stats.Owned,
		Missing:   stats.Missing,
	}
}
