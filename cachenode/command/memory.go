package command

import "github.com/outrigger-proxy/outrigger/protocol/resp"

// memoryKeys finds the key of MEMORY USAGE; the other subcommands have none.
func memoryKeys(args [][]byte, at []int) []int {
	if len(args) > 2 && EqualFold(args[1], "usage") {
		at = append(at, 2)
	}
	return at
}

// memory is MEMORY USAGE: what a key is charged with. It is exact, so the number of samples does not matter.
func memory(c *Context) {
	for i := 3; i < len(c.Args); i += 2 {
		if !c.is(i, "samples") || i+1 == len(c.Args) {
			c.fail(errSyntax)
			return
		}
		n, ok := resp.ParseInt(c.Args[i+1])
		if !ok {
			c.fail(errNotInteger)
			return
		}
		if n < 0 {
			c.fail(errSyntax)
			return
		}
	}
	if len(c.keys) == 0 {
		c.fail(errSyntax)
		return
	}
	it := c.tx.Peek(&c.keys[0])
	if it == nil {
		c.null()
		return
	}
	c.int(int64(it.Bytes()))
}

// serverSpecs are the rows of what operators and tools ask.
func serverSpecs() []Spec {
	return []Spec{
		{Name: "memory", Arity: -2, Flags: ReadOnly, keys: memoryKeys, Group: "server", Since: "4.0.0",
			Help: "A container for memory diagnostics commands", run: memory},
		{Name: "slowlog", Arity: -2, Flags: Admin, Scope: InSession, Group: "server", Since: "2.2.12",
			Help: "A container for slow log commands"},
		{Name: "latency", Arity: -2, Flags: Admin, Scope: InSession, Group: "server", Since: "2.8.13",
			Help: "A container for latency diagnostics commands"},
		{Name: "monitor", Arity: 1, Flags: Admin, Scope: InSession, Group: "server", Since: "1.0.0",
			Help: "Listens for all requests received by this node in real time"},
		{Name: "role", Arity: 1, Flags: Fast, Scope: InSession, Group: "server", Since: "2.8.12",
			Help: "Returns the replication role: every node is a master"},
		{Name: "wait", Arity: 3, Scope: InSession, Group: "generic", Since: "3.0.0",
			Help: "Returns at once the number of copies of what was acknowledged: it has them before"},
		{Name: "debug", Arity: -2, Flags: Admin, Scope: InSession, Group: "server", Since: "1.0.0",
			Help: "The part of DEBUG that test suites need, where the setting cache_debug allows it"},
	}
}
