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
