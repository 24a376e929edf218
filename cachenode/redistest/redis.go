// Package redistest starts a real redis-server for tests that hold our replies to its own, byte for byte.
package redistest

import (
	"io"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// Start runs redis-server with the given settings on a free port until the test ends, and returns its address. Without
// redis-server the test fails, or is skipped with -short.
func Start(t testing.TB, settings ...string) (addr string) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if testing.Short() {
			t.Skip("redis-server is not installed")
		}
		t.Fatal("the comparison needs redis-server: apt-get install redis-server, or run with -short")
	}
	for range 5 { // somebody else may take the port first
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
		ended := make(chan struct{})
		go func() {
			cmd.Wait()
			close(ended)
		}()
		t.Cleanup(func() {
			cmd.Process.Kill()
			<-ended
		})
		if answers(addr, ended) {
			return addr
		}
	}
	t.Fatal("redis-server does not start")
	return ""
}

// answers waits until the server takes connections, or has ended.
func answers(addr string, ended <-chan struct{}) bool {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			nc.Close()
		}
		select {
		case <-ended: // and what answered is somebody else
			return false
		case <-time.After(10 * time.Millisecond):
		}
		if err == nil {
			return true
		}
	}
	return false
}

// Client is a connection that gives replies as they come.
type Client struct {
	nc  net.Conn
	buf []byte
}

// Dial connects until the test ends.
func Dial(t testing.TB, addr string) *Client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &Client{nc: nc}
}

// Do sends a command and returns its whole reply.
func (c *Client) Do(t testing.TB, args ...string) []byte {
	t.Helper()
	return c.Pipeline(t, [][]string{args})[0]
}

// Pipeline sends commands at once and returns the reply of each.
func (c *Client) Pipeline(t testing.TB, commands [][]string) (replies [][]byte) {
	t.Helper()
	c.nc.SetDeadline(time.Now().Add(60 * time.Second))
	var b []byte
	for _, args := range commands {
		b = resp.AppendCommand(b, Args(args))
	}
	if _, err := c.nc.Write(b); err != nil {
		t.Fatal(err)
	}
	for len(replies) < len(commands) {
		n, need, err := resp.ReplyLen(c.buf)
		if err != nil {
			t.Fatalf("%q: %v", commands[len(replies)], err)
		}
		if n > 0 {
			replies = append(replies, c.buf[:n:n])
			c.buf = c.buf[n:]
			continue
		}
		have := len(c.buf)
		c.buf = append(c.buf, make([]byte, max(need-have, 64<<10))...)
		k, err := io.ReadAtLeast(c.nc, c.buf[have:], need-have)
		c.buf = c.buf[:have+k]
		if err != nil {
			t.Fatalf("%q: %v", commands[len(replies)], err)
		}
	}
	return replies
}

// Args are the words of a command.
func Args(words []string) [][]byte {
	b := make([][]byte, len(words))
	for i, w := range words {
		b[i] = []byte(w)
	}
	return b
}
