package ring

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("pod-%d", i)
	}
	return out
}

func without(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s == name })
}

// sizes are the cluster sizes that the properties are tried on.
var sizes = []int{1, 2, 3, 4, 5, 8, 12, 50}

func TestBackupIsAnotherMember(t *testing.T) {
	for _, n := range sizes {
		r := New(names(n))
		for p := range Partitions {
			owner, backup := r.Owner(p), r.Backup(p)
			if owner < 0 || owner >= n {
				t.Fatalf("n=%d: partition %d has owner %d", n, p, owner)
			}
			if n == 1 {
				if backup != None {
					t.Fatalf("alone: partition %d has backup %d", p, backup)
				}
				continue
			}
			if backup < 0 || backup >= n || backup == owner {
				t.Fatalf("n=%d: partition %d has owner %d and backup %d", n, p, owner, backup)
			}
		}
	}
}

func TestBackupBecomesOwnerWhenTheOwnerDies(t *testing.T) {
	for _, n := range sizes[1:] {
		all := names(n)
		before := New(all)
		for dead, name := range before.Members() {
			if n > 8 && dead%(n/2) != 0 {
				continue // two or three are enough for the large clusters
			}
			after := New(without(all, name))
			for p := range Partitions {
				if before.Owner(p) != dead {
					continue
				}
				heir, owner := before.Members()[before.Backup(p)], after.Members()[after.Owner(p)]
				if heir != owner {
					t.Fatalf("n=%d: %s died, partition %d goes to %s but the copy is at %s", n, name, p, owner, heir)
				}
			}
		}
	}
}

func TestBalance(t *testing.T) {
	for _, n := range sizes {
		r := New(names(n))
		owned := make([]int, n)
		for p := range Partitions {
			owned[r.Owner(p)]++
		}
		limit := int(math.Ceil(Partitions * 1.25 / float64(n)))
		for i, count := range owned {
			if count > limit {
				t.Errorf("n=%d: %s owns %d partitions, limit %d", n, r.Members()[i], count, limit)
			}
			if count == 0 {
				t.Errorf("n=%d: %s owns nothing", n, r.Members()[i])
			}
		}
	}
}

// A join moves the newcomer's share and, because loads are bounded, a little more: never more than twice the share.
func TestJoinMovesLittle(t *testing.T) {
	for _, n := range sizes[1:] {
		before, after := New(names(n)), New(names(n+1))
		moved := 0
		for p := range Partitions {
			if before.Members()[before.Owner(p)] != after.Members()[after.Owner(p)] {
				moved++
			}
		}
		if share := Partitions / (n + 1); moved == 0 || moved > 2*share {
			t.Errorf("n=%d: a join moves %d partitions, the share is %d", n, moved, share)
		}
	}
}

func TestRingDependsOnNothingButTheNames(t *testing.T) {
	all := names(7)
	want := New(all)
	random := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		shuffled := append(slices.Clone(all), all[3])
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		got := New(shuffled)
		if got.Epoch() != want.Epoch() || got.owner != want.owner || got.backup != want.backup {
			t.Fatalf("the ring of %v differs", shuffled)
		}
	}
}

func TestEpochTellsRingsApart(t *testing.T) {
	seen := map[uint64][]string{}
	for _, members := range [][]string{nil, {""}, {"a"}, {"b"}, {"a", "b"}, {"ab"}, {"a", "bc"}, {"ab", "c"}, {"abc"}} {
		epoch := New(members).Epoch()
		if other, found := seen[epoch]; found {
			t.Errorf("%q and %q have the same epoch", members, other)
		}
		seen[epoch] = members
	}
}

func TestEmptyRing(t *testing.T) {
	r := New(nil)
	if r.Owner(0) != None || r.Backup(Partitions-1) != None {
		t.Errorf("empty ring has owner %d, backup %d", r.Owner(0), r.Backup(Partitions-1))
	}
}

// The golden file pins the ring itself: a change of it splits running clusters in two, so it needs a new Algorithm.
func TestGolden(t *testing.T) {
	var b strings.Builder
	for _, members := range [][]string{{"a"}, {"a", "b"}, {"a", "b", "c"}, {"b", "c"}, {"a", "b", "c", "d"}} {
		r := New(members)
		fmt.Fprintf(&b, "members %s epoch %016x\n", strings.Join(members, " "), r.Epoch())
		for p := 0; p < Partitions; p += 64 {
			backup := "-"
			if r.Backup(p) != None {
				backup = r.Members()[r.Backup(p)]
			}
			fmt.Fprintf(&b, "  partition %4d owner %s backup %s\n", p, r.Members()[r.Owner(p)], backup)
		}
	}
	path := filepath.Join("testdata", "ring.golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the ring changed; got\n%s", b.String())
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{3, 10, 50} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			for b.Loop() {
				New(names(n))
			}
		})
	}
}
