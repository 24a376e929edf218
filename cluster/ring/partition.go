// HOT PATH

package ring

import (
	"bytes"

	"github.com/cespare/xxhash/v2"
)

// Partitions is the number of slices that the key space is cut into. All nodes of a cluster must agree on it: it is part
// of the ring's Algorithm.
const Partitions = 4096

// PartitionOf tells which partition key belongs to, 0 to Partitions-1. When the key holds a hash tag as Redis Cluster
// defines it ("user:{42}:name" has the tag "42"), only the tag counts, so an application can place keys together.
//
// The hash is not seeded on purpose: every node must come to the same answer.
func PartitionOf(key []byte) int {
	return int(xxhash.Sum64(hashTag(key)) % Partitions)
}

// hashTag returns what lies between the first '{' and the first '}' after it, or the whole key where that is empty or
// missing (Redis Cluster specification, "Hash tags").
func hashTag(key []byte) []byte {
	open := bytes.IndexByte(key, '{')
	if open < 0 {
		return key
	}
	length := bytes.IndexByte(key[open+1:], '}')
	if length <= 0 {
		return key
	}
	return key[open+1 : open+1+length]
}
