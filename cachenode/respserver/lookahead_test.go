package respserver

import (
	"reflect"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// pipeline is commands as bytes, in one write.
func pipeline(commands ...string) string {
	var b []byte
	for _, c := range commands {
		var args [][]byte
		for _, a := range strings.Fields(c) {
			args = append(args, []byte(a))
		}
		b = resp.AppendCommand(b, args)
	}
	return string(b)
}

// TestReadingAhead sends pipelines whose earlier commands change what becomes of the later ones, which have been read by
// then.
func TestReadingAhead(t *testing.T) {
	many := "MSET" + strings.Repeat(" k v", 20)
	for name, test := range map[string]struct{ in, want string }{
		"what only users may send, behind AUTH": {
			pipeline("AUTH secret", many, "QUIT"), "+OK\r\n+OK\r\n+OK\r\n"},
		"a broken command behind others": {
			pipeline("AUTH secret", "SET a 1", "GET a") + "*x\r\n", "+OK\r\n+OK\r\n$1\r\n1\r\n-ERR Protocol error: invalid multibulk length\r\n"},
		"others behind QUIT": {
			pipeline("AUTH secret", "QUIT", "SET never 1"), "+OK\r\n+OK\r\n"},
		"another database": {
			pipeline("AUTH secret", "SELECT 3", "SET x 3", "GET x", "SELECT 0", "EXISTS x", "QUIT"), "+OK\r\n+OK\r\n+OK\r\n$1\r\n3\r\n+OK\r\n:0\r\n+OK\r\n"},
		"another protocol": {
			pipeline("AUTH secret", "GET none", "CLIENT REPLY SKIP", "HELLO 3", "GET none", "QUIT"), "+OK\r\n$-1\r\n_\r\n+OK\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, 1, func(cfg *Config, _ []*netloop.Loop) { cfg.Password = "secret" })
			c := n.dial(t)
			c.send(test.in)
			if got := c.closed(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestReadingAheadForgets has a parser that read a part of a large command give the memory back.
func TestReadingAheadForgets(t *testing.T) {
	n := start(t, 1, nil)
	c := n.dial(t)
	large := pipeline("MSET" + strings.Repeat(" k v", 10_000))
	c.send(pipeline("PING", "PING") + large[:len(large)-2])
	c.read()
	c.read()
	st := n.Server.loops[0]
	kept := make(chan int, 1)
	eventually(t, "nothing is kept", func() bool {
		st.loop.Post(func() {
			most := 0
			for i := range st.ahead.commands {
				most = max(most, reflect.ValueOf(&st.ahead.commands[i].parser).Elem().FieldByName("args").Cap())
			}
			kept <- most
		})
		return <-kept <= 1024
	})
}
