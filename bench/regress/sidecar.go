package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/outrigger-proxy/outrigger/pgpool/devpg"
)

// sidecar is a running `outrigger serve`.
type sidecar struct {
	child *devpg.Child
	addr  string // for Postgres clients
}

func (s *sidecar) stop() { s.child.Stop(syscall.SIGINT, 5*time.Second) }

func buildSidecar(ctx context.Context, root, dir string) (string, error) {
	program := filepath.Join(dir, "outrigger")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, "./cmd/outrigger")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build outrigger: %w\n%s", err, out)
	}
	return program, nil
}

// startSidecar runs the program in front of the cluster until it takes clients.
func startSidecar(ctx context.Context, program string, cluster *devpg.Cluster, pool int, logPath string) (*sidecar, error) {
	log, err := os.Create(logPath)
	if err != nil {
		return nil, fmt.Errorf("create the sidecar's log: %w", err)
	}
	defer log.Close() // the child has its own descriptor
	addrs, err := freeAddrs(5)
	if err != nil {
		return nil, err
	}
	env := []string{
		"PATH=/usr/bin:/bin", "HOME=" + filepath.Dir(logPath),
		"OUTRIGGER_PRIMARY_URL=" + cluster.PrimaryURL(),
		"OUTRIGGER_REPLICA_URLS=" + strings.Join(cluster.ReplicaURLs(), ","),
		"OUTRIGGER_PG_LISTEN=" + addrs[0], "OUTRIGGER_CACHE_LISTEN=" + addrs[1], "OUTRIGGER_GOSSIP_LISTEN=" + addrs[2],
		"OUTRIGGER_PEER_LISTEN=" + addrs[3], "OUTRIGGER_HTTP_LISTEN=" + addrs[4],
		fmt.Sprintf("OUTRIGGER_DEFAULT_POOL_SIZE=%d", pool),
	}
	cmd := exec.Command(program, "serve")
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	child, err := devpg.StartChild(cmd)
	if err != nil {
		return nil, fmt.Errorf("start outrigger: %w", err)
	}
	s := &sidecar{child: child, addr: addrs[0]}
	if err := s.wait(ctx); err != nil {
		s.stop()
		said, _ := os.ReadFile(logPath)
		return nil, fmt.Errorf("start outrigger: %w; it said:\n%s", err, said)
	}
	return s, nil
}

// wait waits until the sidecar takes connections.
func (s *sidecar) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp", s.addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.child.Done():
			return errors.Join(errors.New("it ended"), s.child.Err())
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
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
