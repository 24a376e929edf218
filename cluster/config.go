package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/outrigger-proxy/outrigger/cluster/keyring"
)

// Config describes this member. Zero fields mean the defaults that the comments name.
type Config struct {
	Name        string // unique among the members; needed
	ClusterName string // members of other clusters are refused; "outrigger"

	BindAddr      string // IP address to gossip on; "0.0.0.0"
	BindPort      int    // UDP and TCP; 7946
	AdvertiseAddr string // IP address told to the others; the private address of this machine, or BindAddr when that is one
	AdvertisePort int    // BindPort

	// PeerAddr is where this member's peer listener is reached, "host:port". With an empty or unspecified host the others
	// use the address that they gossip with.
	PeerAddr string
	Zone     string // availability zone, told to the others
	Details         // told to the others as well; of addresses without a host they use the one that they gossip with

	// Join lists members to find: "host" or "host:port", of which all addresses are tried, or "srv+name" for the hosts and ports
	// of a name's SRV records ("_service._proto.name" is one as it is). Names are resolved again at every try, and tries never
	// end, so members that started apart find each other later.
	Join         []string
	Resolver     Resolver      // net.DefaultResolver
	JoinInterval time.Duration // between two tries, and between two full exchanges of state; 5 s. A tenth of it while no other member is known

	// Keys encrypt the gossip, and nobody without one is heard; nil: everybody is. See Rekey.
	Keys *keyring.Keyring

	// The three that decide how soon a dead member is noticed: a probe each ProbeInterval, a miss after ProbeTimeout, death
	// when nobody has objected for 3 × ProbeInterval (more in large clusters).
	ProbeInterval  time.Duration // 400 ms
	ProbeTimeout   time.Duration // half of ProbeInterval
	GossipInterval time.Duration // 100 ms

	conflictTimeout time.Duration // how long to wait for our name while another has it; conflictTimeout

	Logger *slog.Logger // discards
}

const (
	defaultClusterName = "outrigger"
	defaultGossipPort  = 7946
)

// withDefaults fills the zero fields and says what is wrong with the others.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.Name == "" {
		return cfg, errors.New("member name is empty")
	}
	if cfg.ClusterName == "" {
		cfg.ClusterName = defaultClusterName
	}
	if cfg.BindAddr == "" {
		cfg.BindAddr = "0.0.0.0"
	}
	if _, err := netip.ParseAddr(cfg.BindAddr); err != nil {
		return cfg, fmt.Errorf("gossip address: %w", err)
	}
	if cfg.BindPort == 0 {
		cfg.BindPort = defaultGossipPort
	}
	if cfg.AdvertiseAddr != "" {
		if _, err := netip.ParseAddr(cfg.AdvertiseAddr); err != nil {
			return cfg, fmt.Errorf("advertised gossip address: %w", err)
		}
	}
	if cfg.AdvertisePort == 0 {
		cfg.AdvertisePort = cfg.BindPort
	}
	if _, _, err := net.SplitHostPort(cfg.PeerAddr); err != nil {
		return cfg, fmt.Errorf("peer address: %w", err)
	}
	if cfg.JoinInterval == 0 {
		cfg.JoinInterval = 5 * time.Second
	}
	if cfg.ProbeInterval == 0 {
		cfg.ProbeInterval = 400 * time.Millisecond
	}
	if cfg.ProbeTimeout == 0 {
		cfg.ProbeTimeout = cfg.ProbeInterval / 2
	}
	if cfg.GossipInterval == 0 {
		cfg.GossipInterval = 100 * time.Millisecond
	}
	if cfg.conflictTimeout == 0 {
		cfg.conflictTimeout = conflictTimeout
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("component", "cluster")
	return cfg, nil
}

// gossip turns the configuration into memberlist's.
func (cfg Config) gossip(d *delegate) *memberlist.Config {
	g := memberlist.DefaultLANConfig()
	g.Name = cfg.Name
	g.BindAddr, g.BindPort = cfg.BindAddr, cfg.BindPort
	g.AdvertiseAddr, g.AdvertisePort = cfg.AdvertiseAddr, cfg.AdvertisePort
	g.TCPTimeout = 2 * time.Second
	g.ProbeInterval, g.ProbeTimeout = cfg.ProbeInterval, cfg.ProbeTimeout
	g.GossipInterval = cfg.GossipInterval
	// Suspicion lasts 3 × ProbeInterval × log10(members), and no more than twice that while nobody else confirms it.
	g.SuspicionMult = 3
	g.SuspicionMaxTimeoutMult = 2
	// A slow member doubles its own patience at most, or its crashed neighbours would live on for seconds.
	g.AwarenessMaxMultiplier = 2
	// A member that came back under its name while its former self was not yet dead was refused: this is when it is heard.
	g.PushPullInterval = cfg.JoinInterval
	// A pod that comes back under its name with another address must not be locked out.
	g.DeadNodeReclaimTime = time.Second
	g.Delegate, g.Alive, g.Merge, g.Events, g.Conflict = d, d, d, d, d
	g.Logger = newGossipLogger(cfg.Logger)
	return g
}
