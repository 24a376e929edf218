package respserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// defaultHandshakeTimeout is how long a TLS handshake may take.
const defaultHandshakeTimeout = 10 * time.Second

const (
	// plainRefusal is for clients that speak no TLS where it is needed.
	plainRefusal = "-ERR this port takes TLS only: connect with rediss://, or redis-cli --tls\r\n"

	// recordHandshake begins what a TLS client sends first (ContentType in RFC 8446 section 5.1).
	recordHandshake = 0x16
)

// tlsRefusal is what TLS clients understand: a fatal alert, handshake_failure (RFC 8446 sections 5.1 and 6.2).
var tlsRefusal = []byte{0x15, 3, 1, 0, 2, 2, 40}

// ServeTLS is Serve behind a TLS handshake, which is over when it returns. cfg says with what, nil for none: then it is
// Serve. What is wrong with a client is logged, not returned. Any goroutine may call it; ctx cuts the handshake short.
func (s *Server) ServeTLS(ctx context.Context, l *netloop.Loop, nc net.Conn, cfg *tls.Config) error {
	if cfg == nil {
		return s.Serve(l, nc)
	}
	defer s.handshakes.Add(-1)
	if s.handshakes.Add(1)+int64(s.Clients()) > s.maxClients.Load() {
		// There is no telling it before the handshake, which costs more than all the rest.
		s.accepted.Add(1)
		s.refused.Add(1)
		nc.Close()
		return nil
	}
	session := netloop.TLSServer(nc, cfg)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.HandshakeTimeout)
	defer cancel()
	if err := session.HandshakeContext(ctx); err != nil {
		s.refuseHandshake(nc, err, ctx.Err())
		return nil
	}
	return s.Serve(l, session)
}

// refuseHandshake ends a connection whose handshake has failed.
func (s *Server) refuseHandshake(nc net.Conn, err, late error) {
	defer nc.Close()
	client := nc.RemoteAddr().String()
	record, plain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case plain && record.Conn != nil:
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = nc.Write([]byte(plainRefusal))
		s.reports.warn("refused a client that speaks no TLS", "client", client)
	case errors.Is(late, context.DeadlineExceeded):
		s.reports.warn("refused a client", "client", client, "error", fmt.Sprintf("no TLS handshake within %v", s.cfg.HandshakeTimeout))
	case errors.Is(late, context.Canceled): // we stop
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET): // a probe of the port
		s.cfg.Logger.Debug("client left before its TLS handshake", "client", client)
	default:
		s.reports.warn("refused a client", "client", client, "error", fmt.Errorf("TLS handshake: %w", err))
	}
}

// speaksTLS tells whether b, the first that a client has sent, is the beginning of a TLS handshake.
func (s *session) speaksTLS(b []byte) bool {
	return s.last.Load() == nil && len(b) > 1 && b[0] == recordHandshake && b[1] == 3
}

// refuseTLS ends a session that begins with TLS.
func (s *session) refuseTLS() {
	s.st.srv.reports.warn("refused a client that speaks TLS: there is none without cache_tls_cert_file", "client", s.address())
	s.send(tlsRefusal)
	s.ending = true
}
