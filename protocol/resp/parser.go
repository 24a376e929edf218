// HOT PATH

package resp

import "bytes"

// Limits bound what one command may ask the parser to hold. Zero fields mean the defaults of Redis.
type Limits struct {
	MaxBulk   int // bytes of one argument (default 512 MiB, Redis's proto-max-bulk-len)
	MaxArgs   int // arguments of one command (default 1 Mi)
	MaxInline int // bytes of an inline command or of a length line (default 64 KiB)

	// Strict turns on the bounds that Redis applies to clients that have not authenticated: 10 arguments of 16 KiB.
	Strict bool
}

const (
	defaultMaxBulk   = 512 << 20
	defaultMaxArgs   = 1 << 20
	defaultMaxInline = 64 << 10

	strictMaxArgs = 10
	strictMaxBulk = 16 << 10

	// minArg is the shortest argument on the wire: $0, CRLF, CRLF.
	minArg = 6
)

// ProtocolError is a violation after which the stream cannot be trusted: answer "-ERR " + Error() and close.
type ProtocolError string

func (e ProtocolError) Error() string { return string(e) }

// Errors in the words of Redis.
const (
	ErrMultibulkLength     ProtocolError = "Protocol error: invalid multibulk length"
	ErrBulkLength          ProtocolError = "Protocol error: invalid bulk length"
	ErrMultibulkTooLong    ProtocolError = "Protocol error: too big mbulk count string"
	ErrBulkTooLong         ProtocolError = "Protocol error: too big bulk count string"
	ErrInlineTooLong       ProtocolError = "Protocol error: too big inline request"
	ErrUnbalancedQuotes    ProtocolError = "Protocol error: unbalanced quotes in request"
	ErrStrictMultibulk     ProtocolError = "Protocol error: unauthenticated multibulk length"
	ErrStrictBulk          ProtocolError = "Protocol error: unauthenticated bulk length"
	errReplyMalformed      ProtocolError = "Protocol error: malformed reply"
	errReplyStreamed       ProtocolError = "Protocol error: streamed replies are not supported"
	errReplyTooManyParts   ProtocolError = "Protocol error: reply has too many elements"
	errReplyLengthTooLarge ProtocolError = "Protocol error: reply too large"
)

// Parser cuts commands out of a byte stream. One parser serves all sessions of a loop, one call at a time: it keeps
// nothing of a command but the memory for the next one's arguments.
type Parser struct {
	args   [][]byte
	inline []byte // unquoted words of the last inline command
}

// Parse reads the command at the front of b.
//
// n > 0: the command is complete and n bytes long; args are slices of b (of the parser for an inline command), valid
// until the next Parse. args is empty for an empty line or array, which Redis passes over in silence.
//
// n == 0 and err == nil: b holds no complete command; it must grow to need bytes at least before another try can
// succeed.
func (p *Parser) Parse(b []byte, lim *Limits) (args [][]byte, n, need int, err error) {
	if len(b) == 0 {
		return nil, 0, 1, nil
	}
	if b[0] != '*' {
		return p.parseInline(b, lim)
	}
	count, pos, ok := length(b, 1)
	switch {
	case pos == 0:
		if len(b) > lim.maxInline() {
			return nil, 0, 0, ErrMultibulkTooLong
		}
		return nil, 0, len(b) + 1, nil
	case !ok || count > int64(lim.maxArgs()):
		return nil, 0, 0, ErrMultibulkLength
	case lim.Strict && count > strictMaxArgs:
		return nil, 0, 0, ErrStrictMultibulk
	case count <= 0:
		return nil, pos, 0, nil
	}

	args = p.args[:0]
	for left := int(count); left > 0; left-- {
		if pos >= len(b) {
			p.args = args
			return nil, 0, pos + left*minArg, nil
		}
		if b[pos] != '$' {
			return nil, 0, 0, expectedBulk(b[pos])
		}
		size, next, ok := length(b, pos+1)
		switch {
		case next == 0:
			if len(b)-pos > lim.maxInline() {
				return nil, 0, 0, ErrBulkTooLong
			}
			p.args = args
			return nil, 0, max(len(b)+1, pos+left*minArg), nil
		case !ok || size < 0 || size > int64(lim.maxBulk()):
			return nil, 0, 0, ErrBulkLength
		case lim.Strict && size > strictMaxBulk:
			return nil, 0, 0, ErrStrictBulk
		}
		end := next + int(size)
		if end+2 > len(b) {
			p.args = args
			return nil, 0, end + 2 + (left-1)*minArg, nil
		}
		args = append(args, b[next:end:end])
		pos = end + 2 // the CRLF is skipped unread, as Redis does
	}
	p.args = args
	return args, pos, 0, nil
}

// expectedBulk tells what came in place of an argument; line ends would break the error's own line.
func expectedBulk(got byte) ProtocolError {
	if got == '\r' || got == '\n' {
		got = ' '
	}
	return ProtocolError("Protocol error: expected '$', got '" + string([]byte{got}) + "'")
}

// Trim gives back the memory that an unusually long command has left in the parser.
func (p *Parser) Trim() {
	if cap(p.args) > 1024 {
		p.args = nil
	}
	if cap(p.inline) > defaultMaxInline {
		p.inline = nil
	}
}

// length reads the decimal number of a length line from pos up to CRLF. next is the offset behind the CRLF, 0 when the
// line is not complete; ok tells whether it was a number as Redis's string2ll accepts it.
func length(b []byte, pos int) (v int64, next int, ok bool) {
	i := pos
	for ; i < len(b); i++ {
		c := b[i] - '0'
		if c > 9 || i-pos > 17 {
			break
		}
		v = v*10 + int64(c)
	}
	if i > pos && i+1 < len(b) && b[i] == '\r' && (b[pos] != '0' || i == pos+1) {
		return v, i + 2, true
	}
	return oddLength(b, pos)
}

// oddLength is length for lines that are incomplete, negative or no number at all.
func oddLength(b []byte, pos int) (v int64, next int, ok bool) {
	cr := bytes.IndexByte(b[pos:], '\r')
	if cr < 0 || pos+cr+1 >= len(b) {
		return 0, 0, false
	}
	v, ok = ParseInt(b[pos : pos+cr])
	return v, pos + cr + 2, ok
}

// ParseInt reads a signed 64-bit decimal as Redis's string2ll does: no plus sign, no spaces, no leading zeros, no
// minus zero.
func ParseInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	digits, negative := b, false
	if b[0] == '-' {
		digits, negative = b[1:], true
	}
	if len(digits) == 0 || digits[0] < '0' || digits[0] > '9' {
		return 0, false
	}
	if digits[0] == '0' {
		return 0, len(b) == 1
	}
	var v uint64
	for _, c := range digits {
		c -= '0'
		if c > 9 || v > (1<<64-1-uint64(c))/10 {
			return 0, false
		}
		v = v*10 + uint64(c)
	}
	if negative {
		return -int64(v), v <= 1<<63
	}
	return int64(v), v <= 1<<63-1
}

func (l *Limits) maxBulk() int {
	if l.MaxBulk > 0 {
		return l.MaxBulk
	}
	return defaultMaxBulk
}

func (l *Limits) maxArgs() int {
	if l.MaxArgs > 0 {
		return l.MaxArgs
	}
	return defaultMaxArgs
}

func (l *Limits) maxInline() int {
	if l.MaxInline > 0 {
		return l.MaxInline
	}
	return defaultMaxInline
}
