// Package store is the memory of one cache node: 4096 partitions, each a hash table of its own, grouped into shards that
// share a lock, an eviction policy and an expiry wheel.
//
//	store.go      Store: configuration, statistics, expiry across shards
//	budget.go     the budget, and eviction across shards
//	policy.go     what gives way
//	tx.go         Tx: some shards held while a command works on their keys
//	shard.go      a shard: items in, items out, accounting
//	item.go       Item, 64 bytes without its bytes
//	slab.go       the chunks that a shard's items are in
//	compact.go    chunks that are nearly empty are given back
//	table.go      the hash table of a partition
//	linear.go     the linear hash in it, and in large collections
//	vector.go     a sequence that grows in pieces
//	journal.go    changes of keys that other nodes have copies of
//	warm.go       the processor's caches are filled for many keys at once
//	prefetch_*    the instruction for it
//	dict.go       Dict: the fields of a hash, the members of a set
//	zset.go       ZSet: a sorted set, and the packed form of a small one
//	ztree.go      the B-tree that orders a large one and counts ranks
//	zindex.go     the linear hash that finds its members by name
//	stream.go     Stream: entries by ID, in blocks
//	streamblock.go a block of packed entries
//	streamgroup.go consumer groups and what they have not acknowledged
//	streamwire.go a stream as items of an Entry
//	fieldtimes.go when fields of a hash expire
//	payload.go    an Entry as bytes with a checksum: DUMP and RESTORE
//	list.go       List: chunks of packed elements
//	queue.go      S3-FIFO: three queues measured in bytes, and the ghost's fingerprints
//	timed.go      the items that expire, in that order, for volatile-ttl
//	wait.go       who waits for a key to be written
//	rules.go      rules by prefix: who gets what when a key comes to its end
//	stale.go      items that are kept beyond it
//	lease.go      who has promised to set a key
//	tags.go       tags, which make any number of keys miss at once
//	tagpattern.go tags that keys have by their names
//	layout.go     where keys live that do not go by their own hash
//	wheel.go      the timing wheel that finds expired items
//	clock.go      versions
//	partition.go  whole partitions: scan, count, drop, flush
//	entry.go      Entry: one key with all it holds, as nodes exchange it; Apply takes the newer one
//	dbkey.go      how the 16 databases share one flat key space
//	class.go      what the Go allocator really uses for a size
//
// # Locks
//
// A shard has one mutex. Whoever needs several takes them in ascending order, which Begin does; it takes those as well that
// the waiters of its shards need (wait.go). Nothing is called back under a lock but the functions given to the Scan methods,
// to OnRemoval and in Tx.Created, and those must not come back to the store. Evicting and expiring lock one shard at a time
// and are only called with none held.
//
// # Versions
//
// Every entry carries a version from a hybrid logical clock: milliseconds in the upper 48 bits, a counter in the lower
// 16. A shard's clock never goes back and moves past the versions it sees from other nodes, as long as they are at most 10 s
// ahead of its own time; and a write is newer than what it replaces in any case. So it is newer than what its node knew before
// of the key, however wrong the clocks are, and a node whose clock is wrong does not drag the others with it. A deletion
// leaves a tombstone (bounded in time and number), a flush leaves a floor per partition and database: older entries that
// arrive late are refused by both.
//
// # Memory
//
// A string's key and value are one allocation without pointers, so the garbage collector marks it and does not look
// inside. What is charged to the budget is what the allocator hands out, plus the item, its share of the ghost, and the
// tables, and what others book by Charge: clients' buffers, waiters, scripts. A command's growth is reserved before it
// runs: a SET never makes room by evicting what it has just stored.
package store
