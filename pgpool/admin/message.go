package admin

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/outrigger-proxy/outrigger/protocol/pgwire"
)

// message is what a client sent, with a body of its own.
type message struct {
	typ  byte
	body []byte
}

// maxMessage is the size in bytes of the largest message a client may send, its header included.
const maxMessage = 64 << 10

// readMessage reads one message into a buffer of its own.
func readMessage(r *bufio.Reader) (typ byte, body []byte, err error) {
	var head [pgwire.HeaderLen]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	typ, size, ok := pgwire.Header(head[:])
	if !ok || size > maxMessage {
		return 0, nil, messageTooLong.with(maxMessage)
	}
	body = make([]byte, size-pgwire.HeaderLen)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	return typ, body, nil
}

// errMalformed ends a session: what follows in the stream cannot be trusted.
var errMalformed error = malformed.with()

// The decoders below stand in for those of pgproto3 v2, which panic on a Query without a byte and on a Bind with a
// negative length. They report false for a body that ends too early or too late.

type parse struct{ statement, sql string }

type bind struct {
	portal, statement string
	params            int
	results           formats
}

// target is a Describe or a Close.
type target struct {
	kind byte // S for a statement, P for a portal
	name string
}

type execute struct {
	portal  string
	maxRows int // 0: all
}

func decodeQuery(b []byte) (string, bool) {
	r := reader{rest: b}
	sql := r.string()
	return sql, r.done()
}

func decodeParse(b []byte) (parse, bool) {
	r := reader{rest: b}
	p := parse{statement: r.string(), sql: r.string()}
	r.take(4 * r.uint16()) // types of parameters, which no command has
	return p, r.done()
}

func decodeBind(b []byte) (bind, bool) {
	r := reader{rest: b}
	m := bind{portal: r.string(), statement: r.string()}
	r.take(2 * r.uint16()) // formats of parameters
	m.params = r.uint16()
	for range m.params {
		if n := r.int32(); n != -1 {
			r.take(n)
		}
	}
	for range r.uint16() {
		m.results = append(m.results, int16(r.uint16()))
		if r.short {
			break
		}
	}
	return m, r.done()
}

func decodeTarget(b []byte) (target, bool) {
	r := reader{rest: b}
	var t target
	if kind := r.take(1); kind != nil {
		t.kind = kind[0]
	}
	t.name = r.string()
	return t, r.done() && (t.kind == 'S' || t.kind == 'P')
}

func decodeExecute(b []byte) (execute, bool) {
	r := reader{rest: b}
	e := execute{portal: r.string(), maxRows: max(r.int32(), 0)}
	return e, r.done()
}

// reader cuts a body into its parts. Once there is less than asked for it is short, and all that follows is zero.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) done() bool { return !r.short && len(r.rest) == 0 }

func (r *reader) take(n int) []byte {
	if r.short || n < 0 || n > len(r.rest) {
		r.short = true
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) string() string {
	s, _, ok := pgwire.CString(r.rest)
	if !ok {
		r.short = true
		return ""
	}
	r.take(len(s) + 1)
	return string(s)
}

func (r *reader) uint16() int {
	if b := r.take(2); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) int32() int {
	if b := r.take(4); b != nil {
		return int(int32(binary.BigEndian.Uint32(b)))
	}
	return 0
}
