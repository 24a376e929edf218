// HOT PATH

package classify

import "bytes"

// kind is a lexical class of PostgreSQL (scan.l), as fine as classification needs it.
type kind uint8

const (
	kindEOF kind = iota
	kindWord
	kindQuoted // "identifier"
	kindOpen   // (
	kindClose  // )

	// Those from here on are nothing to look at by themselves.
	kindString // every form of string constant
	kindNumber
	kindParam  // $1
	kindSemi   // ;
	kindComma  // ,
	kindDot    // .
	kindEquals // =
	kindCast   // ::
	kindOther  // one character of an operator, brackets, or garbage
)

// token is a piece of the statement: src[start:end].
type token struct {
	start, end int32
	kind       kind
	word       keyword // for kindWord: which one, if it is one that matters
}

// lexer cuts a statement into tokens. It never fails: what it cannot read with certainty sets odd.
type lexer struct {
	src  []byte
	pos  int
	dot  int // behind the last dot
	hint Hint
	odd  bool // a construct without an end, or one whose end depends on a setting of the session
}

// Classes of characters.
const (
	isSpace uint8 = 1 << iota
	isDigit
	isIdentStart
	isIdent
	mayBeBlank // or starts a comment
	announces  // may stand in front of a string: E” B” X” N” U&”
)

// charClass follows space, ident_start and ident_cont of scan.l.
var charClass = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c == ' ' || (c >= '\t' && c <= '\r'):
			t[c] = isSpace | mayBeBlank
		case c == '-' || c == '/':
			t[c] = mayBeBlank
		case c >= '0' && c <= '9':
			t[c] = isDigit | isIdent
		case c == '$':
			t[c] = isIdent
		case c == '_' || c >= 0x80 || (c|0x20 >= 'a' && c|0x20 <= 'z'):
			t[c] = isIdentStart | isIdent
		}
	}
	for _, c := range []byte("ebxnuEBXNU") {
		t[c] |= announces
	}
	return t
}()

// punctuation are the tokens of one character that matter.
var punctuation = [256]kind{'(': kindOpen, ')': kindClose, ';': kindSemi, ',': kindComma, '.': kindDot, '=': kindEquals}

// peek returns the byte i behind the current one, 0 behind the end.
func (l *lexer) peek(i int) byte {
	if l.pos+i < len(l.src) {
		return l.src[l.pos+i]
	}
	return 0
}

// next returns the next token; at the end it returns kindEOF for ever.
func (l *lexer) next() token {
	src, start := l.src, l.pos
	if start < len(src) && src[start] == ' ' { // mostly there is one, and no more
		start++
	}
	if l.pos = start; start < len(src) && charClass[src[start]]&mayBeBlank != 0 {
		l.skipBlank()
		start = l.pos
	}
	if start == len(src) {
		return token{start: int32(start), end: int32(start)}
	}
	c := src[start]
	var k kind
	var w keyword
	switch class := charClass[c]; {
	case class&isIdentStart != 0:
		end := start + 1
		for end < len(src) && charClass[src[end]]&isIdent != 0 {
			end++
		}
		if class&announces != 0 && end == start+1 && l.prefixed(c, &k) {
			break
		}
		l.pos = end
		if k = kindWord; end > start+1 && (start != l.dot || start == 0) { // a keyword behind a dot is a name
			w = lookupKeyword(src[start:end])
		}
	case class&isDigit != 0:
		l.number()
		k = kindNumber
	case punctuation[c] != kindEOF:
		k = punctuation[c]
		if l.pos = start + 1; k == kindDot {
			l.dot = l.pos
		}
	default:
		k = l.symbol(c)
	}
	// Made in one go: a token that is filled field by field and then copied stalls the processor.
	return token{int32(start), int32(l.pos), k, w}
}

// symbol reads a token that starts with something else than a letter, a digit or punctuation.
func (l *lexer) symbol(c byte) kind {
	switch c {
	case '\'':
		l.quoted('\'', false)
		return kindString
	case '"':
		l.quoted('"', false)
		return kindQuoted
	case '$':
		return l.dollar()
	case ':':
		if l.peek(1) == ':' {
			l.pos += 2
			return kindCast
		}
	}
	l.pos++
	return kindOther
}

// prefixed reads the string or name that the letter c announces, if it does.
func (l *lexer) prefixed(c byte, k *kind) bool {
	switch next := l.peek(1); {
	case next == '\'':
		if c |= 0x20; c == 'u' {
			return false
		}
		l.pos++
		l.quoted('\'', c == 'e')
		*k = kindString
		return true
	case next == '&' && c|0x20 == 'u':
		switch l.peek(2) {
		case '\'':
			l.pos += 2
			l.quoted('\'', false)
			*k = kindString
			return true
		case '"': // a name in escapes: it may name anything
			l.pos += 2
			l.quoted('"', false)
			l.odd = true
			*k = kindQuoted
			return true
		}
	}
	return false
}

// quoted reads up to the closing quote; a doubled one belongs to the text. In a plain string a backslash before a quote
// ends the string or not by standard_conforming_strings, so that it is left open what follows.
func (l *lexer) quoted(quote byte, escapes bool) {
	for l.pos++; l.pos < len(l.src); l.pos++ {
		switch l.src[l.pos] {
		case quote:
			if l.peek(1) != quote {
				l.pos++
				return
			}
			l.pos++
		case '\\':
			if escapes {
				// In some encodings of clients a backslash is the second byte of a character.
				l.odd = l.odd || l.src[l.pos-1] >= 0x80
				l.pos++
			} else if quote == '\'' && l.peek(1) == '\'' {
				l.odd = true
			}
		}
	}
	l.pos = len(l.src)
	l.odd = true
}

// dollar reads $1, or a string between two $tag$.
func (l *lexer) dollar() kind {
	start := l.pos
	l.pos++
	if charClass[l.peek(0)]&isDigit != 0 {
		for charClass[l.peek(0)]&isDigit != 0 {
			l.pos++
		}
		return kindParam
	}
	end := l.pos
	if end < len(l.src) && charClass[l.src[end]]&isIdentStart != 0 {
		for end < len(l.src) && charClass[l.src[end]]&isIdent != 0 && l.src[end] != '$' {
			end++
		}
	}
	if end == len(l.src) || l.src[end] != '$' {
		return kindOther
	}
	tag := l.src[start : end+1]
	for l.pos = end + 1; l.pos+len(tag) <= len(l.src); l.pos++ {
		if l.src[l.pos] == '$' && string(l.src[l.pos:l.pos+len(tag)]) == string(tag) {
			l.pos += len(tag)
			return kindString
		}
	}
	l.pos = len(l.src)
	l.odd = true
	return kindString
}

// number reads digits with fraction and exponent. Letters that follow are left: old servers read "1into" as two tokens.
func (l *lexer) number() {
	if c := l.peek(1) | 0x20; l.peek(0) == '0' && (c == 'x' || c == 'o' || c == 'b') { // old servers: 0 and a name
		for charClass[l.peek(0)]&isIdent != 0 {
			l.pos++
		}
		return
	}
	l.digits()
	if l.peek(0) == '.' {
		l.pos++
		l.digits()
	}
	if l.peek(0)|0x20 == 'e' {
		n := 1
		if c := l.peek(1); c == '+' || c == '-' {
			n = 2
		}
		if charClass[l.peek(n)]&isDigit != 0 {
			l.pos += n
			l.digits()
		}
	}
}

func (l *lexer) digits() {
	for charClass[l.peek(0)]&isDigit != 0 || (l.peek(0) == '_' && charClass[l.peek(1)]&isDigit != 0) {
		l.pos++
	}
}

// skipBlank passes white space and comments.
func (l *lexer) skipBlank() {
	src, pos := l.src, l.pos
	for pos < len(src) {
		c := src[pos]
		if charClass[c]&isSpace != 0 {
			pos++
			continue
		}
		if pos+1 == len(src) || (c != '-' && c != '/') {
			break
		}
		if c == '-' && src[pos+1] == '-' {
			for pos < len(src) && src[pos] != '\n' && src[pos] != '\r' {
				pos++
			}
		} else if c == '/' && src[pos+1] == '*' {
			l.pos = pos
			l.blockComment()
			pos = l.pos
		} else {
			break
		}
	}
	l.pos = pos
}

// blockComment passes a comment, in which comments nest, and reads the hint that it may be.
func (l *lexer) blockComment() {
	start := l.pos + 2
	depth := 1
	for l.pos = start; l.pos < len(l.src); l.pos++ {
		switch c := l.src[l.pos]; {
		case c == '*' && l.peek(1) == '/':
			l.pos++
			if depth--; depth == 0 {
				l.hint = l.hint.and(parseHint(l.src[start : l.pos-1]))
				l.pos++
				return
			}
		case c == '/' && l.peek(1) == '*':
			l.pos++
			depth++
		}
	}
	l.odd = true
}

// parseHint reads the hint in a comment, which may stand among other tags as sqlcommenter and Rails write them: tags are
// separated by commas, and a tag is key:value or key='value'.
func parseHint(comment []byte) Hint {
	hint := HintNone
	for more := true; more; {
		tag := comment
		i := bytes.IndexByte(comment, ',')
		if more = i >= 0; more {
			tag, comment = comment[:i], comment[i+1:]
		}
		hint = hint.and(parseTag(trimBlank(tag)))
	}
	return hint
}

// parseTag reads outrigger: primary and outrigger: replica in any case.
func parseTag(tag []byte) Hint {
	const key = "outrigger"
	if len(tag) < len(key) || !equalFold(tag[:len(key)], key) {
		return HintNone
	}
	tag = trimBlank(tag[len(key):])
	if len(tag) == 0 || tag[0] != ':' && tag[0] != '=' {
		return HintNone
	}
	tag = trimBlank(tag[1:])
	if n := len(tag); n > 1 && tag[0] == '\'' && tag[n-1] == '\'' {
		tag = tag[1 : n-1]
	}
	switch {
	case equalFold(tag, "primary"):
		return HintPrimary
	case equalFold(tag, "replica"):
		return HintReplica
	}
	return HintNone
}

func trimBlank(b []byte) []byte {
	for len(b) > 0 && charClass[b[0]]&isSpace != 0 {
		b = b[1:]
	}
	for len(b) > 0 && charClass[b[len(b)-1]]&isSpace != 0 {
		b = b[:len(b)-1]
	}
	return b
}
