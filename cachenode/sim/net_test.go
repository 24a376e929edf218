//go:build portable || !linux

package sim

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// network carries bytes between hosts: nodes and clients. What happens to a piece of data is decided by the seed, the name
// of its connection and its number there, so that it does not depend on which goroutine comes by first. Pieces arrive at
// nanoseconds of their own: no two things happen at the same time, and the fake clock puts them in order.
//
// As over TCP, a connection delivers what was written in order and once, or breaks.
type network struct {
	w *world

	mu        sync.Mutex
	listeners map[string]*listener // by host
	conns     []*conn              // open ends, in the order in which they were made
	dialled   map[string]int       // by path
	paths     map[string]*path
	dark      map[string]bool // hosts that lost power: nothing leaves them, nobody is told
}

// path is one way between two hosts.
type path struct {
	delays
	stopped bool // what is sent waits
	waiting []func()
}

// delays are the bounds of the time that data takes.
type delays struct{ min, max time.Duration }

var quick = delays{20 * time.Microsecond, time.Millisecond}

func newNetwork(w *world) *network {
	return &network{w: w, listeners: map[string]*listener{}, dialled: map[string]int{}, paths: map[string]*path{}, dark: map[string]bool{}}
}

func (n *network) path(from, to string) *path {
	name := from + ">" + to
	p := n.paths[name]
	if p == nil {
		p = &path{delays: quick}
		n.paths[name] = p
	}
	return p
}

// slow sets how long data takes from one host to another.
func (n *network) slow(from, to string, d delays) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.path(from, to).delays = d
}

// stop keeps everything that is sent from one host to another until go on.
func (n *network) stop(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.path(from, to).stopped = true
}

// resume undoes stop: what has waited arrives soon, in order.
func (n *network) resume(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.path(from, to)
	p.stopped = false
	first := n.w.between(0, time.Millisecond, "resume", from, to, len(p.waiting))
	for i, deliver := range p.waiting {
		time.AfterFunc(first+time.Duration(i)*time.Microsecond, deliver)
	}
	p.waiting = nil
}

// heal makes all paths quick and open.
func (n *network) heal() {
	n.mu.Lock()
	names := make([][2]string, 0, len(n.paths))
	for _, from := range n.w.hosts {
		for _, to := range n.w.hosts {
			if n.paths[from+">"+to] != nil {
				names = append(names, [2]string{from, to})
			}
		}
	}
	n.mu.Unlock()
	for _, ends := range names {
		n.slow(ends[0], ends[1], quick)
		n.resume(ends[0], ends[1])
	}
}

// breakConns resets the open connections between two hosts, of those that the seed picks. What is on its way is lost.
func (n *network) breakConns(a, b string, share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		if c.accepted { // each pair once
			continue
		}
		if (c.host == a && c.to.host == b || c.host == b && c.to.host == a) && n.w.chance(share, "break", c.name) {
			time.AfterFunc(n.w.between(0, time.Millisecond, "break", c.name), c.breakOff)
		}
	}
}

// breakOff ends both ends.
func (c *conn) breakOff() {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if !c.dead {
		c.n.w.trace("network", "%s breaks", c.name)
		c.fail(syscall.ECONNRESET)
		c.to.fail(syscall.ECONNRESET)
	}
}

// crash ends what a host has open. Others hear of it as of a process that was killed: what it has sent arrives, and that it
// is gone. If its power went, nothing more arrives.
func (n *network) crash(host string, power bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dark[host] = power
	delete(n.listeners, host)
	for _, c := range n.conns {
		if c.host != host {
			continue
		}
		c.fail(net.ErrClosed)
		if !power {
			c.sendEnd(syscall.ECONNRESET)
		}
	}
}

// listen makes a host reachable.
func (n *network) listen(host string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &listener{n: n, host: host, backlog: make(chan *conn, 64), closed: make(chan struct{})}
	n.listeners[host] = l
	delete(n.dark, host)
	return l
}

// dial connects host from with the listener of another one.
func (n *network) dial(ctx context.Context, from, to string) (net.Conn, error) {
	n.mu.Lock()
	pathName := from + ">" + to
	n.dialled[pathName]++
	name := fmt.Sprintf("%s#%d", pathName, n.dialled[pathName])
	n.mu.Unlock()
	for _, way := range [][2]string{{from, to}, {to, from}} {
		if err := n.travel(ctx, way[0], way[1], name); err != nil {
			return nil, fmt.Errorf("dial %s: %w", to, err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[to]
	if l == nil || n.dark[from] {
		return nil, fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
	}
	near, far := n.ends(name, from, to)
	select {
	case l.backlog <- far:
	default:
		return nil, fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
	}
	n.conns = append(n.conns, near, far)
	return near, nil
}

// pair connects a client with a node, at once.
func (n *network) pair(name, client, to string) (near, far net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, b := n.ends(name, client, to)
	n.conns = append(n.conns, a, b)
	return a, b
}

func (n *network) ends(name, from, to string) (near, far *conn) {
	end := func(host, peer string) *conn {
		return &conn{n: n, name: name, host: host, peer: peer, ready: sync.NewCond(&n.mu)}
	}
	near, far = end(from, to), end(to, from)
	near.to, far.to = far, near
	far.accepted = true
	return near, far
}

// travel waits as long as a packet takes one way.
func (n *network) travel(ctx context.Context, from, to, name string) error {
	for try := 0; ; try++ {
		n.mu.Lock()
		p := n.path(from, to)
		wait, lost := n.w.between(p.min, p.max, "dial", name, from, try), p.stopped || n.dark[to]
		n.mu.Unlock()
		if lost {
			wait += 100 * time.Millisecond // and it is sent again
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		if !lost {
			return nil
		}
	}
}

type listener struct {
	n       *network
	host    string
	backlog chan *conn
	closed  chan struct{}
	once    sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.n.mu.Lock()
		defer l.n.mu.Unlock()
		if l.n.listeners[l.host] == l {
			delete(l.n.listeners, l.host)
		}
		for {
			select {
			case c := <-l.backlog:
				c.fail(net.ErrClosed)
				c.sendEnd(syscall.ECONNRESET)
			default:
				return
			}
		}
	})
	return nil
}

func (l *listener) Addr() net.Addr { return addr(l.host) }

// addr is a host's name as an address.
type addr string

func (addr) Network() string  { return "sim" }
func (a addr) String() string { return string(a) }

// conn is one end of a connection. All fields but the constant ones are under network.mu.
type conn struct {
	n        *network
	name     string
	host     string
	peer     string
	to       *conn
	accepted bool

	ready    *sync.Cond
	received []byte
	err      error // what reads end with, once received is empty
	dead     bool  // closed here, or broken
	sent     int   // pieces
	last     time.Time
	deadline time.Time
	alarm    *time.Timer
}

func (c *conn) Read(b []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	for {
		switch {
		case c.dead:
			return 0, c.err
		case len(c.received) > 0:
			k := copy(b, c.received)
			c.received = c.received[k:]
			return k, nil
		case c.err != nil:
			return 0, c.err
		case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		c.ready.Wait()
	}
}

// Write never blocks: the other side's buffer is as large as it takes.
func (c *conn) Write(b []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.dead {
		return 0, c.err
	}
	piece := append([]byte(nil), b...)
	c.send(len(b), func(to *conn) { to.received = append(to.received, piece...) })
	return len(b), nil
}

// send has the other end changed when the data gets there.
func (c *conn) send(size int, arrive func(to *conn)) {
	if c.n.dark[c.host] {
		return
	}
	c.sent++
	p := c.n.path(c.host, c.peer)
	at := time.Now().Add(c.n.w.between(p.min, p.max, c.name, c.host, c.sent))
	if !at.After(c.last) {
		at = c.last.Add(time.Microsecond + time.Duration(c.sent%997))
	}
	c.last = at
	number := c.sent
	var deliver func()
	deliver = func() {
		c.n.mu.Lock()
		defer c.n.mu.Unlock()
		if p.stopped {
			p.waiting = append(p.waiting, deliver)
			return
		}
		to := c.to
		if to.dead || to.err != nil || c.n.dark[c.host] {
			return
		}
		c.n.w.arrival(c, number, size)
		arrive(to)
		to.ready.Broadcast()
	}
	time.AfterFunc(time.Until(at), deliver)
}

// sendEnd tells the other end that this one is gone.
func (c *conn) sendEnd(err error) { c.send(0, func(to *conn) { to.err = err }) }

// fail ends this end now.
func (c *conn) fail(err error) {
	if c.dead {
		return
	}
	c.dead, c.err, c.received = true, err, nil
	if c.alarm != nil {
		c.alarm.Stop()
	}
	for i, other := range c.n.conns {
		if other == c {
			c.n.conns = append(c.n.conns[:i:i], c.n.conns[i+1:]...)
			break
		}
	}
	c.ready.Broadcast()
}

func (c *conn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.dead {
		return net.ErrClosed
	}
	c.fail(net.ErrClosed)
	c.sendEnd(io.EOF)
	return nil
}

// SetDeadline bounds reads; writes do not block.
func (c *conn) SetDeadline(t time.Time) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.dead {
		return net.ErrClosed
	}
	c.deadline = t
	if c.alarm != nil {
		c.alarm.Stop()
		c.alarm = nil
	}
	if !t.IsZero() {
		c.alarm = time.AfterFunc(time.Until(t), func() {
			c.n.mu.Lock()
			defer c.n.mu.Unlock()
			c.ready.Broadcast()
		})
	}
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }
func (c *conn) SetWriteDeadline(time.Time) error  { return nil }
func (c *conn) LocalAddr() net.Addr               { return addr(c.host) }
func (c *conn) RemoteAddr() net.Addr              { return addr(c.peer) }
