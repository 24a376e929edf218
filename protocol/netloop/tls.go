// HOT PATH

package netloop

import (
	"crypto/tls"
	"io"
	"net"
)

// TLSServer and TLSClient wrap a connection so that a loop can adopt it later: the handshake runs in a goroutine over the
// real socket; after adoption crypto/tls reads from and writes to memory, and the loop moves the bytes.
func TLSServer(nc net.Conn, cfg *tls.Config) *tls.Conn { return tls.Server(&tlsState{Conn: nc}, cfg) }

// TLSClient is TLSServer for the dialling side.
func TLSClient(nc net.Conn, cfg *tls.Config) *tls.Conn { return tls.Client(&tlsState{Conn: nc}, cfg) }

// tlsState is the transport under a crypto/tls connection.
type tlsState struct {
	net.Conn // the real socket, until adoption
	session  *tls.Conn
	loop     *Loop // nil until adoption

	received []byte // ciphertext that the session has not asked for yet; points into loop.cipher
	sealed   []byte // ciphertext for the socket, borrowed from loop.bufs
	head     int    // sealed[:head] is written
}

// wouldBlock is a net.Error that calls itself temporary: crypto/tls then keeps its state, a partial record included, and
// can be asked again (crypto/tls, Conn.readRecordOrCCS).
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "no bytes yet" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// Read gives crypto/tls what the socket has delivered.
func (t *tlsState) Read(b []byte) (int, error) {
	if t.loop == nil {
		return t.Conn.Read(b)
	}
	if len(t.received) == 0 {
		return 0, wouldBlock{}
	}
	n := copy(b, t.received)
	t.received = t.received[n:]
	return n, nil
}

// Write takes sealed records from crypto/tls.
func (t *tlsState) Write(b []byte) (int, error) {
	if t.loop == nil {
		return t.Conn.Write(b)
	}
	t.sealed = append(t.loop.bufs.grow(t.sealed, len(b)), b...)
	return len(b), nil
}

// readable reads ciphertext once and delivers all plain bytes that it completes.
func (t *tlsState) readable(c *Conn) {
	l := c.loop
	t.loop = l
	if l.cipher == nil {
		l.cipher = make([]byte, l.cfg.ReadBuffer)
	}
	n, err := c.sys.read(l.cipher)
	if err == nil {
		l.stats.Reads++
		l.stats.BytesIn += uint64(n)
		t.received = l.cipher[:n]
	} else if err != errWouldBlock {
		c.ended(err)
		return
	}
	for !c.closed {
		n, err := t.plain(l.shared)
		if n > 0 {
			if len(c.held) > 0 {
				c.held = append(l.bufs.grow(c.held, max(n, c.want-len(c.held))), l.shared[:n]...)
				c.deliverHeld()
			} else {
				c.deliver(l.shared[:n])
			}
		}
		if err != nil {
			if _, ok := err.(wouldBlock); !ok && !c.closed {
				c.ended(err)
			}
			break
		}
	}
	t.received = nil
	// A key update or an alert may have queued an answer.
	if !c.closed && len(t.sealed) > t.head {
		c.queued()
	}
}

// plain fills b with decrypted bytes; with err nil there may be more.
func (t *tlsState) plain(b []byte) (n int, err error) {
	for n < len(b) {
		k, err := t.session.Read(b[n:])
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// sealAtOnce is how many bytes of the out-queue are sealed before the socket gets them, so that a large reply is not held
// twice.
const sealAtOnce = 256 << 10

// flush seals the connection's out-queue and writes as much as the socket takes. Only a written-out piece is followed by
// the next.
func (t *tlsState) flush(c *Conn) error {
	t.loop = c.loop
	for {
		for t.head < len(t.sealed) {
			n, err := c.sys.write(t.sealed[t.head:])
			c.loop.stats.Writes++
			c.loop.stats.BytesOut += uint64(n)
			t.head += n
			if err != nil {
				c.compact()
				return err
			}
		}
		if t.sealed != nil {
			c.loop.bufs.put(t.sealed)
			t.sealed, t.head = nil, 0
		}
		piece := c.out[c.head:min(len(c.out), c.head+sealAtOnce)]
		if len(piece) == 0 {
			c.releaseOut()
			return nil
		}
		if _, err := t.session.Write(piece); err != nil {
			return err
		}
		c.head += len(piece)
	}
}

// closeNotify queues the alert that tells the other side that the end is no accident (RFC 8446 §6.1).
func (t *tlsState) closeNotify(c *Conn) {
	t.loop = c.loop
	if len(c.out) > c.head {
		if _, err := t.session.Write(c.out[c.head:]); err != nil {
			return // the flush that follows meets the same error
		}
		c.releaseOut()
	}
	// An error means that the session cannot send any more; the socket is closed either way.
	_ = t.session.CloseWrite()
}

func (t *tlsState) release(c *Conn) {
	if t != nil && t.sealed != nil {
		c.loop.bufs.put(t.sealed)
		t.sealed, t.head = nil, 0
	}
}

var _ io.ReadWriter = (*tlsState)(nil)
