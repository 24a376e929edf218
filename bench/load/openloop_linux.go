package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// converse asks with all clients from one thread, with epoll and a timer: a goroutine for each would cost several times as
// much, and Go's timers are late by up to a millisecond. It returns the thread's CPU time and how long it took.
func converse(ctx context.Context, conns []net.Conn, d dialogue, b *book) (cpu, took time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	loop, err := newAsking(conns, d)
	defer loop.close()
	if err != nil {
		return 0, 0, fmt.Errorf("set up the clients: %w", err)
	}
	before, err := threadTime()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	for now := time.Duration(0); !b.done(now) && now < b.end+openGrace; now = time.Since(begin) {
		if ctx.Err() != nil {
			return 0, 0, context.Cause(ctx)
		}
		for client, ok := b.ask(now); ok; client, ok = b.ask(now) {
			if loop.ask(client) != nil {
				loop.lose(client, b)
			}
		}
		if err := loop.wait(b, begin); err != nil {
			return 0, 0, err
		}
	}
	after, err := threadTime()
	return after - before, time.Since(begin), err
}

// asking is the clients' sockets in an epoll set of their own. Sockets are ours when Go has let go of them.
type asking struct {
	epoll, timer int
	fds          []int // -1: lost
	listeners    []listener
	dialogue     dialogue
	events       []unix.EpollEvent
	buf          []byte
}

const timerEvent = -1 // in the place of a client's number

// newAsking takes the sockets over; the connections are of no use afterwards. What it returns must be closed, also
// with an error.
func newAsking(conns []net.Conn, d dialogue) (*asking, error) {
	a := &asking{epoll: -1, timer: -1, dialogue: d,
		events: make([]unix.EpollEvent, 256), buf: make([]byte, 64<<10)}
	var err error
	if a.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return a, err
	}
	if a.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return a, err
	}
	if err := a.add(a.timer, timerEvent); err != nil {
		return a, err
	}
	for i, c := range conns {
		fd, err := takeOver(c)
		if err != nil {
			return a, err
		}
		a.fds, a.listeners = append(a.fds, fd), append(a.listeners, d.listener())
		if err := a.add(fd, int32(i)); err != nil {
			return a, err
		}
	}
	return a, nil
}

// takeOver gives a descriptor of the socket that Go's own poller does not watch.
func takeOver(c net.Conn) (fd int, err error) {
	conn, ok := c.(*net.TCPConn)
	if !ok {
		return -1, errors.New("not a plain connection")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dupErr error
	if err := raw.Control(func(own uintptr) { fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	if dupErr != nil {
		return -1, dupErr
	}
	return fd, conn.Close()
}

func (a *asking) add(fd int, as int32) error {
	return unix.EpollCtl(a.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: as})
}

func (a *asking) close() {
	for _, fd := range append(a.fds, a.timer, a.epoll) {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// ask sends the next question.
func (a *asking) ask(client int32) error {
	q := a.dialogue.next()
	n, err := unix.Write(a.fds[client], q)
	if err == nil && n < len(q) {
		err = errSent
	}
	return err
}

// lose drops a client whose connection is of no use any more.
func (a *asking) lose(client int32, b *book) {
	if a.fds[client] >= 0 {
		_ = unix.Close(a.fds[client])
		a.fds[client] = -1
	}
	b.lose(client)
}

// wait takes the answers that are there; when there are none, it waits for one, or for the next request.
func (a *asking) wait(b *book, begin time.Time) error {
	const most = 100 // ms; for who stops us
	timeout := most
	switch d := b.wait(time.Since(begin)); {
	case d == 0:
		timeout = 0
	case d > 0:
		spec := unix.NsecToTimespec(d.Nanoseconds())
		if err := unix.TimerfdSettime(a.timer, 0, &unix.ItimerSpec{Value: spec}, nil); err != nil {
			return fmt.Errorf("set the timer: %w", err)
		}
	}
	n, err := unix.EpollWait(a.epoll, a.events, timeout)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait for answers: %w", err)
	}
	for _, e := range a.events[:n] {
		if e.Fd == timerEvent {
			_, _ = unix.Read(a.timer, a.buf[:8]) // so that it is heard once
			continue
		}
		if err := a.read(e.Fd, b, begin); err != nil {
			a.lose(e.Fd, b)
		}
	}
	return nil
}

// read takes what a client got.
func (a *asking) read(client int32, b *book, begin time.Time) error {
	n, err := unix.Read(a.fds[client], a.buf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return err
	case n == 0:
		return io.ErrUnexpectedEOF
	}
	ready, failed, err := a.listeners[client].feed(a.buf[:n])
	if err == nil && ready > 1 {
		err = fmt.Errorf("%d answers to a question", ready)
	}
	if err == nil && ready == 1 {
		b.answer(client, time.Since(begin), !failed)
	}
	return err
}

// threadTime is the CPU time of the calling thread.
func threadTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return 0, fmt.Errorf("read the generator's CPU time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
