package cachenode

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/cachenode/respserver"
	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// A command that waits for its keys, like BLPOP, stands in the queue of their owner, whichever node the client is connected
// to. So there is one queue, and an element goes to whoever's command came there first. The client's node keeps what it
// needs to send the command again: where the owner dies, or the keys move, the command waits on at the new owner, for what
// is left of its time.
//
// The owner says what becomes of it, so that a time that is over and an element that comes meet in one place. What it has
// taken for a client that is gone by then, whose node says so or breaks off, goes back to where it was.
//
// Keys of several owners are waited for at each of them. Before that they are looked at in turn, for the first key that
// has something counts. Where two then have something at the same time, one of them gets it back.

// wait is such a command of a session. Owned by the loop.
type wait struct {
	w     *worker
	front *command.Waiter // what the session sees of it
	began time.Time
	legs  []*leg // one for each run of keys with the same owner
	tries int    // legs that have been looked at in turn
	timer *netloop.Timer
	over  bool // the session has its reply, or is gone
}

// leg is the part of a wait at one owner.
type leg struct {
	of   *wait
	call call // to run it again: raw is its own, args are cut from it

	here  *command.Waiter // it waits in this node's store
	there *link           // or in another's: it was sent as request id
	id    uint64
}

// mayWait tells whether there is somebody who can wait for the reply as long as it takes.
func (c *call) mayWait() bool {
	switch c.to.(type) {
	case nil:
		return c.request != nil || c.guest
	case *respserver.Slot, *leg:
		return true
	}
	return c.guest
}

// wait leaves a command in the queues of this node's store.
func (w *worker) wait(c *call, at *command.Waiter) {
	if at.Until != 0 && c.waited > 0 {
		at.Until = max(1, at.Until-c.waited.Milliseconds())
	}
	switch {
	case c.guest:
		c.from.host(c, at)
	case w.n.cfg.Cluster == nil:
		c.later().(*respserver.Slot).Block(at)
	default:
		l := w.legOf(c)
		l.call.parked = time.Time{}
		l.here = at
		if at.Until != 0 {
			l.of.timer.Reset(max(0, time.Duration(min(at.Until-w.now(), maxWaitMilli))*time.Millisecond))
		}
		at.OnReply(func() { w.loop.Post(func() { l.servedHere(at) }) })
		if l.of.over {
			l.giveUp()
		}
	}
}

// maxWaitMilli bounds times in milliseconds so that they are durations.
const maxWaitMilli = 1 << 42

// legOf is the leg that c is, which is made when a session's command first comes to wait.
func (w *worker) legOf(c *call) *leg {
	if l, ok := c.to.(*leg); ok {
		return l
	}
	wt := w.newWait(c)
	l := wt.newLeg(c)
	wt.legs = append(wt.legs, l)
	wt.tries = len(wt.legs)
	c.to = l
	return l
}

// newWait makes the wait of a session's command, which has no legs yet.
func (w *worker) newWait(c *call) *wait {
	wt := &wait{w: w, began: w.loop.Now()}
	wt.front = command.NewFront(c.proto, wt.leave)
	wt.timer = w.loop.NewTimer(wt.late)
	c.later().(*respserver.Slot).Block(wt.front)
	return wt
}

// newLeg makes a leg of c.
func (wt *wait) newLeg(c *call) *leg {
	l := &leg{of: wt, call: *c}
	l.call.raw, l.call.args, l.call.request, l.call.to = bytes.Clone(c.raw), nil, nil, l
	return l
}

// leave is called when the session needs it no more.
func (wt *wait) leave() {
	wt.over = true
	wt.timer.Stop()
	for _, l := range wt.legs {
		l.giveUp()
	}
}

// giveUp takes the leg out of the queue that it stands in.
func (l *leg) giveUp() {
	if at := l.here; at != nil && at.End(nil) {
		l.here = nil
		at.Leave()
	} // else it was served: servedHere will come
	if l.there != nil && l.there.waits[l.id] == l {
		delete(l.there.waits, l.id)
		l.there.tell(peer.Waited, peer.FlagGivenUp, l.id)
	}
}

// late is called when the time is over here, or when the owner should have said so long ago.
func (wt *wait) late() {
	local := false
	for _, l := range wt.legs {
		if l.here != nil {
			l.here.TimeOut()
			local = true
		}
	}
	if !local {
		wt.front.TimeOut()
	}
}

// Resolve ends the wait, with what one of its legs has come to.
func (l *leg) Resolve(reply []byte) {
	wt := l.of
	if !wt.over && wt.tries < len(wt.legs) && isNull(reply) {
		wt.tries++
		wt.try()
		return
	}
	// A copy, as the session takes it later.
	if !wt.over && wt.front.End(bytes.Clone(reply)) {
		return
	}
	w := wt.w
	w.again(&l.call, func(c *call) ([]byte, bool) {
		w.giveBack(c.db, command.GiveBack(c.spec, c.args, reply))
		return nil, false
	})
}

// isNull tells whether a reply is a null of any kind.
func isNull(reply []byte) bool {
	h, err := resp.ReadHeader(reply)
	return err == nil && (h.Kind == '_' || (h.Kind == '*' || h.Kind == '$') && h.N < 0)
}

// giveBack runs the command that puts back what nobody has got, nil for none.
func (w *worker) giveBack(db int, back [][]byte) {
	if back == nil {
		return
	}
	c := call{spec: w.n.table.Lookup(back[0]), args: back, raw: resp.AppendCommand(nil, back), proto: 2, db: db, to: nobodyAsked{}}
	w.execute(&c, nil)
}

// servedHere takes the reply that at has got in this node's store.
func (l *leg) servedHere(at *command.Waiter) {
	switch {
	case l.here == at:
		l.here = nil
	case at.Reply() == nil && !at.Moved():
		return // given up
	}
	at.Leave()
	if at.Moved() {
		if l.here != nil {
			return // it waits anew already
		}
		l.call.raw = resp.AppendCommand(nil, at.Args())
		l.again()
		return
	}
	l.Resolve(at.Reply())
}

// again sends the leg to whoever owns its keys now.
func (l *leg) again() {
	w := l.of.w
	if l.of.over {
		return
	}
	if l.call.parked.IsZero() {
		l.call.parked = w.loop.Now()
	}
	l.run(w.execute)
}

// run runs the command of the leg by way.
func (l *leg) run(way func(*call, []byte) ([]byte, bool)) {
	w := l.of.w
	c := l.call
	c.waited = w.loop.Now().Sub(l.of.began)
	c.try = l.of.tries < len(l.of.legs)
	w.again(&c, func(c *call) ([]byte, bool) { return way(c, nil) })
}

// waitThere sends a command that may have to wait to the owner of its keys.
func (w *worker) waitThere(pl *placement, to *link, c *call) {
	l := w.legOf(c)
	if l.of.over {
		return
	}
	flags := peer.CommandFlags(c.proto, c.db, c.try, false)
	w.scratch = peer.AppendWait(w.scratch[:0], c.waited.Milliseconds(), c.raw)
	id := to.next
	if err := to.ask(peer.Wait, flags, pl.epoch, w.scratch, l); err != nil {
		if err == errUnreachable {
			if reply, done := w.park(c, nil); done {
				l.Resolve(reply)
			}
			return
		}
		l.Resolve(appendFailure(nil, err))
		return
	}
	l.there, l.id = to, id
	w.n.stats.forwarded.Add(1)
}

// answered takes the owner's first answer: a reply, or that the command waits.
func (l *leg) answered(w *worker, f *peer.Frame, err error) {
	switch {
	case err == errTimeout:
		l.Resolve(appendFailure(nil, err))
	case err != nil:
		l.again() // the owner is gone, or we are about to stop
	case f.Type == peer.Served:
		l.movedOn(f)
	case f.Type == peer.Waiting:
		left, raw, err := peer.ParseWait(f.Body)
		if err != nil || l.of.over {
			l.there.tell(peer.Waited, peer.FlagGivenUp, f.ID)
			return
		}
		l.call.raw, l.call.parked = append(l.call.raw[:0], raw...), time.Time{}
		l.there.waits[l.id] = l
		if t := l.of.timer; left > 0 && !t.Active() {
			t.Reset(time.Duration(min(left, maxWaitMilli))*time.Millisecond + w.n.cfg.PeerTimeout)
		}
	default:
		l.there.tell(peer.Waited, 0, f.ID) // if nobody wants it any more it is for us to give back
		l.Resolve(f.Body)
	}
}

// movedOn takes note that the node asked does not own the keys, or not any more. Mostly it has heard of a new ring before
// us, so the command waits for that.
func (l *leg) movedOn(f *peer.Frame) {
	if l.of.over {
		return
	}
	l.call.raw = append(l.call.raw[:0], f.Body...)
	if l.call.parked.IsZero() {
		l.call.parked = l.of.w.loop.Now()
	}
	l.run(l.of.w.park)
}

// served takes what the owner has for a command that waits there.
func (l *link) served(f *peer.Frame) {
	leg := l.waits[f.ID]
	delete(l.waits, f.ID)
	switch {
	case leg == nil || leg.of.over:
		l.tell(peer.Waited, peer.FlagGivenUp, f.ID)
	case f.Flags&peer.FlagMoved != 0:
		leg.movedOn(f)
	case leg.of.front.End(bytes.Clone(f.Body)):
		l.tell(peer.Waited, 0, f.ID)
	default:
		l.tell(peer.Waited, peer.FlagGivenUp, f.ID)
	}
}

// waitsAgain sends what has waited over a connection that broke to whoever can be reached.
func (l *link) waitsAgain() {
	waits := l.waits
	l.waits = map[uint64]*leg{}
	for _, leg := range waits {
		leg.again()
	}
}

// waitForAll has a session's command wait for keys of several owners. It reports false for one that cannot be taken apart.
func (w *worker) waitForAll(pl *placement, c *call) bool {
	if !c.spec.PopsFirst() || !c.mayWait() {
		return false
	}
	first, last := c.spec.PoppedKeys(c.args)
	owner := func(i int) int16 { return pl.owner[w.keys[i].Partition()] }
	var parts [][][]byte
	for from, i := 0, 0; i < len(w.keys); i++ {
		if i+1 < len(w.keys) && owner(i+1) == owner(i) {
			continue
		}
		args := slices.Concat(c.args[:first], c.args[first+from:first+i+1], c.args[last:])
		if first > 1 { // they are counted
			args[first-1] = strconv.AppendInt(nil, int64(i+1-from), 10)
		}
		parts = append(parts, args)
		from = i + 1
	}
	whole, _ := c.to.(*leg) // nil, unless the ring has changed, and parted what was together
	var wt *wait
	if whole != nil {
		wt = whole.of
	} else {
		wt = w.newWait(c)
	}
	var fresh []*leg
	for _, args := range parts {
		part := *c
		part.args, part.raw = args, resp.AppendCommand(nil, args)
		fresh = append(fresh, wt.newLeg(&part))
	}
	looking := whole == nil || wt.tries < len(wt.legs)
	at := max(0, slices.Index(wt.legs, whole))
	wt.legs = slices.Replace(wt.legs, at, min(at+1, len(wt.legs)), fresh...)
	if looking {
		wt.try() // the first part, for whole was the leg that was looked at
		return true
	}
	wt.tries = len(wt.legs)
	for _, l := range fresh { // the others stand in their queues
		l.again()
	}
	return true
}

// try looks at the next leg's keys, without waiting; behind the last they are waited for.
func (wt *wait) try() {
	if wt.tries < len(wt.legs) {
		wt.legs[wt.tries].run(wt.w.execute)
		return
	}
	for _, l := range wt.legs {
		if wt.over {
			return
		}
		l.run(wt.w.execute)
	}
}
