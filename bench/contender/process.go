package contender

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

const (
	startTimeout = 30 * time.Second
	pollInterval = 2 * time.Millisecond
	stopGrace    = 5 * time.Second // then SIGKILL
	portAttempts = 3
)

// process is a server that was started for the measurement.
type process struct {
	child *devpg.Child
	log   string        // path
	ready time.Duration // from exec until it was
}

func (p *process) stop() { p.child.Stop(syscall.SIGTERM, stopGrace) }

func (p *process) said() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// recipe says how to start a server.
type recipe struct {
	name  string
	log   string // path of the file that gets its output
	ports int    // how many it listens on

	command func(addrs []string) (*exec.Cmd, error)
	ready   func(ctx context.Context, addrs []string) error // nil: it takes connections at the first address
}

// start runs the recipe until the server is ready. When another process takes a port between the choice and the use,
// it tries again.
func (r recipe) start(ctx context.Context) (*process, []string, error) {
	var err error
	for range portAttempts {
		var addrs []string
		if addrs, err = freeAddrs(r.ports); err != nil {
			return nil, nil, err
		}
		var p *process
		if p, err = r.try(ctx, addrs); err == nil {
			return p, addrs, nil
		}
		if !strings.Contains(strings.ToLower(err.Error()), "address already in use") {
			break
		}
	}
	return nil, nil, fmt.Errorf("start %s: %w", r.name, err)
}

func (r recipe) try(ctx context.Context, addrs []string) (*process, error) {
	cmd, err := r.command(addrs)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(r.log)
	if err != nil {
		return nil, fmt.Errorf("create its log: %w", err)
	}
	defer log.Close() // the server has its own descriptor
	cmd.Stdout, cmd.Stderr = log, log
	begin := time.Now()
	child, err := devpg.StartChild(cmd)
	if err != nil {
		return nil, err
	}
	p := &process{child: child, log: r.log}
	if err := p.wait(ctx, func(ctx context.Context) error {
		if r.ready != nil {
			return r.ready(ctx, addrs)
		}
		return connects(ctx, addrs[0])
	}); err != nil {
		p.stop()
		return nil, fmt.Errorf("%w; it said:\n%s", err, p.said())
	}
	p.ready = time.Since(begin)
	return p, nil
}

// wait asks until the server is ready, has ended, or the time is up.
func (p *process) wait(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %v", startTimeout))
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.child.Done():
			return errors.Join(errors.New("it ended"), p.child.Err())
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

func connects(ctx context.Context, addr string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// freeAddrs asks the kernel for n loopback addresses that nobody listens on now.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // all at the end: no port is given twice
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
