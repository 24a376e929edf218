package script

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// realRedis starts redis-server on a free port and connects to it.
func realRedis(t *testing.T) *rawClient {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if testing.Short() {
			t.Skip("redis-server is not installed")
		}
		t.Fatal("the differential test needs redis-server: apt-get install redis-server, or run with -short")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	deadline := time.Now().Add(10 * time.Second)
	for {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			t.Cleanup(func() { nc.Close() })
			return &rawClient{nc: nc}
		}
		if time.Now().After(deadline) {
			t.Fatalf("redis-server does not answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

type rawClient struct {
	nc  net.Conn
	buf []byte
}

func (r *rawClient) do(t *testing.T, args ...string) []byte {
	t.Helper()
	r.nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := r.nc.Write(resp.AppendCommand(nil, byteArgs(args))); err != nil {
		t.Fatal(err)
	}
	for {
		n, _, err := resp.ReplyLen(r.buf)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		if n > 0 {
			reply := bytes.Clone(r.buf[:n])
			r.buf = r.buf[n:]
			return reply
		}
		chunk := make([]byte, 64<<10)
		k, err := r.nc.Read(chunk)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		r.buf = append(r.buf, chunk[:k]...)
	}
}

func byteArgs(args []string) [][]byte {
	b := make([][]byte, len(args))
	for i, a := range args {
		b[i] = []byte(a)
	}
	return b
}

// ours is a store with scripts.
type ours struct {
	table *command.Table
	c     command.Context
	now   func() int64
}

func newOurs(cfg Config) *ours {
	table := command.NewTable()
	cfg.Table = table
	o := &ours{table: table, now: func() int64 { return time.Now().UnixMilli() }}
	o.c = command.Context{Store: store.New(store.Config{}), Proto: 2, Scripts: New(cfg).NewRunner(),
		Publish: func(bool, []byte, []byte) int { return 0 }}
	return o
}

func (o *ours) do(args ...string) []byte {
	b := byteArgs(args)
	spec := o.table.Lookup(b[0])
	if spec == nil {
		return command.AppendUnknown(nil, b)
	}
	if !spec.ArityOK(len(b)) {
		return command.AppendWrongArity(nil, spec.Name)
	}
	o.c.Args, o.c.NowMilli, o.c.Out = b, o.now(), nil
	spec.Exec(&o.c)
	return o.c.Out
}

// scriptCases are one script a line; "\n" in it is a line break.
func scriptCases(t *testing.T) (scripts []string) {
	b, err := os.ReadFile("testdata/scripts.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if line != "" && !strings.HasPrefix(line, "--") {
			scripts = append(scripts, strings.ReplaceAll(line, "⏎", "\n"))
		}
	}
	return scripts
}

func TestScriptsAgainstRedis(t *testing.T) {
	scripts := scriptCases(t)
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprintf("proto=%d", proto), func(t *testing.T) {
			real, mine := realRedis(t), newOurs(Config{})
			real.do(t, "HELLO", strconv.Itoa(proto))
			mine.c.Proto = proto
			for _, s := range scripts {
				args := []string{"EVAL", s, "2", "key1", "{key1}2", "first", "2", "3.5", "a b"}
				want, got := real.do(t, args...), mine.do(args...)
				if string(want) != string(got) {
					t.Errorf("%s\n redis %q\n ours  %q", s, want, got)
				}
			}
			t.Logf("%d replies compared", len(scripts))
		})
	}
}
