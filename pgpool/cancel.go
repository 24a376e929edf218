package pgpool

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// register gives the client the key that its cancel requests must carry.
func (p *Pooler) register(c *client) {
	var b [4]byte
	rand.Read(b[:]) // never fails
	c.secret = binary.BigEndian.Uint32(b[:])
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		p.last++
		c.pid = firstPID | p.last&(firstPID-1)
		if _, taken := p.keys[c.pid]; !taken {
			break
		}
	}
	p.keys[c.pid] = c
}

// cancel handles a cancel request and returns when it has had its effect: the client learns from the end of the connection
// that what it sends next is safe. A wrong key is ignored: the protocol has no answer to it.
func (p *Pooler) cancel(ctx context.Context, pid uint32, key []byte) {
	p.mu.Lock()
	c := p.keys[pid]
	p.mu.Unlock()
	if c == nil {
		return
	}
	var secret [4]byte
	binary.BigEndian.PutUint32(secret[:], c.secret)
	w := c.home.Load() // nil until adoption: then nothing can be running
	if subtle.ConstantTimeCompare(secret[:], key) != 1 || w == nil {
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
	if s := c.server; s != nil && s.owed.n > 0 && !c.closing {
		c.w.pooler.cancelServer(s, done)
		return
	}
	defer done()
	e := &pgwire.Error{Code: "57014", Message: "canceling statement due to user request",
		Detail: "It was waiting for a server connection and had not begun."}
	switch {
	case c.closing:
		return
	case c.listening():
		c.abandonListen(e)
		return
	case c.pool == nil:
		return
	}
	c.pool.waiting.remove(c)
	c.pool = nil
	if len(c.replay) == 0 {
		n, whole := unitLen(c.conn.Held())
		if !whole { // the rest of it would be taken for messages
			e.Severity = "FATAL"
			c.refuse(e)
			return
		}
		c.drop = n
	}
	c.replay = nil
	c.conn.SetBuffer(pgwire.AppendReadyForQuery(pgwire.AppendErrorResponse(c.conn.Buffer(256), e), pgwire.Idle))
	c.conn.Redeliver()
}

// cancelServer cancels what a server does and then calls done, in whatever goroutine. Until the request is through, the
// server keeps its client (settle), so that the signal cannot hit anybody else's query.
func (p *Pooler) cancelServer(s *server, done func()) {
	server, loop, pid, key := s.pool.group.shared.up.server(s.pool.index), s.pool.w.loop, s.pid, s.key
	if s.cancels > 0 { // one is under way
		done()
		return
	}
	started := p.task(func(ctx context.Context) {
		defer done()
		if err := server.sendCancel(ctx, p.tuning.Load().CancelWait, pid, key); err != nil && ctx.Err() == nil {
			p.log.Warn("cancel request failed", "server", server.Addr, "error", err)
		}
		loop.Post(func() {
			s.cancels--
			if s.owed.n == 0 && s.body == 0 && !s.conn.Closing() {
				s.settle()
			}
		})
	})
	if !started {
		done()
		return
	}
	s.cancels++
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
