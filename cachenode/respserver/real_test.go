package respserver

import (
	"bufio"
	"net"
	"os/exec"
	"testing"
	"time"
)

// realRedis starts redis-server with the given settings and returns its address.
func realRedis(t *testing.T, settings ...string) (addr string) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if testing.Short() {
			t.Skip("redis-server is not installed")
		}
		t.Fatal("the comparison needs redis-server: apt-get install redis-server, or run with -short")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(path, append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir()}, settings...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	eventually(t, "redis-server answers", func() bool {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	return addr
}

// dialAddr connects to any server.
func dialAddr(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { nc.Close() })
	return &client{t: t, nc: nc, r: bufio.NewReaderSize(nc, 1<<20)}
}

// pair is a connection to the real server and one to ours, which have to say the same.
type pair struct {
	t             *testing.T
	real, ours    *client
	realAt, ours2 string
}

// newPair starts both servers.
func newPair(t *testing.T, proto string) *pair {
	n := start(t, 2, nil)
	addr := realRedis(t)
	p := &pair{t: t, real: dialAddr(t, addr), ours: dialAddr(t, n.addr), realAt: addr, ours2: n.addr}
	p.quiet("HELLO", proto)
	return p
}

// another is a second connection to both.
func (p *pair) another(proto string) *pair {
	q := *p
	q.real, q.ours = dialAddr(p.t, p.realAt), dialAddr(p.t, p.ours2)
	q.quiet("HELLO", proto)
	return &q
}

// quiet sends a command whose replies differ.
func (p *pair) quiet(args ...string) { p.real.do(args...); p.ours.do(args...) }

// same sends a command to both and compares.
func (p *pair) same(args ...string) string {
	p.t.Helper()
	want, got := p.real.do(args...), p.ours.do(args...)
	if want != got {
		p.t.Errorf("%q:\n redis %q\n ours  %q", args, want, got)
	}
	return got
}

// read compares what comes without being asked for.
func (p *pair) read() string {
	p.t.Helper()
	want, got := p.real.read(), p.ours.read()
	if want != got {
		p.t.Errorf("unasked:\n redis %q\n ours  %q", want, got)
	}
	return got
}
