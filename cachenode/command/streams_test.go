package command

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
)

// streamTemplates have IDs as words, so that the two servers' clocks do not matter.
var streamTemplates = []string{
	"xadd K W f v", "xadd K W f v", "xadd K 5-* f v", "xadd K 7-* f W", "xadd K 9-* g W h W", "xadd K 9-* f v f2 v2", "xadd K NOMKSTREAM W f v", "xadd K MAXLEN 5 9-* f v",
	"xadd K MAXLEN = W 9-* f v", "xadd K MAXLEN ~ 2 9-* f v", "xadd K MAXLEN ~ 2 LIMIT W 9-* f v", "xadd K MINID W 9-* f v", "xadd K MINID ~ W 9-* f v", "xadd K MINID W MAXLEN 3 9-* f v",
	"xadd K LIMIT 3 9-* f v", "xadd K MAXLEN 3 LIMIT 3 9-* f v", "xadd K 9-* f", "xadd K W", "xadd K 9-* f v g", "xadd K MAXLEN -1 9-* f v", "xadd K maxlen 1",
	"xlen K", "xrange K - +", "xrange K - +", "xrange K W W", "xrange K W + COUNT INT", "xrange K W W COUNT W", "xrevrange K + -", "xrevrange K W W", "xrevrange K W W COUNT INT",
	"xrange K - + COUNT", "xrange K - + W", "xdel K W", "xdel K W W", "xdel K W W W", "xtrim K MAXLEN INT", "xtrim K MAXLEN ~ INT", "xtrim K MINID W", "xtrim K MINID = W", "xtrim K MINID ~ W LIMIT INT",
	"xtrim K W", "xtrim K LIMIT 5", "xtrim K MAXLEN 3 MINID 3", "xsetid K W", "xsetid K W ENTRIESADDED INT", "xsetid K W ENTRIESADDED 50 MAXDELETEDID W", "xsetid K W W", "xsetid K 99-99",
	"xread STREAMS K W", "xread COUNT INT STREAMS K W", "xread COUNT 2 STREAMS K K W W", "xread STREAMS K $", "xread STREAMS K K W", "xread STREAMS K >", "xread GROUP g c STREAMS K W", "xread NOACK STREAMS K W",
	"xread COUNT W STREAMS K W", "xread BLOCK -1 STREAMS K W", "xread BLOCK W", "xread W W W", "xread COUNT 1 STREAMS",
	"xgroup CREATE K g W", "xgroup CREATE K g 0", "xgroup CREATE K g $", "xgroup CREATE K g W MKSTREAM", "xgroup CREATE K h W ENTRIESREAD INT", "xgroup CREATE K g W W", "xgroup CREATE K", "xgroup CREATE K h 0 MKSTREAM ENTRIESREAD 2 MKSTREAM",
	"xgroup SETID K g W", "xgroup SETID K g $", "xgroup SETID K g W ENTRIESREAD INT", "xgroup SETID K g 0 ENTRIESREAD", "xgroup DESTROY K g", "xgroup DESTROY K W", "xgroup DESTROY K", "xgroup CREATECONSUMER K g W", "xgroup CREATECONSUMER K g c1",
	"xgroup DELCONSUMER K g c1", "xgroup DELCONSUMER K g W", "xgroup W K g", "xgroup HELP", "xgroup HELP K", "xgroup W",
	"xreadgroup GROUP g c1 STREAMS K >", "xreadgroup GROUP g c2 COUNT 2 STREAMS K >", "xreadgroup GROUP g c1 NOACK COUNT 1 STREAMS K >", "xreadgroup GROUP g c1 STREAMS K 0", "xreadgroup GROUP g c1 COUNT INT STREAMS K W",
	"xreadgroup GROUP g c2 STREAMS K K > >", "xreadgroup GROUP h c2 STREAMS K K > 0", "xreadgroup GROUP g c1 STREAMS K $", "xreadgroup COUNT 1 NOACK STREAMS K >", "xreadgroup GROUP g c1 STREAMS K W", "xreadgroup GROUP g c1 COUNT 1 W K >",
	"xreadgroup GROUP g c1 STREAMS K 18446744073709551615-18446744073709551615",
	"xack K g W", "xack K g W W W", "xack K h 5-1 5-2 5-3", "xack K g", "xpending K g", "xpending K h", "xpending K g - + INT", "xpending K g W W 10", "xpending K g - + 10 c1", "xpending K g - + 10 W", "xpending K g IDLE 0 - + 10", "xpending K g IDLE abc - + 10 c1",
	"xpending K g IDLE 100000 - + 10", "xpending K g IDLE 1 - +", "xpending K g -", "xpending K g - + W",
	"xclaim K g c2 0 W", "xclaim K g c2 0 W W W", "xclaim K g c1 0 W FORCE", "xclaim K g c1 0 W W JUSTID", "xclaim K g c1 0 W RETRYCOUNT INT", "xclaim K g c3 0 5-1 5-2 FORCE RETRYCOUNT 7 JUSTID", "xclaim K g c1 0 W LASTID W", "xclaim K g c1 abc W",
	"xclaim K g c1 100000 W", "xclaim K g c1 0 W IDLE 0", "xclaim K g c1 0 W TIME W", "xclaim K g c1 0 W W X", "xclaim K g c1 0 W IDLE W", "xclaim K g c1 -5 W",
	"xautoclaim K g c2 0 0", "xautoclaim K g c2 0 W", "xautoclaim K g c2 0 - COUNT 2", "xautoclaim K g c1 0 W COUNT W", "xautoclaim K g c1 0 0 JUSTID", "xautoclaim K g c1 abc 0", "xautoclaim K g c1 100000 0", "xautoclaim K g c1 0 0 COUNT 1 JUSTID W",
	"xinfo STREAM K", "xinfo STREAM K", "xinfo STREAM K FULL", "xinfo STREAM K FULL COUNT INT", "xinfo STREAM K FULL COUNT", "xinfo STREAM K W", "xinfo GROUPS K", "xinfo GROUPS K W", "xinfo CONSUMERS K g", "xinfo CONSUMERS K W", "xinfo HELP", "xinfo W K",
	"set K v", "del K", "type K", "object ENCODING K", "copy K K REPLACE", "rename K K", "hset K f v",
}

var streamWords = []string{
	"0", "1", "2-0", "5", "5-1", "5-2", "5-3", "7-0", "7-1", "7-2", "9-0", "9-1", "9-3", "9-5", "9-9", "9-15", "12-1", "-", "+", "(5-1", "(9-2", "(-", "(+", "(0-0", "(18446744073709551615-18446744073709551615", "",
	"18446744073709551615", "18446744073709551615-18446744073709551614", "18446744073709551616", "5-", "-5", "5-1-1", "abc", "+5", " 5", "5-+1", "007-01", "5-*", "*-1", "3", "10", "-1", "bin\x00\xff", "c1", "1-18446744073709551615",
}

// normalStream leaves out what depends on the moment, and on how Redis lays a stream out.
func normalStream(args []string, s string) string {
	switch {
	case args[0] == "xinfo" && len(args) > 1 && args[1] != "HELP":
		for _, label := range []string{"radix-tree-keys", "radix-tree-nodes", "idle", "seen-time"} {
			s = mask(s, label)
		}
		if len(args) > 3 && args[1] == "STREAM" {
			s = maskTimes(s)
		}
	case args[0] == "xpending" && len(args) > 3:
		s = maskTimes(s)
	}
	return s
}

// mask replaces the integer behind a label.
func mask(s, label string) string {
	var out strings.Builder
	mark := fmt.Sprintf("$%d\r\n%s\r\n:", len(label), label)
	for {
		before, rest, ok := strings.Cut(s, mark)
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		_, s, _ = strings.Cut(rest, "\r\n")
		out.WriteString(label + "=?\r\n")
	}
}

// maskTimes replaces the time in each pending entry: the first of two integers in a row.
func maskTimes(s string) string {
	lines := strings.Split(s, "\r\n")
	for i := 1; i+1 < len(lines); i++ {
		if strings.HasPrefix(lines[i], ":") && strings.HasPrefix(lines[i+1], ":") {
			lines[i] = ":?"
			i++
		}
	}
	return strings.Join(lines, "\r\n")
}

func TestStreamsAgainstRedis(t *testing.T) {
	compareTemplates(t, streamTemplates, []string{"a", "b", "c"}, streamWords, 15_000, normalStream)
}

// TestStreamsAgainstRedisOrdered has streams that are not destroyed all the time, so that groups come to something.
func TestStreamsAgainstRedisOrdered(t *testing.T) {
	var templates []string
	for _, s := range streamTemplates {
		switch word, _, _ := strings.Cut(s, " "); word {
		case "set", "del", "hset", "rename", "copy", "xsetid":
		default:
			if !strings.HasPrefix(s, "xgroup DESTROY") {
				templates = append(templates, s)
			}
		}
	}
	for range 20 {
		templates = append(templates, "xadd K 9-* f v", "xadd K 9-* f W g W", "xreadgroup GROUP g c1 COUNT 3 STREAMS K >")
	}
	words := []string{"0", "5-1", "9-0", "9-1", "9-2", "9-3", "9-4", "9-5", "9-6", "9-7", "9-10", "9-15", "9-20", "9-30", "(9-4", "-", "+", "3", "10"}
	compareTemplates(t, templates, []string{"a", "b"}, words, 10_000, normalStream)
}

// TestLongStream compares ranges and trimming over many blocks.
func TestLongStream(t *testing.T) {
	real := realRedis(t)
	o := newOurs(2)
	both := func(args ...string) []byte {
		t.Helper()
		want, got := real.Do(t, args...), o.do(args...)
		if !bytes.Equal(want, got) {
			t.Fatalf("%q:\n redis %.400q\n ours  %.400q", args, want, got)
		}
		return got
	}
	for i := range 2345 {
		both("xadd", "s", fmt.Sprintf("%d-%d", i/7+1, i%7), "field", fmt.Sprint(i), "other", "value")
	}
	for _, at := range []string{"1", "20-3", "100", "150-6", "(200-0", "335", "9999"} {
		both("xrange", "s", at, "+", "COUNT", "250")
		both("xrevrange", "s", at, "-", "COUNT", "250")
	}
	for i := 3; i < 2000; i += 17 {
		both("xdel", "s", fmt.Sprintf("%d-%d", i/7+1, i%7))
	}
	both("xlen", "s")
	both("xrange", "s", "-", "+")
	both("xrevrange", "s", "+", "-")
	both("xtrim", "s", "MAXLEN", "~", "1500")
	both("xlen", "s")
	both("xtrim", "s", "MINID", "150-3")
	both("xrange", "s", "-", "+", "COUNT", "5")
	both("xtrim", "s", "MAXLEN", "33")
	both("xrange", "s", "-", "+")
	both("xtrim", "s", "MAXLEN", "0")
	both("xlen", "s")
	both("xadd", "s", "9999-*", "f", "v")
	both("xrange", "s", "-", "+")
}

// TestStreamPayload dumps a stream with all it can have, and restores it.
func TestStreamPayload(t *testing.T) {
	o := newOurs(2)
	for i := range 500 {
		o.do("xadd", "s", fmt.Sprintf("%d-*", 1+i/3), "f", strings.Repeat("v", i%70), "g", "w")
	}
	for _, c := range []string{"xdel s 5-1 7-0 9-2", "xgroup CREATE s g 0", "xgroup CREATE s h 20", "xreadgroup GROUP g c1 COUNT 120 STREAMS s >", "xreadgroup GROUP g c2 COUNT 20 STREAMS s >",
		"xack s g 1-0 2-0 3-1", "xgroup CREATECONSUMER s h idle", "xtrim s MAXLEN 450"} {
		if got := string(o.do(strings.Split(c, " ")...)); got[0] == '-' {
			t.Fatalf("%s: %s", c, got)
		}
	}
	payload := bulkOf(o.do("dump", "s"))
	if got := string(o.do("restore", "copy", "0", payload)); got != "+OK\r\n" {
		t.Fatalf("%q", got)
	}
	if again := bulkOf(o.do("dump", "copy")); again != payload {
		t.Error("dumped again it is another")
	}
	a, b := o.do("xinfo", "stream", "s", "full", "count", "0"), o.do("xinfo", "stream", "copy", "full", "count", "0")
	if !bytes.Equal(a, b) {
		t.Errorf("restored:\n %.2000q\nwas:\n %.2000q", b, a)
	}
	for _, c := range []string{"xadd s 900-1 f v", "xadd copy 900-1 f v", "xautoclaim copy g c3 0 0", "xautoclaim s g c3 0 0"} {
		o.do(strings.Split(c, " ")...)
	}
	if a, b := o.do("xrange", "s", "-", "+"), o.do("xrange", "copy", "-", "+"); !bytes.Equal(a, b) {
		t.Error("the entries differ after one more")
	}
}

// TestStreamBlock lets readers wait.
func TestStreamBlock(t *testing.T) {
	o := newOurs(2)
	o.c.MayBlock = true
	wait := func(args ...string) *Waiter {
		t.Helper()
		o.do(args...)
		w := o.c.Waiter
		if w == nil {
			t.Fatalf("%q does not wait: %q", args, o.c.Out)
		}
		return w
	}
	reply := func(w *Waiter) string {
		t.Helper()
		known := false
		w.OnReply(func() { known = true })
		if !known {
			return "waits"
		}
		w.Leave()
		return strings.TrimSuffix(strings.ReplaceAll(string(w.Reply()), "\r\n", " "), " ")
	}
	first := wait("xread", "BLOCK", "0", "STREAMS", "s", "other", "$", "0")
	second := wait("xread", "BLOCK", "0", "COUNT", "1", "STREAMS", "s", "0")
	late := wait("xread", "BLOCK", "0", "STREAMS", "s", "5-5")
	o.do("set", "x", "y")
	o.do("xadd", "s", "5-1", "f", "v")
	want := "*1 *2 $1 s *1 *2 $3 5-1 *2 $1 f $1 v"
	for _, w := range []*Waiter{first, second} {
		if got := reply(w); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := reply(late); got != "waits" {
		t.Errorf("too early: %s", got)
	}
	o.do("xadd", "s", "5-6", "f", "v")
	if got := string(late.Reply()); !strings.Contains(got, "5-6") || strings.Contains(got, "5-1") {
		t.Errorf("got %q", got)
	}
	o.do("xgroup", "CREATE", "s", "g", "$")
	one, two := wait("xreadgroup", "GROUP", "g", "c1", "BLOCK", "0", "STREAMS", "s", ">"), wait("xreadgroup", "GROUP", "g", "c2", "BLOCK", "0", "STREAMS", "s", ">")
	o.do("xadd", "s", "6-1", "f", "v")
	if got := reply(one); got != "*1 *2 $1 s *1 *2 $3 6-1 *2 $1 f $1 v" {
		t.Errorf("got %s", got)
	}
	if got := reply(two); got != "waits" {
		t.Errorf("an entry given to two consumers: %s", got)
	}
	if got := string(o.do("xpending", "s", "g")); !strings.Contains(got, "c1") || strings.Contains(got, "c2") {
		t.Errorf("xpending %q", got)
	}
	o.do("xgroup", "DESTROY", "s", "g")
	if got := string(two.Reply()); !strings.HasPrefix(got, "-NOGROUP") {
		t.Errorf("got %q", got)
	}
	// In a transaction nothing waits.
	o.c.Out = nil
	o.c.Together(nil, 0, func() {
		args := redistest.Args([]string{"xread", "BLOCK", "0", "STREAMS", "s", "$"})
		o.c.Call(o.table.Lookup(args[0]), args)
	})
	if got := string(o.c.Out); got != "*-1\r\n" {
		t.Errorf("in a transaction: %q", got)
	}
}

// FuzzStreamID holds the parser to what it writes.
func FuzzStreamID(f *testing.F) {
	for _, s := range streamWords {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, arg []byte) {
		id, ok := parseStreamID(arg, 0, true, nil)
		if !ok {
			return
		}
		again, ok := parseStreamID(appendStreamID(nil, id), 7, true, nil)
		if !ok || again != id {
			t.Fatalf("%q: %v, then %v", arg, id, again)
		}
	})
}
