package script

import (
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

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
			s := needString(L, "format", arg)
			m.room(L, len(s)+3*strings.Count(s, "\x00"))
			b = quote(b, s)
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
