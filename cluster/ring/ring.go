package ring

import (
	"encoding/binary"
	"slices"

	"github.com/buraksezer/consistent"
	"github.com/cespare/xxhash/v2"
)

// Algorithm names everything besides the member names that a ring depends on: the library's version (0.10 and 1.0 place
// virtual nodes differently), the hash, and the constants below. Nodes with different algorithms never share a ring.
const Algorithm = "consistent-1.0/xxhash64/1024/64/1.25"

const (
	replicationFactor = 64   // virtual nodes of a member
	load              = 1.25 // no member owns more than this times the mean, rounded up
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
	circle := newCircle(r.members)
	for p := range Partitions {
		r.owner[p] = int16(r.indexOf(circle.GetPartitionOwner(p).String()))
	}
	if len(r.members) == 1 {
		return r
	}
	// The backup of a partition is the member that would own it if its owner were gone: a crash then moves no data, the
	// node that has the copy becomes the owner by everybody's arithmetic. The library's GetClosestN would instead give all
	// partitions of a member to one neighbour.
	for i, name := range r.members {
		circle.Remove(name)
		for p := range Partitions {
			if int(r.owner[p]) == i {
				r.backup[p] = int16(r.indexOf(circle.GetPartitionOwner(p).String()))
			}
		}
		circle.Add(member(name))
	}
	return r
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

func newCircle(names []string) *consistent.Consistent {
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
