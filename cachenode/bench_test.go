package cachenode

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// pipeline sends batches of one command over a connection and reads the replies, all of one size.
type pipeline struct {
	nc      net.Conn
	batch   []byte
	replies []byte
}

func newPipeline(t testing.TB, n *testNode, depth, reply int, args ...string) *pipeline {
	t.Helper()
	nc, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	var words [][]byte
	for _, a := range args {
		words = append(words, []byte(a))
	}
	return &pipeline{nc, bytes.Repeat(resp.AppendCommand(nil, words), depth), make([]byte, depth*reply)}
}

func (p *pipeline) run(t testing.TB) {
	if _, err := p.nc.Write(p.batch); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p.nc, p.replies); err != nil {
		t.Fatal(err)
	}
}

// keyOwned finds a key that is owned by n, or by its peer.
func (n *testNode) keyOwned(here bool) string {
	for i := 0; ; i++ {
		key := fmt.Sprintf("k%d", i)
		if (n.placement.Load().owner[n.partition(key)] == self) == here {
			return key
		}
	}
}

// cases are the ways of the commonest commands, on two nodes.
func cases(a *testNode) (out []struct {
	name  string
	args  []string
	reply string
}) {
	for _, here := range []bool{true, false} {
		owner := map[bool]string{true: "here", false: "there"}[here]
		key := a.keyOwned(here)
		add := func(name, reply string, args ...string) {
			out = append(out, struct {
				name  string
				args  []string
				reply string
			}{name + "/owner=" + owner, args, reply})
		}
		add("cmd=set", "+OK\r\n", "SET", key, "value")
		add("cmd=get", "$5\r\nvalue\r\n", "GET", key)
	}
	return out
}

// Forwarding and executing for a peer take no memory per command, once everything has its size. Of a write, the backup
// stores what it got in new memory.
func TestCommandsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	nodes := startCluster(t, 2, 1)
	const depth = 100
	for i := range 5000 { // a table that holds one key comes and goes with it
		nodes[0].do("SET", fmt.Sprintf("fill:%d", i), "v")
	}
	for _, tt := range cases(nodes[0]) {
		p := newPipeline(t, nodes[0], depth, len(tt.reply), tt.args...)
		for range 50 {
			p.run(t)
		}
		if want := bytes.Repeat([]byte(tt.reply), depth); !bytes.Equal(p.replies, want) {
			t.Fatalf("%s: %q", tt.name, p.replies)
		}
		// Gossip and timers of the nodes allocate meanwhile, the more the slower the machine is: so the best of some runs
		// counts, and cannot be held to nothing at all.
		limit := 0.1
		if tt.args[0] == "SET" {
			limit = 1.1
		}
		n := math.Inf(1)
		for try := 0; try < 20 && n > limit; try++ {
			n = min(n, testing.AllocsPerRun(10, func() { p.run(t) })/depth)
		}
		if n > limit {
			t.Errorf("%s: %.2f allocations per command, limit %v", tt.name, n, limit)
		}
	}
}

func BenchmarkCommands(b *testing.B) {
	nodes := startCluster(b, 2, 1)
	for _, tt := range cases(nodes[0]) {
		for _, depth := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/pipeline=%d", tt.name, depth), func(b *testing.B) {
				p := newPipeline(b, nodes[0], depth, len(tt.reply), tt.args...)
				p.run(b)
				b.ReportAllocs()
				for n := 0; n < b.N; n += depth {
					p.run(b)
				}
			})
		}
	}
}
