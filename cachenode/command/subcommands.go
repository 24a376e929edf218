package command

import "strings"

// subRow is a row of a command that is a container of others.
type subRow struct {
	name  string
	arity int // with the names of both
	flags string
	since string
	help  string
}

// subRows are those of each container.
var subRows = map[string][]subRow{
	"acl": {
		{"cat", -2, "noscript loading stale", "6.0.0", "List the ACL categories or the commands inside a category"},
		{"deluser", -3, "admin noscript loading stale", "6.0.0", "Remove the specified ACL users and the associated rules"},
		{"dryrun", -4, "admin noscript loading stale", "7.0.0", "Returns whether the user can execute the given command without executing the command"},
		{"genpass", -2, "noscript loading stale", "6.0.0", "Generate a pseudorandom secure password to use for ACL users"},
		{"getuser", 3, "admin noscript loading stale", "6.0.0", "Get the rules for a specific ACL user"},
		{"help", 2, "loading stale", "6.0.0", "Show helpful text about the different subcommands"},
		{"list", 2, "admin noscript loading stale", "6.0.0", "List the current ACL rules in ACL config file format"},
		{"load", 2, "admin noscript loading stale", "6.0.0", "Reload the ACLs from the configured ACL file"},
		{"log", -2, "admin noscript loading stale", "6.0.0", "List latest events denied because of ACLs in place"},
		{"save", 2, "admin noscript loading stale", "6.0.0", "Save the current ACL rules in the configured ACL file"},
		{"setuser", -3, "admin noscript loading stale", "6.0.0", "Modify or create the rules for a specific ACL user"},
		{"users", 2, "admin noscript loading stale", "6.0.0", "List the username of all the configured ACL rules"},
		{"whoami", 2, "noscript loading stale", "6.0.0", "Return the name of the user associated to the current connection"},
	},
	"client": {
		{"caching", 3, "noscript loading stale", "6.0.0", "Instruct the server about tracking or not keys in the next request"},
		{"getname", 2, "noscript loading stale", "2.6.9", "Get the current connection name"},
		{"getredir", 2, "noscript loading stale", "6.0.0", "Get tracking notifications redirection client ID if any"},
		{"help", 2, "loading stale", "5.0.0", "Show helpful text about the different subcommands"},
		{"id", 2, "noscript loading stale", "5.0.0", "Returns the client ID for the current connection"},
		{"info", 2, "noscript loading stale", "6.2.0", "Returns information about the current client connection"},
		{"kill", -3, "admin noscript loading stale", "2.4.0", "Kill the connection of a client"},
		{"list", -2, "admin noscript loading stale", "2.4.0", "Get the list of client connections"},
		{"no-evict", 3, "admin noscript loading stale", "7.0.0", "Set client eviction mode for the current connection"},
		{"no-touch", 3, "noscript loading stale", "7.2.0", "Controls whether commands sent by the client affect the LRU/LFU of accessed keys"},
		{"pause", -3, "admin noscript loading stale", "2.9.50", "Stop processing commands from clients for some time"},
		{"reply", 3, "noscript loading stale", "3.2.0", "Instruct the server whether to reply to commands"},
		{"setinfo", 4, "noscript loading stale", "7.2.0", "Sets information specific to the client or connection"},
		{"setname", 3, "noscript loading stale", "2.6.9", "Set the current connection name"},
		{"tracking", -3, "noscript loading stale", "6.0.0", "Enable or disable server assisted client side caching support"},
		{"trackinginfo", 2, "noscript loading stale", "6.2.0", "Return information about server assisted client side caching for the current connection"},
		{"unblock", -3, "admin noscript loading stale", "5.0.0", "Unblock a client blocked in a blocking command from a different connection"},
		{"unpause", 2, "admin noscript loading stale", "6.2.0", "Resume processing of clients that were paused"},
	},
	"cluster": {
		{"countkeysinslot", 3, "stale", "3.0.0", "Return the number of keys in a hash slot"},
		{"getkeysinslot", 4, "stale", "3.0.0", "Returns the key names in a hash slot"},
		{"help", 2, "loading stale", "5.0.0", "Show helpful text about the different subcommands"},
		{"info", 2, "stale", "3.0.0", "Returns information about the state of a node"},
		{"keyslot", 3, "stale", "3.0.0", "Returns the hash slot for a key"},
		{"links", 2, "stale", "7.0.0", "Returns a list of all TCP links to and from peer nodes"},
		{"myid", 2, "stale", "3.0.0", "Returns the ID of a node"},
		{"nodes", 2, "stale", "3.0.0", "Returns the cluster configuration for a node"},
		{"replicas", 3, "admin stale", "5.0.0", "Lists the replica nodes of a master node"},
		{"shards", 2, "stale", "7.0.0", "Returns the mapping of cluster slots to shards"},
		{"slots", 2, "stale", "3.0.0", "Returns the mapping of cluster slots to nodes"},
	},
	"command": {
		{"count", 2, "loading stale", "2.8.13", "Get total number of Redis commands"},
		{"docs", -2, "loading stale", "7.0.0", "Get array of specific Redis command documentation"},
		{"getkeys", -4, "loading stale", "2.8.13", "Extract keys given a full Redis command"},
		{"getkeysandflags", -4, "loading stale", "7.0.0", "Extract keys and access flags given a full Redis command"},
		{"help", 2, "loading stale", "5.0.0", "Show helpful text about the different subcommands"},
		{"info", -2, "loading stale", "2.8.13", "Get array of specific Redis command details, or all when no argument is given"},
		{"list", -2, "loading stale", "7.0.0", "Get an array of Redis command names"},
	},
	"config": {
		{"get", -3, "admin noscript loading stale", "2.0.0", "Get the values of configuration parameters"},
		{"help", 2, "loading stale", "5.0.0", "Show helpful text about the different subcommands"},
		{"resetstat", 2, "admin noscript loading stale", "2.0.0", "Reset the stats returned by INFO"},
		{"rewrite", 2, "admin noscript loading stale", "2.8.0", "Rewrite the configuration file with the in memory configuration"},
		{"set", -4, "admin noscript loading stale", "2.0.0", "Set configuration parameters to the given values"},
	},
	"function": {
		{"delete", 3, "write noscript", "7.0.0", "Delete a function by name"},
		{"dump", 2, "noscript", "7.0.0", "Dump all functions into a serialized binary payload"},
		{"flush", -2, "write noscript", "7.0.0", "Deleting all functions"},
		{"help", 2, "loading stale", "7.0.0", "Show helpful text about the different subcommands"},
		{"kill", 2, "noscript allow_busy", "7.0.0", "Kill the function currently in execution"},
		{"list", -2, "noscript", "7.0.0", "List information about all the functions"},
		{"load", -3, "write denyoom noscript", "7.0.0", "Create a function with the given arguments (name, code, description)"},
		{"restore", -3, "write denyoom noscript", "7.0.0", "Restore all the functions on the given payload"},
		{"stats", 2, "noscript allow_busy", "7.0.0", "Return information about the function currently running (name, description, duration)"},
	},
	"latency": {
		{"doctor", 2, "admin noscript loading stale", "2.8.13", "Return a human readable latency analysis report"},
		{"graph", 3, "admin noscript loading stale", "2.8.13", "Return a latency graph for the event"},
		{"help", 2, "loading stale", "2.8.13", "Show helpful text about the different subcommands"},
		{"histogram", -2, "admin noscript loading stale", "7.0.0", "Return the cumulative distribution of latencies of a subset of commands or all"},
		{"history", 3, "admin noscript loading stale", "2.8.13", "Return timestamp-latency samples for the event"},
		{"latest", 2, "admin noscript loading stale", "2.8.13", "Return the latest latency samples for all events"},
		{"reset", -2, "admin noscript loading stale", "2.8.13", "Reset latency data for one or more events"},
	},
	"memory": {
		{"doctor", 2, "", "4.0.0", "Outputs memory problems report"},
		{"help", 2, "loading stale", "4.0.0", "Show helpful text about the different subcommands"},
		{"malloc-stats", 2, "", "4.0.0", "Show allocator internal stats"},
		{"purge", 2, "", "4.0.0", "Ask the allocator to release memory"},
		{"stats", 2, "", "4.0.0", "Show memory usage details"},
		{"usage", -3, "readonly", "4.0.0", "Estimate the memory usage of a key"},
	},
	"object": {
		{"encoding", 3, "readonly", "2.2.3", "Inspect the internal encoding of a Redis object"},
		{"freq", 3, "readonly", "4.0.0", "Get the logarithmic access frequency counter of a Redis object"},
		{"help", 2, "loading stale", "6.2.0", "Show helpful text about the different subcommands"},
		{"idletime", 3, "readonly", "2.2.3", "Get the time since a Redis object was last accessed"},
		{"refcount", 3, "readonly", "2.2.3", "Get the number of references to the value of the key"},
	},
	"pubsub": {
		{"channels", -2, "pubsub loading stale", "2.8.0", "List active channels"},
		{"help", 2, "loading stale", "6.2.0", "Show helpful text about the different subcommands"},
		{"numpat", 2, "pubsub loading stale", "2.8.0", "Get the count of unique patterns pattern subscriptions"},
		{"numsub", -2, "pubsub loading stale", "2.8.0", "Get the count of subscribers for channels"},
		{"shardchannels", -2, "pubsub loading stale", "7.0.0", "List active shard channels"},
		{"shardnumsub", -2, "pubsub loading stale", "7.0.0", "Get the count of subscribers for shard channels"},
	},
	"script": {
		{"debug", 3, "noscript", "3.2.0", "Set the debug mode for executed scripts"},
		{"exists", -3, "noscript", "2.6.0", "Check existence of scripts in the script cache"},
		{"flush", -2, "noscript", "2.6.0", "Remove all the scripts from the script cache"},
		{"help", 2, "loading stale", "5.0.0", "Show helpful text about the different subcommands"},
		{"kill", 2, "noscript allow_busy", "2.6.0", "Kill the script currently in execution"},
		{"load", 3, "noscript stale", "2.6.0", "Load the specified Lua script into the script cache"},
	},
	"slowlog": {
		{"get", -2, "admin loading stale", "2.2.12", "Get the slow log's entries"},
		{"help", 2, "loading stale", "6.2.0", "Show helpful text about the different subcommands"},
		{"len", 2, "admin loading stale", "2.2.12", "Get the slow log's length"},
		{"reset", 2, "admin loading stale", "2.2.12", "Clear all entries from the slow log"},
	},
	"xgroup": {
		{"create", -5, "write denyoom", "5.0.0", "Create a consumer group"},
		{"createconsumer", 5, "write denyoom", "6.2.0", "Create a consumer in a consumer group"},
		{"delconsumer", 5, "write", "5.0.0", "Delete a consumer from a consumer group"},
		{"destroy", 4, "write", "5.0.0", "Destroy a consumer group"},
		{"help", 2, "loading stale", "5.0.0", "Show helpful text about the different subcommands"},
		{"setid", -5, "write", "5.0.0", "Set a consumer group to an arbitrary last delivered ID value"},
	},
	"xinfo": {
		{"consumers", 4, "readonly", "5.0.0", "List the consumers in a consumer group"},
		{"groups", 3, "readonly", "5.0.0", "List the consumer groups of a stream"},
		{"help", 2, "loading stale", "5.0.0", "Show helpful text about the different subcommands"},
		{"stream", -3, "readonly", "5.0.0", "Get information about a stream"},
	},
}

// expand gives a container the specs of its subcommands.
func (s *Spec) expand() {
	for _, row := range subRows[s.Name] {
		sub := &Spec{Name: s.Name + "|" + row.name, Arity: row.arity, Flags: parseFlags(row.flags) &^ PubSub, Scope: s.Scope, Merge: s.Merge, Group: s.Group,
			Since: row.since, Help: row.help, Container: s}
		if sub.Flags&(Write|ReadOnly) != 0 {
			sub.FirstKey, sub.LastKey, sub.KeyStep, sub.keys = s.FirstKey, s.LastKey, s.KeyStep, s.keys
		}
		if s.Name == "memory" && row.name != "usage" {
			sub.Scope = InSession
		}
		s.Subs = append(s.Subs, sub)
	}
}

// Sub finds a subcommand by its name in any case, nil if there is none.
func (s *Spec) Sub(name []byte) *Spec {
	for _, sub := range s.Subs {
		if EqualFold(name, sub.Name[len(s.Name)+1:]) {
			return sub
		}
	}
	return nil
}

// Resolve finds the subcommand that args name, or s itself where it has none. It is nil for one that does not exist.
func (s *Spec) Resolve(args [][]byte) *Spec {
	if len(s.Subs) == 0 || len(args) < 2 {
		return s
	}
	return s.Sub(args[1])
}

func parseFlags(words string) (flags Flag) {
	for _, w := range strings.Fields(words) {
		for _, f := range flagNames {
			if f.name == w {
				flags |= f.flag
			}
		}
	}
	return flags
}
