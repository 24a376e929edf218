package pgpool

import (
	"encoding/binary"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Once a transaction that notifies is answered, everybody who listens hears of it before the answer to whatever they ask
// next, and a notification carries the id of the session that sent it. Both are so with a direct connection, and both need
// to know that the listener has heard what a transaction has sent: a fence goes through the listener, behind it, while the
// client keeps its server and waits for ReadyForQuery. Only transactions with NOTIFY or pg_notify in their text have one,
// and only while somebody listens; what a trigger notifies comes when it comes, with the id of its server process.

// fence is an empty query on its way through the listener.
type fence struct{ client *client }

// notifying is called when the client sends something that may notify.
func (c *client) notifying() {
	c.notifies = true
	c.server.notifier.Store(c.pid)
}

// fenceOff sends a fence after a transaction that may have notified. It reports whether ReadyForQuery waits for it.
func (s *server) fenceOff(c *client) bool {
	c.notifies = false
	shared := s.pool.group.shared
	if shared.listening.Load() == 0 {
		return false
	}
	f := &fence{client: c}
	home := c.w.pooler.workers[0]
	if !home.loop.Post(func() { home.passFence(shared, f) }) {
		return false
	}
	c.fence = f
	return true
}

// passFence sends a fence through the group's listener, if there still is one.
func (w *worker) passFence(shared *sharedGroup, f *fence) {
	if l := w.listeners[shared]; l != nil && l.conn != nil {
		l.ask(&listenRequest{fence: f})
		return
	}
	f.post()
}

// post tells the client that the fence is through.
func (f *fence) post() { f.client.w.loop.Post(f.through) }

// through goes on with the client: all that its transaction has notified has been handed to those who listen.
func (f *fence) through() {
	c := f.client
	if c.fence != f {
		return // it has left, or its server has
	}
	c.fence = nil
	s := c.server
	if c.closing || s == nil || s.conn.Closing() {
		return
	}
	c.conn.Write(c.readyIdle())
	if s.owed.n == 0 && s.body == 0 {
		s.settle()
	}
	if c.server == s {
		c.pump()
	}
}

// nameNotifier puts the client's id into a notification, heard at addr, that is known to be from one.
func (p *Pooler) nameNotifier(frame []byte, addr string) {
	if len(frame) < pgwire.HeaderLen+4 {
		return
	}
	pid := frame[pgwire.HeaderLen : pgwire.HeaderLen+4]
	p.mu.Lock()
	s := p.backends[process{addr, binary.BigEndian.Uint32(pid)}]
	p.mu.Unlock()
	if s == nil {
		return
	}
	if id := s.notifier.Load(); id != 0 {
		binary.BigEndian.PutUint32(pid, id)
	}
}
