package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode"
	"github.com/outrigger-proxy/outrigger/cachenode/pressure"
	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
	"github.com/outrigger-proxy/outrigger/cmd/internal/ops"
	"github.com/outrigger-proxy/outrigger/pgpool"
	"github.com/outrigger-proxy/outrigger/pgpool/auth"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// Options says what to run.
type Options struct {
	Config *config.Config
	// Load reads the configuration again, for SIGHUP, with what an administrator has set meanwhile.
	Load func(set ...config.Given) (*config.Config, error)
	// Signals: SIGTERM drains and ends, SIGINT ends at once, SIGHUP reloads.
	Signals <-chan os.Signal
	LogTo   io.Writer
	Version string

	previous *auth.Authenticator // lets clients in until now, when there is a sidecar already
}

// App is a sidecar.
type App struct {
	// Constant after New.
	load    func(set ...config.Given) (*config.Config, error)
	signals <-chan os.Signal
	log     *slog.Logger
	level   *slog.LevelVar
	version string

	cachePlan cachePlan
	tuning    pgpool.Tuning

	// Owned by Run.
	config   *config.Config
	clients  *auth.Authenticator // what lets clients in now
	loops    []*netloop.Loop
	parts    []*part         // in the order of their start
	node     *cachenode.Node // nil without a cache
	siblings *siblings       // nil without a cache
	reloads  []func(*config.Config) error
	given    []config.Given // set on the console since the last reload

	// asked carries requests of the consoles to Run; over is closed when Run takes no more.
	asked chan request
	over  chan struct{}
	tasks sync.WaitGroup // what consoles have begun; it ends with over

	atOnce bool // skip farewells

	// transacted is closed, in a drain, when the Postgres clients have finished.
	transacted chan struct{}

	draining atomic.Bool
}

var (
	errEnded    = errors.New("ended unexpectedly")
	errStopping = errors.New("the sidecar is stopping")
)

// New reads what the configuration refers to: files, URLs, keys. Nothing is bound or started. Its error is
// config.Problems.
func New(opts Options) (*App, error) {
	cfg := opts.Config
	log, level := newLogger(opts.LogTo, cfg)
	a := &App{load: opts.Load, signals: opts.Signals, version: opts.Version, log: log, level: level, config: cfg,
		asked: make(chan request), over: make(chan struct{}), transacted: make(chan struct{})}
	var problems, more config.Problems
	if cfg.Cache {
		a.cachePlan, problems = planCache(cfg)
	}
	if cfg.Pooler() {
		a.tuning, more = planPostgres(cfg, opts.previous)
		a.clients = a.tuning.Clients
		problems = append(problems, more...)
	}
	if len(problems) > 0 {
		return nil, problems.Distinct()
	}
	return a, nil
}

// add notes a setting that turned out to be wrong when it was put to use. A nil err is none.
func add(problems config.Problems, cfg *config.Config, setting string, err error) config.Problems {
	if err == nil {
		return problems
	}
	return append(problems, config.Problem{Where: cfg.Origin(setting), Setting: setting, Message: err.Error()})
}

// gcPercent is how much the heap may grow before it is collected. Messages allocate nothing, so that collections are rare
// and a tighter heap costs nothing; at Go's 100, garbage of logins would count double in every idle client's memory.
const gcPercent = 50

// Run binds the addresses, starts the parts, and blocks until ctx or a signal ends them or one of them fails.
func (a *App) Run(ctx context.Context) error {
	defer a.tasks.Wait()
	over := sync.OnceFunc(func() { close(a.over) })
	defer over()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if limit := pressure.Own().Limit(); os.Getenv("GOMEMLIMIT") == "" && limit > 0 {
		debug.SetMemoryLimit(pressure.HeapLimit(limit))
	}
	a.warn(a.config.Warnings())
	if err := a.build(); err != nil {
		return errors.Join(err, a.stop())
	}
	a.warmUp()                              // when nothing can go wrong any more that has to do with the configuration: what was read is removed
	ended := make(chan error, len(a.parts)) // each part reports once at most
	for _, p := range a.parts {
		p.start(ended)
	}
	a.log.Info("started", a.listening()...)
	err := a.wait(ctx, ended)
	over() // a console that asks now would be waited for below, and wait itself
	err = errors.Join(err, a.stop())
	close(ended)
	for late := range ended {
		err = errors.Join(err, late)
	}
	if err == nil && !a.atOnce {
		a.keepWarm()
	}
	a.log.Info("stopped")
	return err
}

// build makes the parts in the order of their start.
func (a *App) build() error {
	cfg := a.config
	if err := a.buildLoops(); err != nil {
		return err
	}
	sources := &ops.Sources{Draining: a.draining.Load}
	if cfg.Cache {
		if err := a.buildCache(sources); err != nil {
			return err
		}
	}
	if cfg.Pooler() {
		if err := a.buildPostgres(sources); err != nil {
			return err
		}
	}
	if cfg.HTTPListen != "" {
		server := ops.New(ops.Config{Listen: cfg.HTTPListen, Version: a.version, Logger: a.log.With("component", "http")}, sources)
		if err := server.Listen(); err != nil {
			return taken("http_listen", err)
		}
		// Last: a drain is watched to its end, and nobody asks halves that have stopped.
		a.parts = append(a.parts, &part{name: "http", run: server.Run, close: server.Close})
	}
	return nil
}

// buildLoops makes the event loops that both halves share.
func (a *App) buildLoops() error {
	for i := range a.config.Loops {
		loop, err := netloop.New(netloop.Config{})
		if err != nil {
			return fmt.Errorf("make event loop: %w", err)
		}
		a.loops = append(a.loops, loop)
		a.parts = append(a.parts, &part{name: "loop" + strconv.Itoa(i), run: loop.Run})
	}
	return nil
}

// stop ends the parts, the last one first.
func (a *App) stop() error {
	var errs []error
	for _, p := range slices.Backward(a.parts) {
		errs = append(errs, p.stop(a.atOnce))
	}
	return errors.Join(errs...)
}

// wait returns when it is time to stop the parts: nil when they were asked to end.
func (a *App) wait(ctx context.Context, ended <-chan error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return err
		case r := <-a.asked:
			err := a.obey(r)
			r.answer <- err
			if err != nil {
				continue
			}
			switch r.stop {
			case stopNow:
				a.log.Info("stopping at once", "asked", "on the console")
				a.atOnce = true
				return nil
			case stopDrain:
				return a.drain(ctx, ended)
			}
		case sig := <-a.signals:
			switch sig {
			case syscall.SIGHUP:
				_ = a.reload(nil) // has logged it
			case syscall.SIGTERM:
				return a.drain(ctx, ended)
			default:
				a.log.Info("stopping at once", "signal", sig.String())
				a.atOnce = true
				return nil
			}
		}
	}
}

// drain lets clients finish and hands the cache's share over, at most drain_timeout long. SIGINT cuts it short.
func (a *App) drain(ctx context.Context, ended <-chan error) error {
	a.draining.Store(true)
	begin := time.Now()
	a.log.Info("draining", "at_most", a.config.DrainTimeout)
	ctx, cancel := context.WithTimeout(ctx, a.config.DrainTimeout)
	defer cancel()
	var draining sync.WaitGroup
	for _, p := range a.parts {
		if p.drain == nil {
			continue
		}
		draining.Go(func() {
			if err := p.drain(ctx); err != nil {
				a.log.Warn("drain cut short", "part", p.name, "error", err)
			}
		})
	}
	drained := make(chan struct{})
	go func() {
		draining.Wait()
		close(drained)
	}()
	var failure error
	for {
		select {
		case <-drained:
			a.log.Info("drained", "took", time.Since(begin).Round(time.Millisecond))
			return failure
		case err := <-ended:
			failure = errors.Join(failure, err)
			cancel()
		case r := <-a.asked:
			r.answer <- errStopping
		case sig := <-a.signals:
			if sig == os.Interrupt {
				a.atOnce = true
				cancel()
			}
		}
	}
}

// reload reads the configuration again, with what was given on the console. A bad one changes nothing.
func (a *App) reload(given []config.Given) error {
	changed, err := a.tryReload(given)
	if err != nil {
		a.log.Error("reload refused", "error", err)
		return err
	}
	for _, s := range changed {
		if !s.Reloadable() {
			a.log.Warn("setting takes a restart", "setting", s.Name)
		}
	}
	a.log.Info("reloaded", "changed", len(changed))
	return nil
}

func (a *App) tryReload(given []config.Given) (changed []config.Setting, err error) {
	next, err := a.load(given...)
	if err != nil {
		return nil, err
	}
	if next.Pooler() != a.config.Pooler() { // there is nothing to hand the databases to, or it would be left with none
		return nil, config.Problems{{Where: next.Origin("primary_url"), Setting: "primary_url",
			Message: "the first database cannot be added, nor the last removed, while the sidecar runs", Hint: "restart it"}}
	}
	if err := checkKeys(a.config, next); err != nil {
		return nil, err
	}
	checked, err := New(Options{Config: next, LogTo: io.Discard, previous: a.clients})
	if err != nil {
		return nil, err
	}
	if err := checkPrefixes(a.config, next); err != nil {
		return nil, err
	}
	a.clients = checked.clients // for the plan that is carried out, which so derives no key a second time
	for _, reload := range a.reloads {
		if err := reload(next); err != nil {
			return nil, err
		}
	}
	a.level.Set(logLevel(next))
	changed = config.Changed(a.config, next)
	a.config, a.given = next, given
	return changed, nil
}

// listening tells where clients connect, as log attributes.
func (a *App) listening() []any {
	c := a.config
	attrs := []any{"version", a.version, "loops", len(a.loops)}
	if c.Pooler() {
		attrs = append(attrs, "pg_listen", c.PGListeners())
	}
	if c.Cache {
		if c.CacheListen != "" {
			attrs = append(attrs, "cache_listen", c.CacheListen, "cache_tls", c.CacheTLS.CertFile != "")
		}
		if c.CacheSocket != "" {
			attrs = append(attrs, "cache_socket", c.CacheSocket)
		}
		attrs = append(attrs, "gossip_listen", c.GossipListen, "peer_listen", c.PeerListen)
	}
	if c.HTTPListen != "" {
		attrs = append(attrs, "http_listen", c.HTTPListen)
	}
	return attrs
}

// Check finds what only the parts can tell of a configuration: files that do not parse, keys of a wrong length. Nothing
// is started.
func Check(cfg *config.Config) error {
	_, err := New(Options{Config: cfg, LogTo: io.Discard})
	return err
}
