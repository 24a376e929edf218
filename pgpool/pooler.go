package pgpool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// Mode says when a server goes back to the pool.
type Mode uint8

// The modes, as PgBouncer names them.
const (
	TransactionMode Mode = iota
	SessionMode
)

func (m Mode) String() string {
	if m == SessionMode {
		return "session"
	}
	return "transaction"
}

// ParseMode reads a mode's name.
func ParseMode(s string) (Mode, error) {
	switch s {
	case "transaction":
		return TransactionMode, nil
	case "session":
		return SessionMode, nil
	}
	return 0, fmt.Errorf("unknown pool_mode %q: use transaction or session", s)
}

// Tuning is what RELOAD can change. Zero durations mean no limit.
type Tuning struct {
	Mode              Mode
	PoolSize          int // connections for each database and server
	MaxPrepared       int // statements kept prepared on each server
	MaxClients        int
	QueryWait         time.Duration
	ClientLogin       time.Duration
	ServerConnect     time.Duration
	ServerLifetime    time.Duration
	ServerIdleTimeout time.Duration
	LoginRetry        time.Duration
	// IgnoreStartup names startup parameters that are dropped.
	IgnoreStartup []string
	// AdminUsers may do everything on the console, StatsUsers may look.
	AdminUsers, StatsUsers []string
	// Clients lets clients in.
	Clients *auth.Authenticator
	// ClientTLS is nil when clients get no TLS; RequireTLS refuses those that do not ask for it.
	ClientTLS  *tls.Config
	RequireTLS bool
}

// Config of a Pooler.
type Config struct {
	// Loops carry the connections. New hooks into them, so it must be called before they run.
	Loops []*netloop.Loop
	// Servers are the primary, first, and its replicas.
	Servers []Server
	// Upstream knows their roles; nil means that Servers[0] is the primary and that replicas are never read from.
	Upstream Upstream
	// Listen are addresses for clients: host:port, or the path of a Unix socket.
	Listen []string
	Tuning Tuning
	Logger *slog.Logger
	// Version is shown on the console and to nobody else.
	Version string
	// Reload re-reads the configuration, for the console's RELOAD. It may call Pooler.Reload.
	Reload func() error
}

// Pooler lets many clients share few connections to Postgres. New makes it, Listen opens its doors, Run runs it.
type Pooler struct {
	// constant after New
	cfg      Config
	log      *slog.Logger
	servers  []Server
	upstream Upstream
	workers  []*worker
	started  time.Time

	listeners []*netloop.Listener // set by Listen
	names     statementNames
	tuning    atomic.Pointer[Tuning]
	nclients  atomic.Int64
	turn      atomic.Uint64 // which worker gets the next client

	// tasks are dials and cancel requests; ctx ends them.
	tasks sync.WaitGroup
	ctx   context.Context
	stop  context.CancelFunc

	mu       sync.Mutex
	groups   map[string]*sharedGroup // under mu, by database
	keys     map[uint32]*client      // under mu, by the process id given to clients
	interned map[string]*settings    // under mu, by their key
	last     uint32                  // under mu
	first    firstDials
	closed   bool // under mu: no more tasks
}

// sharedGroup is what the workers share of a database.
type sharedGroup struct {
	database string
	slots    []*slots
	welcome  atomic.Pointer[map[string]string] // what servers report at login
}

// New checks cfg and makes a Pooler. It does no I/O.
func New(cfg Config) (*Pooler, error) {
	if len(cfg.Servers) == 0 {
		return nil, errors.New("no server: set primary_url")
	}
	if len(cfg.Loops) == 0 || len(cfg.Loops) > 64 {
		return nil, fmt.Errorf("%d event loops: between 1 and 64 are possible", len(cfg.Loops))
	}
	if cfg.Tuning.Clients == nil {
		return nil, errors.New("no client authentication")
	}
	if cfg.Upstream == nil {
		cfg.Upstream = alone{}
	}
	p := &Pooler{cfg: cfg, log: cfg.Logger, servers: cfg.Servers, upstream: cfg.Upstream, started: time.Now(),
		groups: make(map[string]*sharedGroup), keys: make(map[uint32]*client),
		interned: make(map[string]*settings)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.Reload(cfg.Tuning)
	for i, l := range cfg.Loops {
		p.workers = append(p.workers, newWorker(p, i, l))
	}
	return p, nil
}

// alone is the Upstream of a primary about which nothing else is known.
type alone struct{}

func (alone) Primary() int             { return 0 }
func (alone) Usable(int) bool          { return false }
func (alone) Floor() uint64            { return 0 }
func (alone) Reached(int, uint64) bool { return false }

// Reload changes the tuning of a running pooler. Pools shrink as their servers become free or expire.
func (p *Pooler) Reload(t Tuning) {
	t.PoolSize = max(1, t.PoolSize)
	if t.ServerLifetime <= 0 {
		t.ServerLifetime = 100 * 365 * 24 * time.Hour
	}
	if t.ServerConnect <= 0 {
		t.ServerConnect = 15 * time.Second
	}
	p.tuning.Store(&t)
}

// Listen opens the addresses of Config.Listen.
func (p *Pooler) Listen() error {
	for _, addr := range p.cfg.Listen {
		network := "tcp"
		if len(addr) > 0 && addr[0] == '/' {
			network = "unix"
		}
		ln, err := net.Listen(network, addr)
		if err != nil {
			for _, l := range p.listeners {
				l.Close()
			}
			return fmt.Errorf("listen for Postgres clients: %w", err)
		}
		local := isLocal(ln.Addr())
		p.listeners = append(p.listeners, netloop.NewListener(ln, p.log, func(ctx context.Context, nc net.Conn) { p.serve(ctx, nc, local) }))
	}
	return nil
}

// isLocal tells whether only this machine reaches a listener. The address of a connection would not do: what a proxy on
// this machine passes on looks local, too.
func isLocal(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
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
	var running sync.WaitGroup
	errs := make([]error, len(p.listeners))
	for i, l := range p.listeners {
		running.Go(func() { errs[i] = l.Run(ctx) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// Drain tells clients to go as they become idle and waits for them, until ctx ends. Call it when Run has returned.
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
