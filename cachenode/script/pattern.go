package script

import (
	"strconv"

	lua "github.com/yuin/gopher-lua"
)

const (
	maxCaptures = 32
	maxPattern  = 20_000 // recursion, one level an item of the pattern

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

func (m *matcher) step() {
	if m.steps++; m.steps&0xfff == 0 && m.guard.ended() {
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
		m.step()
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
		m.step()
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
				return i + 1
			}
		case opening:
			depth++
		}
	}
	return -1
}

func (m *matcher) back(s int, digit byte) int {
	l := int(digit) - '1'
	if l < 0 || l >= m.level || m.caps[l].len == capUnfinished {
		fail(m.L, "invalid capture index")
	}
	c := m.caps[l]
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

const specials = "^$*+?.([%-"

// find is string.find and string.match.
func (m *machine) find(L *lua.LState, name string, find bool) int {
	s, p := needString(L, name, 1), needString(L, name, 2)
	init := optInt(L, name, 3, 1)
	if init < 0 {
		init += int64(len(s)) + 1
	}
	at := int(min(max(init, 1)-1, int64(len(s))))
	if find && (lua.LVAsBool(L.Get(4)) || !hasSpecials(p)) {
		if i := indexFrom(s, p, at); i >= 0 {
			L.Push(lua.LNumber(i + 1))
			L.Push(lua.LNumber(i + len(p)))
			return 2
		}
		L.Push(lua.LNil)
		return 1
	}
	anchor := p != "" && p[0] == '^'
	mt := &matcher{L: L, guard: m.guard, s: s, p: p}
	first := 0
	if anchor {
		first = 1
	}
	for ; at <= len(s); at++ {
		mt.level = 0
		if end := mt.match(at, first); end >= 0 {
			if find {
				L.Push(lua.LNumber(at + 1))
				L.Push(lua.LNumber(end))
				return mt.push(at, end, false) + 2
			}
			return mt.push(at, end, true)
		}
		if anchor {
			break
		}
	}
	L.Push(lua.LNil)
	return 1
}

func (m *machine) gmatch(L *lua.LState) int {
	s, p := needString(L, "gmatch", 1), needString(L, "gmatch", 2)
	at := 0
	L.Push(L.NewFunction(func(L *lua.LState) int {
		mt := &matcher{L: L, guard: m.guard, s: s, p: p}
		for ; at <= len(s); at++ {
			mt.level = 0
			if end := mt.match(at, 0); end >= 0 {
				start := at
				if at = end; end == start {
					at++
				}
				return mt.push(start, end, true)
			}
		}
		return 0
	}))
	return 1
}

func (m *machine) gsub(L *lua.LState) int {
	s, p := needString(L, "gsub", 1), needString(L, "gsub", 2)
	repl := L.Get(3)
	switch repl.Type() {
	case lua.LTNumber, lua.LTString, lua.LTFunction, lua.LTTable:
	default:
		badArg(L, "gsub", 3, "string/function/table expected")
	}
	most := optInt(L, "gsub", 4, int64(len(s))+1)
	anchor := p != "" && p[0] == '^'
	first := 0
	if anchor {
		first = 1
	}
	mt := &matcher{L: L, guard: m.guard, s: s, p: p}
	var b []byte
	at, n := 0, int64(0)
	for n < most {
		mt.level, mt.depth = 0, 0
		end := mt.match(at, first)
		if end >= 0 {
			n++
			b = m.replace(L, mt, b, repl, at, end)
		}
		switch {
		case end >= 0 && end > at:
			at = end
		case at < len(s):
			b = append(b, s[at])
			at++
		default:
			at++
		}
		if at > len(s) || anchor {
			break
		}
	}
	if at < len(s) {
		b = append(b, s[at:]...)
	}
	m.room(L, len(b))
	L.Push(lua.LString(b))
	L.Push(lua.LNumber(n))
	return 2
}

func (m *machine) replace(L *lua.LState, mt *matcher, b []byte, repl lua.LValue, start, end int) []byte {
	var v lua.LValue
	switch repl := repl.(type) {
	case *lua.LFunction:
		L.Push(repl)
		k := mt.push(start, end, true)
		L.Call(k, 1)
		v = L.Get(-1)
		L.Pop(1)
	case *lua.LTable:
		v = L.GetTable(repl, mt.capture(0, start, end))
	default:
		r, _ := text(repl)
		before := len(b)
		for i := 0; i < len(r); i++ {
			if r[i] != '%' {
				b = append(b, r[i])
				continue
			}
			i++
			switch {
			case i >= len(r):
				b = append(b, 0)
			case !isDigit(r[i]):
				b = append(b, r[i])
			case r[i] == '0':
				b = append(b, mt.s[start:end]...)
			default:
				c, _ := text(mt.capture(int(r[i]-'1'), start, end))
				b = append(b, c...)
			}
			if len(b)-before > 1<<20 {
				m.room(L, len(b)-before)
				before = len(b)
			}
		}
		m.room(L, len(b)-before+257)
		return b
	}
	if !lua.LVAsBool(v) {
		return append(b, mt.s[start:end]...)
	}
	s, ok := text(v)
	if !ok {
		fail(L, "invalid replacement value (a "+v.Type().String()+")")
	}
	m.room(L, len(s))
	return append(b, s...)
}

func hasSpecials(p string) bool {
	for i := range len(p) {
		for j := range len(specials) {
			if p[i] == specials[j] {
				return true
			}
		}
	}
	return false
}

// format is string.format.
func (m *machine) format(L *lua.LState) int {
	f := needString(L, "format", 1)
	var b []byte
	arg := 1
	for i := 0; i < len(f); i++ {
		if f[i] != '%' {
			b = append(b, f[i])
			continue
		}
		if i++; i < len(f) && f[i] == '%' {
			b = append(b, '%')
			continue
		}
		if arg++; arg > L.GetTop() {
			badArg(L, "format", arg, "no value")
		}
		start := i
		spec := formatSpec{precision: -1}
		for ; i < len(f) && isFlag(f[i]); i++ {
			spec.flag(f[i])
		}
		if i-start > 5 {
			fail(L, "invalid format (repeated flags)")
		}
		digits := func() (n int) {
			for k := 0; k < 2 && i < len(f) && isDigit(f[i]); k++ {
				n = 10*n + int(f[i]-'0')
				i++
			}
			return n
		}
		spec.width = digits()
		if i < len(f) && f[i] == '.' {
			i++
			spec.precision = digits()
		}
		if i < len(f) && isDigit(f[i]) {
			fail(L, "invalid format (width or precision too long)")
		}
		verb := byte(0)
		if i < len(f) {
			verb = f[i]
		}
		switch verb {
		case 'c':
			b = spec.pad(b, string([]byte{byte(needInt(L, "format", arg))}))
		case 'd', 'i':
			b = spec.integer(b, needInt(L, "format", arg))
		case 'o', 'u', 'x', 'X':
			b = spec.unsigned(b, uint64(toInt(needNumber(L, "format", arg))), verb)
		case 'e', 'E', 'f', 'g', 'G':
			b = spec.float(b, needNumber(L, "format", arg), verb)
		case 'q':
			b = quote(b, needString(L, "format", arg))
		case 's':
			s := needString(L, "format", arg)
			m.room(L, len(s))
			if spec.precision >= 0 {
				s = s[:min(len(s), spec.precision)]
			}
			b = spec.pad(b, s)
		default:
			name := "%"
			if i < len(f) {
				name += f[start : i+1]
			} else {
				name += f[start:]
			}
			fail(L, "invalid option '"+name+"' to 'format'")
		}
	}
	m.room(L, len(b))
	L.Push(lua.LString(b))
	return 1
}

func isFlag(c byte) bool { return c == '-' || c == '+' || c == ' ' || c == '#' || c == '0' }

// formatSpec is what stands between % and the letter, as printf of C has it.
type formatSpec struct {
	left, plus, space, alt, zero bool
	width, precision             int
}

func (f *formatSpec) flag(c byte) {
	switch c {
	case '-':
		f.left = true
	case '+':
		f.plus = true
	case ' ':
		f.space = true
	case '#':
		f.alt = true
	case '0':
		f.zero = true
	}
}

func (f *formatSpec) pad(b []byte, s string) []byte {
	fill := f.width - len(s)
	for ; fill > 0 && !f.left; fill-- {
		b = append(b, ' ')
	}
	b = append(b, s...)
	for ; fill > 0; fill-- {
		b = append(b, ' ')
	}
	return b
}

// signed pads a number, whose sign comes before its zeros.
func (f *formatSpec) signed(b []byte, sign, digits string, zero bool) []byte {
	if zero && !f.left {
		for len(sign)+len(digits) < f.width {
			digits = "0" + digits
		}
	}
	return f.pad(b, sign+digits)
}

func (f *formatSpec) sign(negative bool) string {
	switch {
	case negative:
		return "-"
	case f.plus:
		return "+"
	case f.space:
		return " "
	}
	return ""
}

func (f *formatSpec) digits(s string) string {
	if f.precision == 0 && s == "0" {
		s = ""
	}
	for len(s) < f.precision {
		s = "0" + s
	}
	return s
}

func (f *formatSpec) integer(b []byte, v int64) []byte {
	u := uint64(v)
	if v < 0 {
		u = -u
	}
	return f.signed(b, f.sign(v < 0), f.digits(strconv.FormatUint(u, 10)), f.zero && f.precision < 0)
}

func (f *formatSpec) unsigned(b []byte, v uint64, verb byte) []byte {
	base := map[byte]int{'o': 8, 'u': 10, 'x': 16, 'X': 16}[verb]
	s, prefix := f.digits(strconv.FormatUint(v, base)), ""
	if f.alt && verb == 'o' && (s == "" || s[0] != '0') {
		s = "0" + s
	}
	if f.alt && base == 16 && v != 0 {
		prefix = "0x"
	}
	if verb == 'X' {
		s, prefix = upper(s), upper(prefix)
	}
	return f.signed(b, prefix, s, f.zero && f.precision < 0)
}

func (f *formatSpec) float(b []byte, v float64, verb byte) []byte {
	precision := f.precision
	if precision < 0 {
		precision = 6
	}
	sign := f.sign(v < 0 || v == 0 && 1/v < 0)
	lower := verb | 0x20
	var s string
	switch {
	case v != v:
		s, sign = "nan", f.sign(true)
		var t [8]byte
		if x := appendFloat(t[:0], v, 14); x[0] != '-' {
			sign = f.sign(false)
		}
	case v-v != 0:
		s = "inf"
	default:
		if v < 0 {
			v = -v
		} else if v == 0 {
			v = 0
		}
		if lower == 'g' && precision == 0 {
			precision = 1
		}
		s = strconv.FormatFloat(v, lower, precision, 64)
		if s != "" && s[0] == '-' {
			s = s[1:]
		}
	}
	if verb != lower {
		s = upper(s)
	}
	return f.signed(b, sign, s, f.zero && v-v == 0)
}

func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 0x20
		}
	}
	return string(b)
}

func quote(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\', '\n':
			b = append(b, '\\', c)
		case '\r':
			b = append(b, `\r`...)
		case 0:
			b = append(b, `\000`...)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
