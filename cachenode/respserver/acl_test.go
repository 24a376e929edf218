package respserver

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/netloop"
)

// ACL rules, what they allow, and how they are told back are Redis's.
func TestACLAgainstRedis(t *testing.T) {
	p := newPair(t, "2")
	p.quiet("SET", "app:1", "v")
	user := p.another("2")
	steps := func(who *pair, text string) {
		t.Helper()
		for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
			if line = strings.TrimSpace(line); line != "" {
				who.same(strings.Fields(line)...)
			}
		}
	}
	steps(p, `
		ACL WHOAMI
		ACL LIST
		ACL USERS
		ACL GETUSER default
		ACL GETUSER nobody
		ACL CAT
		ACL CAT nosuch
		ACL CAT one two
		acl cat one two
		ACL SETUSER alice
		ACL LIST
		ACL GETUSER alice
		ACL SETUSER alice on >secret ~app:* &news:* +@read +set
		ACL GETUSER alice
		ACL LIST
		ACL SETUSER alice nonsense
		ACL SETUSER alice +nosuch
		ACL SETUSER alice +@nosuch
		ACL SETUSER alice %X~foo
		ACL SETUSER alice #1234
		ACL SETUSER alice <wrong
		ACL SETUSER alice +client|nosuch
		ACL SETUSER alice -set +set
		ACL SETUSER dave +client|id -client|id +client|id
		ACL GETUSER dave
		ACL SETUSER dave +client
		ACL GETUSER dave
		ACL GETUSER alice
		ACL SETUSER bob on nopass allkeys ~x
		ACL SETUSER bob on nopass allkeys allchannels &x
		ACL SETUSER bob on nopass %R~r:* %W~w:* +@all -@admin
		ACL GETUSER bob
		ACL SETUSER carol on nopass -@all +get ~a:* (+set ~b:*) (+@read %R~c:* resetchannels)
		ACL GETUSER carol
		ACL LIST
		ACL SETUSER carol clearselectors (+get
		ACL USERS
		ACL DRYRUN alice GET app:1
		ACL DRYRUN alice GET other
		ACL DRYRUN alice DEL app:1
		ACL DRYRUN nobody GET x
		ACL DRYRUN alice NOSUCH x
		ACL DRYRUN alice GET
		ACL DRYRUN bob SET w:1 v
		ACL DRYRUN bob SET r:1 v
		ACL DRYRUN bob GET w:1
		ACL DRYRUN bob SETEX w:1 10 v
		ACL DRYRUN bob COPY r:1 w:1
		ACL DRYRUN bob COPY w:1 r:1
		ACL DRYRUN bob RENAME r:1 w:1
		ACL DRYRUN bob SET w:1 v GET
		ACL DRYRUN bob STRLEN w:1
		ACL DRYRUN bob EXISTS r:1 w:1
		ACL DRYRUN bob EXISTS r:1 x
		ACL DRYRUN bob BITFIELD r:1 GET u8 0
		ACL DRYRUN bob BITFIELD r:1 SET u8 0 1
		ACL DRYRUN bob SINTERSTORE w:1 r:1 r:2
		ACL DRYRUN bob XREADGROUP GROUP g c STREAMS r:1 >
		ACL DRYRUN carol GET a:1
		ACL DRYRUN carol SET a:1 v
		ACL DRYRUN carol SET b:1 v
		ACL DRYRUN carol GET c:1
		ACL DRYRUN carol PUBLISH x y
		ACL DELUSER default
		ACL DELUSER nobody
		ACL GENPASS 0
		ACL GENPASS 5000
		ACL GENPASS x
		ACL LOAD
		ACL SAVE
		ACL NOSUCH
		ACL
		ACL LOG x
		AUTH wrong
		AUTH alice wrong
		AUTH nobody secret`)
	steps(user, `
		AUTH alice secret
		ACL WHOAMI
		GET app:1
		GET other
		MGET app:1 other
		SET app:1 w
		SET other w
		DEL app:1
		CLIENT ID x
		CLIENT KILL ID 999
		CLIENT NOSUCH
		CONFIG GET maxmemory
		PUBLISH news:1 x
		SUBSCRIBE news:1 other
		SUBSCRIBE other
		PSUBSCRIBE news:*
		PUBLISH other x
		MULTI
		GET app:1
		GET other
		EXEC
		MULTI
		SET app:1 x
		DISCARD
		PING`)
	steps(p, `
		ACL LOG RESET
		ACL DELUSER bob carol
		ACL SETUSER alice resetkeys resetpass
		ACL GETUSER alice
		ACL SETUSER alice reset
		ACL GETUSER alice
		CLIENT KILL USER nobody`)

	// The log names the key that kept the command from running, by whichever selector it came furthest.
	steps(p, `
		ACL LOG RESET
		ACL SETUSER eve on nopass ~a +mget (+mget ~a ~b) (+get ~c)`)
	user.same("AUTH", "eve", "x")
	user.same("MGET", "a", "b", "d")
	for _, c := range []*client{p.real, p.ours} {
		if log := c.do("ACL", "LOG"); !strings.Contains(log, "$6\r\nobject\r\n$1\r\nd\r\n") {
			t.Errorf("ACL LOG: %q", log)
		}
	}
}

// What a command does with its keys decides what users need who may only read, or only write, a key.
func TestKeyAccessAgainstRedis(t *testing.T) {
	p := newPair(t, "2")
	for _, line := range strings.Split(strings.TrimSpace(`
		GET k|SET k v|SET k v EX 10 gEt|SETEX k 1 v|SETNX k v|MSET a 1 b 2|MSETNX a 1 b 2|APPEND k v|STRLEN k|GETSET k v|GETDEL k|GETEX k
		INCR k|INCRBYFLOAT k 1|SETRANGE k 1 v|GETRANGE k 0 1|SETBIT k 1 1|BITFIELD k GET u8 1|BITFIELD k GET u8 1 SET u8 1 1
		BITFIELD k INCRBY u8 1 1 OVERFLOW SAT GET u8 1|BITFIELD k OVERFLOW WRAP GET u8 1|BITFIELD_RO k GET u8 1|BITOP AND a b c|BITCOUNT k
		DEL a b|UNLINK a b|EXISTS a b|TYPE k|TTL k|EXPIRE k 1|EXPIRETIME k|PERSIST k|RENAME a b|RENAMENX a b|COPY a b|MOVE k 1|TOUCH a b
		DUMP k|RESTORE k 0 v|OBJECT ENCODING k|MEMORY USAGE k|SORT k|SORT k STORE b|SORT_RO k|WATCH a b|LCS a b
		HSET k f v|HGET k f|HEXISTS k f|HLEN k|HSTRLEN k f|HDEL k f|HSETNX k f v|HINCRBY k f 1|HRANDFIELD k|HSCAN k 0
		LPUSH k v|LPUSHX k v|LPOP k|LMOVE a b LEFT LEFT|BLMOVE a b LEFT LEFT 0|RPOPLPUSH a b|BLPOP a b 0|LMPOP 2 a b LEFT|LLEN k|LINSERT k BEFORE a b
		LREM k 0 v|LTRIM k 0 1|LSET k 0 v|LRANGE k 0 1|SADD k v|SREM k v|SPOP k|SMOVE a b v|SCARD k|SISMEMBER k v|SMISMEMBER k v|SINTERSTORE a b c
		SUNIONSTORE a b c|SDIFFSTORE a b c|SINTERCARD 2 a b|ZADD k 1 m|ZINCRBY k 1 m|ZREM k m|ZPOPMIN k|BZPOPMIN a b 0|ZMPOP 2 a b MIN|ZCARD k
		ZCOUNT k 0 1|ZRANGESTORE a b 0 1|ZUNIONSTORE a 2 b c|ZUNION 2 a b|ZREMRANGEBYRANK k 0 1|ZMSCORE k m
		PFADD k v|PFCOUNT a b|PFMERGE a b c|GEOADD k 1 1 m|GEORADIUS k 1 1 1 m STORE b|GEOSEARCHSTORE a b FROMMEMBER m BYRADIUS 1 m
		XADD k * f v|XLEN k|XREAD STREAMS k 0|XREADGROUP GROUP g c STREAMS k >|XACK k g 1|XDEL k 1|XTRIM k MAXLEN 1|XGROUP CREATE k g 0
		XGROUP DESTROY k g|XGROUP SETID k g 0|XINFO STREAM k|XPENDING k g|XCLAIM k g c 0 1|XAUTOCLAIM k g c 0 0|XSETID k 1
		EVAL x 2 a b|EVAL x 0|EVAL_RO x 1 a|EVALSHA x 1 a`), "\n") {
		for _, words := range strings.Split(line, "|") {
			p.same(append([]string{"COMMAND", "GETKEYSANDFLAGS"}, strings.Fields(words)...)...)
		}
	}
	if list := p.ours.do("COMMAND", "LIST"); !strings.Contains(list, "\r\nclient|list\r\n") {
		t.Error("COMMAND LIST has no subcommands")
	}
}

// SORT reads keys by patterns: that is for users who may read all.
func TestSortByPatternsNeedsAllKeys(t *testing.T) {
	p := newPair(t, "2")
	p.quiet("RPUSH", "own:list", "1")
	p.quiet("SET", "secret:1", "v")
	for user, keys := range map[string]string{"some": "~own:*", "reader": "%R~*", "all": "~*"} {
		p.same("ACL", "SETUSER", user, "on", "nopass", "+@all", keys)
		u := p.another("2")
		u.same("AUTH", user, "")
		for _, words := range []string{"SORT own:list", "SORT own:list BY nosort", "SORT own:list BY secret:*", "SORT own:list GET secret:*",
			"SORT own:list get #", "SORT_RO own:list BY nosort GET secret:*", "SORT own:list LIMIT 0 get", "SORT own:list ALPHA DESC"} {
			u.same(strings.Fields(words)...)
		}
	}
}

func TestUsersOfTheConfiguration(t *testing.T) {
	sum := sha256.Sum256([]byte("pw"))
	n := start(t, 2, func(cfg *Config, _ []*netloop.Loop) {
		cfg.Password = "master"
		cfg.Users = []string{"app on #" + hex.EncodeToString(sum[:]) + " ~app:* &* +@all -@dangerous", "reader on nopass ~* +@read"}
	})
	c := n.dial(t)
	c.want("-NOAUTH Authentication required.\r\n", "GET", "app:1")
	c.want("-WRONGPASS invalid username-password pair or user is disabled.\r\n", "AUTH", "app", "master")
	c.want("+OK\r\n", "AUTH", "app", "pw")
	c.want("+OK\r\n", "SET", "app:1", "v")
	c.want("-NOPERM this user has no permissions to access one of the keys used as arguments\r\n", "GET", "other")
	c.want("-NOPERM this user has no permissions to run the 'flushall' command\r\n", "FLUSHALL")
	if got := c.do("HELLO", "3", "AUTH", "default", "master"); !strings.HasPrefix(got, "%7") {
		t.Errorf("HELLO AUTH: %q", got)
	}
	c.want("+OK\r\n", "FLUSHALL")
	got := c.do("ACL", "LOG")
	for _, part := range []string{"flushall", "toplevel", "auth", "key", "other", "username\r\n$3\r\napp"} {
		if !strings.Contains(got, part) {
			t.Errorf("ACL LOG without %q: %q", part, got)
		}
	}
	if _, err := New(Config{Backend: NewLocal(n.store, n.loops...), Store: n.store, Logger: n.cfg.Logger, Users: []string{"x on >plain"}}); err == nil || strings.Contains(err.Error(), "plain") {
		t.Errorf("a password in the configuration: %v", err)
	}
}

// Who loses a right loses what hangs on it.
func TestRevokedSessionsEnd(t *testing.T) {
	n := start(t, 2, nil)
	admin := n.dial(t)
	admin.want("+OK\r\n", "ACL", "SETUSER", "u", "on", "nopass", "+@all", "allkeys", "&news")
	deleted, listener, other := n.dial(t), n.dial(t), n.dial(t)
	for _, c := range []*client{listener, deleted} {
		c.want("+OK\r\n", "AUTH", "u", "x")
	}
	listener.do("SUBSCRIBE", "news")
	admin.want("+OK\r\n", "ACL", "SETUSER", "u", "resetchannels")
	listener.closed()
	deleted.want("+PONG\r\n", "PING")
	admin.want(":1\r\n", "ACL", "DELUSER", "u")
	deleted.closed()
	other.want("+PONG\r\n", "PING")
	if got := len(admin.do("ACL", "GENPASS")); got != len("$64\r\n\r\n")+64 {
		t.Errorf("GENPASS: %d bytes", got)
	}
}

// The log keeps the last refusals, equal ones together.
func TestDenialLogIsBounded(t *testing.T) {
	n := start(t, 1, nil)
	admin, c := n.dial(t), n.dial(t)
	admin.do("ACL", "SETUSER", "u", "on", "nopass", "+get", "~x")
	c.do("AUTH", "u", "x")
	for i := range 2 * maxDenials {
		c.do("GET", fmt.Sprint("k", i))
		c.do("GET", "same")
	}
	n.denials.mu.Lock()
	defer n.denials.mu.Unlock()
	if got := len(n.denials.entries); got != maxDenials {
		t.Errorf("%d entries", got)
	}
	if e := n.denials.entries[0]; e.object != "same" || e.count != 2*maxDenials {
		t.Errorf("newest entry: %+v", e)
	}
}

// What was queued while it was allowed is not executed once it is no longer.
func TestQueuedCommandsAreCheckedAgain(t *testing.T) {
	n := start(t, 1, nil)
	admin, c := n.dial(t), n.dial(t)
	admin.want("+OK\r\n", "ACL", "SETUSER", "u", "on", "nopass", "+@all", "allkeys")
	c.want("+OK\r\n", "AUTH", "u", "x")
	c.want("+OK\r\n", "MULTI")
	c.want("+QUEUED\r\n", "SET", "k", "v")
	admin.want("+OK\r\n", "ACL", "SETUSER", "u", "-set")
	c.want("-EXECABORT Transaction discarded because of: NOPERM this user has no permissions to run the 'set' command any more\r\n", "EXEC")
	c.want("$-1\r\n", "GET", "k")
	c.want("+PONG\r\n", "PING")
}
