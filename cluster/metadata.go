package cluster

import (
	"bytes"
	"fmt"

	"github.com/hashicorp/memberlist"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
)

// State says what a member does.
type State uint8

const (
	Active  State = iota // owns partitions
	Leaving              // alive and answering, but owns nothing any more
)

func (s State) String() string {
	if s == Leaving {
		return "leaving"
	}
	return "active"
}

// The versions of the metadata and of what members say to each other that this build understands.
const (
	versionMin = 1
	versionMax = 1
)

// metadata is what a member tells the others about itself by gossip, as a msgpack array. Fields are only ever appended;
// decoding ignores the ones it does not know.
type metadata struct {
	VersionMin uint8
	VersionMax uint8
	Cluster    string
	PeerAddr   string
	Zone       string
	State      State
	Instance   uint64 // Unix nanoseconds of the start: a restart under the same name is another instance, which holds no data
	Ring       string // ring.Algorithm
}

func (m metadata) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := msgpack.NewEncoder(&b)
	enc.UseArrayEncodedStructs(true)
	if err := enc.Encode(&m); err != nil {
		return nil, fmt.Errorf("encode member metadata: %w", err)
	}
	if b.Len() > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("member metadata takes %d bytes of %d: shorten the cluster name, peer address or zone", b.Len(), memberlist.MetaMaxSize)
	}
	return b.Bytes(), nil
}

func decodeMetadata(b []byte) (metadata, error) {
	var m metadata
	if err := msgpack.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("decode member metadata: %w", err)
	}
	return m, nil
}

// compatible says why a member with metadata m cannot be in our cluster.
func (m metadata) compatible(cluster string) error {
	switch {
	case m.Cluster != cluster:
		return fmt.Errorf("belongs to cluster %q, not %q", m.Cluster, cluster)
	case m.VersionMin > versionMax || m.VersionMax < versionMin:
		return fmt.Errorf("speaks versions %d to %d, not %d to %d", m.VersionMin, m.VersionMax, versionMin, versionMax)
	case m.Ring != ring.Algorithm:
		return fmt.Errorf("computes its ring by %q, not %q", m.Ring, ring.Algorithm)
	}
	return nil
}
