package respserver

import (
	"bytes"
	"log/slog"
	"net"
	"strconv"
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

func TestErrorStatsAgainstRedis(t *testing.T) {
	p := newPair(t, "2")
	p.quiet("CONFIG", "RESETSTAT")
	p.same("INFO", "errorstats")
	p.same("SET", "k", "v")
	for _, command := range []string{"NOSUCH", "GET", "LPUSH k v", "CONFIG SET nosuch 1", "HELLO 9", "SELECT 99", "EXEC", "INCR k", "INCR k"} {
		p.same(strings.Fields(command)...)
	}
	p.same("INFO", "errorstats")
	for range 3 {
		q := p.another("2")
		q.real.send("*1\r\n$x\r\n")
		q.ours.send("*1\r\n$x\r\n")
		if want, got := q.real.closed(), q.ours.closed(); want != got {
			t.Errorf("redis %q, ours %q", want, got)
		}
	}
	p.same("INFO", "errorstats")
	p.quiet("CONFIG", "RESETSTAT")
	p.same("INFO", "errorstats")
}

func TestErrorWordsAreBounded(t *testing.T) {
	var e errorCounts
	for i := range 10 * maxErrorWords {
		e.count([]byte("-WORD" + strconv.Itoa(i) + " x\r\n"))
	}
	e.count([]byte("-" + strings.Repeat("A", 40) + " x\r\n"))
	e.count([]byte("+OK\r\n"))
	e.count(nil)
	if n := len(e.byWord); n > maxErrorWords+1 {
		t.Errorf("%d words", n)
	}
	if got := e.byWord[otherErrors]; got != 9*maxErrorWords+1 {
		t.Errorf("%d others", got)
	}
}

// What CONFIG SET takes and refuses of the limits is what Redis does.
func TestLimitParametersAgainstRedis(t *testing.T) {
	p := newPair(t, "2")
	for _, tt := range []struct{ name, values string }{
		{"timeout", "0 60 -1 x 2147483647 2147483648 1.5 0"},
		{"client-query-buffer-limit", "1mb 2000000 1023kb x -1 1gb 10gb"},
		{"proto-max-bulk-len", "1mb 512mb x -1 500m"},
		{"maxclients", "100 x 0 -1 1000"},
	} {
		for _, v := range strings.Fields(tt.values) {
			p.same("CONFIG", "SET", tt.name, v)
			p.same("CONFIG", "GET", tt.name)
		}
	}
	p.same("CONFIG", "SET", "proto-max-bulk-len", "1mb")
	p.same("SET", "k", strings.Repeat("x", 1<<20))
	q := p.another("2")
	for _, c := range []*client{q.real, q.ours} {
		c.send("*2\r\n$3\r\nGET\r\n$1048577\r\n")
	}
	if want, got := q.real.closed(), q.ours.closed(); want != got {
		t.Errorf("redis %q, ours %q", want, got)
	}
}

// Who waits for the end of a pause cannot do anything, and so is not idle.
func TestPausedClientsAreNotIdle(t *testing.T) {
	n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.IdleTimeout = 100 * time.Millisecond })
	a, b := n.dial(t), n.dial(t)
	a.want("+OK\r\n", "CLIENT", "PAUSE", "600", "WRITE")
	b.want("+OK\r\n", "SET", "k", "v")
}

// Who has not logged in and does not read is closed long before it has to be waited for.
func TestStrangersHaveToRead(t *testing.T) {
	n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.Password = "pw" })
	known, stranger := n.dial(t), n.dial(t)
	known.narrow()
	stranger.narrow()
	known.want("+OK\r\n", "AUTH", "pw")
	known.want("+OK\r\n", "SET", "k", strings.Repeat("v", 1000))
	go known.nc.Write([]byte(strings.Repeat("GET k\r\n", 50_000)))
	go stranger.nc.Write([]byte(strings.Repeat("NOSUCH "+strings.Repeat("x", 100)+"\r\n", 50_000)))
	eventually(t, "the stranger is gone", func() bool { return n.Clients() == 1 })
	if got := known.read(); !strings.HasPrefix(got, "$1000\r\n") {
		t.Errorf("%.80q", got)
	}
	known.nc.Close()
}
