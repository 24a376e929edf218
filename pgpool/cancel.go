package pgpool

import (
	"context"
	"fmt"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// maxCancels bounds the cancel requests that go to servers at once, over all pools: a storm of them must not be one of
// logins. Those beyond it wait for their turn, until cancel_wait_timeout; there is at most one for each server.
const maxCancels = 16

// maxPassings bounds the cancel requests that are on their way to siblings at once. Those beyond wait for their turn.
const maxPassings = 64

// Siblings are the other sidecars of the cluster. A cancel request is a connection of its own, and whatever spreads
// connections over the sidecars may bring it to another one than its client's.
type Siblings interface {
	// Cancel takes a cancel request to those siblings that have this node id, and returns when it has had its effect, or
	// when ctx ends. The key is as good as a password for its query: it is for nobody else, and for no log.
	Cancel(ctx context.Context, node uint16, pid uint32, secret []byte)
}

// cancel handles a cancel request and returns when it has had its effect: the client learns from the end of the connection
// that what it sends next is safe. A wrong key is ignored: the protocol has no answer to it.
func (p *Pooler) cancel(ctx context.Context, pid uint32, secret []byte) {
	if p.CancelHere(ctx, pid, secret) || p.cfg.Siblings == nil {
		return
	}
	node, ok := nodeOf(pid)
	if !ok {
		return
	}
	select {
	case p.passings <- struct{}{}:
		defer func() { <-p.passings }()
		p.cfg.Siblings.Cancel(ctx, node, pid, secret)
	case <-ctx.Done():
	}
}

// CancelHere handles a cancel request, maybe a sibling's, if it is for a client of this pooler. It returns when it has had
// its effect, or when ctx ends.
func (p *Pooler) CancelHere(ctx context.Context, pid uint32, secret []byte) (known bool) {
	owner := p.holder(pid, secret)
	if owner == nil {
		return false
	}
	owner.cancelQuery(ctx)
	return true
}

func (c *client) process() *process { return c.runsOn.Load() }

// cancelQuery cancels what the client waits for.
func (c *client) cancelQuery(ctx context.Context) {
	w := c.home.Load() // nil until adoption: then nothing can be running
	if w == nil {
		return
	}
	done := make(chan struct{})
	if !w.loop.Post(func() { c.cancelled(func() { close(done) }) }) {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// cancelled handles a cancel request for c: a unit that waits is answered here, one that runs is cancelled on its server.
// done is called once, when it is over.
func (c *client) cancelled(done func()) {
	if c.rides() { // nothing of it runs yet
		c.cancelRide(cancelledInQueue.with())
		done()
		return
	}
	s := c.server
	begun := c.inFlight > 0 || c.midUnit
	switch {
	case s == nil || s.owed.n == 0 || c.closing:
	case !s.ours() && !s.inspecting():
		s.hit = true
		c.w.pooler.cancelServer(s, done)
		return
	case begun: // the client's unit is behind a query of ours, which is not to be hit in its place
		s.cancelNext = append(s.cancelNext, done)
		return
	}
	defer done()
	e := cancelledInQueue.with()
	switch {
	case c.closing:
		return
	case c.listening():
		c.abandonListen(e)
		return
	case c.pool != nil || c.awaits:
		if c.pool != nil {
			c.pool.waiting.remove(c)
			c.pool = nil
		} else {
			c.awaitsNoMore()
		}
		if c.tx != nil || len(c.replay) > 0 { // of which the rest may be held
			c.giveUp(e)
			return
		}
	case s == nil || begun || s.owed.n == 0 || s.restoring || len(c.conn.Held())+len(c.replay) == 0:
		return
	case c.tx != nil || len(c.replay) > 0: // it waits for the answer to our BEGIN, or to what goes before that or a replay
		s.abandon()
		c.giveUp(e)
		return
	default: // it waits for the answer to a query of ours
		c.waits, c.granted = false, false
	}
	n, whole := unitLen(c.conn.Held())
	if !whole { // the rest of it would be taken for messages
		e.Severity = "FATAL"
		c.refuse(e)
		return
	}
	c.drop = int32(n)
	c.conn.SetBuffer(pgwire.AppendReadyForQuery(pgwire.AppendErrorResponse(c.conn.Buffer(256), e), pgwire.Idle))
	c.conn.Redeliver()
}

// cancelRide answers the client's unit, which is behind another's, with an error. What the server says to it is for nobody.
func (c *client) cancelRide(e *pgwire.Error) {
	c.server.unseat(c)
	c.inFlight = 0
	c.binds, c.executes, c.bound, c.wrote = 0, 0, nil, false
	c.conn.SetBuffer(pgwire.AppendReadyForQuery(pgwire.AppendErrorResponse(c.conn.Buffer(256), e), pgwire.Idle))
	c.released()
}

// cancelDue does what was put off until the answers to queries of ours are in.
func (s *server) cancelDue() {
	all := s.cancelNext
	s.cancelNext = nil
	done := func() {
		for _, done := range all {
			done()
		}
	}
	if s.client == nil || s.owed.n == 0 || s.conn.Closing() {
		done()
		return
	}
	s.hit = true
	s.pool.w.pooler.cancelServer(s, done)
}

// cancelServer cancels what a server does and then calls done, in whatever goroutine. Until the request is through, the
// server keeps its client (settle), so that the signal cannot hit anybody else's query, and gets nothing new of its
// client's either (heldByCancel): PostgreSQL may signal twice for one request (signal_child in postmaster.c).
func (p *Pooler) cancelServer(s *server, done func()) {
	remote := s.conn.RemoteAddr()
	if remote == nil { // it is gone, or its peer has reset it: there is nothing to cancel
		done()
		return
	}
	server, loop, pid, key := s.pool.group.shared.up.server(s.pool.index).at(remote), s.pool.w.loop, s.pid, s.key
	if s.cancels > 0 { // one is under way
		done()
		return
	}
	s.disperse() // or the signal could be for one of them
	wait, unit := s.pool.group.shared.policy.Load().CancelWait, s.queries
	started := p.task(func(ctx context.Context) {
		defer done()
		ctx, stop := context.WithTimeout(ctx, wait)
		defer stop()
		// A query that ends while its cancel request waits for a turn needs none.
		running := func() bool {
			answer := make(chan bool, 1)
			if !loop.Post(func() { answer <- s.owed.n > 0 && s.queries == unit }) {
				return false
			}
			select {
			case yes := <-answer:
				return yes
			case <-ctx.Done():
				return false
			}
		}
		err := p.sendCancel(ctx, server, pid, key, running)
		if err != nil && p.ctx.Err() == nil {
			p.log.Warn("cancel request failed", "server", server.Addr, "error", err)
		}
		loop.Post(s.cancelOver)
	})
	if !started {
		done()
		return
	}
	s.cancels++
}

// heldByCancel tells whether what the client sends waits until a cancel request is through. What is left of a unit whose
// messages the server has not all answered goes out: the server may need it, as it does a Sync.
func (c *client) heldByCancel() bool {
	s := c.server
	return s != nil && s.cancels > 0 && (s.owed.n == 0 || !c.midUnit)
}

// cancelOver is called when a cancel request is through: client and server go on.
func (s *server) cancelOver() {
	s.cancels--
	if s.conn.Closing() {
		return
	}
	if s.owed.n == 0 && s.body == 0 {
		s.settle()
	}
	if c := s.client; c != nil && !c.closing {
		c.pump()
	}
}

// sendCancel has a server cancel what its process pid does, in its turn, and waits until that has had its effect. If it
// had to wait for its turn, needed tells whether there still is something to cancel.
func (p *Pooler) sendCancel(ctx context.Context, server *Server, pid uint32, key []byte, needed func() bool) error {
	select {
	case p.cancels <- struct{}{}:
	default:
		select {
		case p.cancels <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d other cancel requests: %w", maxCancels, ctx.Err())
		}
		if !needed() {
			<-p.cancels
			return nil
		}
	}
	defer func() { <-p.cancels }()
	return server.sendCancel(ctx, pid, key)
}

// unitLen is the size of the unit at the start of b; whole is false if it does not end there.
func unitLen(b []byte) (n int, whole bool) {
	for pos := 0; len(b)-pos >= pgwire.HeaderLen; {
		typ, size, ok := pgwire.Header(b[pos:])
		if !ok || len(b)-pos < size {
			break
		}
		pos += size
		if typ == pgwire.Query || typ == pgwire.Sync || typ == pgwire.FunctionCall {
			return pos, true
		}
	}
	return 0, false
}
