// Package ring decides which member owns and which member backs up each of the 4096 partitions of the cache's key space.
// It is a pure function of the member names: nodes that know the same members compute the same ring, without asking anyone.
//
//   - partition.go: key → partition
//   - ring.go: members → owner and backup of each partition
//   - circle.go: who would own what without a member
//   - fill.go: nobody owns much less than the others
package ring
