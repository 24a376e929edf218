package netloop

import (
	"context"
	"net"
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
