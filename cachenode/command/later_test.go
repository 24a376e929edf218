package command

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/outrigger-proxy/outrigger/cachenode/store"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
)

// fill replaces the words of a template that stand for something: K for one of keys, W for one of words, INT for a number.
func fill(rnd *rand.Rand, template string, keys, words []string) []string {
	args := strings.Split(template, " ")
	for i, a := range args {
		switch a {
		case "K":
			args[i] = keys[rnd.IntN(len(keys))]
		case "W":
			args[i] = words[rnd.IntN(len(words))]
		case "INT":
			args[i] = strconv.Itoa(rnd.IntN(40) - 10)
		}
	}
	return args
}

// compareTemplates compares commands made of templates.
func compareTemplates(t *testing.T, templates, keys, words []string, rounds int, normal func(args []string, reply string) string) {
	t.Helper()
	compareWithRedis(t, comparison{
		rounds: rounds,
		next: func(rnd *rand.Rand) []string {
			return fill(rnd, templates[rnd.IntN(len(templates))], keys, words)
		},
		alike: func(args []string, real, ours string) bool { return normal(args, real) == normal(args, ours) },
	})
}

func TestGenericAgainstRedis(t *testing.T) {
	compareTemplates(t, []string{
		"set K W", "set K W", "sadd K 1 2 3", "hset K f W", "del K", "lcs K K", "lcs K K LEN", "lcs K K IDX", "lcs K K IDX WITHMATCHLEN", "lcs K K IDX MINMATCHLEN INT",
		"lcs K K LEN IDX", "lcs K K MINMATCHLEN W IDX", "lcs K K WITHMATCHLEN", "lcs K K W", "lcs K K MINMATCHLEN",
		"copy K K", "copy K K REPLACE", "copy K K DB INT", "copy K K DB 3 REPLACE", "copy K K DB 0", "copy K K DB W", "copy K K W", "copy K K DB", "copy K K DB 99999999999",
		"move K INT", "move K 3", "move K 0", "move K W", "type K", "get K", "smembers K", "object ENCODING K", "object REFCOUNT nosuch", "object IDLETIME nosuch",
		"object FREQ nosuch", "object W K", "object W", "object ENCODING K K", "object freq", "pexpire K 100000000", "persist K", "renamenx K K", "touch K K K",
		"setrange K 536870912 x", "setrange K 9223372036854775807 W", "setrange K -1 x", "setrange K INT W", "getrange K 9223372036854775807 -9223372036854775808", "getrange K INT INT", "getrange K -9223372036854775808 9223372036854775807",
		"restore K 0 W", "restore K W W", "restore K INT W REPLACE", "restore K 0 W FREQ INT", "restore K 0 W FREQ 256", "restore K 0 W IDLETIME INT", "restore K 0 W IDLETIME 1 FREQ 1",
		"restore K 0 W W", "restore K 0 W ABSTTL", "dump nosuch", "expire K INT W", "expire K 100 GT LT", "expire K 100000 NX", "expiretime nosuch", "hexists K f",
	}, []string{"a", "b", "c", "\x01x"}, []string{
		"", "ohmytext", "mynewtext", "abcdefghijklmnop", "badcfehgjilknmpo", "\x00\x01\xff", "xaxbxcx", "0", "12", "NX", "db", strings.Repeat("ab", 60), "mytextmytextoh",
	}, 8_000, func(args []string, reply string) string {
		if args[0] == "smembers" && (reply[0] == '*' || reply[0] == '~') {
			return reply[:1] // three integers or nothing
		}
		if args[0] == "object" && args[1] == "ENCODING" && len(args) == 3 && strings.Contains(reply, "embstr") {
			return "embstr"
		}
		if args[0] == "object" && reply == "$9\r\nhashtable\r\n" {
			return "$8\r\nlistpack\r\n" // what small sets are from Redis 7.2 on
		}
		return reply
	})
}

// steps runs commands with the replies they must have; < at the end of a reply allows anything behind.
func steps(t *testing.T, o *ours, table [][2]string) {
	t.Helper()
	for _, s := range table {
		args := strings.Split(s[0], " ")
		got := strings.ReplaceAll(strings.TrimSuffix(string(o.do(args...)), "\r\n"), "\r\n", " ")
		if got != s[1] && !(strings.HasSuffix(s[1], "<") && strings.HasPrefix(got, strings.TrimSuffix(s[1], "<"))) {
			t.Errorf("%s:\n got  %s\n want %s", s[0], got, s[1])
		}
	}
}

// TestConditionalStrings holds what Redis 8.4 and Valkey 9 have added to their documentation.
func TestConditionalStrings(t *testing.T) {
	steps(t, newOurs(2), [][2]string{
		{"set k v", "+OK"},
		{"digest k", "$16 " + digestOf("v")},
		{"digest none", "$-1"},
		{"set k w IFEQ x", "$-1"},
		{"set k w IFEQ v", "+OK"},
		{"set k x IFEQ w GET", "$1 w"},
		{"set k y IFEQ w GET", "$1 x"},
		{"get k", "$1 x"},
		{"set k y IFNE x", "$-1"},
		{"set k y IFNE z EX 100", "+OK"},
		{"ttl k", ":100"},
		{"set none y IFEQ y", "$-1"},
		{"set none y IFDEQ " + digestOf("y"), "$-1"},
		{"set none y IFNE y", "+OK"},
		{"set none z IFDEQ " + strings.ToUpper(digestOf("y")), "+OK"},
		{"set none z IFDNE " + digestOf("z"), "$-1"},
		{"set none z IFDNE 12", "-ERR digest must be exactly 16 hexadecimal characters"},
		{"set k y IFEQ y NX", "-ERR syntax error"},
		{"set k y NX IFEQ y", "-ERR syntax error"},
		{"set k y IFEQ y IFNE y", "-ERR syntax error"},
		{"set k y IFEQ", "-ERR syntax error"},
		{"hset h f v", ":1"},
		{"set h y IFEQ y", "-WRONGTYPE Operation against a key holding the wrong kind of value"},
		{"digest h", "-WRONGTYPE Operation against a key holding the wrong kind of value"},
		{"delex h IFEQ y", "-WRONGTYPE Operation against a key holding the wrong kind of value"},
		{"delex h", ":1"},
		{"delex k IFEQ nope", ":0"},
		{"delex k IFNE y", ":0"},
		{"delex k IFEQ y", ":1"},
		{"delex k IFEQ y", ":0"},
		{"delex k IFNE y", ":0"},
		{"delex k y", "-ERR wrong number of arguments for 'delex' command"},
		{"delex k IFXX y", "-ERR syntax error"},
		{"set k y", "+OK"},
		{"delex k IFDEQ " + digestOf("y"), ":1"},
		{"set k y", "+OK"},
		{"delifeq k x", ":0"},
		{"delifeq k y", ":1"},
		{"delifeq k y", ":0"},
		{"msetex 2 a 1 b 2 EX 10", ":1"},
		{"ttl b", ":10"},
		{"msetex 2 a 3 c 4 NX", ":0"},
		{"exists c", ":0"},
		{"msetex 2 a 3 c 4 XX", ":0"},
		{"msetex 2 a 3 b 4 KEEPTTL XX", ":1"},
		{"ttl a", ":10"},
		{"msetex 1 a 3", ":1"},
		{"ttl a", ":-1"},
		{"msetex 0 a 3", "-ERR invalid numkeys value"},
		{"msetex 2 a 3", "-ERR wrong number of key-value pairs"},
		{"msetex 1 a 3 EX 0", "-ERR invalid expire time in 'msetex' command"},
		{"msetex 1 a 3 EXAT 1", ":1"},
		{"exists a", ":0"},
		{"msetex 1 a 3 GET", "-ERR syntax error"},
	})
}

func digestOf(s string) string { return string(appendDigest(nil, []byte(s))) }

// TestDigest holds the digest to what the reference implementation of XXH3 makes.
func TestDigest(t *testing.T) {
	for in, want := range map[string]string{"": "2d06800538d394c2", "Hello World": "e34615aade2e6333"} {
		if got := digestOf(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestIncrex(t *testing.T) {
	steps(t, newOurs(2), [][2]string{
		{"increx n", "*2 :1 :1"},
		{"increx n BYINT 5", "*2 :6 :5"},
		{"increx n BYINT -10 EX 100", "*2 :-4 :-10"},
		{"ttl n", ":100"},
		{"increx n EX 50 ENX", "*2 :-3 :1"},
		{"ttl n", ":100"},
		{"increx n PERSIST", "*2 :-2 :1"},
		{"ttl n", ":-1"},
		{"increx n EX 50 ENX", "*2 :-1 :1"},
		{"ttl n", ":50"},
		{"increx n BYINT 5 UBOUND 3", "*2 :-1 :0"},
		{"increx n BYINT 5 UBOUND 3 SATURATE PERSIST", "*2 :3 :4"},
		{"increx n BYINT -50 LBOUND 0", "*2 :3 :0"},
		{"increx n BYINT -50 LBOUND 0 SATURATE", "*2 :0 :-3"},
		{"increx new BYINT 5 UBOUND 3 EX 10", "*2 :0 :0"},
		{"exists new", ":0"},
		{"set n 9223372036854775807", "+OK"},
		{"increx n", "*2 :9223372036854775807 :0"},
		{"increx n SATURATE", "*2 :9223372036854775807 :0"},
		{"increx n BYINT -1 UBOUND -9223372036854775000 SATURATE", "-ERR increment or decrement would overflow"},
		{"increx n LBOUND 5 UBOUND 3", "-ERR LBOUND can't be greater than UBOUND"},
		{"increx n BYINT x", "-ERR value is not an integer or out of range"},
		{"increx n ENX", "-ERR syntax error"},
		{"increx n EX 1 PX 1", "-ERR syntax error"},
		{"increx n BYINT 1 BYFLOAT 1", "-ERR syntax error"},
		{"increx n EX 0", "-ERR invalid expire time in 'increx' command"},
		{"set f 1.5", "+OK"},
		{"increx f", "-ERR value is not an integer or out of range"},
		{"increx f BYFLOAT 0.25", "*2 $4 1.75 $4 0.25"},
		{"increx f BYFLOAT 10 UBOUND 2", "*2 $4 1.75 $1 0"},
		{"increx f BYFLOAT 10 UBOUND 2 SATURATE", "*2 $1 2 $4 0.25"},
		{"increx f BYFLOAT inf", "-ERR increment would produce NaN or Infinity"},
		{"sadd s m", ":1"},
		{"increx s", "-WRONGTYPE Operation against a key holding the wrong kind of value"},
	})
	steps(t, newOurs(3), [][2]string{{"increx f BYFLOAT 0.5", "*2 ,0.5 ,0.5"}})
}

func TestHashFieldTimes(t *testing.T) {
	far := strconv.FormatInt(time.Now().Unix()+1000, 10)
	steps(t, newOurs(2), [][2]string{
		{"hset h a 1 b 2 c 3", ":3"},
		{"hexpire h 100 FIELDS 2 a nosuch", "*2 :1 :-2"},
		{"httl h FIELDS 3 a b nosuch", "*3 :100 :-1 :-2"},
		{"hexpire none 100 FIELDS 1 a", "*1 :-2"},
		{"httl none FIELDS 1 a", "*1 :-2"},
		{"hpersist none FIELDS 1 a", "*1 :-2"},
		{"hexpire h 50 NX FIELDS 2 a b", "*2 :0 :1"},
		{"hexpire h 40 XX FIELDS 2 a c", "*2 :1 :0"},
		{"hexpire h 30 GT FIELDS 2 a c", "*2 :0 :0"},
		{"hexpire h 60 GT FIELDS 1 a", "*1 :1"},
		{"hexpire h 70 LT FIELDS 2 a c", "*2 :0 :1"},
		{"hexpireat h " + far + " FIELDS 1 a", "*1 :1"},
		{"hexpiretime h FIELDS 1 a", "*1 :" + far},
		{"hpexpiretime h FIELDS 1 a", "*1 :" + far + "000"},
		{"hpexpireat h " + far + "500 FIELDS 1 a", "*1 :1"},
		{"hpexpiretime h FIELDS 1 a", "*1 :" + far + "500"},
		{"hincrby h a 1", ":2"},
		{"hpexpiretime h FIELDS 1 a", "*1 :" + far + "500"},
		{"hset h a 1", ":0"},
		{"httl h FIELDS 1 a", "*1 :-1"},
		{"hpersist h FIELDS 3 a b nosuch", "*3 :-1 :1 :-2"},
		{"httl h FIELDS 1 b", "*1 :-1"},
		{"hexpire h 0 FIELDS 1 b", "*1 :2"},
		{"hlen h", ":2"},
		{"hexpire h -1 FIELDS 1 a", "-ERR invalid expire time, must be >= 0"},
		{"hexpire h 99999999999999 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"},
		{"hexpire h 1 FIELDS 0 a", "-ERR Parameter `numFields` should be greater than 0"},
		{"hexpire h 1 FIELDS 2 a", "-ERR The `numfields` parameter must match the number of arguments"},
		{"hexpire h 1 FIELD 1 a", "-ERR Mandatory argument FIELDS is missing or not at the right position"},
		{"httl h FIELDS x a", "-ERR Number of fields must be a positive integer"},
		{"hexpire h 1 NX", "-ERR wrong number of arguments for 'hexpire' command"},
		{"hgetdel h FIELDS 2 a nosuch", "*2 $1 1 $-1"},
		{"hgetdel h FIELDS 1 c", "*1 $1 3"},
		{"exists h", ":0"},
		{"hsetex h EX 100 FIELDS 2 a 1 b 2", ":1"},
		{"httl h FIELDS 2 a b", "*2 :100 :100"},
		{"hsetex h FNX FIELDS 2 a 3 c 4", ":0"},
		{"hsetex h FXX FIELDS 2 a 3 c 4", ":0"},
		{"hsetex h FXX KEEPTTL FIELDS 1 a 3", ":1"},
		{"httl h FIELDS 1 a", "*1 :100"},
		{"hsetex h FIELDS 1 a 4", ":1"},
		{"httl h FIELDS 1 a", "*1 :-1"},
		{"hsetex h FXX EX 60 KEEPTTL FIELDS 1 a 5", "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"},
		{"hsetex h EX 0 FIELDS 1 a 5", "-ERR invalid expire time in 'hsetex' command"},
		{"hsetex h FIELDS 2 a 5 b", "-ERR wrong number of arguments"},
		{"hsetex h EXAT 1 FIELDS 1 a 5", ":1"},
		{"hgetex h FIELDS 2 a b", "*2 $-1 $1 2"},
		{"hgetex h EX 7 FIELDS 1 b", "*1 $1 2"},
		{"httl h FIELDS 1 b", "*1 :7"},
		{"hgetex h PERSIST FIELDS 1 b", "*1 $1 2"},
		{"httl h FIELDS 1 b", "*1 :-1"},
		{"hgetex h PERSIST EX 1 FIELDS 1 b", "-ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified"},
		{"hgetex h PXAT 1 FIELDS 1 b", "*1 $1 2"},
		{"exists h", ":0"},
		{"set s v", "+OK"},
		{"hexpire s 1 FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"},
		{"hsetex s EX 1 FIELDS 1 a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"},
	})
}

// TestFieldsExpireExactly looks at hashes by every way there is, when their fields have expired and nobody has reclaimed them.
func TestFieldsExpireExactly(t *testing.T) {
	now := time.Now().UnixMilli()
	o := newOurs(2)
	at := func(ms int64, args ...string) string {
		b := redistest.Args(args)
		o.c.Args, o.c.NowMilli, o.c.Out = b, now+ms, nil
		o.table.Lookup(b[0]).Exec(&o.c)
		return strings.ReplaceAll(strings.TrimSuffix(string(o.c.Out), "\r\n"), "\r\n", " ")
	}
	fresh := func() {
		at(0, "del", "h", "whole")
		at(0, "hset", "h", "a", "1", "b", "2")
		at(0, "hpexpire", "h", "100", "FIELDS", "1", "a")
		at(0, "hset", "whole", "a", "1", "b", "2")
		at(0, "hpexpire", "whole", "100", "FIELDS", "2", "a", "b")
	}
	for _, c := range []struct{ command, before, after string }{
		{"hget h a", "$1 1", "$-1"}, {"hlen h", ":2", ":1"}, {"hexists h a", ":1", ":0"}, {"hgetall h", "*4 $1 a $1 1 $1 b $1 2", "*2 $1 b $1 2"},
		{"hmget h a b", "*2 $1 1 $1 2", "*2 $-1 $1 2"}, {"hstrlen h a", ":1", ":0"}, {"hincrby h a 1", ":2", ":1"}, {"hscan h 0", "*2 $1 0 *4 $1 a $1 1 $1 b $1 2", "*2 $1 0 *2 $1 b $1 2"},
		{"hdel h a", ":1", ":0"}, {"hsetnx h a 9", ":0", ":1"}, {"exists whole", ":1", ":0"}, {"type whole", "+hash", "+none"}, {"hlen whole", ":2", ":0"},
		{"keys w*", "*1 $5 whole", "*0"}, {"ttl whole", ":-1", ":-2"}, {"httl whole FIELDS 1 a", "*1 :1", "*1 :-2"}, {"get whole", "-WRONGTYPE<", "$-1"},
		{"copy whole x", ":1", ":0"}, {"rename whole y", "+OK", "-ERR no such key"}, {"del whole", ":1", ":0"},
	} {
		for _, when := range []struct {
			ms   int64
			want string
		}{{99, c.before}, {100, c.after}} {
			fresh()
			got := at(when.ms, strings.Split(c.command, " ")...)
			if got != when.want && !(strings.HasSuffix(when.want, "<") && strings.HasPrefix(got, strings.TrimSuffix(when.want, "<"))) {
				t.Errorf("%s after %d ms: %s, want %s", c.command, when.ms, got, when.want)
			}
			at(0, "flushall")
		}
	}
	// Nobody reads them: they are reclaimed all the same.
	fresh()
	for o.c.Store.Expire(now+200, 100) > 0 {
	}
	if got := at(0, "dbsize"); got != ":1" {
		t.Errorf("dbsize %s", got)
	}
	if got := at(0, "hlen", "h"); got != ":1" {
		t.Errorf("hlen %s", got)
	}
}

func TestDumpRestore(t *testing.T) {
	o := newOurs(2)
	for _, c := range []string{"set s hello", "set n 12", "append s !", "sadd set 1 2 3", "sadd words a b", "hset h a 1 b 2", "hset timed a 1 b 2", "hexpire timed 100 FIELDS 1 a"} {
		o.do(strings.Split(c, " ")...)
	}
	for _, key := range []string{"s", "n", "set", "words", "h", "timed"} {
		payload := bulkOf(o.do("dump", key))
		if got := string(o.do("restore", "copy", "5000", payload, "REPLACE")); got != "+OK\r\n" {
			t.Fatalf("%s: %q", key, got)
		}
		if again := bulkOf(o.do("dump", "copy")); again != payload {
			t.Errorf("%s: dumped again it is %q, was %q", key, again, payload)
		}
		if a, b := string(o.do("object", "encoding", key)), string(o.do("object", "encoding", "copy")); a != b {
			t.Errorf("%s: encoding %q, was %q", key, b, a)
		}
		if got := string(o.do("ttl", "copy")); got != ":5\r\n" {
			t.Errorf("%s: ttl %q", key, got)
		}
		if got := string(o.do("restore", "copy", "0", payload)); got != "-BUSYKEY Target key name already exists.\r\n" {
			t.Errorf("%s: %q", key, got)
		}
		for i := range payload {
			bad := []byte(payload)
			bad[i] ^= 1 << (i % 8)
			if got := string(o.do("restore", "other", "0", string(bad))); got != "-ERR DUMP payload version or checksum are wrong\r\n" {
				t.Fatalf("%s with byte %d changed: %q", key, i, got)
			}
			if got := string(o.do("restore", "other", "0", payload[:i])); got != "-ERR DUMP payload version or checksum are wrong\r\n" {
				t.Fatalf("%s cut to %d: %q", key, i, got)
			}
		}
	}
	if got := string(o.do("httl", "timed", "FIELDS", "2", "a", "b")); got != "*2\r\n:100\r\n:-1\r\n" {
		t.Errorf("httl %q", got)
	}
	payload := bulkOf(o.do("dump", "h"))
	if got := string(o.do("restore", "h", "1", payload, "ABSTTL", "REPLACE")); got != "+OK\r\n" || string(o.do("exists", "h")) != ":0\r\n" {
		t.Errorf("a past time: %q", got)
	}
}

func bulkOf(reply []byte) string {
	_, rest, _ := strings.Cut(string(reply), "\r\n")
	return strings.TrimSuffix(rest, "\r\n")
}

// FuzzRestore gives payloads that have the right checksum and any content to RESTORE.
func FuzzRestore(f *testing.F) {
	for _, e := range []store.Entry{
		{Kind: store.KindString, Value: []byte("v")},
		{Kind: store.KindHash, Items: [][]byte{[]byte("f"), []byte("v"), make([]byte, 8)}},
		{Kind: store.KindSet, Items: [][]byte{[]byte("m")}},
	} {
		b := store.AppendPayload(nil, &e)
		f.Add(b[:len(b)-10])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o := newOurs(2)
		got := string(o.do("restore", "k", "0", string(store.SealPayload(body))))
		if got != "+OK\r\n" && got != "-ERR Bad data format\r\n" {
			t.Fatalf("%q: %q", body, got)
		}
		if got == "+OK\r\n" && string(o.do("exists", "k")) != ":1\r\n" {
			// All its fields may have been long past.
			if string(o.do("type", "k")) != "+none\r\n" {
				t.Fatal("there and not there")
			}
		}
		o.do("del", "k")
	})
}
