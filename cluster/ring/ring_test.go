package ring

import (
	"flag"
	"fmt"
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
var sizes = []int{1, 2, 3, 5, 12}

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
			if n > 4 && dead%(n/2) != 0 {
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

// podNames are names as Kubernetes gives them, those of seed.
func podNames(seed uint64, n int) []string {
	random := rand.New(rand.NewPCG(seed, 1))
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("web-%x-%x", random.Uint32(), random.Uint32()&0xfffff)
	}
	return out
}

// owners is who owns what, as indexes of names. It is what New computes, see TestOwnersAreTheRings, without the library's
// patience.
func owners(names []string) (owner [Partitions]int16) {
	newCircle(names).distribute(&owner, None)
	newFiller(names).fill(&owner, None)
	return owner
}

func TestOwnersAreTheRings(t *testing.T) {
	for _, n := range sizes {
		all := slices.Sorted(slices.Values(podNames(7, n)))
		if New(all).owner != owners(all) {
			t.Errorf("%d members: another ring", n)
		}
	}
}

// Up to fifty members own between 0.8 and 1.25 times the mean.
func TestBalance(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50} {
		for seed := range uint64(4) {
			owned := make([]int, n)
			for _, m := range owners(podNames(seed, n)) {
				owned[m]++
			}
			mean := float64(Partitions) / float64(n)
			if least, most := float64(slices.Min(owned))/mean, float64(slices.Max(owned))/mean; least < 0.8 || most > 1.25 {
				t.Errorf("%d members own %.3f to %.3f times the mean", n, least, most)
			}
		}
	}
}

// A join moves the newcomer's share, and because loads are bounded a little more. A leave is a join seen backwards. The
// mean over several is compared: what one newcomer gets is between 0.8 and 1.24 shares, as everybody's.
func TestJoinMovesLittle(t *testing.T) {
	for _, n := range []int{3, 5, 10, 20, 50} {
		const joins = 10
		moved := 0
		for seed := range uint64(joins) {
			all := podNames(seed, n+1)
			before, after := owners(all[:n]), owners(all)
			for p := range Partitions {
				if before[p] != after[p] {
					moved++
				}
			}
		}
		share := float64(moved) / joins * float64(n+1) / Partitions
		t.Logf("%d to %d members: %.3f shares", n, n+1, share)
		if share > 1.15 {
			t.Errorf("a join to %d members moves %.3f times the newcomer's share", n, share)
		}
	}
}

func TestCircleIsTheLibrarys(t *testing.T) {
	for _, n := range []int{2, 3, 5, 20} {
		all := slices.Sorted(slices.Values(names(n)))
		c := newCircle(all)
		for _, gone := range []int{None, 0, n / 2, n - 1} {
			rest := all
			if gone != None {
				rest = without(all, all[gone])
			}
			want := newLibraryCircle(rest)
			var got [Partitions]int16
			c.distribute(&got, gone)
			for p := range Partitions {
				if owner := want.GetPartitionOwner(p).String(); owner != all[got[p]] {
					t.Fatalf("n=%d without %d: partition %d is %s's, the library says %s's", n, gone, p, all[got[p]], owner)
				}
			}
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
		for p := 0; p < Partitions; p += 256 {
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
	for _, n := range []int{3, 16, 17, 50, 200, 1000} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			for b.Loop() {
				New(names(n))
			}
		})
	}
}
