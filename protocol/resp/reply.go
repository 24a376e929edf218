package resp

// maxReplyParts bounds the elements of one reply, so that a hostile header cannot ask for endless waiting.
const maxReplyParts = 1 << 28

// Header is the first line of a reply.
type Header struct {
	Kind byte  // the type's character: + - : $ * _ # , ( ! = % ~ > |
	N    int64 // the integer of ':', the length of a string, the number of elements or pairs; -1 for a null of RESP2
	Size int   // bytes of the header itself, CRLF included
	Line []byte
}

// ReadHeader reads the header at the front of b; Size is 0 when it is not complete. Line is the text between the type
// and the CRLF, a slice of b.
func ReadHeader(b []byte) (h Header, err error) {
	if len(b) == 0 {
		return h, nil
	}
	end := 1
	for ; end < len(b) && b[end] != '\r'; end++ {
		if b[end] == '\n' {
			return h, errReplyMalformed
		}
	}
	if end+1 >= len(b) {
		if len(b) > defaultMaxInline && b[0] != '+' && b[0] != '-' {
			return h, errReplyMalformed
		}
		return h, nil
	}
	if b[end+1] != '\n' {
		return h, errReplyMalformed
	}
	h = Header{Kind: b[0], Size: end + 2, Line: b[1:end]}
	switch h.Kind {
	case '+', '-', '_', '#', ',', '(':
		return h, nil
	case ':', '$', '*', '!', '=', '%', '~', '>', '|':
		if len(h.Line) == 1 && h.Line[0] == '?' {
			return Header{}, errReplyStreamed
		}
		v, ok := ParseInt(h.Line)
		if !ok {
			return Header{}, errReplyMalformed
		}
		h.N = v
		if h.Kind != ':' && (v < -1 || v == -1 && h.Kind != '$' && h.Kind != '*') {
			return Header{}, errReplyMalformed
		}
		return h, nil
	}
	return Header{}, errReplyMalformed
}

// ReplyLen measures the reply at the front of b, attributes before it included. n is its length in bytes, or 0 when b
// does not hold all of it and must grow to need bytes at least.
func ReplyLen(b []byte) (n, need int, err error) {
	pos := 0
	for left := int64(1); left > 0; {
		h, err := ReadHeader(b[pos:])
		if err != nil {
			return 0, 0, err
		}
		if h.Size == 0 {
			// The shortest reply is a type and CRLF.
			return 0, max(len(b)+1, pos+int(left)*3), nil
		}
		pos += h.Size
		left--
		switch h.Kind {
		case '$', '!', '=':
			if h.N < 0 {
				break
			}
			if h.N > 2*defaultMaxBulk {
				return 0, 0, errReplyLengthTooLarge
			}
			pos += int(h.N) + 2
			if pos > len(b) {
				return 0, pos + int(left)*3, nil
			}
			if b[pos-2] != '\r' || b[pos-1] != '\n' {
				return 0, 0, errReplyMalformed
			}
		case '*', '~', '>':
			if h.N > maxReplyParts {
				return 0, 0, errReplyTooManyParts
			}
			left += max(h.N, 0)
		case '%', '|':
			if h.N > maxReplyParts {
				return 0, 0, errReplyTooManyParts
			}
			left += 2 * h.N
			if h.Kind == '|' {
				left++ // an attribute announces the reply that follows it
			}
		}
		if left > maxReplyParts {
			return 0, 0, errReplyTooManyParts
		}
	}
	return pos, 0, nil
}
