package store

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

type zpair struct {
	member string
	score  float64
}

func compareZ(a, b zpair) int {
	if c := cmp.Compare(a.score, b.score); c != 0 {
		return c
	}
	return strings.Compare(a.member, b.member)
}

// checkZSet recounts a sorted set and compares it with what it ought to hold.
func checkZSet(t *testing.T, z *ZSet, model map[string]float64) {
	t.Helper()
	var want []zpair
	for m, s := range model {
		want = append(want, zpair{m, s})
	}
	slices.SortFunc(want, compareZ)
	if z.Len() != len(want) {
		t.Fatalf("%d members, want %d", z.Len(), len(want))
	}
	if len(want) == 0 {
		return
	}
	c := z.At(0)
	for i, w := range want {
		if string(c.Member()) != w.member || c.Score() != w.score {
			t.Fatalf("rank %d is %q %v, want %q %v", i, c.Member(), c.Score(), w.member, w.score)
		}
		c.Next()
	}
	c = z.At(z.Len() - 1)
	for i := len(want) - 1; i >= 0; i-- {
		if string(c.Member()) != want[i].member {
			t.Fatalf("backwards, rank %d is %q, want %q", i, c.Member(), want[i].member)
		}
		c.Prev()
	}
	for range 20 {
		i := rand.IntN(len(want))
		at := z.At(i)
		if string(at.Member()) != want[i].member {
			t.Fatalf("At(%d) is %q, want %q", i, at.Member(), want[i].member)
		}
		rank, score, ok := z.Rank([]byte(want[i].member))
		if !ok || rank != i || score != want[i].score {
			t.Fatalf("Rank(%q) is %d %v %v, want %d", want[i].member, rank, score, ok, i)
		}
		for _, after := range []bool{false, true} {
			b := Bound{Score: want[i].score, After: after}
			n := 0
			for _, w := range want {
				if w.score < b.Score || after && w.score == b.Score {
					n++
				}
			}
			if got := z.Before(&b); got != n {
				t.Fatalf("Before(%v) is %d, want %d", b, got, n)
			}
		}
	}
	checkZLarge(t, z)
}

// checkZLarge checks the shape of tree and index, and their accounting.
func checkZLarge(t *testing.T, z *ZSet) {
	t.Helper()
	l := z.large
	if l == nil {
		return
	}
	nodes, inners, depth := 0, 0, -1
	var leaves []*znode
	var walk func(nd *znode, level int)
	walk = func(nd *znode, level int) {
		nodes++
		if nd.kids == nil {
			if depth >= 0 && level != depth {
				t.Fatalf("leaves at depths %d and %d", depth, level)
			}
			depth = level
			leaves = append(leaves, nd)
			return
		}
		inners++
		for i := range nd.n {
			kid := nd.kids.node[i]
			if kid.n == 0 || nd.kids.count[i] != kid.total() || nd.ids[i] != kid.ids[0] || nd.scores[i] != kid.scores[0] {
				t.Fatalf("slot %d of a node is wrong: %d members, says %d", i, kid.total(), nd.kids.count[i])
			}
			walk(kid, level+1)
		}
		for i := nd.n; i < zfan; i++ {
			if nd.kids.node[i] != nil {
				t.Fatal("a node holds a child it does not have")
			}
		}
	}
	walk(l.tree.root, 0)
	if want := nodes*class(znodeSize) + inners*class(zkidsSize); l.tree.bytes != want {
		t.Fatalf("nodes charged %d, are %d", l.tree.bytes, want)
	}
	for i, leaf := range leaves {
		if i > 0 && leaf.prev != leaves[i-1] || i == 0 && leaf.prev != nil || i+1 < len(leaves) && leaf.next != leaves[i+1] || i+1 == len(leaves) && leaf.next != nil {
			t.Fatalf("leaf %d of %d is linked wrongly", i, len(leaves))
		}
	}
	x := &l.index
	names, found := 0, 0
	for b := range x.buckets {
		for id := *x.head(b); id != noMember; id = x.at(id).next {
			m := x.at(id)
			if at, _ := x.bucket(m.hash); at != b || m.hash != z.hash([]byte(m.name)) {
				t.Fatalf("%q in the wrong bucket", m.name)
			}
			names += class(len(m.name))
			found++
		}
	}
	if found != x.n || names != x.bytes {
		t.Fatalf("index has %d members of %d bytes, says %d of %d", found, names, x.n, x.bytes)
	}
}

func TestZSetModel(t *testing.T) {
	if size := int(unsafe.Sizeof([chunkMembers]zmember{})) + 8; size > memberChunk || class(size) != memberChunk {
		t.Errorf("a chunk of members has %d bytes", size)
	}
	if class(znodeSize) != znodeSize {
		t.Errorf("a leaf has %d bytes", znodeSize)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round, scores := range []int{1, 5, 1000, math.MaxInt32} {
		rnd := rand.New(rand.NewPCG(seed, uint64(round)))
		z := newCollection(KindZSet, maphash.MakeSeed()).(*ZSet)
		model := map[string]float64{}
		peak := 0
		// The set grows to some thousands, and back to nothing.
		for step := range 24_000 {
			member := "m" + strconv.Itoa(rnd.IntN(6000))
			if rnd.IntN(40) == 0 {
				member = strings.Repeat("x", rnd.IntN(70))
			}
			grow := step < 12_000
			switch was, there := model[member]; {
			case grow && rnd.IntN(5) > 0 || !grow && rnd.IntN(5) == 0:
				score := float64(rnd.IntN(scores)) / 2
				if step%100 == 99 {
					score = math.Inf(rnd.IntN(2)*2 - 1)
				}
				added, changed := z.Set([]byte(member), score)
				if added == there || changed != (there && was != score) {
					t.Fatalf("step %d: Set(%q) says %v %v", step, member, added, changed)
				}
				model[member] = score
			case rnd.IntN(50) == 0 && z.Len() > 0:
				n := 1 + rnd.IntN(min(z.Len(), 60))
				at := rnd.IntN(z.Len() - n + 1)
				c := z.At(at)
				for range n {
					delete(model, string(c.Member()))
					c.Next()
				}
				z.DeleteRange(at, n)
			default:
				if z.Delete([]byte(member)) != there {
					t.Fatalf("step %d: Delete(%q)", step, member)
				}
				delete(model, member)
			}
			peak = max(peak, z.Len())
			score, ok := z.Score([]byte(member))
			if want, there := model[member]; ok != there || score != want {
				t.Fatalf("step %d: Score(%q) is %v %v", step, member, score, ok)
			}
			if step%500 == 0 {
				checkZSet(t, z, model)
			}
		}
		checkZSet(t, z, model)
		for z.Len() > 0 {
			c := z.At(rnd.IntN(z.Len()))
			member := bytes.Clone(c.Member())
			delete(model, string(member))
			z.Delete(member)
			if z.Len()%100 == 0 {
				checkZSet(t, z, model)
			}
		}
		if peak < 2000 || z.Encoding() != "skiplist" {
			t.Errorf("%d members at most, %s", peak, z.Encoding())
		}
		if z.Size() > 6<<10 {
			t.Errorf("an emptied set of %d occupies %d", peak, z.Size())
		}
	}
}

func TestZSetLex(t *testing.T) {
	for _, n := range []int{50, 3000} {
		z := newCollection(KindZSet, maphash.MakeSeed()).(*ZSet)
		var names []string
		for i := range n {
			names = append(names, strconv.Itoa(i*7))
			z.Set([]byte(names[i]), 1)
		}
		slices.Sort(names)
		for _, probe := range append(names, "", "0a", "~", "5") {
			at, exact := slices.BinarySearch(names, probe)
			if got := z.Before(&Bound{Member: []byte(probe), Lex: true}); got != at {
				t.Errorf("before %q: %d, want %d", probe, got, at)
			}
			if exact {
				at++
			}
			if got := z.Before(&Bound{Member: []byte(probe), Lex: true, After: true}); got != at {
				t.Errorf("up to %q: %d, want %d", probe, got, at)
			}
		}
	}
}

func TestZSetEncoding(t *testing.T) {
	fill := func(n, long int) *ZSet {
		z := newCollection(KindZSet, maphash.MakeSeed()).(*ZSet)
		for i := range n {
			z.Set([]byte(strconv.Itoa(i)), float64(i))
		}
		if long > 0 {
			z.Set(bytes.Repeat([]byte("x"), long), 0)
		}
		return z
	}
	for _, c := range []struct {
		n, long int
		want    string
	}{{128, 0, "listpack"}, {129, 0, "skiplist"}, {127, 64, "listpack"}, {3, 65, "skiplist"}} {
		if got := fill(c.n, c.long).Encoding(); got != c.want {
			t.Errorf("%d members and one of %d bytes: %s, want %s", c.n, c.long, got, c.want)
		}
	}
}

// TestZSetScan scans while members come and go: what stays is seen, and a set at rest is seen once.
func TestZSetScan(t *testing.T) {
	z := newCollection(KindZSet, maphash.MakeSeed()).(*ZSet)
	for i := range 5000 {
		z.Set([]byte("stays"+strconv.Itoa(i)), float64(i))
	}
	for _, busy := range []int{0, 40, -40} {
		if busy < 0 {
			for i := range 20_000 {
				z.Set([]byte("goes"+strconv.Itoa(i)), 7)
			}
		}
		seen, next := map[string]int{}, 0
		for cursor := uint64(0); ; {
			cursor = z.Scan(cursor, 10, func(m []byte, s float64) {
				seen[string(m)]++
			})
			for range busy {
				z.Set([]byte("comes"+strconv.Itoa(next)), 7)
				next++
			}
			for range -busy {
				z.Delete([]byte("goes" + strconv.Itoa(next%20_000)))
				next++
			}
			if cursor == 0 {
				break
			}
		}
		for i := range 5000 {
			if n := seen["stays"+strconv.Itoa(i)]; n == 0 || busy == 0 && n != 1 {
				t.Fatalf("busy %d: member %d seen %d times", busy, i, n)
			}
		}
	}
}

func TestZSetRoundTrip(t *testing.T) {
	for _, n := range []int{1, 100, 1000} {
		s := New(Config{})
		k := s.Key([]byte("z"))
		model := map[string]float64{}
		var tx Tx
		tx.Begin(s, []Key{k}, t0, 0)
		it := tx.Create(&k, KindZSet)
		for i := range n {
			score := float64(i%17) / 3
			if i == 0 {
				score = math.Inf(-1)
			}
			model["m"+strconv.Itoa(i)] = score
			it.ZSet().Set([]byte("m"+strconv.Itoa(i)), score)
		}
		tx.Update(&k, it)
		tx.End()
		check(t, s)
		var e Entry
		if !s.Entry([]byte("z"), t0, &e) {
			t.Fatal("no entry")
		}
		other := New(Config{})
		if ok, err := other.Apply(&e, t0); !ok || err != nil {
			t.Fatal(ok, err)
		}
		check(t, other)
		tx.Begin(other, []Key{k}, t0, 0)
		ko := other.Key([]byte("z"))
		tx.End()
		tx.Begin(other, []Key{ko}, t0, 0)
		checkZSet(t, tx.Peek(&ko).ZSet(), model)
		tx.End()
	}
	z := newCollection(KindZSet, maphash.MakeSeed())
	for _, bad := range [][][]byte{{[]byte("m")}, {[]byte("m"), []byte("1")}, {[]byte("m"), []byte("\xff\xff\xff\xff\xff\xff\xff\x7f")}} {
		if z.restore(bad) {
			t.Errorf("%q is taken for a sorted set", bad)
		}
	}
}

// TestZSetAllocations: a member that is there costs nothing, one that is new its own bytes and its share of chunks.
func TestZSetAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes allocations")
	}
	z := newCollection(KindZSet, maphash.MakeSeed()).(*ZSet)
	var name [20]byte
	for i := range 10_000 {
		z.Set(strconv.AppendInt(name[:0], int64(i), 10), float64(i))
	}
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		i += 37
		m := strconv.AppendInt(name[:0], int64(i%10_000), 10)
		z.Set(m, float64(i%10_007))
		z.Rank(m)
		z.Before(&Bound{Score: 50})
		c := z.At(i % 10_000)
		c.Next()
	}); n > 0.2 { // a node splits now and then
		t.Errorf("%v allocations", n)
	}
}

// TestZSetChargeIsTheTruth compares Size with what the heap has grown by.
func TestZSetChargeIsTheTruth(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes allocations")
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, c := range []struct{ sets, members int }{{20_000, 5}, {1000, 100}, {500, 300}, {1, 200_000}} {
		sets := make([]*ZSet, c.sets)
		rnd := rand.New(rand.NewPCG(5, 6))
		seed := maphash.MakeSeed()
		before, sum := heap(), int64(0)
		for i := range sets {
			z := newCollection(KindZSet, seed).(*ZSet)
			for j := range c.members {
				z.Set([]byte("some member "+strconv.Itoa(j)), rnd.Float64())
			}
			sets[i] = z
			sum += int64(z.Size())
		}
		grown := heap() - before
		t.Logf("%d sets of %d: %d a member charged, %d taken", c.sets, c.members, sum/int64(c.sets*c.members), grown/int64(c.sets*c.members))
		if float64(grown) > 1.06*float64(sum)+1<<18 || float64(grown) < 0.85*float64(sum)-1<<18 {
			t.Errorf("%d sets of %d: the heap has grown by %d for %d charged", c.sets, c.members, grown, sum)
		}
		runtime.KeepAlive(sets)
	}
}

func BenchmarkZSet(b *testing.B) {
	for _, n := range []int{100, 10_000, 1_000_000} {
		b.Run("set/members="+strconv.Itoa(n), func(b *testing.B) {
			z := newCollection(KindZSet, maphash.MakeSeed()).(*ZSet)
			rnd := rand.New(rand.NewPCG(1, 2))
			var name [32]byte
			for b.Loop() {
				z.Set(strconv.AppendInt(append(name[:0], "element:"...), int64(rnd.IntN(n)), 10), float64(rnd.IntN(n)))
			}
			b.ReportMetric(float64(z.Size())/float64(max(z.Len(), 1)), "B/member")
		})
	}
}
