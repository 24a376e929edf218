package devpg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

const (
	// User is the superuser, Database the database that the URLs name.
	User     = "postgres"
	Database = "postgres"
)

// Options says what to start. The zero value is one primary that trusts everybody on loopback.
type Options struct {
	Replicas int // streaming replicas of the primary

	// Auth is the method for TCP connections: trust (default), scram-sha-256 or md5. The Unix socket always trusts.
	Auth     string
	Password string // of User; needed unless Auth is trust

	TLS            bool // serve TLS with a certificate that signs itself (Cluster.CAFile)
	MaxConnections int  // default 200

	Settings map[string]string // more postgresql.conf lines, for every server

	// Progress, when set, is told what happens next; it is called by Start only.
	Progress func(step string)
}

// Cluster is a primary and its replicas. Servers are numbered: 0 is the one that started as the primary, replicas
// follow. Methods may be called from any goroutine.
type Cluster struct {
	// Constant after Start.
	opts  Options
	bin   string              // directory of the server programs
	owner *syscall.Credential // nil: ourselves
	dir   *tempDir

	mu      sync.Mutex // held across start and stop of servers: they are rare, and must not interleave
	nodes   []*node
	primary int // index in nodes
	stopped bool
}

// Start makes a cluster and waits until every server takes connections and every replica streams.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	if opts.Auth == "" {
		opts.Auth = "trust"
	}
	if opts.Auth != "trust" && opts.Password == "" {
		return nil, fmt.Errorf("auth %s needs a password", opts.Auth)
	}
	if opts.MaxConnections == 0 {
		opts.MaxConnections = 200
	}
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	bin, err := findBin()
	if err != nil {
		return nil, err
	}
	owner, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := newTempDir(owner)
	if err != nil {
		return nil, err
	}
	c := &Cluster{opts: opts, bin: bin, owner: owner, dir: dir}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range 1 + c.opts.Replicas {
		c.nodes = append(c.nodes, &node{
			cluster: c,
			name:    fmt.Sprintf("node%d", i),
			data:    filepath.Join(c.dir.path, fmt.Sprintf("node%d", i)),
			logPath: filepath.Join(c.dir.path, fmt.Sprintf("node%d.log", i)),
		})
	}
	c.opts.Progress("initdb")
	if err := c.initdb(ctx, c.nodes[0].data); err != nil {
		return err
	}
	if c.opts.TLS {
		if err := writeCertificate(c.dir.path, c.owner); err != nil {
			return err
		}
	}
	// A data directory that was never started is a base backup by itself: copying it spares pg_basebackup and its
	// checkpoint. standby.signal makes the copy a replica.
	for _, n := range c.nodes[1:] {
		if _, err := c.run(ctx, "cp", "-a", c.nodes[0].data, n.data); err != nil {
			return fmt.Errorf("copy data directory: %w", err)
		}
		if _, err := c.run(ctx, "touch", filepath.Join(n.data, "standby.signal")); err != nil {
			return fmt.Errorf("mark replica: %w", err)
		}
	}
	for i, n := range c.nodes {
		if i == 0 {
			c.opts.Progress("start primary")
		} else {
			c.opts.Progress("start replica " + strconv.Itoa(i))
		}
		if err := n.start(ctx); err != nil {
			return err
		}
	}
	for _, n := range c.nodes[1:] {
		if err := n.waitLog(ctx, "started streaming WAL from primary"); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) initdb(ctx context.Context, data string) error {
	args := []string{"-D", data, "-U", User, "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions",
		"--auth-local=trust", "--auth-host=" + c.opts.Auth}
	if c.opts.Password != "" {
		path := filepath.Join(c.dir.path, "password")
		if err := c.writeFile(path, c.opts.Password+"\n"); err != nil {
			return err
		}
		defer os.Remove(path)
		args = append(args, "--pwfile="+path)
	}
	if _, err := c.run(ctx, filepath.Join(c.bin, "initdb"), args...); err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	return nil
}

// Stop ends every server and removes everything. It may be called again.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil
	}
	c.stopped = true
	var ending sync.WaitGroup
	for _, n := range c.nodes {
		ending.Go(func() {
			n.stop(syscall.SIGQUIT) // immediate: there is nothing to keep
			n.forget()
		})
	}
	ending.Wait()
	if err := c.dir.remove(); err != nil {
		return fmt.Errorf("remove temporary directory: %w", err)
	}
	return nil
}

// PrimaryURL is the connection URL of the current primary.
func (c *Cluster) PrimaryURL() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.url(c.nodes[c.primary])
}

// ReplicaURLs are the connection URLs of all other servers, running or not.
func (c *Cluster) ReplicaURLs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var urls []string
	for i, n := range c.nodes {
		if i != c.primary {
			urls = append(urls, c.url(n))
		}
	}
	return urls
}

// URL is the connection URL of server i.
func (c *Cluster) URL(i int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.url(c.nodes[i])
}

// Addr is host:port of server i. It stays the same over StopNode and StartNode.
func (c *Cluster) Addr(i int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i].addr()
}

// Len is the number of servers.
func (c *Cluster) Len() int { return len(c.nodes) }

// SocketDir is where the servers' Unix sockets are (.s.PGSQL.<port>).
func (c *Cluster) SocketDir() string { return c.dir.path }

// CAFile is the certificate that a client has to trust when Options.TLS is set.
func (c *Cluster) CAFile() string { return filepath.Join(c.dir.path, certFile) }

// BinDir is where the PostgreSQL programs are, for psql, pgbench and others of the same version.
func (c *Cluster) BinDir() string { return c.bin }

func (c *Cluster) url(n *node) string {
	u := url.URL{Scheme: "postgres", User: url.User(User), Host: n.addr(), Path: "/" + Database}
	if c.opts.Password != "" {
		u.User = url.UserPassword(User, c.opts.Password)
	}
	mode := "disable"
	if c.opts.TLS {
		mode = "require"
	}
	u.RawQuery = url.Values{"sslmode": {mode}}.Encode()
	return u.String()
}

// run executes a program as the servers' user and returns its output; on failure the error ends with it.
func (c *Cluster) run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	c.prepare(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(name), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// prepare gives cmd the servers' user, the cluster's directory and an environment without the caller's PG variables.
func (c *Cluster) prepare(cmd *exec.Cmd) {
	cmd.Dir = c.dir.path
	cmd.Env = []string{"PATH=" + c.bin + ":/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", "HOME=" + c.dir.path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner}
}

// writeFile writes a private file that belongs to the servers' user.
func (c *Cluster) writeFile(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if c.owner == nil {
		return nil
	}
	if err := os.Chown(path, int(c.owner.Uid), int(c.owner.Gid)); err != nil {
		return fmt.Errorf("give %s to user %d: %w", filepath.Base(path), c.owner.Uid, err)
	}
	return nil
}

// freePort asks the kernel for a port nobody uses now. Somebody may take it before the server does: the start retries.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// sortedSettings gives the extra settings in a stable order.
func sortedSettings(settings map[string]string) []string {
	return slices.Sorted(maps.Keys(settings))
}
