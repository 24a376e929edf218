package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// check holds the list to a model and to its own accounts.
func (l *List) check(t *testing.T, want []string) {
	t.Helper()
	size, used, length := 0, 0, 0
	var prev *listChunk
	i := 0
	for c := l.first; c != nil; c = c.next {
		if c.prev != prev || c.count == 0 {
			t.Fatalf("chunk with %d elements in %d bytes, linked: %v", c.count, c.used(), c.prev == prev)
		}
		if cap(c.buf) != len(c.buf) || class(len(c.buf)) != len(c.buf) {
			t.Fatalf("buffer of %d bytes", len(c.buf))
		}
		size += len(c.buf) + class(chunkBase)
		used += c.used()
		n := 0
		for at := c.start; at < c.end; n++ {
			v, next := element(c.buf, at)
			if before(c.buf, next) != at {
				t.Fatal("cannot go back")
			}
			if i >= len(want) || string(v) != want[i] {
				t.Fatalf("element %d is %.20q, want %.20q", i, v, want[min(i, len(want)-1)])
			}
			i++
			at = next
		}
		if n != c.count {
			t.Fatalf("%d elements counted as %d", n, c.count)
		}
		length += n
		prev = c
	}
	if l.last != prev || length != len(want) || l.length != length || l.size != size || l.used != used {
		t.Fatalf("accounts: length %d (%d), size %d (%d), used %d (%d), model %d", l.length, length, l.size, size, l.used, used, len(want))
	}
}

func TestListModel(t *testing.T) {
	for round := range 30 {
		rnd := rand.New(rand.NewPCG(uint64(round), 1))
		l, want := &List{}, []string{}
		small := round%3 != 0
		value := func() string {
			n := rnd.IntN(12)
			switch k := rnd.IntN(100); {
			case k == 0 && !small:
				n = rnd.IntN(40 << 10)
			case k < 10:
				n = rnd.IntN(400)
			}
			return strings.Repeat(string(rune('a'+rnd.IntN(4))), n)
		}
		grow := 3 + rnd.IntN(5)
		for step := range 4000 {
			if step == 2500 {
				grow = 1
			}
			op := rnd.IntN(12 + grow)
			n := len(want)
			switch {
			case op >= 12 || n == 0:
				v := value()
				if rnd.IntN(2) == 0 {
					l.PushBack([]byte(v))
					want = append(want, v)
				} else {
					l.PushFront([]byte(v))
					want = slices.Insert(want, 0, v)
				}
			case op < 2:
				if string(l.Front()) != want[0] {
					t.Fatal("front")
				}
				l.PopFront()
				want = want[1:]
			case op < 4:
				if string(l.Back()) != want[n-1] {
					t.Fatal("back")
				}
				l.PopBack()
				want = want[:n-1]
			case op < 6:
				i := rnd.IntN(n)
				c, v := l.Seek(i), value()
				c.Set([]byte(v))
				want[i] = v
			case op < 9:
				i, v := rnd.IntN(n), value()
				behind := rnd.IntN(2)
				c := l.Seek(i)
				c.Insert([]byte(v), behind == 1)
				want = slices.Insert(want, i+behind, v)
			case op == 9:
				v, limit, back := value(), 1+rnd.IntN(20), rnd.IntN(2) == 0
				if rnd.IntN(20) == 0 {
					limit = 1 << 30
				}
				removed := 0
				for range limit {
					i := slices.Index(want, v)
					if back {
						for i = len(want) - 1; i >= 0 && want[i] != v; i-- {
						}
					}
					if i < 0 {
						break
					}
					want = slices.Delete(want, i, i+1)
					removed++
				}
				if got := l.Remove([]byte(v), limit, back); got != removed {
					t.Fatalf("removed %d, want %d", got, removed)
				}
			case op == 10 && rnd.IntN(30) == 0:
				front := rnd.IntN(n/4 + 1)
				back := rnd.IntN(n/4 + 1)
				l.Trim(front, back)
				want = want[front : n-back]
			default:
				i := rnd.IntN(n)
				c := l.Seek(i)
				for ; c.Valid() && i < min(n, i+50); c.Next() {
					if string(c.Value()) != want[i] {
						t.Fatal("forwards")
					}
					i++
				}
				i = rnd.IntN(n)
				for c = l.Seek(i); c.Valid(); c.Prev() {
					if string(c.Value()) != want[i] {
						t.Fatal("backwards")
					}
					i--
				}
			}
			if step%20 == 0 {
				l.check(t, want)
			}
		}
		l.check(t, want)
		e := Entry{}
		l.flatten(&e)
		again := &List{}
		if !again.restore(e.Items) {
			t.Fatal("restore")
		}
		again.check(t, want)
	}
}

// TestListLargeElement: a chunk made for one large element takes in others where it has room for them, on either side.
func TestListLargeElement(t *testing.T) {
	l, large := &List{}, strings.Repeat("L", 27_000)
	l.PushBack(make([]byte, 31_000))
	c := l.Seek(0)
	c.Set([]byte(large))
	c = l.Seek(0)
	c.Insert(make([]byte, 3000), false)
	l.PopFront()
	l.check(t, []string{large})
	small := strings.Repeat("s", 5000)
	c = l.Seek(0)
	c.Insert([]byte(small), false)
	l.check(t, []string{small, large})
	c = l.Seek(1)
	c.Set([]byte("tiny"))
	l.check(t, []string{small, "tiny"})
}

// TestListCost: many elements cost little more than their bytes, and what is left of a long list is small.
func TestListCost(t *testing.T) {
	l := &List{}
	value := bytes.Repeat([]byte("v"), 20)
	const n = 100_000
	for i := range n {
		if i%2 == 0 {
			l.PushBack(value)
		} else {
			l.PushFront(value)
		}
	}
	if per := float64(l.Size()) / n; per > 24 {
		t.Errorf("%.1f bytes for each element of 20", per)
	}
	if l.Encoding() != "quicklist" {
		t.Error(l.Encoding())
	}
	for range n - 1 {
		l.PopFront()
	}
	if l.Size() > 512 || l.Encoding() != "listpack" {
		t.Errorf("%d bytes for one element, %s", l.Size(), l.Encoding())
	}
	for i := range 3000 {
		l.PushBack(fmt.Append(nil, i%3))
	}
	size := l.Size()
	l.Remove([]byte("1"), n, false)
	l.Remove([]byte("2"), n, true)
	if l.Size() > size/2 {
		t.Errorf("%d bytes, %d before two thirds were removed", l.Size(), size)
	}
}

// TestListAccounts: what a list is charged follows every change, and it travels whole.
func TestListAccounts(t *testing.T) {
	s := New(Config{})
	k := s.Key([]byte("l"))
	rnd := rand.New(rand.NewPCG(3, 4))
	var tx Tx
	for range 300 {
		tx.Begin(s, []Key{k}, t0, 0)
		it := tx.Peek(&k)
		if it == nil {
			it = tx.Create(&k, KindList)
		}
		l := it.List()
		for range rnd.IntN(50) {
			l.PushBack(make([]byte, rnd.IntN(300)))
			if n := l.Len(); rnd.IntN(3) == 0 {
				l.Trim(rnd.IntN(n+1)/4, 0)
			}
		}
		tx.Update(&k, it)
		tx.End()
		check(t, s)
	}
	var e Entry
	if !s.Entry([]byte("l"), t0, &e) {
		t.Fatal("no entry")
	}
	other := New(Config{})
	if ok, err := other.Apply(&e, t0); !ok || err != nil {
		t.Fatal(ok, err)
	}
	check(t, other)
	var again Entry
	if !other.Entry([]byte("l"), t0, &again) || len(again.Items) != len(e.Items) {
		t.Error("items are missing")
	}
	tx.Begin(s, []Key{k}, t0, 0)
	tx.Peek(&k).List().Trim(len(e.Items), 0)
	tx.Update(&k, tx.Peek(&k))
	tx.End()
	check(t, s)
	if s.Used() != 0 {
		t.Errorf("%d bytes charged for nothing", s.Used())
	}
}

// TestListAllocations: an element costs its share of a chunk.
func TestListAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes allocations")
	}
	l, value := &List{}, make([]byte, 50)
	for range 1000 {
		l.PushBack(value)
	}
	if n := testing.AllocsPerRun(10_000, func() {
		l.PushFront(value)
		l.PushFront(value)
		l.Back()
		l.PopBack()
		l.PopBack()
		c := l.Seek(500)
		c.Next()
	}); n > 0.1 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkListPush(b *testing.B) {
	value := make([]byte, 100)
	l := &List{}
	for b.Loop() {
		l.PushFront(value)
		if l.length > 100_000 {
			l.Trim(0, 90_000)
		}
	}
}
