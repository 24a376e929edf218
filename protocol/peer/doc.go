// Package peer is the protocol between nodes of a cache cluster: frames over TCP, specified in ../README.md. It only turns
// values into bytes and back; what the frames mean is decided by cachenode.
//
//   - frame.go: the frame: header, parser, writer
//   - body.go: the bodies of hello, offer, done, publish
//   - changes.go: the bodies of poll and changes, and what precedes a reply that may be kept
//   - entry.go: entries of the store, as msgpack
//
// Everything works on slices of the caller and keeps none of them: what a decoder returns points into its input.
package peer
