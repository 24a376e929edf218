package resp

import "bytes"

// parseInline reads a command typed as words on a line, the way telnet and health probes talk.
func (p *Parser) parseInline(b []byte, lim *Limits) (args [][]byte, n, need int, err error) {
	nl := bytes.IndexByte(b, '\n')
	if nl < 0 {
		if len(b) > lim.maxInline() {
			return nil, 0, 0, ErrInlineTooLong
		}
		return nil, 0, len(b) + 1, nil
	}
	line := b[:nl]
	if len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	if end := bytes.IndexByte(line, 0); end >= 0 {
		line = line[:end] // the end of a C string
	}
	args, ok := p.splitWords(line)
	if !ok {
		return nil, 0, 0, ErrUnbalancedQuotes
	}
	return args, nl + 1, 0, nil
}

// splitWords follows sdssplitargs of Redis: "…" with \n \r \t \b \a \xHH escapes, '…' with \' only; a closing quote
// must be followed by a space or the end.
func (p *Parser) splitWords(line []byte) (args [][]byte, ok bool) {
	// Unquoted words are never longer than what they are written as, so the slices into p.inline stay where they are.
	if cap(p.inline) < len(line) {
		p.inline = make([]byte, 0, len(line))
	}
	buf := p.inline[:0]
	args = p.args[:0]
	defer func() { p.args = args }()

	for i := 0; ; {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) {
			return args, true
		}
		start := len(buf)
		var quote byte
	word:
		for ; ; i++ {
			if i == len(line) {
				if quote != 0 {
					return nil, false
				}
				break
			}
			c := line[i]
			switch {
			case quote == '"' && c == '\\' && i+3 < len(line) && line[i+1] == 'x' && isHex(line[i+2]) && isHex(line[i+3]):
				buf = append(buf, hexValue(line[i+2])<<4|hexValue(line[i+3]))
				i += 3
			case quote == '"' && c == '\\' && i+1 < len(line):
				i++
				buf = append(buf, unescape(line[i]))
			case quote == '\'' && c == '\\' && i+1 < len(line) && line[i+1] == '\'':
				i++
				buf = append(buf, '\'')
			case quote != 0 && c == quote:
				if i+1 < len(line) && !isSpace(line[i+1]) {
					return nil, false
				}
				i++
				break word
			case quote != 0:
				buf = append(buf, c)
			case isSpace(c):
				break word
			case c == '"' || c == '\'':
				quote = c
			default:
				buf = append(buf, c)
			}
		}
		args = append(args, buf[start:len(buf):len(buf)])
	}
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return (c | 0x20) - 'a' + 10
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}
