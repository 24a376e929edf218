package script

import (
	lua "github.com/yuin/gopher-lua"
)

const (
	maxCaptures = 32
	maxPattern  = 20_000 // recursion, one level an item of the pattern
	lookEvery   = 4096   // bytes looked at before the guard is asked again

	capUnfinished = -1
	capPosition   = -2
)

// matcher matches one pattern of Lua 5.1 (reference manual, 5.4.1) against one string. Unlike the interpreter's own it
// asks now and then whether the script is to stop, for a pattern can take time without end.
type matcher struct {
	L     *lua.LState
	guard *guard
	s, p  string
	level int
	caps  [maxCaptures]struct{ start, len int }
	depth int
	steps int
}

func isClass(c byte, class byte) bool {
	var in bool
	switch class | 0x20 {
	case 'a':
		in = isAlpha(c)
	case 'd':
		in = isDigit(c)
	case 'l':
		in = c >= 'a' && c <= 'z'
	case 's':
		in = c == ' ' || c >= '\t' && c <= '\r'
	case 'u':
		in = c >= 'A' && c <= 'Z'
	case 'w':
		in = isAlpha(c) || isDigit(c)
	case 'x':
		in = isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f'
	case 'p':
		in = c > ' ' && c < 0x7f && !isAlpha(c) && !isDigit(c)
	case 'c':
		in = c < ' ' || c == 0x7f
	case 'z':
		in = c == 0
	default:
		return class == c
	}
	if class >= 'A' && class <= 'Z' {
		return !in
	}
	return in
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// item finds the end of the single-character item at p.
func (m *matcher) item(p int) int {
	c := m.p[p]
	p++
	switch c {
	case '%':
		if p >= len(m.p) {
			fail(m.L, "malformed pattern (ends with '%')")
		}
		return p + 1
	case '[':
		if p < len(m.p) && m.p[p] == '^' {
			p++
		}
		for first := true; ; first = false {
			if p >= len(m.p) {
				fail(m.L, "malformed pattern (missing ']')")
			}
			if m.p[p] == ']' && !first {
				return p + 1
			}
			c := m.p[p]
			p++
			if c == '%' && p < len(m.p) {
				p++
			}
		}
	}
	return p
}

// inSet matches c with the set from p, which is '[', to end, which is ']'.
func (m *matcher) inSet(c byte, p, end int) bool {
	p++
	in := true
	if m.p[p] == '^' {
		in = false
		p++
	}
	for first := true; p < end; first = false {
		switch {
		case m.p[p] == '%' && p+1 < end:
			p++
			if isClass(c, m.p[p]) {
				return in
			}
			p++
		case p+2 < end && m.p[p+1] == '-':
			if m.p[p] <= c && c <= m.p[p+2] {
				return in
			}
			p += 3
		default:
			if m.p[p] == c && (first || m.p[p] != ']') {
				return in
			}
			p++
		}
	}
	return !in
}

func (m *matcher) one(s, p, end int) bool {
	if s >= len(m.s) {
		return false
	}
	c := m.s[s]
	switch m.p[p] {
	case '.':
		return true
	case '%':
		return isClass(c, m.p[p+1])
	case '[':
		return m.inSet(c, p, end-1)
	}
	return m.p[p] == c
}

// step counts what looks at n bytes, of the string or of the pattern.
func (m *matcher) step(n int) {
	if m.steps += n; m.steps < lookEvery {
		return
	}
	m.steps = 0
	if m.guard.ended() {
		fail(m.L, "stopped")
	}
}

// match matches the pattern from p at s and returns the end of the match, -1 for none.
func (m *matcher) match(s, p int) int {
	if m.depth++; m.depth > maxPattern {
		fail(m.L, "pattern too complex")
	}
	defer func() { m.depth-- }()
	for p < len(m.p) {
		m.step(1)
		switch m.p[p] {
		case '(':
			if p+1 < len(m.p) && m.p[p+1] == ')' {
				return m.open(s, p+2, capPosition)
			}
			return m.open(s, p+1, capUnfinished)
		case ')':
			return m.close(s, p+1)
		case '$':
			if p+1 == len(m.p) {
				if s == len(m.s) {
					return s
				}
				return -1
			}
		case '%':
			if p+1 < len(m.p) {
				switch c := m.p[p+1]; {
				case c == 'b':
					if s = m.balance(s, p+2); s < 0 {
						return -1
					}
					p += 4
					continue
				case c == 'f':
					p += 2
					if p >= len(m.p) || m.p[p] != '[' {
						fail(m.L, "missing '[' after '%f' in pattern")
					}
					end := m.item(p)
					m.step(end - p)
					before, after := byte(0), byte(0)
					if s > 0 {
						before = m.s[s-1]
					}
					if s < len(m.s) {
						after = m.s[s]
					}
					if m.inSet(before, p, end-1) || !m.inSet(after, p, end-1) {
						return -1
					}
					p = end
					continue
				case isDigit(c):
					if s = m.back(s, c); s < 0 {
						return -1
					}
					p += 2
					continue
				}
			}
		}
		end := m.item(p)
		m.step(end - p)
		suffix := byte(0)
		if end < len(m.p) {
			suffix = m.p[end]
		}
		switch suffix {
		case '?':
			if m.one(s, p, end) {
				if r := m.match(s+1, end+1); r >= 0 {
					return r
				}
			}
			p = end + 1
		case '*':
			return m.most(s, p, end)
		case '+':
			if !m.one(s, p, end) {
				return -1
			}
			return m.most(s+1, p, end)
		case '-':
			for {
				m.step(end - p)
				if r := m.match(s, end+1); r >= 0 {
					return r
				}
				if !m.one(s, p, end) {
					return -1
				}
				s++
			}
		default:
			if !m.one(s, p, end) {
				return -1
			}
			s++
			p = end
		}
	}
	return s
}

func (m *matcher) most(s, p, end int) int {
	n := 0
	for m.one(s+n, p, end) {
		m.step(end - p)
		n++
	}
	for ; n >= 0; n-- {
		if r := m.match(s+n, end+1); r >= 0 {
			return r
		}
	}
	return -1
}

func (m *matcher) open(s, p, kind int) int {
	if m.level >= maxCaptures {
		fail(m.L, "too many captures")
	}
	m.caps[m.level].start, m.caps[m.level].len = s, kind
	m.level++
	r := m.match(s, p)
	if r < 0 {
		m.level--
	}
	return r
}

func (m *matcher) close(s, p int) int {
	l := -1
	for i := m.level - 1; i >= 0; i-- {
		if m.caps[i].len == capUnfinished {
			l = i
			break
		}
	}
	if l < 0 {
		fail(m.L, "invalid pattern capture")
	}
	m.caps[l].len = s - m.caps[l].start
	r := m.match(s, p)
	if r < 0 {
		m.caps[l].len = capUnfinished
	}
	return r
}

func (m *matcher) balance(s, p int) int {
	if p+1 >= len(m.p) {
		fail(m.L, "unbalanced pattern")
	}
	if s >= len(m.s) || m.s[s] != m.p[p] {
		return -1
	}
	opening, closing, depth := m.p[p], m.p[p+1], 1
	for i := s + 1; i < len(m.s); i++ {
		switch m.s[i] {
		case closing:
			if depth--; depth == 0 {
				m.step(i - s)
				return i + 1
			}
		case opening:
			depth++
		}
	}
	m.step(len(m.s) - s)
	return -1
}

func (m *matcher) back(s int, digit byte) int {
	l := int(digit) - '1'
	if l < 0 || l >= m.level || m.caps[l].len == capUnfinished {
		fail(m.L, "invalid capture index")
	}
	c := m.caps[l]
	m.step(max(c.len, 0) / 16) // compared many at a time
	if len(m.s)-s >= c.len && m.s[c.start:c.start+max(c.len, 0)] == m.s[s:s+max(c.len, 0)] {
		return s + max(c.len, 0)
	}
	return -1
}

// capture gives capture i of a match from start to end, the whole match where there are no captures.
func (m *matcher) capture(i, start, end int) lua.LValue {
	if i >= m.level {
		if i != 0 {
			fail(m.L, "invalid capture index")
		}
		return lua.LString(m.s[start:end])
	}
	switch c := m.caps[i]; c.len {
	case capUnfinished:
		fail(m.L, "unfinished capture")
	case capPosition:
		return lua.LNumber(c.start + 1)
	default:
		return lua.LString(m.s[c.start : c.start+c.len])
	}
	return lua.LNil
}

// push pushes all captures and returns how many.
func (m *matcher) push(start, end int, whole bool) int {
	n := m.level
	if n == 0 && whole {
		n = 1
	}
	for i := range n {
		m.L.Push(m.capture(i, start, end))
	}
	return n
}
