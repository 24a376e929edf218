package command

import (
	"math"
	"math/big"
	"sync"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// A command that finds nothing and may block is left behind as a Waiter in the queues of its keys, before their shards
// are let go, so that no write is missed. Who then writes one of them runs the waiter's command, still holding the
// shards: what was written goes to who has waited longest, and nobody can come in between.

// Waiter is a command that waits. It ends once: served, or by End.
type Waiter struct {
	// Until is when it has waited long enough, in unix milliseconds; 0 for never.
	Until int64

	at    store.Waiter
	spec  *Spec
	args  [][]byte
	proto int
	db    int
	gone  string // the error for when a key that it waits for is deleted; empty: it goes on waiting

	// mu is taken with shards held, and nothing is taken under it.
	mu    sync.Mutex
	over  bool
	known bool // the reply may be fetched
	moved bool
	reply []byte
	wake  func()

	leave func() // of a front
}

// NewFront makes a waiter that stands in no queue, for a command that waits elsewhere: whoever knows what becomes of it
// calls End. Leave calls leave.
func NewFront(proto int, leave func()) *Waiter { return &Waiter{proto: proto, leave: leave} }

// OnReply has wake called once, by any goroutine, when Reply is there; at once if it is.
func (w *Waiter) OnReply(wake func()) {
	w.mu.Lock()
	w.wake = wake
	known := w.known
	w.mu.Unlock()
	if known {
		wake()
	}
}

// Reply is what the command has come to, once OnReply has told so.
func (w *Waiter) Reply() []byte { return w.reply }

// End makes reply the command's, unless it was served or ended before: then it reports false.
func (w *Waiter) End(reply []byte) bool {
	w.mu.Lock()
	if w.over {
		w.mu.Unlock()
		return false
	}
	w.over, w.reply = true, reply
	w.mu.Unlock()
	w.tell()
	return true
}

// TimeOut is End with the reply for having waited in vain.
func (w *Waiter) TimeOut() bool { return w.End(resp.AppendNullArray(nil, w.proto)) }

// Move ends it without a reply, because its keys are another node's by now: there the command has to wait on, with Args. It
// reports false when it has ended before.
func (w *Waiter) Move() bool {
	w.mu.Lock()
	if w.over {
		w.mu.Unlock()
		return false
	}
	w.over, w.moved = true, true
	w.mu.Unlock()
	w.tell()
	return true
}

// Moved tells, once OnReply has told so, that it was ended by Move.
func (w *Waiter) Moved() bool { return w.moved }

// Args are the command's, which may have changed when it began to wait: $ of XREAD is the last ID of then.
func (w *Waiter) Args() [][]byte { return w.args }

// Leave gives up the places in the queues. Whoever owns w calls it once, after it has ended.
func (w *Waiter) Leave() {
	if w.leave != nil {
		w.leave()
		return
	}
	w.at.Leave()
}

func (w *Waiter) tell() {
	w.mu.Lock()
	w.known = true
	wake := w.wake
	w.wake = nil
	w.mu.Unlock()
	if wake != nil {
		wake()
	}
}

// Deliver tells waiters that they were served.
func Deliver(served []*Waiter) {
	for i, w := range served {
		w.tell()
		served[i] = nil
	}
}

const (
	errTimeoutRange = "ERR timeout is out of range"
	errWaiting      = "ERR too many clients are waiting for keys"
	errAway         = "ERR nothing is there, and waiting is not possible here: these keys belong to another node"
)

// timeoutSeconds reads argument i as the seconds a command may block, 0 for ever, and gives the time when they are over.
// When it is none, the error is replied.
func (c *Context) timeoutSeconds(i int) (until int64, ok bool) {
	f, ok := parseFloat(c.Args[i])
	if !ok {
		c.fail("ERR timeout is not a float or out of range")
		return 0, false
	}
	f = new(big.Float).Mul(f, big.NewFloat(1000))
	ms, rest := f.Int64()
	switch {
	case f.Cmp(big.NewFloat(1<<63)) >= 0:
		ms = math.MinInt64 // Redis takes it for negative
	case rest == big.Below:
		ms++ // any part of a millisecond counts as one
	}
	return c.timeout(ms)
}

// timeoutMillis is timeoutSeconds for an argument in milliseconds.
func (c *Context) timeoutMillis(i int) (until int64, ok bool) {
	ms, ok := resp.ParseInt(c.Args[i])
	if !ok {
		c.fail("ERR timeout is not an integer or out of range")
		return 0, false
	}
	return c.timeout(ms)
}

func (c *Context) timeout(ms int64) (until int64, ok bool) {
	switch {
	case ms < 0:
		c.fail("ERR timeout is negative")
		return 0, false
	case ms > math.MaxInt64-c.NowMilli:
		c.fail(errTimeoutRange)
		return 0, false
	case ms == 0:
		return 0, true
	}
	return c.NowMilli + ms, true
}

// waits tells whether the command may look at key i, of those it waits for: when it is being served, only at the one that
// was written.
func (c *Context) waits(i int) bool { return !c.serving || c.served == i }

// block makes the command wait until one of the keys from first to before last is written and holds kind. It is then run
// again with the same arguments, which it may have replaced in c.Args, and touches no other of these keys than the one
// written; keys from last on are held as well. Where nothing may wait, the reply is a null array.
func (c *Context) block(kind store.Kind, until int64, first, last int) {
	switch {
	case c.serving:
		c.unserved = true
		return
	case c.together, c.Try:
		c.Out = resp.AppendNullArray(c.Out, c.Proto)
		return
	case !c.MayBlock:
		c.fail(errAway)
		return
	}
	w := &Waiter{Until: until, spec: c.spec, args: make([][]byte, len(c.Args)), proto: c.Proto, db: c.DB}
	size := 0
	for _, a := range c.Args {
		size += len(a)
	}
	buf := make([]byte, 0, size)
	for i, a := range c.Args {
		start := len(buf)
		buf = append(buf, a...)
		w.args[i] = buf[start:len(buf):len(buf)]
	}
	w.at.Kind, w.at.For = kind, w
	if !c.tx.Wait(&w.at, c.keys[first:last], c.keys[last:], size+24*len(c.Args)) {
		c.fail(errWaiting)
		return
	}
	c.Waiter = w
}

// ServeWaiting serves those who wait for a key, in stored form, that was written otherwise than by a command.
func (c *Context) ServeWaiting(stored []byte) {
	c.reset()
	c.keys = append(c.keys[:0], c.Store.Key(stored))
	c.tx.Begin(c.Store, c.keys, c.NowMilli, 0)
	c.tx.Ready = append(c.tx.Ready, c.keys[0])
	c.end()
}

// serve runs the commands of those who wait for the keys that were written, in the order in which they came, as long as
// there is something for them. What they write in turn is served as well.
func (c *Context) serve() {
	args, proto, db, out, spec := c.Args, c.Proto, c.DB, c.Out, c.spec
	c.serving = true
	for i := 0; i < len(c.tx.Ready); i++ {
		key := c.tx.Ready[i]
		for p := c.tx.First(&key); p != nil; {
			next := p.Next()
			if it := c.tx.Peek(&key); it != nil && it.Kind() == p.Waiter().Kind {
				c.serveOne(p)
			} else {
				c.miss(p)
			}
			p = next
		}
	}
	c.serving = false
	c.Args, c.Proto, c.DB, c.Out, c.spec = args, proto, db, out, spec
}

// miss ends a wait for what is no longer there, if that is an error.
func (c *Context) miss(p *store.Place) {
	w := p.Waiter().For.(*Waiter)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.gone == "" {
		return
	}
	w.over, w.reply = true, resp.AppendError(nil, w.gone)
	c.tx.Leave(p)
	c.Served = append(c.Served, w)
}

// forsake ends the waits for what was flushed, where that is an error. No shard is held.
func (c *Context) forsake() {
	c.Store.Waiters(func(int) bool { return true }, func(at *store.Waiter) {
		if w := at.For.(*Waiter); w.gone != "" && c.flushed>>w.db&1 != 0 {
			w.End(resp.AppendError(nil, w.gone))
		}
	})
}

func (c *Context) serveOne(p *store.Place) {
	w := p.Waiter().For.(*Waiter)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		c.tx.Leave(p)
		return
	}
	c.Args, c.Proto, c.DB, c.Out = w.args, w.proto, w.db, nil
	c.served, c.unserved = p.At(), false
	c.locate(w.spec)
	w.spec.run(c)
	if c.unserved {
		return
	}
	w.over, w.reply = true, c.Out
	c.tx.Leave(p)
	c.Served = append(c.Served, w)
}
