package command

// differences says in what commands are unlike Redis 7.0's, or, where that has none of the name, unlike the later Redis
// or the Valkey that has. docs/commands.md is written from it.
var differences = map[string]string{
	"blpop":       waitsAtOwner,
	"brpop":       waitsAtOwner,
	"blmove":      waitsAtOwner,
	"brpoplpush":  waitsAtOwner,
	"blmpop":      waitsAtOwner,
	"bzpopmin":    waitsAtOwner,
	"bzpopmax":    waitsAtOwner,
	"bzmpop":      waitsAtOwner,
	"copy":        "DB, where other nodes hold keys too, is refused.",
	"move":        "Refused where other nodes hold keys too.",
	"dump":        "The payload is of a format of our own: it has a version and a checksum, and RESTORE of Redis refuses it.",
	"restore":     "Takes what DUMP here has written. A payload of Redis is refused with `DUMP payload version or checksum are wrong`. IDLETIME and FREQ are checked and not kept.",
	"object":      "FREQ is the number of hits since the key was last queued for eviction, at most 3, under every policy. IDLETIME counts from the last write. REFCOUNT is 1. Small sets and lists are `listpack`, as from Redis 7.2 on.",
	"sort":        "Patterns of BY and GET, where other nodes hold keys too, are refused as in a Redis Cluster. ALPHA compares bytes, whatever the locale. Elements that compare equal keep their order.",
	"sort_ro":     "As SORT.",
	"scan":        "Cursors are larger numbers than those of Redis. They are good on every node.",
	"keys":        "A pattern never takes more than the product of its length and the key's in steps.",
	"touch":       "Counts as a hit for the eviction policy.",
	"lcs":         "The table may have 64 MiB, not as much as a string may be long.",
	"flushall":    "Always at once; ASYNC is accepted.",
	"flushdb":     "Always at once; ASYNC is accepted.",
	"unlink":      "The same as DEL: memory is given back by the garbage collector.",
	"lolwut":      "Displays the version.",
	"digest":      "As in Redis 8.4.",
	"delex":       "As in Redis 8.4.",
	"delifeq":     "As in Valkey 9.0.",
	"msetex":      "As in Redis 8.4. Keys of different owners are refused.",
	"increx":      "As in Redis 8.8.",
	"set":         "IFEQ, IFNE, IFDEQ and IFDNE as in Redis 8.4.",
	"msetnx":      "Keys of different owners are refused.",
	"rename":      "Keys of different owners are refused.",
	"renamenx":    "Keys of different owners are refused.",
	"hexpire":     "As in Redis 7.4.",
	"hpexpire":    "As HEXPIRE.",
	"hexpireat":   "As HEXPIRE.",
	"hpexpireat":  "As HEXPIRE.",
	"httl":        "As in Redis 7.4.",
	"hpttl":       "As in Redis 7.4.",
	"hexpiretime": "As in Redis 7.4.", "hpexpiretime": "As in Redis 7.4.",
	"hpersist":   "As in Redis 7.4.",
	"hgetdel":    "As in Redis 8.0.",
	"hgetex":     "As in Redis 8.0.",
	"hsetex":     "As in Redis 8.0.",
	"xadd":       "MAXLEN ~ and MINID ~ cut between blocks of a hundred entries or 4 KiB, whose limits are our own where entries are large.",
	"xtrim":      "As XADD for ~.",
	"xinfo":      "radix-tree-keys is the number of blocks, radix-tree-nodes one more.",
	"xread":      "Waits only where all keys belong to the node that the client is connected to. Deleting a key wakes nobody.",
	"xreadgroup": "As XREAD. A consumer that waits is told that its group was destroyed, but not that the whole stream was deleted.",
	"command":    "Summary, group and version are there; arguments, key specifications, tips and ACL categories are not.",
	"config":     "Only parameters that exist are known.",
	"info":       "Has a section of its own, outrigger.",
	"readonly":   "Accepted without effect: every node answers for every key.", "readwrite": "Accepted without effect: every node answers for every key.",
}

// absent says why commands of Redis 7.0 are not there. Those without a reason are yet to come.
var absent = map[string]string{
	"bgrewriteaof": "Nothing is written to disk while it runs: see `cache_snapshot`.",
	"bgsave":       "As BGREWRITEAOF.", "save": "As BGREWRITEAOF.", "lastsave": "As BGREWRITEAOF.",
	"asking":   "There are no slots: every node answers for every key.",
	"cluster":  "The cluster is not a Redis Cluster: every node answers for every key, and clients need not know of the others.",
	"failover": "A crashed node's partitions have a backup that takes over by itself.", "replicaof": "As FAILOVER.", "slaveof": "As FAILOVER.",
	"replconf": "Between Redis servers only.", "psync": "As REPLCONF.", "sync": "As REPLCONF.", "restore-asking": "As REPLCONF.",
	"fcall": "No functions: use EVAL.", "fcall_ro": "As FCALL.", "function": "As FCALL.",
	"migrate": "Keys move by themselves.", "module": "No modules.", "pfdebug": "A test of Redis itself.", "pfselftest": "A test of Redis itself.",
	"shutdown": "Send the process SIGTERM.",
	"swapdb":   "Databases are prefixes of keys, on all nodes.",
}

// waitsAtOwner holds for all that wait for keys.
const waitsAtOwner = "Waits only on the node that owns the keys; elsewhere it is an error where there is nothing yet."

// Differs says in what the command is unlike the one of Redis, empty where it is not.
func (s *Spec) Differs() string { return differences[s.Name] }
