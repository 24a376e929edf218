package command

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/protocol/resp"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
)

var listTemplates = []string{
	"lpush K W", "lpush K W W W", "rpush K W", "rpush K W INT INT W", "rpush K LONG W", "lpushx K W W", "rpushx K W", "lpop K", "rpop K", "lpop K SMALL", "rpop K SMALL", "lpop K 0", "rpop K W", "lpop K 1 2",
	"llen K", "lrange K 0 -1", "lrange K INT INT", "lrange K W W", "lindex K INT", "lindex K W", "lset K INT W", "lset K W W", "lset K 0 LONG", "linsert K BEFORE W W", "linsert K after INT W", "linsert K W W W",
	"lrem K INT W", "lrem K 0 INT", "lrem K W W", "ltrim K INT INT", "ltrim K 0 -2", "ltrim K W W",
	"lpos K INT", "lpos K W RANK INT", "lpos K W COUNT INT", "lpos K INT RANK INT COUNT SMALL MAXLEN SMALL", "lpos K W RANK W", "lpos K W COUNT W MAXLEN W", "lpos K W W W",
	"lmove K K LEFT RIGHT", "lmove K K right left", "lmove K K LEFT LEFT", "lmove K K W LEFT", "rpoplpush K K", "lmpop 1 K LEFT", "lmpop 2 K K RIGHT COUNT SMALL", "lmpop 3 K K K LEFT COUNT 2", "lmpop INT K K LEFT", "lmpop 1 K W", "lmpop 1 K LEFT COUNT W", "lmpop 1 K LEFT COUNT 1 COUNT 1", "lmpop 1 K LEFT W 1",
	"blpop K 0", "blpop K K FLOAT", "brpop K K K 1", "brpop K W", "blmove K K LEFT RIGHT 0", "blmove K K W RIGHT 0", "blmove K K LEFT LEFT W", "brpoplpush K K 1.5", "brpoplpush K K W", "blmpop 0 1 K LEFT", "blmpop FLOAT 2 K K RIGHT COUNT SMALL", "blmpop W 1 K LEFT", "blmpop 0 INT K LEFT", "blmpop 1 1 K LEFT COUNT W", "blmpop 1 2 K K K",
	"set K W", "sadd K W", "del K", "rename K K", "renamenx K K", "expire K 1000", "type K", "object ENCODING K", "exists K K", "persist K",
}

func listCommand(rnd *rand.Rand) []string {
	args := strings.Split(listTemplates[rnd.IntN(len(listTemplates))], " ")
	for i, a := range args {
		switch a {
		case "K":
			args[i] = testKeys[rnd.IntN(len(testKeys))]
		case "W":
			args[i] = testWords[rnd.IntN(len(testWords))]
		case "INT":
			args[i] = strconv.Itoa(rnd.IntN(12) - 5)
		case "SMALL":
			args[i] = strconv.Itoa(rnd.IntN(8))
		case "FLOAT":
			args[i] = strconv.FormatFloat(float64(rnd.IntN(4000)-500)/1000, 'g', -1, 64)
		case "LONG":
			args[i] = strings.Repeat("long ", rnd.IntN(3000))
		}
	}
	return args
}

func TestListsAgainstRedis(t *testing.T) {
	var last [][]string
	for _, key := range testKeys {
		last = append(last, []string{"lrange", key, "0", "-1"})
	}
	compareWithRedis(t, comparison{rounds: 15_000, next: listCommand, alike: same, last: last})
}

// TestListEvents holds the events to those of Redis.
func TestListEvents(t *testing.T) {
	o := newOurs(2)
	o.c.Notify = EventList | EventGeneric
	for _, c := range []struct{ command, want string }{
		{"rpush l a b c d e", "rpush l"}, {"lpush l x", "lpush l"}, {"lpop l", "lpop l"}, {"rpop l 2", "rpop l"}, {"rpop nosuch", ""}, {"linsert l before a y", "linsert l"}, {"linsert l before nosuch y", ""},
		{"lset l 0 z", "lset l"}, {"lrem l 0 nosuch", ""}, {"lrem l 0 b", "lrem l"}, {"ltrim l 0 1", "ltrim l"}, {"lmove l m left right", "rpush m,lpop l"}, {"lmove m m left right", "rpush m,lpop m"},
		{"rpoplpush l m", "lpush m,rpop l,del l"}, {"lmpop 2 l m left count 5", "lpop m,del m"}, {"rpush l a", "rpush l"}, {"blpop m l 0", "lpop l,del l"}, {"rpush l a", "rpush l"}, {"ltrim l 1 0", "ltrim l,del l"},
	} {
		o.do(strings.Fields(c.command)...)
		var got []string
		for _, e := range o.c.Events {
			got = append(got, e.Name+" "+string(e.Key.Bytes))
		}
		if strings.Join(got, ",") != c.want {
			t.Errorf("%s: %q, want %q", c.command, got, c.want)
		}
	}
}

// waiterOf leaves a command waiting.
func waiterOf(t *testing.T, o *ours, args ...string) *Waiter {
	t.Helper()
	o.c.MayBlock = true
	if reply := o.do(args...); len(reply) > 0 || o.c.Waiter == nil {
		t.Fatalf("%q did not wait: %q", args, reply)
	}
	return o.c.Waiter
}

func (w *Waiter) got() string {
	if !w.over {
		return "waits"
	}
	return string(w.Reply())
}

// TestServe goes through who gets what when a key is written.
func TestServe(t *testing.T) {
	o := newOurs(2)
	bulks := func(s ...string) string { return string(resp.AppendCommand(nil, redistest.Args(s))) }
	first, second := waiterOf(t, o, "blpop", "other", "k", "0"), waiterOf(t, o, "brpop", "k", "1")
	third := waiterOf(t, o, "blmpop", "0", "2", "x", "k", "left", "count", "2")
	if second.Until == 0 || first.Until != 0 {
		t.Error("times", first.Until, second.Until)
	}
	o.do("set", "other", "no list")
	if reply := o.do("rpush", "k", "a", "b", "c", "d", "e"); string(reply) != ":5\r\n" {
		t.Errorf("%q: the length before anybody was served", reply)
	}
	for w, want := range map[*Waiter]string{first: bulks("k", "a"), second: bulks("k", "e"), third: "*2\r\n$1\r\nk\r\n" + bulks("b", "c")} {
		if w.got() != want {
			t.Errorf("%q, want %q", w.got(), want)
		}
		w.Leave()
	}
	if got := o.do("lrange", "k", "0", "-1"); string(got) != bulks("d") {
		t.Errorf("left: %q", got)
	}
	o.do("flushall")

	// A key of another type leaves them waiting; what is moved on serves who waits there.
	w := waiterOf(t, o, "blpop", "src", "0")
	o.do("sadd", "src", "m")
	o.do("del", "src")
	mover, end := waiterOf(t, o, "blmove", "src", "dst", "left", "right", "0"), waiterOf(t, o, "blpop", "dst", "0")
	o.do("rpush", "src", "1", "2")
	if w.got() != bulks("src", "1") || mover.got() != "$1\r\n2\r\n" || end.got() != bulks("dst", "2") {
		t.Errorf("%q %q %q", w.got(), mover.got(), end.got())
	}
	w.Leave()
	mover.Leave()
	end.Leave()
	if got := string(o.do("exists", "src", "dst")); got != ":0\r\n" {
		t.Error(got)
	}

	// The target's type matters only when something is there.
	mover = waiterOf(t, o, "brpoplpush", "src", "dst", "0")
	o.do("set", "dst", "s")
	o.do("lpush", "src", "1")
	if !strings.HasPrefix(mover.got(), "-WRONGTYPE") || string(o.do("llen", "src")) != ":1\r\n" {
		t.Errorf("%q", mover.got())
	}
	mover.Leave()
	o.do("flushall")

	// RENAME, and several commands as one, of which only the outcome counts.
	a, b := waiterOf(t, o, "blpop", "k", "0"), waiterOf(t, o, "blpop", "k", "l", "0")
	o.do("rpush", "from", "v")
	o.do("rename", "from", "k")
	o.c.Together(nil, 0, func() {
		for _, args := range [][]string{{"rpush", "k", "1"}, {"del", "k"}, {"rpush", "l", "2"}, {"rpush", "l", "3"}, {"lpop", "l"}} {
			o.c.Call(o.table.Lookup([]byte(args[0])), redistest.Args(args))
		}
	})
	if a.got() != bulks("k", "v") || b.got() != bulks("l", "3") {
		t.Errorf("%q %q", a.got(), b.got())
	}
	a.Leave()
	b.Leave()

	// Who has ended gets nothing.
	a, b = waiterOf(t, o, "blpop", "k", "0"), waiterOf(t, o, "blpop", "k", "0")
	if !a.TimeOut() || a.TimeOut() {
		t.Error("ended twice")
	}
	o.do("rpush", "k", "v")
	if a.got() != "*-1\r\n" || b.got() != bulks("k", "v") {
		t.Errorf("%q %q", a.got(), b.got())
	}
	a.Leave()
	b.Leave()
	o.do("rpush", "k", "v")
	if string(o.do("lpop", "k")) != "$1\r\nv\r\n" {
		t.Error("somebody still waits")
	}

	// Too much.
	huge := strings.Repeat("x", 10<<20)
	a = waiterOf(t, o, "blpop", huge, "0")
	for range 2 {
		waiterOf(t, o, "blpop", huge, "0")
	}
	if reply := o.do("blpop", huge, "0"); !strings.Contains(string(reply), "too many clients") {
		t.Errorf("%.80q", reply)
	}
	a.TimeOut()
	a.Leave()
	waiterOf(t, o, "blpop", huge, "0")
}

// TestLinsertEverywhere puts elements into the middle of long lists.
func TestLinsertEverywhere(t *testing.T) {
	o := newOurs(2)
	var want []string
	for i := range 3000 {
		want = append(want, strconv.Itoa(i))
		o.do("rpush", "l", want[i])
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		pivot, value := strconv.Itoa(rnd.IntN(3000)), fmt.Sprintf("n%d", i)
		o.do("linsert", "l", "before", pivot, value)
		want = slices.Insert(want, slices.Index(want, pivot), value)
	}
	if got := string(o.do("lrange", "l", "0", "-1")); got != string(resp.AppendCommand(nil, redistest.Args(want))) {
		t.Error("order")
	}
}
