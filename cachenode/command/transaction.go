package command

import (
	"strconv"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// A transaction travels as one command, whether to this node's store or to another's:
//
//	x.exec keys watched commands, the keys in stored form, {db key version} of each watched key,
//	{db n argument…} of each command
//
// The keys are those of the commands and the watched ones. All must have one owner; there everything happens under the locks
// of their shards.

// transactionSpecs are the rows of MULTI and its relatives, which sessions answer.
func transactionSpecs() []Spec {
	return []Spec{
		{Name: "multi", Arity: 1, Flags: Fast, Scope: InSession, Group: "transactions", Since: "1.2.0",
			Help: "Starts a transaction"},
		{Name: "exec", Arity: 1, Scope: InSession, Group: "transactions", Since: "1.2.0",
			Help: "Executes all commands in a transaction"},
		{Name: "discard", Arity: 1, Flags: Fast, Scope: InSession, Group: "transactions", Since: "2.0.0",
			Help: "Discards a transaction"},
		{Name: "watch", Arity: -2, Flags: Fast, Scope: InSession, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "transactions", Since: "2.2.0",
			Help: "Monitors changes to keys to determine the execution of a transaction"},
		{Name: "unwatch", Arity: 1, Flags: Fast, Scope: InSession, Group: "transactions", Since: "2.2.0",
			Help: "Forgets about watched keys of a transaction"},
	}
}

// watchSpec answers with Tx.Version of each key.
var watchSpec = Spec{Name: "x.watch", Arity: -2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: -1, KeyStep: 1, Merge: Gather, run: versions}

var execSpec = Spec{Name: "x.exec", Arity: -4, Flags: Write | storedKeys, self: transact, keys: transactionKeys}

func versions(c *Context) {
	c.array(len(c.keys))
	for i := range c.keys {
		var digits [20]byte
		c.bulk(strconv.AppendUint(digits[:0], c.tx.Version(&c.keys[i]), 10))
	}
}

// Watched is a key of WATCH with what it was then.
type Watched struct {
	DB      int
	Key     []byte
	Version uint64
}

// Queued is a command inside MULTI.
type Queued struct {
	Spec *Spec
	Args [][]byte
	DB   int
}

// AppendTransaction appends the arguments of Table.Exec. They alias those of the commands.
func AppendTransaction(args [][]byte, watched []Watched, queue []Queued) [][]byte {
	number := func(n int) []byte { return strconv.AppendInt(nil, int64(n), 10) }
	keys := make([][]byte, 0, len(watched)+len(queue))
	var at []int
	for _, w := range watched {
		keys = append(keys, store.StoredKey(nil, w.DB, w.Key))
	}
	for _, q := range queue {
		at = q.Spec.KeysAt(q.Args, at[:0])
		for _, i := range at {
			keys = append(keys, store.StoredKey(nil, q.DB, q.Args[i]))
		}
	}
	args = append(args, []byte(execSpec.Name), number(len(keys)), number(len(watched)), number(len(queue)))
	args = append(args, keys...)
	for _, w := range watched {
		args = append(args, number(w.DB), w.Key, strconv.AppendUint(nil, w.Version, 10))
	}
	for _, q := range queue {
		args = append(args, number(q.DB), number(len(q.Args)))
		args = append(args, q.Args...)
	}
	return args
}

func transactionKeys(args [][]byte, at []int) []int {
	n, ok := resp.ParseInt(args[1])
	for i := int64(0); ok && i < n && 4+int(i) < len(args); i++ {
		at = append(at, 4+int(i))
	}
	return at
}

// transactionReader takes the arguments apart.
type transactionReader struct {
	args [][]byte
	bad  bool
}

func (r *transactionReader) take(n int) [][]byte {
	if n < 0 || n > len(r.args) {
		r.bad = true
		return nil
	}
	taken := r.args[:n:n]
	r.args = r.args[n:]
	return taken
}

func (r *transactionReader) number() int {
	a := r.take(1)
	if r.bad {
		return 0
	}
	v, ok := resp.ParseInt(a[0])
	if !ok || v < 0 || v > 1<<30 {
		r.bad = true
	}
	return int(v)
}

const errTransaction = "ERR malformed transaction of another node"

// transact is EXEC at the owner of the keys: it replies with the array of replies, or with null when a watched key has
// changed.
func transact(c *Context) {
	r := transactionReader{args: c.Args[1:]}
	keys, watched, commands := r.number(), r.number(), r.number()
	r.take(keys)
	watches := make([]Watched, 0, min(watched, len(r.args)))
	for range watched {
		w := Watched{DB: r.number()}
		pair := r.take(2)
		if r.bad {
			break
		}
		w.Key = pair[0]
		w.Version, _ = strconv.ParseUint(string(pair[1]), 10, 64)
		watches = append(watches, w)
	}
	queue := make([]Queued, 0, min(commands, len(r.args)))
	for range commands {
		q := Queued{DB: r.number()}
		if q.Args = r.take(r.number()); r.bad || len(q.Args) == 0 || q.DB >= store.Databases {
			r.bad = true
			break
		}
		if q.Spec = c.Table.Lookup(q.Args[0]); q.Spec == nil || q.Spec.Scope == InSession || !q.Spec.ArityOK(len(q.Args)) {
			c.fail("ERR the node that holds these keys does not know a command of the transaction: is it of another version?")
			return
		}
		queue = append(queue, q)
	}
	if r.bad {
		c.fail(errTransaction)
		return
	}
	c.exec(watches, queue)
}

// exec runs the queue under the locks of all its keys.
func (c *Context) exec(watched []Watched, queue []Queued) {
	db, args, spec := c.DB, c.Args, c.spec
	defer func() { c.DB, c.Args, c.spec = db, args, spec }()
	c.keyBuf = c.keyBuf[:0]
	all, growth := false, int64(0)
	keys := []store.Key{}
	var watches []store.Key
	for _, w := range watched {
		c.DB = w.DB
		watches = append(watches, c.Store.Key(c.stored(w.Key)))
	}
	for _, q := range queue {
		c.DB, c.Args = q.DB, q.Args
		c.locate(q.Spec)
		keys = append(keys, c.keys...)
		all = all || q.Spec.AllKeys() && !c.Peers || q.Spec.wide != nil && q.Spec.wide(c)
		if q.Spec.Flags&DenyOOM != 0 {
			growth += c.growth()
		}
	}
	keys = append(keys, watches...)
	if !c.hold(keys, all, growth, func() {
		for i := range watches {
			if c.tx.Version(&watches[i]) != watched[i].Version {
				c.Out = resp.AppendNullArray(c.Out, c.Proto)
				return
			}
		}
		c.array(len(queue))
		for _, q := range queue {
			c.DB = q.DB
			if !c.Call(q.Spec, q.Args) {
				c.fail("ERR " + q.Spec.Name + " asks every node for its keys, which cannot be part of a transaction in a cluster")
			}
		}
	}) {
		c.fail("EXECABORT Transaction discarded because of: " + errOOM)
	}
}
