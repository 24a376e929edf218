package ring

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// circle is the library's circle in a form that tells fast who owns what, and who would if one member were gone.
type circle struct {
	owners []int16         // of the virtual nodes, clockwise
	start  [Partitions]int // the first virtual node at or behind the partition
	loads  []int           // while partitions are distributed
}

func newCircle(names []string) *circle {
	type node struct {
		at    uint64
		owner int16
	}
	nodes := make([]node, 0, len(names)*replicationFactor)
	var key []byte
	for i, name := range names {
		for replica := range replicationFactor {
			key = append(strconv.AppendInt(key[:0], int64(replica), 10), ':')
			nodes = append(nodes, node{xxhash.Sum64(append(key, name...)), int16(i)})
		}
	}
	slices.SortFunc(nodes, func(a, b node) int { return cmp.Compare(a.at, b.at) })
	c := &circle{owners: make([]int16, len(nodes)), loads: make([]int, len(names))}
	for i, n := range nodes {
		c.owners[i] = n.owner
	}
	for p := range Partitions {
		var number [8]byte
		binary.LittleEndian.PutUint64(number[:], uint64(p))
		i, _ := slices.BinarySearchFunc(nodes, xxhash.Sum64(number[:]), func(n node, at uint64) int { return cmp.Compare(n.at, at) })
		c.start[p] = i % len(nodes)
	}
	return c
}

// distribute fills owner as the library does for all members but gone, which may be None: each partition goes to the next
// member clockwise that has room.
func (c *circle) distribute(owner *[Partitions]int16, gone int) {
	members := len(c.loads)
	clear(c.loads)
	if gone != None {
		members--
		c.loads[gone] = math.MaxInt // no room
	}
	limit := most(members)
	for p, i := range c.start {
		for c.loads[c.owners[i]] >= limit {
			if i++; i == len(c.owners) {
				i = 0
			}
		}
		owner[p] = c.owners[i]
		c.loads[c.owners[i]]++
	}
}
