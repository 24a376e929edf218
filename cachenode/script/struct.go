package script

import (
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// structs is the library struct (Roberto Ierusalimschy's, 0.2).
func (m *machine) structs() fields {
	return fields{"pack": m.structPack, "unpack": m.structUnpack, "size": structSize}
}

// layout reads a format.
type layout struct {
	L      *lua.LState
	name   string
	f      string
	at     int
	little bool
	align  int
}

func newLayout(L *lua.LState, name string) *layout {
	return &layout{L: L, name: name, f: needString(L, name, 1), little: true, align: 1}
}

// number reads a number in the format, otherwise where there is none.
func (l *layout) number(otherwise int) int {
	if l.at >= len(l.f) || !isDigit(l.f[l.at]) {
		return otherwise
	}
	n := 0
	for l.at < len(l.f) && isDigit(l.f[l.at]) {
		if n > (math.MaxInt32-9)/10 {
			fail(l.L, "integral size overflow")
		}
		n = 10*n + int(l.f[l.at]-'0')
		l.at++
	}
	return n
}

// next reads an option and the size of what it stands for.
func (l *layout) next() (option byte, size int, ok bool) {
	if l.at >= len(l.f) {
		return 0, 0, false
	}
	option = l.f[l.at]
	l.at++
	switch option {
	case 'B', 'b', 'x':
		size = 1
	case 'H', 'h':
		size = 2
	case 'L', 'l', 'T', 'd', 'n':
		size = 8
	case 'f':
		size = 4
	case 'I', 'i':
		if size = l.number(4); size > 32 {
			fail(l.L, "integral size "+string(appendNumber(nil, float64(size)))+" is larger than limit of 32")
		}
	case 'c':
		size = l.number(1)
	}
	return option, size, true
}

// padding is how much is left out before an item of size at offset.
func (l *layout) padding(option byte, size, offset int) int {
	if size == 0 || option == 'c' {
		return 0
	}
	size = min(size, l.align)
	if size > 1 {
		return (size - offset&(size-1)) & (size - 1)
	}
	return 0
}

// control does what changes the reading of the format.
func (l *layout) control(option byte) {
	switch option {
	case ' ':
	case '>':
		l.little = false
	case '<':
		l.little = true
	case '!':
		n := l.number(8)
		if n == 0 || n&(n-1) != 0 {
			fail(l.L, "alignment "+string(appendNumber(nil, float64(n)))+" is not a power of 2")
		}
		l.align = n
	default:
		badArg(l.L, l.name, 1, "invalid format option '"+string([]byte{option})+"'")
	}
}

func (m *machine) structPack(L *lua.LState) int {
	l := newLayout(L, "pack")
	var b []byte
	arg := 2
	for {
		option, size, ok := l.next()
		if !ok {
			break
		}
		for n := l.padding(option, size, len(b)); n > 0; n-- {
			b = append(b, 0)
		}
		switch option {
		case 'B', 'b', 'H', 'h', 'L', 'l', 'T', 'I', 'i':
			if arg > L.GetTop() {
				badArg(L, "pack", arg, "number expected, got nil")
			}
			f := needNumber(L, "pack", arg)
			arg++
			v := uint64(toInt(f))
			if f >= 0 && f < 1<<64 {
				v = uint64(f)
			}
			b = l.integer(b, v, size)
		case 'x':
			b = append(b, 0)
		case 'f':
			b = l.integer(b, uint64(math.Float32bits(float32(needNumber(L, "pack", arg)))), 4)
			arg++
		case 'd', 'n':
			b = l.integer(b, math.Float64bits(needNumber(L, "pack", arg)), 8)
			arg++
		case 'c', 's':
			s := needString(L, "pack", arg)
			arg++
			if size == 0 {
				size = len(s)
			}
			if len(s) < size {
				badArg(L, "pack", arg, "string too short")
			}
			m.room(L, size)
			b = append(b, s[:size]...)
			if option == 's' {
				b = append(b, 0)
			}
		default:
			l.control(option)
		}
	}
	m.room(L, len(b))
	L.Push(lua.LString(b))
	return 1
}

func (l *layout) integer(b []byte, v uint64, size int) []byte {
	start := len(b)
	for range size {
		b = append(b, byte(v))
		v >>= 8
	}
	if !l.little {
		for i, j := start, len(b)-1; i < j; i, j = i+1, j-1 {
			b[i], b[j] = b[j], b[i]
		}
	}
	return b
}

func (l *layout) read(s string) (v uint64) {
	for i := range len(s) {
		if l.little {
			if i < 8 {
				v |= uint64(s[i]) << (8 * i)
			}
		} else {
			v = v<<8 | uint64(s[i])
		}
	}
	return v
}

func (m *machine) structUnpack(L *lua.LState) int {
	l := newLayout(L, "unpack")
	s := needString(L, "unpack", 2)
	start := optInt(L, "unpack", 3, 1)
	if start == 0 {
		badArg(L, "unpack", 3, "offset must be 1 or greater")
	} else if start < 0 {
		badArg(L, "unpack", 2, "data string too short")
	}
	pos := int(min(start-1, math.MaxInt32))
	n := 0
	top := L.GetTop()
	push := func(v lua.LValue) {
		if n >= maxUnpack {
			fail(L, "too many results to unpack")
		}
		L.Push(v)
		n++
	}
	for {
		option, size, ok := l.next()
		if !ok {
			break
		}
		pos += l.padding(option, size, pos)
		if pos > len(s) || size > len(s)-pos {
			badArg(L, "unpack", 2, "data string too short")
		}
		switch option {
		case 'B', 'H', 'L', 'T', 'I':
			push(lua.LNumber(l.read(s[pos : pos+size])))
		case 'b', 'h', 'l', 'i':
			v := l.read(s[pos : pos+size])
			if size > 0 && size < 8 && v>>(8*size-1)&1 == 1 {
				v |= ^uint64(0) << (8 * size)
			}
			push(lua.LNumber(int64(v)))
		case 'x':
		case 'f':
			push(lua.LNumber(math.Float32frombits(uint32(l.read(s[pos : pos+4])))))
		case 'd', 'n':
			push(lua.LNumber(math.Float64frombits(l.read(s[pos : pos+8]))))
		case 'c':
			if size == 0 {
				last, ok := L.Get(top + n).(lua.LNumber)
				if n == 0 || !ok {
					fail(L, "format 'c0' needs a previous size")
				}
				size = int(toInt(float64(last)))
				L.Pop(1)
				n--
				if size < 0 || size > len(s)-pos {
					badArg(L, "unpack", 2, "data string too short")
				}
			}
			push(lua.LString(s[pos : pos+size]))
		case 's':
			end := indexFrom(s, "\x00", pos)
			if end < 0 {
				fail(L, "unfinished string in data")
			}
			size = end - pos + 1
			push(lua.LString(s[pos:end]))
		default:
			l.control(option)
			size = 0
		}
		pos += size
	}
	L.Push(lua.LNumber(pos + 1))
	return n + 1
}

func structSize(L *lua.LState) int {
	l := newLayout(L, "size")
	pos := 0
	for {
		option, size, ok := l.next()
		if !ok {
			break
		}
		pos += l.padding(option, size, pos)
		switch {
		case option == 's':
			badArg(L, "size", 1, "option 's' has no fixed size")
		case option == 'c' && size == 0:
			badArg(L, "size", 1, "option 'c0' has no fixed size")
		case size == 0 && strings.IndexByte(" <>!", option) >= 0:
			l.control(option)
		}
		if pos > math.MaxInt32-size {
			fail(L, "size overflow")
		}
		pos += size
	}
	L.Push(lua.LNumber(pos))
	return 1
}
