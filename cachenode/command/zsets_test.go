package command

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/outrigger-proxy/outrigger/cachenode/redistest"
)

// grammar makes commands out of templates: a word in capitals stands for one drawn from its list, "NAME*" for up to
// five of them.
type grammar struct {
	templates []string
	words     map[string][]string
}

func (g *grammar) command(rnd *rand.Rand) []string {
	var args []string
	for _, part := range strings.Split(g.templates[rnd.IntN(len(g.templates))], " ") {
		name, many := strings.CutSuffix(part, "*")
		list, ok := g.words[name]
		if !ok {
			args = append(args, part)
			continue
		}
		n := 1
		if many {
			n = 1 + rnd.IntN(5)
		}
		for range n {
			if args = append(args, list[rnd.IntN(len(list))]); len(list) > 1 && strings.Contains(args[len(args)-1], " ") && name == "PAIR" {
				pair := args[len(args)-1]
				args = append(args[:len(args)-1], strings.Split(pair, " ")...)
			}
		}
	}
	// Now and then something is missing, or one too many, or no such thing.
	switch rnd.IntN(20) {
	case 0:
		if len(args) > 1 {
			args = args[:len(args)-1]
		}
	case 1:
		args = append(args, testWords[rnd.IntN(len(testWords))])
	case 2:
		if len(args) > 2 {
			args[2+rnd.IntN(len(args)-2)] = testWords[rnd.IntN(len(testWords))]
		}
	}
	return args
}

// but is the grammar's commands without those that skip names: they cannot be compared.
func (g *grammar) but(skip func(args []string) bool) func(rnd *rand.Rand) []string {
	return func(rnd *rand.Rand) []string {
		if args := g.command(rnd); !skip(args) {
			return args
		}
		return nil
	}
}

var zsetGrammar = grammar{
	templates: []string{
		"zadd K PAIR", "zadd K PAIR*", "zadd K PAIR* PAIR* PAIR* PAIR*", "zadd K FLAG PAIR*", "zadd K FLAG FLAG PAIR*", "zadd K FLAG FLAG FLAG SCORE M", "zadd K incr SCORE M", "zadd L 0 M 0 M", "zadd BIG PAIR* PAIR* PAIR*",
		"zadd K SCORE M", "zincrby K SCORE M", "zscore K M", "zmscore K M*", "zcard K", "zcount K MIN MAX", "zlexcount L LEX LEX", "zrank K M", "zrevrank K M",
		"zrange K INT INT", "zrange K INT INT withscores", "zrange K INT INT rev", "zrange K INT INT REV WITHSCORES", "zrange K MIN MAX byscore", "zrange K MAX MIN byscore rev withscores",
		"zrange K MIN MAX byscore limit INT INT", "zrange K MAX MIN byscore rev limit INT INT withscores", "zrange L LEX LEX bylex", "zrange L LEX LEX bylex rev limit INT INT", "zrange K INT INT limit INT INT", "zrange L LEX LEX bylex withscores",
		"zrangebyscore K MIN MAX", "zrangebyscore K MIN MAX withscores", "zrangebyscore K MIN MAX limit INT INT", "zrevrangebyscore K MAX MIN withscores limit INT INT", "zrangebylex L LEX LEX", "zrangebylex L LEX LEX limit INT INT", "zrevrangebylex L LEX LEX", "zrevrange K INT INT", "zrevrange K INT INT withscores",
		"zrangestore K K INT INT", "zrangestore K K MIN MAX byscore limit INT INT", "zrangestore L L LEX LEX bylex", "zrangestore K K INT INT rev",
		"zrem K M*", "zremrangebyrank K INT INT", "zremrangebyscore K MIN MAX", "zremrangebylex L LEX LEX", "zpopmin K", "zpopmax K", "zpopmin K INT", "zpopmax K INT",
		"zmpop NUM K K min", "zmpop NUM K K max count INT", "zmpop NUM K K MAX COUNT INT", "zrandmember K 0", "zrandmember K 0 withscores", "zadd small SCORE INT", "zrem small INT", "zscan small 0", "zscan small 0 count INT match M", "zscan K abc",
		"zunion NUM K K", "zunion NUM K K withscores", "zunion NUM K K weights SCORE SCORE withscores", "zinter NUM K K aggregate AGG withscores", "zinter NUM K K weights SCORE SCORE aggregate AGG withscores", "zunion NUM K SET aggregate AGG weights SCORE SCORE withscores", "zdiff NUM K K withscores", "zdiff NUM K K",
		"zunion 3 K SET K withscores", "zinter 3 K SET K withscores", "zdiff 3 K SET K withscores", "zintercard NUM K K", "zintercard NUM K K limit INT", "zintercard 3 K K SET",
		"zunionstore K NUM K K", "zinterstore K NUM K K weights SCORE SCORE", "zdiffstore K NUM K K", "zunionstore K 2 BIG K", "zinterstore K 3 K K SET aggregate AGG", "zunionstore K 1 SET",
		"bzpopmin K K 0.01", "bzpopmax K 0.01", "bzmpop 0.01 NUM K K max count INT", "bzpopmin K K WAIT", "bzmpop WAIT NUM K K min",
		"object encoding K", "type K", "del K", "del BIG", "sadd SET M M M", "set STR x", "exists K K",
	},
	words: map[string][]string{
		"K": {"a", "b", "c", "d", "bin\x00\r\n\xff", "str", "set", "big"}, "L": {"lex1", "lex2"}, "BIG": {"big"}, "SET": {"set", "set2"}, "STR": {"str"},
		"M":     {"m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "", "\x00\xff", "10", "-5", "007", strings.Repeat("x", 64), strings.Repeat("y", 65)},
		"SCORE": {"0", "1", "-1", "2.5", "0.1", "-0", "3.0e3", "1e17", "1e-7", "123456789012345678", "inf", "-inf", "+inf", "Infinity", "nan", "0x10", "1e400", "1e-400", "5e-324", "", " 1", "1 ", "abc", "4503599627370497", "3.14159265358979", "1e16", "99999999999999999", "1e-5"},
		"FLAG":  {"nx", "xx", "gt", "lt", "ch", "INCR", "Ch"},
		"MIN":   {"-inf", "0", "(0", "1", "(1", "-1", "2.5", "(", "((1", "abc", "", " 1", "1 ", "nan", "1\x00x"}, "MAX": {"+inf", "inf", "0", "(3", "1", "(1", "3000", "2.5", "(inf", "1e400", "x"},
		"LEX": {"-", "+", "[m1", "(m1", "[m5", "(m5", "[", "(", "[m3\x00", "m1", "", "--", "[\xff", "+\x00"},
		"INT": {"0", "1", "-1", "2", "3", "5", "-3", "10", "100", "-100", "9223372036854775807", "-9223372036854775808", "abc", "1.0"},
		"NUM": {"1", "2", "2", "2", "3", "0", "-1", "abc", "9223372036854775807"}, "WAIT": {"0.01", "-1", "abc", "", "nan", "-0.5"}, "AGG": {"sum", "min", "max", "avg"},
	},
}

func init() {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		zsetGrammar.words["PAIR"] = append(zsetGrammar.words["PAIR"], fmt.Sprintf("%v m%d", float64(rnd.IntN(40)-10)/4, rnd.IntN(30)))
	}
	for i := range 300 {
		zsetGrammar.words["PAIR"] = append(zsetGrammar.words["PAIR"], fmt.Sprintf("%v member:%d", float64(rnd.IntN(4000)-10)/7, i))
	}
}

func TestZSetsAgainstRedis(t *testing.T) {
	skip := func(args []string) bool {
		if len(args) > 1 && args[1] == "small" && slices.ContainsFunc(args, func(a string) bool { return len(a) > 64 }) {
			return true // it would not be small any more
		}
		switch args[0] {
		case "zadd": // members by name need scores that are all the same
			return len(args) > 2 && strings.HasPrefix(args[1], "lex") && slices.ContainsFunc(args[2:], func(a string) bool {
				v, ok := parseDouble([]byte(a))
				return ok && v != 0
			})
		case "zrandmember":
			return len(args) < 3 || args[2] != "0"
		case "zscan": // cursors of large ones are each server's own
			return len(args) > 2 && args[1] != "small"
		case "zrank", "zrevrank": // WITHSCORE is newer
			return len(args) > 3
		}
		return false
	}
	compareWithRedis(t, comparison{rounds: 15_000, next: zsetGrammar.but(skip), alike: same})
}

// TestLargeZSets holds sets of thousands of members to Redis: ranks, ranges and counts over several levels of the tree.
func TestLargeZSets(t *testing.T) {
	templates := []string{
		"zrange k A B withscores", "zrevrange k A B", "zrank k M", "zrevrank k M", "zscore k M", "zcount k S (T", "zcount k (S +inf", "zrangebyscore k S S", "zrevrangebyscore k S -inf limit 40 3",
		"zadd k S M", "zrem k M", "zincrby k 3 M", "zremrangebyrank k A A", "zadd k gt ch S M",
	}
	added := 0
	compareWithRedis(t, comparison{
		rounds: 12_000,
		next: func(rnd *rand.Rand) []string {
			score := func() string { return strconv.Itoa(rnd.IntN(500)) }
			member := func() string { return "m" + strconv.Itoa(rnd.IntN(8000)) }
			if added++; added%12_000 < 150 {
				args := []string{"zadd", "k"}
				for range 40 {
					args = append(args, score(), member())
				}
				return args
			}
			low := rnd.IntN(6000) - 500
			words := strings.NewReplacer("A", strconv.Itoa(low), "B", strconv.Itoa(low+rnd.IntN(50)), "S", score(), "T", score(), "M", member())
			return strings.Split(words.Replace(templates[rnd.IntN(len(templates))]), " ")
		},
		last: [][]string{
			{"zcard", "k"}, {"zrange", "k", "0", "-1", "withscores"}, {"zrange", "k", "0", "-1", "rev"}, {"zremrangebyscore", "k", "100", "400"}, {"zpopmin", "k", "100"}, {"zpopmax", "k", "100"},
			{"zrange", "k", "0", "-1", "withscores"}, {"object", "encoding", "k"},
		},
	})
}

func TestZRandMember(t *testing.T) {
	for _, n := range []int{5, 1000} {
		o := newOurs(2)
		for i := range n {
			o.do("zadd", "z", strconv.Itoa(i), "m"+strconv.Itoa(i))
		}
		for _, count := range []int{1, n / 5, n / 2, n, n + 5} {
			seen := map[string]bool{}
			for _, m := range elements(t, o.do("zrandmember", "z", strconv.Itoa(count))) {
				seen[m] = true
			}
			if len(seen) != min(count, n) {
				t.Errorf("%d different members of %d, want %d", len(seen), n, count)
			}
		}
		if got := len(elements(t, o.do("zrandmember", "z", strconv.Itoa(-3*n), "withscores"))); got != 6*n {
			t.Errorf("%d elements", got)
		}
	}
}

func TestZRankWithScore(t *testing.T) {
	for _, c := range []struct {
		proto int
		args  string
		want  string
	}{
		{2, "zrank z b withscore", "*2\r\n:1\r\n$3\r\n2.5\r\n"},
		{3, "zrank z b WITHSCORE", "*2\r\n:1\r\n,2.5\r\n"},
		{3, "zrevrank z b withscore", "*2\r\n:0\r\n,2.5\r\n"},
		{2, "zrank z x withscore", "*-1\r\n"},
		{3, "zrank z x withscore", "_\r\n"},
		{2, "zrank z b scores", "-ERR syntax error\r\n"},
	} {
		o := newOurs(c.proto)
		o.do("zadd", "z", "1", "a", "2.5", "b")
		if got := string(o.do(strings.Split(c.args, " ")...)); got != c.want {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
}

// TestZSetEvents: what Redis tells those who listen.
func TestZSetEvents(t *testing.T) {
	o := newOurs(2)
	o.c.Notify = EventZSet | EventGeneric | EventSet
	for _, c := range []struct{ args, want string }{
		{"zadd k 1 a 2 b 3 c", "zadd k"}, {"zadd k 1 a", ""}, {"zadd k xx ch 5 a", "zadd k"}, {"zincrby k 1 a", "zincr k"}, {"zrem k x", ""}, {"zrem k a", "zrem k"},
		{"zpopmin k", "zpopmin k"}, {"zpopmax k", "zpopmax k del k"}, {"zadd k 1 a 2 b 3 c", "zadd k"}, {"zremrangebyrank k 0 0", "zremrangebyrank k"},
		{"zremrangebyscore k -inf inf", "zremrangebyscore k del k"}, {"zadd k 1 a", "zadd k"}, {"zrangestore d k 0 -1", "zrangestore d"}, {"zunionstore d 1 k", "zunionstore d"},
		{"zinterstore d 2 k none", "del d"}, {"zdiffstore d 1 k", "zdiffstore d"}, {"zmpop 2 none d min", "zpopmin d del d"}, {"zrangestore d none 0 -1", ""},
	} {
		o.do(strings.Split(c.args, " ")...)
		var got []string
		for _, e := range o.c.Events {
			got = append(got, e.Name, string(e.Key.Bytes))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
}

// TestBlockingPops: who came first is served first, and a pop of several takes what is there.
func TestBlockingPops(t *testing.T) {
	o := newOurs(2)
	o.c.MayBlock, o.c.HoldServed = true, true
	wait := func(args ...string) *Waiter {
		t.Helper()
		if out := o.do(args...); len(out) > 0 || o.c.Waiter == nil {
			t.Fatalf("%q does not wait: %q", args, out)
		}
		return o.c.Waiter
	}
	first := wait("bzpopmin", "none", "k", "0")
	second := wait("bzmpop", "0", "2", "none", "k", "max", "count", "5")
	third := wait("bzpopmax", "k", "0")
	o.do("zadd", "k", "1", "a", "2", "b", "3", "c")
	if n := len(o.c.Served); n != 2 {
		t.Fatalf("%d served", n)
	}
	Deliver(o.c.Served)
	if got := string(first.Reply()); got != "*3\r\n$1\r\nk\r\n$1\r\na\r\n$1\r\n1\r\n" {
		t.Errorf("the first got %q", got)
	}
	if got := string(second.Reply()); got != "*2\r\n$1\r\nk\r\n*2\r\n*2\r\n$1\r\nc\r\n$1\r\n3\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n" {
		t.Errorf("the second got %q", got)
	}
	o.do("set", "k", "x")
	o.do("del", "k")
	o.do("zunionstore", "k", "1", "none")
	o.do("zincrby", "k", "7", "d")
	Deliver(o.c.Served)
	if got := string(third.Reply()); got != "*3\r\n$1\r\nk\r\n$1\r\nd\r\n$1\r\n7\r\n" {
		t.Errorf("the third got %q", got)
	}
	if got := string(o.do("exists", "k")); got != ":0\r\n" {
		t.Error("something is left")
	}
	for _, w := range []*Waiter{first, second, third} {
		w.Leave()
	}
}

// TestZSetCommandAllocations: what a leaderboard and a limiter do all day allocates nothing.
func TestZSetCommandAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, n := range []int{50, 5000} {
		o := newOurs(2)
		for i := range n {
			o.do("zadd", "z", strconv.Itoa(i), "m"+strconv.Itoa(i))
		}
		for _, line := range []string{
			"zadd z 7.5 m3", "zincrby z 1 m7", "zadd z gt ch 5 m3", "zscore z m3", "zmscore z m1 m2", "zrank z m40", "zcard z", "zcount z 5 (30", "zrange z 0 9 withscores", "zrevrange z 0 9",
			"zrangebyscore z 10 +inf limit 0 5", "zremrangebyscore z -inf -5", "zrem z nobody", "setbit b 100 1", "getbit b 100", "bitcount b", "pfcount h", "geopos z nobody",
		} {
			args := redistest.Args(strings.Split(line, " "))
			spec := o.table.Lookup(args[0])
			f := func() {
				o.c.Args, o.c.NowMilli, o.c.Out = args, 1_700_000_000_000, o.c.Out[:0]
				spec.Exec(&o.c)
			}
			f()
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("%q: %v allocations", line, n)
			}
		}
	}
}

func BenchmarkZSetCommands(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		o := newOurs(2)
		for i := range n {
			o.do("zadd", "z", strconv.Itoa(i), "element:"+strconv.Itoa(i))
		}
		for _, line := range []string{"zadd z 0 element:X", "zincrby z 3 element:X", "zscore z element:X", "zrank z element:X", "zrange z 0 9"} {
			b.Run(fmt.Sprintf("%s/members=%d", strings.Fields(line)[0], n), func(b *testing.B) {
				rnd := rand.New(rand.NewPCG(1, 2))
				args := redistest.Args(strings.Split(line, " "))
				spec := o.table.Lookup(args[0])
				b.ReportAllocs()
				for b.Loop() {
					for i, a := range args {
						if i > 1 && strings.HasPrefix(string(a), "element:") {
							args[i] = strconv.AppendInt(a[:len("element:")], int64(rnd.IntN(n)), 10)
						}
					}
					o.c.Args, o.c.NowMilli, o.c.Out = args, 1_700_000_000_000, o.c.Out[:0]
					spec.Exec(&o.c)
				}
			})
		}
	}
}
