package respserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// What tools and clients ask of a connection and of the server is answered as by Redis.
func TestConnectTierAgainstRedis(t *testing.T) {
	for _, proto := range []string{"2", "3"} {
		p := newPair(t, proto)
		for _, line := range strings.Split(`CLIENT
CLIENT NOSUCH
CLIENT ID x
CLIENT SETNAME bad name
CLIENT SETNAME a\nb
CLIENT SETNAME me
CLIENT GETNAME
CLIENT LIST TYPE nosuch
CLIENT LIST TYPE master
CLIENT LIST ID
CLIENT LIST ID x
CLIENT LIST nonsense
CLIENT KILL
CLIENT KILL 1.2.3.4:5
CLIENT KILL ID 0
CLIENT KILL ID x
CLIENT KILL ID 424242
CLIENT KILL TYPE nosuch
CLIENT KILL SKIPME maybe
CLIENT KILL nonsense x
CLIENT KILL ADDR 1.2.3.4:5 LADDR 1.2.3.4:5
CLIENT NO-EVICT maybe
CLIENT NO-EVICT on
CLIENT REPLY nonsense
CLIENT REPLY ON
CLIENT UNBLOCK 424242
CLIENT UNBLOCK x
CLIENT UNBLOCK 1 nonsense
CLIENT PAUSE
CLIENT PAUSE x
CLIENT PAUSE -1
CLIENT PAUSE 1 nonsense
CLIENT PAUSE 0
CLIENT PAUSE 1 WRITE
CLIENT UNPAUSE
CLIENT UNPAUSE x
CLIENT MAINT_NOTIFICATIONS ON
CONFIG
CONFIG NOSUCH
CONFIG GET
CONFIG GET nosuch
CONFIG SET
CONFIG SET maxmemory
CONFIG SET nosuch 1
CONFIG SET maxmemory 1 maxmemory 2
CONFIG SET maxmemory 100mb
CONFIG GET maxmemory
CONFIG SET maxmemory x
CONFIG SET maxmemory 0
CONFIG SET hash-max-listpack-entries 77
CONFIG GET hash-max-listpack-entries
CONFIG SET hash-max-listpack-entries x
CONFIG SET databases 3
CONFIG SET slowlog-log-slower-than 100000 slowlog-max-len 3
CONFIG GET slowlog-max-len
CONFIG GET slowlog-log-slower-than
CONFIG SET slowlog-max-len x
CONFIG SET notify-keyspace-events KEA lazyfree-lazy-expire yes
CONFIG GET lazyfree-lazy-expire
CONFIG SET lazyfree-lazy-expire maybe
CONFIG RESETSTAT
CONFIG REWRITE
ROLE
WAIT 0 0
WAIT x 0
WAIT 0 x
WAIT 0 -1
WAIT
SLOWLOG
SLOWLOG LEN
SLOWLOG GET x
SLOWLOG GET -2
SLOWLOG GET 5
SLOWLOG RESET
SLOWLOG NOSUCH
LATENCY
LATENCY LATEST
LATENCY HISTORY command
LATENCY RESET
LATENCY GRAPH command
LATENCY NOSUCH
MEMORY
MEMORY USAGE
MEMORY USAGE nosuch
MEMORY USAGE nosuch SAMPLES
MEMORY USAGE nosuch SAMPLES x
MEMORY USAGE nosuch SAMPLES -1
MEMORY NOSUCH
MEMORY PURGE x
COMMAND COUNT x
COMMAND NOSUCH
COMMAND INFO nosuch
COMMAND INFO get
COMMAND GETKEYS
COMMAND GETKEYS GET
COMMAND GETKEYS GET k
COMMAND GETKEYS MSET a 1 b 2
COMMAND GETKEYS NOSUCH x
COMMAND GETKEYS PING
COMMAND GETKEYS PING x
COMMAND LIST FILTERBY nonsense x
COMMAND LIST FILTERBY MODULE x
COMMAND LIST FILTERBY ACLCAT nosuch
COMMAND LIST FILTERBY PATTERN zzz*
COMMAND DOCS nosuch
CLUSTER NOSUCH
PUBSUB
PUBSUB NOSUCH
PUBSUB NUMSUB
PUBSUB CHANNELS x y
DEBUG SLEEP 0
LOLWUT VERSION x y z
SELECT 3
HELLO 4
HELLO x
HELLO 2 SETNAME
HELLO 2 AUTH x
AUTH a b c
AUTH x
ECHO
ECHO a b
RESET x
PING a b
TIME x
DBSIZE x
OBJECT
OBJECT NOSUCH x
OBJECT ENCODING`, "\n") {
			if strings.HasPrefix(line, "LOLWUT") || strings.HasPrefix(line, "SLOWLOG GET 5") || strings.HasPrefix(line, "SLOWLOG LEN") {
				continue
			}
			p.same(strings.Fields(line)...)
		}
	}
}

// Commands that there are not say so, by name.
func TestRefusedCommands(t *testing.T) {
	n := start(t, 1, nil)
	c := n.dial(t)
	for _, name := range []string{"SWAPDB 0 1", "REPLICAOF NO ONE", "MODULE LOAD x", "FT.SEARCH i q", "FUNCTION LOAD x", "SAVE", "MIGRATE a", "SHUTDOWN", "FCALL f 0"} {
		got := c.do(strings.Fields(name)...)
		word := strings.ToLower(strings.Fields(name)[0])
		if !strings.HasPrefix(got, "-ERR '"+word) || !strings.Contains(got, "is not supported: ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	c.want("+OK\r\n", "FUNCTION", "FLUSH")
	c.want("*0\r\n", "FUNCTION", "LIST")
	c.want("*0\r\n", "MODULE", "LIST")
	for name := range refused {
		if n.table.Lookup([]byte(name)) != nil {
			t.Errorf("%s is refused and in the table", name)
		}
	}
}

func TestClientList(t *testing.T) {
	n := start(t, 2, nil)
	a, b := n.dial(t), n.dial(t)
	b.do("HELLO", "3", "SETNAME", "bee")
	b.do("CLIENT", "SETINFO", "LIB-NAME", "lib")
	b.do("CLIENT", "SETINFO", "LIB-VER", "1.2")
	b.do("CLIENT", "TRACKING", "ON", "BCAST")
	b.do("SELECT", "5")
	b.do("SUBSCRIBE", "x", "y")
	b.read()
	b.do("PSUBSCRIBE", "p*")
	b.do("SSUBSCRIBE", "s")
	b.do("WATCH", "k")
	b.do("MULTI")
	b.do("GET", "k")
	got := a.do("CLIENT", "LIST")
	for _, part := range []string{"id=2 ", "addr=127.0.0.1:", "laddr=" + n.addr, "name=bee", "flags=PxtB", "db=5 ", "sub=2 ", "psub=1 ", "ssub=1 ",
		"multi=1 ", "watch=1 ", "cmd=get ", "user=default ", "redir=0 ", "resp=3 ", "lib-name=lib ", "lib-ver=1.2\n", "cmd=client|list "} {
		if !strings.Contains(got, part) {
			t.Errorf("CLIENT LIST without %q:\n%s", part, got)
		}
	}
	if got := a.do("CLIENT", "LIST", "TYPE", "pubsub"); strings.Count(got, "id=") != 1 {
		t.Errorf("TYPE pubsub: %q", got)
	}
	a.want(":0\r\n", "CLIENT", "KILL", "USER", "default", "MAXAGE", "1000")
	a.want(":1\r\n", "CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
	b.closed()
}

func TestPause(t *testing.T) {
	n := start(t, 2, nil)
	admin, a, b := n.dial(t), n.dial(t), n.dial(t)
	b.do("MULTI")
	b.do("SET", "k", "w")
	admin.want("+OK\r\n", "CLIENT", "PAUSE", "60000", "WRITE")
	a.want("$-1\r\n", "GET", "k")
	a.send("SET k v\r\nGET k\r\n")
	b.send("EXEC\r\n")
	eventually(t, "both wait", func() bool {
		waiting := 0
		for _, l := range n.loops {
			done := make(chan int)
			st := n.byLoop[l]
			l.Post(func() { done <- len(st.pausing) })
			waiting += <-done
		}
		return waiting == 2
	})
	if info := admin.do("INFO", "clients"); !strings.Contains(info, "blocked_clients:2\r\n") {
		t.Errorf("while two wait: %s", info)
	}
	admin.want("+OK\r\n", "CLIENT", "UNPAUSE")
	if got := a.read(); got != "+OK\r\n" {
		t.Errorf("SET after the pause: %q", got)
	}
	a.read()
	if got := b.read(); got != "*1\r\n+OK\r\n" {
		t.Errorf("EXEC after the pause: %q", got)
	}
	// A pause ends by itself, and holds back everything but its end.
	admin.want("+OK\r\n", "CLIENT", "PAUSE", "50")
	began := time.Now()
	a.want("+PONG\r\n", "PING")
	if time.Since(began) < 30*time.Millisecond {
		t.Errorf("PING did not wait")
	}
	admin.want("+OK\r\n", "CLIENT", "PAUSE", "60000")
	admin.want("+OK\r\n", "CLIENT", "UNPAUSE")
	a.want("+PONG\r\n", "PING")
	admin.want("+OK\r\n", "CLIENT", "PAUSE", "60000", "WRITE")
	a.send("SET k v\r\n")
	eventually(t, "one waits", func() bool { return n.blocked.Load() == 1 })
	admin.want(":2\r\n", "CLIENT", "KILL", "TYPE", "normal")
	eventually(t, "who is gone does not wait", func() bool { return n.blocked.Load() == 0 })
	admin.want("+OK\r\n", "CLIENT", "UNPAUSE")
}

func TestMonitor(t *testing.T) {
	n := start(t, 2, nil)
	m, c := n.dial(t), n.dial(t)
	m.want("+OK\r\n", "MONITOR")
	c.do("SELECT", "2")
	c.do("SET", "k\n\"", "\x00v")
	c.do("AUTH", "secret")
	c.do("CONFIG", "GET", "x")
	c.do("MULTI")
	c.do("GET", "k")
	c.do("EXEC")
	for _, want := range []string{`[2 127.0.0.1:`, `] "SET" "k\n\"" "\x00v"`, `"AUTH" "(redacted)"`, `"MULTI"`, `"GET" "k"`, `"EXEC"`} {
		if got := m.read(); !strings.Contains(got, want) {
			t.Errorf("got %q, want %s", got, want)
		}
	}
	m.want("+RESET\r\n", "RESET")
	eventually(t, "nobody monitors", func() bool { return n.monitoring.Load() == 0 })
}

func TestSlowlog(t *testing.T) {
	n := start(t, 1, nil)
	c := n.dial(t)
	c.do("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "3")
	c.do("CLIENT", "SETNAME", "slow")
	args := []string{"DEL"}
	for i := range 50 {
		args = append(args, fmt.Sprint("k", i))
	}
	args[1] = strings.Repeat("x", 200)
	c.do(args...)
	got := c.do("SLOWLOG", "GET", "1")
	for _, part := range []string{"*32\r\n", "... (20 more arguments)", "... (72 more bytes)", "127.0.0.1:", "slow"} {
		if !strings.Contains(got, part) {
			t.Errorf("SLOWLOG GET without %q: %q", part, got)
		}
	}
	for range 5 {
		c.do("KEYS", "*")
	}
	c.want(":3\r\n", "SLOWLOG", "LEN")
	c.do("GET", "each")
	c.do("GET", "one")
	if got := c.do("SLOWLOG", "GET", "2"); !strings.Contains(got, "each") || !strings.Contains(got, "one") {
		t.Errorf("from 0 microseconds on, every command is slow: %q", got)
	}
	c.want("+OK\r\n", "SLOWLOG", "RESET")
}

func TestStatistics(t *testing.T) {
	n := start(t, 1, nil)
	c := n.dial(t)
	for range 100 {
		c.do("GET", "k")
	}
	c.do("HGETALL", "k")
	c.do("MULTI")
	c.do("LLEN", "k")
	c.do("LLEN", "k")
	c.do("EXEC")
	c.do("SETNX", "other", "v")
	c.do("INCRBY", "k", "x")
	c.do("GET")
	info := c.do("INFO", "everything")
	for _, part := range []string{"cmdstat_get:calls=100,", "rejected_calls=1,failed_calls=0", "cmdstat_incrby:calls=1,", "cmdstat_llen:calls=2,", "failed_calls=1",
		"latency_percentiles_usec_hgetall:p50=", "# CPU\r\nused_cpu_sys:", "# Cluster\r\ncluster_enabled:0", "loading:0", "role:master",
		"keyspace_misses:103", "# Keyspace"} {
		if !strings.Contains(info, part) {
			t.Errorf("INFO without %q:\n%s", part, info)
		}
	}
	if strings.Contains(c.do("INFO"), "cmdstat_") {
		t.Error("INFO shows what only INFO everything shows")
	}
	if got := c.do("LATENCY", "HISTOGRAM", "hgetall"); !strings.Contains(got, "calls\r\n:1\r\n") {
		t.Errorf("LATENCY HISTOGRAM: %q", got)
	}
	if got := c.do("LATENCY", "HISTOGRAM", "setnx"); !strings.Contains(got, "calls\r\n:1\r\n") {
		t.Errorf("LATENCY HISTOGRAM of a quick command's first call: %q", got)
	}
	c.want("+OK\r\n", "CONFIG", "RESETSTAT")
	if info := c.do("INFO", "commandstats", "stats"); strings.Contains(info, "cmdstat_get:") || !strings.Contains(info, "keyspace_misses:0") {
		t.Errorf("after RESETSTAT:\n%s", info)
	}
}

func TestDebugIsBehindASetting(t *testing.T) {
	n := start(t, 1, nil)
	n.dial(t).want("-"+errNoDebug+"\r\n", "DEBUG", "SLEEP", "0")
	n = start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.Debug = true })
	c, other := n.dial(t), n.dial(t)
	c.send("DEBUG SLEEP 0.05\r\nPING\r\n")
	other.want("+PONG\r\n", "PING")
	if a, b := c.read(), c.read(); a != "+OK\r\n" || b != "+PONG\r\n" {
		t.Errorf("DEBUG SLEEP: %q %q", a, b)
	}
	c.want("+OK\r\n", "DEBUG", "SET-ACTIVE-EXPIRE", "1")
	c.want("-ERR no such key\r\n", "DEBUG", "OBJECT", "k")
	c.do("SET", "k", "12")
	c.want("+Value at:0x0 refcount:1 encoding:int serializedlength:0 lru:0 lru_seconds_idle:0\r\n", "DEBUG", "OBJECT", "k")
	c.do("CONFIG", "SET", "slowlog-log-slower-than", "20000")
	c.do("DEBUG", "SLEEP", "0.03")
	if got := c.do("SLOWLOG", "GET"); !strings.Contains(got, "SLEEP") {
		t.Errorf("what has slept is not in the slow log: %q", got)
	}
	const attribute = "$39\r\nSome real reply following the attribute\r\n"
	for _, kind := range []struct{ name, two, three string }{
		{"bignum", "$37\r\n1234567999999999999999999999999999999\r\n", "(1234567999999999999999999999999999999\r\n"},
		{"attrib", attribute, "|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n" +
			attribute},
		{"push", "-ERR RESP2 is not supported by this command\r\n", ">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n"},
	} {
		c.want(kind.two, "DEBUG", "PROTOCOL", kind.name)
		c.do("HELLO", "3")
		c.want(kind.three, "DEBUG", "PROTOCOL", kind.name)
		if kind.name == "push" {
			c.read()
		}
		c.do("HELLO", "2")
	}
}

// What the table knows of arguments is what Redis says, but for names.
func TestDocsOfArguments(t *testing.T) {
	n := start(t, 1, nil)
	c := n.dial(t)
	const key = "$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$14\r\nkey_spec_index\r\n:0\r\n"
	const arg = "$4\r\nname\r\n$3\r\narg\r\n$4\r\ntype\r\n$6\r\nstring\r\n"
	for name, want := range map[string]string{
		"get":        "*1\r\n*6\r\n" + key,
		"exists":     "*1\r\n*8\r\n" + key + "$5\r\nflags\r\n*1\r\n+multiple\r\n",
		"blpop":      "*2\r\n*8\r\n" + key + "$5\r\nflags\r\n*1\r\n+multiple\r\n*4\r\n" + arg,
		"mset":       "*3\r\n*6\r\n" + key + "*4\r\n" + arg + "*6\r\n" + arg + "$5\r\nflags\r\n*2\r\n+optional\r\n+multiple\r\n",
		"set":        "*3\r\n*6\r\n" + key + "*4\r\n" + arg + "*6\r\n" + arg + "$5\r\nflags\r\n*2\r\n+optional\r\n+multiple\r\n",
		"config|set": "*3\r\n*4\r\n" + arg + "*4\r\n" + arg + "*6\r\n" + arg + "$5\r\nflags\r\n*2\r\n+optional\r\n+multiple\r\n",
	} {
		if got := c.do("COMMAND", "DOCS", name); !strings.HasSuffix(got, "$9\r\narguments\r\n"+want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := c.do("COMMAND", "DOCS", "time"); strings.Contains(got, "arguments") {
		t.Errorf("time: %q", got)
	}
}
