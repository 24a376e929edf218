package store

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

func TestVector(t *testing.T) {
	var v vector[field]
	var want []uint32
	rnd := rand.New(rand.NewPCG(4, 4))
	for _, target := range []int{0, 3000, 100, 700, 1, 260, 0} {
		for len(want) != target {
			if len(want) < target {
				n := rnd.Uint32()
				want = append(want, n)
				v.push(field{hash: n})
			} else {
				want = want[:len(want)-1]
				v.pop()
			}
			if v.len() != len(want) {
				t.Fatalf("%d elements, want %d", v.len(), len(want))
			}
			if n := len(want); n > 0 && (v.at(n-1).hash != want[n-1] || v.at(n/2).hash != want[n/2]) {
				t.Fatalf("wrong elements at %d", n)
			}
			if most := 24*(2*len(want)+2*piece) + 8*len(want)/piece*2 + 200; v.size() > most {
				t.Fatalf("%d bytes for %d elements", v.size(), len(want))
			}
		}
	}
	if v.size() != 0 {
		t.Errorf("an empty vector takes %d bytes", v.size())
	}
}

// counted counts the steps that a linear hash takes along its chains.
type counted struct {
	hashes []uint32
	nexts  []uint32
	steps  int
}

func (c *counted) hash(i uint32) uint32 { return c.hashes[i-1] }

func (c *counted) next(i uint32) *uint32 {
	c.steps++
	return &c.nexts[i-1]
}

// TestLinearGrowsInSmallSteps fills a linear hash and empties it again: no single step moves more than a chain.
func TestLinearGrowsInSmallSteps(t *testing.T) {
	const n = 200_000
	var x linear
	c := &counted{}
	rnd := rand.New(rand.NewPCG(1, 1))
	longest := 0
	step := func(fn func(*linear, *counted)) {
		c.steps = 0
		fn(&x, c)
		longest = max(longest, c.steps)
	}
	for i := range uint32(n) {
		h := rnd.Uint32()
		c.hashes, c.nexts = append(c.hashes, h), append(c.nexts, 0)
		step(split)
		b := x.head(h)
		c.nexts[i], *b = *b, i+1
	}
	find := func() (found int) {
		for i, h := range c.hashes {
			for e := *x.head(h); e != 0; e = c.nexts[e-1] {
				if e == uint32(i+1) {
					found++
					break
				}
			}
		}
		return found
	}
	if got := find(); got != n {
		t.Errorf("%d entries are found of %d", got, n)
	}
	for x.buckets() > n/4 {
		step(merge)
		if x.buckets()%10_007 != 0 {
			continue
		}
		// A scan of what does not change meets each entry once.
		met, cursor := 0, uint64(0)
		for first := true; first || cursor != 0; first = false {
			for e := *x.head(uint32(cursor)); e != 0; e = c.nexts[e-1] {
				met++
			}
			cursor = x.after(cursor)
		}
		if met != n {
			t.Fatalf("a scan of %d buckets meets %d entries of %d", x.buckets(), met, n)
		}
	}
	if got := find(); got != n {
		t.Errorf("%d entries are found of %d after merging", got, n)
	}
	if longest > 40 {
		t.Errorf("a step moved %d entries", longest)
	}
}

// TestNoStepIsLong looks at how much a hash, a hash with times and a store grow by at once: nothing is ever moved as a whole.
func TestNoStepIsLong(t *testing.T) {
	const piecesAtOnce = 32 << 10
	s := New(Config{})
	d := newCollection(KindHash, s.seed).(*Dict)
	for i := range 100_000 {
		was := d.Size()
		d.Set([]byte(strconv.Itoa(i)), nil)
		if d.Size()-was > piecesAtOnce {
			t.Fatalf("field %d added %d bytes", i, d.Size()-was)
		}
		was = d.Size()
		d.ExpireField(i, t0+int64(i))
		if d.Size()-was > piecesAtOnce {
			t.Fatalf("the time of field %d added %d bytes", i, d.Size()-was)
		}
	}
	for d.Len() > 0 {
		was := d.Size()
		d.DeleteAt(d.Len() / 2)
		if was-d.Size() > piecesAtOnce {
			t.Fatalf("%d bytes went with field %d", was-d.Size(), d.Len())
		}
	}
	for i := range 300_000 {
		was := s.Used()
		set(t, s, strconv.Itoa(i), "", 0, t0)
		if s.Used()-was > piecesAtOnce {
			t.Fatalf("key %d added %d bytes", i, s.Used()-was)
		}
	}
}

// A vector at the end of a piece neither takes a piece nor gives it back each time.
func TestVectorIsCalmAtTheEndOfAPiece(t *testing.T) {
	for _, n := range []int{piece, 2 * piece, 3 * piece} {
		var v vector[field]
		for range n {
			v.push(field{})
		}
		v.push(field{})
		if a := testing.AllocsPerRun(100, func() { v.pop(); v.push(field{}) }); a != 0 {
			t.Errorf("%d elements: %v allocations", n, a)
		}
	}
}
