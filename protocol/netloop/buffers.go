// HOT PATH

package netloop

import "math/bits"

// Buffers come in powers of four. A connection borrows one while bytes wait in it and gives it back when they are gone,
// so an idle connection owns none.
const (
	minClassBits = 10 // 1 KiB: a handful of replies
	maxClassBits = 20 // 1 MiB: larger ones are left to the garbage collector
	classes      = (maxClassBits-minClassBits)/2 + 1

	// keepPerClass bounds what a loop's free lists hold on to, in bytes, for each class.
	keepPerClass = 2 << 20
)

// buffers is one loop's stock of free buffers. Only its loop touches it.
type buffers struct {
	free [classes][][]byte
}

// class returns the smallest class whose buffers hold n bytes, or classes when none does.
func class(n int) int {
	if n <= 1<<minClassBits {
		return 0
	}
	b := bits.Len(uint(n - 1))
	return (b - minClassBits + 1) / 2
}

// get returns an empty buffer with room for at least n bytes.
func (p *buffers) get(n int) []byte {
	k := class(n)
	if k >= classes {
		return make([]byte, 0, n)
	}
	if f := p.free[k]; len(f) > 0 {
		b := f[len(f)-1]
		f[len(f)-1] = nil
		p.free[k] = f[:len(f)-1]
		return b
	}
	return make([]byte, 0, 1<<(minClassBits+2*k))
}

// put takes back a buffer from get. Buffers that append has replaced by one of no class are dropped.
func (p *buffers) put(b []byte) {
	k := class(cap(b))
	if k >= classes || cap(b) != 1<<(minClassBits+2*k) {
		return
	}
	if len(p.free[k])<<(minClassBits+2*k) >= keepPerClass {
		return
	}
	p.free[k] = append(p.free[k], b[:0])
}

// grow returns b with room for n more bytes, moved to a larger buffer if need be. A nil b is fine.
func (p *buffers) grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	need := len(b) + n
	if class(need) == classes {
		need = max(need, cap(b)+cap(b)/4) // what is appended to piece by piece is not copied for each
	}
	nb := append(p.get(need), b...)
	if b != nil {
		p.put(b)
	}
	return nb
}
