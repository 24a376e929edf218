package script

import (
	"math"
	"strconv"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
)

// maxJSON is how deep JSON may nest, in both directions (lua-cjson's default).
const maxJSON = 1000

// json is the library cjson (lua-cjson 2.1), with its default settings, which scripts cannot change for each other.
func (m *machine) json() fields {
	setting := func(L *lua.LState) int {
		// Settings would last beyond the script.
		fail(L, "cjson settings cannot be changed here")
		return 0
	}
	return fields{
		"encode": m.jsonEncode, "decode": m.jsonDecode, "null": m.null,
		"_NAME": lua.LString("cjson"), "_VERSION": lua.LString("2.1.0"),
		"encode_sparse_array": setting, "encode_max_depth": setting, "decode_max_depth": setting, "encode_number_precision": setting,
		"encode_keep_buffer": setting, "encode_invalid_numbers": setting, "decode_invalid_numbers": setting,
		"new": func(L *lua.LState) int { L.Push(m.globals.RawGetString("cjson")); return 1 },
	}
}

func (m *machine) jsonEncode(L *lua.LState) int {
	if L.GetTop() != 1 {
		badArg(L, "encode", 1, "expected 1 argument")
	}
	e := encoder{m: m, L: L}
	e.value(L.Get(1), 0)
	m.room(L, len(e.b))
	L.Push(lua.LString(frozen(e.b)))
	return 1
}

type encoder struct {
	m       *machine
	L       *lua.LState
	b       []byte
	charged int
}

func (e *encoder) fail(kind, why string) { fail(e.L, "Cannot serialise "+kind+": "+why) }

func (e *encoder) value(v lua.LValue, depth int) {
	e.charge()
	switch v := v.(type) {
	case lua.LString:
		e.string(string(v))
	case lua.LNumber:
		e.number(float64(v))
	case lua.LBool:
		e.b = append(e.b, v.String()...)
	case *lua.LTable:
		e.table(e.m.seen(v), depth+1)
	case *lua.LUserData:
		if v.Value != nil {
			e.fail("userdata", "type not supported")
		}
		e.b = append(e.b, "null"...)
	case *lua.LNilType:
		e.b = append(e.b, "null"...)
	default:
		e.fail(v.Type().String(), "type not supported")
	}
}

// charge asks for what has been written since it last did.
func (e *encoder) charge() {
	if len(e.b)-e.charged <= 1<<20 {
		return
	}
	e.m.room(e.L, len(e.b)-e.charged)
	e.charged = len(e.b)
	if int64(len(e.b)) > e.m.guard.memory || e.m.guard.ended() {
		fail(e.L, errNoMemory)
	}
}

func (e *encoder) number(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		e.fail("number", "must not be NaN or Inf")
	}
	e.b = appendNumber(e.b, f)
}

func (e *encoder) string(s string) {
	const hexDigits = "0123456789abcdef"
	e.b = append(e.b, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\', '/':
			e.b = append(e.b, '\\', c)
		case '\b':
			e.b = append(e.b, `\b`...)
		case '\f':
			e.b = append(e.b, `\f`...)
		case '\n':
			e.b = append(e.b, `\n`...)
		case '\r':
			e.b = append(e.b, `\r`...)
		case '\t':
			e.b = append(e.b, `\t`...)
		default:
			if c < 0x20 || c == 0x7f {
				e.charge() // it takes six times as much
				e.b = append(e.b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			} else {
				e.b = append(e.b, c)
			}
		}
	}
	e.b = append(e.b, '"')
}

// arrayLen is the length of a table that is an array, -1 for another.
func (e *encoder) arrayLen(t *lua.LTable) int {
	most, count := 0, 0
	array := true
	for k, _ := t.Next(lua.LNil); k != lua.LNil && array; k, _ = t.Next(k) {
		n, ok := k.(lua.LNumber)
		if f := float64(n); ok && f >= 1 && f == math.Floor(f) && f < math.MaxInt32 {
			most, count = max(most, int(n)), count+1
		} else {
			array = false
		}
	}
	if !array {
		return -1
	}
	if most > 10 && most > 2*count {
		e.fail("table", "excessively sparse array")
	}
	return most
}

func (e *encoder) table(t *lua.LTable, depth int) {
	if depth > maxJSON {
		fail(e.L, "Cannot serialise, excessive nesting ("+strconv.Itoa(depth)+")")
	}
	if n := e.arrayLen(t); n > 0 {
		e.b = append(e.b, '[')
		for i := 1; i <= n; i++ {
			if i > 1 {
				e.b = append(e.b, ',')
			}
			e.value(t.RawGetInt(i), depth)
		}
		e.b = append(e.b, ']')
		return
	}
	e.b = append(e.b, '{')
	first := true
	for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
		if !first {
			e.b = append(e.b, ',')
		}
		first = false
		switch k := k.(type) {
		case lua.LString:
			e.string(string(k))
		case lua.LNumber:
			e.b = append(e.b, '"')
			e.number(float64(k))
			e.b = append(e.b, '"')
		default:
			e.fail("table", "table key must be a number or string")
		}
		e.b = append(e.b, ':')
		e.value(v, depth)
	}
	e.b = append(e.b, '}')
}

func (m *machine) jsonDecode(L *lua.LState) int {
	if L.GetTop() != 1 {
		badArg(L, "decode", 1, "expected 1 argument")
	}
	s := needString(L, "decode", 1)
	if len(s) >= 2 && (s[0] == 0 || s[1] == 0) {
		fail(L, "JSON parser does not support UTF-16 or UTF-32")
	}
	m.room(L, 2*len(s))
	d := decoder{m: m, L: L, s: s}
	d.next()
	v := d.value(0)
	d.next()
	if d.kind != "T_END" {
		d.fail("the end")
	}
	L.Push(v)
	return 1
}

// decoder reads JSON as lua-cjson does, with its names for what it finds.
type decoder struct {
	m    *machine
	L    *lua.LState
	s    string
	at   int
	kind string // of the token
	from int    // where it begins
	str  string
	num  float64
	why  string // what is wrong with it
	made int
}

func (d *decoder) fail(want string) {
	found := d.kind
	if d.kind == "T_ERROR" {
		found = d.why
	}
	fail(d.L, "Expected "+want+" but found "+found+" at character "+strconv.Itoa(d.from+1))
}

func (d *decoder) error(why string) { d.kind, d.why = "T_ERROR", why }

func (d *decoder) next() {
	for d.at < len(d.s) && (d.s[d.at] == ' ' || d.s[d.at] == '\t' || d.s[d.at] == '\n' || d.s[d.at] == '\r') {
		d.at++
	}
	d.from = d.at
	if d.at >= len(d.s) {
		d.kind = "T_END"
		return
	}
	switch c := d.s[d.at]; {
	case c == '{':
		d.kind = "T_OBJ_BEGIN"
	case c == '}':
		d.kind = "T_OBJ_END"
	case c == '[':
		d.kind = "T_ARR_BEGIN"
	case c == ']':
		d.kind = "T_ARR_END"
	case c == ',':
		d.kind = "T_COMMA"
	case c == ':':
		d.kind = "T_COLON"
	case c == '"':
		d.string()
		return
	case c == '-' || isDigit(c):
		d.number()
		return
	case d.word("true"):
		d.kind = "T_BOOLEAN"
		d.num = 1
		return
	case d.word("false"):
		d.kind = "T_BOOLEAN"
		d.num = 0
		return
	case d.word("null"):
		d.kind = "T_NULL"
		return
	case c|0x20 == 'i' || c|0x20 == 'n' || c == '+':
		d.number()
		return
	default:
		d.error("invalid token")
		return
	}
	d.at++
}

func (d *decoder) word(w string) bool {
	if len(d.s)-d.at >= len(w) && d.s[d.at:d.at+len(w)] == w {
		d.at += len(w)
		return true
	}
	return false
}

// number reads what strtod reads: lua-cjson takes hexadecimal numbers, infinity and NaN as well.
func (d *decoder) number() {
	end := d.at
	for end < len(d.s) && (isDigit(d.s[end]) || isAlpha(d.s[end]) || d.s[end] == '.' || d.s[end] == '-' || d.s[end] == '+') && end-d.at < 400 {
		end++
	}
	for ; end > d.at; end-- {
		s := d.s[d.at:end]
		if c := s[len(s)-1]; c == '-' || c == '+' {
			continue
		}
		if f, ok := parseNumber(s); ok {
			d.kind, d.num, d.at = "T_NUMBER", f, end
			return
		}
	}
	if c := d.s[d.at]; c == '-' || c == '+' || isDigit(c) {
		d.error("invalid number")
	} else {
		d.error("invalid token")
	}
}

func (d *decoder) string() {
	d.kind = "T_STRING"
	var b []byte
	plain := d.at + 1
	for i := d.at + 1; ; {
		if i >= len(d.s) {
			d.from = i
			d.error("unexpected end of string")
			return
		}
		switch c := d.s[i]; c {
		case '"':
			d.str = string(append(b, d.s[plain:i]...))
			d.at = i + 1
			return
		case '\\':
			b = append(b, d.s[plain:i]...)
			n := 2
			var e byte
			if i+1 < len(d.s) {
				e = d.s[i+1]
			}
			switch e {
			case '"', '\\', '/':
				b = append(b, e)
			case 'b':
				b = append(b, '\b')
			case 'f':
				b = append(b, '\f')
			case 'n':
				b = append(b, '\n')
			case 'r':
				b = append(b, '\r')
			case 't':
				b = append(b, '\t')
			case 'u':
				r, size := d.unicode(i)
				if size == 0 {
					d.from = i
					d.error("invalid unicode escape code")
					return
				}
				b, n = utf8.AppendRune(b, r), size
			default:
				d.from = i
				d.error("invalid escape code")
				return
			}
			i += n
			plain = i
		default:
			i++
		}
	}
}

// unicode reads \uXXXX, or two of them that are surrogates. size is 0 for what is neither.
func (d *decoder) unicode(i int) (r rune, size int) {
	unit := func(i int) (rune, bool) {
		if i+6 > len(d.s) || d.s[i] != '\\' || d.s[i+1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(d.s[i+2:i+6], 16, 32)
		return rune(n), err == nil
	}
	hi, ok := unit(i)
	switch {
	case !ok:
		return 0, 0
	case hi < 0xd800 || hi > 0xdfff:
		return hi, 6
	case hi >= 0xdc00:
		return 0, 0
	}
	lo, ok := unit(i + 6)
	if !ok || lo < 0xdc00 || lo > 0xdfff {
		return 0, 0
	}
	return 0x10000 + (hi-0xd800)<<10 + (lo - 0xdc00), 12
}

// value is the value that begins with the token.
func (d *decoder) value(depth int) lua.LValue {
	if d.made++; d.made&0xfff == 0 {
		if !d.m.guard.charge(0x1000*64) || d.m.guard.ended() {
			fail(d.L, errNoMemory)
		}
	}
	switch d.kind {
	case "T_STRING":
		return lua.LString(d.str)
	case "T_NUMBER":
		return lua.LNumber(d.num)
	case "T_BOOLEAN":
		return lua.LBool(d.num == 1)
	case "T_NULL":
		return d.m.null
	case "T_OBJ_BEGIN":
		return d.object(depth + 1)
	case "T_ARR_BEGIN":
		return d.array(depth + 1)
	}
	d.fail("value")
	return nil
}

func (d *decoder) descend(depth int) {
	if depth > maxJSON {
		fail(d.L, "Found too many nested data structures ("+strconv.Itoa(depth)+") at character "+strconv.Itoa(d.at))
	}
}

func (d *decoder) object(depth int) lua.LValue {
	d.descend(depth)
	t := d.L.NewTable()
	d.next()
	if d.kind == "T_OBJ_END" {
		return t
	}
	for {
		if d.kind != "T_STRING" {
			d.fail("object key string")
		}
		key := d.str
		if d.next(); d.kind != "T_COLON" {
			d.fail("colon")
		}
		d.next()
		t.RawSetString(key, d.value(depth))
		d.next()
		if d.kind == "T_OBJ_END" {
			return t
		}
		if d.kind != "T_COMMA" {
			d.fail("comma or object end")
		}
		d.next()
	}
}

func (d *decoder) array(depth int) lua.LValue {
	d.descend(depth)
	t := d.L.NewTable()
	d.next()
	if d.kind == "T_ARR_END" {
		return t
	}
	for i := 1; ; i++ {
		t.RawSetInt(i, d.value(depth))
		d.next()
		if d.kind == "T_ARR_END" {
			return t
		}
		if d.kind != "T_COMMA" {
			d.fail("comma or array end")
		}
		d.next()
	}
}
