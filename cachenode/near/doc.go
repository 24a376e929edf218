// Package near keeps copies of replies that other nodes, the owners of keys, have given, and gives them while it is proven that
// they are not too old. It knows nothing of connections: whoever uses it asks the owners what has changed.
//
//   - cache.go: Cache, the copies
//   - source.go: Source, what is proven of those from one owner
//   - heat.go: Heat, which keys are worth a copy
//
// # Why nothing is older than the bound
//
// An owner is asked again and again what has changed since it was last asked. All of what it answers is dropped here, and then
// the time is noted at which the question was sent: what had changed by then is gone. A copy is given while less than the
// bound has passed since, by this node's monotonic clock, read after the request was. So an owner that cannot be reached
// ends its copies by that, and so does a stop of this node. The owner answers for partitions of which it has the last word.
//
// A reply under way may be of before a change that was dropped meanwhile. Keys share slots by their hashes; each change
// counts in its slot, and a reply is kept only if its slot has counted none since it was asked for.
//
// # Who writes reads what was written
//
// A key that is written through this node is dropped before its owner gets the write, and nothing is kept in its slot until
// the owner has answered: a reply that comes later is of a read that the owner has executed behind the write.
package near
