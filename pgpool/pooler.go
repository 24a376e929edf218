package pgpool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/admin"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// Config of a Pooler.
type Config struct {
	// Loops carry the connections. New hooks into them, so it must be called before they run.
	Loops []*netloop.Loop
	// Roles makes what knows the roles of an upstream's servers; nil means NewWatcher.
	Roles func(servers []Server) (Roles, error)
	// Floors is what consistency cluster asks for each read; nil: nobody is known to write elsewhere.
	Floors FloorSource
	// Listen are addresses for clients: host:port, the path of a Unix socket, or the name of an abstract one behind an @.
	Listen []string
	// ReusePort lets other processes listen on the same TCP addresses, as an upgrade does.
	ReusePort bool
	Tuning    Tuning
	Logger    *slog.Logger
	// Siblings get cancel requests for clients that are not here; nil: there are none.
	Siblings Siblings
	// NodeID, up to MaxNodeID, tells the sidecars of a cluster apart. It is part of the keys for cancel requests.
	NodeID uint16
	// Version is shown on the console and to nobody else.
	Version string
	// Reload re-reads the configuration, for the console's RELOAD. It may call Pooler.Reload.
	Reload func() error
	// Set changes one setting until the next Reload, and Settings lists them all, secrets masked: the console's SET and
	// SHOW CONFIG.
	Set      func(name, value string) error
	Settings func() []admin.ConfigRow
	// Members lists the sidecars of the cluster, for SHOW MEMBERS and SHOW RING; nil: there is none.
	Members func() []admin.Member
	// Shutdown begins to end the program, for the console's SHUTDOWN.
	Shutdown func(mode admin.ShutdownMode) error

	learnAgain, learnRetry time.Duration // of tests; 0: those of catalog.go
}

// Pooler lets many clients share few connections to Postgres. New makes it, Listen opens its doors, Run runs it.
type Pooler struct {
	// constant after New
	cfg     Config
	log     *slog.Logger
	workers []*worker
	started time.Time
	history history // for the console's averages

	listeners []*netloop.Listener // set by Listen
	names     statementNames
	tuning    atomic.Pointer[Tuning]
	nclients  atomic.Int64 // connections of clients, consoles and logins included
	consoles  atomic.Int64
	suspended atomic.Bool   // SUSPEND: nothing is read
	turns     atomic.Uint64 // which worker gets the next client
	arrivals  atomic.Int64  // connections that are logging in

	cancels  chan struct{} // has room for maxCancels
	passings chan struct{} // has room for maxPassings

	// tasks are dials and cancel requests; ctx ends them.
	tasks sync.WaitGroup
	ctx   context.Context
	stop  context.CancelFunc

	mu        sync.Mutex
	groups    map[groupKey]*sharedGroup // under mu
	arriving  map[*sharedGroup]bool     // under mu: groups whose first connection is being made
	upstreams map[string]*upstream      // under mu, by upstreamKey
	clients   headcount                 // under mu
	switches  map[string]switches       // under mu, by database; "" is for all
	policies  map[groupKey]*Policy      // under mu, of clients; emptied by Reload
	backends  map[process]*server       // under mu
	keys      map[uint32]*cancelKey     // under mu, by process id
	interned  map[string]*settings      // under mu, by their key
	last      uint32                    // under mu
	watching  bool                      // under mu: Run has begun
	closed    bool                      // under mu: no more tasks
	first     firstDials
}

// New checks cfg and makes a Pooler. It does no I/O.
func New(cfg Config) (*Pooler, error) {
	if len(cfg.Tuning.Databases) == 0 {
		return nil, errors.New("no server: set primary_url")
	}
	if len(cfg.Loops) == 0 || len(cfg.Loops) > 64 {
		return nil, fmt.Errorf("%d event loops: between 1 and 64 are possible", len(cfg.Loops))
	}
	if cfg.NodeID > MaxNodeID {
		return nil, fmt.Errorf("node id %d: %d is the largest", cfg.NodeID, MaxNodeID)
	}
	if cfg.Tuning.Clients == nil {
		return nil, errors.New("no client authentication")
	}
	if cfg.Roles == nil {
		cfg.Roles = func(servers []Server) (Roles, error) {
			return NewWatcher(servers, cfg.Logger.With("component", "health"))
		}
	}
	p := &Pooler{cfg: cfg, log: cfg.Logger, started: time.Now(), groups: make(map[groupKey]*sharedGroup),
		arriving: make(map[*sharedGroup]bool), upstreams: make(map[string]*upstream), clients: newHeadcount(),
		switches: make(map[string]switches), policies: make(map[groupKey]*Policy), keys: make(map[uint32]*cancelKey), cancels: make(chan struct{}, maxCancels), passings: make(chan struct{}, maxPassings),
		backends: make(map[process]*server), interned: make(map[string]*settings)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	for i, l := range cfg.Loops {
		p.workers = append(p.workers, newWorker(p, i, l))
	}
	return p, p.Reload(cfg.Tuning)
}

// Reload changes the tuning of a running pooler. Nobody is dropped: pools shrink as their servers become free or expire,
// and clients of a database that has moved get a server at the new place for their next transaction.
func (p *Pooler) Reload(tuning Tuning) error {
	t := tuning.withDefaults()
	for name, d := range t.Databases {
		if len(d.Servers) == 0 {
			return fmt.Errorf("database %q has no server", name)
		}
	}
	moved := make(map[*sharedGroup]*sharedGroup)
	p.mu.Lock()
	if err := p.setUpstreams(t); err != nil {
		p.mu.Unlock()
		return err
	}
	p.tuning.Store(t)
	clear(p.policies)
	for key, g := range p.groups {
		g.policy.Store(t.policy(key.database, key.user))
		if d, ok := t.database(key.database); ok {
			if to := p.relocate(g, d, t); to != nil {
				moved[g] = to
			}
		} else {
			g.removed.Store(true)
			delete(p.groups, key)
		}
	}
	p.shedExcess()
	watching := p.watching
	p.mu.Unlock()
	for _, w := range p.workers {
		w.loop.Post(func() { w.reload(moved) })
	}
	if watching {
		p.prefill(t)
	}
	return nil
}

// Addrs are the addresses listened on.
func (p *Pooler) Addrs() []net.Addr {
	var as []net.Addr
	for _, l := range p.listeners {
		as = append(as, l.Addr())
	}
	return as
}

// Run accepts clients until ctx ends. Clients that are there stay until Drain, or until the loops stop.
func (p *Pooler) Run(ctx context.Context) error {
	p.mu.Lock()
	p.watching = true
	for _, u := range p.upstreams {
		p.watch(u)
	}
	p.mu.Unlock()
	p.prefill(p.tuning.Load())
	var running sync.WaitGroup
	errs := make([]error, len(p.listeners))
	for i, l := range p.listeners {
		running.Go(func() { errs[i] = l.Run(ctx) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// Drain tells clients to go as they become idle and waits for them, until ctx ends: those that are left then are told as
// well, and cut off. Call it when Run has returned.
func (p *Pooler) Drain(ctx context.Context) error {
	var all []chan struct{}
	for _, w := range p.workers {
		done := make(chan struct{})
		if w.loop.Post(func() { w.drained = done; w.drain() }) {
			all = append(all, done)
		}
	}
	for _, done := range all {
		select {
		case <-done:
		case <-ctx.Done():
			for _, w := range p.workers {
				w.loop.Post(w.dismiss)
			}
			return fmt.Errorf("drain Postgres clients: %d left: %w", p.nclients.Load(), context.Cause(ctx))
		}
	}
	return nil
}

// Close ends dials and cancel requests under way and waits for them. Connections end with their loops.
func (p *Pooler) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	p.tasks.Wait()
}

// task runs fn in a goroutine that Close waits for. It reports false when it is too late for that.
func (p *Pooler) task(fn func(ctx context.Context)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.tasks.Go(func() { fn(p.ctx) })
	return true
}
