package command

import (
	"slices"
	"sort"
)

// Table finds commands by name. It does not change after NewTable.
type Table struct {
	// Exec runs what was queued by MULTI, Watch tells the versions of keys. Clients reach them through their sessions only.
	Exec, Watch *Spec

	byName map[string]*Spec
	sorted []*Spec
	byID   []*Spec
}

// NewTable builds the table of all commands.
func NewTable() *Table {
	rows := specs()
	t := &Table{Exec: &execSpec, Watch: &watchSpec, byName: make(map[string]*Spec, len(rows))}
	for i := range rows {
		s := &rows[i]
		t.byName[s.Name] = s
		t.sorted = append(t.sorted, s)
		s.expand()
		for _, one := range append([]*Spec{s}, s.Subs...) {
			one.ID = len(t.byID)
			one.findUse()
			t.byID = append(t.byID, one)
		}
	}
	sort.Slice(t.sorted, func(i, j int) bool { return t.sorted[i].Name < t.sorted[j].Name })
	return t
}

// maxName is longer than any command's name.
const maxName = 20

// Lookup finds a command by its name in any case, nil if there is none.
func (t *Table) Lookup(name []byte) *Spec {
	if len(name) > maxName {
		return nil
	}
	var lower [maxName]byte
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	return t.byName[string(lower[:len(name)])]
}

// LookupForPeer finds what another node may ask for: a command, or what a session makes of one.
func (t *Table) LookupForPeer(name []byte) *Spec {
	switch string(name) {
	case t.Exec.Name:
		return t.Exec
	case t.Watch.Name:
		return t.Watch
	}
	return t.Lookup(name)
}

// ByID lists the commands and their subcommands by their IDs. It must not be changed.
func (t *Table) ByID() []*Spec { return t.byID }

// All lists the commands by name. It must not be changed.
func (t *Table) All() []*Spec { return t.sorted }

// specs are the rows of the table. Those of a large group stand beside its commands.
func specs() []Spec {
	return slices.Concat(basicSpecs(), laterSpecs(), leaseSpecs(), tagSpecs(), streamSpecs(), transactionSpecs(), serverSpecs(), listSpecs(), zsetSpecs(), scriptSpecs(), setStoreSpecs(), bitSpecs(), hllSpecs(), geoSpecs())
}

// basicSpecs are the rows of strings, hashes, sets, keys whatever they hold, and sessions.
func basicSpecs() []Spec {
	return []Spec{
		{Name: "get", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "1.0.0",
			Help: "Returns the string value of a key", run: get},
		{Name: "set", Arity: -3, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "1.0.0",
			Help: "Sets the string value of a key, ignoring its type; the key is created if it does not exist", run: set},
		{Name: "setnx", Arity: 3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "1.0.0",
			Help: "Sets the string value of a key only when the key does not exist", run: setnx},
		{Name: "setex", Arity: 4, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "2.0.0",
			Help: "Sets the string value and expiration time of a key in seconds", run: setex},
		{Name: "psetex", Arity: 4, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "2.6.0",
			Help: "Sets the string value and expiration time of a key in milliseconds", run: psetex},
		{Name: "getset", Arity: 3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "1.0.0",
			Help: "Returns the previous string value of a key after setting it to a new value", run: getset},
		{Name: "getdel", Arity: 2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "6.2.0",
			Help: "Returns the string value of a key after deleting the key", run: getdel},
		{Name: "getex", Arity: -2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "6.2.0",
			Help: "Returns the string value of a key after setting its expiration time", run: getex},
		{Name: "mget", Arity: -2, Flags: ReadOnly | Fast, Merge: Gather, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "string", Since: "1.0.0",
			Help: "Returns the string values of one or more keys", run: mget},
		{Name: "mset", Arity: -3, Flags: Write | DenyOOM, Merge: AllOK, FirstKey: 1, LastKey: -1, KeyStep: 2, Group: "string", Since: "1.0.1",
			Help: "Sets the string values of one or more keys", run: mset},
		{Name: "msetnx", Arity: -3, Flags: Write | DenyOOM, FirstKey: 1, LastKey: -1, KeyStep: 2, Group: "string", Since: "1.0.1",
			Help: "Sets the string values of one or more keys only when none of the keys exist", run: msetnx},
		{Name: "append", Arity: 3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "2.0.0",
			Help: "Appends a string to the value of a key", run: appendTo},
		{Name: "strlen", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "2.2.0",
			Help: "Returns the length of a string value", run: strlen},
		{Name: "getrange", Arity: 4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "2.4.0",
			Help: "Returns a substring of the string stored at a key", run: getrange},
		{Name: "substr", Arity: 4, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "1.0.0",
			Help: "Returns a substring of the string stored at a key", run: getrange},
		{Name: "setrange", Arity: 4, Flags: Write | DenyOOM, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "2.2.0",
			Help: "Overwrites a part of a string value with another by an offset", run: setrange, grow: setrangeGrowth},
		{Name: "incr", Arity: 2, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "1.0.0",
			Help: "Increments the integer value of a key by one", run: incr},
		{Name: "decr", Arity: 2, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "1.0.0",
			Help: "Decrements the integer value of a key by one", run: decr},
		{Name: "incrby", Arity: 3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "1.0.0",
			Help: "Increments the integer value of a key by a number", run: incrby},
		{Name: "decrby", Arity: 3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "1.0.0",
			Help: "Decrements a number from the integer value of a key", run: decrby},
		{Name: "incrbyfloat", Arity: 3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "string", Since: "2.6.0",
			Help: "Increments the floating point value of a key by a number", run: incrbyfloat},
		{Name: "del", Arity: -2, Flags: Write, Merge: Sum, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "generic", Since: "1.0.0",
			Help: "Deletes one or more keys", run: del},
		{Name: "unlink", Arity: -2, Flags: Write | Fast, Merge: Sum, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "generic", Since: "4.0.0",
			Help: "Deletes one or more keys", run: del},
		{Name: "exists", Arity: -2, Flags: ReadOnly | Fast, Merge: Sum, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "generic", Since: "1.0.0",
			Help: "Determines whether one or more keys exist", run: exists},
		{Name: "touch", Arity: -2, Flags: ReadOnly | Fast, Merge: Sum, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "generic", Since: "3.2.1",
			Help: "Counts the keys that exist, and marks them as used", run: exists},
		{Name: "type", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "generic", Since: "1.0.0",
			Help: "Determines the type of value stored at a key", run: typeOf},
		{Name: "expire", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "generic", Since: "1.0.0",
			Help: "Sets the expiration time of a key", run: expire},
		{Name: "pexpire", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "generic", Since: "2.6.0",
			Help: "Sets the expiration time of a key", run: pexpire},
		{Name: "expireat", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "generic", Since: "1.2.0",
			Help: "Sets the expiration time of a key", run: expireat},
		{Name: "pexpireat", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "generic", Since: "2.6.0",
			Help: "Sets the expiration time of a key", run: pexpireat},
		{Name: "ttl", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "generic", Since: "1.0.0",
			Help: "Returns when a key expires", run: ttl},
		{Name: "pttl", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "generic", Since: "2.6.0",
			Help: "Returns when a key expires", run: pttl},
		{Name: "expiretime", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "generic", Since: "7.0.0",
			Help: "Returns when a key expires", run: expiretime},
		{Name: "pexpiretime", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "generic", Since: "7.0.0",
			Help: "Returns when a key expires", run: pexpiretime},
		{Name: "persist", Arity: 2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "generic", Since: "2.2.0",
			Help: "Removes the expiration time of a key", run: persist},
		{Name: "rename", Arity: 3, Flags: Write, FirstKey: 1, LastKey: 2, KeyStep: 1, Group: "generic", Since: "1.0.0",
			Help: "Renames a key and overwrites the destination", run: rename},
		{Name: "renamenx", Arity: 3, Flags: Write | Fast, FirstKey: 1, LastKey: 2, KeyStep: 1, Group: "generic", Since: "1.0.0",
			Help: "Renames a key only when the target key name does not exist", run: renamenx},
		{Name: "object", Arity: -2, Flags: ReadOnly, Group: "generic", Since: "2.2.3",
			Help: "Tells how a value is represented", run: object, keys: objectKey},
		{Name: "keys", Arity: 2, Flags: ReadOnly, Scope: Everywhere, Merge: Concat, Group: "generic", Since: "1.0.0",
			Help: "Returns all key names that match a pattern", run: keys},
		{Name: "scan", Arity: -2, Flags: ReadOnly, Scope: ByCursor, Group: "generic", Since: "2.8.0",
			Help: "Iterates over the key names in the database", run: scan},
		{Name: "randomkey", Arity: 1, Flags: ReadOnly, Scope: Anywhere, Group: "generic", Since: "1.0.0",
			Help: "Returns a random key name from the database", run: randomkey},
		{Name: "dbsize", Arity: 1, Flags: ReadOnly | Fast, Scope: Everywhere, Merge: Sum, Group: "server", Since: "1.0.0",
			Help: "Returns the number of keys in the database", run: dbsize},
		{Name: "flushdb", Arity: -1, Flags: Write, Scope: Everywhere, Merge: AllOK, Group: "server", Since: "1.0.0",
			Help: "Removes all keys from the current database", run: flushdb},
		{Name: "flushall", Arity: -1, Flags: Write, Scope: Everywhere, Merge: AllOK, Group: "server", Since: "1.0.0",
			Help: "Removes all keys from all databases", run: flushall},
		{Name: "time", Arity: 1, Flags: Fast, Scope: Anywhere, Group: "server", Since: "2.6.0",
			Help: "Returns the server time", run: timeNow},
		{Name: "hset", Arity: -4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.0.0",
			Help: "Creates or modifies the value of a field in a hash", run: hset},
		{Name: "hmset", Arity: -4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.0.0",
			Help: "Sets the values of multiple fields", run: hmset},
		{Name: "hsetnx", Arity: 4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.0.0",
			Help: "Sets the value of a field in a hash only when the field does not exist", run: hsetnx},
		{Name: "hget", Arity: 3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.0.0",
			Help: "Returns the value of a field in a hash", run: hget},
		{Name: "hmget", Arity: -3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.0.0",
			Help: "Returns the values of all given fields in a hash", run: hmget},
		{Name: "hgetall", Arity: 2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.0.0",
			Help: "Returns all fields and values in a hash", run: hgetall},
		{Name: "hdel", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.0.0",
			Help: "Deletes one or more fields and their values from a hash", run: hdel},
		{Name: "hlen", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.0.0",
			Help: "Returns the number of fields in a hash", run: hlen},
		{Name: "hexists", Arity: 3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.0.0",
			Help: "Determines whether a field exists in a hash", run: hexists},
		{Name: "hkeys", Arity: 2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.0.0",
			Help: "Returns all fields in a hash", run: hkeys},
		{Name: "hvals", Arity: 2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.0.0",
			Help: "Returns all values in a hash", run: hvals},
		{Name: "hincrby", Arity: 4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.0.0",
			Help: "Increments the integer value of a field in a hash by a number", run: hincrby},
		{Name: "hincrbyfloat", Arity: 4, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.6.0",
			Help: "Increments the floating point value of a field by a number", run: hincrbyfloat},
		{Name: "hstrlen", Arity: 3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "3.2.0",
			Help: "Returns the length of the value of a field", run: hstrlen},
		{Name: "hscan", Arity: -3, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "2.8.0",
			Help: "Iterates over fields and values of a hash", run: hscan},
		{Name: "hrandfield", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "hash", Since: "6.2.0",
			Help: "Returns one or more random fields from a hash", run: hrandfield},
		{Name: "sadd", Arity: -3, Flags: Write | DenyOOM | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Adds one or more members to a set", run: sadd},
		{Name: "srem", Arity: -3, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Removes one or more members from a set", run: srem},
		{Name: "sismember", Arity: 3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Determines whether a member belongs to a set", run: sismember},
		{Name: "smismember", Arity: -3, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "set", Since: "6.2.0",
			Help: "Determines whether multiple members belong to a set", run: smismember},
		{Name: "scard", Arity: 2, Flags: ReadOnly | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Returns the number of members in a set", run: scard},
		{Name: "spop", Arity: -2, Flags: Write | Fast, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Returns one or more random members from a set after removing them", run: spop},
		{Name: "srandmember", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Returns one or more random members from a set", run: srandmember},
		{Name: "sscan", Arity: -3, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "set", Since: "2.8.0",
			Help: "Iterates over members of a set", run: sscan},
		{Name: "smembers", Arity: 2, Flags: ReadOnly, FirstKey: 1, LastKey: 1, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Returns all members of a set", run: sinter},
		{Name: "sunion", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Returns the union of multiple sets", run: sunion},
		{Name: "sinter", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Returns the intersect of multiple sets", run: sinter},
		{Name: "sdiff", Arity: -2, Flags: ReadOnly, FirstKey: 1, LastKey: -1, KeyStep: 1, Group: "set", Since: "1.0.0",
			Help: "Returns the difference of multiple sets", run: sdiff},
		{Name: "ping", Arity: -1, Flags: Fast | PubSub, Scope: InSession, Group: "connection", Since: "1.0.0",
			Help: "Returns the server's liveliness response"},
		{Name: "echo", Arity: 2, Flags: Fast, Scope: InSession, Group: "connection", Since: "1.0.0",
			Help: "Returns the given string"},
		{Name: "hello", Arity: -1, Flags: Fast | NoAuth, Scope: InSession, Group: "connection", Since: "6.0.0",
			Help: "Handshakes with the server"},
		{Name: "auth", Arity: -2, Flags: Fast | NoAuth, Scope: InSession, Group: "connection", Since: "1.0.0",
			Help: "Authenticates the connection"},
		{Name: "select", Arity: 2, Flags: Fast, Scope: InSession, Group: "connection", Since: "1.0.0",
			Help: "Changes the selected database"},
		{Name: "quit", Arity: -1, Flags: Fast | NoAuth | PubSub, Scope: InSession, Group: "connection", Since: "1.0.0",
			Help: "Closes the connection"},
		{Name: "reset", Arity: 1, Flags: Fast | NoAuth | PubSub, Scope: InSession, Group: "connection", Since: "6.2.0",
			Help: "Resets the connection"},
		{Name: "acl", Arity: -2, Scope: InSession, Group: "server", Since: "6.0.0",
			Help: "A container for Access List Control commands"},
		{Name: "client", Arity: -2, Scope: InSession, Group: "connection", Since: "2.4.0",
			Help: "A container for client connection commands"},
		{Name: "command", Arity: -1, Scope: InSession, Group: "server", Since: "2.8.13",
			Help: "Returns detailed information about all commands"},
		{Name: "info", Arity: -1, Scope: InSession, Group: "server", Since: "1.0.0",
			Help: "Returns information and statistics about the server"},
		{Name: "config", Arity: -2, Flags: Admin, Scope: InSession, Group: "server", Since: "2.0.0",
			Help: "A container for server configuration commands"},
		{Name: "cluster", Arity: -2, Scope: InSession, Group: "cluster", Since: "3.0.0",
			Help: "A container for Redis Cluster commands"},
		{Name: "readonly", Arity: 1, Flags: Fast, Scope: InSession, Group: "cluster", Since: "3.0.0",
			Help: "Accepted without effect: every node answers for every key"},
		{Name: "readwrite", Arity: 1, Flags: Fast, Scope: InSession, Group: "cluster", Since: "3.0.0",
			Help: "Accepted without effect: every node answers for every key"},
		{Name: "lolwut", Arity: -1, Flags: ReadOnly | Fast, Scope: InSession, Group: "server", Since: "5.0.0",
			Help: "Displays the version"},
		{Name: "subscribe", Arity: -2, Flags: PubSub, Scope: InSession, Group: "pubsub", Since: "2.0.0",
			Help: "Listens for messages published to channels"},
		{Name: "unsubscribe", Arity: -1, Flags: PubSub, Scope: InSession, Group: "pubsub", Since: "2.0.0",
			Help: "Stops listening to messages posted to channels"},
		{Name: "psubscribe", Arity: -2, Flags: PubSub, Scope: InSession, Group: "pubsub", Since: "2.0.0",
			Help: "Listens for messages published to channels that match patterns"},
		{Name: "punsubscribe", Arity: -1, Flags: PubSub, Scope: InSession, Group: "pubsub", Since: "2.0.0",
			Help: "Stops listening to messages published to channels that match patterns"},
		{Name: "publish", Arity: 3, Flags: Fast, Scope: InSession, Group: "pubsub", Since: "2.0.0",
			Help: "Posts a message to a channel"},
		{Name: "ssubscribe", Arity: -2, Flags: PubSub, Scope: InSession, Group: "pubsub", Since: "7.0.0",
			Help: "Listens for messages published to shard channels; any node serves any of them"},
		{Name: "sunsubscribe", Arity: -1, Flags: PubSub, Scope: InSession, Group: "pubsub", Since: "7.0.0",
			Help: "Stops listening to messages posted to shard channels"},
		{Name: "spublish", Arity: 3, Flags: Fast, Scope: InSession, Group: "pubsub", Since: "7.0.0",
			Help: "Posts a message to a shard channel"},
		{Name: "pubsub", Arity: -2, Scope: InSession, Group: "pubsub", Since: "2.8.0",
			Help: "A container for Pub/Sub commands"},
	}
}
