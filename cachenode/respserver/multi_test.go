package respserver

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// Generated sessions of two clients say what they say to Redis.
func TestTransactionsAgainstRedis(t *testing.T) {
	lines := strings.Split(`MULTI
MULTI
MULTI x
EXEC
EXEC
EXEC
EXEC x
DISCARD
WATCH k1
WATCH k1 k2
WATCH h
WATCH
UNWATCH
SET k1 v
SET k1 v KEEPTTL
SET k2 7
INCR k2
INCR h
GET k1
MGET k1 k2 k3
GET
NOSUCH a b
DEL k1
DEL k1 k2 h
EXPIRE k1 0
EXPIRE k1 100
PERSIST k1
HSET h f v
HDEL h f
HGETALL h
SADD s a
SREM s a
SMEMBERS s
DBSIZE
KEYS k1
FLUSHDB
FLUSHALL
RENAME k1 k2
SELECT 1
SELECT 0
SELECT 99
SELECT x
PING
PING hello
ECHO x
CLIENT GETNAME
CLIENT SETNAME me
PUBLISH nobody x
PUBSUB NUMPAT
EXISTS k1 k2 k1
TYPE h
OBJECT ENCODING k2
READONLY x
READWRITE x`, "\n")
	for _, proto := range []string{"2", "3"} {
		t.Run("proto="+proto, func(t *testing.T) {
			one := newPair(t, proto)
			two := one.another(proto)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 1))
			var history []string
			for range 10_000 {
				p, who := one, "1 "
				if rnd.IntN(4) == 0 {
					p, who = two, "2 "
				}
				line := lines[rnd.IntN(len(lines))]
				if strings.HasPrefix(line, "READ") {
					continue
				}
				history = append(history, who+line)
				p.same(strings.Fields(line)...)
				if t.Failed() {
					t.Fatalf("after\n%s", strings.Join(history[max(0, len(history)-30):], "\n"))
				}
			}
		})
	}
}

func TestWatch(t *testing.T) {
	for _, c := range []struct{ name, before, change, reply string }{
		{"untouched", "SET k 1", "GET k", "*1\r\n+OK\r\n"},
		{"written", "SET k 1", "SET k 2", "*-1\r\n"},
		{"written with the same value", "SET k 1", "SET k 1", "*-1\r\n"},
		{"deleted", "SET k 1", "DEL k", "*-1\r\n"},
		{"deleted and made again", "SET k 1", "DEL k\r\nSET k 1", "*-1\r\n"},
		{"made", "DEL k", "SET k 1", "*-1\r\n"},
		{"made and deleted", "DEL k", "SET k 1\r\nDEL k", "*-1\r\n"},
		{"missing all the time", "DEL k", "GET k", "*1\r\n+OK\r\n"},
		{"time to live changed", "SET k 1", "EXPIRE k 100", "*-1\r\n"},
		{"expired", "SET k 1 PX 30", "DEBUG", "*-1\r\n"},
		{"flushed", "SET k 1", "FLUSHALL", "*-1\r\n"},
		{"evicted", "SET k 1", "EVICT", "*-1\r\n"},
		{"field changed", "HSET k f 1", "HSET k f 2", "*-1\r\n"},
		{"member there already", "SADD k m", "SADD k m", "*1\r\n+OK\r\n"},
		{"other database", "SET k 1", "SELECT 1\r\nSET k 2\r\nSELECT 0", "*1\r\n+OK\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := start(t, 1, nil)
			a, b := n.dial(t), n.dial(t)
			a.do(strings.Fields(c.before)...)
			a.want("+OK\r\n", "WATCH", "k")
			a.want("+OK\r\n", "MULTI")
			a.want("+QUEUED\r\n", "SET", "k", "mine")
			switch c.change {
			case "DEBUG":
				eventually(t, "expiry", func() bool { return b.do("GET", "k") == "$-1\r\n" })
			case "EVICT":
				n.store.SetMaxBytes(1)
				n.store.SetMaxBytes(0)
			default:
				for _, line := range strings.Split(c.change, "\r\n") {
					b.do(strings.Fields(line)...)
				}
			}
			a.want(c.reply, "EXEC")
			// Whatever it was, nothing is watched any more.
			b.do("SET", "k", "3")
			a.want("+OK\r\n", "MULTI")
			a.want("*0\r\n", "EXEC")
		})
	}
}

func TestWatchIsForgotten(t *testing.T) {
	n := start(t, 1, nil)
	a, b := n.dial(t), n.dial(t)
	for _, forget := range []string{"UNWATCH", "DISCARD", "RESET"} {
		a.want("+OK\r\n", "WATCH", "k")
		if forget == "DISCARD" {
			a.do("MULTI")
		}
		a.do(forget)
		b.do("INCR", "k")
		a.do("MULTI")
		a.want("+QUEUED\r\n", "PING")
		a.want("*1\r\n+PONG\r\n", "EXEC")
	}
}

// A transaction is one whole to everybody else.
func TestTransactionIsAtomic(t *testing.T) {
	n := start(t, 2, nil)
	a, b := n.dial(t), n.dial(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 3000 {
			fmt.Fprintf(a.nc, "MULTI\r\nSET x%d %d\r\nINCR x\r\nINCR y\r\nEXEC\r\n", i, i)
			for range 5 {
				a.read()
			}
		}
	}()
	for {
		got := b.do("MGET", "x", "y")
		parts := strings.Split(got, "\r\n")
		if got != "*2\r\n$-1\r\n$-1\r\n" && parts[2] != parts[4] {
			t.Fatalf("seen between two commands: %q", got)
		}
		select {
		case <-done:
			b.want("*2\r\n$4\r\n3000\r\n$4\r\n3000\r\n", "MGET", "x", "y")
			return
		default:
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.QueryBuffer = 41_000 })
	c := n.dial(t)
	c.want("+OK\r\n", "MULTI")
	for range 9 {
		c.want("+QUEUED\r\n", "SET", "k", strings.Repeat("x", 1000))
	}
	c.want("-"+errQueueFull+"\r\n", "SET", "k", strings.Repeat("x", 1000))
	c.want("-EXECABORT Transaction discarded because of previous errors.\r\n", "EXEC")
	c.want("$-1\r\n", "GET", "k")
}

// A message to oneself does not get between the replies of a transaction.
func TestPublishInATransaction(t *testing.T) {
	n := start(t, 1, nil)
	c := n.dial(t)
	c.do("HELLO", "3")
	c.do("SUBSCRIBE", "ch")
	for _, first := range []string{"PING", "SET k v"} {
		c.do("MULTI")
		c.do(strings.Fields(first)...)
		c.do("PUBLISH", "ch", "m")
		c.do("SELECT", "2")
		c.do("SET", "k2", "v")
		got := c.do("EXEC")
		if !strings.HasSuffix(got, ":1\r\n+OK\r\n+OK\r\n") || !strings.HasPrefix(got, "*4\r\n+") {
			t.Errorf("EXEC: %q", got)
		}
		if got := c.read(); got != ">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\nm\r\n" {
			t.Errorf("message: %q", got)
		}
		c.want("$1\r\nv\r\n", "GET", "k2")
		c.do("SELECT", "0")
		c.want("_\r\n", "GET", "k2")
	}
}

// owedBackend answers nothing before the test says so.
type owedBackend struct {
	*Local
	wait []func()
}

func (b *owedBackend) Execute(l *netloop.Loop, r *Request, out []byte) ([]byte, bool) {
	reply, _ := b.Local.Execute(l, r, nil)
	slot := r.Defer()
	b.wait = append(b.wait, func() { slot.Resolve(reply) })
	return out, false
}

func (b *owedBackend) release() {
	wait := b.wait
	b.wait = nil
	for _, fn := range wait {
		fn()
	}
}

// What a transaction has its own session told goes to that session, behind the reply, also when the reply comes later.
func TestMessagesOfALateTransaction(t *testing.T) {
	var b *owedBackend
	n := start(t, 1, func(cfg *Config, loops []*netloop.Loop) {
		b = &owedBackend{Local: cfg.Backend.(*Local)}
		cfg.Backend = b
	})
	c, other := n.dial(t), n.dial(t)
	c.do("HELLO", "3")
	c.do("SUBSCRIBE", "ch")
	c.want("+OK\r\n", "MULTI")
	c.want("+QUEUED\r\n", "SET", "k", "v")
	c.want("+QUEUED\r\n", "PUBLISH", "ch", "news")
	c.send("EXEC\r\n")
	eventually(t, "EXEC waits", func() bool {
		got := make(chan int)
		n.loops[0].Post(func() { got <- len(b.wait) })
		return <-got == 1
	})
	n.loops[0].Post(b.release)
	if got := c.read(); got != "*2\r\n+OK\r\n:1\r\n" {
		t.Errorf("EXEC: %q", got)
	}
	other.want("+PONG\r\n", "PING")
	if got := c.read(); !strings.Contains(got, "news") {
		t.Errorf("message: %q", got)
	}
	other.want("+PONG\r\n", "PING")
}
