// Package cachenode is the cache half of the sidecar: a Redis-compatible store whose partitions are spread over the ring.
//
// A Node decides where a command runs. The way of a GET or SET, socket to socket: respserver cuts it out of what the client
// sends; call.go finds the owner of its key; link.go carries it there, inbound.go takes it in; command and store execute
// it; replicate.go brings what it changed to the backup; and the reply goes the same way back.
//
//   - config.go, node.go: Config, Node and its life from New to Leave
//   - backend.go, news.go, listen.go: what client sessions ask of the node, and what nodes tell each other of keys, messages
//     and who listens to them
//   - call.go: where a command runs
//   - gather.go, everywhere.go: commands that several nodes have parts of
//   - pull.go: keys fetched before a command, while their partition is on its way
//   - near.go, changes.go: copies of other nodes' keys, at the reader and at the owner
//   - park.go: commands whose owner has just died
//   - stall.go: a process that was stopped and goes on
//   - wait.go, guest.go: commands that wait for their keys, at the client's node and at the owner
//   - replicate.go: changes to the backup
//   - move.go, handover.go, pace.go, receive.go: partitions to their new holders
//   - compare.go: copies compared, and repaired
//   - absence.go: members that were away, and what they must not bring back
//   - placement.go: which node holds which partition
//   - policy.go: what rules by prefix say of that
//   - misplaced.go: nodes that disagree about where keys live
//   - worker.go: what belongs to one loop
//   - link.go, inbound.go, greet.go, lobby.go, wireentry.go: connections between nodes
//   - ask.go: questions of other parts of the process to their like in other nodes
//   - snapshot.go: what a node holds, as a file for its next start
//   - tags.go: invalidations, told to all nodes
//   - stats.go: numbers
//   - near: the copies
//   - acl, store, command, pressure, respserver: the parts that know nothing of other nodes
//
// # Who may touch what
//
// Workers, links and inbounds belong to their loop. The placement is immutable and read through an atomic pointer. Flags of
// partitions are atomic; those that say what this node has (complete, assumed) change under Node.mu together with the
// placement they were decided by, so that a partition is never dropped that a newer placement has just brought here.
//
// # Locks
//
// Node.mu comes before the locks of the store. No lock is held across a network call, a callback or a wait: what waits for
// another node is a value in a link's list of pending requests, or a goroutine of move.go that holds nothing.
//
// # What is promised
//
// An acknowledged write is at the owner and its backup, and survives the crash of either. While a new ring spreads, nodes
// with the old and the new one may get commands for one key. A command that reaches a node which is not the owner by its
// ring is passed on once, and so is a write that reaches a node as a backup by another ring than its own; a new owner does
// not change a key before the former one has told that it works by the new ring as well. These are bounded in time: a node
// that does not hear of the ring for a second is not waited for, and then, as when the cluster was in two parts, the newer
// version of a key wins.
//
// A process that was stopped for more than a second throws away what peers have sent it meanwhile: they have given up, and
// may have asked others.
//
// A node takes a connection only from one that is in its own placement, however soon gossip has told the others of it. So
// nothing is asked of a node that still takes itself for the only one, and nothing is answered from what it then lacks.
package cachenode
