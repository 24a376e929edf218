package resp

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

func words(args [][]byte) string {
	return string(bytes.Join(args, []byte("|")))
}

func TestParse(t *testing.T) {
	cases := []struct {
		in   string
		want string
		n    int
	}{
		{"*1\r\n$4\r\nPING\r\n", "PING", 14},
		{"*2\r\n$3\r\nGET\r\n$0\r\n\r\nrest", "GET|", 19},
		{"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\n\x00\r\n\xff*\r\n", "SET|k|\x00\r\n\xff*", 31},
		{"*0\r\nx", "", 4},
		{"*-1\r\nx", "", 5},
		{"PING\r\n", "PING", 6},
		{"PING\n", "PING", 5},
		{"\r\n", "", 2},
		{"  set  k \"a b\\x41\\n\\\"\"  \r\n", "set|k|a bA\n\"", 26},
		{"set k 'it\\'s'\r\n", "set|k|it's", 15},
		{"set k \"\"\n", "set|k|", 9},
	}
	for _, c := range cases {
		var p Parser
		args, n, _, err := p.Parse([]byte(c.in), &Limits{})
		if err != nil || n != c.n || words(args) != c.want {
			t.Errorf("Parse(%q) = %q, %d, %v; want %q, %d", c.in, words(args), n, err, c.want, c.n)
		}
	}
}

func TestParseErrors(t *testing.T) {
	cases := []struct {
		in   string
		lim  Limits
		want error
	}{
		{"*x\r\n", Limits{}, ErrMultibulkLength},
		{"*\r\n", Limits{}, ErrMultibulkLength},
		{"*03\r\n", Limits{}, ErrMultibulkLength},
		{"*2000000\r\n", Limits{}, ErrMultibulkLength},
		{"*99999999999999999999\r\n", Limits{}, ErrMultibulkLength},
		{"*11\r\n", Limits{Strict: true}, ErrStrictMultibulk},
		{"*1\r\n$-1\r\n", Limits{}, ErrBulkLength},
		{"*1\r\n$1000000000\r\n", Limits{}, ErrBulkLength},
		{"*1\r\n$abc\r\n", Limits{}, ErrBulkLength},
		{"*1\r\n$20000\r\n", Limits{Strict: true}, ErrStrictBulk},
		{"*1\r\n$20\r\n", Limits{MaxBulk: 19}, ErrBulkLength},
		{"*1\r\n:1\r\n", Limits{}, ProtocolError("Protocol error: expected '$', got ':'")},
		{"*1\r\n\r\n", Limits{}, ProtocolError("Protocol error: expected '$', got ' '")},
		{"set \"a\r\n", Limits{}, ErrUnbalancedQuotes},
		{"set 'a'b\r\n", Limits{}, ErrUnbalancedQuotes},
		{strings.Repeat("a", 70<<10), Limits{}, ErrInlineTooLong},
		{"*" + strings.Repeat("1", 70<<10), Limits{}, ErrMultibulkTooLong},
		{"*1\r\n$" + strings.Repeat("1", 70<<10), Limits{}, ErrBulkTooLong},
	}
	for _, c := range cases {
		var p Parser
		if _, _, _, err := p.Parse([]byte(c.in), &c.lim); !errors.Is(err, c.want) {
			t.Errorf("Parse(%.40q) = %v; want %v", c.in, err, c.want)
		}
	}
}

// A reader that always waits for what the parser asked for parses even a command of many small arguments a few times
// only, and a big value twice.
func TestParseNeedConverges(t *testing.T) {
	many := make([][]byte, 100_000)
	for i := range many {
		many[i] = []byte("0123456789")
	}
	for name, args := range map[string][][]byte{
		"many arguments": many,
		"big value":      {[]byte("SET"), []byte("k"), bytes.Repeat([]byte("v"), 10<<20)},
	} {
		whole := AppendCommand(nil, args)
		var p Parser
		tries, have := 0, 1
		for {
			tries++
			_, n, need, err := p.Parse(whole[:have], &Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				break
			}
			if need <= have || need > len(whole) {
				t.Fatalf("%s: have %d, need %d of %d", name, have, need, len(whole))
			}
			have = need
		}
		if tries > 60 {
			t.Errorf("%s: %d tries", name, tries)
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	in := []byte("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n")
	var p Parser
	lim := &Limits{}
	if n := testing.AllocsPerRun(100, func() { _, _, _, _ = p.Parse(in, lim) }); n != 0 {
		t.Errorf("%v allocations per command", n)
	}
}

func TestReplyLen(t *testing.T) {
	for _, reply := range []string{
		"+OK\r\n", "-ERR no\r\n", ":-42\r\n", "$5\r\nhello\r\n", "$-1\r\n", "$0\r\n\r\n", "*-1\r\n", "*0\r\n",
		"*2\r\n$1\r\na\r\n*2\r\n:1\r\n_\r\n", "%1\r\n+k\r\n~2\r\n#t\r\n,1.5\r\n", ">3\r\n+message\r\n+c\r\n$1\r\nx\r\n",
		"=7\r\ntxt:abc\r\n", "(123456789012345678901234567890\r\n", "!5\r\nERR x\r\n", "|1\r\n+ttl\r\n:5\r\n$1\r\nv\r\n",
	} {
		b := []byte(reply + "+next\r\n")
		if n, _, err := ReplyLen(b); n != len(reply) || err != nil {
			t.Errorf("ReplyLen(%q) = %d, %v; want %d", b, n, err, len(reply))
		}
		for cut := range len(reply) {
			n, need, err := ReplyLen([]byte(reply[:cut]))
			if n != 0 || err != nil || need <= cut || need > len(reply) {
				t.Errorf("ReplyLen(%q) = %d, need %d, %v", reply[:cut], n, need, err)
			}
		}
	}
	for _, bad := range []string{"x\r\n", "$-2\r\n", "$1x\r\n", "*?\r\n", "$1\r\naXY", "%-1\r\n", "+a\nb\r\n", "*99999999999\r\n"} {
		if n, _, err := ReplyLen([]byte(bad)); err == nil || n != 0 {
			t.Errorf("ReplyLen(%q) = %d, no error", bad, n)
		}
	}
}

func TestWriters(t *testing.T) {
	cases := []struct {
		got  []byte
		want string
	}{
		{AppendInt(nil, -12), ":-12\r\n"},
		{AppendInt(nil, math.MinInt64), ":-9223372036854775808\r\n"},
		{AppendBulk(nil, nil), "$0\r\n\r\n"},
		{AppendError(nil, "ERR a\r\nb"), "-ERR a  b\r\n"},
		{AppendNull(nil, 2), "$-1\r\n"},
		{AppendNull(nil, 3), "_\r\n"},
		{AppendNullArray(nil, 2), "*-1\r\n"},
		{AppendMap(nil, 2, 2), "*4\r\n"},
		{AppendMap(nil, 2, 3), "%2\r\n"},
		{AppendSet(nil, 11, 3), "~11\r\n"},
		{AppendPush(nil, 3, 3), ">3\r\n"},
		{AppendDouble(nil, 1.5, 3), ",1.5\r\n"},
		{AppendDouble(nil, math.Inf(-1), 2), "$4\r\n-inf\r\n"},
		{AppendBool(nil, true, 2), ":1\r\n"},
		{AppendBool(nil, false, 3), "#f\r\n"},
		{AppendVerbatim(nil, "txt", "ab", 3), "=6\r\ntxt:ab\r\n"},
		{AppendVerbatim(nil, "txt", "ab", 2), "$2\r\nab\r\n"},
		{AppendBulkInt(nil, 7), "$1\r\n7\r\n"},
	}
	for _, c := range cases {
		if string(c.got) != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestParseInt(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "-1": -1, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
	} {
		if v, ok := ParseInt([]byte(in)); !ok || v != want {
			t.Errorf("ParseInt(%q) = %d, %v", in, v, ok)
		}
	}
	for _, in := range []string{"", "-", "+1", "01", "-0", " 1", "1 ", "9223372036854775808", "-9223372036854775809", "99999999999999999999", "1e3"} {
		if v, ok := ParseInt([]byte(in)); ok {
			t.Errorf("ParseInt(%q) = %d, want a refusal", in, v)
		}
	}
}

// FuzzParse feeds a stream whole and then byte by byte: both must give the same commands and the same error.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"*1\r\n$4\r\nPING\r\n", "PING\r\nGET k\r\n", "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*0\r\n\r\n", "*-1\r\n", "*1\r\n$-1\r\n",
		"set k \"a\\x41'\"\r\n", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9999999\r\n", "*01\r\n", "'\\''\n", "*1\r\n+", "*12345678901234567890\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, strict bool) {
		lim := &Limits{Strict: strict, MaxArgs: 1000, MaxBulk: 1 << 20}
		whole, wholeErr := parseStream(t, in, lim, len(in))
		bytewise, byteErr := parseStream(t, in, lim, 1)
		if whole != bytewise || wholeErr != byteErr {
			t.Fatalf("whole: %q %v\nbyte by byte: %q %v", whole, wholeErr, bytewise, byteErr)
		}
	})
}

func parseStream(t *testing.T, in []byte, lim *Limits, step int) (string, error) {
	var p Parser
	var out strings.Builder
	start, have, need := 0, 0, 1
	for {
		if have-start < need || start == have {
			if have == len(in) {
				return out.String(), nil
			}
			have = min(have+max(step, 1), len(in))
			if have < len(in) && have-start < need {
				continue
			}
		}
		args, n, more, err := p.Parse(in[start:have], lim)
		if err != nil {
			return out.String(), err
		}
		if n == 0 {
			if more <= have-start {
				t.Fatalf("needs %d of the %d bytes it has", more, have-start)
			}
			need = more
			continue
		}
		out.WriteString(words(args) + "\n")
		start, need = start+n, 1
	}
}

// FuzzReplyLen checks that a measured reply measures the same alone, and that no prefix of it is complete.
func FuzzReplyLen(f *testing.F) {
	for _, s := range []string{"+OK\r\n", "*2\r\n:1\r\n$1\r\na\r\n", "|1\r\n+a\r\n+b\r\n_\r\n", "$-1\r\n", "%1\r\n+a\r\n*0\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		n, need, err := ReplyLen(in)
		switch {
		case err != nil:
		case n == 0 && need <= len(in):
			t.Fatalf("needs %d of the %d bytes it has", need, len(in))
		case n > 0:
			if again, _, err := ReplyLen(in[:n]); again != n || err != nil {
				t.Fatalf("%d alone, %v", again, err)
			}
			if n < 4096 {
				for cut := range n {
					if m, _, err := ReplyLen(in[:cut]); m != 0 || err != nil {
						t.Fatalf("prefix of %d: %d, %v", cut, m, err)
					}
				}
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	in := []byte("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$5\r\nvalue\r\n")
	var p Parser
	lim := &Limits{}
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, n, _, err := p.Parse(in, lim); n == 0 || err != nil {
			b.Fatal(err)
		}
	}
}
