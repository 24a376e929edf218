// Package gossiptest finds ports for members under test.
package gossiptest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// The ports lie below those that systems give to who asks for any, for a connection too: only another caller of Port may
// take one.
const (
	first = 20_000
	last  = 32_000
)

// Port returns a port of 127.0.0.1 that is free for TCP and UDP, and given to nobody else until the test ends. It cannot be
// held itself, for members bind it later, and after a restart again: held is the one above it, in its name.
func Port(t testing.TB) int {
	t.Helper()
	for range 200 {
		port := first + 2*rand.IntN((last-first)/2)
		claim, err := net.Listen("tcp", addr(port+1))
		if err != nil {
			continue
		}
		if free(port) {
			t.Cleanup(func() { claim.Close() })
			return port
		}
		claim.Close()
	}
	t.Fatal("no free port")
	return 0
}

func free(port int) bool {
	l, err := net.Listen("tcp", addr(port))
	if err != nil {
		return false
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", addr(port))
	if err != nil {
		return false
	}
	u.Close()
	return true
}

func addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
