package cachenode

import (
	"reflect"
	"slices"
	"testing"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// viewOf makes the view that the first of members has.
func viewOf(members ...cluster.Member) *cluster.View {
	me := members[0].Name
	slices.SortFunc(members, func(a, b cluster.Member) int { return int(a.Name[0]) - int(b.Name[0]) })
	v := &cluster.View{Members: members}
	var names []string
	for i, m := range members {
		if m.Name == me {
			v.Self = i
		}
		if m.State == cluster.Active {
			v.Active = append(v.Active, m)
			names = append(names, m.Name)
		}
	}
	v.Ring = ring.New(names)
	v.Epoch = v.Ring.Epoch()
	return v
}

func member(name string, instance uint64) cluster.Member {
	return cluster.Member{Name: name, PeerAddr: name + ":1", Instance: instance}
}

func TestPlacementFollowsTheRing(t *testing.T) {
	v := viewOf(member("b", 2), member("a", 1), member("c", 3))
	pl := newPlacement(v, alonePlacement())
	name := func(place int16) string {
		if place == self {
			return "b"
		}
		return pl.peers[place].name
	}
	for p := range ring.Partitions {
		if name(pl.owner[p]) != v.Owner(p).Name || name(pl.backup[p]) != v.Backup(p).Name {
			t.Fatalf("partition %d is placed at %s and %s, the ring says %s and %s", p,
				name(pl.owner[p]), name(pl.backup[p]), v.Owner(p).Name, v.Backup(p).Name)
		}
	}
}

func TestPlacementKeepsRemotes(t *testing.T) {
	before := newPlacement(viewOf(member("a", 1), member("b", 2), member("c", 3)), alonePlacement())
	after := newPlacement(viewOf(member("a", 1), member("b", 9), member("c", 3), member("d", 4)), before)
	if before.find("c") != after.find("c") {
		t.Error("a node that stays is another remote")
	}
	if before.find("b") == after.find("b") {
		t.Error("a restarted node is the same remote")
	}
	if after.alive(before.find("b")) || !after.alive(before.find("c")) {
		t.Error("alive mixes instances up")
	}
	// What the dead instance held has no former place any more, what c held has.
	for p := range ring.Partitions {
		want := int16(nobody)
		switch before.owner[p] {
		case self:
			want = self
		default:
			if r := before.peers[before.owner[p]]; r.name == "c" {
				want = int16(slices.Index(after.peers, r))
			}
		}
		if after.former[0][p] != want {
			t.Fatalf("partition %d: former owner at %d, want %d", p, after.former[0][p], want)
		}
	}
}

func TestSourcesBeginWithTheLikeliest(t *testing.T) {
	before := newPlacement(viewOf(member("b", 1)), alonePlacement())
	pl := newPlacement(viewOf(member("b", 2), member("a", 1), member("c", 3), member("d", 3), member("e", 3), member("f", 3), member("g", 3)), before)
	for p := range ring.Partitions {
		got := pl.sources(nil, p)
		if len(got) != len(pl.peers) {
			t.Fatalf("partition %d has %d sources", p, len(got))
		}
		seen := map[int16]bool{}
		for _, place := range got {
			if place < 0 || seen[place] {
				t.Fatalf("partition %d: sources %v", p, got)
			}
			seen[place] = true
		}
		first := pl.owner[p]
		if first == self {
			first = pl.backup[p]
		}
		if got[0] != first {
			t.Fatalf("partition %d: sources %v, want %d first", p, got, first)
		}
	}
}

func TestWireEntries(t *testing.T) {
	entries := []store.Entry{
		{Key: []byte("s"), Kind: store.KindString, Version: 1, Value: []byte("v")},
		{Key: []byte("r"), Kind: store.KindString, Version: 1<<63 + 1, ExpireAt: 1 << 41, Raw: true, Value: []byte{}},
		{Key: []byte("h"), Kind: store.KindHash, Version: 3, Items: [][]byte{[]byte("f"), []byte("1"), []byte("g"), []byte("2")}},
		{Key: []byte("t"), Kind: store.KindSet, Version: 4, Items: [][]byte{[]byte("m"), []byte("n")}},
		{Key: []byte("gone"), Version: 5, Deleted: true},
	}
	var w wireEntry
	var wire []byte
	for i := range entries {
		wire = w.append(wire, &entries[i])
	}
	for _, want := range entries {
		var got store.Entry
		rest, err := w.next(wire, &got)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Items) == 0 {
			got.Items = nil
		}
		if len(want.Value) == 0 && len(got.Value) == 0 {
			got.Value = want.Value
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		wire = rest
	}
}
