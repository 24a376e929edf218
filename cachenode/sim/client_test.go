//go:build portable || !linux

package sim

import (
	"fmt"
	"math"
	"net"
	"strings"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// op is what a client did to one key, and what it saw.
type op struct {
	client, node string
	key          string
	kind         string // the command, in lower case
	arg          string
	reply        string
	call, ret    int64 // nanoseconds since the beginning; never answered: math.MaxInt64
}

// unknown tells that nobody knows whether, or when, it was executed.
func (o *op) unknown() bool { return o.ret == math.MaxInt64 }

// reads tells that it changes nothing.
func (o *op) reads() bool { return o.kind == "get" || o.kind == "getl" }

// client is one application: it sends a command, waits for the reply, and sends the next.
type client struct {
	w    *world
	name string
	at   *node
	nc   net.Conn
	buf  []byte
	lost int // connections
}

// clientPatience is longer than a node tries to reach another one.
const clientPatience = 12 * time.Second

// run works until the history ends.
func (c *client) run() {
	defer c.drop()
	for i := 0; c.w.enter(); i++ {
		c.turn(i)
		c.w.leaveGate()
		time.Sleep(c.w.between(c.w.pace.min, c.w.pace.max, "pause", c.name, i))
	}
}

// turn does one command, through the node that it is connected with, or another one when that is gone.
func (c *client) turn(i int) {
	if c.at == nil || !c.at.alive.Load() {
		c.drop()
		if c.at = c.w.anyNode(c.name, i); c.at == nil {
			return
		}
	}
	args, ops := c.command(i)
	c.do(args, ops)
}

// command makes the i-th command up: its text, and what it does to each of its keys.
func (c *client) command(i int) (args []string, ops []*op) {
	w := c.w
	value := fmt.Sprintf("%s.%d", c.name, i)
	key := w.keys[w.pick(len(w.keys), "key", c.name, i)]
	one := func(kind, arg string) ([]string, []*op) {
		ops := []*op{{key: key, kind: kind, arg: arg}}
		switch {
		case kind == "getl":
			return []string{"lrange", key, "0", "-1"}, ops
		case arg != "":
			return []string{kind, key, arg}, ops
		}
		return []string{kind, key}, ops
	}
	kind := w.pick(100, "kind", c.name, i)
	if kind < 8 { // several keys, whoever owns them
		other := w.keys[w.pick(len(w.keys), "other", c.name, i)]
		if other == key {
			return one("del", "")
		}
		if kind < 4 && key[0] == 's' && other[0] == 's' {
			return []string{"mset", key, value, other, value + "b"},
				[]*op{{key: key, kind: "set", arg: value}, {key: other, kind: "set", arg: value + "b"}}
		}
		if kind < 6 && key[0] != 'l' && other[0] != 'l' {
			return []string{"mget", key, other}, []*op{{key: key, kind: "get"}, {key: other, kind: "get"}}
		}
		return []string{"del", key, other}, []*op{{key: key, kind: "del"}, {key: other, kind: "del"}}
	}
	switch {
	case kind < 14:
		return one("del", "")
	case key[0] == 'l' && kind < 50:
		return one("lpush", value)
	case key[0] == 'l' && kind < 60:
		return one("rpop", "")
	case key[0] == 'l':
		return one("getl", "")
	case key[0] == 'c' && kind < 60:
		return one("incr", "")
	case key[0] == 'c' || kind >= 60:
		return one("get", "")
	case kind < 35:
		return one("set", value)
	case kind < 42:
		return one("append", ","+value)
	case kind < 50:
		return one("setnx", value)
	default:
		return one("getset", value)
	}
}

// do sends one command and notes what came of it.
func (c *client) do(args []string, ops []*op) {
	call := c.w.now()
	reply, err := c.ask(args)
	ret := c.w.now()
	node := c.at.name
	if err != nil {
		reply = "(" + err.Error() + ")"
	}
	if err != nil || strings.HasPrefix(reply, refusal) {
		c.drop()
		c.at = nil
	}
	failed := err != nil || strings.HasPrefix(reply, "-")
	if strings.HasPrefix(reply, "-") && !expectedError(reply) {
		c.w.fail("%s through %s: %v is answered %q", c.name, node, args, reply)
	}
	parts := []string{reply}
	if len(ops) > 1 {
		parts = make([]string, len(ops)) // "" is any reply
		if args[0] == "mget" && !failed {
			parts = elements(reply)
		}
	}
	for i, o := range ops {
		o.client, o.node, o.call, o.ret = c.name, node, call, ret
		if failed {
			o.ret = math.MaxInt64
		} else {
			o.reply = parts[i]
		}
	}
	c.w.record(c, strings.Join(args, " "), reply, ops, failed)
}

// refusal is what a node tells new clients while it is being stopped.
const refusal = "-ERR max number of clients"

// expectedError tells whether a node may say so when others cannot be reached.
func expectedError(reply string) bool {
	return strings.HasPrefix(reply, "-TRYAGAIN") || strings.HasPrefix(reply, "-CLUSTERDOWN") || strings.HasPrefix(reply, refusal)
}

// elements cuts an array.
func elements(reply string) (parts []string) {
	_, rest, _ := strings.Cut(reply, "\r\n")
	for rest != "" {
		n, _, err := resp.ReplyLen([]byte(rest))
		if err != nil || n == 0 {
			return append(parts, "(malformed)")
		}
		parts, rest = append(parts, rest[:n]), rest[n:]
	}
	return parts
}

// ask sends a command and waits for the reply.
func (c *client) ask(args []string) (reply string, err error) {
	if c.nc == nil {
		if c.nc, err = c.w.session(c.name, c.at); err != nil {
			return "", err
		}
	}
	words := make([][]byte, len(args))
	for i, a := range args {
		words[i] = []byte(a)
	}
	if _, err := c.nc.Write(resp.AppendCommand(nil, words)); err != nil {
		return "", err
	}
	if err := c.nc.SetDeadline(time.Now().Add(clientPatience)); err != nil {
		return "", err
	}
	c.buf = c.buf[:0]
	var piece [1024]byte
	for {
		n, err := c.nc.Read(piece[:])
		if err != nil {
			return "", err
		}
		c.buf = append(c.buf, piece[:n]...)
		if n, _, err := resp.ReplyLen(c.buf); err != nil || n > 0 {
			return string(c.buf), err
		}
	}
}

// drop closes the connection.
func (c *client) drop() {
	if c.nc != nil {
		c.nc.Close()
		c.nc, c.lost = nil, c.lost+1
	}
}
