package dev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

const (
	readyTimeout  = 30 * time.Second
	readyInterval = 20 * time.Millisecond
	stopGrace     = 5 * time.Second // then SIGKILL
	portAttempts  = 3
)

// sidecar is one process of `outrigger serve`.
type sidecar struct {
	// Constant after startSidecars.
	name                          string
	pg, cache, gossip, peer, http string // host:port
	logPath                       string
	child                         *devpg.Child
}

// errLostPort means that another process took a port between our choice and the sidecar's start.
var errLostPort = errors.New("a port was taken meanwhile")

// startSidecars starts n sidecars and waits until each is ready and sees all others. favour asks for the well-known
// ports for the first, where they are free.
func startSidecars(ctx context.Context, opts Options, servers *devpg.Cluster, favour bool) ([]*sidecar, error) {
	var err error
	for range portAttempts {
		var all []*sidecar
		if all, err = tryStartSidecars(ctx, opts, servers, favour); err == nil {
			return all, nil
		}
		stopSidecars(all)
		if !errors.Is(err, errLostPort) {
			break
		}
		favour = false
	}
	return nil, err
}

func tryStartSidecars(ctx context.Context, opts Options, servers *devpg.Cluster, favour bool) ([]*sidecar, error) {
	ports, err := choosePorts(opts.Nodes, favour)
	if err != nil {
		return nil, err
	}
	var all []*sidecar
	var join []string
	for i, p := range ports {
		name := "sidecar" + strconv.Itoa(i+1)
		s := &sidecar{name: name, pg: p[0], cache: p[1], gossip: p[2], peer: p[3], http: p[4],
			logPath: filepath.Join(servers.SocketDir(), name+".log")}
		all = append(all, s)
		join = append(join, s.gossip)
	}
	for _, s := range all {
		if err := s.start(opts, servers, join); err != nil {
			return all, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready after %v", readyTimeout))
	defer cancel()
	for _, s := range all {
		if err := s.waitReady(ctx, len(all)); err != nil {
			return all, err
		}
	}
	return all, nil
}

func (s *sidecar) start(opts Options, servers *devpg.Cluster, join []string) error {
	log, err := os.Create(s.logPath)
	if err != nil {
		return fmt.Errorf("create log of %s: %w", s.name, err)
	}
	defer log.Close() // the sidecar has its own descriptor
	cmd := exec.Command(opts.Program, "serve")
	cmd.Env = s.environ(opts.Environ, servers, join)
	cmd.Stdout, cmd.Stderr = log, log
	if s.child, err = devpg.StartChild(cmd); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	return nil
}

// waitReady waits until the sidecar says so and sees members members.
func (s *sidecar) waitReady(ctx context.Context, members int) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		ready, missing := s.askReady(ctx, client, members)
		if ready {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("start %s: %w: %w; it said:\n%s", s.name, context.Cause(ctx), missing, s.log())
		case <-s.child.Done():
			said := s.log()
			if strings.Contains(said, "address already in use") {
				return fmt.Errorf("start %s: %w", s.name, errLostPort)
			}
			return fmt.Errorf("%s ended (%w); it said:\n%s", s.name, s.child.Err(), said)
		case <-tick.C:
		}
	}
}

func (s *sidecar) log() string {
	b, err := os.ReadFile(s.logPath)
	if err != nil {
		return ""
	}
	const most = 8 << 10
	return string(b[max(0, len(b)-most):])
}

// stopSidecars ends all at once; they hand nothing over to each other on the way.
func stopSidecars(all []*sidecar) {
	var ending sync.WaitGroup
	for _, s := range all {
		if s.child != nil {
			ending.Go(func() { s.child.Stop(syscall.SIGINT, stopGrace) })
		}
	}
	ending.Wait()
}

// wellKnown are the default ports in the order of choosePorts.
var wellKnown = [5]string{"6432", "6379", "7946", "7947", "7948"}

// choosePorts finds five free loopback addresses for each of n sidecars: SQL, cache, gossip, peers, HTTP. All are held
// until all are found, so none is chosen twice.
func choosePorts(n int, favour bool) ([][5]string, error) {
	var held []func()
	defer func() {
		for _, release := range held {
			release()
		}
	}()
	ports := make([][5]string, n)
	for i := range ports {
		for j := range ports[i] {
			port := "0"
			if favour && i == 0 {
				port = wellKnown[j]
			}
			addr, release, err := hold(port)
			if err != nil && port != "0" {
				addr, release, err = hold("0")
			}
			if err != nil {
				return nil, err
			}
			ports[i][j] = addr
			held = append(held, release)
		}
	}
	return ports, nil
}

// hold binds a loopback port for TCP and UDP, which gossip needs both.
func hold(port string) (addr string, release func(), err error) {
	const attempts = 20 // a free TCP port may be taken for UDP
	for range attempts {
		var tcp net.Listener
		if tcp, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err != nil {
			break
		}
		var udp net.PacketConn
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			return tcp.Addr().String(), func() { tcp.Close(); udp.Close() }, nil
		}
		tcp.Close()
	}
	return "", nil, fmt.Errorf("find a free port: %w", err)
}
