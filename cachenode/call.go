// HOT PATH

package cachenode

import (
	"slices"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/near"
	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// replyTo is where a reply goes that could not be given at once. Resolve is called exactly once, on the loop, and copies.
type replyTo interface{ Resolve(reply []byte) }

// call is a command on its way: from a session, from a peer, or a part of one of those.
type call struct {
	spec  *command.Spec
	args  [][]byte // valid while the caller is on the stack
	raw   []byte   // as RESP; as long
	proto int
	db    int
	// part: only what this node owns counts, for a command that asks several; of SCAN, only partitions below limit.
	part  bool
	limit int
	fresh bool // what the owner says now is asked for, not a copy
	keep  bool // a copy of the reply is to be kept; hash is the key's
	hash  uint64

	request *sessionRequest // of a session
	from    *inbound        // of a peer
	id      uint64
	to      replyTo                                        // of a part, or of any call once it waits
	permit  func(spec *command.Spec, args [][]byte) string // for scripts
	parked  time.Time                                      // since when it waits for an owner that can be reached
	last    bool                                           // a peer has passed it on to us, as to the owner

	// Of a command that may wait for its keys: see wait.go.
	guest  bool          // a peer's client waits for it
	try    bool          // look, and do not wait
	waited time.Duration // elsewhere, before
}

// author names the session whose command it is, 0 where that is not known any more.
func (c *call) author() uint64 {
	if c.request == nil {
		return 0
	}
	return c.request.Author()
}

// later keeps the reply's place and returns where it goes.
func (c *call) later() replyTo {
	switch {
	case c.to != nil:
	case c.request != nil:
		c.to, c.request = c.request.Defer(), nil
	default:
		c.to = &peerReply{c.from, c.id}
	}
	return c.to
}

// peerReply is the place of a reply to a peer.
type peerReply struct {
	in *inbound
	id uint64
}

// Resolve sends it.
func (r *peerReply) Resolve(reply []byte) { r.in.reply(r.id, reply) }

// warm has the processor load what commands on keys will touch, where they are executed here.
func (w *worker) warm(db int, keys [][]byte) {
	const longest = 256 // who has longer keys has other worries
	pl := w.n.placement.Load()
	w.keys, w.keyBytes = w.keys[:0], w.keyBytes[:0]
	for _, key := range keys {
		if len(key) > longest {
			continue
		}
		if k := w.n.store.Key(w.stored(db, key)); pl.owner[k.Partition()] == self {
			w.keys = append(w.keys, k)
		}
	}
	w.n.store.Warm(w.keys)
}

// execute runs a session's command wherever it belongs.
func (w *worker) execute(c *call, out []byte) (reply []byte, done bool) {
	if w.stopped {
		return appendFailure(out, errStopped), true
	}
	pl := w.n.placement.Load()
	if len(pl.peers) == 0 {
		if !w.n.searched() {
			return w.park(c, out)
		}
		pl = w.n.placement.Load() // whom we have found meanwhile is in it
	}
	if pl.refuses(c) {
		return resp.AppendError(out, noReplicas), true
	}
	if len(pl.peers) == 0 {
		return w.run(pl, c, out)
	}
	if c.permit != nil {
		return resp.AppendError(out, "NOPERM in a cluster scripts are only for users who may do everything: "+
			"the node that runs them does not know who asks"), true
	}
	return w.route(pl, c, out)
}

// route finds the node for a command and sends it there.
func (w *worker) route(pl *placement, c *call, out []byte) (reply []byte, done bool) {
	switch c.spec.Scope {
	case command.ByKeys:
	case command.OnAll:
		return w.invalidate(pl, c, out)
	case command.Everywhere:
		return w.everywhere(pl, c, out)
	case command.ByCursor:
		return w.scan(pl, c, out)
	case command.Anywhere:
		if c.spec.Flags&command.ReadOnly != 0 {
			return w.anywhere(pl, c, out)
		}
		return w.run(pl, c, out)
	default:
		return w.run(pl, c, out)
	}
	w.locate(c)
	if len(w.keys) == 0 {
		return w.run(pl, c, out)
	}
	place := pl.owner[w.keys[0].Partition()]
	for i := 1; i < len(w.keys); i++ {
		if pl.owner[w.keys[i].Partition()] != place {
			return w.split(pl, c, out)
		}
	}
	if place == self || c.last && w.loop.Now().Sub(c.parked) > holdFor {
		return w.runHere(pl, c, out)
	}
	if w.n.near != nil && c.spec == w.n.get {
		if reply, done = w.fromNear(pl, pl.peers[place], c, out); done {
			return reply, true
		}
	}
	return w.forward(pl, place, c, out)
}

// locate puts the keys of c in w.keys. They are valid as long as the arguments, until the next call.
func (w *worker) locate(c *call) {
	w.keys, w.keyBytes = w.keys[:0], w.keyBytes[:0]
	w.at = c.spec.KeysAt(c.args, w.at[:0])
	for _, i := range w.at {
		if c.spec.StoredKeys() {
			w.keys = append(w.keys, w.n.store.Key(c.args[i]))
			continue
		}
		w.keys = append(w.keys, w.n.store.Key(w.stored(c.db, c.args[i])))
	}
}

// stored gives the stored form of a key, in w.keyBytes where it is another than the key's own.
func (w *worker) stored(db int, key []byte) []byte {
	// Growing leaves the keys that were cut before where they are.
	w.keyBytes = slices.Grow(w.keyBytes, len(key)+1)
	start := len(w.keyBytes)
	stored := store.StoredKey(w.keyBytes[start:], db, key)
	if len(stored) != len(key) {
		w.keyBytes = w.keyBytes[:start+len(stored)]
	}
	return stored
}

// forward sends a command to its owner. Its keys are in w.keys.
func (w *worker) forward(pl *placement, place int16, c *call, out []byte) (reply []byte, done bool) {
	if c.guest {
		return w.turnAway(c, out)
	}
	l := w.link(pl.peers[place])
	if l.conn == nil && !l.closed && !c.part {
		// Nothing is entrusted to a connection that may never come about: the command waits here, and may go elsewhere.
		l.admit(0)
		return w.park(c, out)
	}
	if c.spec.Flags&command.Blocking != 0 && l.version >= peer.Wait.Since() && c.mayWait() {
		w.waitThere(pl, l, c)
		return out, false
	}
	f := w.newForward()
	f.missing = w.keepForMiss(c)
	flags := peer.CommandFlags(c.proto, c.db, c.part, c.from != nil)
	if w.n.near != nil {
		flags |= w.attend(f, l.to, c)
	}
	if err := l.ask(peer.Command, flags, pl.epoch, c.raw, f); err != nil {
		w.replied(f, nil)
		w.freeForward(f)
		switch {
		case err == errUnreachable && !c.part:
			return w.park(c, out)
		case err == errBusy:
			w.n.stats.busy.Add(1)
		}
		return w.fail(c, out, err), true
	}
	f.to = c.later()
	w.n.stats.forwarded.Add(1)
	return out, false
}

// forwarded waits for the reply of the owner.
type forwarded struct {
	to      replyTo
	missing *call // what to answer as a miss when the owner does not; else nil

	// What near.go has to do then.
	keeps   bool
	asked   near.Asked
	writes  []uint64 // hashes of the keys
	flushes *near.Source
}

func (f *forwarded) answered(w *worker, answer *peer.Frame, err error) {
	if err == nil && answer.Type != peer.Reply {
		answer, err = nil, errLost
	}
	reply := w.replied(f, answer)
	switch {
	case err == nil:
		f.to.Resolve(reply)
	case f.missing != nil:
		f.missing.to = f.to
		w.again(f.missing, func(c *call) ([]byte, bool) { return w.fail(c, nil, err), true })
	default:
		w.scratch = appendFailure(w.scratch[:0], err)
		f.to.Resolve(w.scratch)
	}
	w.freeForward(f)
}

func (w *worker) newForward() *forwarded {
	if last := len(w.spareForwards) - 1; last >= 0 {
		f := w.spareForwards[last]
		w.spareForwards = w.spareForwards[:last]
		return f
	}
	return &forwarded{}
}

func (w *worker) freeForward(f *forwarded) {
	*f = forwarded{asked: f.asked, writes: f.writes[:0]}
	if cap(f.writes) > maxSpareWrites || f.asked.Size() > maxSpareKey {
		return
	}
	if len(w.spareForwards) < 1024 {
		w.spareForwards = append(w.spareForwards, f)
	}
}

// runHere runs a command on this node's store, after it has got the keys that may not be here. The keys are in w.keys.
func (w *worker) runHere(pl *placement, c *call, out []byte) (reply []byte, done bool) {
	for i := range w.keys {
		if !w.n.settled(pl, w.keys[i].Partition()) {
			return w.pullFirst(pl, c, out)
		}
	}
	return w.run(pl, c, out)
}

// run runs a command on this node's store as it is. The reply of a write waits for the other holders.
func (w *worker) run(pl *placement, c *call, out []byte) (reply []byte, done bool) {
	start := len(out)
	x := &w.ctx
	x.Store, x.Args, x.Proto, x.DB, x.NowMilli, x.Out = w.n.store, c.args, c.proto, c.db, w.now(), out
	clustered := len(pl.peers) > 0
	x.Track = clustered || w.n.reports()
	x.Notify = command.Event(w.n.notify.Load())
	x.HoldServed = clustered
	x.MayBlock, x.Try = c.mayWait(), c.try
	x.Peers = clustered
	x.Owns, x.Local, x.Permit, x.Refuse = nil, nil, c.permit, ""
	if pl.minority {
		x.Refuse = noReplicas
	}
	if clustered && c.spec.Composite() {
		w.declare(c)
	}
	if c.part {
		w.counting, w.limit = pl, c.limit
		x.Owns = w.owns
	}
	c.spec.Exec(x)
	out, x.Out, x.Args = x.Out, nil, nil
	if x.Waiter != nil {
		w.wait(c, x.Waiter)
		return out, false
	}
	if len(x.Events) > 0 || x.Track {
		w.report(pl, x, c.author())
	}
	if c.spec.Flags&command.Write == 0 {
		return out, true
	}
	if !clustered && w.n.placement.Load() != pl {
		w.strayed(c) // we have met the others meanwhile
	}
	if !clustered || len(x.Changed()) == 0 {
		return out, true
	}
	pending := w.replicate(pl, x.Changed())
	if pending == nil {
		command.Deliver(x.Served)
		return out, true
	}
	pending.served = append(pending.served, x.Served...)
	if c.to == nil && c.request == nil {
		pending.peer = peerReply{c.from, c.id}
		pending.to = &pending.peer
	} else {
		pending.to = c.later()
	}
	pending.reply = append(pending.reply, out[start:]...)
	return out[:start], false
}

// declare lets a script, or a transaction, touch the keys it names, and what else this node holds.
func (w *worker) declare(c *call) {
	w.locate(c)
	w.declared = w.declared[:0]
	for i := range w.keys {
		w.declared = append(w.declared, w.keys[i].Partition())
	}
	w.ctx.Local = w.local
}

// strayed marks the partitions that a command has changed on this node only.
func (w *worker) strayed(c *call) {
	if c.spec.Composite() {
		for p := range ring.Partitions {
			w.n.stray[p].Store(true)
		}
		return
	}
	w.locate(c)
	for i := range w.keys {
		if p := w.keys[i].Partition(); !store.IsLocal(p) {
			w.n.stray[p].Store(true)
		}
	}
}

// runLater runs a command whose keys have been pulled. What was pulled by an older placement than ours proves nothing:
// the command then looks for its owner once more.
func (w *worker) runLater(pl *placement, c *call) {
	w.again(c, func(c *call) ([]byte, bool) {
		if w.stopped || w.n.placement.Load() != pl {
			return w.execute(c, nil)
		}
		return w.run(pl, c, nil)
	})
}

// command executes what a peer has forwarded. If its ring is another one than ours and by ours the key is not our own, we
// pass it on. A node that gets it so, and is not the owner by its own ring either, waits for its ring to change: of the two,
// one takes the other for the owner, and if both executed what they get, with a look at what the other one has, they would
// overwrite each other's changes. Of 7,700 increments of 30 counters while a node joined and another left 100 were lost to
// nodes that executed at once, and a few to those that asked first. One that waits in vain for holdFor, because the rings do
// not become one, executes in any case.
func (w *worker) command(in *inbound, f *peer.Frame) error {
	w.n.lastCall.Store(w.now())
	w.n.stats.executedForPeers.Add(1)
	var limits resp.Limits
	args, size, _, err := w.parser.Parse(f.Body, &limits)
	if err != nil || size != len(f.Body) || len(args) == 0 {
		return peer.ErrBody
	}
	spec := w.n.table.LookupForPeer(args[0])
	if spec == nil || spec.Scope == command.InSession || !spec.ArityOK(len(args)) {
		in.reply(f.ID, resp.AppendError(nil, "ERR the node that holds this key does not know the command: is it of another version?"))
		return nil
	}
	c := call{spec: spec, args: args, raw: f.Body, proto: f.Proto(), db: f.Database(), part: f.Flags&peer.FlagLocalOnly != 0, from: in, id: f.ID}
	pl := w.n.placement.Load()
	if pl.refuses(&c) {
		in.reply(f.ID, resp.AppendError(nil, noReplicas))
		return nil
	}
	var reply []byte
	var done bool
	w.locate(&c)
	switch last := f.Flags&peer.FlagLastHop != 0; {
	case c.part || len(w.keys) == 0:
		reply, done = w.runPart(pl, &c, w.scratch[:0])
	case f.Flags&peer.FlagCopy != 0 && w.copied(pl, &c, in):
		return nil
	case !last && pl.owner[w.keys[0].Partition()] != self:
		reply, done = w.forward(pl, pl.owner[w.keys[0].Partition()], &c, w.scratch[:0])
	case last && pl.owner[w.keys[0].Partition()] != self && f.Epoch != pl.epoch:
		c.last = true
		reply, done = w.park(&c, w.scratch[:0])
	default:
		reply, done = w.runHere(pl, &c, w.scratch[:0])
	}
	if done {
		w.scratch = reply
		in.reply(f.ID, reply)
	}
	return nil
}

const hintUnreachable = "HINT: try again; cache_prefixes with unreachable: miss has reads find nothing instead"

// appendFailure appends what a client is told when a peer has failed.
func appendFailure(out []byte, err error) []byte {
	switch err {
	case errBusy:
		return resp.AppendError(out, "BUSY too much is outstanding with the node that holds this key, try again later")
	case errTimeout:
		return resp.AppendError(out, "TRYAGAIN the node that holds this key did not answer in time. "+hintUnreachable)
	case errSearching:
		return resp.AppendError(out, "LOADING this node has just started and looks for the others of its cluster, try again")
	case errStopped:
		return resp.AppendError(out, "CLUSTERDOWN this node is stopping. HINT: use another one")
	}
	return resp.AppendError(out, "TRYAGAIN the node that holds this key is gone, another takes its place within seconds. "+hintUnreachable)
}
