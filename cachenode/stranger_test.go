package cachenode

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/keyring"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

var (
	ownKey     = bytes.Repeat([]byte("k"), 32)
	foreignKey = bytes.Repeat([]byte("f"), 32)
)

func ringOf(t testing.TB, cluster string, keys ...[]byte) *keyring.Keyring {
	t.Helper()
	r, err := keyring.New(cluster, "test", keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// keyed gives a node the key of the cluster, for gossip and for its peers.
func keyed(t testing.TB) func(*Config, *cluster.Config) {
	return func(c *Config, cc *cluster.Config) {
		cc.Keys = ringOf(t, "outrigger", ownKey)
		c.TLS = cc.Keys.TLS
	}
}

// What nodes do in the clear they do encrypted, over all kinds of connections between them.
func TestNodesWithAKey(t *testing.T) {
	nodes := startTunedCluster(t, 3, 2, keyed(t))
	ctx := t.Context()
	var clients []*redis.Client
	for _, n := range nodes {
		c := redis.NewClient(&redis.Options{Addr: n.addr})
		defer c.Close()
		clients = append(clients, c)
	}
	big := string(bytes.Repeat([]byte("x"), 1<<20))
	for i := range 60 {
		if err := clients[i%3].Set(ctx, fmt.Sprint("key:", i), fmt.Sprint("value:", i), 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := clients[0].Set(ctx, "big", big, 0).Err(); err != nil {
		t.Fatal(err)
	}
	fourth := startTuned(t, "d", 1, keyed(t), nodes...)
	waitSettled(t, append(nodes, fourth)...)
	late := redis.NewClient(&redis.Options{Addr: fourth.addr})
	defer late.Close()
	for i := range 60 {
		if got, err := late.Get(ctx, fmt.Sprint("key:", i)).Result(); err != nil || got != fmt.Sprint("value:", i) {
			t.Errorf("key:%d is %q, %v", i, got, err)
		}
	}
	if got, err := late.Get(ctx, "big").Result(); err != nil || got != big {
		t.Errorf("a value of 1 MiB comes back with %d bytes, %v", len(got), err)
	}
	if got := fourth.Stats(); got.Received == 0 || got.Forwarded == 0 {
		t.Errorf("nothing went between nodes: %+v", got)
	}
}

// tap is a relay that notes what is said to the one who listens.
type tap struct {
	addr string
	mu   sync.Mutex
	said [][]byte // by connection
}

func newTap(t *testing.T, target string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{addr: l.Addr().String()}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", target)
			if err != nil {
				nc.Close()
				continue
			}
			p.mu.Lock()
			at := len(p.said)
			p.said = append(p.said, nil)
			p.mu.Unlock()
			stop := context.AfterFunc(ctx, func() { nc.Close(); to.Close() })
			running.Go(func() {
				defer stop()
				defer nc.Close()
				io.Copy(nc, to)
			})
			running.Go(func() {
				defer to.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := nc.Read(buf)
					p.mu.Lock()
					p.said[at] = append(p.said[at], buf[:n]...)
					p.mu.Unlock()
					if _, failed := to.Write(buf[:n]); err != nil || failed != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); cancel(); running.Wait() })
	return p
}

// Whoever reaches the peer listener, and does not have the key, is not answered, not even with a greeting.
func TestStrangerWithoutTheKey(t *testing.T) {
	var wire *tap
	a := startTuned(t, "a", 1, func(c *Config, cc *cluster.Config) {
		keyed(t)(c, cc)
		wire = newTap(t, c.Peers.Addr().String())
		cc.PeerAddr = wire.addr
	})
	b := startTuned(t, "b", 1, keyed(t), a)
	waitSettled(t, a, b)
	client := redis.NewClient(&redis.Options{Addr: b.addr})
	defer client.Close()
	for i := range 20 {
		if err := client.Set(t.Context(), fmt.Sprint("secret:", i), "secret value", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	addr := a.cfg.Peers.Addr().String()
	// The stranger knows everything about b but the key: it is b's greeting that it sends, and a write.
	hello, err := peer.AppendGreeting(nil, b.greeting)
	if err != nil {
		t.Fatal(err)
	}
	attack := peer.Append(nil, peer.Frame{Type: peer.Hello, Body: hello})
	attack = peer.Append(attack, peer.Frame{Type: peer.Command, Flags: peer.CommandFlags(2, 0, false, true), ID: 1,
		Epoch: a.placement.Load().epoch, Body: []byte("*3\r\n$3\r\nSET\r\n$8\r\ninjected\r\n$1\r\n1\r\n")})

	refused := func(name string, nc net.Conn, send []byte) {
		t.Helper()
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(10 * time.Second))
		nc.Write(send)
		answer, err := io.ReadAll(io.LimitReader(nc, 1<<16))
		if f, n, _, err := peer.Parse(answer); err == nil && n > 0 {
			t.Errorf("%s: answered by a frame of type %d", name, f.Type)
		}
		if bytes.Contains(answer, []byte("secret")) {
			t.Errorf("%s: secrets are sent in the clear", name)
		}
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Errorf("%s: the connection stays open", name)
		}
	}
	dial := func() net.Conn {
		t.Helper()
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
	refused("in the clear", dial(), attack)
	refused("garbage", dial(), bytes.Repeat([]byte{0xa5}, 8<<10))
	for name, keys := range map[string]*keyring.Keyring{
		"another key":     ringOf(t, "outrigger", foreignKey),
		"another cluster": ringOf(t, "other", ownKey),
	} {
		cfg := keys.TLS().Clone()
		cfg.VerifyConnection = nil // the stranger does not mind whom it talks to
		refused(name, tls.Client(dial(), cfg), attack)
	}
	wire.mu.Lock()
	var said [][]byte // what goes on being recorded is appended to others
	for _, s := range wire.said {
		said = append(said, bytes.Clone(s))
	}
	wire.mu.Unlock()
	if len(said) == 0 {
		t.Error("nothing was recorded")
	}
	for i, bytesSaid := range said {
		if bytes.Contains(bytesSaid, []byte("secret")) {
			t.Errorf("connection %d carries secrets in the clear", i)
		}
		refused(fmt.Sprintf("replay of connection %d", i), dial(), bytesSaid)
	}
	if n, err := client.Exists(t.Context(), "injected").Result(); err != nil || n != 0 {
		t.Errorf("a stranger has written a key: %d, %v", n, err)
	}
}

// A node that gossip has led astray gives nothing to who answers there.
func TestNodeDialsAStranger(t *testing.T) {
	a := startTuned(t, "a", 1, keyed(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, accept := range map[string]func(nc net.Conn) net.Conn{
		"in the clear": func(nc net.Conn) net.Conn { return nc },
		"another key": func(nc net.Conn) net.Conn {
			cfg := ringOf(t, "outrigger", foreignKey).TLS().Clone()
			cfg.VerifyConnection = nil
			return tls.Server(nc, cfg)
		},
	} {
		heard := make(chan []byte, 1)
		go func() {
			nc, err := l.Accept()
			if err != nil {
				heard <- nil
				return
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(5 * time.Second))
			b := make([]byte, 4096)
			n, _ := accept(nc).Read(b)
			heard <- b[:n]
		}()
		g, err := a.dial(t.Context(), &remote{name: "b", addr: l.Addr().String()})
		if err == nil {
			g.Close()
			t.Errorf("%s: greeted", name)
		}
		if b := <-heard; bytes.Contains(b, []byte("outrigger\xa4node")) || bytes.Contains(b, []byte("instance")) {
			t.Errorf("%s: the stranger has heard %q", name, b)
		}
	}
}

// Strangers that connect and say nothing hold a bounded number of places, for a bounded time, and keep no member out.
func TestSlowStrangersKeepNobodyOut(t *testing.T) {
	for name, tune := range map[string]func(*Config, *cluster.Config){
		"clear": func(*Config, *cluster.Config) {}, "encrypted": keyed(t),
	} {
		t.Run(name, func(t *testing.T) {
			a := startTuned(t, "a", 1, tune)
			b := startTuned(t, "b", 1, tune, a)
			waitSettled(t, a, b)
			to := &remote{name: "a", addr: a.cfg.Peers.Addr().String(), instance: a.greeting.Instance}
			var slow []net.Conn
			defer func() {
				for _, nc := range slow {
					nc.Close()
				}
			}()
			waiting := func() int {
				a.lobby.mu.Lock()
				defer a.lobby.mu.Unlock()
				return len(a.lobby.waiting)
			}
			for i := range maxStrangers + 100 {
				nc, err := net.Dial("tcp", to.addr)
				if err != nil {
					t.Fatal(err)
				}
				slow = append(slow, nc)
				nc.Write([]byte{0x16, 3}) // the beginning of a TLS handshake, or an impossible length
				if i%50 == 0 {
					if g, err := b.dial(t.Context(), to); err != nil {
						t.Errorf("behind %d strangers: %v", i, err)
					} else {
						g.Close()
					}
				}
				if n := waiting(); n > maxStrangers {
					t.Fatalf("%d strangers wait", n)
				}
			}
			waitFor(t, "the strangers to be gone", func() bool { return waiting() == 0 })
		})
	}
}
