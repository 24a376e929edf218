package respserver

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// issue sends a command without reading its reply.
func (c *client) issue(args ...string) {
	c.t.Helper()
	b := make([][]byte, len(args))
	for i, a := range args {
		b[i] = []byte(a)
	}
	c.send(string(resp.AppendCommand(nil, b)))
}

func (c *client) gets(reply string) {
	c.t.Helper()
	if got := c.read(); got != reply {
		c.t.Fatalf("got %q, want %q", got, reply)
	}
}

func bulks(s ...string) string {
	b := fmt.Appendf(nil, "*%d\r\n", len(s))
	for _, v := range s {
		b = resp.AppendBulkString(b, v)
	}
	return string(b)
}

func (n *node) waitBlocked(t testing.TB, count int64) {
	t.Helper()
	eventually(t, fmt.Sprint(count, " blocked clients"), func() bool { return n.blocked.Load() == count })
}

func TestBlocking(t *testing.T) {
	n := start(t, 2, nil)
	a, b, c := n.dial(t), n.dial(t), n.dial(t)

	// Nothing is executed behind it, and what is in front is answered at once.
	a.send("PING\r\nBLPOP k 0\r\nPING again\r\nRPUSH k mine\r\nBLPOP k 0\r\n")
	a.gets("+PONG\r\n")
	n.waitBlocked(t, 1)
	if info := c.do("INFO", "clients"); !strings.Contains(info, "blocked_clients:1\r\n") {
		t.Error(info)
	}
	if list := c.do("CLIENT", "LIST"); !strings.Contains(list, "flags=b ") {
		t.Error(list)
	}
	b.want(":1\r\n", "RPUSH", "k", "v")
	a.gets(bulks("k", "v"))
	a.gets("$5\r\nagain\r\n")
	a.gets(":1\r\n")
	a.gets(bulks("k", "mine"))
	n.waitBlocked(t, 0)

	// Time.
	began := time.Now()
	a.want("*-1\r\n", "BLPOP", "k", "l", "0.05")
	a.want("*-1\r\n", "BLMOVE", "k", "l", "LEFT", "LEFT", "0.01")
	if waited := time.Since(began); waited < 60*time.Millisecond {
		t.Error("waited only", waited)
	}
	a.do("HELLO", "3")
	a.want("_\r\n", "BLMPOP", "0.001", "1", "k", "LEFT")
	a.do("HELLO", "2")
	a.want("-ERR timeout is negative\r\n", "BLPOP", "k", "-1")
	a.want("-ERR timeout is not a float or out of range\r\n", "BLPOP", "k", "soon")

	// CLIENT UNBLOCK.
	id := strings.Trim(a.do("CLIENT", "ID"), ":\r\n")
	c.want(":0\r\n", "CLIENT", "UNBLOCK", id)
	c.want("-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n", "CLIENT", "UNBLOCK", id, "NOW")
	c.want("-ERR value is not an integer or out of range\r\n", "CLIENT", "UNBLOCK", "x")
	for _, how := range []struct{ reason, reply string }{{"", "*-1\r\n"}, {"timeout", "*-1\r\n"}, {"ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"}} {
		a.issue("BRPOP", "k", "1000000")
		n.waitBlocked(t, 1)
		args := []string{"CLIENT", "UNBLOCK", id}
		if how.reason != "" {
			args = append(args, how.reason)
		}
		c.want(":1\r\n", args...)
		a.gets(how.reply)
		n.waitBlocked(t, 0)
	}

	// Who is gone gets nothing.
	a.issue("BLPOP", "k", "l", "0")
	n.waitBlocked(t, 1)
	a.nc.Close()
	n.waitBlocked(t, 0)
	b.want(":1\r\n", "RPUSH", "k", "v")
	b.want("$1\r\nv\r\n", "LPOP", "k")

	// A transaction neither waits nor serves before it is complete.
	b.issue("BLPOP", "k", "l", "0")
	n.waitBlocked(t, 1)
	c.send("MULTI\r\nBLPOP k 0\r\nBLMOVE k l LEFT LEFT 0\r\nRPUSH k v\r\nLPOP k\r\nRPUSH l 1\r\nRPUSH k 2\r\nEXEC\r\n")
	c.gets("+OK\r\n")
	for range 6 {
		c.gets("+QUEUED\r\n")
	}
	c.gets("*6\r\n*-1\r\n$-1\r\n:1\r\n$1\r\nv\r\n:1\r\n:1\r\n")
	got := b.read()
	if got != bulks("k", "2") && got != bulks("l", "1") {
		t.Errorf("%q", got)
	}

	// CLIENT REPLY OFF, and a client that is killed.
	b.send("CLIENT REPLY SKIP\r\nBLPOP none 0\r\nPING\r\n")
	n.waitBlocked(t, 1)
	c.want(":1\r\n", "LPUSH", "none", "x")
	b.gets("+PONG\r\n")
	b.issue("BLPOP", "none", "0")
	n.waitBlocked(t, 1)
	id = ""
	for _, line := range strings.Split(c.do("CLIENT", "LIST"), "\n") {
		if strings.Contains(line, "flags=b ") {
			id = strings.TrimPrefix(strings.Fields(line[strings.Index(line, "id="):])[0], "id=")
		}
	}
	c.want(":1\r\n", "CLIENT", "KILL", "ID", id)
	b.closed()
	n.waitBlocked(t, 0)
}

// TestBlockingHolds: what a blocked client sends meanwhile is kept, up to a bound.
func TestBlockingHolds(t *testing.T) {
	n := start(t, 1, nil)
	a, b := n.dial(t), n.dial(t)
	a.issue("BLPOP", "k", "0")
	n.waitBlocked(t, 1)
	const count = 60_000 // more than a connection holds
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		a.send(strings.Repeat("ECHO 0123456789012345678901234567890123456789\r\n", count))
	}()
	b.want(":1\r\n", "LPUSH", "k", "v")
	a.gets(bulks("k", "v"))
	for range count {
		a.gets("$40\r\n0123456789012345678901234567890123456789\r\n")
	}
	<-sent
}

func TestBlockingDrain(t *testing.T) {
	n := start(t, 1, nil)
	a := n.dial(t)
	a.issue("BLPOP", "k", "0")
	n.waitBlocked(t, 1)
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := a.closed(); got != "*-1\r\n" {
		t.Errorf("%q", got)
	}
}

// TestFairness: whoever has waited longest is served first, whoever writes and from whatever loop.
func TestFairness(t *testing.T) {
	n := start(t, 3, nil)
	const waiters, pushers = 24, 8
	var waiting []*client
	for i := range waiters {
		c := n.dial(t)
		switch i % 4 {
		case 0:
			c.issue("BLPOP", "k", "0")
		case 1:
			c.issue("BRPOP", fmt.Sprint("other", i), "k", "0")
		case 2:
			c.issue("BLMPOP", "0", "2", "k", "other", "LEFT")
		case 3:
			c.issue("BLMOVE", "k", fmt.Sprint("dst", i), "LEFT", "RIGHT", "0")
		}
		waiting = append(waiting, c)
		n.waitBlocked(t, int64(i+1))
	}
	for served := 0; served < waiters; served += pushers {
		var wg sync.WaitGroup
		for p := range pushers {
			c := n.dial(t)
			wg.Go(func() { c.do("RPUSH", "k", fmt.Sprint("v", p)) })
		}
		wg.Wait()
		for _, c := range waiting[served : served+pushers] {
			if got := c.read(); !strings.Contains(got, "\r\nv") {
				t.Errorf("%q", got)
			}
		}
		n.waitBlocked(t, int64(waiters-served-pushers))
	}
}

// TestBlockingRaces lets many clients push, pop, wait, time out, be unblocked and go away at once. No element may be lost,
// and none may be given twice.
func TestBlockingRaces(t *testing.T) {
	n := start(t, 3, nil)
	const producers, each, consumers = 4, 400, 8
	keys := []string{"a", "b", "c", "d"}
	var mu sync.Mutex
	seen := map[string]int{}
	stop := make(chan struct{})
	var consuming, producing, killing sync.WaitGroup
	for i := range consumers {
		c := n.dial(t)
		consuming.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 7))
			key := func() string { return keys[rnd.IntN(len(keys))] }
			for {
				var got string
				switch rnd.IntN(5) {
				case 0:
					got = c.do("BLPOP", key(), key(), "0.02")
				case 1:
					got = c.do("BRPOP", key(), "0.01")
				case 2:
					got = c.do("BLMPOP", "0.02", "3", key(), key(), key(), "LEFT", "COUNT", "3")
				case 3:
					c.do("BLMOVE", key(), key(), "LEFT", "RIGHT", "0.005")
					continue
				case 4:
					got = c.do("LPOP", key())
				}
				mu.Lock()
				for _, word := range strings.Fields(got) {
					if strings.HasPrefix(word, "v-") {
						seen[word]++
					}
				}
				enough := len(seen) == producers*each
				mu.Unlock()
				if enough {
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	killing.Go(func() {
		c := n.dial(t)
		for id := 1; ; id++ {
			select {
			case <-stop:
				return
			default:
			}
			c.do("CLIENT", "UNBLOCK", fmt.Sprint(id%20))
			if id%50 == 0 {
				// One that leaves while it waits: it has no element yet, for nobody writes to its key.
				d := n.dial(t)
				d.issue("BLMOVE", "nobody", "a", "LEFT", "LEFT", "0")
				d.nc.Close()
			}
		}
	})
	for p := range producers {
		c := n.dial(t)
		producing.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(p), 8))
			for i := range each {
				key, value := keys[rnd.IntN(len(keys))], fmt.Sprintf("v-%d-%d", p, i)
				if rnd.IntN(3) == 0 {
					c.send("MULTI\r\nRPUSH " + key + " " + value + "\r\nLLEN " + keys[0] + "\r\nEXEC\r\n")
					for range 4 {
						c.read()
					}
				} else {
					c.do("LPUSH", key, value)
				}
			}
		})
	}
	producing.Wait()
	timeout := time.AfterFunc(15*time.Second, func() { close(stop) })
	consuming.Wait()
	if timeout.Stop() {
		close(stop)
	}
	killing.Wait()
	if len(seen) != producers*each {
		t.Errorf("%d of %d elements came", len(seen), producers*each)
	}
	for v, times := range seen {
		if times != 1 {
			t.Errorf("%s came %d times", v, times)
		}
	}
	n.waitBlocked(t, 0)
	if got := n.dial(t).do("DBSIZE"); got != ":0\r\n" {
		t.Errorf("left: %q", got)
	}
}

// TestBlockingAgainstRedis goes through stories of several clients that wait, on both servers.
func TestBlockingAgainstRedis(t *testing.T) {
	if testing.Short() {
		t.Skip("needs redis-server")
	}
	for _, proto := range []string{"2", "3"} {
		t.Run("proto="+proto, func(t *testing.T) {
			first := newPair(t, proto)
			clients := map[string]*pair{"w": first}
			for _, name := range []string{"a", "b", "c", "d"} {
				clients[name] = first.another(proto)
			}
			// "name: command" is answered at once, "name! command" waits, "name?" reads what was waited for.
			for i, story := range []string{
				"a! BLPOP k 0|b! BRPOP k 0|c! BLPOP x k 0|w: RPUSH k 1 2 3 4|a?|b?|c?|w: LRANGE k 0 -1",
				"a! BLPOP k 0|w: SET k v|w: DEL k|w: SADD k m|w: DEL k|w: LPUSH k v|a?",
				"a! BLPOP k x 0|w: SET k v|w: RPUSH x 1|a?",
				"a! BLMOVE k d LEFT RIGHT 0|b! BLPOP d 0|w: RPUSH k 1|a?|b?|w: EXISTS k d",
				"a! BRPOPLPUSH k d 0|w: SET d v|w: RPUSH k 1|a?|w: LRANGE k 0 -1",
				"a! BRPOPLPUSH k k 0|b! BLPOP k 0|w: RPUSH k 1 2|a?|b?|w: LRANGE k 0 -1",
				"a! BLMPOP 0 2 k x LEFT COUNT 2|b! BLMPOP 0 1 k RIGHT|w: RPUSH k 1 2 3 4|a?|b?|w: LRANGE k 0 -1",
				"a! BLPOP k x 0|w: MULTI|w: RPUSH x 1|w: RPUSH k 2|w: EXEC|a?|w: LRANGE k 0 -1|w: LRANGE x 0 -1",
				"a! BLPOP k 0|w: MULTI|w: RPUSH k 1|w: DEL k|w: EXEC|w: RPUSH k 2|a?",
				"a! BLPOP k 0|w: MULTI|w: RPUSH k 1|w: LPUSH k 2|w: LPUSH k 3|w: EXEC|a?|w: LRANGE k 0 -1",
				"a! BLPOP k 0|w: RPUSH x 1|w: RENAME x k|a?",
				"a! BLPOP k 0|w: RPUSH x 1|w: COPY x k|a?|w: LRANGE x 0 -1",
				"a! BLPOP k 0|w: RPUSH x 1 2|w: LMOVE x k LEFT LEFT|a?|w: RPOPLPUSH x k|w: LRANGE k 0 -1",
				"a! BLPOP k 0.01|a?|b! BLMOVE k x LEFT LEFT 0.01|b?|c! BRPOPLPUSH k x 0.01|c?|d! BLMPOP 0.01 1 k LEFT|d?",
				"a! BLPOP k k 0|w: RPUSH k 1|a?|w: EXISTS k",
				"a! BLPOP k 0|b! BLPOP x 0|c! BLPOP k x 0|w: RPUSH x 1 2|b?|c?|w: RPUSH k 1|a?|w: EXISTS k x",
				"a! BLMOVE k x LEFT LEFT 0|b! BLMOVE x y LEFT LEFT 0|c! BLMOVE y z LEFT LEFT 0|w: RPUSH k 1|a?|b?|c?|w: LRANGE z 0 -1",
				"a! BLPOP k 0|w: SELECT 1|w: RPUSH k 1|w: SELECT 0|w: RPUSH k 2|a?|w: SELECT 1|w: DEL k|w: SELECT 0",
				"a! BZPOPMIN k 0|b! BLPOP k 0|w: RPUSH k 1|b?|w: ZADD k 1 m|a?",
				"a! BZPOPMAX x k 0|b! BZMPOP 0 1 k MIN COUNT 2|w: ZADD k 1 m 2 n 3 o 4 p|a?|b?|w: ZRANGE k 0 -1 WITHSCORES",
				"w: XADD k 1 f v|w: XGROUP CREATE k g $|a! XREADGROUP GROUP g c BLOCK 0 STREAMS k >|b! XREAD BLOCK 0 STREAMS k $|w: DEL k|a?|w: XADD k 2 f v|b?",
				"w: XGROUP CREATE k g $ MKSTREAM|a! XREADGROUP GROUP g c BLOCK 0 STREAMS k >|w: SET k v|a?",
				"w: XGROUP CREATE k g $ MKSTREAM|a! XREADGROUP GROUP g c BLOCK 0 STREAMS k >|w: MULTI|w: DEL k|w: SADD k m|w: EXEC|a?",
				"w: XGROUP CREATE k g $ MKSTREAM|a! XREADGROUP GROUP g c BLOCK 0 STREAMS k >|w: FLUSHALL|a?",
				"w: XGROUP CREATE k g $ MKSTREAM|a! XREADGROUP GROUP g c BLOCK 0 STREAMS k >|w: SELECT 1|w: FLUSHDB|w: SELECT 0|w: FLUSHDB|a?",
				"w: XGROUP CREATE k g $ MKSTREAM|a! XREADGROUP GROUP g c BLOCK 0 STREAMS k >|w: MULTI|w: FLUSHALL|w: EXEC|a?",
				"w: XGROUP CREATE k g $ MKSTREAM|w: XGROUP CREATE x g $ MKSTREAM|a! XREADGROUP GROUP g c BLOCK 0 STREAMS k x > >|w: RENAME x y|a?",
				"w: XGROUP CREATE k g $ MKSTREAM|a! XREADGROUP GROUP g c BLOCK 0 STREAMS k >|w: XGROUP DESTROY k g|a?",
				"a! BZPOPMIN k 0.01|a?|b! BZMPOP 0.01 1 k MIN|b?",
			} {
				first.quiet("FLUSHALL")
				waiting := 0
				for _, step := range strings.Split(story, "|") {
					p, rest := clients[step[:1]], strings.Fields(step[2:])
					switch step[1] {
					case ':':
						p.same(rest...)
					case '!':
						p.real.issue(rest...)
						p.ours.issue(rest...)
						waiting++
						if strings.Contains(step, "0.01") {
							continue
						}
						want := fmt.Sprintf("blocked_clients:%d\r\n", waiting)
						for _, server := range []*client{first.real, first.ours} {
							eventually(t, want, func() bool { return strings.Contains(server.do("INFO", "clients"), want) })
						}
					case '?':
						waiting--
						p.read()
					}
				}
				if t.Failed() {
					t.Fatalf("story %d: %s", i, story)
				}
			}
		})
	}
}

// A paused session that is served again, for it has read what it was sent, still is one that waits.
func TestPausedSessionsAreCountedOnce(t *testing.T) {
	n := start(t, 1, nil)
	a, b := n.dial(t), n.dial(t)
	a.want("+OK\r\n", "CLIENT", "PAUSE", "60000", "WRITE")
	b.send("SET k v\r\n")
	eventually(t, "it waits", func() bool { return n.blocked.Load() == 1 })
	for range 2 {
		n.loops[0].Post(func() {
			for _, s := range n.list() {
				if s.held {
					s.Drained(s.conn)
				}
			}
		})
	}
	a.want("+PONG\r\n", "PING")
	a.want("+PONG\r\n", "PING")
	a.want("+OK\r\n", "CLIENT", "UNPAUSE")
	if got := b.read(); got != "+OK\r\n" {
		t.Errorf("%q", got)
	}
	if got := n.blocked.Load(); got != 0 {
		t.Errorf("%d are blocked", got)
	}
}
