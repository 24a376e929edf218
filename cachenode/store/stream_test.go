package store

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// streamSize adds up what a stream occupies, from scratch.
func streamSize(s *Stream) int {
	n := class(streamBase) + class(8*cap(s.blocks)) + class(8*cap(s.groups))
	for _, b := range s.blocks[s.front:] {
		n += class(streamBlockBase) + class(cap(b.data))
	}
	for _, g := range s.groups {
		n += class(groupBase) + class(cap(g.Name)) + class(8*cap(g.consumers)) + class(8*cap(g.byID)) + class(24*cap(g.pending.chunks))
		for _, c := range g.consumers {
			n += class(consumerBase) + class(cap(c.Name))
		}
		for _, chunk := range g.pending.chunks {
			n += class(cap(chunk) * pendingSize)
		}
	}
	return n
}

// TestStreamModel runs random changes on a stream and on a plain list.
func TestStreamModel(t *testing.T) {
	type entry struct {
		id     StreamID
		fields []string
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := &Stream{}
	var model []entry
	read := func(e *StreamEntry) (got entry) {
		got.id = e.ID
		e.Fields(func(name, value []byte) { got.fields = append(got.fields, string(name), string(value)) })
		return got
	}
	same := func(a, b entry) bool { return a.id == b.id && slices.Equal(a.fields, b.fields) }
	id := StreamID{Ms: 1}
	for step := range 20_000 {
		switch op := rnd.IntN(100); {
		case op < 70:
			id.Seq++
			if rnd.IntN(5) == 0 {
				id = StreamID{id.Ms + uint64(rnd.IntN(3000)), uint64(rnd.IntN(3))}
			}
			if id.Compare(s.LastID) <= 0 {
				id = s.LastID
				id.Seq++
			}
			e := entry{id: id}
			for i := range 1 + rnd.IntN(3) {
				e.fields = append(e.fields, "field"+strconv.Itoa(i+rnd.IntN(2)), strconv.Itoa(rnd.IntN(1<<rnd.IntN(40))))
			}
			if rnd.IntN(50) == 0 {
				e.fields[1] = string(make([]byte, rnd.IntN(6000)))
			}
			var fields [][]byte
			for _, f := range e.fields {
				fields = append(fields, []byte(f))
			}
			s.Add(id, fields)
			model = append(model, e)
		case op < 85:
			if len(model) == 0 {
				continue
			}
			i := rnd.IntN(len(model))
			if rnd.IntN(2) == 0 {
				i = min(i, 3)
			}
			if !s.Delete(model[i].id) {
				t.Fatalf("step %d: %v is not there", step, model[i].id)
			}
			if s.Delete(model[i].id) {
				t.Fatalf("step %d: %v deleted twice", step, model[i].id)
			}
			model = slices.Delete(model, i, i+1)
		case op < 87:
			keep := rnd.IntN(len(model) + 1)
			removed := s.Trim(StreamTrim{MaxLen: int64(keep), Approximate: rnd.IntN(2) == 0})
			model = model[removed:]
		case op < 88 && len(model) > 0:
			at := model[rnd.IntN(len(model))].id
			removed := s.Trim(StreamTrim{ByID: true, MinID: at})
			model = model[removed:]
			if model[0].id != at {
				t.Fatalf("step %d: trimmed to %v, wanted %v", step, model[0].id, at)
			}
		default:
			if len(model) == 0 {
				continue
			}
			i, j := rnd.IntN(len(model)), rnd.IntN(len(model))
			i, j = min(i, j), max(i, j)
			at := i
			s.Ascend(model[i].id, model[j].id, func(e *StreamEntry) bool {
				if got := read(e); at > j || !same(got, model[at]) {
					t.Fatalf("step %d: %v, want %v", step, got, model[at])
				}
				at++
				return true
			})
			if at != j+1 {
				t.Fatalf("step %d: ended at %d, want %d", step, at, j+1)
			}
			s.Descend(model[i].id, model[j].id, func(e *StreamEntry) bool {
				at--
				if got := read(e); at < i || !same(got, model[at]) {
					t.Fatalf("step %d backwards: %v, want %v", step, got, model[at])
				}
				return true
			})
			if at != i {
				t.Fatalf("step %d backwards: ended at %d, want %d", step, at, i)
			}
		}
		if s.Len() != len(model) {
			t.Fatalf("step %d: %d entries, want %d", step, s.Len(), len(model))
		}
		if len(model) > 0 && (s.First() != model[0].id || s.Last() != model[len(model)-1].id) {
			t.Fatalf("step %d: from %v to %v, want %v to %v", step, s.First(), s.Last(), model[0].id, model[len(model)-1].id)
		}
		if s.Size() != streamSize(s) {
			t.Fatalf("step %d: size %d, is %d", step, s.Size(), streamSize(s))
		}
	}
}

// TestGroupModel runs random changes on a group and on a plain map.
func TestGroupModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	s := &Stream{}
	g := s.NewGroup([]byte("g"), StreamID{}, 0)
	model := map[StreamID]string{}
	names := []string{"a", "b", "c", "dd", ""}
	next := uint64(0)
	for step := range 50_000 {
		name := names[rnd.IntN(len(names))]
		switch op := rnd.IntN(100); {
		case op < 55:
			id := StreamID{Ms: next}
			if next++; rnd.IntN(4) == 0 {
				id.Ms = rnd.Uint64N(next)
			}
			c := g.Consumer([]byte(name))
			if c == nil {
				c = g.NewConsumer([]byte(name), 1)
			}
			g.Give(id, c).At = int64(step)
			model[id] = name
		case op < 99:
			id := StreamID{Ms: rnd.Uint64N(next + 1)}
			if rnd.IntN(3) > 0 && g.Pending() > 0 {
				id = g.NextPending(StreamID{}).ID
			}
			_, had := model[id]
			if g.Ack(id) != had {
				t.Fatalf("step %d: Ack(%v) disagrees", step, id)
			}
			delete(model, id)
		default:
			if c := g.Consumer([]byte(name)); c != nil && rnd.IntN(10) == 0 {
				g.DeleteConsumer(c)
				for id, owner := range model {
					if owner == name {
						delete(model, id)
					}
				}
			}
		}
		if g.Pending() != len(model) || s.Size() != streamSize(s) {
			t.Fatalf("step %d: %d pending, want %d; size %d, is %d", step, g.Pending(), len(model), s.Size(), streamSize(s))
		}
		if step%500 == 0 {
			count := map[string]int{}
			last := StreamID{}
			g.EachPending(StreamID{}, nil, func(p *Pending) bool {
				owner := string(g.Owner(p).Name)
				if model[p.ID] != owner || p.ID != (StreamID{}) && p.ID.Compare(last) <= 0 {
					t.Fatalf("step %d: %v belongs to %q behind %v, want %q", step, p.ID, owner, last, model[p.ID])
				}
				last = p.ID
				count[owner]++
				return true
			})
			for _, c := range g.Consumers() {
				if c.Pending != count[string(c.Name)] {
					t.Fatalf("step %d: %q counts %d, has %d", step, c.Name, c.Pending, count[string(c.Name)])
				}
			}
		}
	}
}

// FuzzStreamRestore gives anything to restore.
func FuzzStreamRestore(f *testing.F) {
	s := &Stream{}
	for i := range 5 {
		s.Add(StreamID{Ms: uint64(i) + 1}, [][]byte{[]byte("f"), fmt.Append(nil, i)})
	}
	g := s.NewGroup([]byte("g"), StreamID{Ms: 3}, 2)
	g.Give(StreamID{Ms: 2}, g.NewConsumer([]byte("c"), 5))
	s.Delete(StreamID{Ms: 4})
	var e Entry
	s.flatten(&e)
	f.Add(e.Items[0], e.Items[1], e.Items[2])
	f.Fuzz(func(t *testing.T, header, block, group []byte) {
		s := &Stream{}
		if !s.restore([][]byte{header, block, group}) {
			return
		}
		if s.Size() != streamSize(s) {
			t.Fatalf("size %d, is %d", s.Size(), streamSize(s))
		}
		n := 0
		count := func(e *StreamEntry) bool {
			e.Fields(func(_, _ []byte) {})
			n++
			return true
		}
		s.Ascend(StreamID{}, MaxStreamID, count)
		s.Descend(StreamID{}, MaxStreamID, count)
		if n != 2*s.Len() {
			t.Fatalf("%d entries visited, length %d", n, s.Len())
		}
		for s.Len() > 0 {
			if !s.Delete(s.First()) {
				t.Fatal("the first entry cannot be deleted")
			}
		}
		var e Entry
		s.flatten(&e)
		if again := (&Stream{}); !again.restore(e.Items) {
			t.Fatal("what it gives cannot be restored")
		}
	})
}

// TestStreamLastID sets the last ID below entries that were deleted: new ones come to stand there, and what the stream is
// flattened to is taken for one.
func TestStreamLastID(t *testing.T) {
	s := &Stream{}
	fields := [][]byte{[]byte("f"), []byte("v")}
	for i := range uint64(5) {
		s.Add(StreamID{i + 1, 0}, fields)
	}
	s.Delete(StreamID{2, 0})
	s.Delete(StreamID{4, 0})
	s.Delete(StreamID{5, 0})
	s.SetLastID(StreamID{3, 5})
	ids := func(s *Stream) (ids []uint64) {
		s.Ascend(StreamID{}, StreamID{math.MaxUint64, 0}, func(e *StreamEntry) bool {
			ids = append(ids, e.ID.Ms)
			return true
		})
		return ids
	}
	check := func(want ...uint64) {
		t.Helper()
		var e Entry
		s.flatten(&e)
		other := &Stream{}
		if !other.restore(e.Items) {
			t.Fatal("not restored")
		}
		if !slices.Equal(ids(s), want) || !slices.Equal(ids(other), want) || s.LastID != other.LastID {
			t.Errorf("%v, restored %v; want %v", ids(s), ids(other), want)
		}
	}
	check(1, 3)
	s.Add(StreamID{4, 0}, fields)
	check(1, 3, 4)
	if !s.Delete(StreamID{4, 0}) || s.Len() != 2 {
		t.Error("the new entry is not there")
	}
}
