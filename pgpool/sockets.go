package pgpool

import (
	"context"
	"errors"
	"fmt"
	"net"

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
	// Who may connect is up to client_auth, as it is by default with PostgreSQL (unix_socket_permissions).
	return netloop.ListenUnix(addr, 0o777)
}

// isLocal tells whether only this machine reaches a listener. The address of a connection would not do: what a proxy on
// this machine passes on looks local, too.
func isLocal(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}
