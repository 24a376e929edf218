package pgpool

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// Strangers that get no ErrorResponse.
var (
	errNoByte    = errors.New("not a byte came")
	errNotForTLS = errors.New("TLS where none is offered")
	errHandshake = errors.New("TLS handshake")
)

// recordHandshake begins what a TLS client sends first (ContentType in RFC 8446 section 5.1).
const recordHandshake = 0x16

// tlsRefusal is what TLS clients understand: a fatal alert, handshake_failure (RFC 8446 sections 5.1 and 6.2).
var tlsRefusal = []byte{0x15, 3, 1, 0, 2, 2, 40}

// httpRefusal is for people who point a browser or a probe at the port.
const httpRefusal = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" +
	"This is a PostgreSQL port: connect with a PostgreSQL client, as psql.\n" +
	"Health checks and metrics are on the port that http_listen names.\n"

// alpnPostgres is the protocol's name in TLS (PG_ALPN_PROTOCOL in pqcomm.h). Who begins with TLS must name it, so that a
// connection meant for another service cannot be led here (backend_startup.c, ProcessSSLStartup).
const alpnPostgres = "postgresql"

// startup reads first packets until there is one that is no request for encryption, and takes TLS on as asked.
func (a *arrival) startup() error {
	first, err := peek(a.nc)
	if err != nil {
		return err
	}
	askedTLS, askedGSS := false, false
	if first == recordHandshake {
		if a.t.ClientTLS == nil {
			return errNotForTLS
		}
		if err := a.encrypt(); err != nil {
			return err
		}
		if a.nc.(*tls.Conn).ConnectionState().NegotiatedProtocol != alpnPostgres {
			return directTLSWithoutALPN.with()
		}
		askedTLS, askedGSS = true, true
	}
	for {
		st, err := pgwire.ReadStartup(a.nc)
		if err != nil {
			return err
		}
		switch {
		case st.Kind == pgwire.KindSSLRequest && !askedTLS:
			askedTLS = true
			if err := a.answerRequest(a.t.ClientTLS != nil, 'S'); err != nil {
				return err
			}
			if a.t.ClientTLS != nil {
				if err := a.encrypt(); err != nil {
					return err
				}
				askedGSS = true
			}
		case st.Kind == pgwire.KindGSSENCRequest && !askedGSS:
			askedGSS = true
			if err := a.answerRequest(false, 'G'); err != nil {
				return err
			}
		case st.Kind == pgwire.KindCancelRequest: // its key is as good as a password, so that TLS is up to the client
			a.first = st
			return nil
		case st.Kind != pgwire.KindStartup:
			return encryptionTwice.with()
		default:
			a.first = st
			if _, encrypted := a.nc.(*tls.Conn); a.t.RequireTLS && !encrypted {
				return encryptionMissing.with()
			}
			return nil
		}
	}
}

// answerRequest answers a request for encryption. What has come with it, before the other side can know the answer, was
// not encrypted and may be somebody else's (CVE-2021-23214).
func (a *arrival) answerRequest(agree bool, yes byte) error {
	if pending(a.nc) {
		return encryptionForestalled.with()
	}
	answer := byte('N')
	if agree {
		answer = yes
	}
	_, err := a.nc.Write([]byte{answer})
	return err
}

func (a *arrival) encrypt() error {
	session := netloop.TLSServer(a.nc, a.t.ClientTLS)
	if err := session.Handshake(); err != nil {
		return fmt.Errorf("%w: %w", errHandshake, err)
	}
	a.nc = session
	return nil
}

// forClients completes the configuration of TLS for clients.
func forClients(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		return nil
	}
	cfg = cfg.Clone()
	cfg.NextProtos = []string{alpnPostgres}
	return cfg
}

// peek waits for the first byte that nc has to read, and leaves it there: nothing may be read that TLS is to read.
func peek(nc net.Conn) (first byte, err error) {
	raw, err := rawConn(nc)
	if err != nil {
		return 0, err
	}
	var b [1]byte
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, _, failed = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			if failed != syscall.EINTR {
				return failed != syscall.EAGAIN
			}
		}
	})
	switch {
	case err != nil: // the deadline
		return 0, errNoByte
	case failed != nil:
		return 0, failed
	case n == 0:
		return 0, io.EOF
	}
	return b[0], nil
}

// pending tells whether nc has something to read now.
func pending(nc net.Conn) bool {
	raw, err := rawConn(nc)
	if err != nil {
		return false // TLS: there is nothing behind it to be attacked
	}
	var b [1]byte
	n := 0
	err = raw.Control(func(fd uintptr) {
		n, _, _ = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err == nil && n > 0
}

func rawConn(nc net.Conn) (syscall.RawConn, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a %T is no socket", nc)
	}
	return sc.SyscallConn()
}
