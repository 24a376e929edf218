package script

import (
	"math"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// strings is the library of that name.
func (m *machine) strings() fields {
	return fields{
		"byte": m.byte, "char": char, "dump": func(L *lua.LState) int { fail(L, "unable to dump given function"); return 0 },
		"find":   func(L *lua.LState) int { return m.find(L, "find", true) },
		"match":  func(L *lua.LState) int { return m.find(L, "match", false) },
		"gmatch": m.gmatch, "gfind": m.gmatch,
		"gsub": m.gsub, "format": m.format, "rep": m.rep,
		"len": func(L *lua.LState) int { L.Push(lua.LNumber(len(needString(L, "len", 1)))); return 1 },
		"lower": func(L *lua.LState) int {
			return m.mapped(L, "lower", func(b []byte) {
				for i, c := range b {
					if c >= 'A' && c <= 'Z' {
						b[i] = c + 0x20
					}
				}
			})
		},
		"upper": func(L *lua.LState) int {
			return m.mapped(L, "upper", func(b []byte) {
				for i, c := range b {
					if c >= 'a' && c <= 'z' {
						b[i] = c - 0x20
					}
				}
			})
		},
		"reverse": func(L *lua.LState) int { return m.mapped(L, "reverse", slices.Reverse[[]byte]) },
		"sub":     sub,
	}
}

func (m *machine) mapped(L *lua.LState, name string, change func([]byte)) int {
	s := needString(L, name, 1)
	m.room(L, len(s))
	b := []byte(s)
	change(b)
	L.Push(lua.LString(frozen(b)))
	return 1
}

func indexFrom(s, p string, from int) int {
	i := strings.Index(s[from:], p)
	if i < 0 {
		return -1
	}
	return from + i
}

// relative turns a position that may count from the end into one from the front.
func relative(pos int64, n int) int64 {
	if pos < 0 {
		return max(pos+int64(n)+1, 0)
	}
	return pos
}

func sub(L *lua.LState) int {
	s := needString(L, "sub", 1)
	from := max(relative(needInt(L, "sub", 2), len(s)), 1)
	to := min(relative(optInt(L, "sub", 3, -1), len(s)), int64(len(s)))
	if from > to {
		L.Push(lua.LString(""))
	} else {
		L.Push(lua.LString(s[from-1 : to]))
	}
	return 1
}

func (m *machine) byte(L *lua.LState) int {
	s := needString(L, "byte", 1)
	from := relative(optInt(L, "byte", 2, 1), len(s))
	to := min(relative(optInt(L, "byte", 3, from), len(s)), int64(len(s)))
	from = max(from, 1)
	if from > to {
		return 0
	}
	if to-from >= maxUnpack {
		fail(L, "string slice too long")
	}
	for i := from; i <= to; i++ {
		L.Push(lua.LNumber(s[i-1]))
	}
	return int(to - from + 1)
}

func char(L *lua.LState) int {
	b := make([]byte, L.GetTop())
	for i := range b {
		c := needInt(L, "char", i+1)
		if c < 0 || c > 255 {
			badArg(L, "char", i+1, "invalid value")
		}
		b[i] = byte(c)
	}
	L.Push(lua.LString(b))
	return 1
}

func (m *machine) rep(L *lua.LState) int {
	s, n := needString(L, "rep", 1), needInt(L, "rep", 2)
	if n <= 0 || s == "" {
		L.Push(lua.LString(""))
		return 1
	}
	if n > m.guard.memory/int64(len(s)) {
		fail(L, errNoMemory)
	}
	m.room(L, len(s)*int(n))
	L.Push(lua.LString(strings.Repeat(s, int(n))))
	return 1
}

// tables is the library of that name.
func (m *machine) tables() fields {
	return fields{
		"concat": m.tableConcat, "insert": m.insert, "remove": m.remove, "sort": m.sort, "maxn": m.maxn,
		"getn": func(L *lua.LState) int {
			L.Push(lua.LNumber(m.seen(needTable(L, "getn", 1)).Len()))
			return 1
		},
		"setn":     func(L *lua.LState) int { needTable(L, "setn", 1); fail(L, "'setn' is obsolete"); return 0 },
		"foreach":  m.foreach,
		"foreachi": m.foreachi,
	}
}

func (m *machine) writable(L *lua.LState, name string) *lua.LTable {
	t := needTable(L, name, 1)
	if m.real[t] != nil {
		L.Error(lua.LString(errReadOnly), 0)
	}
	return t
}

func (m *machine) tableConcat(L *lua.LState) int {
	t := m.seen(needTable(L, "concat", 1))
	sep := ""
	if L.Get(2) != lua.LNil {
		sep = needString(L, "concat", 2)
	}
	from := optInt(L, "concat", 3, 1)
	to := optInt(L, "concat", 4, int64(t.Len()))
	var b []byte
	for i := from; i <= to; i++ {
		v := t.RawGet(lua.LNumber(i))
		before := len(b)
		switch v := v.(type) {
		case lua.LString:
			m.room(L, len(v)+len(sep))
			b = append(b, v...)
		case lua.LNumber:
			m.room(L, len(sep))
			b = appendNumber(b, float64(v))
		default:
			fail(L, "invalid value ("+v.Type().String()+") at index "+string(appendNumber(nil, float64(i)))+" in table for 'concat'")
		}
		if i < to {
			b = append(b, sep...)
		}
		if m.guard.charged += int64(len(b) - before); i&0xfff == 0 && (int64(len(b)) > m.guard.memory || m.guard.ended()) {
			fail(L, errNoMemory)
		}
	}
	m.room(L, len(b))
	L.Push(lua.LString(b))
	return 1
}

func (m *machine) insert(L *lua.LState) int {
	t := m.writable(L, "insert")
	n := int64(t.Len()) + 1
	switch L.GetTop() {
	case 2:
		t.RawSet(lua.LNumber(n), L.Get(2))
	case 3:
		pos := needInt(L, "insert", 2)
		if pos > n {
			n = pos
		}
		if n-pos > 1<<22 {
			fail(L, errNoMemory)
		}
		if pos >= 1 && pos < n && n <= int64(t.Len())+1 {
			t.Insert(int(pos), L.Get(3))
			return 0
		}
		for i := n; i > pos; i-- {
			t.RawSet(lua.LNumber(i), t.RawGet(lua.LNumber(i-1)))
		}
		t.RawSet(lua.LNumber(pos), L.Get(3))
	default:
		fail(L, "wrong number of arguments to 'insert'")
	}
	return 0
}

func (m *machine) remove(L *lua.LState) int {
	t := m.writable(L, "remove")
	n := int64(t.Len())
	pos := optInt(L, "remove", 2, n)
	if pos < 1 || pos > n {
		return 0
	}
	v := t.RawGet(lua.LNumber(pos))
	for i := pos; i < n; i++ {
		t.RawSet(lua.LNumber(i), t.RawGet(lua.LNumber(i+1)))
	}
	t.Remove(int(n))
	L.Push(v)
	return 1
}

func (m *machine) maxn(L *lua.LState) int {
	most := 0.0
	m.seen(needTable(L, "maxn", 1)).ForEach(func(k, _ lua.LValue) {
		if n, ok := k.(lua.LNumber); ok {
			most = max(most, float64(n))
		}
	})
	L.Push(lua.LNumber(most))
	return 1
}

func (m *machine) foreach(L *lua.LState) int {
	t := m.seen(needTable(L, "foreach", 1))
	fn, ok := L.Get(2).(*lua.LFunction)
	if !ok {
		badType(L, "foreach", 2, "function")
	}
	for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
		if stop := called(L, fn, k, v); stop != lua.LNil {
			L.Push(stop)
			return 1
		}
	}
	return 0
}

func (m *machine) foreachi(L *lua.LState) int {
	t := m.seen(needTable(L, "foreachi", 1))
	fn, ok := L.Get(2).(*lua.LFunction)
	if !ok {
		badType(L, "foreachi", 2, "function")
	}
	for i, n := 1, t.Len(); i <= n; i++ {
		if stop := called(L, fn, lua.LNumber(i), t.RawGetInt(i)); stop != lua.LNil {
			L.Push(stop)
			return 1
		}
	}
	return 0
}

func called(L *lua.LState, fn *lua.LFunction, args ...lua.LValue) lua.LValue {
	L.Push(fn)
	for _, a := range args {
		L.Push(a)
	}
	L.Call(len(args), 1)
	v := L.Get(-1)
	L.Pop(1)
	return v
}

// sort sorts in place. An order that contradicts itself gives some order, and never goes out of bounds.
func (m *machine) sort(L *lua.LState) int {
	t := m.writable(L, "sort")
	var fn *lua.LFunction
	if L.Get(2) != lua.LNil {
		var ok bool
		if fn, ok = L.Get(2).(*lua.LFunction); !ok {
			badType(L, "sort", 2, "function")
		}
	}
	n := t.Len()
	items := make([]lua.LValue, n)
	for i := range items {
		items[i] = t.RawGetInt(i + 1)
	}
	steps := 0
	less := func(a, b lua.LValue) bool {
		if steps++; steps&0xfff == 0 && m.guard.ended() {
			fail(L, "stopped")
		}
		if fn != nil {
			return lua.LVAsBool(called(L, fn, a, b))
		}
		switch x := a.(type) {
		case lua.LNumber:
			if y, ok := b.(lua.LNumber); ok {
				return x < y
			}
		case lua.LString:
			if y, ok := b.(lua.LString); ok {
				return x < y
			}
		}
		if a.Type() == lua.LTTable && b.Type() == lua.LTTable && L.GetMetaField(a, "__lt") != lua.LNil {
			return L.LessThan(a, b)
		}
		message := "attempt to compare " + a.Type().String() + " with " + b.Type().String()
		if a.Type() == b.Type() {
			message = "attempt to compare two " + a.Type().String() + " values"
		}
		L.Error(lua.LString(message), 0)
		return false
	}
	slices.SortFunc(items, func(a, b lua.LValue) int {
		if less(a, b) {
			return -1
		}
		if less(b, a) {
			return 1
		}
		return 0
	})
	for i, v := range items {
		t.RawSetInt(i+1, v)
	}
	return 0
}

// maths is the library of that name. A nil stays the interpreter's own function.
func (m *machine) maths() fields {
	one := func(name string, fn func(float64) float64) lua.LGFunction {
		return func(L *lua.LState) int {
			L.Push(lua.LNumber(fn(needNumber(L, name, 1))))
			return 1
		}
	}
	two := func(name string, fn func(a, b float64) float64) lua.LGFunction {
		return func(L *lua.LState) int {
			L.Push(lua.LNumber(fn(needNumber(L, name, 1), needNumber(L, name, 2))))
			return 1
		}
	}
	f := fields{
		"abs": one("abs", math.Abs), "acos": one("acos", math.Acos), "asin": one("asin", math.Asin), "atan": one("atan", math.Atan),
		"ceil": one("ceil", math.Ceil), "cos": one("cos", math.Cos), "cosh": one("cosh", math.Cosh), "exp": one("exp", math.Exp),
		"floor": one("floor", math.Floor), "log": one("log", math.Log), "log10": one("log10", math.Log10), "sin": one("sin", math.Sin),
		"sinh": one("sinh", math.Sinh), "sqrt": one("sqrt", math.Sqrt), "tan": one("tan", math.Tan), "tanh": one("tanh", math.Tanh),
		"deg":   one("deg", func(x float64) float64 { return x / (math.Pi / 180) }),
		"rad":   one("rad", func(x float64) float64 { return x * (math.Pi / 180) }),
		"atan2": two("atan2", math.Atan2), "pow": two("pow", math.Pow), "fmod": two("fmod", math.Mod), "mod": two("fmod", math.Mod),
		"ldexp": func(L *lua.LState) int {
			e := needInt(L, "ldexp", 2)
			L.Push(lua.LNumber(math.Ldexp(needNumber(L, "ldexp", 1), int(max(min(e, 5000), -5000)))))
			return 1
		},
		"frexp": func(L *lua.LState) int {
			fr, e := math.Frexp(needNumber(L, "frexp", 1))
			L.Push(lua.LNumber(fr))
			L.Push(lua.LNumber(e))
			return 2
		},
		"modf": func(L *lua.LState) int {
			x := needNumber(L, "modf", 1)
			whole, fr := math.Modf(x)
			if math.IsInf(x, 0) {
				fr = 0
			}
			L.Push(lua.LNumber(whole))
			L.Push(lua.LNumber(fr))
			return 2
		},
		"max": func(L *lua.LState) int { return extreme(L, "max", func(a, b float64) bool { return a > b }) },
		"min": func(L *lua.LState) int { return extreme(L, "min", func(a, b float64) bool { return a < b }) },
		"pi":  lua.LNumber(math.Pi), "huge": lua.LNumber(math.Inf(1)),
		"random": m.mathRandom,
		"randomseed": func(L *lua.LState) int {
			m.seed(uint32(toInt(needNumber(L, "randomseed", 1))))
			return 0
		},
	}
	return f
}

func extreme(L *lua.LState, name string, better func(a, b float64) bool) int {
	best := needNumber(L, name, 1)
	for i := 2; i <= L.GetTop(); i++ {
		if v := needNumber(L, name, i); better(v, best) {
			best = v
		}
	}
	L.Push(lua.LNumber(best))
	return 1
}

// seed and next31 are the generator of lrand48 (POSIX), by which Redis makes math.random the same in every run.
func (m *machine) seed(n uint32) { m.random = uint64(n)<<16 | 0x330e }

func (m *machine) next31() int32 {
	m.random = (m.random*0x5deece66d + 0xb) & (1<<48 - 1)
	return int32(m.random >> 17)
}

func (m *machine) mathRandom(L *lua.LState) int {
	const most = math.MaxInt32
	r := float64(m.next31()%most) / float64(most)
	switch L.GetTop() {
	case 0:
		L.Push(lua.LNumber(r))
	case 1:
		u := needInt(L, "random", 1)
		if u < 1 {
			badArg(L, "random", 1, "interval is empty")
		}
		L.Push(lua.LNumber(math.Floor(r*float64(u)) + 1))
	case 2:
		l, u := needInt(L, "random", 1), needInt(L, "random", 2)
		if l > u {
			badArg(L, "random", 2, "interval is empty")
		}
		L.Push(lua.LNumber(math.Floor(r*float64(u-l+1)) + float64(l)))
	default:
		fail(L, "wrong number of arguments")
	}
	return 1
}
