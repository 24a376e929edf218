package respserver

import (
	"fmt"
	"testing"
)

func TestPubSub(t *testing.T) {
	n := start(t, 2, nil)
	pub := n.dial(t)
	two, three := n.dial(t), n.dial(t)
	three.do("HELLO", "3")
	two.want("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", "SUBSCRIBE", "a")
	two.want("*3\r\n$10\r\npsubscribe\r\n$2\r\nb*\r\n:2\r\n", "PSUBSCRIBE", "b*")
	three.want(">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", "SUBSCRIBE", "a")

	pub.want(":2\r\n", "PUBLISH", "a", "one")
	pub.want(":1\r\n", "PUBLISH", "bcd", "two")
	pub.want(":0\r\n", "PUBLISH", "c", "three")
	for _, want := range []string{"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\none\r\n", "*4\r\n$8\r\npmessage\r\n$2\r\nb*\r\n$3\r\nbcd\r\n$3\r\ntwo\r\n"} {
		if got := two.read(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if got := three.read(); got != ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\none\r\n" {
		t.Fatalf("got %q", got)
	}

	pub.want("*1\r\n$1\r\na\r\n", "PUBSUB", "CHANNELS")
	pub.want("*0\r\n", "PUBSUB", "CHANNELS", "x*")
	pub.want("*4\r\n$1\r\na\r\n:2\r\n$1\r\nb\r\n:0\r\n", "PUBSUB", "NUMSUB", "a", "b")
	pub.want(":1\r\n", "PUBSUB", "NUMPAT")

	// RESP2 allows little while subscribed, RESP3 everything.
	two.want("-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n", "GET", "k")
	two.want("*2\r\n$4\r\npong\r\n$0\r\n\r\n", "PING")
	three.want("_\r\n", "GET", "k")
	three.want("+PONG\r\n", "PING")
	// A message to oneself comes before the reply of its PUBLISH.
	three.send("PUBLISH a self\r\n")
	if got := three.read() + three.read(); got != ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$4\r\nself\r\n:2\r\n" {
		t.Fatalf("got %q", got)
	}
	two.read()

	two.want("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n", "UNSUBSCRIBE")
	two.want("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:1\r\n", "UNSUBSCRIBE")
	two.want("*3\r\n$12\r\npunsubscribe\r\n$2\r\nb*\r\n:0\r\n", "PUNSUBSCRIBE", "b*")
	two.want("$-1\r\n", "GET", "k")
	three.nc.Close()
	eventually(t, "the subscription ends with its session", func() bool {
		return pub.do("PUBSUB", "NUMSUB", "a") == "*2\r\n$1\r\na\r\n:0\r\n"
	})
	if names := n.hub.names.Load(); names != 0 {
		t.Errorf("%d topics left", names)
	}
}

func TestUnsubscribingFromNothingAgainstRedis(t *testing.T) {
	for _, proto := range []string{"2", "3"} {
		p := newPair(t, proto)
		for _, word := range []string{"UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"} {
			p.same(word)
			p.same(word, "a")
			p.same(word, "a", "b")
			p.read()
		}
		p.quiet("RESET")
		p.same("UNSUBSCRIBE", "a")
		p.same("PING")
	}
}

func TestMessagesKeepTheirOrder(t *testing.T) {
	n := start(t, 3, nil)
	pub := n.dial(t)
	subs := []*client{n.dial(t), n.dial(t), n.dial(t)}
	for _, s := range subs {
		s.do("SUBSCRIBE", "c")
	}
	const count = 2000
	go func() {
		for i := range count {
			fmt.Fprintf(pub.nc, "PUBLISH c %d\r\n", i)
		}
	}()
	for _, s := range subs {
		for i := range count {
			word := fmt.Sprint(i)
			if got, want := s.read(), fmt.Sprintf("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$%d\r\n%s\r\n", len(word), word); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	}
}
