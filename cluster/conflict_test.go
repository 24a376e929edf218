package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cluster/gossiptest"
)

// Of two members with the same name the later one says what is wrong and ends; the others do not notice.
func TestSecondOfTheSameNameGivesUp(t *testing.T) {
	a := start(t, Config{Name: "a"})
	b := start(t, Config{Name: "b", Join: []string{a.addr}})
	waitMembers(t, "a b", a, b)
	second, err := New(Config{Name: "b", BindAddr: "127.0.0.1", BindPort: gossiptest.Port(t), PeerAddr: ":1", Join: []string{a.addr},
		JoinInterval: 200 * time.Millisecond, GossipInterval: 20 * time.Millisecond, conflictTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- second.Run(ctx) }()
	waitFor(t, "the second b to hear of the first", second.nameless)
	err = <-ended
	if err == nil || !strings.Contains(err.Error(), b.addr) || !strings.Contains(err.Error(), "node_name") {
		t.Errorf("Run of the second b: %v; want where the first is, and what to do", err)
	}
	waitMembers(t, "a b", a, b)
	if got := a.View().Find("b").Instance; got != b.instance {
		t.Errorf("a takes instance %d for b, which is %d", got, b.instance)
	}
	if b.nameless() || !b.Joined() {
		t.Error("the first b has given up its name")
	}
}

// A pod that comes back under its name has another address, and its former self may not be known to be dead.
func TestRestartAtAnotherAddress(t *testing.T) {
	a, b, c := startThreeWith(t, Config{ProbeInterval: 200 * time.Millisecond})
	b.Close()
	b.stop()
	again := start(t, Config{Name: "b", Join: []string{a.addr, c.addr}, ProbeInterval: 200 * time.Millisecond})
	for _, m := range []*testMember{a, c, again} {
		waitFor(t, m.cfg.Name+" to see b where it is now", func() bool {
			found := m.View().Find("b")
			return found != nil && found.Instance == again.instance && found.GossipAddr == again.addr && len(m.View().Members) == 3
		})
	}
	waitFor(t, "b to have its name back", again.Joined)
}

// A member that comes and goes is seen as often as it matters, and in the end as it is.
func TestFlapping(t *testing.T) {
	quick := Config{ProbeInterval: 200 * time.Millisecond}
	a, b, c := startThreeWith(t, quick)
	for i := range 10 {
		if i%4 == 0 {
			c.Close() // crashes
		}
		c.stop()
		quick.Name, quick.Join = "c", []string{b.addr, a.addr}
		quick.BindPort = 0
		if i%3 == 0 {
			quick.BindPort = c.cfg.BindPort
		}
		c = start(t, quick)
		for _, m := range []*testMember{a, b, c} {
			waitFor(t, fmt.Sprintf("%s to see life %d of c", m.cfg.Name, i), func() bool {
				found := m.View().Find("c")
				return found != nil && found.Instance == c.instance
			})
		}
	}
	waitMembers(t, "a b c", a, b, c)
	waitFor(t, "all to agree", func() bool { return a.View().Epoch == b.View().Epoch && b.View().Epoch == c.View().Epoch && c.Joined() })
}
