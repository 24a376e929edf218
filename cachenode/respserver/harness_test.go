package respserver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a server with its loops and a listener.
type node struct {
	*Server
	addr  string
	loops []*netloop.Loop
	store *store.Store
	tls   atomic.Pointer[tls.Config] // for connections to come; nil: none
}

// start runs a server over so many loops; change may alter its configuration.
func start(t testing.TB, loops int, change func(*Config, []*netloop.Loop)) *node {
	t.Helper()
	n := &node{store: store.New(store.Config{})}
	for range loops {
		l, err := netloop.New(netloop.Config{})
		if err != nil {
			t.Fatal(err)
		}
		n.loops = append(n.loops, l)
	}
	cfg := Config{Backend: NewLocal(n.store, n.loops...), Store: n.store, Logger: slog.New(slog.DiscardHandler), Version: "test"}
	if change != nil {
		change(&cfg, n.loops)
	}
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Server = srv
	for _, l := range n.loops {
		if err := srv.Attach(l); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addr = ln.Addr().String()
	next := 0
	var mu sync.Mutex
	listener := netloop.NewListener(ln, cfg.Logger, func(ctx context.Context, nc net.Conn) {
		mu.Lock()
		l := n.loops[next%loops]
		next++
		mu.Unlock()
		srv.ServeTLS(ctx, l, nc, n.tls.Load())
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := listener.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	for _, l := range n.loops {
		wg.Go(func() {
			if err := l.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return n
}

// client speaks raw RESP.
type client struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

func (n *node) dial(t testing.TB) *client {
	t.Helper()
	nc, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { nc.Close() })
	return &client{t: t, nc: nc, r: bufio.NewReaderSize(nc, 1<<20)}
}

func (c *client) send(raw string) {
	c.t.Helper()
	if _, err := c.nc.Write([]byte(raw)); err != nil {
		c.t.Fatal(err)
	}
}

// read returns the next whole reply.
func (c *client) read() string {
	c.t.Helper()
	var b []byte
	need := 1
	for {
		have := len(b)
		b = append(b, make([]byte, need-have)...)
		if n, err := io.ReadFull(c.r, b[have:]); err != nil {
			c.t.Fatalf("after %.80q: %v", b[:have+n], err)
		}
		n, more, err := resp.ReplyLen(b)
		if err != nil {
			c.t.Fatalf("%.80q: %v", b, err)
		}
		if n > 0 {
			return string(b)
		}
		need = more
	}
}

func (c *client) do(args ...string) string {
	c.t.Helper()
	b := make([][]byte, len(args))
	for i, a := range args {
		b[i] = []byte(a)
	}
	c.send(string(resp.AppendCommand(nil, b)))
	return c.read()
}

func (c *client) want(reply string, args ...string) {
	c.t.Helper()
	if got := c.do(args...); got != reply {
		c.t.Fatalf("%q: got %q, want %q", args, got, reply)
	}
}

// closed waits for the server to close, and returns what came before.
func (c *client) closed() string {
	c.t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(c.r); err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			c.t.Fatalf("not closed; got %.200q", b.String())
		}
	}
	return b.String()
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
