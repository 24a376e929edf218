package cachenode

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// form is a line of testdata/commands.txt.
type form struct {
	words    []string // and brackets
	blocking bool
}

// grammar makes commands.
type grammar struct {
	forms []form
	rnd   *rand.Rand
}

func readForms(t *testing.T) (forms []form) {
	t.Helper()
	text, err := os.ReadFile("testdata/commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	apart := strings.NewReplacer("[", " [ ", "]", " ] ", "(", " ( ", ")", " ) ", "|", " | ")
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		line, blocking := strings.CutPrefix(line, "!")
		forms = append(forms, form{strings.Fields(apart.Replace(line)), blocking})
	}
	return forms
}

// keysOf are the keys of a type, by the word that stands for one of them. Those of KLEX and KG are left to the commands
// that need all scores to be equal, or positions.
var keysOf = map[string][]string{
	"KS": {"s1", "s2", "bin\x00\r\n\xff", ""}, "KH": {"h1", "h2"}, "KL": {"l1", "l2", "{l}3"}, "KE": {"e1", "e2", "e3"}, "KZ": {"z1", "z2", "z3"},
	"KX": {"x1", "x2"}, "KP": {"p1", "p2", "p3"}, "KLEX": {"lex1", "lex2"}, "KG": {"g1", "g2"},
}

// anyKey is each key that commands for any type may have.
var anyKey = func() []string {
	keys := []string{"none"}
	for _, word := range []string{"KS", "KH", "KL", "KE", "KZ", "KX", "KP"} {
		keys = append(keys, keysOf[word]...)
	}
	return keys
}()

var words = map[string][]string{
	"V":   {"", "v", "hello world", "12", "-7", "3.5", "\x00\x01\xfe", strings.Repeat("x", 44), strings.Repeat("y", 45), strings.Repeat("z", 300), "ohmytext", "mynewtext", "inf"},
	"F":   {"f1", "f2", "f3", "f4", "f5", "", "\x00\xff"},
	"M":   {"m1", "m2", "m3", "m4", "m5", "m6", "1", "2", "-7", "", "\x00\xff", "007"},
	"INT": {"0", "1", "-1", "2", "3", "5", "-3", "10", "-100", "100", "9223372036854775807", "-9223372036854775808", "abc", "1.0"},
	"OFF": {"0", "1", "5", "7", "20", "63", "100", "-1", "4294967296", "9223372036854775807", "abc", "#1"},
	"NUM": {"1", "2", "2", "2", "3", "0", "-1", "abc"}, "FLOAT": {"0", "1", "-1.5", "0.1", "0.2", "3.0e3", "1e400", "-0", "inf", "nan", "0x1F", "1_0", " 1", "abc", "123456789012345.6789"},
	"SEC": {"1000", "2000", "5000000", "0", "-1", "abc", "9223372036854775807", "9223372036854775"}, "MS": {"1000000", "20000000", "0", "-5", "", "9223372036854775807"},
	"UNIX": {"4102444800", "4102444801", "5000000000", "1", "0", "-1", "abc", "9223372036854775807"}, "UNIXMS": {"4102444800000", "4102444801234", "1", "0", "x", "9223372036854775807"},
	"BAD": {"", "abc", "SYNTAX", "1.5", "nan", "\x00"}, "PATTERN": {"*", "?1", "[a-f]*", "nothing", "*\x00*", "m*", "\\"},
	"SCORE": {"0", "1", "-1", "2.5", "0.1", "-0", "3.0e3", "1e17", "1e-7", "inf", "-inf", "+inf", "nan", "0x10", "1e400", "", "abc", "5e-324"},
	"BOUND": {"-inf", "+inf", "0", "(0", "1", "(1", "2.5", "(", "abc", "", "nan", "3000"}, "LEX": {"-", "+", "[m1", "(m1", "[m5", "(m5", "[", "(", "m1", ""},
	"FIELD": {"u1", "u8", "i8", "i5", "u63", "i64", "i1", "u64", "i0", "x8", "u", "u32"}, "LONG": {"180", "-180", "181", "abc", "0", "13.361389", "15.087269", "-122.4194"},
	"LAT": {"85.05112878", "-85.05112878", "86", "0", "38.115556", "37.502669", "37.7749"}, "RADIUS": {"0", "1", "200", "10000", "-1", "abc", "0.5"},
	"NEWID": {"5-*", "7-*", "9-*", "9-*", "9-*", "9-*", "9-*", "9-*", "9-*", "9-*", "9-*", "9-*", "9-*", "9-*", "1-1", "0-0", "abc"}, "ID": {"0", "5", "5-0", "5-1", "7-0", "7-1", "9-0", "9-1", "9-3", "(9-1", "-", "+", "abc", "18446744073709551615-18446744073709551615"},
	"GROUP": {"g", "g", "g", "h"}, "CONSUMER": {"c1", "c2"}, "WAIT": {"0", "0.01", "1", "-1", "abc"}, "CHANNEL": {"news", "none", ""}, "NAME": {"name", "", "with space", "new\nline"},
	"SCRIPT": {"return 1", "return {KEYS[1],ARGV[1]}", "return redis.call('get',KEYS[1])", "return redis.call('set',KEYS[1],ARGV[1])", "return redis.pcall('incr',KEYS[1])", "return {err='MY error'}", "syntax error", "return nosuch", "error('thrown')"},
	"SHA":    {"e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", "a42059b356c875f0717db19a51f6aaca9ae659ea", "abc", ""},
}

// extremes stand for any word but a key or a time now and then.
var extremes = []string{
	"0", "1", "-1", "-9223372036854775808", "9223372036854775808", "-9223372036854775809", "18446744073709551615", "007", "+1", " 1", "1 ", "-0", "1e400", "-nan", "0x1F", "1_000", "", "NX", "COUNT", "WITHSCORES", "*",
	"\x00\x01\xfe", strings.Repeat("w", 65), "12345678901234567890123", "2.2250738585072014e-308",
}

// command makes one, blocking ones only if told to.
func (g *grammar) command(blocking bool) []string {
	f := &g.forms[g.rnd.IntN(len(g.forms))]
	for f.blocking && !blocking {
		f = &g.forms[g.rnd.IntN(len(g.forms))]
	}
	args, _ := g.sequence(nil, f.words, true)
	switch g.rnd.IntN(40) {
	case 0:
		if len(args) > 1 {
			args = args[:len(args)-1]
		}
	case 1:
		args = append(args, extremes[g.rnd.IntN(len(extremes))])
	case 2:
		args[0] = strings.ToUpper(args[0])
	}
	return args
}

// sequence appends what the words stand for, up to the bracket that ends them; keep tells whether it is wanted at all. It
// returns the words behind.
func (g *grammar) sequence(args, words []string, keep bool) (_, rest []string) {
	for len(words) > 0 {
		word := words[0]
		switch words = words[1:]; word {
		case "[", "(":
			taken := 0
			if word == "(" || g.rnd.IntN(2) == 0 {
				taken = g.rnd.IntN(alternatives(words))
			} else {
				taken = -1
			}
			for i := 0; ; i++ {
				args, words = g.sequence(args, words, keep && i == taken)
				end := words[0]
				if words = words[1:]; end != "|" {
					break
				}
			}
		case "]", ")", "|":
			return args, append([]string{word}, words...)
		default:
			if keep {
				args = g.word(args, word)
			}
		}
	}
	return args, nil
}

// alternatives counts those up to the bracket that ends them.
func alternatives(words []string) int {
	n, depth := 1, 0
	for _, w := range words {
		switch w {
		case "[", "(":
			depth++
		case "]", ")":
			if depth == 0 {
				return n
			}
			depth--
		case "|":
			if depth == 0 {
				n++
			}
		}
	}
	panic(fmt.Sprint("no end: ", words))
}

func (g *grammar) word(args []string, word string) []string {
	name, many := strings.CutSuffix(word, "+")
	times := 1
	if many {
		times += g.rnd.IntN(4)
	}
	for range times {
		switch list := words[name]; {
		case name == "COMMAND":
			args = append(args, g.command(true)...)
		case name == "K" || keysOf[name] != nil && name != "KLEX" && name != "KG" && g.rnd.IntN(12) == 0:
			args = append(args, anyKey[g.rnd.IntN(len(anyKey))])
		case keysOf[name] != nil:
			args = append(args, keysOf[name][g.rnd.IntN(len(keysOf[name]))])
		case list == nil:
			args = append(args, name)
		case g.rnd.IntN(25) == 0 && !lasting[name]:
			args = append(args, extremes[g.rnd.IntN(len(extremes))])
		default:
			args = append(args, list[g.rnd.IntN(len(list))])
		}
	}
	return args
}

// lasting words have no extremes but their own: a second would pass between the two servers, gaps in a string would be
// half a gigabyte, picks at random would have a number, and Lua's messages end at a zero byte.
var lasting = map[string]bool{"SEC": true, "MS": true, "UNIX": true, "UNIXMS": true, "OFF": true, "NEWID": true, "WAIT": true, "BAD": true, "SCRIPT": true}
