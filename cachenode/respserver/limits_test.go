package respserver

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// journal is a log to look into.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) has(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.text.String(), text)
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// narrow has the kernel keep little of what the client does not read.
func (c *client) narrow() {
	c.t.Helper()
	if err := c.nc.(*net.TCPConn).SetReadBuffer(32 << 10); err != nil {
		c.t.Fatal(err)
	}
}

func TestOutputLimitsAgainstRedis(t *testing.T) {
	p := newPair(t, "2")
	const name = "client-output-buffer-limit"
	p.quiet("CONFIG", "SET", name, "normal 1gb 256mb 60")
	p.same("CONFIG", "GET", name)
	for _, v := range []string{
		"pubsub 64mb 16mb 90", "slave 1 2 3 normal 0 0 0", "replica 4k 4kb 0", "NORMAL 1000000 500000 10",
		"", "normal", "normal 1 2", "normal 1 2 3 4", "master 1 2 3", "nobody 1 2 3", "normal x 2 3", "normal 1 -2 3", "normal 1 2 x", "normal 1 2 -3",
	} {
		p.same("CONFIG", "SET", name, v)
		p.same("CONFIG", "GET", name)
	}
}

// Only a single reply can be larger than what is served before a client must read: the hard limit closes who does not take it.
func TestHardOutputLimit(t *testing.T) {
	var log journal
	n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) {
		cfg.OutputLimits.Normal.Hard = 4 << 20
		cfg.Logger = log.logger()
	})
	value := strings.Repeat("x", 3<<20)
	c := n.dial(t)
	c.narrow()
	c.want("+OK\r\n", "SET", "k", value)
	if got := len(c.do("GET", "k")); got < len(value) {
		t.Errorf("a reply within the limit has %d bytes", got)
	}
	c.send("MGET" + strings.Repeat(" k", 10) + "\r\n") // more than the kernel takes besides
	if got := len(c.closed()); got >= 10*len(value) {
		t.Errorf("got all %d bytes", got)
	}
	if !log.has("reads too slowly") || !log.has("limit=4194304") {
		t.Errorf("the log does not tell:\n%s", log.text.String())
	}
	n.dial(t).want("+PONG\r\n", "PING")
}

func TestSoftOutputLimit(t *testing.T) {
	var log journal
	n := start(t, 2, func(cfg *Config, _ []*netloop.Loop) {
		cfg.OutputLimits.Normal = OutputLimit{Soft: 1 << 20, For: 300 * time.Millisecond}
		cfg.Logger = log.logger()
	})
	value := strings.Repeat("x", 12<<20)
	reads, rests := n.dial(t), n.dial(t)
	reads.want("+OK\r\n", "SET", "k", value)
	rests.narrow()
	rests.send("GET k\r\n")
	if got := len(reads.do("GET", "k")); got < len(value) {
		t.Errorf("got %d bytes", got)
	}
	eventually(t, "who does not read is closed", func() bool { return n.Clients() == 1 })
	reads.want("+PONG\r\n", "PING")
	if !log.has("reads too slowly") {
		t.Errorf("the log does not tell:\n%s", log.text.String())
	}
}

func TestIdleClientsAreClosed(t *testing.T) {
	n := start(t, 2, func(cfg *Config, _ []*netloop.Loop) { cfg.IdleTimeout = 200 * time.Millisecond })
	hears, waits, monitors := n.dial(t), n.dial(t), n.dial(t)
	hears.do("SUBSCRIBE", "c")
	waits.send("BLPOP k 0\r\n")
	monitors.want("+OK\r\n", "MONITOR")
	for range 3 {
		idle, silent := n.dial(t), n.dial(t)
		idle.want("+PONG\r\n", "PING")
		idle.closed()
		silent.closed() // without ever a command
	}
	eventually(t, "those that wait are left", func() bool { return n.Clients() == 3 })
	n.dial(t).want(":1\r\n", "LPUSH", "k", "v")
	if got := waits.read(); got != "*2\r\n$1\r\nk\r\n$1\r\nv\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestIdleTimeoutIsAParameter(t *testing.T) {
	n := start(t, 2, nil)
	idle, c := n.dial(t), n.dial(t)
	idle.want("+PONG\r\n", "PING")
	c.want("*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n", "CONFIG", "GET", "timeout")
	c.want("+OK\r\n", "CONFIG", "SET", "timeout", "1")
	c.want("*2\r\n$7\r\ntimeout\r\n$1\r\n1\r\n", "CONFIG", "GET", "timeout")
	idle.closed()
}
