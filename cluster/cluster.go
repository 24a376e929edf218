package cluster

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// leaveTimeout bounds how long leaving waits for the others to be told.
const leaveTimeout = 2 * time.Second

// Cluster is this process's membership in the cluster.
type Cluster struct {
	// Constant after New.
	cfg                     Config
	activeMeta, leavingMeta []byte
	changed                 chan struct{} // holds one token while members has news for the view
	instance                uint64
	closed                  chan struct{}
	lost                    chan error    // holds why Run has to end
	started                 chan struct{} // closed when gossip is set
	closeOnce               sync.Once

	// Constant once Run has started gossiping.
	subscribers []func(old, new *View)
	gossip      *memberlist.Memberlist
	gossipKeys  *memberlist.Keyring // nil without keys

	leaving  atomic.Bool
	searched atomic.Bool // for others, to a first end
	joined   atomic.Bool // so, and the subscribers know who was found
	view     atomic.Pointer[View]
	failure  atomic.Pointer[error] // of the last try to join

	mu      sync.Mutex
	members map[string]Member
	ours    conflict // about our name, with one that had it before
	others  conflict // about any other, or ours with one that came later
	joining bool     // members may hold a part of a cluster that we are about to know whole
}

// New checks cfg. The view is that of a member alone until Run has found others.
func New(cfg Config) (*Cluster, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configure cluster: %w", err)
	}
	c := &Cluster{
		cfg:     cfg,
		changed: make(chan struct{}, 1),
		closed:  make(chan struct{}),
		lost:    make(chan error, 1),
		started: make(chan struct{}),
		members: map[string]Member{},
	}
	meta := metadata{
		basics: basics{
			VersionMin: peer.VersionMin,
			VersionMax: peer.VersionMax,
			Cluster:    cfg.ClusterName,
			PeerAddr:   cfg.PeerAddr,
			Zone:       cfg.Zone,
			State:      Active,
			Instance:   uint64(time.Now().UnixNano()),
			Ring:       ring.Algorithm,
		},
		Details: cfg.Details,
	}
	if c.activeMeta, err = meta.encode(); err != nil {
		return nil, err
	}
	c.instance = meta.Instance
	meta.State = Leaving
	if c.leavingMeta, err = meta.encode(); err != nil {
		return nil, err
	}
	me := Member{
		Name:       cfg.Name,
		GossipAddr: joinAddr(cfg.BindAddr, cfg.BindPort),
		PeerAddr:   cfg.PeerAddr,
		Zone:       cfg.Zone,
		Instance:   meta.Instance,
		Version:    meta.version(),
		Details:    cfg.Details,
	}
	c.members[me.Name] = me
	c.view.Store(NewView([]Member{me}, me.Name, nil))
	return c, nil
}

// Name returns the name of this member's cluster.
func (c *Cluster) Name() string { return c.cfg.ClusterName }

// View returns the current state. It is never nil.
func (c *Cluster) View() *View { return c.view.Load() }

// Joined tells whether the search for others has come to a first end: one was found, or the names to join lead to nobody
// but us, or there are none. Subscribers have seen by then who was found. It is
// false again while another member has our name.
func (c *Cluster) Joined() bool { return c.joined.Load() && !c.nameless() }

// Subscribe has fn called after each change of the view, in order, one call at a time, until Run returns. It must be
// called before Run.
func (c *Cluster) Subscribe(fn func(old, new *View)) { c.subscribers = append(c.subscribers, fn) }

// Run gossips until ctx ends, tells the others that we are gone, and returns nil; after Close it returns without a word
// to anyone. It fails when a member that started before has the same name, and keeps it.
func (c *Cluster) Run(ctx context.Context) error {
	cfg := c.cfg.gossip(&delegate{c})
	if c.cfg.Keys != nil {
		var err error
		keys := c.cfg.Keys.Keys()
		if cfg.Keyring, err = memberlist.NewKeyring(keys, keys[0]); err != nil {
			return fmt.Errorf("keys of gossip: %w", err)
		}
	}
	gossip, err := memberlist.Create(cfg)
	if err != nil {
		return fmt.Errorf("start gossip on %s: %w", joinAddr(c.cfg.BindAddr, c.cfg.BindPort), err)
	}
	c.gossip, c.gossipKeys = gossip, cfg.Keyring
	close(c.started)

	work, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { c.joinForever(work) })
	running.Go(func() { c.publishViews(work) })

	var failure error
	select {
	case <-ctx.Done():
		if err := gossip.Leave(leaveTimeout); err != nil {
			c.cfg.Logger.Warn("left without telling everyone", "error", err)
		}
	case <-c.closed:
	case failure = <-c.lost: // without a word: of a member with this name the others know only good
	}
	stop()
	err = gossip.Shutdown()
	running.Wait()
	if failure != nil {
		return failure
	}
	if err != nil {
		return fmt.Errorf("stop gossip: %w", err)
	}
	return nil
}

// Leave announces that this member owns nothing any more: the others' rings, and our own, go on without it. It stays a
// member and keeps gossiping until Run ends. Leave returns when the news has been sent.
func (c *Cluster) Leave(ctx context.Context) error {
	select {
	case <-c.started:
	case <-ctx.Done():
		return fmt.Errorf("announce leaving: %w", context.Cause(ctx))
	}
	c.leaving.Store(true)
	timeout := leaveTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(time.Millisecond, min(timeout, time.Until(deadline)))
	}
	if err := c.gossip.UpdateNode(timeout); err != nil {
		return fmt.Errorf("announce leaving: %w", err)
	}
	return nil
}

// Rekey has the gossip go by the keys that Config.Keys has now. It is for one goroutine.
func (c *Cluster) Rekey() error {
	select {
	case <-c.started:
	default:
		return nil // Run will find them
	}
	if c.gossipKeys == nil {
		return nil
	}
	wanted := c.cfg.Keys.Keys()
	for _, key := range wanted {
		if err := c.gossipKeys.AddKey(key); err != nil {
			return fmt.Errorf("add key to gossip: %w", err)
		}
	}
	if err := c.gossipKeys.UseKey(wanted[0]); err != nil {
		return fmt.Errorf("use key in gossip: %w", err)
	}
	for _, key := range slices.Backward(c.gossipKeys.GetKeys()) {
		if slices.ContainsFunc(wanted, func(k []byte) bool { return bytes.Equal(k, key) }) {
			continue
		}
		if err := c.gossipKeys.RemoveKey(key); err != nil {
			return fmt.Errorf("remove key from gossip: %w", err)
		}
	}
	return nil
}

// Close stops gossiping at once, as a crash would; Run returns.
func (c *Cluster) Close() { c.closeOnce.Do(func() { close(c.closed) }) }

// put and remove note what memberlist knows; publishViews makes views of it.
func (c *Cluster) put(m Member) {
	c.mu.Lock()
	c.members[m.Name] = m
	c.mu.Unlock()
	c.markChanged()
}

func (c *Cluster) remove(name string) {
	if name == c.cfg.Name {
		return // a view always has ourselves
	}
	c.mu.Lock()
	delete(c.members, name)
	c.mu.Unlock()
	c.markChanged()
}

func (c *Cluster) markChanged() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// publishViews is the one goroutine that makes views and calls the subscribers.
func (c *Cluster) publishViews(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.changed:
		}
		old := c.View()
		searched := c.searched.Load() // before the members are read: whom the search has found is one of them
		c.mu.Lock()
		wait := c.joining && len(old.Members) == 1
		members := slices.Collect(maps.Values(c.members))
		c.mu.Unlock()
		if wait {
			continue // the end of the join is a change as well
		}
		view := NewView(members, c.cfg.Name, old)
		if !slices.Equal(view.Members, old.Members) {
			c.publish(ctx, old, view)
		}
		if searched || len(view.Members) > 1 {
			c.joined.Store(true)
		}
	}
}

// publish makes view the present one.
func (c *Cluster) publish(ctx context.Context, old, view *View) {
	c.view.Store(view)
	c.cfg.Logger.InfoContext(ctx, "members changed", "members", len(view.Members), "active", len(view.Active),
		"epoch", fmt.Sprintf("%016x", view.Epoch))
	for _, fn := range c.subscribers {
		fn(old, view)
	}
}
