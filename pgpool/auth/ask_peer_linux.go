package auth

import (
	"fmt"
	"net"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkPeer lets in whose process runs as the system user of the same name (CheckPeerAuth in auth.c). The kernel vouches
// for the process (SO_PEERCRED, unix(7)), /etc/passwd for the name.
func checkPeer(c Client) error {
	uid, err := peerUID(c.Conn)
	if err != nil {
		return fmt.Errorf("%w: %w", peerWithoutSocket.with(), err)
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err == nil && u.Username != c.User {
		err = fmt.Errorf("the process runs as system user %q", u.Username)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", methodFailed.with("peer", c.User), err)
	}
	return nil
}

// peerUID is the user id of the process at the other end.
func peerUID(conn net.Conn) (uint32, error) {
	for {
		if socket, ok := conn.(*net.UnixConn); ok {
			return socketUID(socket)
		}
		wrapped, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return 0, fmt.Errorf("a %T is no Unix socket", conn)
		}
		conn = wrapped.NetConn()
	}
}

func socketUID(socket *net.UnixConn) (uint32, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, failed
	}
	return peer.Uid, nil
}
