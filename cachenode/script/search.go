package script

import (
	lua "github.com/yuin/gopher-lua"
)

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
