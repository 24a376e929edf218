package cachenode

import (
	"bytes"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// guest is a command of another node's client that may wait for keys of this node. Owned by the loop.
type guest struct {
	in     *inbound
	id     uint64
	spec   *command.Spec
	db     int
	args   [][]byte
	waiter *command.Waiter // nil while it does not wait
	timer  *netloop.Timer
	gone   bool     // nobody wants its reply
	sent   bool     // the reply, and whether it was taken is not known yet
	back   [][]byte // puts back what the reply has
}

// waited executes a command that a peer's client waits for. What is not ours by our ring the peer is told to take elsewhere:
// passing it on would make a third node wait for it.
func (w *worker) waited(in *inbound, f *peer.Frame) error {
	w.n.lastCall.Store(w.now())
	w.n.stats.executedForPeers.Add(1)
	waited, raw, err := peer.ParseWait(f.Body)
	if err != nil {
		return err
	}
	var limits resp.Limits
	args, size, _, err := w.parser.Parse(raw, &limits)
	if err != nil || size != len(raw) || len(args) == 0 {
		return peer.ErrBody
	}
	spec := w.n.table.Lookup(args[0])
	if spec == nil || spec.Flags&command.Blocking == 0 || !spec.ArityOK(len(args)) {
		in.reply(f.ID, resp.AppendError(nil, "ERR the node that holds this key does not know the command: is it of another version?"))
		return nil
	}
	c := call{spec: spec, args: args, raw: raw, proto: f.Proto(), db: f.Database(), from: in, id: f.ID,
		guest: true, try: f.Flags&peer.FlagTry != 0, waited: time.Duration(min(waited, maxWaitMilli)) * time.Millisecond}
	pl := w.n.placement.Load()
	w.locate(&c)
	for i := range w.keys {
		if pl.owner[w.keys[i].Partition()] != self {
			w.turnAway(&c, nil)
			return nil
		}
	}
	if len(in.guests) >= w.n.cfg.MaxPeerRequests {
		w.n.stats.busy.Add(1)
		in.reply(f.ID, appendFailure(nil, errBusy))
		return nil
	}
	g := &guest{in: in, id: f.ID, spec: spec, db: c.db, args: make([][]byte, len(args))}
	for i, arg := range args {
		g.args[i] = bytes.Clone(arg)
	}
	c.to = g
	reply, done := w.runHere(pl, &c, w.scratch[:0])
	if done {
		w.scratch = reply
		g.Resolve(reply)
	}
	return nil
}

// turnAway tells the peer that the keys are not ours, or not any more.
func (w *worker) turnAway(c *call, out []byte) (reply []byte, done bool) {
	c.from.send(peer.Served, peer.FlagMoved, c.id, c.raw)
	return out, false
}

// Resolve sends the reply of a command that need not wait, and keeps what would undo it until the peer has it.
func (g *guest) Resolve(reply []byte) {
	g.in.reply(g.id, reply)
	if g.back = command.GiveBack(g.spec, g.args, bytes.Clone(reply)); g.back == nil {
		return
	}
	if g.in.closed {
		g.in.w.giveBack(g.db, g.back)
		return
	}
	g.sent, g.in.guests[g.id] = true, g
}

// host lets a command wait here, and tells its node so.
func (in *inbound) host(c *call, at *command.Waiter) {
	w := in.w
	g := c.to.(*guest)
	g.waiter = at
	in.guests[g.id] = g
	left := int64(0)
	g.timer = w.loop.NewTimer(func() { at.TimeOut() })
	if at.Until != 0 {
		left = min(max(1, at.Until-w.now()), maxWaitMilli)
		g.timer.Reset(time.Duration(max(0, min(at.Until-w.now(), maxWaitMilli))) * time.Millisecond)
	}
	in.send(peer.Waiting, 0, g.id, peer.AppendWait(nil, left, resp.AppendCommand(nil, at.Args())))
	at.OnReply(func() { w.loop.Post(g.served) })
	if in.closed {
		g.dismiss()
	}
}

// served sends the reply, and keeps what would undo it until the peer has it.
func (g *guest) served() {
	in := g.in
	if in.guests[g.id] != g {
		return // dismissed
	}
	g.timer.Stop()
	g.waiter.Leave()
	if g.waiter.Moved() {
		delete(in.guests, g.id)
		in.send(peer.Served, peer.FlagMoved, g.id, resp.AppendCommand(nil, g.waiter.Args()))
		return
	}
	g.back = command.GiveBack(g.spec, g.args, g.waiter.Reply())
	if g.gone {
		delete(in.guests, g.id)
		in.w.giveBack(g.db, g.back)
		return
	}
	in.send(peer.Served, 0, g.id, g.waiter.Reply())
	if g.sent = g.back != nil; !g.sent {
		delete(in.guests, g.id)
	}
}

// dismiss ends a guest whose client, or whose node, is gone.
func (g *guest) dismiss() {
	switch {
	case g.sent:
		delete(g.in.guests, g.id)
		g.in.w.giveBack(g.db, g.back)
	case g.waiter.End(nil):
		delete(g.in.guests, g.id)
		g.waiter.Leave()
		g.timer.Stop()
	default:
		g.gone = true // it was served just now: served takes it from here
	}
}

// concluded takes note of what has become of a reply, or that nobody waits for it.
func (in *inbound) concluded(f *peer.Frame) {
	g := in.guests[f.ID]
	switch {
	case g == nil:
	case f.Flags&peer.FlagGivenUp != 0:
		g.dismiss()
	case g.sent:
		delete(in.guests, f.ID)
	}
}

// dismissAll ends all guests of a connection.
func (in *inbound) dismissAll() {
	for _, g := range in.guests {
		g.dismiss()
	}
}

// dismissStrangers ends the guests of nodes that are no members any more. One of those that lives all the same is told to
// ask again.
func (w *worker) dismissStrangers(pl *placement) {
	for in := range w.inbounds {
		if r := pl.find(in.from.Node); r != nil && r.instance == in.from.Instance {
			continue
		}
		for _, g := range in.guests {
			if g.sent {
				g.dismiss()
			} else {
				g.waiter.Move()
			}
		}
	}
}
