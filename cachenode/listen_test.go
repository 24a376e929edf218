package cachenode

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/respserver"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

func (n *testNode) messages() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.heard)
}

// relies tells whether n knows what another node's clients listen to.
func (n *testNode) relies(on *testNode) bool {
	e := &n.placement.Load().find(on.name).ears
	e.mu.RLock()
	defer e.mu.RUnlock()
	return time.Now().Before(e.until)
}

func (l *line) subscribe(command string, names ...string) {
	l.t.Helper()
	l.issue(append([]string{command}, names...)...)
	for i, name := range names {
		l.gets("*3\r\n" + bulk(strings.ToLower(command)) + bulk(name) + fmt.Sprintf(":%d\r\n", i+1))
	}
}

// Messages go to nodes with subscribers only, in the order in which they were published, and publishers hear how many have
// got them.
func TestMessagesGoToSubscribersOnly(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	a, b, c := nodes[0], nodes[1], nodes[2]
	publisher := a.line(t)
	for _, tt := range []struct{ subscribe, name, publish, channel, word string }{
		{"SUBSCRIBE", "news", "PUBLISH", "news", "message"},
		{"PSUBSCRIBE", "p?ws", "PUBLISH", "pews", "pmessage"},
		{"SSUBSCRIBE", "news", "SPUBLISH", "news", "smessage"},
	} {
		first, second := b.line(t), b.line(t)
		first.subscribe(tt.subscribe, tt.name)
		second.subscribe(tt.subscribe, tt.name)
		waitFor(t, "the publisher to know who listens", func() bool {
			publisher.ask(":2\r\n", tt.publish, tt.channel, "first")
			return a.relies(b) && a.relies(c)
		})
		before := len(c.messages())
		const messages = 200
		for i := range messages {
			publisher.issue(tt.publish, tt.channel, fmt.Sprint(i))
		}
		for range messages {
			publisher.gets(":2\r\n")
		}
		for _, l := range []*line{first, second} {
			l.until("0")
			for i := range messages - 1 {
				if seen := l.until(fmt.Sprint(i + 1)); !slices.Contains(seen, tt.word) || len(seen) > 9 {
					t.Fatalf("%q in front of message %d", seen, i+1)
				}
			}
		}
		if more := c.messages()[before:]; len(more) != 0 {
			t.Errorf("%s: a node without subscribers gets %q", tt.subscribe, more)
		}
		publisher.ask(":0\r\n", tt.publish, "other", "x")
	}
}

// Who is confirmed gets what is published afterwards, anywhere, though the publishers rely on what they have been told.
func TestSubscribersMissNothing(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	var publishers []*line
	for _, n := range nodes {
		publishers = append(publishers, n.line(t))
	}
	for i := range 60 {
		subscriber := nodes[i%3].line(t)
		channel, command, publish := fmt.Sprint("c", i), "SUBSCRIBE", "PUBLISH"
		switch i % 5 {
		case 3:
			command = "PSUBSCRIBE"
		case 4:
			command, publish = "SSUBSCRIBE", "SPUBLISH"
		}
		for _, p := range publishers { // who now knows that nobody listens
			p.ask(":0\r\n", publish, channel, "too early")
		}
		subscriber.subscribe(command, channel)
		for j, p := range publishers {
			p.ask(":1\r\n", publish, channel, fmt.Sprint("message", j))
		}
		missing := map[string]bool{"message0": true, "message1": true, "message2": true} // of three publishers, in any order
		for len(missing) > 0 {
			got, err := subscriber.r.ReadString('\n')
			if err != nil {
				t.Fatalf("%s %s misses %v: %v", command, channel, missing, err)
			}
			delete(missing, strings.TrimSpace(got))
		}
		subscriber.nc.Close()
		waitFor(t, "the subscriber to be gone", func() bool {
			return len(nodes[i%3].server.Topics(1000).Channels) == 0 && len(nodes[i%3].server.Topics(1000).Patterns) == 0
		})
	}
}

// What PUBSUB tells is that of all nodes.
func TestPubsubTellsOfAllNodes(t *testing.T) {
	nodes := startCluster(t, 3, 2)
	for i, n := range nodes {
		n.line(t).subscribe("SUBSCRIBE", "all", fmt.Sprint("only", i))
		n.line(t).subscribe("PSUBSCRIBE", "p*", fmt.Sprint("p", i))
		n.line(t).subscribe("SSUBSCRIBE", "shard")
	}
	for _, n := range nodes {
		c := n.line(t)
		c.ask("*4\r\n"+bulk("all")+bulk("only0")+bulk("only1")+bulk("only2"), "PUBSUB", "CHANNELS")
		c.ask("*1\r\n"+bulk("only2"), "PUBSUB", "CHANNELS", "*2")
		c.ask("*4\r\n"+bulk("all")+":3\r\n"+bulk("none")+":0\r\n", "PUBSUB", "NUMSUB", "all", "none")
		c.ask(":4\r\n", "PUBSUB", "NUMPAT")
		c.ask("*1\r\n"+bulk("shard"), "PUBSUB", "SHARDCHANNELS")
		c.ask("*2\r\n"+bulk("shard")+":3\r\n", "PUBSUB", "SHARDNUMSUB", "shard")
		c.ask("*0\r\n", "PUBSUB", "NUMSUB")
	}
	c := nodes[0].line(t) // in a transaction all is answered at once
	for _, command := range []string{"MULTI", "PUBLISH all m", "PUBSUB NUMPAT", "SUBSCRIBE all", "EXEC"} {
		c.issue(strings.Fields(command)...)
	}
	c.until("*3")
	c.gets(":1\r\n:2\r\n*3\r\n" + bulk("subscribe") + bulk("all") + ":1\r\n")
}

// Subscriptions are confirmed though a node that has been told of others does not answer any more, and it forgets them.
func TestSubscribingBesideAStalledPublisher(t *testing.T) {
	nodes := startTunedCluster(t, 2, 1, func(cfg *Config, _ *cluster.Config) { cfg.PeerTimeout = 300 * time.Millisecond })
	a, b := nodes[0], nodes[1]
	p := a.line(t)
	waitFor(t, "the publisher to know", func() bool { p.ask(":0\r\n", "PUBLISH", "c", "m"); return a.relies(b) })
	resume := a.stall()
	s := b.line(t)
	s.subscribe("SUBSCRIBE", "c")
	resume()
	if a.relies(b) {
		t.Error("confirmed while the publisher relies on what it was told before")
	}
	p.ask(":1\r\n", "PUBLISH", "c", "now")
	s.until("now")
}

// What is kept of a peer's topics is bounded: beyond, it gets everything.
func TestTopicsAreBounded(t *testing.T) {
	var e ears
	now := time.Now()
	e.asking(now)
	e.told(&peer.Topics{Serial: 1, Channels: []string{"c"}})
	if wants, _ := e.hear(now, respserver.Message, []byte("d")); wants {
		t.Error("wants what it does not listen to")
	}
	for i := range 100 {
		e.add(&peer.Topics{Serial: uint64(2 + i), Patterns: []string{strings.Repeat("x", 1000) + fmt.Sprint(i)}})
	}
	if wants, _ := e.hear(now, respserver.ShardMessage, []byte("d")); !wants || len(e.likes) != 0 || len(e.names[0]) != 0 {
		t.Errorf("wants %v, and %d patterns are kept", wants, len(e.likes))
	}
	e.asking(now)
	e.told(&peer.Topics{Serial: 5}) // older than what was told
	if wants, _ := e.hear(now, respserver.Message, []byte("d")); !wants {
		t.Error("an old answer counts")
	}
	e.asking(now)
	e.told(&peer.Topics{Serial: 102})
	if wants, ask := e.hear(now.Add(toldFor*3/4), respserver.Message, []byte("d")); wants || !ask {
		t.Errorf("wants %v, ask %v", wants, ask)
	}
	if wants, _ := e.hear(now.Add(toldFor*2), respserver.Message, []byte("d")); !wants {
		t.Error("relies on it too long")
	}
	n := startNode(t, "a", 1)
	s := n.line(t)
	for i := range 80 {
		s.issue("SUBSCRIBE", strings.Repeat("x", 1000)+fmt.Sprint(i))
	}
	waitFor(t, "everything", func() bool { return n.server.Topics(maxTopicBytes).Everything })
}
