package respserver

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// badInput is what clients must not send, and odd forms of what they may. Each ends the connection, or has QUIT at its end.
var badInput = []string{
	"*x\r\n", "*\r\n", "*2147483648\r\n", "*99999999999999999999\r\n", "*-2147483649\r\nQUIT\r\n", "*-1\r\nQUIT\r\n", "*0\r\nQUIT\r\n", "* 1\r\n", "*+1\r\n", "*01\r\n", "*1x\r\n",
	"*1\r\n$-1\r\n", "*1\r\n$-9223372036854775808\r\n", "*1\r\n$536870913\r\n", "*1\r\n$99999999999999999999\r\n", "*1\r\n$x\r\n", "*1\r\n$\r\n", "*1\r\n$ 4\r\nPING\r\n", "*1\r\n$04\r\nPING\r\n",
	"*2\r\n$4\r\nECHO\r\n:1\r\n", "*1\r\nPING\r\n", "*1\r\n\r\n", "*1\r\n*1\r\n$4\r\nPING\r\n", "*1\r\n%1\r\n+a\r\n+b\r\n", "*1\r\n~1\r\n", "*1\r\n_\r\n", "*1\r\n(1\r\n", "*1\r\n=4\r\ntxt:\r\n", "*1\r\n|1\r\n",
	"*1\r\n$4\r\nPINGxxQUIT\r\n", "*1\r\n$4\r\nPING\n\nQUIT\r\n", "*1\r\n$4\r\nPING\r\n\n\r\n\r\nQUIT\n", "*2\r\n$4\r\nECHO\r\n$0\r\n\r\nQUIT\r\n", "*1\r\n$0\r\n\r\nQUIT\r\n", "*3\n$3\r\n",
	"%1\r\n+a\r\n+b\r\nQUIT\r\n", "~1\r\n:1\r\nQUIT\r\n", ">1\r\nQUIT\r\n", "$4\r\nPING\r\nQUIT\r\n", "+OK\r\nQUIT\r\n", "-ERR\r\nQUIT\r\n", ":1\r\nQUIT\r\n", "_\r\nQUIT\r\n", "#t\r\n,1\r\nQUIT\r\n",
	"ECHO \"a\\x41\\n\\r\\t\\b\\a\\\\ \\\"\"\r\nQUIT\r\n", "ECHO 'it\\'s \\n'\r\nQUIT\r\n", "ECHO \"\\xzz\\x4\"\nQUIT\n", "ECHO \"\" ''\r\nECHO ''\r\nQUIT\r\n", "\tECHO\t a \t\r\nQUIT\r\n", "echo \xff\xfe\r\nQUIT\r\n",
	"ECHO \"a\r\n", "ECHO 'a\r\n", "ECHO \"a\"b\r\n", "ECHO 'a'b\r\n", "ECHO a\"b\r\n", "ECHO a\"b c\"\r\nQUIT\r\n", "ECHO \"a\\\"\r\n",
	"nosuch\r\nQUIT\r\n", "nosuch " + strings.Repeat("x", 300) + "\r\nQUIT\r\n", strings.Repeat("x", 200) + " " + strings.Repeat("y ", 100) + "\r\nQUIT\r\n", "object nosuch x\r\nQUIT\r\n",
	strings.Repeat("x", 64<<10+1), "*" + strings.Repeat("1", 64<<10), "*1\r\n$" + strings.Repeat("1", 64<<10), "PING\r\n*1\r\n$4\r\nPING\r\n*1\r\n$-1\r\n",
	"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nQUIT\r\n", "host: x\r\nQUIT\r\n", "*1\r\n$5\r\nHost:\r\n", "*2\r\n$4\r\npost\r\n$1\r\n/\r\n",
}

// strictInput is for those who have not authenticated.
var strictInput = []string{
	"*11\r\n", "*10\r\n$4\r\nPING\r\n$16385\r\n", "*1\r\n$16385\r\n", "*1\r\n$16384\r\n" + strings.Repeat("x", 16384) + "\r\nQUIT\r\n", "PING\r\nGET k\r\nnosuch\r\nQUIT\r\n",
	"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*11\r\n" + strings.Repeat("$4\r\nPING\r\n", 11) + "QUIT\r\n", "HELLO 4\r\nHELLO x\r\nAUTH\r\nAUTH a\r\nAUTH a b c\r\nQUIT\r\n",
}

// TestBadInputAgainstRedis sends it to both servers: they say the same, and close. What goes on until QUIT is sent in single
// bytes as well; where the end comes before, bytes that are still to come would reset the connection.
func TestBadInputAgainstRedis(t *testing.T) {
	for _, c := range []struct {
		name, password string
		inputs         []string
	}{{"open", "", badInput}, {"password", "secret", strictInput}} {
		t.Run(c.name, func(t *testing.T) {
			n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.Password = c.password })
			addr := redistest.Start(t, "--requirepass", c.password)
			for _, in := range c.inputs {
				want := said(t, addr, in, len(in))
				for _, step := range []int{len(in), 1} {
					if step == 1 && (len(in) > 1<<10 || !strings.HasSuffix(want, "+OK\r\n")) {
						continue
					}
					if got := said(t, n.addr, in, step); got != want {
						t.Errorf("%.100q in pieces of %d:\n redis %.300q\n ours  %.300q", in, step, want, got)
					}
				}
			}
			eventually(t, "all sessions are forgotten", func() bool { return n.Clients() == 0 })
		})
	}
}

// said is all that a server says until it closes.
func said(t *testing.T, addr, in string, step int) string {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		for b := []byte(in); len(b) > 0; {
			k, err := nc.Write(b[:min(step, len(b))])
			if err != nil {
				return // it was closed early
			}
			b = b[k:]
		}
	}()
	reply, err := io.ReadAll(nc)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatalf("%.100q: not closed, after %.100q", in, reply)
	}
	return string(reply)
}

// TestHTTPIsLogged: who speaks HTTP to the cache leaves a line in the log, and changes nothing.
func TestHTTPIsLogged(t *testing.T) {
	var log lockedBuffer
	n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	if got := said(t, n.addr, "POST / HTTP/1.1\r\nHost: x\r\n\r\nSET k v\r\n", 1000); got != "" {
		t.Errorf("said %q", got)
	}
	if !strings.Contains(log.String(), "http") {
		t.Errorf("log: %q", log.String())
	}
	n.dial(t).want("$-1\r\n", "GET", "k")
}

// lockedBuffer is written by the loops.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestStormOfBadConnections opens connections that say nothing, half of something, or garbage, and end them in every way.
// Others are served meanwhile, and nothing is left of them: no descriptor, and no goroutine, for which TestMain looks.
func TestStormOfBadConnections(t *testing.T) {
	n := start(t, 2, nil)
	good := n.dial(t)
	good.want("+PONG\r\n", "PING")
	before := descriptors()
	for round := range 20 {
		var all []net.Conn
		for i := range 30 {
			nc, err := net.Dial("tcp", n.addr)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, nc)
			switch i % 4 {
			case 0:
				nc.Write([]byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\nxxxx"))
			case 1:
				nc.Write([]byte(badInput[(round*30+i)%len(badInput)]))
			case 2:
				nc.Write([]byte(strings.Repeat("MGET a b c\r\n", 500)))
			}
		}
		good.want("+PONG\r\n", "PING")
		for i, nc := range all {
			if i%3 == 0 {
				nc.(*net.TCPConn).SetLinger(0) // a reset
			}
			nc.Close()
		}
	}
	eventually(t, "only the good one is left", func() bool { return n.Clients() == 1 })
	good.want("+PONG\r\n", "PING")
	eventually(t, "all descriptors are closed", func() bool { return descriptors() <= before })
}

// descriptors counts those that this process has open; 0 where the system does not tell.
func descriptors() int {
	all, _ := os.ReadDir("/proc/self/fd")
	return len(all)
}
