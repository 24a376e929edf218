package cluster

import (
	"bytes"
	"fmt"
	"io"

	"github.com/hashicorp/memberlist"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/outrigger-proxy/outrigger/cluster/ring"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
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

// metadata is what a member tells the others about itself by gossip: two msgpack values, one behind the other. The first is
// an array of what version 1 knew, which refuses arrays of another length, but does not look behind its own. The second is a
// map of what came later. A decoder passes over what it does not know, and what is missing is zero.
type metadata struct {
	basics
	Details
}

// basics are as they are for ever.
type basics struct {
	VersionMin uint8 // of the peer protocol
	VersionMax uint8
	Cluster    string
	PeerAddr   string
	Zone       string
	State      State
	Instance   uint64 // Unix nanoseconds of the start: a restart under the same name is another instance, which holds no data
	Ring       string // ring.Algorithm
}

// Details are what members came to tell after version 1: only ever add to them. Zero is what an older member tells. All in
// all metadata has 512 bytes.
type Details struct {
	RESPAddr string `msgpack:"resp,omitempty"`  // "host:port" where Redis clients connect
	Rules    uint64 `msgpack:"rules,omitempty"` // hash of the rules by which keys are placed
}

func (m metadata) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := msgpack.NewEncoder(&b)
	enc.UseArrayEncodedStructs(true)
	if err := enc.Encode(&m.basics); err != nil {
		return nil, fmt.Errorf("encode member metadata: %w", err)
	}
	enc.UseArrayEncodedStructs(false)
	if err := enc.Encode(&m.Details); err != nil {
		return nil, fmt.Errorf("encode member metadata: %w", err)
	}
	if b.Len() > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("member metadata takes %d bytes of %d: shorten the cluster name, peer address or zone", b.Len(), memberlist.MetaMaxSize)
	}
	return b.Bytes(), nil
}

func decodeMetadata(b []byte) (metadata, error) {
	var m metadata
	dec := msgpack.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&m.basics); err != nil {
		return m, fmt.Errorf("decode member metadata: %w", err)
	}
	if err := dec.Decode(&m.Details); err != nil && err != io.EOF { // version 1 ends here
		return m, fmt.Errorf("decode details of member: %w", err)
	}
	return m, nil
}

// version is the highest version of the peer protocol that the member and this build both know; they have one in common.
func (m metadata) version() int { return min(int(m.VersionMax), peer.VersionMax) }

// compatible says why a member with metadata m cannot be in our cluster.
func (m metadata) compatible(cluster string) error {
	switch {
	case m.Cluster != cluster:
		return fmt.Errorf("belongs to cluster %q, not %q", m.Cluster, cluster)
	case m.VersionMin > peer.VersionMax || m.VersionMax < peer.VersionMin:
		return fmt.Errorf("speaks versions %d to %d, not %d to %d: upgrade one release at a time", m.VersionMin, m.VersionMax, peer.VersionMin, peer.VersionMax)
	case m.Ring != ring.Algorithm:
		return fmt.Errorf("computes its ring by %q, not %q", m.Ring, ring.Algorithm)
	}
	return nil
}
