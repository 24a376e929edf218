package command

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// A HyperLogLog is a string in Redis's own format (Redis documentation, "HyperLogLog"; antirez.com/news/75): a header of
// 16 bytes (HYLL, the encoding, three zeros, the last estimate with a bit for "out of date"), then 16384 registers. Dense,
// they have six bits each. Sparse, runs are told by opcodes:
//
//	00llllll           l+1 registers are 0
//	01llllll llllllll  the same for up to 16384
//	1vvvvvll           l+1 registers are v+1
const (
	hllRegisters  = 1 << 14
	hllBits       = 50 // of a hash, that are left for counting zeros
	hllHeader     = 16
	hllDenseSize  = hllHeader + hllRegisters*6/8
	hllMaxSparse  = 3000 // hll-sparse-max-bytes
	hllMaxValue   = 32   // of a register, in the sparse form
	hllMaxRun     = 4    // of registers with a value
	hllMaxZeros   = 64
	hllSeed       = 0xadc83b19
	hllDense      = 0
	hllSparse     = 1
	hllMaxCounter = 64
)

// hll is a HyperLogLog in its string form. A dense one changes in place, a sparse one may move.
type hll []byte

// newHLL makes an empty one in b's memory.
func newHLL(b []byte) hll {
	return append(b[:0], 'H', 'Y', 'L', 'L', hllSparse, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff)
}

// isHLL tells whether a string looks like one.
func isHLL(b []byte) bool {
	return len(b) >= hllHeader && string(b[:4]) == "HYLL" && b[4] <= hllSparse && (b[4] != hllDense || len(b) == hllDenseSize)
}

func (h hll) dense() bool { return h[4] == hllDense }

func (h hll) invalidate() { h[15] |= 0x80 }

func (h hll) cached() (uint64, bool) { return binary.LittleEndian.Uint64(h[8:]), h[15]&0x80 == 0 }

func (h hll) cache(n uint64) { binary.LittleEndian.PutUint64(h[8:], n) }

// hllPlace is the register of an element, and what it counts there.
func hllPlace(element []byte) (register int, count byte) {
	hash := murmur64(element, hllSeed)
	register = int(hash & (hllRegisters - 1))
	return register, byte(bits.TrailingZeros64(hash>>14|1<<hllBits) + 1)
}

// murmur64 is MurmurHash64A (Austin Appleby, public domain), little-endian.
func murmur64(b []byte, seed uint64) uint64 {
	const m, r = 0xc6a4a7935bd1e995, 47
	h := seed ^ uint64(len(b))*m
	for ; len(b) >= 8; b = b[8:] {
		k := binary.LittleEndian.Uint64(b) * m
		k ^= k >> r
		h = (h ^ k*m) * m
	}
	if len(b) > 0 {
		for i, c := range b {
			h ^= uint64(c) << (8 * i)
		}
		h *= m
	}
	h ^= h >> r
	h *= m
	return h ^ h>>r
}

// register reads register i of a dense one.
func (h hll) register(i int) byte {
	at, shift := hllHeader+i*6/8, i*6&7
	v := uint(h[at]) >> shift
	if shift > 2 {
		v |= uint(h[at+1]) << (8 - shift)
	}
	return byte(v & 63)
}

// raise sets register i of a dense one to count if that is more.
func (h hll) raise(i int, count byte) bool {
	if h.register(i) >= count {
		return false
	}
	at, shift := hllHeader+i*6/8, i*6&7
	h[at] = h[at]&^(63<<shift) | count<<shift
	if shift > 2 {
		h[at+1] = h[at+1]&^(63>>(8-shift)) | count>>(8-shift)
	}
	return true
}

// hllRun decodes the opcode at p: how many registers have which value, and its length.
func hllRun(b []byte, p int) (n int, value byte, size int) {
	switch op := b[p]; {
	case op&0x80 != 0:
		return int(op&3) + 1, op>>2&31 + 1, 1
	case op&0x40 == 0:
		return int(op) + 1, 0, 1
	case p+1 < len(b):
		return int(op&63)<<8 + int(b[p+1]) + 1, 0, 2
	}
	return 0, 0, 1
}

func appendZeros(b []byte, n int) []byte {
	if n > hllMaxZeros {
		return append(b, 0x40|byte((n-1)>>8), byte(n-1))
	}
	return append(b, byte(n-1))
}

func appendValues(b []byte, value byte, n int) []byte { return append(b, 0x80|(value-1)<<2|byte(n-1)) }

// set raises register i to count, in whatever form. ok is false for a string that is corrupt.
func (h *hll) set(i int, count byte) (changed, ok bool) {
	if h.dense() {
		return h.raise(i, count), true
	}
	return h.setSparse(i, count)
}

func (h *hll) setSparse(i int, count byte) (changed, ok bool) {
	if count > hllMaxValue {
		return h.promoteAndRaise(i, count)
	}
	b := []byte(*h)
	p, before, first := hllHeader, -1, 0
	n, value, size := 0, byte(0), 0
	for p < len(b) {
		n, value, size = hllRun(b, p)
		if n == 0 {
			return false, false
		}
		if i < first+n {
			break
		}
		before = p
		p += size
		first += n
	}
	if p >= len(b) {
		return false, false
	}
	if value >= count {
		return false, true
	}
	// The run becomes up to three: what stands before the register, the register, what stands behind.
	var space [5]byte
	runs := space[:0]
	rest := func(n int) {
		switch {
		case n == 0:
		case value == 0:
			runs = appendZeros(runs, n)
		default:
			runs = appendValues(runs, value, n)
		}
	}
	rest(i - first)
	runs = appendValues(runs, count, 1)
	rest(first + n - 1 - i)
	more := len(runs) - size
	if more > 0 && len(b)+more > hllMaxSparse {
		return h.promoteAndRaise(i, count)
	}
	was := len(b)
	if more > 0 {
		b = append(b, space[:more]...)
	}
	copy(b[p+len(runs):], b[p+size:was])
	copy(b[p:], runs)
	b = b[:was+more]
	if before < 0 {
		before = hllHeader
	}
	*h = hll(joinRuns(b, before))
	h.invalidate()
	return true, true
}

// joinRuns makes one of runs with the same value, among the five opcodes from p on.
func joinRuns(b []byte, p int) []byte {
	for range 5 {
		if p >= len(b) {
			break
		}
		n, value, size := hllRun(b, p)
		if value != 0 && p+1 < len(b) {
			if n2, value2, _ := hllRun(b, p+1); value2 == value && n+n2 <= hllMaxRun {
				appendValues(b[:p], value, n+n2)
				b = append(b[:p+1], b[p+2:]...)
				continue
			}
		}
		p += size
	}
	return b
}

func (h *hll) promoteAndRaise(i int, count byte) (changed, ok bool) {
	if !h.promote() {
		return false, false
	}
	return h.raise(i, count), true
}

// promote makes a sparse one dense, in fresh memory.
func (h *hll) promote() bool {
	if h.dense() {
		return true
	}
	d := make(hll, hllDenseSize)
	copy(d, (*h)[:hllHeader])
	d[4] = hllDense
	if !h.each(func(i int, value byte) { d.raise(i, value) }) {
		return false
	}
	*h = d
	return true
}

// each visits the registers that are not zero. It reports false for a string that is corrupt.
func (h hll) each(visit func(i int, value byte)) bool {
	if h.dense() {
		for i := range hllRegisters {
			if v := h.register(i); v != 0 {
				visit(i, v)
			}
		}
		return true
	}
	i := 0
	for p := hllHeader; p < len(h); {
		n, value, size := hllRun(h, p)
		if n == 0 || i+n > hllRegisters {
			return false
		}
		if value != 0 {
			for k := range n {
				visit(i+k, value)
			}
		}
		i += n
		p += size
	}
	return i == hllRegisters
}

// hllHistogram counts the registers by value.
type hllHistogram [hllMaxCounter]int

// estimate is the number of different elements (O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches",
// arXiv:1702.01284, algorithm 6). The conversions keep products from being fused into sums on machines that could.
func (g *hllHistogram) estimate() uint64 {
	const m = float64(hllRegisters)
	z := m * hllTau((m-float64(g[hllBits+1]))/m)
	for j := hllBits; j >= 1; j-- {
		z += float64(g[j])
		z *= 0.5
	}
	z += float64(m * hllSigma(float64(g[0])/m))
	const alpha = 0.721347520444481703680
	return uint64(math.Round(alpha * m * m / z))
}

func hllSigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for {
		x *= x
		was := z
		z += float64(x * y)
		y += y
		if z == was {
			return z
		}
	}
}

func hllTau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for {
		x = math.Sqrt(x)
		was := z
		y *= 0.5
		z -= float64((1 - x) * (1 - x) * y)
		if z == was {
			return z / 3
		}
	}
}

// histogram counts the registers of one.
func (h hll) histogram() (g hllHistogram, ok bool) {
	if h.dense() {
		for b := h[hllHeader:]; len(b) >= 3; b = b[3:] { // four registers
			g[b[0]&63]++
			g[b[0]>>6|b[1]<<2&63]++
			g[b[1]>>4|b[2]<<4&63]++
			g[b[2]>>2]++
		}
		return g, true
	}
	g[0] = hllRegisters
	ok = h.each(func(_ int, value byte) {
		g[0]--
		g[value]++
	})
	return g, ok
}
