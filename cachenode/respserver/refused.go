package respserver

import (
	"strings"

	"github.com/outrigger-proxy/outrigger/cachenode/command"
	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// refused are Redis's commands that there are not going to be, and why.
var refused = map[string]string{
	"asking":         noSlots,
	"bgrewriteaof":   noFiles,
	"bgsave":         noFiles,
	"failover":       noReplicas,
	"fcall":          noFunctions,
	"fcall_ro":       noFunctions,
	"lastsave":       noFiles,
	"migrate":        "keys move between nodes by themselves",
	"module":         noModules,
	"pfdebug":        "it is for tests of Redis itself",
	"pfselftest":     "it is for tests of Redis itself",
	"psync":          noReplicas,
	"replconf":       noReplicas,
	"replicaof":      noReplicas,
	"restore-asking": noSlots,
	"save":           noFiles,
	"shutdown":       "send the process SIGTERM, so that it hands its keys over first",
	"slaveof":        noReplicas,
	"swapdb":         "databases are part of the keys' names here, so that two of them cannot be swapped at once",
	"sync":           noReplicas,
}

const (
	noReplicas  = "nodes keep copies of each other's keys by themselves, without Redis's replication"
	noModules   = "modules are programs for Redis's own process"
	noFunctions = "functions are not stored here: use EVAL and EVALSHA"
	noFiles     = "this cache writes no RDB or AOF files"
	noSlots     = "any node answers for every key, so that nothing is redirected"
)

// modulePrefixes begin the commands of Redis's own modules.
var modulePrefixes = []string{"ft.", "json.", "bf.", "cf.", "cms.", "topk.", "tdigest.", "ts.", "graph."}

// refuse answers a command that is known not to exist here. It reports false for one that nobody knows.
func (s *session) refuse(args [][]byte) bool {
	if len(args[0]) > 32 {
		return false
	}
	name := strings.ToLower(string(args[0]))
	if name == "function" {
		s.functions(args)
		return true
	}
	if name == "module" && len(args) == 2 && command.EqualFold(args[1], "list") {
		s.st.w = resp.AppendArray(s.st.w, 0) // tools ask before they use any
		return true
	}
	why := refused[name]
	for _, p := range modulePrefixes {
		if strings.HasPrefix(name, p) {
			why = noModules
		}
	}
	if why == "" {
		return false
	}
	s.fail("ERR '" + name + "' is not supported: " + why)
	return true
}

// functions answers as a server without any function.
func (s *session) functions(args [][]byte) {
	switch {
	case len(args) == 1:
		s.st.w = command.AppendWrongArity(s.st.w, "function")
	case command.EqualFold(args[1], "flush") && len(args) <= 3:
		s.ok()
	case command.EqualFold(args[1], "list"):
		s.st.w = resp.AppendArray(s.st.w, 0)
	default:
		s.fail("ERR 'function " + strings.ToLower(string(args[1][:min(len(args[1]), 32)])) + "' is not supported: " + noFunctions)
	}
}
