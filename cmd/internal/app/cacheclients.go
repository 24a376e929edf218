package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"

	"github.com/outrigger-proxy/outrigger/cachenode"
	"github.com/outrigger-proxy/outrigger/cachenode/acl"
	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/respserver"
	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// cacheClients is what the configuration says about the cache's clients, with all files read.
type cacheClients struct {
	password string      // of the user default; empty: none
	tls      *tls.Config // nil: none
	limits   respserver.OutputLimits
	warnings []string
}

func planCacheClients(cfg *config.Config) (plan cacheClients, problems config.Problems) {
	var err error
	if cfg.CachePasswordFile != "" {
		plan.password, err = readSecret(cfg.CachePasswordFile)
		if err == nil && plan.password == "" {
			err = errors.New(cfg.CachePasswordFile + " is empty")
		}
		problems = add(problems, cfg, "cache_password_file", err)
	}
	users, err := acl.NewUsers(command.NewTable(), plan.password, cfg.CacheUsers)
	problems = add(problems, cfg, "cache_users", err)
	if open := cfg.CacheListen; len(problems) == 0 && open != "" && !config.Loopback(open) && !cfg.AllowInsecure {
		if anybody := users.Default().User(); anybody.Enabled && anybody.NoPass {
			problems = append(problems, config.Problem{Where: cfg.Origin("cache_listen"), Setting: "cache_listen",
				Message: "everybody who reaches " + open + " could read and write the cache",
				Hint:    "set cache_password_file, listen on loopback, or set allow_insecure: on"})
		}
	}
	if cfg.CacheTLS.CertFile != "" {
		plan.tls, err = baseTLS(cfg.CacheTLS)
		problems = add(problems, cfg, "cache_tls_cert_file", err)
	}
	if plan.tls != nil && plan.tls.RootCAs != nil {
		plan.tls.ClientCAs, plan.tls.RootCAs = plan.tls.RootCAs, nil
		plan.tls.ClientAuth = tls.RequireAndVerifyClientCert
	}
	plan.limits = respserver.DefaultOutputLimits
	if len(cfg.CacheOutputBufferLimits) > 0 {
		if plan.limits, err = plan.limits.With(strings.Join(cfg.CacheOutputBufferLimits, " ")); err != nil {
			problems = append(problems, config.Problem{Where: cfg.Origin("cache_output_buffer_limits"), Setting: "cache_output_buffer_limits",
				Message: err.Error(), Hint: "such as normal 1gb 256mb 60, pubsub 32mb 8mb 60: class, hard limit, soft limit, seconds"})
		}
	}
	plan.warnings = append(openToAll("cache_password_file", cfg.CachePasswordFile), openToAll("cache_tls_key_file", cfg.CacheTLS.KeyFile)...)
	return plan, problems
}

// openToAll warns of a file with a secret that is everybody's.
func openToAll(setting, file string) []string {
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm()&0o007 == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s: every user of this machine may open %s (mode %04o): make it 0600, or 0640 with a group of its own",
		setting, file, info.Mode().Perm())}
}

// cacheServer makes the server of the cache's clients and the parts that accept them, which are to be stopped also with an
// error.
func (a *App) cacheServer(node *cachenode.Node, topology func() respserver.Topology) (*respserver.Server, []*part, error) {
	log, cfg, plan := a.log.With("component", "respserver"), a.config, a.cachePlan.clients
	c := respserver.Config{
		Backend: node, Store: node.Store(), Table: node.Table(), Scripts: node.Scripts(), Logger: log, Version: a.version,
		Topology: topology, Password: plan.password, Users: cfg.CacheUsers, Debug: cfg.CacheDebug,
		MaxClients: cfg.CacheMaxClients, IdleTimeout: cfg.CacheClientIdleTimeout, OutputLimits: plan.limits, Socket: cfg.CacheSocket,
	}
	if _, port := splitAddr(cfg.CacheListen); plan.tls == nil {
		c.Port = port
	} else {
		c.TLSPort = port
	}
	server, err := respserver.New(c)
	if err != nil {
		return nil, nil, fmt.Errorf("make cache server: %w", err)
	}
	for _, loop := range a.loops {
		if err := server.Attach(loop); err != nil {
			return nil, nil, fmt.Errorf("make cache server: %w", err)
		}
	}
	var encryption atomic.Pointer[tls.Config]
	encryption.Store(plan.tls)
	a.warn(plan.warnings)
	a.reloadCacheClients(node, server, &encryption)

	var turn atomic.Uint64
	var doors []*part
	open := func(name string, ln net.Listener, encryption func() *tls.Config) {
		listener := netloop.NewListener(ln, log, func(ctx context.Context, nc net.Conn) {
			loop := a.loops[turn.Add(1)%uint64(len(a.loops))]
			if err := server.ServeTLS(ctx, loop, nc, encryption()); err != nil && !errors.Is(err, netloop.ErrStopped) {
				log.Warn("client refused", "error", err)
			}
		})
		doors = append(doors, &part{name: name, run: listener.Run, close: func() error { return closeOnce(ln) }})
	}
	if cfg.CacheListen != "" {
		ln, err := netloop.Listen(context.Background(), "tcp", cfg.CacheListen, false)
		if err != nil {
			return nil, doors, taken("cache_listen", fmt.Errorf("listen for cache clients on cache_listen: %w", err))
		}
		open("respserver", ln, encryption.Load)
	}
	if cfg.CacheSocket != "" {
		ln, err := netloop.ListenUnix(cfg.CacheSocket, cfg.SocketMode())
		if err != nil {
			return nil, doors, fmt.Errorf("listen for cache clients on cache_socket: %w", err)
		}
		open("respserver socket", ln, func() *tls.Config { return nil })
	}
	return server, doors, nil
}

// reloadCacheClients has a reload take over what concerns clients: files are read again, and what is unchanged is left as
// CONFIG SET and ACL SETUSER have made it meanwhile.
func (a *App) reloadCacheClients(node *cachenode.Node, server *respserver.Server, encryption *atomic.Pointer[tls.Config]) {
	was, limits := a.config, a.cachePlan.clients.limits
	a.reloads = append(a.reloads, func(cfg *config.Config) error {
		plan, problems := planCacheClients(cfg)
		if (plan.tls == nil) != (encryption.Load() == nil) {
			// By a slip of the editor a port would otherwise begin to take passwords in the clear.
			problems = append(problems, config.Problem{Where: cfg.Origin("cache_tls_cert_file"), Setting: "cache_tls_cert_file",
				Message: "TLS is not turned on or off while the cache runs", Hint: "restart, or undo the change"})
		}
		if len(problems) > 0 {
			return problems
		}
		if err := server.SetUsers(plan.password, cfg.CacheUsers); err != nil {
			return err
		}
		a.warn(plan.warnings)
		encryption.Store(plan.tls)
		if cfg.CacheMaxClients != was.CacheMaxClients {
			server.SetMaxClients(cfg.CacheMaxClients)
		}
		if cfg.CacheClientIdleTimeout != was.CacheClientIdleTimeout {
			server.SetIdleTimeout(cfg.CacheClientIdleTimeout)
		}
		if plan.limits != limits {
			server.SetOutputLimits(plan.limits)
		}
		if cfg.CacheScriptTimeLimit != was.CacheScriptTimeLimit {
			node.Scripts().SetTimeLimit(cfg.CacheScriptTimeLimit)
		}
		was, limits = cfg, plan.limits
		return nil
	})
}

// warn logs what works and an operator should know.
func (a *App) warn(warnings []string) {
	for _, w := range warnings {
		a.log.Warn("configuration", "warning", w)
	}
}

// closeOnce closes a listener that its owner may have closed already.
func closeOnce(l net.Listener) error {
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
