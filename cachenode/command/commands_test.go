package command

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var updateCommands = flag.Bool("update", false, "write docs/commands.md")

// redis70 are the commands of Redis 7.0.15, subcommands not counted.
const redis70 = `acl append asking auth bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos blmove blmpop blpop brpop brpoplpush
bzmpop bzpopmax bzpopmin client cluster command config copy dbsize debug decr decrby del discard dump echo eval eval_ro evalsha evalsha_ro exec
exists expire expireat expiretime failover fcall fcall_ro flushall flushdb function geoadd geodist geohash geopos georadius georadius_ro
georadiusbymember georadiusbymember_ro geosearch geosearchstore get getbit getdel getex getrange getset hdel hello hexists hget hgetall hincrby
hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen hvals incr incrby incrbyfloat info keys lastsave latency lcs lindex
linsert llen lmove lmpop lolwut lpop lpos lpush lpushx lrange lrem lset ltrim memory mget migrate module monitor move mset msetnx multi object
persist pexpire pexpireat pexpiretime pfadd pfcount pfdebug pfmerge pfselftest ping psetex psubscribe psync pttl publish pubsub punsubscribe quit
randomkey readonly readwrite rename renamenx replconf replicaof reset restore restore-asking role rpop rpoplpush rpush rpushx sadd save scan
scard script sdiff sdiffstore select set setbit setex setnx setrange shutdown sinter sintercard sinterstore sismember slaveof slowlog smembers
smismember smove sort sort_ro spop spublish srandmember srem sscan ssubscribe strlen subscribe substr sunion sunionstore sunsubscribe swapdb sync
time touch ttl type unlink unsubscribe unwatch wait watch xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup
xrevrange xsetid xtrim zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin
zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank zremrangebyscore zrevrange zrevrangebylex
zrevrangebyscore zrevrank zscan zscore zunion zunionstore`

// TestCommandsAreDocumented compares docs/commands.md with the table of commands.
func TestCommandsAreDocumented(t *testing.T) {
	const path = "../../docs/commands.md"
	var b bytes.Buffer
	fmt.Fprint(&b, `# Commands of the cache

Every command that clients may send. Replies, errors and types are those of Redis 7.0.15 in RESP2 and RESP3, which tests hold them to, but
for what is said here. Commands whose keys belong to several nodes are split and merged where the column says how; the others need
keys that live together, which a common {hash tag} makes sure of. Written by `+"`go test ./cachenode/command -run Documented -update`"+`.
`)
	table := NewTable()
	byGroup := map[string][]*Spec{}
	for _, s := range table.All() {
		byGroup[s.Group] = append(byGroup[s.Group], s)
	}
	groups := slices.Sorted(func(yield func(string) bool) {
		for g := range byGroup {
			if !yield(g) {
				return
			}
		}
	})
	for _, g := range groups {
		fmt.Fprintf(&b, "\n## %s\n\n| command | since | what it does | keys of several nodes | unlike Redis |\n|---|---|---|---|---|\n", g)
		for _, s := range byGroup[g] {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", strings.ToUpper(s.Name), s.Since, docCell(s.Help), spread(s), docCell(s.Differs()))
		}
	}
	fmt.Fprint(&b, "\n## Not there\n\nCommands of Redis 7.0 that are answered with an error. Those without a reason are not there yet.\n\n| command | why |\n|---|---|\n")
	for _, name := range strings.Fields(redis70) {
		if table.Lookup([]byte(name)) == nil {
			fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ToUpper(name), docCell(absent[name]))
		}
	}
	if *updateCommands {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	is, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(is, b.Bytes()) {
		t.Errorf("%s is not what the table says (%v): run go test ./cachenode/command -run Documented -update", path, err)
	}
	for name := range differences {
		if table.Lookup([]byte(name)) == nil {
			t.Errorf("%s is said to differ and is not there", name)
		}
	}
	for name := range absent {
		if !slices.Contains(strings.Fields(redis70), name) {
			t.Errorf("%s is said to be absent and is no command of Redis 7.0", name)
		}
	}
}

// oneKey are commands whose key is not at a fixed place, and that never have two.
var oneKey = []string{"object", "xgroup", "xinfo", "memory", "debug"}

// spread says what becomes of a command whose keys belong to several nodes.
func spread(s *Spec) string {
	switch {
	case s.Scope == InSession:
		return ""
	case s.Scope == Everywhere:
		return "asks all nodes"
	case s.Scope == ByCursor:
		return "goes from node to node"
	case s.Scope == Anywhere:
		return "any node"
	case s.PopsFirst():
		return "waited for at each node"
	case s.Merge == SameOwner && s.HasKeys() && (s.FirstKey != s.LastKey || s.keys != nil) && !slices.Contains(oneKey, s.Name):
		return "must live together"
	case s.Merge == SameOwner:
		return ""
	}
	return "split and merged"
}

func docCell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
