package script

import (
	"math"
	"math/bits"
	"strconv"

	lua "github.com/yuin/gopher-lua"
)

// bits is the library "bit" (Lua BitOp 1.0.2).
func (m *machine) bits() fields {
	shift := func(name string, fn func(v uint32, n uint) uint32) lua.LGFunction {
		return func(L *lua.LState) int {
			return pushBits(L, fn(needBits(L, name, 1), uint(needBits(L, name, 2)&31)))
		}
	}
	fold := func(name string, fn func(a, b uint32) uint32) lua.LGFunction {
		return func(L *lua.LState) int {
			v := needBits(L, name, 1)
			for i := 2; i <= L.GetTop(); i++ {
				v = fn(v, needBits(L, name, i))
			}
			return pushBits(L, v)
		}
	}
	return fields{
		"tobit":   func(L *lua.LState) int { return pushBits(L, needBits(L, "tobit", 1)) },
		"bnot":    func(L *lua.LState) int { return pushBits(L, ^needBits(L, "bnot", 1)) },
		"bswap":   func(L *lua.LState) int { return pushBits(L, bits.ReverseBytes32(needBits(L, "bswap", 1))) },
		"band":    fold("band", func(a, b uint32) uint32 { return a & b }),
		"bor":     fold("bor", func(a, b uint32) uint32 { return a | b }),
		"bxor":    fold("bxor", func(a, b uint32) uint32 { return a ^ b }),
		"lshift":  shift("lshift", func(v uint32, n uint) uint32 { return v << n }),
		"rshift":  shift("rshift", func(v uint32, n uint) uint32 { return v >> n }),
		"arshift": shift("arshift", func(v uint32, n uint) uint32 { return uint32(int32(v) >> n) }),
		"rol":     shift("rol", func(v uint32, n uint) uint32 { return bits.RotateLeft32(v, int(n)) }),
		"ror":     shift("ror", func(v uint32, n uint) uint32 { return bits.RotateLeft32(v, -int(n)) }),
		"tohex":   tohex,
	}
}

// needBits reads a number modulo 2^32, rounded to even as BitOp's trick of adding 2^52+2^51 does.
func needBits(L *lua.LState, name string, n int) uint32 {
	f := needNumber(L, name, n) + 6755399441055744.0
	return uint32(math.Float64bits(f))
}

func pushBits(L *lua.LState, v uint32) int {
	L.Push(lua.LNumber(int32(v)))
	return 1
}

func tohex(L *lua.LState) int {
	v, n := needBits(L, "tohex", 1), int32(8)
	if L.GetTop() > 1 {
		n = int32(needBits(L, "tohex", 2))
	}
	capital := n < 0
	if capital {
		n = -n
	}
	if n > 8 || n < 0 {
		n = 8
	}
	s := "0000000" + strconv.FormatUint(uint64(v), 16)
	s = s[len(s)-min(int(n), len(s)):]
	if len(s) > int(n) {
		s = s[len(s)-int(n):]
	}
	if capital {
		s = upper(s)
	}
	L.Push(lua.LString(s))
	return 1
}
