package netloop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keepAlive finds the other side of a half-open connection gone within two minutes, and costs an idle one a packet a
// minute. TCP_USER_TIMEOUT is left alone: Linux counts the time for which a living peer takes nothing, so it would end
// clients that read slowly (tcp_timer.c, tcp_probe_timer).
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}
}

// Listen listens on a TCP address or the path of a Unix socket. What it accepts has keep-alive set. With reusePort several
// processes may listen on one port, and the kernel spreads new connections over them (socket(7), SO_REUSEPORT): a new
// process can be there before the old one stops accepting. All of them must belong to one user and set it.
func Listen(ctx context.Context, network, addr string, reusePort bool) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive()}
	if reusePort && network != "unix" {
		lc.Control = func(_, _ string, rc syscall.RawConn) (err error) {
			if cerr := rc.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			}); cerr != nil {
				return cerr
			}
			return err
		}
	}
	return lc.Listen(ctx, network, addr)
}

// Dialer dials connections for loops: with keep-alive set. The caller may set its timeout.
func Dialer() *net.Dialer { return &net.Dialer{KeepAliveConfig: keepAlive()} }

// ListenUnix listens on a Unix socket at path that those may connect to whom mode allows to write. What a process that was
// killed has left there is taken over; a socket that somebody answers at, and any other file, is an error. Closing the
// listener removes the file.
func ListenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		// On Linux the file begins with what its descriptor had, less the umask: at no time may more connect. Elsewhere
		// it fails, and the mode comes a moment later.
		return rc.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), uint32(mode.Perm())) })
	}}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// removeStale removes a socket that nobody answers at: what is left of a process that was killed.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is no socket: remove it, or listen elsewhere", path)
	}
	nc, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		nc.Close()
		return fmt.Errorf("%s is in use: another process listens there", path)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s exists, and who listens there is not known: %w", path, err)
	}
	return os.Remove(path)
}
