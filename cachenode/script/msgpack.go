package script

import (
	"encoding/binary"
	"math"
	"strconv"

	lua "github.com/yuin/gopher-lua"
)

const (
	// maxPack is how deep tables are packed; what lies deeper is packed as nil (lua_cmsgpack).
	maxPack = 16
	// maxNesting bounds what is unpacked.
	maxNesting = 1000

	errBadData = "Bad data format in input."
	errMissing = "Missing bytes in input."
)

// msgpack is the library cmsgpack (lua-cmsgpack 0.4.0).
func (m *machine) msgpack() fields {
	return fields{
		"pack":         m.mpPack,
		"unpack":       func(L *lua.LState) int { return m.mpUnpack(L, "unpack", 0, 0) },
		"unpack_one":   func(L *lua.LState) int { return m.mpUnpack(L, "unpack_one", 1, optInt(L, "unpack_one", 2, 0)) },
		"unpack_limit": m.mpUnpackLimit,
		"_NAME":        lua.LString("cmsgpack"), "_VERSION": lua.LString("lua-cmsgpack 0.4.0"),
		"_COPYRIGHT": lua.LString("Copyright (C) 2012, Salvatore Sanfilippo"), "_DESCRIPTION": lua.LString("MessagePack C implementation for Lua"),
	}
}

func (m *machine) mpPack(L *lua.LState) int {
	n := L.GetTop()
	if n == 0 {
		badArg(L, "pack", 0, "MessagePack pack needs input.")
	}
	p := packer{m: m, L: L}
	for i := 1; i <= n; i++ {
		p.value(L.Get(i), 0)
	}
	m.room(L, len(p.b))
	L.Push(lua.LString(frozen(p.b)))
	return 1
}

type packer struct {
	m       *machine
	L       *lua.LState
	b       []byte
	charged int
}

func (p *packer) value(v lua.LValue, depth int) {
	if len(p.b)-p.charged > 1<<20 {
		p.m.room(p.L, len(p.b)-p.charged)
		p.charged = len(p.b)
		if int64(len(p.b)) > p.m.guard.memory || p.m.guard.ended() {
			fail(p.L, errNoMemory)
		}
	}
	switch v := v.(type) {
	case lua.LString:
		p.string(string(v))
	case lua.LNumber:
		p.number(float64(v))
	case lua.LBool:
		if v {
			p.b = append(p.b, 0xc3)
		} else {
			p.b = append(p.b, 0xc2)
		}
	case *lua.LTable:
		if depth == maxPack {
			p.b = append(p.b, 0xc0)
			return
		}
		p.table(p.m.seen(v), depth)
	default:
		p.b = append(p.b, 0xc0)
	}
}

func (p *packer) string(s string) {
	switch n := len(s); {
	case n < 32:
		p.b = append(p.b, 0xa0|byte(n))
	case n <= 0xff:
		p.b = append(p.b, 0xd9, byte(n))
	case n <= 0xffff:
		p.b = binary.BigEndian.AppendUint16(append(p.b, 0xda), uint16(n))
	default:
		p.b = binary.BigEndian.AppendUint32(append(p.b, 0xdb), uint32(n))
	}
	p.b = append(p.b, s...)
}

func (p *packer) number(f float64) {
	if f != math.Trunc(f) || math.IsInf(f, 0) || f < -(1<<63) || f >= 1<<63 {
		if float64(float32(f)) == f {
			p.b = binary.BigEndian.AppendUint32(append(p.b, 0xca), math.Float32bits(float32(f)))
		} else {
			p.b = binary.BigEndian.AppendUint64(append(p.b, 0xcb), math.Float64bits(f))
		}
		return
	}
	switch n := int64(f); {
	case n >= 0 && n <= 127:
		p.b = append(p.b, byte(n))
	case n >= 0 && n <= 0xff:
		p.b = append(p.b, 0xcc, byte(n))
	case n >= 0 && n <= 0xffff:
		p.b = binary.BigEndian.AppendUint16(append(p.b, 0xcd), uint16(n))
	case n >= 0 && n <= 0xffffffff:
		p.b = binary.BigEndian.AppendUint32(append(p.b, 0xce), uint32(n))
	case n >= 0:
		p.b = binary.BigEndian.AppendUint64(append(p.b, 0xcf), uint64(n))
	case n >= -32:
		p.b = append(p.b, byte(n))
	case n >= -128:
		p.b = append(p.b, 0xd0, byte(n))
	case n >= -32768:
		p.b = binary.BigEndian.AppendUint16(append(p.b, 0xd1), uint16(n))
	case n >= -2147483648:
		p.b = binary.BigEndian.AppendUint32(append(p.b, 0xd2), uint32(n))
	default:
		p.b = binary.BigEndian.AppendUint64(append(p.b, 0xd3), uint64(n))
	}
}

// table packs as an array what has the keys 1 to n and no other, anything else as a map.
func (p *packer) table(t *lua.LTable, depth int) {
	count, most, array := 0, 0.0, true
	for k, _ := t.Next(lua.LNil); k != lua.LNil; k, _ = t.Next(k) {
		count++
		f, ok := k.(lua.LNumber)
		if !ok || f < 1 || float64(f) != math.Trunc(float64(f)) {
			array = false
		} else {
			most = max(most, float64(f))
		}
	}
	if array && most == float64(count) {
		p.head(count, 0x90, 0xdc)
		for i := 1; i <= count; i++ {
			p.value(t.RawGetInt(i), depth+1)
		}
		return
	}
	p.head(count, 0x80, 0xde)
	for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
		p.value(k, depth+1)
		p.value(v, depth+1)
	}
}

func (p *packer) head(n int, small, large byte) {
	switch {
	case n <= 15:
		p.b = append(p.b, small|byte(n))
	case n <= 0xffff:
		p.b = binary.BigEndian.AppendUint16(append(p.b, large), uint16(n))
	default:
		p.b = binary.BigEndian.AppendUint32(append(p.b, large+1), uint32(n))
	}
}

func (m *machine) mpUnpackLimit(L *lua.LState) int {
	limit := needInt(L, "unpack_limit", 2)
	return m.mpUnpack(L, "unpack_limit", limit, optInt(L, "unpack_limit", 3, 0))
}

// mpUnpack unpacks up to limit values, all for 0 of both. With a limit or an offset the first result is where to go on, -1
// at the end.
func (m *machine) mpUnpack(L *lua.LState, name string, limit, offset int64) int {
	s := needString(L, name, 1)
	switch {
	case offset < 0 || limit < 0:
		fail(L, "Invalid request to unpack with offset of "+strconv.FormatInt(offset, 10)+" and limit of "+strconv.Itoa(len(s))+".")
	case offset > int64(len(s)):
		fail(L, "Start offset "+strconv.FormatInt(offset, 10)+" greater than input length "+strconv.Itoa(len(s))+".")
	}
	all := limit == 0 && offset == 0
	if all {
		limit = math.MaxInt32
	}
	u := unpacker{m: m, L: L, s: s, at: int(offset)}
	top := L.GetTop()
	count := int64(0)
	for ; u.at < len(s) && count < limit; count++ {
		if count >= maxUnpack {
			fail(L, "too many results to unpack")
		}
		L.Push(u.value(0))
	}
	if !all {
		next := u.at
		if next >= len(s) {
			next = -1
		}
		L.Insert(lua.LNumber(next), top+1)
		count++
	}
	return int(count)
}

type unpacker struct {
	m    *machine
	L    *lua.LState
	s    string
	at   int
	made int
}

func (u *unpacker) take(n int) string {
	if n < 0 || len(u.s)-u.at < n {
		fail(u.L, errMissing)
	}
	s := u.s[u.at : u.at+n]
	u.at += n
	return s
}

func (u *unpacker) uint(n int) (v uint64) {
	s := u.take(n)
	for i := range n {
		v = v<<8 | uint64(s[i])
	}
	return v
}

func (u *unpacker) value(depth int) lua.LValue {
	if u.made++; u.made&0xfff == 0 {
		if !u.m.guard.charge(0x1000*64) || u.m.guard.ended() {
			fail(u.L, errNoMemory)
		}
	}
	c := u.take(1)[0]
	switch {
	case c <= 0x7f:
		return lua.LNumber(c)
	case c <= 0x8f:
		return u.table(int(c&15), depth)
	case c <= 0x9f:
		return u.array(int(c&15), depth)
	case c <= 0xbf:
		return lua.LString(u.take(int(c & 31)))
	case c >= 0xe0:
		return lua.LNumber(int8(c))
	}
	switch c {
	case 0xc0:
		return lua.LNil
	case 0xc2, 0xc3:
		return lua.LBool(c == 0xc3)
	case 0xca:
		return lua.LNumber(math.Float32frombits(uint32(u.uint(4))))
	case 0xcb:
		return lua.LNumber(math.Float64frombits(u.uint(8)))
	case 0xcc, 0xcd, 0xce, 0xcf:
		return lua.LNumber(u.uint(1 << (c - 0xcc)))
	case 0xd0:
		return lua.LNumber(int8(u.uint(1)))
	case 0xd1:
		return lua.LNumber(int16(u.uint(2)))
	case 0xd2:
		return lua.LNumber(int32(u.uint(4)))
	case 0xd3:
		return lua.LNumber(int64(u.uint(8)))
	case 0xd9, 0xda, 0xdb:
		return lua.LString(u.take(int(u.uint(1 << (c - 0xd9)))))
	case 0xdc, 0xdd:
		return u.array(int(u.uint(2<<(c-0xdc))), depth)
	case 0xde, 0xdf:
		return u.table(int(u.uint(2<<(c-0xde))), depth)
	}
	fail(u.L, errBadData)
	return nil
}

func (u *unpacker) array(n, depth int) lua.LValue {
	u.descend(depth)
	t := u.L.NewTable()
	for i := range n {
		t.RawSetInt(i+1, u.value(depth+1))
	}
	return t
}

func (u *unpacker) table(n, depth int) lua.LValue {
	u.descend(depth)
	t := u.L.NewTable()
	for range n {
		k := u.value(depth + 1)
		v := u.value(depth + 1)
		if f, ok := k.(lua.LNumber); k == lua.LNil || ok && f != f {
			fail(u.L, errBadData)
		}
		t.RawSet(k, v)
	}
	return t
}

func (u *unpacker) descend(depth int) {
	if depth >= maxNesting {
		fail(u.L, errBadData)
	}
}
