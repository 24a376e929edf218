package script

import (
	"strconv"
	"strings"
)

// token is a token of Lua 5.1: its kind is the word or the sign itself, or one of the names below.
type token struct {
	kind string
	text string // of a name, a string, a number
	num  float64
	line int
	near string // as messages show it
}

const (
	tokEOF    = "<eof>"
	tokName   = "<name>"
	tokString = "<string>"
	tokNumber = "<number>"
)

var keywords = map[string]bool{
	"and": true, "break": true, "do": true, "else": true, "elseif": true, "end": true, "false": true, "for": true, "function": true,
	"if": true, "in": true, "local": true, "nil": true, "not": true, "or": true, "repeat": true, "return": true, "then": true, "true": true,
	"until": true, "while": true,
}

// syntaxError is raised by panic, in the words of Lua, and caught by parse.
type syntaxError string

type lexer struct {
	s    string
	at   int
	line int
	name string // of the chunk
}

// fail raises a message about the text near a token, "" for none.
func (l *lexer) fail(message, near string) {
	message = l.name + ":" + strconv.Itoa(l.line) + ": " + message
	if near != "" {
		message += " near '" + near + "'"
	}
	panic(syntaxError(message))
}

func (l *lexer) peek(ahead int) byte {
	if l.at+ahead < len(l.s) {
		return l.s[l.at+ahead]
	}
	return 0
}

// newline skips a line break, of one or two characters.
func (l *lexer) newline() {
	c := l.s[l.at]
	l.at++
	if n := l.peek(0); (n == '\n' || n == '\r') && n != c && l.at < len(l.s) {
		l.at++
	}
	l.line++
}

func (l *lexer) next() token {
	for l.at < len(l.s) {
		switch c := l.s[l.at]; {
		case c == '\n' || c == '\r':
			l.newline()
		case c == ' ' || c == '\t' || c == '\v' || c == '\f':
			l.at++
		case c == '-' && l.peek(1) == '-':
			l.comment()
		case c == '[':
			if level := l.bracket(); level >= 0 {
				return l.long(level, false)
			} else if level == -1 {
				return l.sign("[")
			}
			l.fail("invalid long string delimiter", l.brackets())
		case c == '"' || c == '\'':
			return l.quoted(c)
		case isDigit(c) || c == '.' && isDigit(l.peek(1)):
			return l.number()
		case isAlpha(c) || c == '_':
			start := l.at
			for l.at < len(l.s) && (isAlpha(l.s[l.at]) || isDigit(l.s[l.at]) || l.s[l.at] == '_') {
				l.at++
			}
			word := l.s[start:l.at]
			if keywords[word] {
				return token{kind: word, line: l.line, near: word}
			}
			return token{kind: tokName, text: word, line: l.line, near: word}
		default:
			for _, sign := range [...]string{"...", "..", "==", "<=", ">=", "~="} {
				if strings.HasPrefix(l.s[l.at:], sign) {
					return l.sign(sign)
				}
			}
			return l.sign(l.s[l.at : l.at+1])
		}
	}
	return token{kind: tokEOF, line: l.line, near: tokEOF}
}

func (l *lexer) sign(s string) token {
	l.at += len(s)
	near := s
	if c := s[0]; c < ' ' || c == 0x7f {
		near = "char(" + strconv.Itoa(int(c)) + ")"
	}
	return token{kind: s, line: l.line, near: near}
}

func (l *lexer) comment() {
	l.at += 2
	if l.peek(0) == '[' && l.at < len(l.s) {
		if level := l.bracket(); level >= 0 {
			l.long(level, true)
			return
		}
	}
	for l.at < len(l.s) && l.s[l.at] != '\n' && l.s[l.at] != '\r' {
		l.at++
	}
}

// bracket tells the level of a long bracket here, -1 for a lone bracket, -2 for one that is not finished.
func (l *lexer) bracket() int {
	n := 1
	for l.peek(n) == '=' {
		n++
	}
	switch {
	case l.peek(n) == '[':
		return n - 1
	case n == 1:
		return -1
	}
	return -2
}

func (l *lexer) brackets() string {
	n := 1
	for l.peek(n) == '=' {
		n++
	}
	return l.s[l.at : l.at+n]
}

func (l *lexer) long(level int, comment bool) token {
	l.at += level + 2
	if c := l.peek(0); (c == '\n' || c == '\r') && l.at < len(l.s) {
		l.newline()
	}
	closing := "]" + strings.Repeat("=", level) + "]"
	var b strings.Builder
	for {
		if l.at >= len(l.s) {
			if comment {
				l.fail("unfinished long comment", tokEOF)
			}
			l.fail("unfinished long string", tokEOF)
		}
		switch c := l.s[l.at]; {
		case c == ']' && strings.HasPrefix(l.s[l.at:], closing):
			l.at += len(closing)
			opening := "[" + strings.Repeat("=", level) + "["
			return token{kind: tokString, text: b.String(), line: l.line, near: opening + b.String() + closing}
		case c == '\n' || c == '\r':
			l.newline()
			b.WriteByte('\n')
		default:
			b.WriteByte(c)
			l.at++
		}
	}
}

func (l *lexer) quoted(quote byte) token {
	l.at++
	b := []byte{quote}
	for {
		if l.at >= len(l.s) {
			l.fail("unfinished string", tokEOF)
		}
		c := l.s[l.at]
		switch c {
		case quote:
			l.at++
			b = append(b, quote)
			return token{kind: tokString, text: string(b[1 : len(b)-1]), line: l.line, near: string(b)}
		case '\n', '\r':
			l.fail("unfinished string", string(b))
		case '\\':
			b = l.escape(b)
		default:
			b = append(b, c)
			l.at++
		}
	}
}

var escapes = map[byte]byte{'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

func (l *lexer) escape(b []byte) []byte {
	l.at++
	if l.at >= len(l.s) {
		l.fail("unfinished string", tokEOF)
	}
	c := l.s[l.at]
	switch {
	case c == '\n' || c == '\r':
		l.newline()
		return append(b, '\n')
	case isDigit(c):
		n := 0
		for i := 0; i < 3 && isDigit(l.peek(0)); i++ {
			n = 10*n + int(l.s[l.at]-'0')
			l.at++
		}
		if n > 255 {
			l.fail("escape sequence too large", string(b))
		}
		return append(b, byte(n))
	}
	l.at++
	if e, ok := escapes[c]; ok {
		c = e
	}
	return append(b, c)
}

func (l *lexer) number() token {
	start := l.at
	for isDigit(l.peek(0)) || l.peek(0) == '.' {
		l.at++
	}
	if c := l.peek(0) | 0x20; c == 'e' {
		l.at++
		if s := l.peek(0); s == '+' || s == '-' {
			l.at++
		}
	}
	for c := l.peek(0); isAlpha(c) || isDigit(c) || c == '_'; c = l.peek(0) {
		l.at++
	}
	text := l.s[start:l.at]
	f, ok := parseNumber(text)
	if !ok {
		l.fail("malformed number", text)
	}
	return token{kind: tokNumber, text: text, num: f, line: l.line, near: text}
}
