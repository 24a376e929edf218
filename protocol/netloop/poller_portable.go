//go:build !linux || portable

package netloop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// chunk is the size in bytes of one read and one write of the portable variant.
const chunk = 16 << 10

// lingerLimit bounds how long a closed connection's last write may take.
const lingerLimit = 5 * time.Second

// poller imitates readiness with two goroutines per connection: one reads a chunk ahead and reports it as readable, the
// other writes what the loop gave it and reports the room as writable. The loop above cannot tell the difference.
type poller struct {
	notify chan struct{} // capacity 1: something is in events, or wake
	timer  *time.Timer
	batch  []event
	done   sync.WaitGroup

	mu     sync.Mutex
	events []event // under mu
}

type event struct {
	c        *Conn
	readable bool // otherwise writable
}

func (p *poller) open() error {
	p.notify = make(chan struct{}, 1)
	p.timer = time.NewTimer(time.Hour)
	return nil
}

func (p *poller) close() {
	p.timer.Stop()
	p.done.Wait()
}

func (p *poller) report(e event) {
	p.mu.Lock()
	p.events = append(p.events, e)
	p.mu.Unlock()
	p.wake()
}

func (p *poller) wake() {
	select {
	case p.notify <- struct{}{}:
	default:
	}
}

func (p *poller) wait(timeout time.Duration) error {
	p.take()
	if len(p.batch) > 0 || timeout == 0 {
		return nil
	}
	if timeout < 0 {
		timeout = time.Hour
	}
	p.timer.Reset(timeout)
	select {
	case <-p.notify:
	case <-p.timer.C:
	}
	p.take()
	return nil
}

func (p *poller) take() {
	p.mu.Lock()
	p.batch = append(p.batch, p.events...)
	clear(p.events)
	p.events = p.events[:0]
	p.mu.Unlock()
}

func (p *poller) deliver() (events int) {
	defer func() {
		clear(p.batch)
		p.batch = p.batch[:0]
	}()
	for _, e := range p.batch {
		if !e.c.sys.belongs(p) {
			continue
		}
		events++
		switch {
		case e.c.closed:
		case !e.readable:
			e.c.sys.writing = false
			e.c.writable()
		case e.c.sys.wantRead:
			e.c.readable()
			e.c.sys.again(e.c)
		}
		e.c.loop.finishClosing()
	}
	return events
}

func (p *poller) add(c *Conn) error {
	s := &c.sys
	s.wantRead = true
	if s.p != nil { // moved here from another loop
		s.mu.Lock()
		s.p = p
		s.mu.Unlock()
		// The end of the last write may be lost with its old poller. The writer may still be at it: it keeps that buffer.
		s.writing, s.outbox = false, nil
		p.report(event{c, true})
		return nil
	}
	s.p = p
	p.done.Add(2)
	go s.reader(c, &p.done)
	go s.writer(c, &p.done)
	s.more <- struct{}{}
	return nil
}

// watch notes what c waits for. A blocked connection has a write under way, whose end reports it writable.
func (p *poller) watch(c *Conn, read, _ bool) error {
	c.sys.wantRead = read
	c.sys.again(c)
	return nil
}

func (p *poller) remove(*Conn) {}

// sysConn imitates a non-blocking socket.
type sysConn struct {
	nc   net.Conn
	more chan struct{} // capacity 1: permission to read the next chunk
	send chan []byte   // capacity 1: what to write next; closed at the end

	// owned by the loop
	wantRead bool
	writing  bool
	closed   bool
	outbox   []byte

	mu      sync.Mutex
	p       *poller // under mu
	pending []byte  // under mu: read and not yet taken
	err     error   // under mu: what ended the reader or the writer
}

func adopt(nc net.Conn) (*Conn, error) {
	c := &Conn{}
	if session, ok := nc.(*tls.Conn); ok {
		t, ok := session.NetConn().(*tlsState)
		if !ok {
			return nil, errors.New("TLS connection was not made by TLSServer or TLSClient")
		}
		t.session = session
		c.tls = t
		nc = t.Conn
	}
	nc.SetDeadline(time.Time{}) // what bounded the handshake
	c.sys.nc = nc
	c.sys.more = make(chan struct{}, 1)
	c.sys.send = make(chan []byte, 1)
	return c, nil
}

func (s *sysConn) reader(c *Conn, done *sync.WaitGroup) {
	defer done.Done()
	buf := make([]byte, chunk)
	for range s.more {
		n, err := s.nc.Read(buf)
		s.mu.Lock()
		s.pending = buf[:n]
		if err != nil && s.err == nil {
			s.err = err
		}
		p := s.p
		s.mu.Unlock()
		p.report(event{c, true})
		if err != nil {
			return
		}
	}
}

func (s *sysConn) writer(c *Conn, done *sync.WaitGroup) {
	defer done.Done()
	defer s.nc.Close()
	for b := range s.send {
		_, err := s.nc.Write(b)
		s.mu.Lock()
		if err != nil && s.err == nil {
			s.err = err
		}
		p := s.p
		s.mu.Unlock()
		p.report(event{c, false})
	}
}

// belongs tells whether the connection is, still or already, watched by p.
func (s *sysConn) belongs(p *poller) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p == p
}

// again reports c as readable once more if there is something left to take.
func (s *sysConn) again(c *Conn) {
	s.mu.Lock()
	left := s.wantRead && !s.closed && (len(s.pending) > 0 || s.err != nil)
	p := s.p
	s.mu.Unlock()
	if left {
		p.report(event{c, true})
	}
}

func (s *sysConn) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) > 0 {
		n := copy(b, s.pending)
		s.pending = s.pending[n:]
		if len(s.pending) == 0 && s.err == nil {
			s.more <- struct{}{}
		}
		return n, nil
	}
	if s.err != nil {
		if errors.Is(s.err, net.ErrClosed) {
			return 0, io.EOF
		}
		return 0, s.err
	}
	return 0, errWouldBlock
}

// silent tells that nothing has been read yet, and that no end was met. A byte that only the kernel has is not seen.
func (s *sysConn) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) == 0 && s.err == nil
}

func (s *sysConn) write(b []byte) (int, error) {
	if s.writing {
		return 0, errWouldBlock
	}
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if err != nil && err != io.EOF {
		return 0, err
	}
	s.outbox = append(s.outbox[:0], b[:min(len(b), chunk)]...)
	s.writing = true
	s.send <- s.outbox
	if len(s.outbox) < len(b) {
		return len(s.outbox), errWouldBlock
	}
	return len(s.outbox), nil
}

// close ends both goroutines; a write under way still gets its chance.
func (s *sysConn) close() {
	if s.closed {
		return
	}
	s.closed = true
	if s.p == nil { // never watched
		s.nc.Close()
		return
	}
	s.nc.SetDeadline(time.Now().Add(lingerLimit))
	if t, ok := s.nc.(interface{ CloseRead() error }); ok {
		t.CloseRead()
	}
	close(s.send)
	close(s.more)
}

func (s *sysConn) remoteAddr() net.Addr { return s.nc.RemoteAddr() }
func (s *sysConn) localAddr() net.Addr  { return s.nc.LocalAddr() }
func (s *sysConn) descriptor() int      { return 0 }
