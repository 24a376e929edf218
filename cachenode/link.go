// HOT PATH

package cachenode

import (
	"errors"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// Why a request to a peer came to nothing. errOlder, errBusy, errUnreachable and errSearching mean that it was never sent.
var (
	errOlder       = errors.New("the peer is of an older version, which does not know this request")
	errBusy        = errors.New("too much is outstanding with the peer")
	errUnreachable = errors.New("the peer cannot be reached")
	errLost        = errors.New("the connection to the peer broke")
	errTimeout     = errors.New("the peer did not answer in time")
	errStopped     = errors.New("this node is stopping")
	errSearching   = errors.New("this node looks for the others")
)

const (
	firstRedial = 50 * time.Millisecond
	maxRedial   = time.Second
)

// asker waits for the answer to a request.
type asker interface {
	// answered is called exactly once, on the loop, with a frame that is valid during the call, or with an error.
	answered(w *worker, f *peer.Frame, err error)
}

// link is one loop's connection to one peer, made when it is first needed. Owned by the loop. Requests are numbered in
// order and answered in any.
type link struct {
	w  *worker
	to *remote

	conn    *netloop.Conn // nil while there is none
	version int           // of the peer protocol, which both sides use: until there was a connection, what gossip tells
	dialing bool
	queue   []byte    // frames that wait for the connection
	redial  time.Time // no dial before
	pause   time.Duration
	retry   *netloop.Timer // dials again, also when nothing is to be sent
	heard   time.Time      // when the peer last answered anything

	// pending[first+i] waits for the answer to request base+i.
	pending []waiting
	first   int
	base    uint64
	next    uint64
	timer   *netloop.Timer

	waits map[uint64]*leg // commands that wait at the peer, by their requests

	// batch holds the entries that the tick has changed, see replicate.go.
	batch      []byte
	asking     *batchAsk
	distrusted time.Time // the peer is not waited for before
	closed     bool
}

type waiting struct {
	who      asker // nil once answered
	deadline time.Time
}

func newLink(w *worker, to *remote) *link {
	l := &link{w: w, to: to, waits: map[uint64]*leg{}, version: to.version}
	l.timer = w.loop.NewTimer(l.expire)
	l.retry = w.loop.NewTimer(l.dial)
	return l
}

// ask sends a request whose answer who waits for. body is copied. On an error nothing was sent and who is not called.
func (l *link) ask(t peer.Type, flags uint8, epoch uint64, body []byte, who asker) error {
	if t.Since() > l.version {
		return errOlder
	}
	if err := l.admit(len(body)); err != nil {
		return err
	}
	size := peer.HeaderSize + len(body)
	if l.conn != nil {
		b := peer.AppendHeader(l.conn.Buffer(size), t, flags, l.next, epoch, len(body))
		l.conn.SetBuffer(append(b, body...))
	} else {
		l.queue = append(peer.AppendHeader(l.queue, t, flags, l.next, epoch, len(body)), body...)
	}
	deadline := l.w.loop.Now().Add(l.w.n.cfg.PeerTimeout)
	if l.first == len(l.pending) {
		l.timer.Reset(l.w.n.cfg.PeerTimeout)
	}
	l.pending = append(l.pending, waiting{who, deadline})
	l.next++
	return nil
}

// admit checks the bounds, and dials where there is no connection yet.
func (l *link) admit(size int) error {
	switch {
	case l.closed:
		return errStopped
	case len(l.pending)-l.first >= l.w.n.cfg.MaxPeerRequests || size > peer.MaxBody:
		return errBusy
	}
	if l.conn != nil {
		if queued := l.conn.Queued(); queued > 0 && queued+size > l.w.n.cfg.MaxPeerBytes {
			return errBusy
		}
		return nil
	}
	if l.w.loop.Now().Before(l.redial) {
		return errUnreachable
	}
	l.dial()
	if l.pause > 0 {
		return errUnreachable // the last try failed: nothing is queued on the hope that this one will not
	}
	if len(l.queue) > 0 && len(l.queue)+size > l.w.n.cfg.MaxPeerBytes {
		return errBusy
	}
	return nil
}

// dial connects, unless that is done or under way.
func (l *link) dial() {
	if l.conn == nil && !l.dialing && !l.closed {
		l.dialing = true
		l.w.n.dialFor(l)
	}
}

// adopted takes over the connection that was dialled.
func (l *link) adopted(c *netloop.Conn, version int) netloop.Handler {
	l.dialing, l.version = false, version
	if l.closed {
		return nil
	}
	l.conn = c
	if l.w.n.tracking.Load() {
		// The peer has to know before it gets the first read.
		l.w.tellPeer(l.w.n.placement.Load(), l.to, peer.NewsTracking, peer.AppendMessage(nil, nil, []byte("1")))
	}
	l.w.tellSettingsTo(l.w.n.placement.Load(), l.to)
	c.Write(l.queue)
	l.queue = nil
	l.w.unpark()
	return l
}

// dialFailed puts the next try off.
func (l *link) dialFailed() {
	l.dialing = false
	l.lost(errUnreachable)
}

// Data gets the answers.
func (l *link) Data(c *netloop.Conn, b []byte) int {
	done := 0
	f := &l.w.answer
	for {
		var n, need int
		var err error
		*f, n, need, err = peer.Parse(b[done:])
		if err != nil {
			c.Close(err)
			return len(b)
		}
		if n == 0 {
			if done < len(b) {
				c.Expect(need)
			}
			return done
		}
		done += n
		l.heard, l.pause = l.w.loop.Now(), 0
		l.to.epoch.Store(f.Epoch)
		if who := l.take(f.ID); who != nil {
			who.answered(l.w, f, nil)
		} else if l.version >= peer.Waited.Since() && (f.Type == peer.Served || f.Type == peer.Waiting || f.Type == peer.Reply) {
			l.served(f)
		}
	}
}

// tell sends what is not answered, about request id.
func (l *link) tell(t peer.Type, flags uint8, id uint64) {
	if l.conn != nil {
		l.conn.SetBuffer(peer.AppendHeader(l.conn.Buffer(peer.HeaderSize), t, flags, id, l.w.n.placement.Load().epoch, 0))
	}
}

// take returns who waits for request id, nil when nobody does any more.
func (l *link) take(id uint64) asker {
	i := id - l.base
	if id < l.base || i >= uint64(len(l.pending)-l.first) {
		return nil
	}
	at := l.first + int(i)
	who := l.pending[at].who
	l.pending[at].who = nil
	l.trim()
	return who
}

// trim forgets the answered requests at the front.
func (l *link) trim() {
	for l.first < len(l.pending) && l.pending[l.first].who == nil {
		l.first++
		l.base++
	}
	switch {
	case l.first == len(l.pending):
		l.pending, l.first = l.pending[:0], 0
		l.timer.Stop()
	case l.first > 1024 && l.first > len(l.pending)/2:
		n := copy(l.pending, l.pending[l.first:])
		clear(l.pending[n:])
		l.pending, l.first = l.pending[:n], 0
	}
}

// expire fails the requests whose time is over. A peer that has answered nothing since the first of them was sent is
// stopped, or cut off: the connection closes, and until another one has brought an answer, each that brings none is
// followed by a longer pause, in which nobody waits for that peer in vain.
func (l *link) expire() {
	for l.first < len(l.pending) {
		w := &l.pending[l.first]
		if w.who != nil {
			if wait := w.deadline.Sub(l.w.loop.Now()); wait > 0 {
				l.timer.Reset(wait)
				return
			}
			who, sent := w.who, w.deadline.Add(-l.w.n.cfg.PeerTimeout)
			w.who = nil
			l.w.n.stats.timeouts.Add(1)
			who.answered(l.w, nil, errTimeout)
			if l.conn != nil && l.heard.Before(sent) {
				l.trim()
				l.conn.Close(errTimeout) // Closed does the rest
				return
			}
		}
		l.trim()
	}
}

// Drained is of no interest: the bound is in admit.
func (l *link) Drained(*netloop.Conn) {}

// Closed ends all that waits for the connection.
func (l *link) Closed(*netloop.Conn, error) {
	l.conn = nil
	l.lost(errLost)
}

// lost fails everything outstanding and puts the next dial off. That does not wait for something to send: what a write then
// changes would be the first that the backup misses.
func (l *link) lost(err error) {
	l.pause = min(max(2*l.pause, firstRedial), maxRedial)
	l.redial = l.w.loop.Now().Add(l.pause)
	if !l.closed {
		l.retry.Reset(l.pause)
	}
	l.queue = nil
	for l.first < len(l.pending) {
		who := l.pending[l.first].who
		l.pending[l.first].who = nil
		l.trim()
		if who != nil {
			who.answered(l.w, nil, err)
		}
	}
	l.waitsAgain()
}

// close ends the link for good.
func (l *link) close() {
	if l.closed {
		return
	}
	l.closed = true
	l.retry.Stop()
	l.flushBatch()
	if l.conn != nil {
		l.conn.Close(nil)
		return // Closed does the rest
	}
	l.lost(errStopped)
	l.timer.Stop()
}

// dialFor connects l in a goroutine of the node.
func (n *Node) dialFor(l *link) {
	started := n.spawn(func() {
		g, err := n.dial(n.lifetime, l.to)
		if err == nil {
			// An error means that the loop has stopped, and with it everyone who could care.
			l.w.loop.Adopt(g.Conn, func(c *netloop.Conn) netloop.Handler { return l.adopted(c, g.version) })
			return
		}
		n.cfg.Logger.Debug("cannot reach peer", "peer", l.to.name, "error", err)
		l.w.loop.Post(l.dialFailed)
	})
	if !started {
		l.w.loop.Post(l.dialFailed)
	}
}
