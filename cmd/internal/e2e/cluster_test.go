package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// environment is an `outrigger dev --exec` whose command hands us its variables and lives as long as its stdin.
type environment struct {
	*process
	hold    *os.File // the command's stdin: closing it ends everything
	tmp     string   // where it may leave files, and must not
	environ []string // of a command of --exec
}

// startEnvironment runs `outrigger dev` with more arguments. tmp is for it alone.
func startEnvironment(tmp string, args ...string) (*environment, error) {
	stdin, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	p, err := start(environIn(tmp), stdin, program, append([]string{"dev", "--exec", "env -0; echo .; exec cat"}, args...)...)
	if err != nil {
		return nil, errors.Join(err, hold.Close())
	}
	e := &environment{process: p, hold: hold, tmp: tmp}
	for limit := time.After(90 * time.Second); ; {
		if out, complete := strings.CutSuffix(p.stdout.String(), "\x00.\n"); complete {
			e.environ = strings.Split(out, "\x00")
			return e, nil
		}
		select {
		case <-p.ended:
			return nil, errors.Join(fmt.Errorf("outrigger dev ended with %d:\n%s", p.code, p.said()), hold.Close())
		case <-limit:
			return nil, errors.Join(fmt.Errorf("outrigger dev is not ready:\n%s", p.said()), hold.Close(), e.stop())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the command of --exec, and so everything. Its error says what was wrong with the end.
func (e *environment) stop() error {
	errHold := e.hold.Close()
	code, err := e.wait(30 * time.Second)
	if err == nil && code != 0 {
		err = fmt.Errorf("outrigger dev ended with %d, want the 0 of its command:\n%s", code, e.said())
	}
	return errors.Join(errHold, err, empty(e.tmp))
}

// newEnvironment is an environment for one test.
func newEnvironment(t *testing.T, args ...string) *environment {
	t.Helper()
	e, err := startEnvironment(tempDir(t), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if e.running() {
			if err := e.stop(); err != nil {
				t.Error(err)
			}
		}
	})
	return e
}

// get is a variable of the environment.
func (e *environment) get(name string) string {
	for _, entry := range e.environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// each is a variable with one value a node.
func (e *environment) each(name string) []string { return strings.Split(e.get(name), ",") }

// sh runs a script as --exec would.
func (e *environment) sh(t *testing.T, script string) string {
	t.Helper()
	out, err := shell(e.environ, time.Minute, script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tempDir is a directory of the test's own beside the binary, gone afterwards.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := openDir(filepath.Dir(program), "test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// environIn is our environment without what would lead the program astray, with temporary files in dir.
func environIn(dir string) []string {
	environ := []string{"TMPDIR=" + dir}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "OUTRIGGER_") || strings.HasPrefix(name, "PG") ||
			name == "TMPDIR" || name == "PRIMARY_DB_URL" || name == "READ_REPLICA_URL" {
			continue
		}
		environ = append(environ, entry)
	}
	return environ
}

// empty returns an error that names what a directory holds.
func empty(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	return err
}

// sidecar is an `outrigger serve` on addresses of its own.
type sidecar struct {
	*process
	pg, cache, gossip, peer, http string
}

// serve starts a sidecar on free ports. more comes after its own flags.
func serve(t *testing.T, name string, environ []string, more ...string) *sidecar {
	t.Helper()
	a := freeAddrs(t, 5)
	s := &sidecar{pg: a[0], cache: a[1], gossip: a[2], peer: a[3], http: a[4]}
	s.process = begin(t, append(environIn(tempDir(t)), environ...), append([]string{"serve", "--node-name=" + name, "--pg-listen=" + s.pg,
		"--cache-listen=" + s.cache, "--gossip-listen=" + s.gossip, "--peer-listen=" + s.peer, "--http-listen=" + s.http}, more...)...)
	return s
}

// ready waits until the sidecar is, and sees that many members.
func (s *sidecar) ready(t *testing.T, members int) {
	t.Helper()
	eventually(t, "ready", func() error {
		if !s.running() {
			t.Fatalf("ended with %d:\n%s", s.code, s.said())
		}
		return settled("http://"+s.http, members)
	})
}

// report is what the tests read of /health/ready.
type report struct {
	Status  string
	Primary struct{ Status string }
	Cache   struct {
		Status string
		Keys   int64
	}
	Cluster struct{ Members []string }
}

// askReport asks a node for its health.
func askReport(httpURL string) (code int, r report, err error) {
	code, body, err := get(httpURL + "/health/ready")
	if err == nil {
		err = json.Unmarshal([]byte(body), &r)
	}
	return code, r, err
}

// settled returns nil when the node is ready and sees exactly that many members.
func settled(httpURL string, members int) error {
	code, r, err := askReport(httpURL)
	if err == nil && (code != http.StatusOK || len(r.Cluster.Members) != members) {
		err = fmt.Errorf("%d %+v, want 200 and %d members", code, r, members)
	}
	return err
}

// dialer connects to an address, from wherever it is.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// get asks an HTTP address.
func get(url string) (code int, body string, err error) {
	return getBy(new(net.Dialer).DialContext, url)
}

// getBy asks an HTTP address over a dialer's connection.
func getBy(dial dialer, url string) (code int, body string, err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}, Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// freeAddrs finds n loopback addresses that are free for TCP and UDP.
func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	return freeAddrsOn(t, "127.0.0.1", n)
}

// freeAddrsOn finds n free addresses of a host.
func freeAddrsOn(t *testing.T, host string, n int) []string {
	t.Helper()
	var addrs []string
	for len(addrs) < n {
		l, err := net.Listen("tcp", host+":0")
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

// cacheClient connects to one node. It does not try again by itself: what fails is seen.
func cacheClient(t *testing.T, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: strings.TrimPrefix(addr, "redis://"), MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// number reads an int that the program printed.
func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
