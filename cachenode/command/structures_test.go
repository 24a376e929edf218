package command

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var setStoreGrammar = grammar{
	templates: []string{
		"sadd K M*", "sadd K M* M* M*", "srem K M*", "smove K K M", "smove K none M", "smove none K M", "sunionstore K K K", "sinterstore K K K", "sdiffstore K K K", "sunionstore K K", "sinterstore K K none", "sdiffstore K none K",
		"sintercard NUM K K", "sintercard NUM K K limit INT", "sintercard 3 K K none", "scard K", "smembers K", "object encoding K", "set K x", "del K", "sinterstore K K K K", "exists K K", "type K",
	},
	words: map[string][]string{
		"K": {"a", "b", "c", "d", "bin\x00\r\n\xff", "none2"}, "M": {"m1", "m2", "m3", "m4", "m5", "1", "2", "3", "-7", "", "\x00\xff", strings.Repeat("x", 65)},
		"NUM": {"1", "2", "2", "2", "3", "0", "-1", "abc"}, "INT": {"0", "1", "2", "-1", "abc", "100"},
	},
}

func TestSetsStoredAgainstRedis(t *testing.T) {
	compareWithRedis(t, comparison{rounds: 8_000, next: setStoreGrammar.command, alike: same})
}

var bitGrammar = grammar{
	templates: []string{
		"setbit K OFF BIT", "setbit K OFF BIT", "setbit K OFF BIT", "getbit K OFF", "bitcount K", "bitcount K INT INT", "bitcount K INT INT UNIT", "bitcount K INT", "bitcount K INT INT UNIT INT",
		"bitpos K BIT", "bitpos K BIT INT", "bitpos K BIT INT INT", "bitpos K BIT INT INT UNIT", "bitpos none BIT INT", "bitcount none INT INT", "bitcount none INT", "bitpos none BIT INT x", "bitcount none 0 1 hello",
		"bitop OP K K", "bitop OP K K K", "bitop NOT K K", "bitop not K none", "bitop OP K K none", "bitop OP K none",
		"bitfield K get TYPE FOFF", "bitfield K set TYPE FOFF VALUE", "bitfield K incrby TYPE FOFF VALUE", "bitfield K overflow MODE incrby TYPE FOFF VALUE get TYPE FOFF", "bitfield K overflow MODE set TYPE FOFF VALUE incrby TYPE FOFF VALUE",
		"bitfield K set TYPE FOFF VALUE overflow MODE incrby TYPE FOFF VALUE overflow MODE incrby TYPE FOFF VALUE", "bitfield K", "bitfield_ro K get TYPE FOFF get TYPE FOFF", "bitfield_ro K set TYPE FOFF VALUE", "bitfield_ro K", "bitfield none get TYPE FOFF",
		"get K", "get K", "strlen K", "set K STR", "append K STR", "del K", "object encoding K", "sadd K x", "exists K", "set K NUMBER",
	},
	words: map[string][]string{
		"K": {"a", "b", "c", "d", "bin\x00\r\n\xff"}, "OFF": {"0", "1", "7", "8", "9", "63", "64", "100", "255", "1000", "-1", "abc", "4294967296", "", "9223372036854775807", "01", "#1"},
		"BIT": {"0", "1", "0", "1", "2", "-1", "abc"}, "INT": {"0", "1", "2", "3", "5", "8", "13", "-1", "-2", "-5", "-100", "100", "20", "40", "abc", "9223372036854775807", "-9223372036854775808"}, "UNIT": {"bit", "BYTE", "bit", "bits"},
		"OP": {"and", "OR", "xor", "not", "nor"}, "TYPE": {"u1", "u8", "i8", "u16", "i5", "u63", "i64", "i64", "u3", "i63", "i1", "u64", "i65", "i0", "x8", "U8", "u", "i08", "u32", "i32"},
		"FOFF": {"0", "1", "7", "100", "#0", "#1", "#5", "33", "-1", "#-1", "abc", "4294967295", "#67108864"}, "VALUE": {"0", "1", "-1", "100", "-100", "127", "128", "255", "256", "-129", "9223372036854775807", "-9223372036854775808", "5000000000", "abc", "1.5"},
		"MODE": {"wrap", "SAT", "fail", "none"}, "STR": {"", "\xff\xff\xff", "\x00\x00", "foobar", strings.Repeat("\xff", 40), strings.Repeat("\x00", 30) + "\x01", "\xff\xf0\x00"}, "NUMBER": {"12345", "7"},
	},
}

func TestBitsAgainstRedis(t *testing.T) {
	skip := func(args []string) bool { // half a gigabyte of zeros
		return slices.ContainsFunc(args[min(2, len(args)):], func(a string) bool {
			n, err := strconv.Atoi(strings.TrimPrefix(a, "#"))
			return err == nil && n > 1<<20 && n < 1<<32 && args[0] != "bitcount" && args[0] != "bitpos" && !(strings.HasPrefix(args[0], "bitfield") && n == 5000000000)
		})
	}
	compareWithRedis(t, comparison{rounds: 15_000, next: bitGrammar.but(skip), alike: func(args []string, real, ours string) bool {
		// A write that changes nothing leaves an integer an integer here.
		return args[0] == "object" && strings.Contains(real, "raw") || same(args, real, ours)
	}})
}

// hllGrammar's elements are many, to fill the sparse form and to leave it.
var hllGrammar = grammar{
	templates: []string{
		"pfadd K E", "pfadd K E*", "pfadd K E* E* E*", "pfadd K E* E* E* E* E* E* E* E*", "pfadd K", "pfcount K", "pfcount K K", "pfcount K K none", "pfcount none", "pfmerge K K", "pfmerge K K K", "pfmerge K", "pfmerge new K", "del new",
		"get K", "strlen K", "set bad BAD", "pfadd bad x", "pfcount bad", "pfcount K bad", "pfmerge K bad", "del DEL", "sadd set x", "pfadd set x", "pfcount K set", "pfmerge set K", "object encoding K",
	},
	words: map[string][]string{
		"K": {"a", "b", "c", "new", "big", "big"}, "DEL": append(strings.Fields(strings.Repeat("a b c new ", 12)), "big"),
		"BAD": {"", "HYLL", "HYLLxxxxxxxxxxxxxxx", "HYLL\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80", "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80", "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\x00", "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff", "HYLL\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff", "hyll\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff"},
	},
}

func init() {
	for i := range 5000 {
		hllGrammar.words["E"] = append(hllGrammar.words["E"], fmt.Sprintf("%d%s", i*i, strings.Repeat("e", i%20)))
	}
}

func TestHyperLogLogAgainstRedis(t *testing.T) {
	compareWithRedis(t, comparison{rounds: 1_500, next: hllGrammar.command})
}

// TestHyperLogLogFills takes one from its first element to a million, with the string compared on the way.
func TestHyperLogLogFills(t *testing.T) {
	real, mine := realRedis(t), newOurs(2)
	n := 0
	for step := range 120 {
		args := []string{"pfadd", "h"}
		for range 1 + step*step {
			args = append(args, "element:"+strconv.Itoa(n))
			n++
		}
		for _, args := range [][]string{args, {"pfcount", "h"}, {"get", "h"}} {
			if want, got := string(real.Do(t, args...)), string(mine.do(args...)); want != got {
				t.Fatalf("after %d elements, %.40q: redis %.80q, ours %.80q", n, args, want, got)
			}
		}
	}
	if n < 500_000 {
		t.Errorf("only %d elements", n)
	}
}

var geoGrammar = grammar{
	templates: []string{
		"geoadd K LONG LAT M", "geoadd K LONG LAT M LONG LAT M LONG LAT M", "geoadd K LONG LAT M LONG LAT M LONG LAT M LONG LAT M LONG LAT M", "geoadd K FLAG LONG LAT M", "geoadd K FLAG FLAG LONG LAT M", "geoadd K FLAG FLAG FLAG", "zrange K 0 -1 withscores",
		"geopos K M*", "geopos K", "geodist K M M", "geodist K M M UNIT", "geodist K M M UNIT UNIT", "geohash K M*",
		"geosearch K fromlonlat LONG LAT byradius R UNIT WITH WITH", "geosearch K frommember M byradius R UNIT WITH WITH ORDER", "geosearch K fromlonlat LONG LAT bybox R R UNIT WITH WITH WITH ORDER", "geosearch K frommember M bybox R R UNIT ORDER count COUNT",
		"geosearch K fromlonlat LONG LAT byradius R UNIT", "geosearch K fromlonlat LONG LAT byradius R km", "geosearch K frommember M bybox R R km", "geosearch K fromlonlat LONG LAT bybox R R km",
		"geosearch K byradius R UNIT count COUNT any", "geosearch K fromlonlat LONG LAT byradius R UNIT count COUNT any", "geosearch K fromlonlat LONG LAT frommember M byradius R UNIT", "geosearch K frommember M byradius R UNIT bybox R R UNIT", "geosearch K fromlonlat LONG LAT withdist asc", "geosearch K frommember M byradius R UNIT any",
		"geosearchstore K K fromlonlat LONG LAT byradius R UNIT", "geosearchstore K K frommember M bybox R R UNIT storedist", "geosearchstore K K frommember M byradius R UNIT WITH", "geosearchstore K none frommember M byradius R UNIT", "geosearchstore K K frommember M byradius R UNIT count ALL",
		"georadius K LONG LAT R UNIT", "georadius K LONG LAT R UNIT WITH WITH WITH ORDER", "georadius K LONG LAT R UNIT count COUNT ORDER", "georadius K LONG LAT R UNIT store K", "georadius K LONG LAT R UNIT storedist K WITH", "georadius K LONG LAT R UNIT storedist K ORDER count ALL", "georadius none LONG LAT R UNIT store K",
		"georadiusbymember K M R UNIT", "georadiusbymember K M R UNIT WITH ORDER", "georadiusbymember K M R UNIT store K", "georadiusbymember none M R UNIT WITH", "georadius_ro K LONG LAT R UNIT WITH", "georadius_ro K LONG LAT R UNIT store K", "georadiusbymember_ro K M R UNIT WITH ORDER", "georadiusbymember_ro K M R UNIT storedist K",
		"set str x", "geoadd str 1 1 x", "geopos str x", "geosearch str frommember x byradius 1 m", "del K", "object encoding K",
	},
	words: map[string][]string{
		"K": {"a", "b", "c"}, "FLAG": {"nx", "xx", "CH"}, "UNIT": {"m", "km", "ft", "mi", "KM", "yd"}, "WITH": {"withdist", "WITHCOORD", "withhash"}, "ORDER": {"asc", "DESC"},
		"COUNT": {"1", "2", "5", "100", "0", "-1", "abc"}, "ALL": {"1000", "0", "-1", "abc"}, "R": {"0", "1", "10", "500", "1000", "3000", "10000", "30000", "0.5", "-1", "abc", "1e300"},
		"LONG": {"180", "-180", "181", "abc", "0", "inf", "179.999999"}, "LAT": {"85.05112878", "-85.05112878", "86", "nan", "0", "84.9", "-84.9"},
	},
}

func init() {
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range 150 {
		geoGrammar.words["LONG"] = append(geoGrammar.words["LONG"], fmt.Sprintf("%.*f", i%12, rnd.Float64()*359-179.5))
		geoGrammar.words["LAT"] = append(geoGrammar.words["LAT"], fmt.Sprintf("%.*f", i%12, rnd.Float64()*169-84.5))
		geoGrammar.words["M"] = append(geoGrammar.words["M"], "m"+strconv.Itoa(i%60))
	}
}

func TestGeoAgainstRedis(t *testing.T) {
	// Sines differ in the last bit between mathematics libraries, and so do distances that are stored.
	compareWithRedis(t, comparison{rounds: 15_000, next: geoGrammar.command, alike: func(args []string, real, ours string) bool {
		a, b := strings.Fields(real), strings.Fields(ours)
		if slices.Contains(args, "count") && a[0] == b[0] {
			return true // the order of those at the same distance
		}
		if args[0] != "zrange" || len(a) != len(b) {
			return false
		}
		for i := range a {
			x, err1 := strconv.ParseFloat(strings.TrimPrefix(a[i], ","), 64)
			y, err2 := strconv.ParseFloat(strings.TrimPrefix(b[i], ","), 64)
			switch {
			case a[i] == b[i], strings.HasPrefix(a[i], "$") && strings.HasPrefix(b[i], "$"):
			case err1 != nil || err2 != nil || math.Abs(x-y) > 1e-9*math.Abs(x):
				return false
			}
		}
		return true
	}})
}

// TestStructureEvents: what Redis tells those who listen.
func TestStructureEvents(t *testing.T) {
	o := newOurs(2)
	o.c.Notify = EventSet | EventZSet | EventString | EventGeneric
	for _, c := range []struct{ args, want string }{
		{"setbit k 7 0", "setbit k"}, {"setbit k 7 0", ""}, {"setbit k 7 1", "setbit k"}, {"bitop not d k", "set d"}, {"bitop and d none", "del d"}, {"bitop and d none", ""},
		{"bitfield k get u8 0", ""}, {"bitfield k set u8 0 1", ""}, {"bitfield k incrby u8 0 1", "setbit k"}, {"bitfield k overflow fail incrby u8 0 1000", ""},
		{"pfadd h a", "pfadd h"}, {"pfadd h a", ""}, {"pfmerge h2 h", "pfadd h2"}, {"pfcount h", ""},
		{"geoadd g 1 1 a 2 2 b", "zadd g"}, {"geosearchstore gd g frommember a byradius 1000 km", "geosearchstore gd"}, {"georadius g 100 0 1 m store gd", "del gd"}, {"georadius g 1 1 1 km storedist gd", "georadiusstore gd"},
		{"sadd s a b", "sadd s"}, {"smove s s2 a", "srem s sadd s2"}, {"smove s s2 b", "srem s del s sadd s2"}, {"sunionstore s3 s2", "sunionstore s3"}, {"sinterstore s3 s2 none", "del s3"}, {"sdiffstore s3 s2", "sdiffstore s3"},
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

// TestHyperLogLogForm fills one beyond what the sparse form holds.
func TestHyperLogLogForm(t *testing.T) {
	h := newHLL(nil)
	if !isHLL(h) || len(h) != 18 {
		t.Fatalf("%q", h)
	}
	for i := range 20_000 {
		if _, ok := h.set(hllPlace([]byte(strconv.Itoa(i)))); !ok {
			t.Fatal("corrupt")
		}
		if !isHLL(h) {
			t.Fatalf("after %d elements it is none", i)
		}
	}
	if g, ok := h.histogram(); !ok || g.estimate() < 19_000 || g.estimate() > 21_000 || !h.dense() {
		t.Errorf("20000 elements are estimated %d", g.estimate())
	}
}

// FuzzHyperLogLog: no string breaks the decoder, and what it takes for one stays one.
func FuzzHyperLogLog(f *testing.F) {
	f.Add([]byte(newHLL(nil)), []byte("x"))
	f.Add([]byte("HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f"), []byte("y"))
	f.Add([]byte("HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x80\x80\x7f\xfd"), []byte("z"))
	f.Fuzz(func(t *testing.T, b, element []byte) {
		if !isHLL(b) {
			return
		}
		h := append(hll(nil), b...)
		g, whole := h.histogram()
		if whole {
			g.estimate()
		}
		if _, ok := h.set(hllPlace(element)); whole && !ok {
			t.Errorf("%q is whole and takes nothing", b)
		}
		if whole {
			if _, ok := h.histogram(); !ok || !isHLL(h) {
				t.Errorf("%q is broken by %q: %q", b, element, h)
			}
		}
	})
}

// TestExtremeNumbers holds what Redis 7.0.15 replies where a computation of its own wraps around, or does not.
func TestExtremeNumbers(t *testing.T) {
	steps(t, newOurs(2), [][2]string{
		{"bitfield b overflow sat set i8 0 -9223372036854775808", "*1 :0"},
		{"bitfield b get i8 0", "*1 :127"},
		{"bitfield b overflow sat set i8 0 -129", "*1 :127"},
		{"bitfield b get i8 0", "*1 :-128"},
		{"bitfield b overflow sat incrby i8 0 -9223372036854775808", "*1 :-128"},
		{"bitfield b overflow fail set i8 0 -9223372036854775808", "*1 $-1"},
		{"zadd z 1 " + strings.Repeat("y", 65) + " -0 zero", ":2"},
		{"zscore z zero", "$2 -0"},
		{"zrangestore s z 0 -1", ":2"},
		{"zscore s zero", "$1 0"},
		{"zunionstore s 1 z", ":2"},
		{"zscore s zero", "$2 -0"},
		{"set k v PXAT 9223372036854775807", "+OK"},
		{"expiretime k", ":9223372036854776"},
		{"pexpiretime k", ":9223372036854775807"},
	})
}
