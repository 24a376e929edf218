package script

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

const errReadOnly = "Attempt to modify a readonly table"

// base are the global functions. What is missing beside Lua 5.1 is missing in Redis.
func (m *machine) base() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"assert": baseAssert, "collectgarbage": baseCollect, "error": baseError, "gcinfo": baseGCInfo, "getmetatable": m.getmetatable,
		"ipairs": m.ipairs, "load": m.load, "loadstring": m.loadstring, "next": m.next, "pairs": m.pairs, "pcall": m.pcall, "rawequal": rawequal,
		"rawget": m.rawget, "rawset": m.rawset, "select": baseSelect, "setmetatable": m.setmetatable, "tonumber": tonumber,
		"tostring": tostring, "type": typeOf, "unpack": m.unpack, "xpcall": m.xpcall, concatName: m.concat,
	}
}

func baseAssert(L *lua.LState) int {
	if lua.LVAsBool(needAny(L, "assert", 1)) {
		return L.GetTop()
	}
	message := "assertion failed!"
	if L.Get(2) != lua.LNil {
		message = needString(L, "assert", 2)
	}
	fail(L, message)
	return 0
}

func baseCollect(L *lua.LState) int {
	what := "collect"
	if L.Get(1) != lua.LNil {
		what = needString(L, "collectgarbage", 1)
	}
	switch what {
	case "count":
		L.Push(lua.LNumber(heapBytes() >> 10))
	case "collect", "stop", "restart", "step", "setpause", "setstepmul":
		L.Push(lua.LNumber(0))
	default:
		badArg(L, "collectgarbage", 1, "invalid option '"+what+"'")
	}
	return 1
}

func baseGCInfo(L *lua.LState) int {
	L.Push(lua.LNumber(heapBytes() >> 10))
	return 1
}

func baseError(L *lua.LState) int {
	level := optInt(L, "error", 2, 1)
	v := L.Get(1)
	if s, ok := text(v); ok && level > 0 {
		v = lua.LString(position(L, int(min(level, 1<<20))) + s)
	}
	L.Error(v, 0)
	return 0
}

func (m *machine) getmetatable(L *lua.LState) int {
	v := needAny(L, "getmetatable", 1)
	if t, ok := v.(*lua.LTable); ok && m.real[t] != nil {
		if t == m.env {
			L.Push(m.envMeta)
		} else {
			L.Push(lua.LNil)
		}
		return 1
	}
	if v.Type() == lua.LTString {
		L.Push(m.stringMeta)
		return 1
	}
	var mt *lua.LTable
	if t, ok := v.(*lua.LTable); ok {
		mt, _ = t.Metatable.(*lua.LTable)
	}
	if mt == nil {
		L.Push(lua.LNil)
		return 1
	}
	if field := mt.RawGetString("__metatable"); field != lua.LNil {
		L.Push(field)
		return 1
	}
	if shell := m.shells[mt]; shell != nil {
		mt = shell
	}
	L.Push(mt)
	return 1
}

func (m *machine) setmetatable(L *lua.LState) int {
	t := needTable(L, "setmetatable", 1)
	mt := L.Get(2)
	if L.GetTop() < 2 || mt != lua.LNil && mt.Type() != lua.LTTable {
		badArg(L, "setmetatable", 2, "nil or table expected")
	}
	if m.real[t] != nil {
		L.Error(lua.LString(errReadOnly), 0)
	}
	if old, ok := t.Metatable.(*lua.LTable); ok && old.RawGetString("__metatable") != lua.LNil {
		fail(L, "cannot change a protected metatable")
	}
	if p, ok := mt.(*lua.LTable); ok && m.real[p] != nil {
		mt = m.real[p] // what is protected is a shell around the fields
	}
	t.Metatable = mt
	L.Push(t)
	return 1
}

func (m *machine) seen(t *lua.LTable) *lua.LTable {
	if r := m.real[t]; r != nil {
		return r
	}
	return t
}

func (m *machine) next(L *lua.LState) int {
	t := m.seen(needTable(L, "next", 1))
	k, v := t.Next(L.Get(2))
	if k == lua.LNil {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(k)
	L.Push(v)
	return 2
}

func (m *machine) pairs(L *lua.LState) int {
	t := needTable(L, "pairs", 1)
	L.Push(m.nextFn)
	L.Push(t)
	L.Push(lua.LNil)
	return 3
}

func (m *machine) ipairs(L *lua.LState) int {
	t := needTable(L, "ipairs", 1)
	L.Push(m.inextFn)
	L.Push(t)
	L.Push(lua.LNumber(0))
	return 3
}

func (m *machine) inext(L *lua.LState) int {
	i := L.CheckInt(2) + 1
	v := m.seen(L.CheckTable(1)).RawGetInt(i)
	if v == lua.LNil {
		return 0
	}
	L.Push(lua.LNumber(i))
	L.Push(v)
	return 2
}

func rawequal(L *lua.LState) int {
	L.Push(lua.LBool(needAny(L, "rawequal", 1) == needAny(L, "rawequal", 2)))
	return 1
}

func (m *machine) rawget(L *lua.LState) int {
	L.Push(m.seen(needTable(L, "rawget", 1)).RawGet(needAny(L, "rawget", 2)))
	return 1
}

func (m *machine) rawset(L *lua.LState) int {
	t := needTable(L, "rawset", 1)
	k, v := needAny(L, "rawset", 2), needAny(L, "rawset", 3)
	if m.real[t] != nil {
		L.Error(lua.LString(errReadOnly), 0)
	}
	if k == lua.LNil {
		L.Error(lua.LString("table index is nil"), 0)
	}
	if n, ok := k.(lua.LNumber); ok && n != n {
		L.Error(lua.LString("table index is NaN"), 0)
	}
	t.RawSet(k, v)
	L.SetTop(1)
	return 1
}

func baseSelect(L *lua.LState) int {
	top := L.GetTop()
	if s, ok := L.Get(1).(lua.LString); ok && strings.HasPrefix(string(s), "#") {
		L.Push(lua.LNumber(top - 1))
		return 1
	}
	i := needInt(L, "select", 1)
	if i < 0 {
		i += int64(top)
	} else if i > int64(top) {
		i = int64(top)
	}
	if i < 1 {
		badArg(L, "select", 1, "index out of range")
	}
	return top - int(i)
}

func tonumber(L *lua.LState) int {
	base := optInt(L, "tonumber", 2, 10)
	if base == 10 {
		f, ok := number(needAny(L, "tonumber", 1))
		if !ok {
			L.Push(lua.LNil)
		} else {
			L.Push(lua.LNumber(f))
		}
		return 1
	}
	s := needString(L, "tonumber", 1)
	if base < 2 || base > 36 {
		badArg(L, "tonumber", 2, "base out of range")
	}
	if f, ok := parseBase(s, int(base)); ok {
		L.Push(lua.LNumber(f))
	} else {
		L.Push(lua.LNil)
	}
	return 1
}

// parseBase reads as strtoul does.
func parseBase(s string, base int) (float64, bool) {
	s = strings.Trim(s, " \t\n\v\f\r")
	negative := false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		negative, s = s[0] == '-', s[1:]
	}
	if base == 16 && len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		s = s[2:]
	}
	if s == "" {
		return 0, false
	}
	n, full := uint64(0), false
	for i := range len(s) {
		d := 99
		switch c := s[i] | 0x20; {
		case s[i] >= '0' && s[i] <= '9':
			d = int(s[i] - '0')
		case c >= 'a' && c <= 'z':
			d = int(c-'a') + 10
		}
		if d >= base {
			return 0, false
		}
		if n > (1<<64-1-uint64(d))/uint64(base) {
			full = true
		}
		n = n*uint64(base) + uint64(d)
	}
	if full {
		n = 1<<64 - 1
	} else if negative {
		n = -n
	}
	return float64(n), true
}

func tostring(L *lua.LState) int {
	v := needAny(L, "tostring", 1)
	if meta := L.GetMetaField(v, "__tostring"); meta != lua.LNil {
		L.Push(meta)
		L.Push(v)
		L.Call(1, 1)
		return 1
	}
	if s, ok := text(v); ok {
		L.Push(lua.LString(s))
	} else if u, ok := v.(*lua.LUserData); ok && u.Value == nil {
		L.Push(lua.LString("userdata: (nil)"))
	} else {
		L.Push(lua.LString(v.String()))
	}
	return 1
}

func typeOf(L *lua.LState) int {
	L.Push(lua.LString(needAny(L, "type", 1).Type().String()))
	return 1
}

func (m *machine) unpack(L *lua.LState) int {
	t := m.seen(needTable(L, "unpack", 1))
	from := optInt(L, "unpack", 2, 1)
	to := optInt(L, "unpack", 3, int64(t.Len()))
	if from > to {
		return 0
	}
	if uint64(to)-uint64(from) >= maxUnpack {
		fail(L, "too many results to unpack")
	}
	for i := from; i <= to; i++ {
		L.Push(t.RawGet(lua.LNumber(i)))
	}
	return int(to - from + 1)
}

// maxUnpack bounds the values that unpack returns, as Lua's stack does.
const maxUnpack = 7999

// concat is the operator "..".
func (m *machine) concat(L *lua.LState) int {
	n := L.GetTop()
	total := 0
	plain := true
	for i := 1; i <= n; i++ {
		switch v := L.Get(i).(type) {
		case lua.LString:
			total += len(v)
		case lua.LNumber:
			total += 24
		default:
			plain = false
		}
	}
	if plain {
		L.Push(lua.LString(m.join(L, total, 1, n)))
		return 1
	}
	// From the right, as the operator binds.
	right := L.Get(n)
	for i := n - 1; i >= 1; i-- {
		left := L.Get(i)
		a, ok1 := text(left)
		b, ok2 := text(right)
		if ok1 && ok2 {
			m.room(L, len(a)+len(b))
			right = lua.LString(a + b)
			continue
		}
		op := L.GetMetaField(left, "__concat")
		if op == lua.LNil {
			op = L.GetMetaField(right, "__concat")
		}
		if op == lua.LNil {
			wrong := left
			at := n - i // from the right
			if ok1 {
				wrong, at = right, n-i-1
			}
			fail(L, "attempt to concatenate "+m.named(L, wrong.Type().String(), func(s *site) string {
				if len(s.chains) == 1 && at < len(s.chains[0]) {
					return s.chains[0][at]
				}
				return ""
			}))
		}
		L.Push(op)
		L.Push(left)
		L.Push(right)
		L.Call(2, 1)
		right = L.Get(-1)
		L.Pop(1)
	}
	L.Push(right)
	return 1
}

func (m *machine) join(L *lua.LState, total, from, to int) string {
	m.room(L, total)
	b := make([]byte, 0, total)
	for i := from; i <= to; i++ {
		switch v := L.Get(i).(type) {
		case lua.LString:
			b = append(b, v...)
		case lua.LNumber:
			b = appendNumber(b, float64(v))
		}
	}
	return frozen(b)
}

const errNoMemory = "not enough memory"

// room asks for n bytes in one piece.
func (m *machine) room(L *lua.LState, n int) {
	if n > 256 && !m.guard.charge(n) {
		fail(L, errNoMemory)
	}
}
