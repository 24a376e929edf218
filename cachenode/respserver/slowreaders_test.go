package respserver

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// crowd are clients that all talk, and read what they are told.
type crowd []*client

func (n *node) crowd(t *testing.T, size int) crowd {
	t.Helper()
	all := make(crowd, size)
	for i := range all {
		nc, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(time.Minute))
		t.Cleanup(func() { nc.Close() })
		all[i] = &client{t: t, nc: nc, r: bufio.NewReader(nc)}
	}
	return all
}

// round has every one of the crowd give a command, and get its reply.
func (all crowd) round(request string, reply func(string) bool) {
	for _, c := range all {
		c.t.Helper()
		c.send(request)
	}
	for i, c := range all {
		if got := c.read(); !reply(got) {
			c.t.Fatalf("client %d is told %.100q", i, got)
		}
	}
}

var bytesWaiting = regexp.MustCompile(`reads too slowly.*bytes_waiting=(\d+) limit=(\d+)`)

// TestSlowReadersAreClosed has a client never read what it gets much of, in each of the ways there are. All the others on its
// loop are answered meanwhile; what waits for it stays within the limit and one reply, and then it is closed.
func TestSlowReadersAreClosed(t *testing.T) {
	const (
		others  = 200
		limit   = 1 << 20
		element = 8 << 10
		large   = 2 << 20 // bytes of a reply to the pipelines
		// slack is for what one reply and a tick of all the others take besides.
		slack = 2*large + others*4*element
	)
	text := strings.Repeat("x", element)
	command := func(args ...string) string {
		b := make([][]byte, len(args))
		for i, a := range args {
			b[i] = []byte(a)
		}
		return string(resp.AppendCommand(nil, b))
	}
	echo := command("ECHO", text)
	isEcho := func(got string) bool { return got == fmt.Sprintf("$%d\r\n%s\r\n", element, text) }
	hard := OutputLimits{Normal: OutputLimit{Hard: limit}, PubSub: OutputLimit{Hard: limit}}
	soft := OutputLimits{Normal: OutputLimit{Soft: 32 << 10, For: 100 * time.Millisecond}}

	for _, tt := range []struct {
		name    string
		limits  OutputLimits
		waiting int64               // bytes that may wait when it is closed, at most
		slow    func(c *client)     // what it does before it reads no more
		request string              // of each of the others, over and over
		reply   func(s string) bool // tells whether it is the right one
	}{
		{"a pipeline of LRANGE", hard, limit + large + large/2, func(c *client) { c.send(strings.Repeat("LRANGE list 0 -1\r\n", 2000)) }, echo, isEcho},
		{"a pipeline of GET", hard, limit + large + large/2, func(c *client) { c.send(strings.Repeat("GET large\r\n", 2000)) }, echo, isEcho},
		// Small replies do not pass the hard limit: it is served no further before it reads.
		{"a pipeline of small GETs", soft, limit, func(c *client) { go c.nc.Write([]byte(strings.Repeat("GET small\r\n", 100_000))) }, echo, isEcho},
		{"a subscriber", hard, limit + 2*element, func(c *client) { c.do("SUBSCRIBE", "busy") }, command("PUBLISH", "busy", text),
			func(got string) bool { return got == ":1\r\n" || got == ":0\r\n" }},
		{"a monitor", hard, limit + 2*element, func(c *client) { c.want("+OK\r\n", "MONITOR") }, echo, isEcho},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log lockedBuffer
			n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) {
				cfg.OutputLimits, cfg.Logger = tt.limits, slog.New(slog.NewTextHandler(&log, nil))
			})
			all := n.crowd(t, others)
			for range large / element {
				all[0].do("RPUSH", "list", text)
			}
			all[0].want("+OK\r\n", "SET", "large", strings.Repeat("x", large))
			all[0].want("+OK\r\n", "SET", "small", text)
			all.round(tt.request, func(string) bool { return true })
			before, most := n.store.Used(), int64(0)

			slow := n.dial(t)
			slow.narrow()
			tt.slow(slow)
			eventually(t, "who does not read is closed", func() bool {
				all.round(tt.request, tt.reply)
				most = max(most, n.store.Used()-before)
				return n.Clients() == others
			})
			all.round(tt.request, tt.reply)
			if most > limit+slack {
				t.Errorf("%d bytes were taken", most)
			}
			told := bytesWaiting.FindStringSubmatch(log.String())
			if told == nil {
				t.Fatalf("the log does not tell:\n%s", log.String())
			}
			if waited, _ := strconv.ParseInt(told[1], 10, 64); waited > tt.waiting {
				t.Errorf("%d bytes waited", waited)
			}
			eventually(t, "its memory is given back", func() bool {
				all.round("PING\r\n", func(got string) bool { return got == "+PONG\r\n" })
				return n.store.Used()-before <= slack
			})
		})
	}
}
