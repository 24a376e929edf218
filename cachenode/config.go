package cachenode

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/pressure"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// Config of a Node. Zero fields mean the defaults that the comments name.
type Config struct {
	// Cluster is this process's membership, which the caller runs: a *cluster.Cluster, but for tests. nil makes a node that is
	// alone for ever.
	Cluster Membership
	// Peers listens for the other nodes, at the address that Cluster tells them. The node owns it once Run is called.
	// Needed with a Cluster.
	Peers net.Listener
	// Dial connects to the peer listener of another node; nil: over TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// TLS is called for each connection with another node, for the configuration of either side: one by which each proves that
	// it is a member. nil: they are in the clear, and whoever reaches Peers can say that it is one.
	TLS func() *tls.Config
	// Loops carry the client sessions and the connections between nodes. The caller runs them, after New and for longer
	// than the node. At least one.
	Loops []*netloop.Loop

	// MaxBytes and Policy are the store's: the budget in bytes for everything that this node holds, backup copies
	// included (0 = no bound), and what happens when it is used up.
	MaxBytes int64
	Policy   store.Policy

	// PeerTimeout is how long a forwarded command, or the acknowledgement of the backup, is waited for; 2 s.
	PeerTimeout time.Duration
	// MaxPeerRequests and MaxPeerBytes bound what one loop has outstanding with one peer; 65,536 and 64 MiB. A single
	// command may be larger.
	MaxPeerRequests int
	MaxPeerBytes    int
	// BackFillTimeout is how long a node that got partitions waits for their old holders before it takes what it has for
	// everything there is; 10 s. Ready waits no longer either.
	BackFillTimeout time.Duration

	// MinMembers is how many members, itself included, a node must see to write; 0: however few.
	MinMembers int
	// Layout says which keys live elsewhere than their hash says; nil: none. All nodes must have the same.
	Layout *store.Layout
	// NearBytes is how much of MaxBytes copies of other nodes' keys may take; 0 keeps none. NearStaleness is how old what is read
	// from them may be; 500 ms.
	NearBytes     int64
	NearStaleness time.Duration

	// Throttled tells how often the kernel has held the process back so far, because its processor time was used up: moving
	// partitions then gives way. nil asks the process's control group.
	Throttled func() int64

	// ScriptTimeLimit ends a script that runs longer; 5 s.
	ScriptTimeLimit time.Duration

	Logger *slog.Logger // discards
}

// Membership is what a node asks of its cluster. The methods are those of cluster.Cluster.
type Membership interface {
	Name() string
	View() *cluster.View
	Subscribe(fn func(old, new *cluster.View))
	Joined() bool
	Leave(ctx context.Context) error
}

// dialTCP is the default of Config.Dial.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", addr)
}

// withDefaults fills the zero fields and says what is wrong with the others.
func (cfg Config) withDefaults() (Config, error) {
	if len(cfg.Loops) == 0 {
		return cfg, errors.New("configure cache node: no event loops")
	}
	if (cfg.Cluster == nil) != (cfg.Peers == nil) {
		return cfg, errors.New("configure cache node: a cluster and a peer listener need each other")
	}
	if cfg.MaxBytes < 0 || cfg.MaxPeerRequests < 0 || cfg.MaxPeerBytes < 0 || cfg.PeerTimeout < 0 || cfg.BackFillTimeout < 0 ||
		cfg.MinMembers < 0 || cfg.NearBytes < 0 || cfg.NearStaleness < 0 {
		return cfg, fmt.Errorf("configure cache node: negative limit in %+v", cfg)
	}
	if cfg.Dial == nil {
		cfg.Dial = dialTCP
	}
	if cfg.Throttled == nil {
		cfg.Throttled = pressure.OwnProcessor().Throttled
	}
	if cfg.PeerTimeout == 0 {
		cfg.PeerTimeout = 2 * time.Second
	}
	if cfg.MaxPeerRequests == 0 {
		cfg.MaxPeerRequests = 64 << 10
	}
	if cfg.MaxPeerBytes == 0 {
		cfg.MaxPeerBytes = 64 << 20
	}
	if cfg.BackFillTimeout == 0 {
		cfg.BackFillTimeout = 10 * time.Second
	}
	if cfg.NearStaleness == 0 {
		cfg.NearStaleness = 500 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("component", "cachenode")
	return cfg, nil
}
