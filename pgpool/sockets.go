package pgpool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// Listen opens the addresses of Config.Listen.
func (p *Pooler) Listen() error {
	for _, addr := range p.cfg.Listen {
		ln, err := listen(addr, p.cfg.ReusePort)
		if err != nil {
			for _, l := range p.listeners {
				l.Close()
			}
			return fmt.Errorf("listen for Postgres clients: %w", err)
		}
		local := isLocal(ln.Addr())
		p.listeners = append(p.listeners, netloop.NewListener(ln, p.log, func(ctx context.Context, nc net.Conn) { p.serve(ctx, nc, local) }))
	}
	return nil
}

// AcceptFailures counts what went wrong when clients were to be accepted, such as a lack of file descriptors.
func (p *Pooler) AcceptFailures() (n uint64) {
	for _, l := range p.listeners {
		n += l.Failures()
	}
	return n
}

// listen opens host:port, the path of a Unix socket, or an abstract socket with an @ in front (unix(7)).
func listen(addr string, reusePort bool) (net.Listener, error) {
	switch {
	case addr == "":
		return nil, errors.New("empty address")
	case addr[0] == '@':
		return net.Listen("unix", addr)
	case addr[0] != '/':
		return netloop.Listen(context.Background(), "tcp", addr, reusePort)
	}
	if err := removeStale(addr); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", addr) // its Close removes the file
	if err != nil {
		return nil, err
	}
	// Who may connect is up to client_auth, as it is by default with PostgreSQL (unix_socket_permissions).
	if err := os.Chmod(addr, 0o777); err != nil {
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
		return fmt.Errorf("%s exists and is no socket: remove it, or set another pg_socket_dir", path)
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

// isLocal tells whether only this machine reaches a listener. The address of a connection would not do: what a proxy on
// this machine passes on looks local, too.
func isLocal(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}
