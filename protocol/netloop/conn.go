// HOT PATH

package netloop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
)

// Handler reacts to one connection. All calls come from the connection's loop.
type Handler interface {
	// Data gets every byte the connection holds: first what earlier calls did not consume, then what was just read. It
	// returns how many it consumed; the rest is kept and comes again, in front of the next bytes. b is valid only during
	// the call. Data is not called again for the same bytes until more arrive or Conn.Redeliver is called.
	Data(c *Conn, b []byte) (consumed int)
	// Drained tells that the out-queue, which had passed the high-water mark (Conn.Congested), is below the low one.
	Drained(c *Conn)
	// Closed is the last call: the descriptor is gone. err is nil when the other side closed in an orderly way.
	Closed(c *Conn, err error)
}

// directWrite is the size in bytes from which Write tries the socket at once, to save copying large results.
const directWrite = 16 << 10

// errWouldBlock is what the socket layer answers when there is nothing to read or no room to write.
var errWouldBlock = errors.New("operation would block")

// Conn is a connection that a loop carries. All methods are for its loop's goroutine only.
type Conn struct {
	loop    *Loop
	handler Handler
	sys     sysConn
	tls     *tlsState // nil for a plain connection

	held []byte // received and not consumed; borrowed from loop.bufs, nil when empty
	want int    // Data is not called before this many bytes are held

	out  []byte // to be written (plain bytes), borrowed from loop.bufs, nil when empty
	head int    // out[:head] is written, or sealed for it

	err   error // why it closed
	place int   // index in loop.conns

	closed    bool // no more events; Handler.Closed called or about to be
	dirty     bool // is in loop.dirty
	blocked   bool // the socket took no more: wait for it to become writable
	congested bool
	paused    bool // the handler asked not to read
	deaf      bool // the poller has been told not to report readability
	inData    bool // Handler.Data is on the stack
	again     bool // Redeliver was called meanwhile
	finishing bool // close once the queue is written
}

// Loop is the connection's owner.
func (c *Conn) Loop() *Loop { return c.loop }

// RemoteAddr is the other side's address; nil once it is gone. The kernel is asked, so that an idle connection need not
// keep it.
func (c *Conn) RemoteAddr() net.Addr {
	if c.closed {
		return nil
	}
	return c.sys.remoteAddr()
}

// LocalAddr is this side's address; nil once the connection is gone.
func (c *Conn) LocalAddr() net.Addr {
	if c.closed {
		return nil
	}
	return c.sys.localAddr()
}

// FD is the connection's descriptor, which stays the loop's; 0 once the connection is gone, and where there is none.
func (c *Conn) FD() int {
	if c.closed {
		return 0
	}
	return c.sys.descriptor()
}

// TLS is the state of the session of an encrypted connection, or nil.
func (c *Conn) TLS() *tls.ConnectionState {
	if c.tls == nil {
		return nil
	}
	state := c.tls.session.ConnectionState()
	return &state
}

// Closing tells that the connection takes and gives nothing any more, although Handler.Closed may be yet to come.
func (c *Conn) Closing() bool { return c.closed }

// Silent tells that the other side has sent nothing which is not delivered yet, and has not closed. It asks the kernel.
func (c *Conn) Silent() bool { return !c.closed && len(c.held) == 0 && c.sys.silent() }

// Held is what Data did not consume; valid until the next call on c.
func (c *Conn) Held() []byte { return c.held }

// Queued is the number of bytes given to Write that the kernel has not taken.
func (c *Conn) Queued() int {
	n := len(c.out) - c.head
	if c.tls != nil {
		n += len(c.tls.sealed) - c.tls.head
	}
	return n
}

// Memory is the number of bytes that the connection's buffers take.
func (c *Conn) Memory() int {
	n := cap(c.held) + cap(c.out)
	if c.tls != nil {
		n += cap(c.tls.sealed)
	}
	return n
}

// Congested tells that the out-queue passed the high-water mark and is not yet below the low one.
func (c *Conn) Congested() bool { return c.congested }

// Expect tells that Data can do nothing before n bytes are held: the connection gathers them without calling it, also
// beyond Config.MaxHeld. It lasts until that many were delivered. The caller bounds n.
func (c *Conn) Expect(n int) { c.want = n }

// Write queues b until the end of the tick. b is copied, unless it is large and nothing is queued: then the socket gets
// it at once, and only what it does not take is copied.
func (c *Conn) Write(b []byte) {
	if c.closed {
		return
	}
	if len(b) >= directWrite && len(c.out) == 0 && c.tls == nil && !c.blocked {
		n, err := c.sys.write(b)
		c.loop.stats.Writes++
		c.loop.stats.BytesOut += uint64(n)
		if err != nil && err != errWouldBlock {
			c.Close(err)
			return
		}
		if b = b[n:]; len(b) == 0 {
			return
		}
	}
	c.out = append(c.loop.bufs.grow(c.out, len(b)), b...)
	c.queued()
}

// Buffer lends the out-queue with room for n more bytes, to append to in place; SetBuffer gives it back:
//
//	b := c.Buffer(n)
//	b = append(b, …)
//	c.SetBuffer(b)
//
// Nothing else may be called on c in between. Appending more than n bytes is allowed.
func (c *Conn) Buffer(n int) []byte {
	return c.loop.bufs.grow(c.out, n)
}

// SetBuffer queues what was appended to the slice that Buffer returned.
func (c *Conn) SetBuffer(b []byte) {
	if c.closed {
		c.loop.bufs.put(b)
		c.out = nil
		return
	}
	c.out = b
	if len(b) > c.head {
		c.queued()
	}
}

// queued notes that the out-queue has grown.
func (c *Conn) queued() {
	if !c.dirty {
		c.dirty = true
		c.loop.dirty = append(c.loop.dirty, c)
	}
	if !c.congested && c.Queued() > c.loop.cfg.HighWater {
		c.congested = true
	}
}

// flush gives the out-queue to the socket, as much as it takes.
func (c *Conn) flush() {
	var err error
	if c.tls != nil {
		err = c.tls.flush(c)
	} else {
		err = c.flushPlain()
	}
	switch {
	case err == errWouldBlock:
		if !c.blocked {
			c.blocked = true
			c.watch()
		}
	case err != nil:
		c.Close(err)
		return
	default:
		if c.blocked {
			c.blocked = false
			c.watch()
		}
		if c.finishing {
			c.Close(nil)
			return
		}
	}
	if c.congested && c.Queued() <= c.loop.cfg.LowWater {
		c.congested = false
		c.loop.restless = true // the handler may have something for dispatch
		c.handler.Drained(c)
	}
}

func (c *Conn) flushPlain() error {
	for c.head < len(c.out) {
		n, err := c.sys.write(c.out[c.head:])
		c.loop.stats.Writes++
		c.loop.stats.BytesOut += uint64(n)
		c.head += n
		if err != nil {
			c.compact()
			return err
		}
	}
	c.releaseOut()
	return nil
}

// compact moves a mostly written out-queue to the front, so that a slow reader's queue does not creep upwards for ever.
func (c *Conn) compact() {
	if c.head > len(c.out)/2 {
		n := copy(c.out, c.out[c.head:])
		c.out = c.out[:n]
		c.head = 0
	}
}

func (c *Conn) releaseOut() {
	if c.out != nil {
		c.loop.bufs.put(c.out)
		c.out = nil
		c.head = 0
	}
}

// readable reads once and delivers.
func (c *Conn) readable() {
	if c.closed {
		return
	}
	if c.paused || c.full() {
		c.deaf = true
		c.watch()
		return
	}
	if c.tls != nil {
		c.tls.readable(c)
		return
	}
	buf := c.loop.shared
	if len(c.held) > 0 {
		c.held = c.loop.bufs.grow(c.held, max(4<<10, c.want-len(c.held)))
		buf = c.held[len(c.held):cap(c.held)]
	}
	n, err := c.sys.read(buf)
	if err != nil {
		if err != errWouldBlock {
			c.ended(err)
		}
		return
	}
	c.loop.stats.Reads++
	c.loop.stats.BytesIn += uint64(n)
	if len(c.held) > 0 {
		c.held = c.held[:len(c.held)+n]
		c.deliverHeld()
	} else {
		c.deliver(buf[:n])
	}
}

// full tells that no more may be held, unless the handler has asked for it.
func (c *Conn) full() bool {
	return len(c.held) >= c.loop.cfg.MaxHeld && len(c.held) >= c.want
}

// ended handles the end of what the other side sends. What is queued for it is offered to the socket once more: it may
// have closed only its half.
func (c *Conn) ended(err error) {
	if err == io.EOF {
		err = nil
		if !c.blocked {
			c.flush()
		}
	}
	c.Close(err)
}

// deliver hands b, which no held bytes precede, to the handler and keeps what it leaves.
func (c *Conn) deliver(b []byte) {
	rest := b
	if len(b) >= c.want {
		rest = b[c.callData(b):]
	}
	if len(rest) > 0 && !c.closed {
		c.held = append(c.loop.bufs.grow(c.held, max(len(rest), c.want)), rest...)
	}
	if c.again {
		c.deliverHeld()
	}
}

// deliverHeld hands the held bytes to the handler and keeps what it leaves.
func (c *Conn) deliverHeld() {
	for {
		c.again = false
		if c.closed || len(c.held) == 0 || len(c.held) < c.want {
			return
		}
		n := c.callData(c.held)
		switch {
		case c.closed:
			return
		case n == len(c.held):
			c.loop.bufs.put(c.held)
			c.held = nil
		case n > 0:
			c.held = c.held[:copy(c.held, c.held[n:])]
		}
		if !c.again {
			return
		}
	}
}

func (c *Conn) callData(b []byte) int {
	c.want = 0
	c.inData = true
	n := c.handler.Data(c, b)
	c.inData = false
	return n
}

// Redeliver calls Data with the held bytes, now, or right after the call of Data that is running.
func (c *Conn) Redeliver() {
	if c.inData {
		c.again = true
		return
	}
	c.deliverHeld()
	if c.deaf && !c.paused && !c.closed && !c.full() {
		c.deaf = false
		c.watch()
	}
}

// PauseReading stops reading. It costs nothing unless bytes do arrive. A reset by the other side is still noticed.
func (c *Conn) PauseReading() { c.paused = true }

// ResumeReading goes on reading.
func (c *Conn) ResumeReading() {
	c.paused = false
	if c.deaf && !c.closed {
		c.deaf = false
		c.watch()
	}
}

// watch tells the poller what the connection waits for.
func (c *Conn) watch() {
	if err := c.loop.poller.watch(c, !c.deaf && !c.finishing, c.blocked); err != nil {
		c.Close(err)
	}
}

// writable is called when a blocked socket has room again.
func (c *Conn) writable() {
	if !c.closed && c.blocked {
		c.flush()
	}
}

// CloseAfterFlush reads no more and closes when the queue is written.
func (c *Conn) CloseAfterFlush() {
	if c.closed || c.finishing {
		return
	}
	c.finishing = true
	c.paused = true
	if c.tls != nil {
		c.tls.closeNotify(c)
	}
	c.watch()
	if !c.dirty {
		c.dirty = true
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// Close closes now and drops what is queued. Handler.Closed follows before the loop calls anything else, not from within
// the call; behind a dispatch function or a failed write, when all of those are through. The first err wins; later calls do
// nothing.
func (c *Conn) Close(err error) {
	if c.closed {
		return
	}
	c.closed = true
	c.err = err
	l := c.loop
	l.poller.remove(c)
	c.sys.close()
	c.release()
	l.forget(c)
	l.closing = append(l.closing, c)
}

// release gives all buffers back. Bytes that Data is looking at stay valid: it may be the caller.
func (c *Conn) release() {
	if !c.inData && c.held != nil {
		c.loop.bufs.put(c.held)
	}
	c.held = nil
	c.releaseOut()
	c.tls.release(c)
}

// forget takes c out of the list of connections.
func (l *Loop) forget(c *Conn) {
	last := len(l.conns) - 1
	moved := l.conns[last]
	l.conns[c.place] = moved
	moved.place = c.place
	l.conns[last] = nil
	l.conns = l.conns[:last]
}

// Move lends the connection to another loop: from now on it is to's, whose goroutine calls attached before anything else
// happens to it, its end included. It must be idle: nothing held, nothing queued. The handler stays.
func (c *Conn) Move(to *Loop, attached func(*Conn)) {
	if len(c.held) > 0 || c.Queued() > 0 || c.inData || c.closed {
		panic("netloop: Move of a connection that is not idle")
	}
	c.loop.poller.remove(c)
	c.loop.forget(c)
	c.deaf, c.blocked = false, false
	c.releaseOut()
	ok := to.Post(func() {
		to.attach(c, func(c *Conn) Handler {
			attached(c)
			return c.handler
		})
	})
	if !ok {
		c.closed = true
		c.sys.close()
		c.err = ErrStopped
		c.loop.closing = append(c.loop.closing, c)
	}
}
