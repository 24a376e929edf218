package respserver

import (
	"strings"
	"sync"
	"testing"
)

// TestClientKillIsDone kills a subscriber whose loop is held up: the reply comes when it is gone, and what follows does not
// count it.
func TestClientKillIsDone(t *testing.T) {
	n := start(t, 2, nil)
	killer := n.dial(t)
	killer.want("+PONG\r\n", "PING")
	sub := n.dial(t) // on a loop of its own
	id := strings.Trim(sub.do("CLIENT", "ID"), ":\r\n")
	other := n.dial(t)
	other.want("+PONG\r\n", "PING")
	sub.do("SUBSCRIBE", "news")
	goOn := make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release)
	n.loops[1].Post(func() { <-goOn })
	before := n.Commands()
	killer.send("CLIENT KILL ID " + id + "\r\nPUBLISH news x\r\n")
	eventually(t, "CLIENT KILL is executed", func() bool { return n.Commands() > before })
	other.want("+PONG\r\n", "PING") // nobody waits for it but the one who asked
	release()
	for _, want := range []string{":1\r\n", ":0\r\n"} {
		if got := killer.read(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	sub.closed()

	// In a transaction, and together with the session itself.
	fourth := n.dial(t)
	id = strings.Trim(fourth.do("CLIENT", "ID"), ":\r\n")
	killer.want("+OK\r\n", "MULTI")
	killer.want("+QUEUED\r\n", "CLIENT", "KILL", "ID", id)
	killer.want("*1\r\n:1\r\n", "EXEC")
	fourth.closed()
	eventually(t, "two are left", func() bool { return n.Clients() == 2 })
	killer.want(":2\r\n", "CLIENT", "KILL", "SKIPME", "no")
	killer.closed()
	other.closed()
}
