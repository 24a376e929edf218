package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// fleet is sidecars of one cluster that have a cache and nothing else, each started with the addresses of all: what a
// headless service would tell them.
type fleet []*node

// node is a sidecar that can be ended and started again.
type node struct {
	*process // of its present life
	name     string
	addr     string
	cache    string
	http     string
	args     []string
	environ  []string

	mu   sync.Mutex
	host machine // nil: this one
}

// machine is where nodes live that do not live on this one.
type machine interface {
	// within runs what starts processes there.
	within(start func() error) error
	dial(ctx context.Context, network, addr string) (net.Conn, error)
	String() string // its address
}

// newFleet makes n nodes on this machine. None is started.
func newFleet(t *testing.T, n int) fleet {
	t.Helper()
	// On Linux a network of its own: a node that starts again must not find its port taken by somebody's connection.
	host := "127.0.0.1"
	if runtime.GOOS == "linux" {
		host = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
	}
	addrs := lastingAddrs(t, host, 4*n)
	var f fleet
	for i := range n {
		a := addrs[4*i:]
		f = append(f, &node{name: "node" + strconv.Itoa(i), addr: a[0], cache: a[2], http: a[3],
			args: []string{"--gossip-listen=" + a[0], "--peer-listen=" + a[1]}})
	}
	f.introduce(t)
	return f
}

// lastingAddrs finds n free addresses of a host whose ports the kernel gives to nobody who does not ask for them: they stay
// free until the nodes take them, and while one of them is down. Those that are taken are left alone.
func lastingAddrs(t *testing.T, host string, n int) (addrs []string) {
	t.Helper()
	for try := 0; len(addrs) < n; try++ {
		addr := net.JoinHostPort(host, strconv.Itoa(10000+rand.IntN(20000)))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			if try > 100*n {
				t.Fatalf("no free ports: %v", err)
			}
			continue
		}
		defer l.Close() // all are held until all are found
		if u, err := net.ListenPacket("udp", addr); err == nil {
			defer u.Close()
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// moveTo says on which host the node's next life is.
func (n *node) moveTo(h machine) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.host, n.addr = h, h.String()+":7946"
}

// where says on which host the node lives.
func (n *node) where() machine {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.host
}

// introduce tells all nodes of each other.
func (f fleet) introduce(t *testing.T) {
	var all []string
	for _, n := range f {
		all = append(all, n.addr)
	}
	for _, n := range f {
		n.args = append(n.args, "--node-name="+n.name, "--join="+strings.Join(all, ","))
		n.environ = environIn(tempDir(t))
		t.Cleanup(func() {
			if n.process == nil {
				return
			}
			if n.running() {
				n.kill()
			}
			if t.Failed() && testing.Verbose() {
				t.Logf("%s said:\n%s", n.name, n.said())
			}
		})
	}
}

// start begins a life of the node.
func (n *node) start(t *testing.T) {
	t.Helper()
	args := append([]string{"serve", "--cache-listen=" + n.cache, "--http-listen=" + n.http, "--loops=1", "--max-memory=256MiB"}, n.args...)
	host := n.where()
	if host != nil {
		args = append(args, "--gossip-listen="+n.addr, "--peer-listen="+host.String()+":7947")
	}
	before := n.process
	run := func() (err error) { n.process, err = start(n.environ, nil, program, args...); return err }
	if host != nil {
		begin := run
		run = func() error { return host.within(begin) }
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if before != nil { // one log for all lives
		_, _ = n.process.stdout.Write([]byte(before.said()))
	}
}

// startAll starts all nodes and waits until they work as one.
func (f fleet) startAll(t *testing.T) {
	t.Helper()
	for _, n := range f {
		n.start(t)
	}
	f.settle(t)
}

// dial connects to an address as the node sees it: its applications live beside it.
func (n *node) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if host := n.where(); host != nil {
		return host.dial(ctx, network, addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// client connects to the node, for all of its lives. It does not try again by itself: what fails is seen.
func (n *node) client(t *testing.T) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: n.cache, Dialer: n.dial, MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// state is what a node says of the cluster.
type state struct{ peers, owned, missing int }

// state asks the node.
func (n *node) state(ctx context.Context) (s state, err error) {
	c := redis.NewClient(&redis.Options{Addr: n.cache, Dialer: n.dial, MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: time.Second})
	defer c.Close()
	info, err := c.Info(ctx, "outrigger").Result()
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		number, _ := strconv.Atoi(value)
		switch name {
		case "outrigger_peers":
			s.peers = number
		case "outrigger_owned_partitions":
			s.owned = number
		case "outrigger_missing_partitions":
			s.missing = number
		}
	}
	return s, err
}

// ready waits until the node is ready, as an orchestrator would ask it.
func (n *node) ready(t *testing.T) {
	t.Helper()
	eventually(t, n.name+" is ready", func() error {
		if !n.running() {
			t.Fatalf("%s ended with %d:\n%s", n.name, n.code, n.said())
		}
		code, body, err := getBy(n.dial, "http://"+n.http+"/health/ready")
		if err == nil && code != 200 {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
}

// met returns nil when all of these nodes see each other and nobody else.
func (f fleet) met(ctx context.Context) error {
	for _, n := range f {
		if s, err := n.state(ctx); err != nil || s.peers != len(f)-1 {
			return fmt.Errorf("%s sees %d others of %d: %w", n.name, s.peers, len(f)-1, err)
		}
	}
	return nil
}

// agreed returns nil when all of these nodes see each other and nobody else, have one owner for each partition, and lack
// nothing.
func (f fleet) agreed(ctx context.Context) error {
	if err := f.met(ctx); err != nil {
		return err
	}
	owned := 0
	for _, n := range f {
		s, err := n.state(ctx)
		if err != nil || s.missing > 0 {
			return fmt.Errorf("%s waits for %d partitions: %w", n.name, s.missing, err)
		}
		owned += s.owned
	}
	if owned != ring.Partitions {
		return fmt.Errorf("%d partitions are owned, of %d", owned, ring.Partitions)
	}
	return nil
}

// settle waits until the nodes agree.
func (f fleet) settle(t *testing.T) {
	t.Helper()
	for _, n := range f {
		n.ready(t)
	}
	eventually(t, "the nodes agree", func() error {
		for _, n := range f {
			if !n.running() {
				t.Fatalf("%s ended with %d:\n%s", n.name, n.code, n.said())
			}
		}
		return f.agreed(t.Context())
	})
}

// without is the fleet but for some.
func (f fleet) without(gone ...*node) (rest fleet) {
next:
	for _, n := range f {
		for _, g := range gone {
			if n == g {
				continue next
			}
		}
		rest = append(rest, n)
	}
	return rest
}

// stop ends the nodes, all at once, with what they have: they would hand everything over to each other, again and again.
func (f fleet) stop(t *testing.T) {
	t.Helper()
	f.end(t, syscall.SIGINT)
}

// end sends all nodes a signal and waits until they have ended well.
func (f fleet) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	for _, n := range f {
		n.signal(t, sig)
	}
	for _, n := range f {
		n.exit(t, 0, 40*time.Second)
	}
}
