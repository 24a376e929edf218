package ring

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/buraksezer/consistent"
	"github.com/cespare/xxhash/v2"
)

// Algorithm names everything besides the member names that a ring depends on: the library's version (0.10 and 1.0 place
// virtual nodes differently), the hash, and the constants here. Nodes with different algorithms never share a ring.
const Algorithm = "consistent-1.0/xxhash64/4096/384/1.24/0.8"

// The balance is what was measured over random names: docs/scaling.md has the figures of these and other choices.
const (
	replicationFactor = 384  // virtual nodes of a member
	load              = 1.24 // no member owns more than this times the mean, rounded up
	floor             = 0.8  // none owns less, rounded up, see fill.go

	// floorMembers is how many members at most are held to the floor. With more of them a partition is too large a piece:
	// keeping everybody above it would move more at each join than it is worth.
	floorMembers = Partitions / 64

	// libraryMembers is how many members at most are given to the library, which sorts its circle once for each of them: 200
	// take it seconds. Larger rings are computed by circle.go, which comes to the same.
	libraryMembers = 16
)

// None is the member index that stands for nobody: the backup in a ring of one.
const None = -1

// Ring maps partitions to members. It never changes after New, so it may be shared freely.
type Ring struct {
	members []string // sorted
	owner   [Partitions]int16
	backup  [Partitions]int16
	epoch   uint64
}

// New computes the ring of the given members. Their order does not matter and doubles count once. With no members at
// all every partition belongs to None.
func New(names []string) *Ring {
	r := &Ring{members: slices.Compact(slices.Sorted(slices.Values(names)))}
	r.epoch = epoch(r.members)
	for p := range Partitions {
		r.owner[p], r.backup[p] = None, None
	}
	if len(r.members) == 0 {
		return r
	}
	c, f := newCircle(r.members), newFiller(r.members)
	if len(r.members) <= libraryMembers {
		r.askLibrary()
	} else {
		c.distribute(&r.owner, None)
	}
	f.fill(&r.owner, None)
	if len(r.members) == 1 {
		return r
	}
	// The backup of a partition is the member that would own it if its owner were gone: a crash then moves no data, the
	// node that has the copy becomes the owner by everybody's arithmetic. The library's GetClosestN would instead give all
	// partitions of a member to one neighbour.
	var rest [Partitions]int16
	for gone := range r.members {
		c.distribute(&rest, gone)
		f.fill(&rest, gone)
		for p := range Partitions {
			if int(r.owner[p]) == gone {
				r.backup[p] = rest[p]
			}
		}
	}
	return r
}

// askLibrary fills owner.
func (r *Ring) askLibrary() {
	circle := newLibraryCircle(r.members)
	for p := range Partitions {
		name := circle.GetPartitionOwner(p).String()
		i, found := slices.BinarySearch(r.members, name)
		if !found {
			panic("ring: owner is not a member: " + name)
		}
		r.owner[p] = int16(i)
	}
}

// Members returns the sorted names. The caller must not change them.
func (r *Ring) Members() []string { return r.members }

// Owner returns the index in Members of the member that executes commands on partition p.
func (r *Ring) Owner(p int) int { return int(r.owner[p]) }

// Backup returns the index in Members of the member that holds the second copy of partition p, or None.
func (r *Ring) Backup(p int) int { return int(r.backup[p]) }

// Epoch identifies the ring: two rings with the same epoch are equal.
func (r *Ring) Epoch() uint64 { return r.epoch }

// epoch hashes the algorithm and the sorted members, each with its length in front so that no two lists look alike.
func epoch(members []string) uint64 {
	h := xxhash.New()
	var length [4]byte
	for _, s := range append([]string{Algorithm}, members...) {
		binary.BigEndian.PutUint32(length[:], uint32(len(s)))
		h.Write(length[:])
		h.WriteString(s)
	}
	return h.Sum64()
}

type member string

func (m member) String() string { return string(m) }

type hasher struct{}

func (hasher) Sum64(b []byte) uint64 { return xxhash.Sum64(b) }

func newLibraryCircle(names []string) *consistent.Consistent {
	members := make([]consistent.Member, len(names))
	for i, name := range names {
		members[i] = member(name)
	}
	return consistent.New(members, consistent.Config{
		Hasher:            hasher{},
		PartitionCount:    Partitions,
		ReplicationFactor: replicationFactor,
		Load:              load,
	})
}

// most is the largest number of partitions of one among count members, as the library computes it.
func most(count int) int { return int(math.Ceil(Partitions / float64(count) * load)) }
