package command

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/cachenode/store"
	"github.com/outrigger-proxy/outrigger/protocol/resp"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"", "", true}, {"", "a", false}, {"a*c", "abbbc", true}, {"a*c", "abbb", false}, {"a?c", "abc", true},
		{"a?c", "ac", false}, {"[a-c]x", "bx", true}, {"[^a-c]x", "bx", false}, {"[^a-c]x", "dx", true}, {"[c-a]", "b", true},
		{"\\*", "*", true}, {"\\*", "a", false}, {"[\\]]", "]", true}, {"[a", "a", true}, {"**a**", "bab", true},
		{"user:*:name", "user:42:name", true}, {"user:*:name", "user:42:names", false}, {"h[ae]llo*", "hallo!", true},
		{strings.Repeat("*a", 50), strings.Repeat("a", 1000) + "b", false},
	} {
		if got := Match([]byte(c.pattern), []byte(c.s)); got != c.want {
			t.Errorf("Match(%q, %.20q) = %v", c.pattern, c.s, got)
		}
	}
}

// TestTable holds each row to what others rely on.
func TestTable(t *testing.T) {
	for _, s := range NewTable().All() {
		switch {
		case s.Name != strings.ToLower(s.Name) || len(s.Name) > maxName || s.Help == "" || s.Since == "" || s.Group == "" || s.Arity == 0:
			t.Errorf("%s: incomplete row", s.Name)
		case (s.run == nil && s.self == nil) != (s.Scope == InSession):
			t.Errorf("%s: run and scope disagree", s.Name)
		case (s.Scope == ByKeys) != s.HasKeys() && s.Name != "watch":
			t.Errorf("%s: keys and scope disagree", s.Name)
		case s.Scope == ByKeys && s.Flags&(Write|ReadOnly) == 0:
			t.Errorf("%s: neither reads nor writes", s.Name)
		case s.Merge == Gather && s.KeyStep != 1:
			t.Errorf("%s: replies cannot be gathered", s.Name)
		}
	}
	table := NewTable()
	if table.Lookup([]byte("GeT")) == nil || table.Lookup([]byte("nosuch")) != nil || table.Lookup([]byte(strings.Repeat("x", 100))) != nil {
		t.Error("Lookup")
	}
}

func TestChanged(t *testing.T) {
	o := newOurs(2)
	o.c.Track = true
	for _, c := range []struct{ command, want string }{
		{"set a 1", "a"}, {"get a", ""}, {"set a 2 NX", ""}, {"mset b 1 c 2", "b c"}, {"del a nosuch b", "a b"}, {"incr c", "c"},
		{"rename c d", "d c"}, {"expire d 100", "d"}, {"persist d", "d"}, {"hset h f v", "h"}, {"hdel h f", "h"}, {"sadd s 1", "s"}, {"sadd s 1", ""},
		{"spop s", "s"}, {"expire d -1", "d"}, {"append x 1", "x"}, {"setrange x 3 y", "x"}, {"getdel x", "x"}, {"incr h", "h"},
	} {
		o.do(strings.Fields(c.command)...)
		var got []string
		for _, k := range o.c.Changed() {
			got = append(got, string(k.Bytes))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s changed %q, want %q", c.command, got, c.want)
		}
	}
	o.do("flushall")
	if !o.c.Flushed {
		t.Error("flushall did not tell")
	}
}

func TestDatabasesAreApart(t *testing.T) {
	o := newOurs(2)
	o.do("set", "k", "zero")
	o.c.DB = 5
	if got := string(o.do("get", "k")); got != "$-1\r\n" {
		t.Errorf("got %q", got)
	}
	o.do("mset", "k", "five", "l", "six")
	if got := string(o.do("dbsize")); got != ":2\r\n" {
		t.Errorf("dbsize %q", got)
	}
	if got := string(o.do("mget", "k", "l")); got != "*2\r\n$4\r\nfive\r\n$3\r\nsix\r\n" {
		t.Errorf("mget %q", got)
	}
	if got := string(o.do("keys", "k")); got != "*1\r\n$1\r\nk\r\n" {
		t.Errorf("keys %q", got)
	}
	o.do("flushdb")
	o.c.DB = 0
	if got := string(o.do("get", "k")); got != "$4\r\nzero\r\n" {
		t.Errorf("got %q", got)
	}
}

// scanAll follows a scan to its end and returns how often each element came.
func scanAll(t *testing.T, o *ours, step int, args func(cursor string) []string) map[string]int {
	t.Helper()
	seen, cursor := map[string]int{}, "0"
	for range 100_000 {
		reply := o.do(args(cursor)...)
		parts := elements(t, reply)
		cursor = parts[0]
		for i := 1; i < len(parts); i += step {
			seen[parts[i]]++
		}
		if cursor == "0" {
			return seen
		}
	}
	t.Fatal("the scan does not end")
	return nil
}

// elements flattens a scan reply: the cursor, then what was found.
func elements(t *testing.T, reply []byte) (parts []string) {
	t.Helper()
	for len(reply) > 0 {
		h, err := resp.ReadHeader(reply)
		if err != nil {
			t.Fatalf("%q: %v", reply, err)
		}
		reply = reply[h.Size:]
		if h.Kind == '$' {
			parts = append(parts, string(reply[:h.N]))
			reply = reply[h.N+2:]
		}
	}
	return parts
}

func TestScans(t *testing.T) {
	o := newOurs(2)
	for i := range 3000 {
		o.do("set", fmt.Sprintf("key:%d", i), "v")
		o.do("hset", "hash", fmt.Sprintf("f%d", i), "v")
		o.do("sadd", "set", fmt.Sprintf("m%d", i))
	}
	for name, c := range map[string]struct {
		want, step int
		args       func(string) []string
	}{
		"all":      {3002, 1, func(c string) []string { return []string{"scan", c} }},
		"match":    {1111, 1, func(c string) []string { return []string{"scan", c, "match", "key:1*", "count", "100"} }},
		"type":     {1, 1, func(c string) []string { return []string{"scan", c, "type", "hash"} }},
		"hash":     {3000, 2, func(c string) []string { return []string{"hscan", "hash", c} }},
		"set":      {3000, 1, func(c string) []string { return []string{"sscan", "set", c, "count", "7"} }},
		"one go":   {3002, 1, func(c string) []string { return []string{"scan", c, "count", "1000000"} }},
		"no match": {0, 1, func(c string) []string { return []string{"hscan", "hash", c, "match", "x*"} }},
	} {
		if seen := scanAll(t, o, c.step, c.args); len(seen) != c.want {
			t.Errorf("%s: %d found, want %d", name, len(seen), c.want)
		}
	}
	// Partitions that are not ours are passed over.
	o.c.Owns = func(p int) bool { return p%2 == 0 }
	half := len(scanAll(t, o, 1, func(c string) []string { return []string{"scan", c} }))
	if n := string(o.do("dbsize")); n != ":"+strconv.Itoa(half)+"\r\n" || half < 1000 || half > 2000 {
		t.Errorf("%d keys scanned, dbsize %q", half, n)
	}
}

func TestRandomReplies(t *testing.T) {
	o := newOurs(3)
	o.do("sadd", "s", "a", "b", "c")
	o.do("hset", "h", "f", "1", "g", "2")
	for _, c := range []struct {
		command string
		want    []string
	}{
		{"srandmember s", []string{"$1\r\na\r\n", "$1\r\nb\r\n", "$1\r\nc\r\n"}},
		{"srandmember s -4", []string{"*4\r\n"}},
		{"srandmember s 10", []string{"*3\r\n"}},
		{"srandmember none", []string{"_\r\n"}},
		{"srandmember none 3", []string{"*0\r\n"}},
		{"hrandfield h 5", []string{"*2\r\n"}},
		{"hrandfield h 1 withvalues", []string{"*1\r\n*2\r\n"}},
		{"hrandfield none", []string{"_\r\n"}},
		{"spop s 2", []string{"~2\r\n"}},
		{"spop s", []string{"$1\r\n"}},
		{"spop s", []string{"_\r\n"}},
		{"exists s", []string{":0\r\n"}},
		{"randomkey", []string{"$1\r\nh\r\n"}},
	} {
		got := string(o.do(strings.Fields(c.command)...))
		ok := false
		for _, w := range c.want {
			ok = ok || strings.HasPrefix(got, w)
		}
		if !ok {
			t.Errorf("%s: %q, want a prefix of %q", c.command, got, c.want)
		}
	}
}

// TestCopyDamaged copies a value that no command leaves behind: a list of nothing.
func TestCopyDamaged(t *testing.T) {
	o := newOurs(2)
	o.do("set", "to", "before")
	var tx store.Tx
	k := o.c.Store.Key(store.StoredKey(nil, 0, []byte("from")))
	tx.Begin(o.c.Store, []store.Key{k}, 1, 0)
	tx.Create(&k, store.KindList)
	tx.End()
	if got := string(o.do("copy", "from", "to", "replace")); got != "-"+errDamaged+"\r\n" {
		t.Errorf("copy: %q", got)
	}
	if got := string(o.do("get", "to")); got != "$6\r\nbefore\r\n" {
		t.Errorf("get: %q", got)
	}
}

func TestOutOfMemory(t *testing.T) {
	o := newOurs(2)
	o.c.Store = store.New(store.Config{MaxBytes: 100_000, Policy: store.NoEviction})
	var got string
	for i := 0; i < 100_000; i++ {
		if got = string(o.do("set", "k"+strconv.Itoa(i), "v")); got != "+OK\r\n" {
			break
		}
	}
	if got != "-OOM command not allowed when used memory > 'maxmemory'.\r\n" {
		t.Errorf("got %q", got)
	}
	if got := string(o.do("del", "k0")); got != ":1\r\n" {
		t.Errorf("del: %q", got)
	}
	if got := string(o.do("setrange", "big", "200000", "x")); !strings.HasPrefix(got, "-OOM") {
		t.Errorf("setrange: %q", got)
	}
	for i := 0; i < 100_000; i++ {
		if got = string(o.do("hset", "h", "field"+strconv.Itoa(i), "v")); got[0] == '-' {
			break
		}
	}
	if used := o.c.Store.Used(); used > 110_000 {
		t.Errorf("%d bytes used", used)
	}
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	o := newOurs(2)
	run := func(args ...string) func() {
		b := redistest.Args(args)
		spec := o.table.Lookup(b[0])
		return func() {
			o.c.Args, o.c.NowMilli, o.c.Out = b, 1_700_000_000_000, o.c.Out[:0]
			o.table.Lookup(b[0]).Exec(&o.c)
			_ = spec
		}
	}
	for _, args := range [][]string{{"SET", "k", "value"}, {"GET", "k"}, {"MGET", "k", "k2"}, {"SET", "k", "value", "EX", "100"}, {"INCR", "n"}, {"HSET", "h", "f", "v"}, {"HGET", "h", "f"}, {"EXPIRE", "k", "10"}, {"SISMEMBER", "s", "m"}} {
		f := run(args...)
		f()
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%q: %v allocations", args, n)
		}
	}
}
