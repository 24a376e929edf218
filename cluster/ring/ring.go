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
func New(names []string) *Ring { return new(Maker).Ring(names) }

// Maker computes rings one after the other. What it makes depends on the names alone; that it remembers the circle of the
// last ones saves most of the time where few have changed. The zero Maker is ready; one goroutine at a time may use it.
type Maker struct {
	circle *consistent.Consistent // of names; nil at first
	names  []string
}

// Ring is New.
func (m *Maker) Ring(names []string) *Ring {
	r := &Ring{members: slices.Compact(slices.Sorted(slices.Values(names)))}
	r.epoch = epoch(r.members)
	for p := range Partitions {
		r.owner[p], r.backup[p] = None, None
	}
	if len(r.members) == 0 {
		return r
	}
	m.follow(r.members)
	for p := range Partitions {
		r.owner[p] = int16(r.indexOf(m.circle.GetPartitionOwner(p).String()))
	}
	f := newFiller(r.members)
	f.fill(&r.owner, None)
	if len(r.members) == 1 {
		return r
	}
	// The backup of a partition is the member that would own it if its owner were gone: a crash then moves no data, the
	// node that has the copy becomes the owner by everybody's arithmetic. The library's GetClosestN would instead give all
	// partitions of a member to one neighbour; and asking the library for each ring without a member takes seconds.
	var rest [Partitions]int16
	c := newCircle(r.members)
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

// follow makes the circle that of names, which are sorted.
func (m *Maker) follow(names []string) {
	changes := 0
	for _, name := range m.names {
		if !has(names, name) {
			changes++
		}
	}
	for _, name := range names {
		if !has(m.names, name) {
			changes++
		}
	}
	// Each change sorts the circle and distributes all partitions; making a new circle only sorts it once for each member.
	if m.circle == nil || changes > len(names)/4 {
		m.circle, m.names = newLibraryCircle(names), names
		return
	}
	for _, name := range names {
		if !has(m.names, name) {
			m.circle.Add(member(name))
		}
	}
	for _, name := range m.names {
		if !has(names, name) {
			m.circle.Remove(name)
		}
	}
	m.names = names
}

func has(names []string, name string) bool {
	_, found := slices.BinarySearch(names, name)
	return found
}

// Members returns the sorted names. The caller must not change them.
func (r *Ring) Members() []string { return r.members }

// Owner returns the index in Members of the member that executes commands on partition p.
func (r *Ring) Owner(p int) int { return int(r.owner[p]) }

// Backup returns the index in Members of the member that holds the second copy of partition p, or None.
func (r *Ring) Backup(p int) int { return int(r.backup[p]) }

// Epoch identifies the ring: two rings with the same epoch are equal.
func (r *Ring) Epoch() uint64 { return r.epoch }

// indexOf returns the index of name in Members.
func (r *Ring) indexOf(name string) int {
	i, found := slices.BinarySearch(r.members, name)
	if !found {
		panic("ring: owner is not a member: " + name)
	}
	return i
}

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
