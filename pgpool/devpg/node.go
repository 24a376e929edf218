package devpg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	pollInterval = 10 * time.Millisecond
	stopGrace    = 10 * time.Second // then SIGKILL
	bindAttempts = 5
)

var errBusy = errors.New("its port, or the memory of the server before it, is still in use")

// node is one server. Its fields are guarded by the cluster's mutex, but for what is constant.
type node struct {
	// Constant after Start.
	cluster *Cluster
	name    string
	data    string // data directory
	logPath string

	port  int    // chosen at the first start and kept
	child *Child // nil before the first start
}

func (n *node) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)) }

func (n *node) running() bool { return n.child != nil && n.child.Running() }

// start runs the server until it takes connections. The first start chooses the port, and another one when it loses it.
// Later ones wait until the port is free again, and the memory of a server that was killed.
func (n *node) start(ctx context.Context) error {
	if n.running() {
		return nil
	}
	fresh, giveUp := n.port == 0, time.Now().Add(busyFor)
	var err error
	for attempt := 0; ; attempt++ {
		if fresh {
			if n.port, err = freePort(); err != nil {
				return err
			}
		}
		err = n.startOnce(ctx)
		switch {
		case !errors.Is(err, errBusy), fresh && attempt+1 == bindAttempts, time.Now().After(giveUp):
			return err
		case !fresh:
			time.Sleep(busyPause)
		}
	}
}

// What a server started again may still find in use, it does not find for longer than busyFor.
const (
	busyFor   = 15 * time.Second
	busyPause = 100 * time.Millisecond
)

func (n *node) startOnce(ctx context.Context) error {
	if err := n.configure(); err != nil {
		return err
	}
	log, err := os.OpenFile(n.logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open server log: %w", err)
	}
	defer log.Close() // the server has its own descriptor
	logStart, err := log.Seek(0, 2)
	if err != nil {
		return fmt.Errorf("find end of server log: %w", err)
	}
	cmd := exec.Command(filepath.Join(n.cluster.bin, "postgres"), "-D", n.data)
	n.cluster.prepare(cmd)
	cmd.Stdout, cmd.Stderr = log, log
	if n.child, err = StartChild(cmd); err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	ready := func() (bool, error) { return n.pidFileReady(), nil }
	if err := n.wait(ctx, ready); err != nil {
		said := n.logSince(logStart)
		n.stop(syscall.SIGQUIT)
		if strings.Contains(said, "Address already in use") || strings.Contains(said, "is still in use") {
			return fmt.Errorf("start %s: %w", n.name, errBusy)
		}
		return fmt.Errorf("start %s: %w; it said:\n%s", n.name, err, said)
	}
	return nil
}

// configure writes postgresql.conf whole, so that it never depends on what was there before.
func (n *node) configure() error {
	c := n.cluster
	var b strings.Builder
	set := func(name, value string) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(value, "'", "''"))
	}
	set("listen_addresses", "127.0.0.1")
	set("port", strconv.Itoa(n.port))
	set("unix_socket_directories", c.dir.path)
	set("cluster_name", n.name)
	set("max_connections", strconv.Itoa(c.opts.MaxConnections))
	set("wal_level", "logical")
	set("wal_keep_size", "256MB")
	set("fsync", "off") // throwaway
	set("hot_standby_feedback", "on")
	set("wal_retrieve_retry_interval", "100ms") // a restarted primary is found again at once
	set("wal_receiver_status_interval", "1s")
	set("dynamic_shared_memory_type", "mmap") // in the data directory: a killed server leaves nothing elsewhere
	set("lc_messages", "C")                   // the log is read by waitLog
	set("log_line_prefix", "%m [%p] ")
	if c.opts.Auth == "md5" {
		set("password_encryption", "md5")
	}
	if c.opts.TLS {
		set("ssl", "on")
		set("ssl_cert_file", filepath.Join(c.dir.path, certFile))
		set("ssl_key_file", filepath.Join(c.dir.path, keyFile))
	}
	if primary := c.nodes[c.primary]; primary != n {
		// Over the socket, which trusts: no password in the file.
		set("primary_conninfo", fmt.Sprintf("host=%s port=%d user=%s application_name=%s", c.dir.path, primary.port, User, n.name))
	}
	for _, name := range sortedSettings(c.opts.Settings) {
		set(name, c.opts.Settings[name])
	}
	return c.writeFile(filepath.Join(n.data, "postgresql.conf"), b.String())
}

// pidFile returns the lines of postmaster.pid: 6 is "shmkey shmid", 7 the state that pg_ctl waits for
// (src/include/utils/pidfile.h, counted from 0).
func (n *node) pidFile() []string {
	b, err := os.ReadFile(filepath.Join(n.data, "postmaster.pid"))
	if err != nil {
		return nil
	}
	return strings.Split(string(b), "\n")
}

func (n *node) pidFileReady() bool {
	lines := n.pidFile()
	return len(lines) > 7 && lines[0] == strconv.Itoa(n.child.Pid()) && strings.TrimSpace(lines[7]) == "ready"
}

// wait polls cond until it holds, the server ends, or ctx does.
func (n *node) wait(ctx context.Context, cond func() (bool, error)) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if ok, err := cond(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-n.child.Done():
			return fmt.Errorf("server ended: %w", errors.Join(n.child.Err(), errors.New("see its log")))
		case <-tick.C:
		}
	}
}

// waitLog waits until the server's log holds text.
func (n *node) waitLog(ctx context.Context, text string) error {
	err := n.wait(ctx, func() (bool, error) { return strings.Contains(n.logSince(0), text), nil })
	if err != nil {
		return fmt.Errorf("wait for %q in the log of %s: %w; it said:\n%s", text, n.name, err, n.logSince(0))
	}
	return nil
}

func (n *node) logSince(offset int64) string {
	b, err := os.ReadFile(n.logPath)
	if err != nil || offset > int64(len(b)) {
		return ""
	}
	return string(b[offset:])
}

// stop ends the server by sig and waits. One that is already gone is fine.
func (n *node) stop(sig os.Signal) {
	if n.child != nil {
		n.child.Stop(sig, stopGrace)
	}
}

// kill ends the server and its backends the way a crash does.
func (n *node) kill() {
	if !n.running() {
		return
	}
	// Backends belong to the postmaster that we started; asked before it dies, as afterwards they have another parent.
	backends := ChildrenOf(n.child.Pid())
	n.child.Stop(syscall.SIGKILL, stopGrace)
	for _, pid := range backends {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// forget drops what a killed server leaves outside its directory: the segment named in postmaster.pid.
func (n *node) forget() {
	lines := n.pidFile()
	if len(lines) <= 6 {
		return
	}
	if fields := strings.Fields(lines[6]); len(fields) == 2 {
		if id, err := strconv.Atoi(fields[1]); err == nil {
			removeSegment(id)
		}
	}
}

// Kill ends server i like a crash: SIGKILL to it and its backends, no goodbye to clients.
func (c *Cluster) Kill(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i].kill()
}

// StopNode shuts server i down in an orderly way: clients are told 57P01.
func (c *Cluster) StopNode(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i].stop(syscall.SIGINT) // "fast shutdown"
}

// StartNode starts server i again at its old address, in the role its data directory has.
func (c *Cluster) StartNode(ctx context.Context, i int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return errors.New("cluster is stopped")
	}
	return c.nodes[i].start(ctx)
}

// Running tells whether server i runs.
func (c *Cluster) Running(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i].running()
}

// Log is everything server i has logged.
func (c *Cluster) Log(i int) string { return c.nodes[i].logSince(0) }

// Promote makes replica i the primary and lets the other running servers that are replicas follow it. The old primary
// is left as it is: stop or kill it first, or have two.
func (c *Cluster) Promote(ctx context.Context, i int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[i]
	if !n.running() {
		return fmt.Errorf("promote %s: it does not run", n.name)
	}
	if _, err := c.run(ctx, filepath.Join(c.bin, "pg_ctl"), "promote", "-w", "-s", "-D", n.data); err != nil {
		return fmt.Errorf("promote %s: %w", n.name, err)
	}
	c.primary = i
	for _, other := range c.nodes {
		if other == n || !other.running() {
			continue
		}
		if err := other.configure(); err != nil {
			return err
		}
		if err := other.child.Signal(syscall.SIGHUP); err != nil {
			return fmt.Errorf("reload %s: %w", other.name, err)
		}
	}
	return nil
}
