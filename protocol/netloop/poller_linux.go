// HOT PATH

//go:build linux && !portable

package netloop

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is epoll, level-triggered. An eventfd wakes it.
type poller struct {
	epfd   int
	wakeFD int
	events []unix.EpollEvent
	ready  int
	byFD   []*Conn
}

func (p *poller) open() error {
	var err error
	if p.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	if p.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(p.epfd)
		return fmt.Errorf("eventfd: %w", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(p.wakeFD)}
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, p.wakeFD, &ev); err != nil {
		p.close()
		return fmt.Errorf("epoll_ctl eventfd: %w", err)
	}
	p.events = make([]unix.EpollEvent, 256)
	return nil
}

func (p *poller) close() {
	unix.Close(p.epfd)
	unix.Close(p.wakeFD)
}

// wait blocks until something is ready, for at most timeout (negative: for ever).
func (p *poller) wait(timeout time.Duration) error {
	p.ready = 0
	ms := -1
	if timeout >= 0 {
		ms = int(min((timeout+time.Millisecond-1)/time.Millisecond, 1<<30))
	}
	n, err := unix.EpollWait(p.epfd, p.events, ms)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("epoll_wait: %w", err)
	}
	p.ready = max(n, 0)
	return nil
}

// deliver calls the connections that the last wait found ready, and returns how many. A connection closed meanwhile is no
// longer in byFD, and a new one cannot take its place before the mailbox runs.
func (p *poller) deliver() (events int) {
	for i := range p.ready {
		ev := &p.events[i]
		fd := int(ev.Fd)
		if fd == p.wakeFD {
			var b [8]byte
			unix.Read(p.wakeFD, b[:]) // only resets the counter
			continue
		}
		c := p.byFD[fd]
		if c == nil {
			continue
		}
		events++
		if ev.Events&unix.EPOLLOUT != 0 {
			c.writable()
		}
		switch {
		case ev.Events&unix.EPOLLIN != 0:
			c.readable()
		case ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
			c.Close(errReset)
		}
		c.loop.finishClosing()
	}
	if p.ready == len(p.events) && p.ready < 4096 {
		p.events = make([]unix.EpollEvent, 2*len(p.events))
	}
	p.ready = 0
	return events
}

// errReset is of a connection that the kernel calls dead while nobody reads it.
var errReset = errors.New("connection reset")

// wake makes a blocked wait return. Any goroutine may call it.
func (p *poller) wake() {
	one := [8]byte{1}
	unix.Write(p.wakeFD, one[:]) // fails only when the counter is full, and then it wakes as well
}

func (p *poller) add(c *Conn) error {
	fd := c.sys.fd
	for len(p.byFD) <= fd {
		p.byFD = append(p.byFD, make([]*Conn, fd+64-len(p.byFD))...)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	p.byFD[fd] = c
	return nil
}

func (p *poller) watch(c *Conn, read, write bool) error {
	var mask uint32
	if read {
		mask |= unix.EPOLLIN
	}
	if write {
		mask |= unix.EPOLLOUT
	}
	ev := unix.EpollEvent{Events: mask, Fd: int32(c.sys.fd)}
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_MOD, c.sys.fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// remove forgets c. The descriptor stays open.
func (p *poller) remove(c *Conn) {
	fd := c.sys.fd
	if fd < len(p.byFD) && p.byFD[fd] == c {
		p.byFD[fd] = nil
		unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, fd, nil) // fails only for a descriptor that is not there
	}
}

// sysConn is a non-blocking socket.
type sysConn struct{ fd int }

// adopt takes the descriptor out of the Go runtime's poller: a duplicate survives, nc is closed.
func adopt(nc net.Conn) (*Conn, error) {
	c := &Conn{}
	raw := nc
	if session, ok := nc.(*tls.Conn); ok {
		t, ok := session.NetConn().(*tlsState)
		if !ok {
			return nil, errors.New("TLS connection was not made by TLSServer or TLSClient")
		}
		t.session = session
		c.tls = t
		raw = t.Conn
	}
	sc, ok := raw.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T has no descriptor", raw)
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	var dupErr error
	if err := rc.Control(func(fd uintptr) {
		c.sys.fd, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, os.NewSyscallError("fcntl", dupErr)
	}
	raw.Close()
	return c, nil
}

// read fills b. Orderly end: io.EOF. Nothing there: errWouldBlock. recvfrom and sendto take a shorter way through the kernel
// than read and write.
func (s *sysConn) read(b []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
			unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0 && n > 0:
			return int(n), nil
		case errno == 0:
			return 0, io.EOF
		case errno == syscall.EAGAIN:
			return 0, errWouldBlock
		case errno != syscall.EINTR:
			return 0, errno
		}
	}
}

// silent tells that there is nothing to read: no byte, no end, no error.
func (s *sysConn) silent() bool {
	var b [1]byte
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(&b[0])), 1,
		unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	return errno == syscall.EAGAIN
}

// write takes what the socket has room for; err is errWouldBlock when that was less than all.
func (s *sysConn) write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&b[done])), uintptr(len(b)-done),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch {
		case errno == 0:
			done += int(n)
		case errno == syscall.EAGAIN:
			return done, errWouldBlock
		case errno != syscall.EINTR:
			return done, errno
		}
	}
	return done, nil
}

func (s *sysConn) close() { unix.Close(s.fd) }

func (s *sysConn) descriptor() int { return s.fd }

func (s *sysConn) remoteAddr() net.Addr { return address(unix.Getpeername(s.fd)) }

func (s *sysConn) localAddr() net.Addr { return address(unix.Getsockname(s.fd)) }

func address(sa unix.Sockaddr, err error) net.Addr {
	if err != nil {
		return nil
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Name: sa.Name, Net: "unix"}
	}
	return nil
}
