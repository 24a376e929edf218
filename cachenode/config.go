package cachenode

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// Config of a Node. Zero fields mean the defaults that the comments name.
type Config struct {
	// Cluster is this process's membership, which the caller runs. nil makes a node that is alone for ever.
	Cluster *cluster.Cluster
	// Peers listens for the other nodes, at the address that Cluster tells them. The node owns it once Run is called.
	// Needed with a Cluster.
	Peers net.Listener
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

	// ScriptTimeLimit ends a script that runs longer; 5 s.
	ScriptTimeLimit time.Duration

	Logger *slog.Logger // discards
}

// withDefaults fills the zero fields and says what is wrong with the others.
func (cfg Config) withDefaults() (Config, error) {
	if len(cfg.Loops) == 0 {
		return cfg, errors.New("configure cache node: no event loops")
	}
	if (cfg.Cluster == nil) != (cfg.Peers == nil) {
		return cfg, errors.New("configure cache node: a cluster and a peer listener need each other")
	}
	if cfg.MaxBytes < 0 || cfg.MaxPeerRequests < 0 || cfg.MaxPeerBytes < 0 || cfg.PeerTimeout < 0 || cfg.BackFillTimeout < 0 {
		return cfg, fmt.Errorf("configure cache node: negative limit in %+v", cfg)
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
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("component", "cachenode")
	return cfg, nil
}

// tombstoneTTL is how long a deletion is remembered: longer than a hand-off can take to bring an older value.
const tombstoneTTL = 2 * time.Minute
