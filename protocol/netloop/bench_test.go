package netloop

import (
	"fmt"
	"io"
	"net"
	"testing"
)

// BenchmarkEcho is a round trip of 64 bytes for each of several clients at once: the cost of a tick, and what batching
// saves of it.
func BenchmarkEcho(b *testing.B) {
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", n), func(b *testing.B) {
			l := startLoop(b, Config{})
			clients := make([]net.Conn, n)
			for i := range clients {
				client, server := pair(b)
				serve(b, l, server, &funcs{data: echo})
				clients[i] = client
			}
			buf := make([]byte, 64)
			for b.Loop() {
				for _, c := range clients {
					c.Write(buf)
				}
				for _, c := range clients {
					if _, err := io.ReadFull(c, buf); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// A message that comes in and goes out allocates nothing: neither reading, nor queueing, nor writing, nor waiting.
func TestNothingIsAllocatedPerMessage(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	l := startLoop(t, Config{})
	client, server := pair(t)
	serve(t, l, server, &funcs{data: echo})
	buf := make([]byte, 600)
	trip := func() {
		client.Write(buf)
		if _, err := io.ReadFull(client, buf); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		trip()
	}
	if n := testing.AllocsPerRun(500, trip); n != 0 {
		t.Errorf("%v allocations per round trip", n)
	}
}
