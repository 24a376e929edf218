package respserver

import (
	"bufio"
	"net"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
)

// dialAddr connects to any server.
func dialAddr(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(2 * time.Minute)) // some tests send tens of thousands of commands
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
	addr := redistest.Start(t)
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
