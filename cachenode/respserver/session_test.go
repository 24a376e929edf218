package respserver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

func TestCommandsOfAConnection(t *testing.T) {
	n := start(t, 1, nil)
	c := n.dial(t)
	for _, step := range []struct{ command, want string }{
		{"PING", "+PONG\r\n"},
		{"PING hi", "$2\r\nhi\r\n"},
		{"PING a b", "-ERR wrong number of arguments for 'ping' command\r\n"},
		{"ECHO x", "$1\r\nx\r\n"},
		{"SET k v", "+OK\r\n"},
		{"SELECT 3", "+OK\r\n"},
		{"GET k", "$-1\r\n"},
		{"SELECT 16", "-ERR DB index is out of range\r\n"},
		{"SELECT x", "-ERR value is not an integer or out of range\r\n"},
		{"SELECT 0", "+OK\r\n"},
		{"get k", "$1\r\nv\r\n"},
		{"NOSUCH a b", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' \r\n"},
		{"GET", "-ERR wrong number of arguments for 'get' command\r\n"},
		{"CLIENT ID", ":1\r\n"},
		{"CLIENT GETNAME", "$-1\r\n"},
		{"CLIENT SETNAME me", "+OK\r\n"},
		{"CLIENT GETNAME", "$2\r\nme\r\n"},
		{"CLIENT SETINFO LIB-NAME test", "+OK\r\n"},
		{"CLIENT SETINFO NOPE test", "-ERR Unrecognized option 'NOPE'\r\n"},
		{"CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type none", "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n"},
		{"CLIENT NO-EVICT on", "+OK\r\n"},
		{"CLIENT UNBLOCK 1", ":0\r\n"},
		{"CLIENT KILL ID 999", ":0\r\n"},
		{"CLIENT KILL 1.2.3.4:5", "-ERR No such client\r\n"},
		{"READONLY", "+OK\r\n"},
		{"READWRITE", "+OK\r\n"},
		{"AUTH x", "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n"},
		{"AUTH default x", "+OK\r\n"},
		{"HELLO 4", "-NOPROTO unsupported protocol version\r\n"},
		{"HELLO x", "-ERR Protocol version is not an integer or out of range\r\n"},
		{"HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'\r\n"},
		{"CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"},
		{"CONFIG GET nosuch", "*0\r\n"},
		{"CONFIG SET maxmemory 10mb", "+OK\r\n"},
		{"CONFIG GET maxmemory", "*2\r\n$9\r\nmaxmemory\r\n$8\r\n10485760\r\n"},
		{"CONFIG SET nosuch 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'\r\n"},
		{"COMMAND GETKEYS mset a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"},
		{"COMMAND INFO nosuch", "*1\r\n$-1\r\n"},
		{"COMMAND INFO get", "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n" +
			"*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n" +
			"$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n" +
			"$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"},
		{"PUBSUB NUMSUB c", "*2\r\n$1\r\nc\r\n:0\r\n"},
		{"PUBLISH c m", ":0\r\n"},
		{"HELLO 3 SETNAME you", "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.4.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"},
		{"GET nosuch", "_\r\n"},
		{"HGETALL nosuch", "%0\r\n"},
		{"RESET", "+RESET\r\n"},
		{"GET nosuch", "$-1\r\n"},
		{"CLIENT GETNAME", "$-1\r\n"},
	} {
		c.want(step.want, strings.Fields(step.command)...)
	}
	for _, section := range []string{"", "server", "everything"} {
		args := []string{"INFO"}
		if section != "" {
			args = append(args, section)
		}
		if got := c.do(args...); !strings.Contains(got, "redis_version:7.4.0\r\n") || section == "" && !strings.Contains(got, "loading:0\r\n") {
			t.Errorf("INFO %s: %q", section, got)
		}
	}
	if got := c.do("CLIENT", "LIST"); !strings.Contains(got, "id=1 addr=127.0.0.1:") {
		t.Errorf("CLIENT LIST: %q", got)
	}
	// Every row of the table has a handler, and none closes the session.
	for _, spec := range n.Server.table.All() {
		args := []string{spec.Name}
		for len(args) < max(spec.Arity, -spec.Arity) {
			args = append(args, "1")
		}
		switch spec.Name {
		case "quit", "subscribe", "psubscribe", "ssubscribe", "monitor", "multi":
			continue
		}
		c.do(args...)
	}
	c.want("+OK\r\n", "QUIT")
	if rest := c.closed(); rest != "" {
		t.Errorf("after QUIT: %q", rest)
	}
	eventually(t, "the session is forgotten", func() bool { return n.Clients() == 0 })
}

func TestInlineAndPipeline(t *testing.T) {
	c := start(t, 1, nil).dial(t)
	c.send("SET k \"a b\"\r\nGET k\n\r\n*0\r\nPING\r\n*1\r\n$4\r\nPING\r\n")
	for _, want := range []string{"+OK\r\n", "$3\r\na b\r\n", "+PONG\r\n", "+PONG\r\n"} {
		if got := c.read(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestProtocolErrorsClose(t *testing.T) {
	n := start(t, 1, nil)
	for in, want := range map[string]string{
		"*1\r\n$-5\r\n":                  "-ERR Protocol error: invalid bulk length\r\n",
		"PING\r\n*x\r\n":                 "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n",
		"*1\r\nPING\r\n":                 "-ERR Protocol error: expected '$', got 'P'\r\n",
		"GET \"x\r\n":                    "-ERR Protocol error: unbalanced quotes in request\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\n": "",
		"GET / HTTP/1.1\r\nHost: x\r\n":  "-ERR wrong number of arguments for 'get' command\r\n",
	} {
		c := n.dial(t)
		c.send(in)
		if got := c.closed(); got != want && !(want != "" && got == "" && strings.HasPrefix(in, "GET /")) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestAuthentication(t *testing.T) {
	n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.Password = "secret" })
	c := n.dial(t)
	c.want("-NOAUTH Authentication required.\r\n", "GET", "k")
	c.want("-NOAUTH Authentication required.\r\n", "PING")
	c.want("-NOAUTH Authentication required.\r\n", "MODULE", "LIST")
	c.want("-NOAUTH Authentication required.\r\n", "FUNCTION", "FLUSH")
	if got := c.do("HELLO", "3"); !strings.HasPrefix(got, "-NOAUTH HELLO must be called") {
		t.Errorf("HELLO: %q", got)
	}
	c.want("-"+wrongPassword+"\r\n", "AUTH", "wrong")
	c.want("-"+wrongPassword+"\r\n", "AUTH", "other", "secret")
	c.want("-"+wrongPassword+"\r\n", "HELLO", "3", "AUTH", "default", "wrong")
	c.want("+OK\r\n", "AUTH", "secret")
	c.want("$-1\r\n", "GET", "k")
	c = n.dial(t)
	if got := c.do("HELLO", "3", "AUTH", "default", "secret"); !strings.HasPrefix(got, "%7\r\n") {
		t.Errorf("HELLO AUTH: %q", got)
	}
	c.want("_\r\n", "GET", "k")
	c = n.dial(t)
	c.send("*11\r\n")
	if got := c.closed(); got != "-ERR Protocol error: unauthenticated multibulk length\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestClientReply(t *testing.T) {
	c := start(t, 1, nil).dial(t)
	c.send("CLIENT REPLY SKIP\r\nPING 1\r\nPING 2\r\nCLIENT REPLY OFF\r\nPING 3\r\nCLIENT REPLY SKIP\r\nPING 4\r\nCLIENT REPLY ON\r\nPING 5\r\n")
	for _, want := range []string{"$1\r\n2\r\n", "+OK\r\n", "$1\r\n5\r\n"} {
		if got := c.read(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// What is pushed is no reply: CLIENT REPLY does not keep it back.
func TestClientReplyAndPushesAgainstRedis(t *testing.T) {
	for _, proto := range []string{"2", "3"} {
		for _, mode := range []string{"OFF", "SKIP"} {
			p := newPair(t, proto)
			for _, c := range []*client{p.real, p.ours} {
				c.send("CLIENT REPLY " + mode + "\r\nSUBSCRIBE a\r\n")
			}
			p.read()
			other := p.another("2")
			other.same("PUBLISH", "a", "m")
			p.read()
			for _, c := range []*client{p.real, p.ours} {
				c.send("CLIENT REPLY " + mode + "\r\nUNSUBSCRIBE\r\nCLIENT REPLY ON\r\nPING\r\n")
			}
			for range 3 {
				p.read()
			}
		}
	}
}

func TestMaxClients(t *testing.T) {
	n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.MaxClients = 2 })
	a, b := n.dial(t), n.dial(t)
	a.want("+PONG\r\n", "PING")
	b.want("+PONG\r\n", "PING")
	if got := n.dial(t).closed(); got != "-ERR max number of clients reached\r\n" {
		t.Errorf("got %q", got)
	}
	a.nc.Close()
	eventually(t, "room for another", func() bool { return n.Clients() == 1 })
	n.dial(t).want("+PONG\r\n", "PING")
}

func TestClientKill(t *testing.T) {
	n := start(t, 2, nil)
	a, b := n.dial(t), n.dial(t)
	id := strings.Trim(a.do("CLIENT", "ID"), ":\r\n")
	b.want(":1\r\n", "CLIENT", "KILL", "ID", id)
	a.closed()
	c := n.dial(t)
	c.want("+PONG\r\n", "PING")
	b.want("+OK\r\n", "CLIENT", "KILL", c.nc.LocalAddr().String())
	c.closed()
}

// laterBackend answers some commands at once, some when the test or a timer says, in any order.
type laterBackend struct {
	*Local
	loop *netloop.Loop
	rnd  *rand.Rand
	wait []func()
}

func (b *laterBackend) Execute(l *netloop.Loop, r *Request, out []byte) ([]byte, bool) {
	reply, _ := b.Local.Execute(l, r, nil)
	switch b.rnd.IntN(4) {
	case 0:
		return append(out, reply...), true
	case 1: // resolved before Execute returns
		r.Defer().Resolve(reply)
		return out, false
	}
	slot := r.Defer()
	b.wait = append(b.wait, func() { slot.Resolve(reply) })
	if b.rnd.IntN(8) == 0 {
		b.release()
	}
	return out, false
}

// release resolves what waits, in random order.
func (b *laterBackend) release() {
	wait := b.wait
	b.wait = nil
	b.rnd.Shuffle(len(wait), func(i, j int) { wait[i], wait[j] = wait[j], wait[i] })
	for _, fn := range wait {
		fn()
	}
}

// TestOrder mixes immediate, deferred and connection commands and checks that replies come in the order of the commands,
// also far beyond the number of slots that a session may have.
func TestOrder(t *testing.T) {
	var b *laterBackend
	n := start(t, 1, func(cfg *Config, loops []*netloop.Loop) {
		b = &laterBackend{Local: cfg.Backend.(*Local), loop: loops[0], rnd: rand.New(rand.NewPCG(rand.Uint64(), 1))}
		cfg.Backend = b
	})
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				n.loops[0].Post(b.release)
			}
		}
	}()
	defer func() { close(stop); <-done }()

	clients := []*client{n.dial(t), n.dial(t), n.dial(t)}
	const commands = 6000
	for i, c := range clients {
		go func() {
			var in []byte
			for j := range commands {
				word := fmt.Sprintf("%d-%d", i, j)
				switch j % 3 {
				case 0:
					in = append(in, "ECHO "+word+"\r\n"...)
				default:
					in = append(in, "GETSET {"+word+"} "+word+"\r\nGET {"+word+"}\r\n"...)
				}
			}
			c.nc.Write(in)
		}()
	}
	for i, c := range clients {
		for j := range commands {
			word := fmt.Sprintf("%d-%d", i, j)
			if j%3 != 0 {
				if got := c.read(); got != "$-1\r\n" {
					t.Fatalf("client %d command %d: %q", i, j, got)
				}
			}
			if got := c.read(); got != fmt.Sprintf("$%d\r\n%s\r\n", len(word), word) {
				t.Fatalf("client %d command %d: %q", i, j, got)
			}
		}
	}
	// A session that goes away with slots open does no harm.
	c := n.dial(t)
	c.send(strings.Repeat("GET k\r\n", 100))
	c.nc.Close()
	eventually(t, "the session is forgotten", func() bool { return n.Clients() == 3 })
	n.loops[0].Post(b.release)
	clients[0].want("$2\r\nok\r\n", "ECHO", "ok")
}

// TestSlowReader asks for far more than it reads: the replies must not pile up in memory, nor get lost.
func TestSlowReader(t *testing.T) {
	n := start(t, 1, nil)
	c := n.dial(t)
	c.want("+OK\r\n", "SET", "k", strings.Repeat("x", 100_000))
	const asked = 500
	go c.nc.Write([]byte(strings.Repeat("GET k\r\n", asked)))
	other := n.dial(t)
	var most int64
	queued := func() int64 {
		got := make(chan int64)
		n.loops[0].Post(func() {
			var sum int64
			for _, s := range n.list() {
				sum += int64(s.conn.Queued())
			}
			got <- sum
		})
		return <-got
	}
	for range 50 {
		other.want("+PONG\r\n", "PING")
		most = max(most, queued())
	}
	if most > 4<<20 {
		t.Errorf("%d bytes queued", most)
	}
	for i := range asked {
		if got := c.read(); len(got) != 100_011 {
			t.Fatalf("reply %d has %d bytes", i, len(got))
		}
	}
}

func TestBigValueInPieces(t *testing.T) {
	n := start(t, 1, nil)
	c := n.dial(t)
	value := strings.Repeat("0123456789", 500_000)
	in := resp.AppendCommand(nil, [][]byte{[]byte("SET"), []byte("big"), []byte(value)})
	for len(in) > 0 {
		k := min(len(in), 70_001)
		c.send(string(in[:k]))
		in = in[k:]
	}
	if got := c.read(); got != "+OK\r\n" {
		t.Fatal(got)
	}
	c.want(":5000000\r\n", "STRLEN", "big")
}

func TestQueryBuffer(t *testing.T) {
	n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.QueryBuffer = 100_000 })
	c := n.dial(t)
	c.want("+OK\r\n", "SET", "k", strings.Repeat("x", 90_000))
	c.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n")
	if got := c.closed(); got != "" {
		t.Errorf("got %q", got)
	}
	eventually(t, "the session is forgotten", func() bool { return n.Clients() == 0 })
}

func TestGoRedis(t *testing.T) {
	n := start(t, 2, func(cfg *Config, _ []*netloop.Loop) { cfg.Password = "pw" })
	ctx := context.Background()
	for _, proto := range []int{2, 3} {
		db := redis.NewClient(&redis.Options{Addr: n.addr, Password: "pw", Protocol: proto, DB: 2, ClientName: "tester"})
		if err := db.Set(ctx, "k", "v", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		if v, err := db.Get(ctx, "k").Result(); v != "v" || err != nil {
			t.Fatal(v, err)
		}
		if _, err := db.Get(ctx, "nosuch").Result(); err != redis.Nil {
			t.Fatal(err)
		}
		if ttl := db.TTL(ctx, "k").Val(); ttl != time.Minute {
			t.Fatal(ttl)
		}
		db.HSet(ctx, "h", "a", 1, "b", 2)
		if m := db.HGetAll(ctx, "h").Val(); len(m) != 2 || m["b"] != "2" {
			t.Fatal(m)
		}
		db.SAdd(ctx, "s", "x", "y")
		if m := db.SMembersMap(ctx, "s").Val(); len(m) != 2 {
			t.Fatal(m)
		}
		pipe := db.Pipeline()
		for i := range 100 {
			pipe.Incr(ctx, "n")
			pipe.Set(ctx, fmt.Sprint("p", i), i, 0)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
		keys := 0
		for it := db.Scan(ctx, 0, "p*", 10).Iterator(); it.Next(ctx); {
			keys++
		}
		if keys < 100 {
			t.Fatal(keys)
		}
		sub := db.Subscribe(ctx, "news")
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		if got := db.Publish(ctx, "news", "hello").Val(); got != 1 {
			t.Fatal(got)
		}
		select {
		case m := <-sub.Channel():
			if m.Payload != "hello" {
				t.Fatal(m)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no message")
		}
		sub.Close()
		db.FlushAll(ctx)
		if size := db.DBSize(ctx).Val(); size != 0 {
			t.Fatal(size)
		}
		db.Close()
	}
}

func TestRedisCLI(t *testing.T) {
	path, err := exec.LookPath("redis-cli")
	if err != nil {
		if testing.Short() {
			t.Skip("redis-cli is not installed")
		}
		t.Fatal("needs redis-cli: apt-get install redis-tools, or run with -short")
	}
	n := start(t, 1, nil)
	host, port, _ := strings.Cut(n.addr, ":")
	for _, c := range []struct{ args, want string }{
		{"SET k v", "OK\n"}, {"GET k", "v\n"}, {"-3 HSET h f 1", "1\n"}, {"-3 HGETALL h", "f 1\n"}, {"--scan", "k\nh\n"}, {"INCR h", "WRONGTYPE Operation against a key holding the wrong kind of value\n\n"},
	} {
		out, err := exec.Command(path, append([]string{"-h", host, "-p", port}, strings.Fields(c.args)...)...).CombinedOutput()
		if got := string(out); err != nil || got != c.want && !(c.args == "--scan" && len(got) == len(c.want)) {
			t.Errorf("redis-cli %s: %q, %v", c.args, got, err)
		}
	}
}

func TestDrain(t *testing.T) {
	n := start(t, 2, nil)
	a, b := n.dial(t), n.dial(t)
	a.want("+PONG\r\n", "PING")
	b.want("+PONG\r\n", "PING")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	a.closed()
	b.closed()
	n.dial(t).closed()
}

// TestHandshakes sends what the stock clients of 2026 send before their first command, in one write as they do. A map
// with proto 3 must come first, MAINT_NOTIFICATIONS must be an error and not the end, INFO must say loading:0.
func TestHandshakes(t *testing.T) {
	n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.Password = "pw" })
	for _, c := range []struct {
		client   string
		commands []string
		errors   int // replies that are errors, and that the client passes over
	}{
		{"go-redis 9", []string{"HELLO 3 AUTH default pw SETNAME n", "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type none", "CLIENT SETINFO LIB-NAME go-redis", "CLIENT SETINFO LIB-VER 9.22.0", "SELECT 2"}, 1},
		{"redis-py 8", []string{"HELLO 3 AUTH default pw", "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip", "CLIENT SETNAME n", "CLIENT SETINFO LIB-NAME redis-py", "CLIENT SETINFO LIB-VER 8.0.0", "SELECT 1"}, 1},
		{"ioredis 6", []string{"HELLO 3 AUTH default pw", "SELECT 1", "CLIENT SETNAME n", "READONLY", "CLIENT SETINFO LIB-VER 6.0.0", "CLIENT SETINFO LIB-NAME ioredis", "INFO"}, 0},
		{"ioredis 5", []string{"AUTH pw", "SELECT 1", "CLIENT SETNAME n", "CLIENT SETINFO LIB-VER 5.4.1", "INFO"}, 0},
		{"node-redis 6", []string{"HELLO 3 AUTH default pw SETNAME n", "SELECT 1", "READONLY", "CLIENT SETINFO LIB-NAME node-redis", "CLIENT SETINFO LIB-VER 6.2.1"}, 0},
		{"lettuce", []string{"HELLO 3 AUTH default pw SETNAME n", "SELECT 1", "CLIENT SETINFO lib-name Lettuce", "CLIENT SETINFO lib-ver 7.0.0", "CLIENT MAINT_NOTIFICATIONS on"}, 1},
		{"StackExchange.Redis", []string{"HELLO 3 AUTH default pw", "CLIENT SETNAME n", "CLIENT SETINFO lib-name SE.Redis", "CLIENT ID", "CONFIG GET timeout", "CONFIG GET slave-read-only", "CONFIG GET databases", "SENTINEL MASTERS", "INFO replication", "INFO server", "CLUSTER NODES", "GET __Booksleeve_TieBreak", "ECHO x"}, 2},
	} {
		conn := n.dial(t)
		conn.send(strings.Join(c.commands, "\r\n") + "\r\n")
		errors := 0
		for i, command := range c.commands {
			got := conn.read()
			if got[0] == '-' {
				errors++
			}
			if i == 0 && strings.HasPrefix(command, "HELLO") && !strings.Contains(got, "$5\r\nproto\r\n:3\r\n") {
				t.Errorf("%s: HELLO got %q", c.client, got)
			}
			if command == "INFO" && !strings.Contains(got, "\r\nloading:0\r\n") {
				t.Errorf("%s: INFO got %q", c.client, got)
			}
		}
		if errors != c.errors {
			t.Errorf("%s: %d errors, want %d", c.client, errors, c.errors)
		}
		conn.want("+PONG\r\n", "PING")
	}
}
