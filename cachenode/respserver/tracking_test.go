package respserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// The options of CLIENT TRACKING and what they exclude.
func TestTrackingOptionsAgainstRedis(t *testing.T) {
	for _, proto := range []string{"2", "3"} {
		p := newPair(t, proto)
		for _, line := range strings.Split(`CLIENT TRACKING
CLIENT TRACKING maybe
CLIENT TRACKING ON OPTIN OPTOUT
CLIENT TRACKING ON BCAST OPTIN
CLIENT TRACKING ON PREFIX a
CLIENT TRACKING ON REDIRECT 99999
CLIENT TRACKING ON REDIRECT x
CLIENT TRACKING ON nonsense
CLIENT CACHING YES
CLIENT GETREDIR
CLIENT TRACKINGINFO
CLIENT TRACKING ON BCAST PREFIX a PREFIX ab
CLIENT TRACKING ON BCAST PREFIX a PREFIX b
CLIENT TRACKINGINFO
CLIENT TRACKING ON BCAST PREFIX abc
CLIENT TRACKING ON
CLIENT TRACKING OFF
CLIENT TRACKING ON OPTIN NOLOOP
CLIENT TRACKINGINFO
CLIENT CACHING NO
CLIENT CACHING maybe
CLIENT CACHING YES
CLIENT TRACKINGINFO
CLIENT TRACKINGINFO
CLIENT TRACKING ON OPTOUT
CLIENT TRACKING OFF
CLIENT TRACKING ON OPTOUT
CLIENT CACHING YES
CLIENT CACHING NO
CLIENT TRACKINGINFO
CLIENT GETREDIR
CLIENT TRACKING OFF
CLIENT TRACKING OFF
CLIENT TRACKINGINFO`, "\n") {
			p.same(strings.Fields(line)...)
		}
	}
}

// What a client that tracks gets to hear, in order with its replies.
func TestTrackingAgainstRedis(t *testing.T) {
	p := newPair(t, "3")
	other := p.another("2")
	steps := func(text string) {
		t.Helper()
		for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
			words := strings.Fields(line)
			switch words[0] {
			case "other":
				other.same(words[1:]...)
			case "hear":
				p.read()
			default:
				p.same(words...)
			}
			if t.Failed() {
				t.Fatalf("at %q", line)
			}
		}
	}
	steps(`
		CLIENT TRACKING ON
		SET a 1
		GET a
		other SET a 2
		hear
		other SET a 3
		GET a
		MGET a b
		SET b 1
		hear
		PING
		other DEL a
		hear
		HGETALL h
		other HSET h f v
		hear
		SELECT 3
		GET c
		other SET c x
		hear
		SELECT 0
		MULTI
		GET d
		EXEC
		other SET d 1
		hear
		GET e
		other FLUSHALL
		hear
		GET f
		other SET f 1 PX 100000
		hear
		GET f
		other EXPIRE f 0
		hear
		CLIENT TRACKING OFF
		GET g
		other SET g 1
		PING
		CLIENT TRACKING ON NOLOOP
		GET h
		SET g 5
		GET g
		SET g 6
		PING
		GET g
		other SET g 1
		hear
		CLIENT TRACKING OFF
		CLIENT TRACKING ON OPTIN
		GET o
		other SET o 1
		CLIENT CACHING YES
		GET o
		GET o2
		other SET o2 2
		other SET o 2
		hear
		CLIENT CACHING YES
		MULTI
		GET o
		GET o2
		EXEC
		other SET o2 2
		hear
		other SET o 2
		hear
		CLIENT TRACKING OFF
		CLIENT TRACKING ON OPTOUT
		CLIENT CACHING NO
		GET o
		GET o2
		other SET o 2
		other SET o2 2
		hear
		CLIENT TRACKING OFF
		CLIENT TRACKING ON BCAST PREFIX user: PREFIX item:
		other SET user:1 x
		hear
		other SET nobody x
		other SET item:1 x
		hear
		other DEL user:1
		hear
		other MSET user:2 x item:3 x user:1 x user:2 y item:1 x nobody x
		hear
		hear
		CLIENT TRACKING OFF
		CLIENT TRACKING ON BCAST
		other MSET c 1 a 2 b 3
		hear
		MSET d 1 e 2
		hear
		other MULTI
		other SET a 1
		other FLUSHALL
		other SET b 1
		other EXEC
		hear
		hear
		CLIENT TRACKING OFF
		PING`)
}

// What is told at once is bounded.
func TestBroadcastsAreBounded(t *testing.T) {
	n := start(t, 1, nil)
	c, other := n.dial(t), n.dial(t)
	c.do("HELLO", "3")
	c.want("+OK\r\n", "CLIENT", "TRACKING", "ON", "BCAST")
	words := []string{"MSET"}
	for i := range 2000 {
		words = append(words, fmt.Sprintf("key:%04d", i), "v")
	}
	other.want("+OK\r\n", words...)
	for heard, messages := 0, 0; heard < 2000; messages++ {
		message := c.read()
		if len(message) > 2*maxGathered {
			t.Fatalf("a message of %d bytes", len(message))
		}
		heard += strings.Count(message, "key:")
	}
	c.want("+PONG\r\n", "PING")
}

// A RESP2 client hears by another connection.
func TestTrackingRedirects(t *testing.T) {
	for _, loops := range []int{1, 2} {
		n := start(t, loops, nil)
		c, target, writer := n.dial(t), n.dial(t), n.dial(t)
		id := strings.TrimSpace(strings.TrimPrefix(target.do("CLIENT", "ID"), ":"))
		target.do("SUBSCRIBE", "__redis__:invalidate")
		c.want("+OK\r\n", "CLIENT", "TRACKING", "ON", "REDIRECT", id)
		c.want(":"+id+"\r\n", "CLIENT", "GETREDIR")
		c.do("GET", "k")
		writer.do("SET", "k", "v")
		if got := target.read(); got != "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n" {
			t.Errorf("redirected: %q", got)
		}
		c.do("GET", "k")
		writer.do("FLUSHALL")
		if got := target.read(); got != "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n" {
			t.Errorf("redirected: %q", got)
		}
		target.nc.Close()
		eventually(t, "the target is gone", func() bool { return n.Clients() == 2 })
		c.do("HELLO", "3")
		c.do("GET", "k")
		writer.do("SET", "k", "w")
		if got := c.read(); got != ">2\r\n$21\r\ntracking-redir-broken\r\n:"+id+"\r\n" {
			t.Errorf("broken redirection: %q", got)
		}
		if got := c.do("CLIENT", "TRACKINGINFO"); !strings.Contains(got, "broken_redirect") {
			t.Errorf("TRACKINGINFO: %q", got)
		}
	}
}

// The table is bounded: who has read the key that is forgotten is told to drop it.
func TestTrackingTableIsBounded(t *testing.T) {
	n := start(t, 1, nil)
	n.loops[0].Post(func() { n.byLoop[n.loops[0]].limitTracked(10) })
	c := n.dial(t)
	c.do("HELLO", "3")
	c.do("CLIENT", "TRACKING", "ON")
	for i := range 10 {
		c.want("_\r\n", "GET", fmt.Sprint("k", i))
	}
	c.send("GET one-more\r\n")
	first, second := c.read(), c.read()
	if !strings.HasPrefix(first+second, "_\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n") {
		t.Errorf("got %q, %q", first, second)
	}
	if got := n.trackers.size(); got != 10 {
		t.Errorf("%d keys are remembered", got)
	}
	c.send("CONFIG SET tracking-table-max-keys 8\r\nPING\r\n")
	for range 2 {
		if got := c.read(); !strings.HasPrefix(got, ">2\r\n$10\r\ninvalidate\r\n*1\r\n") {
			t.Errorf("a smaller table: got %q", got)
		}
	}
	if got := c.read() + c.read() + fmt.Sprint(n.trackers.size()); got != "+OK\r\n+PONG\r\n8" {
		t.Errorf("a smaller table: got %q", got)
	}
	c.nc.Close()
	eventually(t, "nobody tracks", func() bool { return n.trackers.count.Load() == 0 })
	if got := n.trackers.size(); got != 0 {
		t.Errorf("%d keys are remembered for nobody", got)
	}
}

// Expiry and eviction invalidate.
func TestTrackingHearsOfRemovals(t *testing.T) {
	n := start(t, 1, func(*Config, []*netloop.Loop) {})
	c := n.dial(t)
	c.do("HELLO", "3")
	c.do("CLIENT", "TRACKING", "ON")
	want := func(key string) {
		t.Helper()
		if got := c.read(); got != fmt.Sprintf(">2\r\n$10\r\ninvalidate\r\n*1\r\n$%d\r\n%s\r\n", len(key), key) {
			t.Errorf("got %q, want %s", got, key)
		}
	}
	c.do("SET", "mortal", "v", "PX", "50")
	c.want("$1\r\nv\r\n", "GET", "mortal")
	eventually(t, "the sweep", func() bool { return n.store.Expire(time.Now().UnixMilli(), 100) > 0 })
	want("mortal")
	c.do("SET", "big", "v")
	c.do("GET", "big")
	n.store.SetMaxBytes(1)
	n.store.SetMaxBytes(0)
	want("big")
}
