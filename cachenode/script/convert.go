package script

import (
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// toLua turns the reply at the front of b into a value and returns what follows it. What it makes holds no part of b.
func (m *machine) toLua(b []byte) (v lua.LValue, rest []byte) {
	h, err := resp.ReadHeader(b)
	if err != nil || h.Size == 0 {
		return lua.LNil, nil
	}
	rest = b[h.Size:]
	switch h.Kind {
	case '+':
		return m.single("ok", string(h.Line)), rest
	case '-':
		t := m.single("err", string(h.Line))
		t.RawSetString("ignore_error_stats_update", lua.LTrue)
		return t, rest
	case ':':
		return lua.LNumber(h.N), rest
	case '$':
		if h.N < 0 {
			return lua.LFalse, rest
		}
		return lua.LString(rest[:h.N]), rest[h.N+2:]
	case '_':
		return lua.LNil, rest
	case '#':
		return lua.LBool(len(h.Line) > 0 && h.Line[0] == 't'), rest
	case ',':
		f, _ := strconv.ParseFloat(string(h.Line), 64)
		t := m.L.NewTable()
		t.RawSetString("double", lua.LNumber(f))
		return t, rest
	case '(':
		return m.single("big_number", string(h.Line)), rest
	case '=':
		text := string(rest[:h.N])
		t, format := m.L.NewTable(), ""
		if len(text) >= 4 {
			format, text = text[:3], text[4:]
		}
		t.RawSetString("format", lua.LString(format))
		t.RawSetString("string", lua.LString(text))
		outer := m.L.NewTable()
		outer.RawSetString("verbatim_string", t)
		return outer, rest[h.N+2:]
	case '*', '>':
		if h.N < 0 {
			return lua.LFalse, rest
		}
		t := m.L.CreateTable(int(h.N), 0)
		for i := range int(h.N) {
			v, rest = m.toLua(rest)
			t.RawSetInt(i+1, v)
		}
		return t, rest
	case '~', '%':
		inner := m.L.NewTable()
		for range int(h.N) {
			var k lua.LValue
			k, rest = m.toLua(rest)
			v = lua.LTrue
			if h.Kind == '%' {
				v, rest = m.toLua(rest)
			}
			if k != lua.LNil {
				inner.RawSet(k, v)
			}
		}
		outer := m.L.NewTable()
		if h.Kind == '%' {
			outer.RawSetString("map", inner)
		} else {
			outer.RawSetString("set", inner)
		}
		return outer, rest
	}
	return lua.LNil, nil
}

func (m *machine) single(name, value string) *lua.LTable {
	t := m.L.NewTable()
	t.RawSetString(name, lua.LString(value))
	return t
}

// maxDepth bounds how deep a reply nests, as Lua's stack does.
const maxDepth = 2000

// reply is a value on its way to a client.
type reply struct {
	m       *machine
	out     []byte
	proto   int // of the client
	scripts int // what the script has set
	base    int
	failed  bool
}

// appendReply appends v as a reply to a client of protocol proto, when the script speaks protocol scripts.
func (m *machine) appendReply(out []byte, v lua.LValue, proto, scripts int) []byte {
	r := reply{m: m, out: out, proto: proto, scripts: scripts, base: len(out)}
	r.value(v, 0)
	if r.failed {
		return resp.AppendError(r.out[:r.base], "ERR the reply of the script is larger than the memory limit of scripts")
	}
	return r.out
}

var oneLine = strings.NewReplacer("\r", " ", "\n", " ")

func (r *reply) value(v lua.LValue, depth int) {
	if r.failed {
		return
	}
	if depth > maxDepth {
		r.out = resp.AppendError(r.out, "ERR reached lua stack limit")
		return
	}
	if int64(len(r.out)-r.base) > r.m.guard.memory {
		r.failed = true
		return
	}
	switch v := v.(type) {
	case lua.LString:
		r.out = resp.AppendBulkString(r.out, string(v))
	case lua.LNumber:
		r.out = resp.AppendInt(r.out, toInt(float64(v)))
	case lua.LBool:
		switch {
		case r.scripts >= 3:
			r.out = resp.AppendBool(r.out, bool(v), r.proto)
		case bool(v):
			r.out = resp.AppendInt(r.out, 1)
		default:
			r.out = resp.AppendNull(r.out, r.proto)
		}
	case *lua.LTable:
		r.table(r.m.seen(v), depth)
	default:
		r.out = resp.AppendNull(r.out, r.proto)
	}
}

func (r *reply) table(t *lua.LTable, depth int) {
	if s, ok := t.RawGetString("err").(lua.LString); ok {
		r.out = resp.AppendError(r.out, string(s))
		return
	}
	if s, ok := t.RawGetString("ok").(lua.LString); ok {
		r.out = resp.AppendSimple(r.out, oneLine.Replace(string(s)))
		return
	}
	if f, ok := t.RawGetString("double").(lua.LNumber); ok {
		if f == f {
			r.out = resp.AppendDouble(r.out, float64(f), r.proto)
		} else if nan := appendFloat(nil, float64(f), 17); r.proto >= 3 { // with its sign, as C prints it
			r.out = append(append(append(r.out, ','), nan...), '\r', '\n')
		} else {
			r.out = resp.AppendBulk(r.out, nan)
		}
		return
	}
	if inner, ok := t.RawGetString("map").(*lua.LTable); ok {
		n := 0
		inner.ForEach(func(lua.LValue, lua.LValue) { n++ })
		r.out = resp.AppendMap(r.out, n, r.proto)
		inner.ForEach(func(k, v lua.LValue) {
			r.value(k, depth+1)
			r.value(v, depth+1)
		})
		return
	}
	if inner, ok := t.RawGetString("set").(*lua.LTable); ok {
		n := 0
		inner.ForEach(func(lua.LValue, lua.LValue) { n++ })
		r.out = resp.AppendSet(r.out, n, r.proto)
		inner.ForEach(func(k, _ lua.LValue) { r.value(k, depth+1) })
		return
	}
	if n, ok := t.RawGetString("big_number").(lua.LString); ok {
		s := oneLine.Replace(string(n))
		if r.proto >= 3 {
			r.out = append(append(append(r.out, '('), s...), '\r', '\n')
		} else {
			r.out = resp.AppendBulkString(r.out, s)
		}
		return
	}
	if inner, ok := t.RawGetString("verbatim_string").(*lua.LTable); ok {
		s, ok1 := text(inner.RawGetString("string"))
		format, ok2 := text(inner.RawGetString("format"))
		if ok1 && ok2 {
			r.out = resp.AppendVerbatim(r.out, (format + "   ")[:3], s, r.proto)
			return
		}
	}
	n := 0
	for n < math.MaxInt32 && t.RawGetInt(n+1) != lua.LNil {
		n++
	}
	r.out = resp.AppendArray(r.out, n)
	for i := range n {
		r.value(t.RawGetInt(i+1), depth+1)
	}
}
