package store

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// Home says where the keys with a prefix live.
type Home uint8

const (
	Spread   Home = iota // each where its own hash, or that of its {tag}, says
	Together             // all in one partition, that of the prefix
	Here                 // on whichever node uses them: they never leave it
)

// Layout says where the keys live whose prefix decides it. All nodes must have the same. It never changes; nil is that of a
// cache without such prefixes.
type Layout struct {
	list []homePrefix // the longest first
	hash uint64
}

type homePrefix struct {
	prefix []byte // of keys as clients name them
	home   Home
	part   int // of Together
}

// NewLayout makes the layout of these prefixes, of which the longest counts; nil where all keys are spread.
func NewLayout(homes map[string]Home) *Layout {
	l := &Layout{}
	for prefix, home := range homes {
		l.list = append(l.list, homePrefix{[]byte(prefix), home, ring.PartitionOf([]byte(prefix))})
	}
	slices.SortFunc(l.list, func(a, b homePrefix) int {
		if d := len(b.prefix) - len(a.prefix); d != 0 {
			return d
		}
		return bytes.Compare(a.prefix, b.prefix)
	})
	// One that is spread counts only as an exception to a shorter one.
	l.list = slices.DeleteFunc(l.list, func(h homePrefix) bool {
		return h.home == Spread && !slices.ContainsFunc(l.list, func(other homePrefix) bool {
			return other.home != Spread && bytes.HasPrefix(h.prefix, other.prefix)
		})
	})
	if len(l.list) == 0 {
		return nil
	}
	digest := xxhash.New()
	for _, h := range l.list {
		digest.Write(binary.AppendUvarint(nil, uint64(len(h.prefix))))
		digest.Write(h.prefix)
		digest.Write([]byte{byte(h.home)})
	}
	l.hash = digest.Sum64()
	return l
}

// Hash tells layouts apart: two with the same are equal. That of nil is 0.
func (l *Layout) Hash() uint64 {
	if l == nil {
		return 0
	}
	return l.hash
}

// Partition tells in which partition a stored key lives.
func (l *Layout) Partition(stored []byte) int {
	if l == nil {
		return ring.PartitionOf(stored)
	}
	_, name := SplitKey(stored)
	for i := range l.list {
		if h := &l.list[i]; bytes.HasPrefix(name, h.prefix) {
			switch h.home {
			case Together:
				return h.part
			case Here:
				return ring.Partitions + ring.PartitionOf(stored)%shardCount
			}
			return ring.PartitionOf(stored)
		}
	}
	return ring.PartitionOf(stored)
}

// IsLocal tells whether partition p is one of those whose keys never leave the node.
func IsLocal(p int) bool { return p >= ring.Partitions }

// PartitionOf tells in which partition a stored key lives.
func (s *Store) PartitionOf(stored []byte) int { return s.layout.Partition(stored) }
