package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
)

var real = flag.Bool("real", false, "run against redis-server, to tell whose a failure is")

// scratch is a directory for the program and the packages of npm.
var scratch string

func TestMain(m *testing.M) {
	flag.Parse()
	logging.Disable() // go-redis tells of connections that end: tests end them
	goleak.VerifyTestMain(suite{m})
}

// suite gives the tests their directory.
type suite struct{ tests *testing.M }

// Run implements goleak.TestingM.
func (s suite) Run() int {
	var err error
	if scratch, err = os.MkdirTemp("", "outrigger-clients-"); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		return 1
	}
	defer os.RemoveAll(scratch)
	return s.tests.Run()
}

// build makes the program under test, once one is needed.
var build = sync.OnceValues(func() (program string, err error) {
	program = filepath.Join(scratch, "outrigger")
	args := []string{"build", "-buildvcs=false", "-o", program}
	if raceEnabled {
		args = append(args, "-race") // a race that a client brings out ends the node with a code other than 0
	}
	if out, err := exec.Command("go", append(args, "github.com/outrigger-proxy/outrigger/cmd/outrigger")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return program, nil
})

// Users that every server knows: default with a password, when a test asks for one, and app, whose password is "secret",
// for keys that begin with app:.
const (
	password = "open sesame"
	appUser  = "app on #2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b ~app:* &app:* +@all -@dangerous"
)

// server is what a test connects to.
type server struct{ addr string }

// start runs a server on its own, until the test ends.
func start(t *testing.T) server {
	t.Helper()
	if *real {
		return server{redistest.Start(t, append([]string{"--user"}, strings.Fields(appUser)...)...)}
	}
	return startNodes(t, 1)[0]
}

// startGuarded is start with a password for those who give no name.
func startGuarded(t *testing.T) server {
	t.Helper()
	if *real {
		return server{redistest.Start(t, append([]string{"--requirepass", password, "--user"}, strings.Fields(appUser)...)...)}
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	return startNodes(t, 1, "--cache-password-file="+file)[0]
}

// startCluster runs three nodes that see each other. There is nothing of the kind with -real.
func startCluster(t *testing.T) []server {
	t.Helper()
	if *real {
		t.Skip("one redis-server is no cluster")
	}
	return startNodes(t, 3)
}

// startReachable runs three nodes that cluster-aware clients see, for their listeners are not on loopback.
func startReachable(t *testing.T) []server {
	t.Helper()
	if *real {
		t.Skip("one redis-server is no cluster")
	}
	return startNodes(t, 3, "--cache-listen=0.0.0.0:PORT", "--advertise-addr=127.0.0.1", "--allow-insecure")
}

// startColocating runs three nodes that have the keys with a prefix together.
func startColocating(t *testing.T, prefix string) []server {
	t.Helper()
	if *real {
		t.Skip("one redis-server is no cluster")
	}
	return startNodes(t, 3, fmt.Sprintf("--cache-prefixes={%q: {colocate: on}}", prefix))
}

// neverCrossed fails the test when a client was told that its keys have several owners, or that a node could not reach another.
func neverCrossed(t *testing.T, servers []server) {
	t.Helper()
	for _, s := range servers {
		stats, err := s.client(t, 2).Info(t.Context(), "errorstats").Result()
		if err != nil {
			t.Error(err)
		}
		for _, word := range []string{"CROSSSLOT", "TRYAGAIN", "CLUSTERDOWN"} {
			if strings.Contains(stats, "errorstat_"+word) {
				t.Errorf("clients of %s were told:\n%s", s.addr, stats)
				break
			}
		}
	}
}

// client connects go-redis. It does not try again by itself: what fails is seen.
func (s server) client(t *testing.T, protocol int) *redis.Client {
	t.Helper()
	return connect(t, &redis.Options{Addr: s.addr, Protocol: protocol, MaxRetries: -1})
}

func connect(t *testing.T, options *redis.Options) *redis.Client {
	t.Helper()
	options.DialTimeout, options.ReadTimeout = patience, patience
	c := redis.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// patience is what a busy machine may take.
const patience = 30 * time.Second

// startNodes runs a cluster of nodes until the test ends. PORT in flags is each node's own for its clients. Ports that others have taken meanwhile are tried again with others.
func startNodes(t *testing.T, count int, flags ...string) []server {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		var servers []server
		if servers, err = tryNodes(t, program, count, flags...); err == nil {
			return servers
		}
	}
	t.Fatal(err)
	return nil
}

func tryNodes(t *testing.T, program string, count int, flags ...string) ([]server, error) {
	t.Helper()
	addrs := freeAddrs(t, 4*count)
	var nodes []*node
	var servers []server
	stop := func() error {
		ends := make([]error, len(nodes))
		var stopping sync.WaitGroup
		for i, n := range nodes {
			stopping.Go(func() { ends[i] = n.stop() })
		}
		stopping.Wait()
		return errors.Join(ends...)
	}
	for i := range count {
		a := addrs[4*i:]
		args := append([]string{"serve", "--node-name=" + string(rune('a'+i)), "--loops=2", "--max-memory-policy=noeviction", "--drain-timeout=2s", "--cache-users=" + appUser,
			"--cache-listen=" + a[0], "--gossip-listen=" + a[1], "--peer-listen=" + a[2], "--http-listen=" + a[3]}, flags...)
		_, port, _ := net.SplitHostPort(a[0])
		for j := range args {
			args[j] = strings.ReplaceAll(args[j], "PORT", port)
		}
		if i > 0 {
			args = append(args, "--join="+addrs[1])
		}
		n, err := startNode(program, args)
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		nodes, servers = append(nodes, n), append(servers, server{a[0]})
	}
	for i, n := range nodes {
		if err := n.ready("http://"+addrs[4*i+3], count); err != nil {
			return nil, errors.Join(err, stop())
		}
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return servers, nil
}

// node is a process of the program under test.
type node struct {
	cmd   *exec.Cmd
	said  bytes.Buffer // all that it printed; to be read when it has ended
	ended chan struct{}
}

func startNode(program string, args []string) (*node, error) {
	n := &node{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	n.cmd.Stdout, n.cmd.Stderr = &n.said, &n.said
	n.cmd.Env = []string{"GORACE=atexit_sleep_ms=0"} // a program with the race detector sleeps a second at its end
	for _, entry := range os.Environ() {             // no settings from here
		if !strings.HasPrefix(entry, "OUTRIGGER_") && !strings.HasPrefix(entry, "PRIMARY_DB_URL") {
			n.cmd.Env = append(n.cmd.Env, entry)
		}
	}
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = n.cmd.Wait() // the exit code says it
		close(n.ended)
	}()
	return n, nil
}

// ready waits until the node serves and sees that many members.
func (n *node) ready(url string, members int) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if reply, err := client.Get(url + "/health/ready"); err == nil {
			var report struct{ Cluster struct{ Members []string } }
			err = json.NewDecoder(reply.Body).Decode(&report)
			reply.Body.Close()
			if err == nil && reply.StatusCode == http.StatusOK && len(report.Cluster.Members) == members {
				return nil
			}
		}
		select {
		case <-n.ended:
			return fmt.Errorf("the node ended:\n%s", &n.said)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return errors.New("the node is not ready")
}

// stop ends the node as an operator would. It must end well.
func (n *node) stop() error {
	_ = n.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended
	select {
	case <-n.ended:
	case <-time.After(patience):
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("a node ended with %d; it said\n%s", code, &n.said)
	}
	return nil
}

// freeAddrs finds loopback addresses that are free for TCP and UDP.
func freeAddrs(t *testing.T, count int) []string {
	t.Helper()
	var addrs []string
	for len(addrs) < count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all are held until all are found
		if u, err := net.ListenPacket("udp", l.Addr().String()); err == nil {
			defer u.Close()
			addrs = append(addrs, l.Addr().String())
		}
	}
	return addrs
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting for: %s", what)
		}
	}
}

// want fails the test when a command fails or replies something else.
func want[T comparable](t *testing.T, expected T) func(got T, err error) {
	return func(got T, err error) {
		t.Helper()
		if err != nil || got != expected {
			t.Errorf("got %v, %v; want %v", got, err, expected)
		}
	}
}
