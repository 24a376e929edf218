package respserver

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Every command tells of keys what Redis tells.
func TestNotificationsAgainstRedis(t *testing.T) {
	lines := strings.Split(`SET k1 v
SET k2 7
SET k1 v EX 100
SET k1 v NX
SET k1 v XX GET
SET k3 v KEEPTTL
SETEX k1 100 v
PSETEX k1 100000 v
SETNX k1 v
GETSET k1 v
GETDEL k1
GETEX k1
GETEX k1 EX 100
GETEX k1 PERSIST
GETEX k2 PXAT 1
GET k1
GET h
MGET k1 k2 h
MSET k1 1 k2 2
MSETNX k1 1 k3 2
APPEND k1 x
APPEND k2 x
SETRANGE k1 3 x
SETRANGE k1 3 
INCR k2
DECRBY k2 3
INCRBYFLOAT k2 1.5
INCR h
STRLEN k1
DEL k1
DEL k1 k2 h
UNLINK s
EXISTS k1 k2
TYPE k1
TTL k1
PTTL s
EXPIRE k1 0
EXPIRE k1 100
EXPIRE k1 100 NX
PEXPIREAT k2 1
PERSIST k1
RENAME k1 k2
RENAME h k1
RENAMENX k2 k3
HSET h f v g w
HMSET h f v
HSETNX h f v
HSETNX h z v
HINCRBY h n 3
HINCRBYFLOAT h n 1.5
HDEL h f
HDEL h f g n z
HGET h f
HLEN h
HGETALL h
SADD s a b
SADD s 1 2
SREM s a
SREM s a b 1 2
SPOP s 10
SCARD s
SMEMBERS s
SUNION s nos
TOUCH k1 nos
OBJECT ENCODING nos
KEYS *
DBSIZE
FLUSHDB
SELECT 3
SELECT 0`, "\n")
	for _, classes := range []string{"KEA", "KEAnm", "Kg$", "Eh", "Esxe", "A"} {
		t.Run(classes, func(t *testing.T) {
			p := newPair(t, "2")
			listener := p.another("3")
			listener.same("PSUBSCRIBE", "__key*__:*")
			p.same("CONFIG", "SET", "notify-keyspace-events", classes)
			p.same("CONFIG", "GET", "notify-keyspace-events")
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 2))
			for range 200 {
				var did []string
				for range 10 {
					line := lines[rnd.IntN(len(lines))]
					did = append(did, line)
					args := strings.Split(line, " ")
					if args[0] == "KEYS" || args[0] == "SMEMBERS" || args[0] == "SUNION" || args[0] == "HGETALL" || args[0] == "SPOP" {
						p.quiet(args...)
					} else {
						p.same(args...)
					}
				}
				p.same("PUBLISH", "__keyend__:", "end")
				for {
					got := listener.read()
					if t.Failed() {
						t.Fatalf("after\n%s", strings.Join(did, "\n"))
					}
					if strings.Contains(got, "__keyend__:") {
						break
					}
				}
			}
		})
	}
}

func TestNotifySetting(t *testing.T) {
	p := newPair(t, "2")
	for _, classes := range []string{"", "KEA", "AKE", "g$lshzxetd", "Ex", "Kmn", "KEg$x", "nK", "q", "K!", "A"} {
		p.same("CONFIG", "SET", "notify-keyspace-events", classes)
		p.same("CONFIG", "GET", "notify-keyspace-events")
	}
}

// Keys that go by themselves are told of, expired ones at once and when nobody looks at them too.
func TestRemovalsAreReported(t *testing.T) {
	n := start(t, 2, nil)
	c, listener := n.dial(t), n.dial(t)
	listener.do("PSUBSCRIBE", "__keyevent@*__:*")
	c.want("+OK\r\n", "CONFIG", "SET", "notify-keyspace-events", "Exe")
	c.do("SELECT", "2")
	c.do("SET", "gone", "v", "PX", "20")
	next := func(want string) {
		t.Helper()
		if got := listener.read(); !strings.Contains(got, want) {
			t.Errorf("got %q, want %s", got, want)
		}
	}
	eventually(t, "expiry", func() bool { return c.do("GET", "gone") == "$-1\r\n" })
	next("__keyevent@2__:expired\r\n$4\r\ngone")
	c.do("SET", "swept", "v", "PX", "20")
	eventually(t, "the sweep", func() bool { return n.store.Expire(time.Now().UnixMilli()+1000, 100) > 0 })
	next("__keyevent@2__:expired\r\n$5\r\nswept")
	c.do("SET", "big", "v")
	n.store.SetMaxBytes(1)
	n.store.SetMaxBytes(0)
	next("__keyevent@2__:evicted\r\n$3\r\nbig")
	c.want("+OK\r\n", "CONFIG", "SET", "notify-keyspace-events", "")
	c.do("SET", "silent", "v", "PX", "1")
	eventually(t, "expiry", func() bool { return c.do("GET", "silent") == "$-1\r\n" })
	c.do("PUBLISH", "__keyevent@2__:end", "end")
	next("end")
}

func TestShardPubSub(t *testing.T) {
	for _, proto := range []string{"2", "3"} {
		p := newPair(t, proto)
		sub := p.another(proto)
		sub.same("SSUBSCRIBE", "a", "b")
		sub.read()
		sub.same("SUBSCRIBE", "a")
		sub.same("SSUBSCRIBE", "c")
		p.same("SPUBLISH", "a", "x")
		sub.read()
		p.same("PUBLISH", "a", "y")
		sub.read()
		p.same("SPUBLISH", "nobody", "x")
		p.same("PUBSUB", "SHARDNUMSUB", "a", "b", "zz")
		p.same("PUBSUB", "SHARDNUMSUB")
		p.same("PUBSUB", "NUMSUB", "a")
		p.same("PUBSUB", "SHARDCHANNELS", "[c]")
		p.same("PUBSUB", "NUMPAT")
		if proto == "2" {
			sub.same("GET", "k")
		}
		sub.same("SUNSUBSCRIBE", "b", "nosuch")
		sub.read()
		sub.same("UNSUBSCRIBE")
		sub.same("SUNSUBSCRIBE", "a", "c")
		sub.read()
		sub.same("SUNSUBSCRIBE")
		sub.same("GET", "k")
	}
}
